//! From a TARGET to a function that can be called: read or build, put, look up.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lydian_client::{Client, Digest, Error, Function, FunctionInfo};

use super::Ctx;
use super::limits::Setters;
use super::opened::{Opened, Wanted};
use crate::args::limits::LimitArgs;
use crate::build;
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::output::signature;
use crate::target::{self, Code, Target};

/// A function, ready to be called, and what to call it.
pub(super) struct Loaded {
    pub(super) function: Function,
    /// The TARGET with the function's whole name, as the user would write it.
    pub(super) shown: String,
    pub(super) opened: Opened,
}

impl Loaded {
    /// A function of what was opened; the empty name is the only one's.
    pub(super) async fn of(opened: Opened, function: &str) -> Result<Self, CliError> {
        let function = opened.function(function).await?;
        Ok(Self {
            shown: format!("{}::{}", opened.shown, function.name()),
            function,
            opened,
        })
    }

    /// Who decides the limits of a call with these options.
    pub(super) fn setters(&self, args: &LimitArgs) -> Setters {
        Setters::new(args, &self.function.info().limits, self.opened.limits_are())
    }

    /// Refuses a function with resources: they live as long as a session, which is longer than one call.
    pub(super) fn check_callable(&self) -> Result<(), CliError> {
        let ty = self.function.ty();
        let params = ty.params.iter().map(|param| &param.ty);
        if !params.chain(&ty.result).any(signature::has_resource) {
            return Ok(());
        }
        let name = self.function.name();
        let message =
            format!("`{name}` takes or gives a resource, which lives longer than one call");
        let shell = format!("lydian shell {}", signature::quote(&self.opened.shown));
        Err(CliError::usage("needs-session", message).hint(format!(
            "call it in `{shell}`, where resources live until you leave"
        )))
    }

    /// The function, with what the WIT of its crate says about it.
    pub(super) fn info(&self) -> FunctionInfo {
        let mut info = self.function.info();
        self.opened.explain(&mut info);
        info
    }
}

/// Parses a TARGET argument.
pub(super) fn parse_target(text: &str) -> Result<Target, CliError> {
    let target = target::parse(text, build::is_crate)
        .map_err(|message| CliError::usage("bad-target", message))?;
    Ok(Target {
        code: as_it_is(target.code),
        ..target
    })
}

/// Parses a PATH or APP argument, which has no function.
pub(super) fn parse_code(text: &str) -> Result<Code, CliError> {
    target::parse_code(text, build::is_crate)
        .map(as_it_is)
        .map_err(|message| CliError::usage("bad-target", message))
}

/// A name without `.wasm` reads as that of a directory; what is there may be something else.
fn as_it_is(code: Code) -> Code {
    match code {
        Code::Crate(path) if path.exists() && !path.is_dir() => Code::File(path),
        code => code,
    }
}

/// Makes the function of a TARGET callable.
///
/// # Errors
/// Exit 3: the file, app or function is not there. Exit 2: several functions and none named, or bytes that are no
/// component. Exit 1: the crate does not build.
pub(super) async fn load(
    ctx: &Ctx,
    text: &str,
    wanted: Wanted,
    progress: &Progress,
) -> Result<Loaded, CliError> {
    let target = parse_target(text)?;
    let opened = Opened::new(ctx, &target.code, wanted, progress).await?;
    Loaded::of(opened, target.function.as_deref().unwrap_or_default()).await
}

/// A function of a deployed app.
pub(super) async fn app_function(
    client: &Client,
    app: &str,
    version: u64,
    function: &str,
) -> Result<Function, CliError> {
    client.function_at(app, version, function).await.map_err(|error| {
        let unknown = error.code() == "app-not-found";
        let error = CliError::from(error);
        // A bare word may have been meant as what lies here.
        if unknown && Path::new(app).is_file() {
            return error.hint(format!("name the file `{app}` as `./{app}`"));
        }
        if unknown && error.hints.is_empty() {
            return error
                .hint(format!("deploy it with `lydian deploy PATH --name {app}`, or name a file as `./{app}.wasm`"))
                .hint("`lydian app list` shows what is deployed");
        }
        error
    })
}

/// An error about a component, with the file in place of the digest the node knows it by.
pub(super) fn named(error: Error, digest: Digest, path: &Path) -> CliError {
    let mut error = CliError::from(error);
    let digest = format!("component `{}`", digest.short());
    error.message = error
        .message
        .replacen(&digest, &format!("`{}`", path.display()), 1)
        .replace(&digest, "it");
    error
}

/// Reads a component, refusing at once what a glance shows to be something else.
///
/// # Errors
/// Exit 3: no such file. Exit 2: not a component.
pub(super) fn read_component(path: &Path) -> Result<Bytes, CliError> {
    let bytes = read_if_component(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let refused = CliError::read(path, &error);
        match missing.then(|| similar_file(path)).flatten() {
            Some(near) => refused.hint(format!("did you mean `{}`?", near.display())),
            None => refused,
        }
    })?;
    match glance(&bytes) {
        None => Ok(bytes.into()),
        Some((code, what, hint)) => Err(CliError::usage(
            code,
            format!("`{}` is {what}, not a component", path.display()),
        )
        .hint(hint)),
    }
}

/// The bytes of a file; of one that begins like no component its beginning, for a device has no end.
fn read_if_component(path: &Path) -> std::io::Result<Vec<u8>> {
    /// Enough to tell what it is.
    const HEAD: u64 = 4096;
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes)?;
    if glance(&bytes).is_none() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What bytes that are no component are: a code, their kind and the way to a component.
fn glance(bytes: &[u8]) -> Option<(&'static str, &'static str, &'static str)> {
    const BUILD: &str =
        "build one with `cargo build --target wasm32-wasip2` or name the crate's directory";
    const MAGIC: &[u8] = b"\0asm";
    match bytes {
        [] => Some(("not-wasm", "empty", BUILD)),
        // Layer 1 of the binary format is components, layer 0 core modules.
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => None,
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Some((
            "core-module",
            "a core module",
            "make it a component: build for wasm32-wasip2, or `wasm-tools component new`",
        )),
        _ if bytes.starts_with(MAGIC) || MAGIC.starts_with(bytes) => Some((
            "truncated",
            "cut off in its first 8 bytes",
            "copy or build it again",
        )),
        [0x7f, b'E', b'L', b'F', ..] => Some(("native-code", "native code", BUILD)),
        _ if bytes.trim_ascii_start().starts_with(b"(") => {
            Some(("not-wasm", "text", "assemble it first: `wasm-tools parse`"))
        }
        _ => Some(("not-wasm", "not WebAssembly", BUILD)),
    }
}

/// A file in the same directory whose name is nearly this one.
fn similar_file(path: &Path) -> Option<PathBuf> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = std::fs::read_dir(dir.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    let wanted = path.file_name()?.to_str()?;
    let near = crate::suggest::nearest(wanted, names.iter().map(String::as_str))?;
    Some(dir.map_or_else(|| PathBuf::from(near), |dir| dir.join(near)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], code: Option<&str>) {
        assert_eq!(glance(bytes).map(|found| found.0), code);
    }

    #[test]
    fn a_glance_tells_components_from_the_rest() {
        check(b"\0asm\x0d\0\x01\0rest", None);
        check(b"\0asm\x01\0\0\0", Some("core-module"));
        check(b"\0as", Some("truncated"));
        check(b"\0asm\x0d", Some("truncated"));
        check(b"", Some("not-wasm"));
        check(b"hello", Some("not-wasm"));
        check(b"\x7fELF\x02", Some("native-code"));
        check(b" (component)", Some("not-wasm"));
    }
}
