//! Exit codes, and which answer ends in which.

use std::process::ExitCode;

/// How the command ended. The numbers are part of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    /// The function returned `err(…)` or trapped, or the operation failed.
    Failed = 1,
    /// Wrong usage or arguments.
    Usage = 2,
    /// Not found, not reachable or not allowed.
    NotFound = 3,
    /// Stopped at a limit: time, memory, payload, output and the like.
    Limit = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
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
