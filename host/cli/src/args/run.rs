//! `lydian run`.

use super::limits::LimitArgs;

/// Run a function and print its result
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "lydian run [OPTIONS] TARGET [ARGS]...\n       lydian run TARGET --help",
    after_help = "\
Examples:
  lydian run square.wasm::square 4
  lydian run ./crate-dir::train '{depth: 3, rate: 0.1}'
  lydian run app@2::resize --width 80 --timeout 5s

A `#[lydian::local_entrypoint]` runs on this machine, its calls on the node: `lydian run ./crate-dir::main`.

The result goes to stdout in WAVE (--json: JSON), what the function writes to stderr.
`lydian run TARGET --help` shows the function's parameters. What follows `--` are values of the function,
by position, whatever they look like: `lydian run app::echo -- --verbose`."
)]
pub(crate) struct Args {
    /// `file.wasm[::function]`, `crate-dir[::function]` or `app[@version][::function]`; of a crate's folder here and an
    /// app, both of one name, the folder
    pub(crate) target: String,
    /// Arguments in WAVE: by position, or `--name value`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
    /// Keep a file's or crate's app on the node after the call, until `lydian app stop`
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
