//! The project's own commands: `cargo xtask setup | test | demo | bench | guests`.
//!
//! Everything a fresh clone needs is made by `setup`, which the others call first; it says what it does in
//! plain lines, does nothing twice, and touches only the Rust installation and `~/.cache/lydian`.

mod bench;
mod cache;
mod demo;
mod guests;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Lydian's own commands.

Usage: cargo xtask COMMAND

Commands:
  setup    Makes the WebAssembly targets and installs cargo-component
           --from rustup|debian   takes the targets from there only
  test     Set-up, formatting, lints, all tests, the examples
  demo     Builds the CLI and the digits example and runs a hyper-parameter sweep, from nothing
  bench    The benches, in release: cargo xtask bench [NAME] [ARGUMENTS OF THE BENCH]
  guests   Builds the tests' guests and the examples and lists where they lie
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(words: &[&str]) -> Result<()> {
    match words {
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{HELP}");
            Ok(())
        }
        ["setup"] => {
            setup::all()?;
            run::say("set-up: everything is there");
            Ok(())
        }
        ["setup", "--from", source] => setup::targets_from(source.parse()?),
        ["test"] => test::all(),
        ["demo"] => demo::run_all(),
        ["bench", rest @ ..] => bench::run(rest),
        ["guests"] => guests::build(),
        [command, ..] => bail!("no such use of `{command}`\n\n{HELP}"),
    }
}
