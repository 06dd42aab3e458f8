//! `lydian app …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List apps
    List(ListArgs),
    /// Show an app's functions, limits and grants
    Describe(AppArg),
    /// Print an app's WIT
    Wit(AppArg),
    /// List an app's versions, newest first
    History(NameArg),
    /// Make a new version with the content of an earlier one
    Rollback(RollbackArgs),
    /// Refuse new calls; those in flight finish
    Stop(NameArg),
    /// Show what an app's functions wrote
    Logs(LogsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Apps of all environments
    #[arg(short, long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AppArg {
    /// `app`, `app@version`, or a component or crate directory that is not deployed
    #[arg(value_name = "APP")]
    pub(crate) app: String,
}

#[derive(Debug, Args)]
pub(crate) struct NameArg {
    /// The app's name
    #[arg(value_name = "APP")]
    pub(crate) app: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without VERSION, back from the version whose content is live: twice in a row goes back two versions,
never to one that was rolled back from. `lydian app history APP` lists them all.")]
pub(crate) struct RollbackArgs {
    /// The app's name
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// The version to return to, `3` or `v3` [default: the one before the content that is live]
    #[arg(value_parser = parse_version)]
    pub(crate) version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The app's name
    #[arg(value_name = "APP")]
    pub(crate) app: String,
    /// Go on as lines are written, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// This many of the newest lines first
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) tail: u32,
    /// Only this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
}

fn parse_version(text: &str) -> Result<u64, String> {
    match text.strip_prefix('v').unwrap_or(text).parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(format!("`{text}` is not a version; write `3` or `v3`")),
    }
}
