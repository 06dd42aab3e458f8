//! A `#[lydian::local_entrypoint]`: the crate's own program, run here, while its functions run on the node.
//!
//! The crate's component is opened as an app of this command's own. The program finds it through the
//! variables every program of the SDK reads; its arguments, output and exit code are its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};

use super::opened::Opened;
use super::source::{Ready, Source};
use lydian_value::names;

use super::{Ctx, connect, limits, ship};
use crate::args::run::Args;
use crate::build;
use crate::exit::Exit;
use crate::manifest::Entrypoint;
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::output::signature;

/// The app a program's functions belong to, whatever its crate is called.
const APP: &str = "LYDIAN_APP";
/// A program was told to stop by the same Ctrl-C; one that does not is stopped.
const TIME_TO_END: Duration = Duration::from_secs(2);

/// The program a target's function names; also the only one when nothing is named.
///
/// # Errors
/// Exit 2: several programs go by that name.
pub(super) fn chosen(
    ready: &Ready,
    function: Option<&str>,
) -> Result<Option<Entrypoint>, CliError> {
    let mut found = ready.entrypoints();
    if let Some(name) = function {
        let is_meant =
            |entry: &Entrypoint| names::means(name, &entry.name) || entry.program == name;
        found.retain(is_meant);
    } else if found.len() > 1 {
        // Then a function is meant, or the list of candidates.
        return Ok(None);
    }
    if found.len() > 1 {
        let message = format!("several programs have an entrypoint `{}`", found[0].name);
        let mut error = CliError::usage("several-programs", message);
        error.hints = found
            .iter()
            .map(|entry| format!("name the program: `::{}`", entry.program))
            .collect();
        return Err(error);
    }
    Ok(found.pop())
}

/// Builds the program, opens the app, and runs the one beside the other.
pub(super) async fn run(
    ctx: &Ctx,
    source: &Source,
    ready: &Ready,
    entry: &Entrypoint,
    args: Args,
    progress: &Progress,
) -> Result<Exit, CliError> {
    if ctx.tail.wants_help {
        return help(ctx, source, entry, progress);
    }
    let executable = build::build_program(source.dir(), &entry.program, progress)?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (client, url) = connect::listening(ctx, anywhere).await?;
    let environment = client.environment().to_owned();
    let settings = limits::manifest(&args.limits);
    let manifest = ship::manifest(&client, source, ready, settings, progress).await?;
    let mut opened = Opened::on(client, source, ready, Some(&manifest), progress).await?;
    let Some(app) = opened.app().map(|(name, _)| name.to_owned()) else {
        return Err(CliError::failed("no-app", "the node opened no app"));
    };
    if args.detach {
        opened.detach(ctx).await?;
        ctx.output
            .note(&format!("`{app}` stays until `lydian app stop {app}`"));
    }
    progress.finish();
    let mut command = Command::new(&executable);
    let (given, literal) = args
        .args
        .split_at(args.args.len().saturating_sub(ctx.tail.literal));
    command.args(given);
    if !literal.is_empty() {
        command.arg("--").args(literal);
    }
    command
        .env(crate::env::URL.name, url)
        .env(crate::env::ENVIRONMENT.name, environment)
        .env(APP, app);
    let mut child = command.spawn().map_err(|error| {
        let message = format!("cannot start `{}`: {error}", executable.display());
        CliError::failed("cannot-start", message)
    })?;
    let ended = tokio::select! {
        status = child.wait() => status.map(exit_of),
        _ = tokio::signal::ctrl_c() => stop(&mut child).await,
    };
    opened.close().await;
    ended
        .map_err(|error| CliError::failed("program-lost", format!("the program was lost: {error}")))
}

/// The program had the same Ctrl-C.
async fn stop(child: &mut Child) -> std::io::Result<Exit> {
    if tokio::time::timeout(TIME_TO_END, child.wait())
        .await
        .is_err()
    {
        child.kill().await?;
    }
    Ok(Exit::Interrupted)
}

/// A program's exit code is the command's.
fn exit_of(status: ExitStatus) -> Exit {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Exit::Ok,
        Some(code) => Exit::Program(code),
        None => Exit::Failed,
    }
}

fn help(
    ctx: &Ctx,
    source: &Source,
    entry: &Entrypoint,
    progress: &Progress,
) -> Result<Exit, CliError> {
    progress.finish();
    if ctx.output.json {
        let args = entry
            .args
            .iter()
            .map(|(name, ty)| json!({ "name": name, "type": ty }));
        let args: Vec<_> = args.collect();
        let json = json!({ "name": entry.name, "docs": entry.docs, "program": entry.program, "args": args });
        ctx.output.print_json(&json)?;
    } else {
        ctx.output.print(&help_text(ctx, source, entry))?;
    }
    Ok(Exit::Ok)
}

fn help_text(ctx: &Ctx, source: &Source, entry: &Entrypoint) -> String {
    let style = ctx.output.out;
    let args: Vec<String> = entry
        .args
        .iter()
        .map(|(name, ty)| format!("{name}: {ty}"))
        .collect();
    let mut text = format!(
        "{}({}), run on this machine\n",
        style.bold(&entry.name),
        args.join(", ")
    );
    for line in entry.docs.trim().lines() {
        text += format!("  {line}").trim_end();
        text.push('\n');
    }
    if !entry.args.is_empty() {
        text += &format!("\n{}\n", style.bold("Parameters:"));
        let width = entry
            .args
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, ty) in &entry.args {
            text += &format!("  --{name:width$}  {ty}\n");
        }
    }
    let target = signature::quote(&format!("{}::{}", source.shown(), entry.name));
    let names = entry.args.iter().map(|(name, _)| format!(" --{name} …"));
    text + &format!(
        "\n{}\n  lydian run {target}{}\n",
        style.bold("Usage:"),
        names.collect::<String>()
    )
}
