//! Ctrl-C and its like, for commands that do more than one thing before they end.
//!
//! `tokio::signal::ctrl_c` hears only while it is waited for, and once it was, the default is off: what is pressed
//! between two waits is lost. What is listened for here is remembered until somebody asks.

use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output::error::CliError;

/// Ctrl-C, from when this was made.
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// # Errors
    /// The process cannot watch for signals.
    pub(crate) fn listen() -> Result<Self, CliError> {
        listen(SignalKind::interrupt()).map(Self)
    }

    /// Waits for Ctrl-C; at once when it was pressed since it was last asked for.
    pub(crate) async fn pressed(&mut self) {
        // None would mean that signals cannot arrive any more, as when a runtime ends.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was pressed since it was last asked for.
    pub(crate) fn was_pressed(&mut self) -> bool {
        self.0.recv().now_or_never().flatten().is_some()
    }
}

/// Listens for one kind of signal, which no longer ends the process by itself.
///
/// # Errors
/// The process cannot watch for signals.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| {
        CliError::failed("no-signals", format!("cannot watch for signals: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{self, Signal};

    #[tokio::test]
    async fn what_is_pressed_between_two_waits_counts() {
        let mut interrupt = Interrupt::listen().unwrap();
        assert!(!interrupt.was_pressed());
        process::kill_process(process::getpid(), Signal::INT).unwrap();
        interrupt.pressed().await;
        assert!(!interrupt.was_pressed());
        process::kill_process(process::getpid(), Signal::INT).unwrap();
        while !interrupt.was_pressed() {
            tokio::task::yield_now().await;
        }
    }
}
