//! Measurements live in `benches/`; each has a twin named `baseline_*` on the same bytes, through wasmtime alone.
