//! What the node in this process logs, on stderr.

use tracing_subscriber::EnvFilter;

use crate::env;

/// Someone should act on a warning; the rest is for those who ask.
const DEFAULT: &str = "warn";

/// Starts logging at [`env::LOG`], or at its default.
pub(crate) fn start(coloured: bool) {
    let wanted = env::read(&env::LOG).unwrap_or_else(|| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // The second of two in one process is ignored.
    let _ = subscriber.with_ansi(coloured).compact().try_init();
}

/// As [`start`], when the user asked: a one-shot command is not slowed by logs nobody reads.
pub(crate) fn start_if_asked(coloured: bool) {
    if env::read(&env::LOG).is_some() {
        start(coloured);
    }
}
