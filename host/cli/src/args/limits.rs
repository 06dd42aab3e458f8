//! The limits of one call as options. They can only lower what a deployment sets; of a file they set all.

use std::time::Duration;

use crate::units::{self, Bytes};

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Wall time of one call: start, run, host calls, drop [default: 300s]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// CPU time of one call [default: as long as --timeout]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, allow_hyphen_values = true)]
    pub(crate) cpu: Option<Duration>,
    /// Memories, tables and host bytes of one sandbox, summed [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) memory: Option<Bytes>,
    /// Arguments, and results, each [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) payload: Option<Bytes>,
    /// Bytes one host call may copy [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) host_call_bytes: Option<Bytes>,
    /// Resources open at once [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) handles: Option<u32>,
    /// Files open at once [default: 256]
    #[arg(long, value_name = "COUNT", value_parser = units::parse_count, allow_hyphen_values = true)]
    pub(crate) open_files: Option<u32>,
    /// stdout and stderr of one call together [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) output: Option<Bytes>,
    /// stdout and stderr per second [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes, allow_hyphen_values = true)]
    pub(crate) output_rate: Option<Bytes>,
}
