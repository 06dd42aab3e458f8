//! `lydian deploy`.

/// Make a component the newest version of an app
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`lydian.toml` beside the component or in the crate directory sets limits and grants. The same
component and manifest as the current version make no new one.")]
pub(crate) struct Args {
    /// A component (`.wasm`) or a crate directory, which is built
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// The app's name [default: that in lydian.toml, the package's, or the file's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Show what would change and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// A line for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Refuse unless this is the current version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,
}
