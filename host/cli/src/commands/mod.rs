//! Doing: one module per command, each an `async fn run(…) -> Result<Exit, CliError>`.

mod app;
mod calls;
mod completions;
mod connect;
mod deploy;
mod doctor;
mod limits;
mod load;
mod logs;
mod map;
pub(crate) mod new;
mod nodes;
mod opened;
mod program;
mod run;
mod serve;
mod shell;
mod ship;
mod source;
mod spawn;
mod up;

use std::sync::OnceLock;

use lydian_node::Node;

use crate::args::{Command, Global, Parsed, Tail};
use crate::env;
use crate::exit::Exit;
use crate::output::Output;
use crate::output::error::CliError;

/// What every command is given.
struct Ctx {
    output: Output,
    global: Global,
    tail: Tail,
    own_node: OwnNode,
}

/// The node in this process, if a command needed one.
#[derive(Default)]
struct OwnNode(OnceLock<(Node, bool)>);

impl OwnNode {
    fn set(&self, node: Node, keeps_state: bool) {
        // A command connects once; were there a second, the first node would still serve its client.
        let _ = self.0.set((node, keeps_state));
    }

    fn get(&self) -> Option<&Node> {
        self.0.get().map(|(node, _)| node)
    }

    fn keeps_state(&self) -> bool {
        self.0.get().is_some_and(|(_, keeps_state)| *keeps_state)
    }
}

/// Carries out one parsed command line.
pub(crate) fn dispatch(mut parsed: Parsed, output: Output) -> Result<Exit, CliError> {
    env::check(&mut parsed.cli.global)?;
    let ctx = Ctx {
        output,
        global: parsed.cli.global,
        tail: parsed.tail,
        own_node: OwnNode::default(),
    };
    match parsed.cli.command {
        Command::Completions(args) => completions::run(&ctx, &args),
        Command::New(args) => new::run(&ctx, &args),
        Command::Up(args) => {
            let runtime = serving()?;
            let ended = runtime.block_on(up::run(&ctx, args));
            // Whoever pressed Ctrl-C twice does not wait for what still runs.
            runtime.shutdown_background();
            ended
        }
        command => {
            let runtime = one_shot()?;
            let ended = runtime.block_on(client_command(&ctx, command));
            if !ctx.own_node.keeps_state() {
                // The process ends anyway, and giving a pool of sandboxes back piece by piece takes longer
                // than a short call. What is kept is closed in order, though.
                std::mem::forget((runtime, ctx));
            }
            ended
        }
    }
}

async fn client_command(ctx: &Ctx, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Run(args) => run::run(ctx, args).await,
        Command::Map(args) => map::run(ctx, args).await,
        Command::Spawn(args) => spawn::run(ctx, args).await,
        Command::Serve(args) => serve::run(ctx, args).await,
        Command::Shell(args) => shell::run(ctx, args).await,
        Command::Calls(command) => calls::run(ctx, command).await,
        Command::Deploy(args) => deploy::run(ctx, args).await,
        Command::App(command) => app::run(ctx, command).await,
        Command::Doctor(args) => doctor::run(ctx, args).await,
        // Handled before a runtime was made.
        Command::New(_) | Command::Up(_) | Command::Completions(_) => Ok(Exit::Ok),
    }
}

/// One thread is enough to wait on: guests run on the engine's own, and starting more costs what a
/// short run takes.
fn one_shot() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)
}

fn serving() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)
}

fn no_runtime(error: std::io::Error) -> CliError {
    CliError::failed("no-runtime", format!("cannot start: {error}"))
        .hint("the limit on threads or open files may be reached; look at `ulimit -a`")
}
