//! Where a shell's lines come from: a pipe, a file, or a terminal.
//!
//! Reading blocks, and calls, heartbeats and a node in this process go on meanwhile: so a thread reads.

use std::io::{BufRead as _, IsTerminal as _};

use tokio::sync::mpsc;

use super::editor::{Editor, Shared};
use crate::output::Output;
use crate::output::error::CliError;
use crate::signals::Interrupt;

/// What was typed.
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C at the prompt: the line is given up.
    Abandoned,
    End,
}

/// The lines, one when asked for.
pub(super) struct Input {
    asks: std::sync::mpsc::Sender<()>,
    lines: mpsc::Receiver<Typed>,
    prompts: bool,
}

impl Input {
    /// Starts to read stdin; `name` stands in the prompt, `scope` is what Tab completes with.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn new(output: &Output, name: &str, scope: Shared) -> Result<Self, CliError> {
        let (asks, asked) = std::sync::mpsc::channel();
        let (sender, lines) = mpsc::channel(1);
        let prompts = std::io::stdin().is_terminal() && output.stdout_is_terminal;
        let prompt = prompts.then(|| format!("{name}> "));
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || read(prompt, scope, &asked, &sender))
            .map_err(|error| {
                CliError::failed("no-thread", format!("cannot read lines: {error}"))
            })?;
        Ok(Self {
            asks,
            lines,
            prompts,
        })
    }

    /// Whether somebody types.
    pub(super) fn is_prompt(&self) -> bool {
        self.prompts
    }

    pub(super) async fn next(&mut self, interrupt: &mut Interrupt) -> Typed {
        // Meant for the call before, which was done by itself.
        interrupt.was_pressed();
        if self.asks.send(()).is_err() {
            return Typed::End;
        }
        tokio::select! {
            typed = self.lines.recv() => typed.unwrap_or(Typed::End),
            () = interrupt.pressed() => Typed::Abandoned,
        }
    }
}

fn read(
    prompt: Option<String>,
    scope: Shared,
    asked: &std::sync::mpsc::Receiver<()>,
    lines: &mpsc::Sender<Typed>,
) {
    let data_dir = crate::env::data_dir(None).ok();
    let mut editor = prompt.and_then(|prompt| Editor::new(prompt, scope, data_dir.as_deref()));
    let mut is_first = true;
    while asked.recv().is_ok() {
        let typed = match &mut editor {
            Some(editor) => editor.read(),
            None => match read_plain() {
                Typed::Line(line) if is_first => Typed::Line(without_mark(&line).to_owned()),
                typed => typed,
            },
        };
        is_first = false;
        if lines.blocking_send(typed).is_err() {
            return;
        }
    }
}

/// Without what some editors begin a text with.
fn without_mark(line: &str) -> &str {
    line.strip_prefix('\u{feff}').unwrap_or(line)
}

fn read_plain() -> Typed {
    let mut line = Vec::new();
    match std::io::stdin().lock().read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => Typed::End,
        // What is not UTF-8 is told of as any other mistake in a line.
        Ok(_) => Typed::Line(String::from_utf8_lossy(&line).into_owned()),
    }
}
