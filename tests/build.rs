//! Builds the guests in `guests/` and the examples, and writes one path constant for each to `$OUT_DIR`.
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

/// The members of the examples' workspace.
const EXAMPLES: [&str; 7] = [
    "hello", "square", "cube", "text", "model", "services", "digits",
];

fn main() -> Result<()> {
    let tests = env::current_dir()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is set by cargo")?);
    let target = env::var_os("LYDIAN_GUESTS_TARGET_DIR")
        .map_or_else(|| tests.join("guests/target"), PathBuf::from);
    println!("cargo::rerun-if-env-changed=LYDIAN_GUESTS_TARGET_DIR");

    // Guests and examples stand on the SDK, which stands on the values.
    watch(
        &tests.join("../guest-sdk"),
        &["Cargo.toml", "src", "macros"],
    );
    watch(&tests.join("../host/value"), &["Cargo.toml", "src"]);
    watch(&tests.join("../host/spelling"), &["Cargo.toml", "src"]);
    let mut guests = rust_guests(&tests.join("guests"), &target, &out)?;
    guests.extend(wat_guests(&tests.join("guests"), &out)?);
    fs::write(out.join("guests.rs"), constants(guests, "for_each_guest")?)?;
    let examples = examples(&tests.join("../examples"), &target, &out)?;
    fs::write(
        out.join("examples.rs"),
        constants(examples, "for_each_example")?,
    )?;
    Ok(())
}

/// A guest's name and the path of its component.
type Built = (String, PathBuf);

/// One guest for each file in `rust`, an example target of the guests' crate.
fn rust_guests(guests: &Path, target: &Path, out: &Path) -> Result<Vec<Built>> {
    watch(
        guests,
        &["Cargo.toml", "Cargo.lock", "rust", "src", "../../wit"],
    );
    compile(guests, target, "--examples")?;
    let built = target.join(TARGET).join("release/examples");
    names(&guests.join("rust"), "rs")?
        .into_iter()
        .map(|name| keep(name, &built, out))
        .collect()
}

/// One component for each member of the workspace; `component` is not one, as it has a tool of its own.
fn examples(examples: &Path, target: &Path, out: &Path) -> Result<Vec<Built>> {
    watch(examples, &["Cargo.toml", "Cargo.lock"]);
    compile(examples, target, "--workspace")?;
    let built = target.join(TARGET).join("release");
    let out = out.join("examples");
    fs::create_dir_all(&out)?;
    let mut kept = Vec::new();
    for name in EXAMPLES {
        watch(&examples.join(name), &["Cargo.toml", "src"]);
        kept.push(keep(name.to_owned(), &built, &out)?);
    }
    Ok(kept)
}

fn watch(folder: &Path, names: &[&str]) {
    for name in names {
        println!("cargo::rerun-if-changed={}", folder.join(name).display());
    }
}

/// Copies a component to where no later build reaches it.
fn keep(name: String, built: &Path, out: &Path) -> Result<Built> {
    let to = out.join(&name).with_extension("wasm");
    fs::copy(built.join(&name).with_extension("wasm"), &to)
        .with_context(|| format!("`{name}` was not built; is it listed in its Cargo.toml?"))?;
    Ok((name, to))
}

fn compile(workspace: &Path, target: &Path, what: &str) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            what,
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace);
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
        bail!("`{}` does not compile:\n{said}", workspace.display());
    }
    Ok(())
}

fn wat_guests(guests: &Path, out: &Path) -> Result<Vec<Built>> {
    watch(guests, &["wat"]);
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
fn constants(mut built: Vec<Built>, each_macro: &str) -> Result<String> {
    built.sort();
    let mut text = String::new();
    let mut all = String::new();
    let mut each = String::new();
    for (name, path) in &built {
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
        "/// `{each_macro}!(m)` expands `m!(NAME)` for every guest: a test file uses it to prove that none is left out.\n\
         #[macro_export]\nmacro_rules! {each_macro} {{ ($then:ident) => {{ {each} }} }}"
    )?;
    Ok(text)
}
