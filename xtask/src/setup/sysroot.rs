//! The folder of rustc's own libraries, in which an installed target is a folder of `.rlib` files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{program, read};

/// The rustc in use.
pub(crate) struct Sysroot {
    pub(crate) path: PathBuf,
    /// Its release, `1.95.0`.
    pub(crate) release: String,
}

impl Sysroot {
    pub(crate) fn find() -> Result<Self> {
        let path = read(program("rustc")?.args(["--print", "sysroot"]))?;
        let version = read(program("rustc")?.arg("-vV"))?;
        let release = version
            .lines()
            .find_map(|line| line.strip_prefix("release: "));
        Ok(Self {
            path: path.trim_end().into(),
            release: release.context("`rustc -vV` names no release")?.to_owned(),
        })
    }

    /// The folder of one target's libraries.
    pub(crate) fn libraries(&self, target: &str) -> PathBuf {
        self.path.join("lib/rustlib").join(target).join("lib")
    }

    /// Where rustc's own tools, and cargo's `build-std`, look for the source of the standard library.
    pub(crate) fn library_source(&self) -> PathBuf {
        self.path.join("lib/rustlib/src/rust/library")
    }

    /// Those of `targets` that have no standard library.
    pub(crate) fn missing<'a>(&self, targets: &[&'a str]) -> Vec<&'a str> {
        targets
            .iter()
            .copied()
            .filter(|target| !has_std(&self.libraries(target)))
            .collect()
    }
}

fn has_std(libraries: &Path) -> bool {
    let Ok(entries) = fs::read_dir(libraries) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}
