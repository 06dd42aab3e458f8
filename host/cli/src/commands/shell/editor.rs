//! The line editor of a shell: history, completion, lines that go on until their brackets close.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Helper};

use super::complete::{self, Scope};
use super::input::Typed;
use crate::words;

/// A file in the data directory with the lines of earlier shells.
const HISTORY_FILE: &str = "shell-history";
/// Lines that are remembered.
const HISTORY_LINES: usize = 1_000;

/// What the editor completes with; the shell keeps it up to date.
pub(super) type Shared = Arc<Mutex<Scope>>;

/// Reads lines from a terminal.
pub(super) struct Editor {
    editor: rustyline::Editor<Help, FileHistory>,
    history: Option<PathBuf>,
    prompt: String,
}

impl Editor {
    /// None when the terminal cannot be edited on; lines are then read as they come.
    pub(super) fn new(prompt: String, scope: Shared, data_dir: Option<&Path>) -> Option<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .max_history_size(HISTORY_LINES)
            .ok()?
            .auto_add_history(true)
            .build();
        let mut editor = rustyline::Editor::with_config(config).ok()?;
        editor.set_helper(Some(Help(scope)));
        let history = data_dir.map(|dir| dir.join(HISTORY_FILE));
        if let Some(path) = &history {
            // The first shell of this user has none.
            let _ = editor.load_history(path);
        }
        Some(Self {
            editor,
            history,
            prompt,
        })
    }

    pub(super) fn read(&mut self) -> Typed {
        match self.editor.readline(&self.prompt) {
            Ok(line) => {
                if let Some(path) = &self.history {
                    // Without a place for it, the history ends with this shell.
                    let _ = self.editor.append_history(path);
                }
                Typed::Line(line)
            }
            Err(ReadlineError::Interrupted) => Typed::Abandoned,
            Err(_) => Typed::End,
        }
    }
}

struct Help(Shared);

impl Helper for Help {}
impl Hinter for Help {
    type Hint = String;
}
impl Highlighter for Help {}

impl Completer for Help {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let scope = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = line.get(..at).unwrap_or_default();
        Ok(complete::complete(text, &scope))
    }
}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if words::is_open(context.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}
