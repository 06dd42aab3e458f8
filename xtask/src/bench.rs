//! Runs the benches with the machine's set-up done and the guests built.

use anyhow::Result;

use crate::run::cargo;
use crate::setup;

/// `cargo xtask bench [NAME] [ARGUMENTS]`: one bench, or all of them.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    setup::all()?;
    // Two of the benches run the command as a user has it.
    crate::run::run(cargo()?.args(["build", "--release", "--package", "lydian-cli"]))?;
    let mut cargo = cargo()?;
    cargo.args(["bench", "--package", "lydian-benches"]);
    if let [name, arguments @ ..] = words {
        cargo.args(["--bench", name, "--"]).args(arguments);
    }
    crate::run::run(&mut cargo)
}
