//! What several guests share. Each guest itself is one file in `rust/`.
