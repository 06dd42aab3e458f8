//! Guest frames as text: innermost first, with the names that the component carries.

use std::fmt::Write;
use wasmtime::component::__internal::wasmtime_environ::demangle_function_name;
use wasmtime::{Error, FrameInfo, WasmBacktrace};

/// The frames of an error, one per line; empty when it happened outside guest code.
pub(crate) fn render(error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let mut text = String::new();
    for (index, frame) in backtrace.frames().iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{index:>4}: {}", describe(frame));
    }
    text
}

fn describe(frame: &FrameInfo) -> String {
    let module = frame
        .module()
        .name()
        .map_or(String::new(), |name| format!("{name}!"));
    let function = match frame.func_name() {
        Some(name) => demangle(name),
        None => format!("function {}", frame.func_index()),
    };
    match frame.module_offset() {
        Some(offset) => format!("{module}{function} (at {offset:#x})"),
        None => format!("{module}{function}"),
    }
}

/// Rust and C++ names as they were written; others as they are.
fn demangle(name: &str) -> String {
    let mut text = String::new();
    match demangle_function_name(&mut text, name) {
        Ok(()) => text,
        Err(_) => name.to_owned(),
    }
}
