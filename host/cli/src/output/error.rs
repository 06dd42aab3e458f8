//! Errors as the user meets them: one line that names the thing, `hint:` lines apart, one exit code.

use std::io;
use std::path::Path;

use lydian_client::{Error, Failure};
use serde_json::json;

use super::{Output, eprint_line};
use crate::exit::Exit;

/// Why the command failed.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Stable, kebab-case.
    pub(crate) code: String,
    /// Lower case, names the thing in backticks.
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// Guest frames; may be empty.
    pub(crate) backtrace: String,
    pub(crate) exit: Exit,
}

impl CliError {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hints: Vec::new(),
            backtrace: String::new(),
            exit,
        }
    }

    /// Wrong usage or arguments.
    pub(crate) fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// Something named is not there.
    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// Something was tried and did not work.
    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A file of the user's that cannot be read.
    pub(crate) fn read(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Self::not_found("file-not-found", format!("no file `{shown}`"))
            }
            io::ErrorKind::PermissionDenied => Self::not_found(
                "file-not-readable",
                format!("file `{shown}` may not be read"),
            )
            .hint(format!("look at `ls -l {shown}`")),
            io::ErrorKind::IsADirectory => {
                Self::usage("not-a-file", format!("`{shown}` is a directory"))
            }
            _ => Self::failed(
                "file-not-readable",
                format!("cannot read `{shown}`: {error}"),
            ),
        }
    }

    /// stdout that cannot be written. Closed by its reader (`| head`): end quietly, as other tools do.
    pub(crate) fn stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, CLOSED, ""),
            _ => Self::failed(
                "stdout-not-writable",
                format!("cannot write to stdout: {error}"),
            ),
        }
    }

    /// A function that ran and failed.
    pub(crate) fn failure(failure: &Failure) -> Self {
        Self {
            code: failure.kind.code().to_owned(),
            message: failure.to_string(),
            hints: failure.hints.clone(),
            backtrace: failure.backtrace.trim_end().to_owned(),
            exit: if failure.kind.is_limit() {
                Exit::Limit
            } else {
                Exit::Failed
            },
        }
    }

    /// Shows it and answers how the process ends.
    pub(crate) fn show(&self, output: &Output) -> Exit {
        if self.code != CLOSED {
            eprint_line(&if output.json {
                self.to_json()
            } else {
                self.to_text(output)
            });
        }
        self.exit
    }

    fn to_json(&self) -> String {
        let mut error = json!({ "code": self.code, "message": self.message, "hints": self.hints });
        if !self.backtrace.is_empty() {
            error["backtrace"] = self.backtrace.clone().into();
        }
        json!({ "error": error }).to_string()
    }

    fn to_text(&self, output: &Output) -> String {
        let style = output.err;
        // What a guest or a node says may hold anything; our own line breaks stay.
        let clean = |text: &str| super::guest::escape(text, output.stderr_is_terminal);
        let mut text = format!("{} {}", style.red("error:"), clean(&self.message));
        if !self.backtrace.is_empty() {
            text += &format!(
                "\n{}",
                style.dim(clean(&super::backtrace::readable(&self.backtrace)))
            );
        }
        for hint in &self.hints {
            text += &format!("\n{} {}", style.cyan("hint:"), clean(hint));
        }
        text
    }
}

/// The hints of an error, for who writes command lines and no program.
fn typed(error: &Error) -> Vec<String> {
    let hint = match error.code() {
        "returns-stream" => "`lydian run` shows its items as they come",
        "needs-session" => "call it in `lydian shell`, where resources live until you leave",
        _ => return error.hints().to_vec(),
    };
    vec![hint.to_owned()]
}

/// The code of the error that is none: the reader of stdout has read enough.
const CLOSED: &str = "stdout-closed";

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Failed(failure) => return Self::failure(failure),
            Error::NotFound(_) | Error::NotAllowed(_) | Error::Unreachable(_) => Exit::NotFound,
            Error::InvalidArgument(_) => Exit::Usage,
            Error::Timeout { .. } => Exit::Limit,
            _ => Exit::Failed,
        };
        let mut message = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            message += &format!(": {cause}");
        }
        Self {
            code: error.code().to_owned(),
            message,
            hints: typed(&error),
            backtrace: String::new(),
            exit,
        }
    }
}
