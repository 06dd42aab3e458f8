//! Where a shell's lines come from: a pipe, a file, or a terminal.
//!
//! Reading blocks, and calls, heartbeats and a node in this process go on meanwhile: so a thread reads.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use tokio::sync::mpsc;

use crate::output::Output;
use crate::output::error::CliError;

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
    /// Starts to read stdin; `name` stands in the prompt.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn new(output: &Output, name: &str) -> Result<Self, CliError> {
        let (asks, asked) = std::sync::mpsc::channel();
        let (sender, lines) = mpsc::channel(1);
        let prompts = std::io::stdin().is_terminal() && output.stdout_is_terminal;
        let prompt = prompts.then(|| format!("{name}> "));
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || read(prompt.as_deref(), &asked, &sender))
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

    pub(super) async fn next(&mut self) -> Typed {
        if self.asks.send(()).is_err() {
            return Typed::End;
        }
        tokio::select! {
            typed = self.lines.recv() => typed.unwrap_or(Typed::End),
            _ = tokio::signal::ctrl_c() => Typed::Abandoned,
        }
    }
}

fn read(prompt: Option<&str>, asked: &std::sync::mpsc::Receiver<()>, lines: &mpsc::Sender<Typed>) {
    let mut stdin = std::io::stdin().lock();
    while asked.recv().is_ok() {
        if let Some(prompt) = prompt {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout
                .write_all(prompt.as_bytes())
                .and_then(|()| stdout.flush());
        }
        let mut line = String::new();
        let typed = match stdin.read_line(&mut line) {
            Ok(0) | Err(_) => Typed::End,
            Ok(_) => Typed::Line(line),
        };
        if lines.blocking_send(typed).is_err() {
            return;
        }
    }
}
