//! The `lydian` command.
//!
//! One way through: [`args`] turns text into a parsed command line and touches nothing; `commands` does the
//! work, one module each, through [`lydian_client`] alone, whether the node is elsewhere or in this process;
//! [`output`] shows results on stdout and everything else on stderr; [`exit`] names how it ended.

mod args;
mod arguments;
mod build;
mod commands;
mod docs;
mod env;
mod exit;
mod inputs;
mod log;
mod manifest;
mod node_config;
mod output;
mod signals;
mod suggest;
mod target;
mod units;
mod watch;
mod words;

use std::process::ExitCode;

use output::Output;

/// What `--version` prints behind the name.
fn version() -> String {
    format!(
        "{} (wasmtime {})",
        env!("CARGO_PKG_VERSION"),
        lydian_node::WASMTIME_VERSION
    )
}

fn main() -> ExitCode {
    keep_errors_cheap();
    let argv: Vec<_> = std::env::args_os().collect();
    let json = argv
        .iter()
        .take_while(|token| *token != "--")
        .any(|token| token == "--json");
    let exit = match args::parse(argv) {
        Ok(parsed) => {
            let output = Output::new(&parsed.cli.global);
            commands::dispatch(parsed, output).unwrap_or_else(|error| error.show(&output))
        }
        Err(error) => output::usage::show(&error, json),
    };
    exit.into()
}

/// wasmtime makes an error, with a backtrace where `RUST_BACKTRACE` asks for one, whenever it puts a sandbox away: that
/// doubles what a call costs. Backtraces of panics are not affected, and `RUST_LIB_BACKTRACE=1` brings these back.
fn keep_errors_cheap() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: `main` has only just begun, so no other thread reads the environment.
        unsafe { std::env::set_var(VARIABLE, "0") };
    }
}
