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
        Some(name) => exported(name).unwrap_or_else(|| demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    match frame.module_offset() {
        Some(offset) => format!("{module}{function} (at {offset:#x})"),
        None => format!("{module}{function}"),
    }
}

/// An export under the component model's own name: `train` of `cm32p2||train`, `img#scale` of `cm32p2|img|scale`.
fn exported(name: &str) -> Option<String> {
    let (interface, function) = name.strip_prefix("cm32p2|")?.split_once('|')?;
    Some(match interface {
        "" => function.to_owned(),
        _ => format!("{interface}#{function}"),
    })
}

/// Rust and C++ names as they were written; others as they are.
fn demangle(name: &str) -> String {
    let mut text = String::new();
    match demangle_function_name(&mut text, name) {
        Ok(()) => text,
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::exported;

    #[test]
    fn exports_go_by_the_names_people_call_them_by() {
        assert_eq!(exported("cm32p2||train").unwrap(), "train");
        assert_eq!(
            exported("cm32p2|acme:img/ops|scale").unwrap(),
            "acme:img/ops#scale"
        );
        assert_eq!(exported("cm32p2_realloc"), None);
        assert_eq!(exported("train"), None);
    }
}
