//! `lydian map`.

use super::limits::LimitArgs;

/// Run a function once per input line, many at a time
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seq 1000 | lydian map square.wasm::square --inputs -
  lydian map app::train --inputs configs.jsonl --json > scores.jsonl

What a line holds is decided once, by the function's parameters. With one parameter each line is its
value alone: `4`, `[1, 2]`, `{\"depth\": 3}`, text without quotes. With several each line holds all of
them: a JSON array `[1, \"a\"]`, a JSON object by parameter name, or a WAVE tuple `(1, \"a\")`.
Results are lines on stdout, in the order of the inputs, in WAVE (--json: JSON).")]
pub(crate) struct Args {
    /// `file.wasm[::function]`, `crate-dir[::function]` or `app[@version][::function]`
    pub(crate) target: String,
    /// File with one input per line; `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: String,
    /// Lines are WAVE [default: JSON or WAVE]
    #[arg(long)]
    pub(crate) wave: bool,
    /// Results as they complete, each line as `index<TAB>result` (--json: an object)
    #[arg(long)]
    pub(crate) unordered: bool,
    /// Print failed inputs as result lines and go on, every line then `ok(…)` or `err(…)` (--json: an object with `ok` or `error`); else the first ends the map
    #[arg(long)]
    pub(crate) return_errors: bool,
    /// Sandboxes at once [default: the node decides]
    #[arg(long, value_name = "COUNT", value_parser = crate::units::parse_count, allow_hyphen_values = true)]
    pub(crate) max_parallel: Option<u32>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
