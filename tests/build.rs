//! Builds the guests in `guests/` and writes one path constant for each to `$OUT_DIR/guests.rs`.
//!
//! Guests in Rust are compiled by a cargo of their own, whose build folder all host crates share
//! (`LYDIAN_GUESTS_TARGET_DIR`, default `guests/target`); guests in WAT are assembled here. What the
//! constants name are copies in `OUT_DIR`, so that a later build never changes a file under a running test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

const TARGET: &str = "wasm32-wasip2";

fn main() -> Result<()> {
    let guests = env::current_dir()?.join("guests");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is set by cargo")?);
    for watched in ["Cargo.toml", "Cargo.lock", "rust", "src", "wat"] {
        println!("cargo::rerun-if-changed={}", guests.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=LYDIAN_GUESTS_TARGET_DIR");

    let mut built = rust_guests(&guests, &out)?;
    built.extend(wat_guests(&guests, &out)?);
    built.sort();
    fs::write(out.join("guests.rs"), constants(&built)?)?;
    Ok(())
}

/// A guest's name and the path of its component.
type Built = (String, PathBuf);

fn rust_guests(guests: &Path, out: &Path) -> Result<Vec<Built>> {
    let target = env::var_os("LYDIAN_GUESTS_TARGET_DIR")
        .map_or_else(|| guests.join("target"), PathBuf::from);
    compile(guests, &target)?;
    let examples = target.join(TARGET).join("release/examples");
    names(&guests.join("rust"), "rs")?
        .into_iter()
        .map(|name| {
            let from = examples.join(&name).with_extension("wasm");
            let to = out.join(&name).with_extension("wasm");
            fs::copy(&from, &to).with_context(|| {
                format!("guest `{name}` was not built; is it listed in guests/Cargo.toml?")
            })?;
            Ok((name, to))
        })
        .collect()
}

fn compile(guests: &Path, target: &Path) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--examples",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(guests);
    // What concerns the host's build only: its flags, and clippy in the place of the compiler.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(name);
    }
    let output = cargo.output().context("cannot run cargo for the guests")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !said.contains(&format!("the `{TARGET}` target may not be installed")),
        "the {TARGET} target is missing: run `cargo xtask setup`",
    );
    if !output.status.success() {
        bail!("the guests do not compile:\n{said}");
    }
    Ok(())
}

fn wat_guests(guests: &Path, out: &Path) -> Result<Vec<Built>> {
    names(&guests.join("wat"), "wat")?
        .into_iter()
        .map(|name| {
            let bytes = wat::parse_file(guests.join("wat").join(&name).with_extension("wat"))?;
            let to = out.join(&name).with_extension("wasm");
            fs::write(&to, bytes)?;
            Ok((name, to))
        })
        .collect()
}

fn names(folder: &Path, extension: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension)
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The constants, their list, and a macro that hands each name to a macro of the caller's.
fn constants(built: &[Built]) -> Result<String> {
    let mut text = String::new();
    let mut all = String::new();
    let mut each = String::new();
    for (name, path) in built {
        let constant = name.to_uppercase().replace('-', "_");
        writeln!(
            text,
            "/// `{name}`.\npub const {constant}: Guest = Guest {{ name: {name:?}, path: {path:?} }};"
        )?;
        write!(all, "{constant}, ")?;
        write!(each, "$then!({constant});")?;
    }
    writeln!(
        text,
        "/// Every guest, by name.\npub const ALL: &[Guest] = &[{all}];"
    )?;
    writeln!(
        text,
        "/// `for_each_guest!(m)` expands `m!(NAME)` for every guest: a test file uses it to prove that none is left out.\n\
         #[macro_export]\nmacro_rules! for_each_guest {{ ($then:ident) => {{ {each} }} }}"
    )?;
    Ok(text)
}
