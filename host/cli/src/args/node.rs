//! `lydian up`, `lydian doctor`, `lydian completions`.
//!
//! Every option of `lydian up` is also a key of its `--config` file (`crate::node_config`), so each is an `Option`: what was
//! not given on the command line may be in the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _};
use clap_complete::Shell;

use super::limits::LimitArgs;
use crate::units::{self, Bytes};

/// Start a node on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-C or SIGTERM: no new calls, those in flight finish or go back to the queue, then the node
ends. A second Ctrl-C ends it at once.

A config file is TOML: every option by its name without dashes in front, limits in `[limits]`, the
most that calls may be given in `[limits.max]`.
  listen = \"0.0.0.0:7070\"
  token-file = \"/run/secrets/lydian\"
  max-sandboxes = 2000
  [limits]
  memory = \"512MiB\"
  [limits.max]
  memory = \"2GiB\"")]
pub(crate) struct UpArgs {
    /// Read options from a TOML file; those on the command line go before it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address and port to serve gRPC and HTTP on [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Where components, artifacts and the catalog live [default: LYDIAN_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How long calls in flight may take to finish on Ctrl-C [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, allow_hyphen_values = true)]
    pub(crate) grace: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// The most that any call may be given, such as `memory=2GiB`; can be repeated [default:
    /// memory: all there is for functions, timeout: 24h]
    #[arg(long, value_name = "LIMIT=VALUE", value_parser = parse_limit_max, help_heading = "Limits")]
    pub(crate) limit_max: Vec<LimitArgs>,
}

/// Who may use the node.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Ask every caller for this token, of 16 characters or more [default: LYDIAN_TOKEN]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// Ask every caller for the token in this file, which other programs cannot see as they can a command line
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Listen for other machines although nobody is asked for a token
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Answer on loopback to this host name too, `*.example.org` for all below one; can be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
}

/// How much of the machine the node takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Size")]
pub(crate) struct SizeArgs {
    /// Memory of all functions together, with their arguments and results [default: 60 % of the
    /// machine's]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) guest_memory: Option<Bytes>,
    /// Sandboxes at once [default: as many as the machine carries]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) max_sandboxes: Option<u32>,
    /// Client connections at once [default: half of `ulimit -n`]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) max_connections: Option<u32>,
    /// Sockets of all functions together [default: a quarter of `ulimit -n`]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) guest_sockets: Option<u32>,
    /// Compiled components kept on disk [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) artifact_cache: Option<Bytes>,
    /// Components compiled at once [default: one per core]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) compile_workers: Option<u32>,
    /// Memory of one compilation [default: 4GiB, less on a small machine]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) compile_memory: Option<Bytes>,
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

/// `memory=2GiB`: one limit as its own option reads it.
fn parse_limit_max(text: &str) -> Result<LimitArgs, String> {
    let command = LimitArgs::augment_args(clap::Command::new("limit").no_binary_name(true));
    let names: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .collect();
    let known = names.join("`, `");
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!(
            "write a limit and its value, such as `memory=2GiB`; the limits are `{known}`"
        ));
    };
    if !names.iter().any(|known| known == name) {
        return Err(format!("`{name}` is not a limit; the limits are `{known}`"));
    }
    let matches = command.try_get_matches_from([format!("--{name}={value}")]);
    matches
        .and_then(|matches| LimitArgs::from_arg_matches(&matches))
        .map_err(|error| {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            text.strip_prefix("error: ").unwrap_or(text).to_owned()
        })
}

/// `127.0.0.1:7070`, or a port alone, on loopback.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse()
        .map_err(|_| "write an address and a port, such as `127.0.0.1:7070`".to_owned())
}
