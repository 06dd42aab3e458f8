//! `lydian calls …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List calls, newest first
    List(ListArgs),
    /// Wait for a call and print its result
    Get(GetArgs),
    /// Stop a call
    Cancel(CallArg),
    /// Show what a call wrote
    Logs(LogsArgs),
    /// Show where the time of a call went
    Explain(CallArg),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only calls of this app
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// Only calls in this state
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) limit: u32,
}

/// The states of a call, as [`ListArgs`] filters them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The call's id
    pub(crate) call: String,
    /// Wait this long at most; `0` looks once [default: wait for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_wait, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct CallArg {
    /// The call's id
    pub(crate) call: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The call's id
    pub(crate) call: String,
    /// Go on until the call ends
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// A duration where zero has a meaning: look once.
fn parse_wait(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" | "0ms" => Ok(Duration::ZERO),
        text => units::parse_duration(text),
    }
}
