//! What the user sees: results on stdout, everything else on stderr.
//!
//! [`Output`] knows which of the two is a terminal and what was asked for (`--json`, `-q`); the modules
//! below render. Colours and a moving line appear only on a terminal, and colours never when `NO_COLOR` is set.

mod backtrace;
pub(crate) mod error;
pub(crate) mod guest;
pub(crate) mod progress;
pub(crate) mod result;
pub(crate) mod signature;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod usage;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;

use crate::args::Global;
use error::CliError;
use progress::Progress;
use style::Style;

/// How to print, decided once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Colours of stdout.
    pub(crate) out: Style,
    /// Colours of stderr.
    pub(crate) err: Style,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let stdout_is_terminal = std::io::stdout().is_terminal();
        let stderr_is_terminal = std::io::stderr().is_terminal();
        let coloured = style::wanted();
        Self {
            json: global.json,
            quiet: global.quiet,
            out: Style::new(coloured && stdout_is_terminal),
            err: Style::new(coloured && stderr_is_terminal),
            stdout_is_terminal,
            stderr_is_terminal,
        }
    }

    /// Progress of one command. Silent when quiet.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(*self)
    }

    /// Prints to stdout. A reader that went away (`| head`) is not an error worth a word.
    ///
    /// # Errors
    /// stdout cannot be written: a full disk, say.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        self.print_bytes(text.as_bytes())
    }

    /// As [`Output::print`], for bytes that need not be text.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(CliError::stdout)
    }

    /// Prints one JSON document as a line, indented on a terminal.
    pub(crate) fn print_json(&self, json: &Json) -> Result<(), CliError> {
        let text = if self.stdout_is_terminal {
            format!("{json:#}\n")
        } else {
            format!("{json}\n")
        };
        self.print(&text)
    }

    /// Tells something on stderr, unless quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            eprint_line(text);
        }
    }

    /// Advice on stderr, unless quiet.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet && !self.json {
            eprint_line(&format!("{} {text}", self.err.cyan("hint:")));
        }
    }

    /// Something the user should know that is no error, on stderr, unless quiet.
    pub(crate) fn note(&self, text: &str) {
        self.say(&format!("{} {text}", self.err.yellow("note:")));
    }
}

/// The last thing written to a stderr that is no terminal is a guest's line without its end. There is one
/// stderr, so there is one of these.
static GUEST_MID_LINE: AtomicBool = AtomicBool::new(false);

/// Writes one line to stderr, below whatever a guest left unfinished there; a closed stderr is ignored,
/// since there is nowhere left to say so.
pub(crate) fn eprint_line(line: &str) {
    let end = if GUEST_MID_LINE.swap(false, Ordering::Relaxed) {
        "\n"
    } else {
        ""
    };
    let _ = writeln!(std::io::stderr().lock(), "{end}{line}");
}

/// Writes a guest's bytes to a stderr that is no terminal, as they are.
fn eprint_guest(bytes: &[u8]) {
    if let Some(last) = bytes.last() {
        let _ = std::io::stderr().lock().write_all(bytes);
        GUEST_MID_LINE.store(*last != b'\n', Ordering::Relaxed);
    }
}

/// Columns of the terminal behind stderr, or of a usual one.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(100, |(width, _)| width.0.into())
}
