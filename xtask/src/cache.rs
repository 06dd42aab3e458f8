//! Where things lie: the checkout, the folder kept between runs, and the build folder.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// `$XDG_CACHE_HOME/lydian`, else `~/.cache/lydian`.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache")
        }
    };
    Ok(base.join("lydian"))
}

/// Where builds go: `CARGO_TARGET_DIR`; else `target` in the cache folder, when someone made it, so that many
/// clones share one; else `target` in the checkout.
pub(crate) fn target() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
        return Ok(root().join(path));
    }
    let shared = folder()?.join("target");
    Ok(if shared.is_dir() {
        shared
    } else {
        root().join("target")
    })
}

/// Tools that set-up installs for itself.
pub(crate) fn tools() -> Result<PathBuf> {
    Ok(folder()?.join("tools"))
}

/// What every command that we start gets: the build folders, and our tools at the end of `PATH`, where they
/// cannot hide what the user has.
pub(crate) fn environment() -> Result<Vec<(&'static str, OsString)>> {
    let target = target()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([tools()?.join("bin")]);
    Ok(vec![
        ("PATH", env::join_paths(folders)?),
        ("LYDIAN_GUESTS_TARGET_DIR", target.join("guests").into()),
        ("CARGO_TARGET_DIR", target.into()),
    ])
}
