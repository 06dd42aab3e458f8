//! `lydian spawn`.

use super::limits::LimitArgs;

/// Start a durable call and print its id
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "lydian spawn [OPTIONS] TARGET [ARGS]...",
    after_help = "\
The id goes to stdout. `lydian calls get ID` waits for the result, which is kept for 7 days.
Without a node this process runs the call itself and ends with it; left early, the call stays
recorded and `lydian up` on the same data directory runs it again.
What follows `--` are values of the function, by position, whatever they look like."
)]
pub(crate) struct Args {
    /// `file.wasm[::function]`, `crate-dir[::function]` or `app[@version][::function]`
    pub(crate) target: String,
    /// Arguments in WAVE: by position, or `--name value`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
    /// A repeated spawn with the same key answers the first call
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
