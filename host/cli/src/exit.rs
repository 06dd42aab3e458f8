//! Exit codes, and which answer ends in which.

use std::process::ExitCode;

/// How the command ended. The numbers are part of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    /// The function returned `err(…)` or trapped, or the operation failed.
    Failed,
    /// Wrong usage or arguments.
    Usage,
    /// Not found, not reachable or not allowed.
    NotFound,
    /// Stopped at a limit: time, memory, payload, output and the like.
    Limit,
    /// Ctrl-C.
    Interrupted,
    /// A program of a crate ended with this.
    Program(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Limit => 4,
            Exit::Interrupted => 130,
            Exit::Program(code) => code,
        })
    }
}

/// The section of `--help` that explains them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    the function returned err or trapped, or the operation failed
  2    wrong usage or arguments
  3    not found, not reachable or not allowed
  4    stopped at a limit
  130  Ctrl-C
";
