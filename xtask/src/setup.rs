//! What a bare machine lacks: the WebAssembly targets of rustc, and cargo-component.
//!
//! Each part looks first and does nothing when it is there, so this runs before every other command.
//! Rust itself must be there; CONTRIBUTING.md explains by which ways the targets come.

mod debian;
mod sysroot;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::run::{program, quiet, quiet_within, say};
use sysroot::Sysroot;

/// Components are built for the first; cargo-component needs the second for its adapter, and guests without
/// a standard library the third.
pub(crate) const TARGETS: [&str; 3] = ["wasm32-wasip2", "wasm32-wasip1", "wasm32-unknown-unknown"];

/// What the example for `cargo component` was made with, and what the tests build it with.
const CARGO_COMPONENT: &str = "0.21.1";

/// A reachable server answers far sooner; an unreachable one must not hold the other way up.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Where the targets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Rustup,
    Debian,
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "rustup" => Ok(Self::Rustup),
            "debian" => Ok(Self::Debian),
            _ => bail!("targets come from `rustup` or `debian`, not `{name}`"),
        }
    }
}

/// Everything, in order.
pub(crate) fn all() -> Result<()> {
    targets()?;
    cargo_component()
}

/// The targets from one source only; what is there stays.
pub(crate) fn targets_from(source: Source) -> Result<()> {
    let sysroot = Sysroot::find()?;
    let missing = sysroot.missing(&TARGETS);
    if missing.is_empty() {
        say("wasm targets: already there");
        return Ok(());
    }
    make(source, &sysroot, &missing)
}

pub(super) fn targets() -> Result<()> {
    let sysroot = Sysroot::find()?;
    let missing = sysroot.missing(&TARGETS);
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!(
        "wasm targets: {} missing in {}",
        missing.join(", "),
        sysroot.path.display()
    ));
    let mut tried = Vec::new();
    for source in [Source::Rustup, Source::Debian] {
        match make(source, &sysroot, &missing) {
            Ok(()) => return Ok(()),
            Err(error) => {
                say(&format!(
                    "wasm targets: not from {source:?}: {}",
                    first_line(&error)
                ));
                tried.push(format!("{source:?}: {error:#}"));
            }
        }
    }
    bail!(
        "the targets {} cannot be made here.\n\n{}\n\n\
         hint: where rustup has a network, `rustup target add {}` is enough\n\
         hint: CONTRIBUTING.md, \"The WebAssembly targets\", explains the other ways",
        missing.join(", "),
        tried.join("\n\n"),
        missing.join(" "),
    )
}

fn make(source: Source, sysroot: &Sysroot, missing: &[&str]) -> Result<()> {
    let start = Instant::now();
    match source {
        Source::Rustup => {
            say("wasm targets: asking rustup");
            quiet_within(
                RUSTUP_LIMIT,
                program("rustup")?.args(["target", "add"]).args(missing),
            )?;
        }
        Source::Debian => debian::build(sysroot, missing)?,
    }
    let left = sysroot.missing(missing);
    if !left.is_empty() {
        bail!("it ended well, but {} did not come", left.join(", "));
    }
    say(&format!(
        "wasm targets: there after {} s",
        start.elapsed().as_secs()
    ));
    Ok(())
}

/// The first line of an error, for a report of progress; the whole comes at the end if nothing helps.
fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}")
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// cargo-component is only wanted by one example and by users who have it: its absence is said, and an error
/// in continuous integration alone.
fn cargo_component() -> Result<()> {
    if has_cargo_component() {
        return Ok(());
    }
    say(&format!(
        "cargo-component: installing {CARGO_COMPONENT} under {}; this takes some minutes",
        cache::tools()?.display()
    ));
    let start = Instant::now();
    match install_cargo_component() {
        Ok(()) => {
            say(&format!(
                "cargo-component: there after {} s",
                start.elapsed().as_secs()
            ));
            Ok(())
        }
        Err(error) if continuous_integration() => Err(error),
        Err(error) => {
            say(&format!(
                "cargo-component: SKIPPED, so the example that needs it is too: {error:#}"
            ));
            Ok(())
        }
    }
}

pub(crate) fn has_cargo_component() -> bool {
    program("cargo-component").is_ok_and(|mut program| quiet(program.arg("--version")).is_ok())
}

pub(crate) fn continuous_integration() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn install_cargo_component() -> Result<()> {
    let build = cache::target()?.join("tools");
    let mut cargo = crate::run::cargo()?;
    cargo
        .args([
            "install",
            "--quiet",
            "--locked",
            "cargo-component",
            "--version",
            CARGO_COMPONENT,
            "--root",
        ])
        .arg(cache::tools()?)
        .env("CARGO_TARGET_DIR", &build)
        // It runs for moments; a build at full optimisation would take three times as long as all its runs.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    quiet(&mut cargo)?;
    // Hundreds of megabytes that nothing reads again.
    std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}
