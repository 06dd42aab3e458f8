//! Running other programs: each is said before it starts, may be stopped after a time, and fails by name.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cache;

/// `program` in the checkout, with the project's build folders and tools.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(name);
    command
        .current_dir(cache::root())
        .envs(cache::environment()?);
    Ok(command)
}

/// The cargo that runs us, so that a toolchain chosen on the command line holds for all.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))?;
    // Set by `cargo run` for xtask itself, and misleading to any other crate's build.
    command
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME");
    Ok(command)
}

/// One plain line about what happens next.
pub(crate) fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// Runs to the end with the terminal's own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&spelled(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", name(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", spelled(command));
    Ok(())
}

/// Runs to the end and returns what it printed on stdout.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    ensure_success(command, &output)?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs quietly; what it printed appears only in the error.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    read(command).map(drop)
}

/// Runs quietly, and stops it when it takes longer than `limit`.
pub(crate) fn quiet_within(limit: Duration, command: &mut Command) -> Result<()> {
    let said = tempfile::NamedTempFile::new()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.reopen()?);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", name(command)))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if start.elapsed() > limit => {
                child.kill()?;
                child.wait()?;
                bail!(
                    "`{}` did not end within {} s",
                    spelled(command),
                    limit.as_secs()
                );
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let stderr = std::fs::read(said.path())?;
    ensure_success(
        command,
        &Output {
            status,
            stdout: Vec::new(),
            stderr,
        },
    )
}

/// The command as one would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args() {
        // A write into memory cannot fail.
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

fn ensure_success(command: &Command, output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{}` failed ({}):\n{}",
        spelled(command),
        output.status,
        said.trim_end()
    );
    Ok(())
}

fn name(command: &Command) -> String {
    let path = std::path::Path::new(command.get_program());
    path.file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned()
}
