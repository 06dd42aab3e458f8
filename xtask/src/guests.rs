//! Builds the tests' guests and the examples, and lists the components.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::run::{cargo, run, say};
use crate::{cache, setup};

/// Builds all, and prints one path per component.
pub(crate) fn build() -> Result<()> {
    setup::all()?;
    for workspace in ["tests/guests", "examples"] {
        compile(workspace)?;
    }
    for path in components()? {
        println!("{}", path.display());
    }
    Ok(())
}

/// Builds one workspace of guests in release, for the component target.
pub(crate) fn compile(workspace: &str) -> Result<()> {
    let target = cache::target()?.join("guests");
    let mut cargo = cargo()?;
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--target",
            setup::TARGETS[0],
            "--target-dir",
        ])
        .arg(&target);
    if workspace == "tests/guests" {
        cargo.arg("--examples");
    } else {
        cargo.arg("--workspace");
    }
    say(&format!("guests: {workspace}"));
    run(cargo.current_dir(cache::root().join(workspace)))
}

/// Where an example's component lies after [`compile`].
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    Ok(release()?.join(name).with_extension("wasm"))
}

fn components() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [release()?, release()?.join("examples")] {
        found.extend(wasm_files(&folder)?);
    }
    found.sort();
    Ok(found)
}

fn release() -> Result<PathBuf> {
    Ok(cache::target()?
        .join("guests")
        .join(setup::TARGETS[0])
        .join("release"))
}

/// The `.wasm` files of a folder, without cargo's second names that end in a hash.
fn wasm_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let hashed = stem
            .rsplit_once('-')
            .is_some_and(|(_, end)| end.len() == 16);
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && !hashed
        {
            found.push(path);
        }
    }
    Ok(found)
}
