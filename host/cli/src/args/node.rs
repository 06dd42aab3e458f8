//! `lydian up`, `lydian doctor`, `lydian completions`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Start a node on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-C or SIGTERM: no new calls, those in flight finish or go back to the queue, then the node
ends. A second Ctrl-C ends it at once.")]
pub(crate) struct UpArgs {
    /// Address and port to serve gRPC and HTTP on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070", value_parser = parse_listen)]
    pub(crate) listen: SocketAddr,
    /// Where components, artifacts and the catalog live [default: LYDIAN_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How long calls in flight may take to finish on Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::units::parse_duration)]
    pub(crate) grace: std::time::Duration,
}

/// Check this machine and say what is missing and how to mend it
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

/// Print a completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lydian completions bash > ~/.local/share/bash-completion/completions/lydian
  lydian completions zsh > ~/.zfunc/_lydian
  lydian completions fish > ~/.config/fish/completions/lydian.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in
    pub(crate) shell: Shell,
}

/// `127.0.0.1:7070`, or a port alone, on loopback.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse()
        .map_err(|_| "write an address and a port, such as `127.0.0.1:7070`".to_owned())
}
