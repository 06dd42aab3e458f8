//! A program, `wasi:cli/run`: prints its arguments, and leaves with the status the first one names.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("arguments: {}", arguments.join(" "));
    let status = arguments.first().and_then(|first| first.parse::<u8>().ok());
    // Returning is another way to end than `exit`: no status is told to the host.
    status.map_or(ExitCode::SUCCESS, ExitCode::from)
}
