//! `lydian serve`.

use std::net::SocketAddr;

use super::limits::LimitArgs;

/// Run an app while you write it: each save is built and swapped in
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The app lives as long as this command, on the node of `--url`, or on one that runs here, or in this
process. Calls in flight finish on the version they began on; a save that does not build leaves the
one before in place. What functions write goes to stdout.")]
pub(crate) struct Args {
    /// A crate directory, or a component (`.wasm`) that something else builds
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// Where a node in this process listens, when no other is found
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070", value_parser = super::node::parse_listen)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
