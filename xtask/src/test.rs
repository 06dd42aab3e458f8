//! Everything that must hold before a change lands: formatting, lints, tests, examples.
//!
//! All steps run even when one fails, so that one run shows all there is to mend; the summary is last.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::run::{cargo, program, read, run, say};
use crate::{cache, guests, setup};

/// Workspaces of guests; the host's own is the root.
const GUEST_WORKSPACES: [&str; 2] = ["tests/guests", "examples"];

/// Power cuts and full disks under the store. A workspace of its own: see its manifest.
const POWER_CUTS: &str = "tests/lossyfs";

/// The guest that only cargo-component builds.
const COMPONENT_EXAMPLE: &str = "examples/component";

struct Step {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed(anyhow::Error),
}

/// Runs all, prints the summary, fails when a step did.
pub(crate) fn all() -> Result<()> {
    setup::all()?;
    let steps = [
        step("formatting", formatting),
        step("guests and examples build", build_guests),
        step("lints", lints),
        step("tests", tests),
        step("power cuts and full disks", power_cuts),
        step("examples' own tests", example_tests),
        component_step(),
    ];
    summary(&steps)
}

fn step(name: &'static str, action: impl FnOnce() -> Result<()>) -> Step {
    say(&format!("== {name}"));
    let start = Instant::now();
    let outcome = match action() {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error),
    };
    Step {
        name,
        took: start.elapsed(),
        outcome,
    }
}

fn formatting() -> Result<()> {
    run(cargo()?.args(["fmt", "--all", "--check"]))?;
    let others = [COMPONENT_EXAMPLE, POWER_CUTS];
    for workspace in GUEST_WORKSPACES.into_iter().chain(others) {
        run(cargo_in(workspace)?.args(["fmt", "--all", "--check"]))?;
    }
    Ok(())
}

fn build_guests() -> Result<()> {
    GUEST_WORKSPACES.into_iter().try_for_each(guests::compile)
}

fn lints() -> Result<()> {
    run(cargo()?.args([
        "clippy",
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    for workspace in GUEST_WORKSPACES {
        let mut cargo = cargo_in(workspace)?;
        cargo.args([
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--release",
            "--target",
            setup::TARGETS[0],
        ]);
        cargo
            .args(["--lib", "--examples"])
            .arg("--target-dir")
            .arg(cache::target()?.join("guests"));
        run(cargo.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn tests() -> Result<()> {
    run(cargo()?.args(["test", "--locked", "--workspace", "--no-fail-fast"]))
}

fn power_cuts() -> Result<()> {
    let target = cache::target()?.join("lossyfs");
    let mut lints = cargo_in(POWER_CUTS)?;
    lints.args([
        "clippy",
        "--quiet",
        "--locked",
        "--all-targets",
        "--target-dir",
    ]);
    run(lints.arg(&target).args(["--", "-D", "warnings"]))?;
    run(cargo_in(POWER_CUTS)?
        .args(["test", "--locked", "--target-dir"])
        .arg(target))
}

fn example_tests() -> Result<()> {
    let target = cache::target()?.join("guests");
    run(cargo_in("examples")?
        .args(["test", "--locked", "--workspace", "--target-dir"])
        .arg(target))
}

fn component_step() -> Step {
    const NAME: &str = "a guest made by cargo component";
    if setup::has_cargo_component() {
        return step(NAME, component);
    }
    let outcome = Outcome::Skipped("cargo-component is not installed");
    Step {
        name: NAME,
        took: Duration::ZERO,
        outcome,
    }
}

/// Builds it with its own tool, and runs it with ours from its folder, as the README shows.
fn component() -> Result<()> {
    let home = tempfile::tempdir()?;
    // Built by the tests, for the whole workspace: cargo asked for this package alone would choose other
    // features for what it depends on, and compile all of it again.
    let binary = cache::target()?.join("debug").join("lydian");
    ensure!(
        binary.is_file(),
        "`{}` is not there: the tests of the workspace build it",
        binary.display()
    );
    let mut lydian = program(binary)?;
    // Set by `cargo run` for xtask itself, and misleading to the guest's build.
    lydian
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME");
    lydian
        .arg("run")
        .arg(format!("{COMPONENT_EXAMPLE}::slug"))
        .arg("Ordinary Words, Made Safe!");
    lydian
        .env("LYDIAN_HOME", home.path())
        .env_remove("LYDIAN_URL");
    say(&crate::run::spelled(&lydian));
    let answer = read(&mut lydian)?;
    ensure!(
        answer.trim() == "\"ordinary-words-made-safe\"",
        "`lydian run` printed {answer}"
    );
    Ok(())
}

fn cargo_in(workspace: &str) -> Result<Command> {
    let mut cargo = cargo()?;
    cargo.current_dir(cache::root().join(workspace));
    Ok(cargo)
}

fn summary(steps: &[Step]) -> Result<()> {
    let mut failed = 0;
    eprintln!();
    for step in steps {
        let seconds = step.took.as_secs();
        match &step.outcome {
            Outcome::Passed => eprintln!("passed   {:<34} {seconds:>5} s", step.name),
            Outcome::Skipped(why) => eprintln!("SKIPPED  {:<34} {why}", step.name),
            Outcome::Failed(error) => {
                failed += 1;
                eprintln!("FAILED   {:<34} {seconds:>5} s   {error:#}", step.name);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} steps failed", steps.len());
    }
    eprintln!("\nall passed");
    Ok(())
}
