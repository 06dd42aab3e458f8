//! What a TARGET names: `file.wasm::function`, `crate-dir::function`, `app[@version]::function`.
//!
//! A left side that looks like a path (a separator, a leading dot, `.wasm`) is one. A bare word is a
//! crate directory when one of that name is here, else an app. The function may be left out when there
//! is only one. Pure, save for the question whether a directory is a crate, which the caller answers.

use std::path::{Path, PathBuf};

/// A parsed TARGET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) code: Code,
    /// Absent: the only one there is.
    pub(crate) function: Option<String>,
}

/// Where the code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    File(PathBuf),
    Crate(PathBuf),
    App {
        name: String,
        /// Absent: the current one.
        version: Option<u64>,
    },
}

/// Reads a TARGET; `is_crate` tells whether a path is a directory with a `Cargo.toml`.
///
/// # Errors
/// A sentence for the user: an empty side, or a version that is not a number.
pub(crate) fn parse(text: &str, is_crate: impl Fn(&Path) -> bool) -> Result<Target, String> {
    // Function names hold `:` and `#` but never `::`, paths might.
    let (left, function) = match text.rsplit_once("::") {
        Some((_, "")) => {
            return Err(format!(
                "target `{text}` ends in `::`; name the function, or leave `::` out"
            ));
        }
        Some((left, function)) => (left, Some(function.to_owned())),
        None => (text, None),
    };
    if left.is_empty() {
        return Err(format!(
            "target `{text}` names no code; write `file.wasm::function`, `crate-dir::function` or `app::function`"
        ));
    }
    Ok(Target {
        code: parse_code(left, is_crate)?,
        function,
    })
}

/// Reads the left side of a TARGET, or the PATH of a deploy.
pub(crate) fn parse_code(left: &str, is_crate: impl Fn(&Path) -> bool) -> Result<Code, String> {
    let path = Path::new(left);
    if is_crate(path) {
        return Ok(Code::Crate(path.to_owned()));
    }
    if looks_like_path(left) {
        // A directory without Cargo.toml is told apart when it is opened, where the error can name it.
        return Ok(
            if is_wasm(left) || path.extension().is_some() && !left.ends_with('/') {
                Code::File(path.to_owned())
            } else {
                Code::Crate(path.to_owned())
            },
        );
    }
    let Some((name, version)) = left.split_once('@') else {
        return Ok(Code::App {
            name: left.to_owned(),
            version: None,
        });
    };
    let number = version.strip_prefix('v').unwrap_or(version);
    match number.parse() {
        Ok(number) if number > 0 && !name.is_empty() => Ok(Code::App {
            name: name.to_owned(),
            version: Some(number),
        }),
        _ => Err(format!(
            "`{left}` is not an app with a version; write `app@3`"
        )),
    }
}

/// The current version of an app of this name, unless it is written like a path.
pub(crate) fn as_app(text: &str) -> Option<Code> {
    let is_name = !looks_like_path(text) && !text.contains('@');
    is_name.then(|| Code::App {
        name: text.to_owned(),
        version: None,
    })
}

fn looks_like_path(left: &str) -> bool {
    left.contains(['/', std::path::MAIN_SEPARATOR])
        || left.starts_with('.')
        || left == "~"
        || is_wasm(left)
}

/// Whether it ends as the files of WebAssembly do, however they are written.
fn is_wasm(left: &str) -> bool {
    let extension = Path::new(left).extension();
    extension.is_some_and(|found| {
        found.eq_ignore_ascii_case("wasm") || found.eq_ignore_ascii_case("wat")
    })
}

/// Whether an app of this name could be named as a TARGET.
pub(crate) fn names_app(name: &str) -> bool {
    !looks_like_path(name) && !name.contains('@') && !name.contains("::")
}

/// The file name of a path for messages: `fib.wasm`, or the whole when it has none.
pub(crate) fn short_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_here(text: &str) -> Result<Target, String> {
        parse(text, |path| {
            path == Path::new("hello") || path == Path::new("./guests/fib")
        })
    }

    #[track_caller]
    fn check(text: &str, code: Code, function: Option<&str>) {
        assert_eq!(
            parse_here(text),
            Ok(Target {
                code,
                function: function.map(str::to_owned)
            })
        );
    }

    #[test]
    fn files_crates_and_apps_are_told_apart() {
        check("fib.wasm::fib", Code::File("fib.wasm".into()), Some("fib"));
        check(
            "target/x/fib.wasm",
            Code::File("target/x/fib.wasm".into()),
            None,
        );
        check(
            "./guests/fib::fib",
            Code::Crate("./guests/fib".into()),
            Some("fib"),
        );
        check("U.WASM::f", Code::File("U.WASM".into()), Some("f"));
        check("hello::greet", Code::Crate("hello".into()), Some("greet"));
        check(
            "world::greet",
            Code::App {
                name: "world".into(),
                version: None,
            },
            Some("greet"),
        );
        check(
            "world@3",
            Code::App {
                name: "world".into(),
                version: Some(3),
            },
            None,
        );
        check(
            "world@v3::f",
            Code::App {
                name: "world".into(),
                version: Some(3),
            },
            Some("f"),
        );
        check(".", Code::Crate(".".into()), None);
    }

    /// Interface functions carry `:`, `/`, `#`, `@` and `.`, none of which may end the left side.
    #[test]
    fn interface_functions_stay_whole() {
        check(
            "img.wasm::acme:img/resize@1.0.0#image.scale",
            Code::File("img.wasm".into()),
            Some("acme:img/resize@1.0.0#image.scale"),
        );
        check(
            "img::acme:img/resize#thumbnail",
            Code::App {
                name: "img".into(),
                version: None,
            },
            Some("acme:img/resize#thumbnail"),
        );
    }

    #[test]
    fn broken_targets_say_what_to_write() {
        for text in [
            "fib.wasm::",
            "::f",
            "",
            "app@::f",
            "app@x::f",
            "app@0",
            "@3",
        ] {
            assert!(parse_here(text).is_err(), "{text}");
        }
    }
}
