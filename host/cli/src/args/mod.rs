//! The command line: text in, one [`Cli`] out. Nothing here touches the machine.
//!
//! One file per command holds its options, their help and their parsing. [`parse`] first lets
//! [`tail`] sort what follows a TARGET into options of ours and arguments of the function.

pub(crate) mod app;
pub(crate) mod calls;
pub(crate) mod deploy;
pub(crate) mod limits;
pub(crate) mod map;
pub(crate) mod new;
pub(crate) mod node;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod spawn;
mod tail;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{env, exit};

pub(crate) use tail::Tail;

/// Run functions of WebAssembly components in sandboxes, here or on a node.
#[derive(Debug, Parser)]
#[command(
    name = "lydian",
    version = crate::version(),
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Start with `lydian run file.wasm::function`; `lydian COMMAND --help` tells more.",
    after_long_help = long_help(),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Print JSON; an error is then one JSON object on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Show no progress; what the function writes is still shown
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Node to use, such as `http://127.0.0.1:7070`; `embedded` for none
    #[arg(long, global = true, value_name = "URL", env = env::URL.name, hide_env_values = true, help_heading = "Global options")]
    pub(crate) url: Option<String>,
    /// Environment apps are looked up in [default: main]
    #[arg(short, long = "env", global = true, value_name = "NAME", env = env::ENVIRONMENT.name, hide_env_values = true, help_heading = "Global options")]
    pub(crate) environment: Option<String>,
}

#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, for the length of the program"
)]
pub(crate) enum Command {
    New(new::Args),
    Run(run::Args),
    Map(map::Args),
    Spawn(spawn::Args),
    Shell(shell::Args),
    Serve(serve::Args),
    /// Look at and steer calls
    #[command(subcommand)]
    Calls(calls::Command),
    Deploy(deploy::Args),
    /// Look at and steer deployed apps
    #[command(subcommand)]
    App(app::Command),
    Up(node::UpArgs),
    Doctor(node::DoctorArgs),
    Completions(node::CompletionsArgs),
}

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) cli: Cli,
    /// What was found behind the TARGET of `run` and `spawn`.
    pub(crate) tail: Tail,
}

/// Parses a whole command line, program name included.
///
/// # Errors
/// clap's, which also carries `--help` and `--version`.
pub(crate) fn parse(argv: Vec<OsString>) -> Result<Parsed, clap::Error> {
    let mut command = Cli::command();
    command.build();
    let (argv, tail) = tail::sort(&command, argv);
    match Cli::try_parse_from(&argv) {
        Ok(cli) => Ok(Parsed { cli, tail }),
        Err(mut error) => {
            suggest_command(&mut error, &command, &argv);
            Err(error)
        }
    }
}

/// Adds a name to an unknown command where clap knows none: what it calls alike leaves out the short ones.
fn suggest_command(error: &mut clap::Error, top: &clap::Command, argv: &[OsString]) {
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let names = argv.iter().skip(1).filter_map(|token| token.to_str());
    let command = names.take_while(|name| name != typed);
    let command = command.fold(top, |command, name| {
        command.find_subcommand(name).unwrap_or(command)
    });
    let known = command.get_subcommands().map(clap::Command::get_name);
    if let Some(near) = crate::suggest::nearest(typed, known) {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    }
}

fn long_help() -> String {
    format!("{}\n{}", exit::HELP, env::help())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    /// Help is read in a terminal: whoever adds an option without a text sees this.
    #[test]
    fn every_option_and_command_is_explained() {
        fn visit(command: &clap::Command) {
            assert!(
                command.get_about().is_some(),
                "command `{}` has no text",
                command.get_name()
            );
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "`{}` of `{}`",
                    argument.get_id(),
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(visit);
        }
        let mut command = Cli::command();
        command.build();
        visit(&command);
    }

    #[test]
    fn variables_are_listed_in_the_long_help() {
        let help = Cli::command().render_long_help().to_string();
        for variable in env::ALL {
            assert!(help.contains(variable.name), "{}", variable.name);
        }
    }
}
