//! `lydian completions`: a script for the user's shell.

use clap::CommandFactory as _;

use super::Ctx;
use crate::args::Cli;
use crate::args::node::CompletionsArgs;
use crate::exit::Exit;
use crate::output::error::CliError;

pub(super) fn run(ctx: &Ctx, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lydian", &mut script);
    ctx.output.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
