//! `lydian shell`.

use super::limits::LimitArgs;

/// Call functions at a prompt
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lydian shell math.wasm
  echo 'square(4)' | lydian shell ./crate-dir

At the prompt `square(4)`, `square 4` and `square --x 4` call a function, `let c = counter.new(1)` keeps
a result, `c.increment(2)` calls a method of it, and `.help` tells the rest. Each call has a fresh
sandbox, unless the component has resources: then all calls share one, in which they live.")]
pub(crate) struct Args {
    /// `file.wasm`, `crate-dir` or `app[@version]`
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
