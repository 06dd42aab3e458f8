//! Reads WIT from a path, from the macro itself, or both.

use super::Options;
use std::path::{Path, PathBuf};
use syn::{Error, LitStr, Result};
use wit_parser::{Resolve, WorldId};

/// The WIT, and the world to make a client for.
pub(super) struct Loaded {
    pub(super) resolve: Resolve,
    pub(super) world: WorldId,
    /// Files whose change must run the macro again.
    pub(super) files: Vec<PathBuf>,
}

pub(super) fn load(options: &Options) -> Result<Loaded> {
    let mut resolve = Resolve {
        // Every function and type is asked for by name, so unstable ones are no surprise.
        all_features: true,
        ..Resolve::default()
    };
    let mut files = Vec::new();
    let mut packages = Vec::new();
    if let Some(path) = &options.path {
        let full = manifest_dir(path)?.join(path.value());
        if !full.exists() {
            let text = format!("no WIT at `{}` (relative to `Cargo.toml`)", path.value());
            return Err(Error::new(path.span(), text));
        }
        let pushed = resolve.push_path(&full);
        let (package, sources) = pushed.map_err(|error| wit_error(path, &error))?;
        files.extend(sources.paths().map(Path::to_owned));
        packages.push(package);
    }
    if let Some(inline) = &options.inline {
        let pushed = resolve.push_str("inline", &inline.value());
        // Only its worlds are meant then; the path is for what it uses.
        packages = vec![pushed.map_err(|error| wit_error(inline, &error))?];
    }
    let name = options.world.as_ref().map(LitStr::value);
    let world = resolve
        .select_world(&packages, name.as_deref())
        .map_err(|error| {
            let span = options
                .world
                .as_ref()
                .map_or(options.source_span(), LitStr::span);
            Error::new(span, format!("{error:#}"))
        })?;
    Ok(Loaded {
        resolve,
        world,
        files,
    })
}

fn manifest_dir(path: &LitStr) -> Result<PathBuf> {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| {
            Error::new(
                path.span(),
                "a path needs cargo: `CARGO_MANIFEST_DIR` is not set",
            )
        })
}

fn wit_error(at: &LitStr, error: &dyn std::fmt::Display) -> Error {
    Error::new(at.span(), format!("{error:#}"))
}
