//! `lydian spawn`: a durable call.
//!
//! On a node the id is all there is to wait for. Without one this process is the node: the call is
//! recorded first, its id printed, and then the process stays until the call is done, since nobody else
//! would run it. Left early, the record stays and the next node on the data directory runs the call.

use std::time::Duration;

use lydian_client::{Call, Error, Wire};
use lydian_node::Node;
use serde_json::json;

use super::connect::{self, Place, Work};
use super::opened::{Kind, Wanted};
use super::run::encode_args;
use super::{Ctx, limits, load};
use crate::args::spawn::Args;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::progress::Progress;

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let progress = ctx.output.progress();
    let wanted = Wanted {
        files: Place::Catalog,
        ..Wanted::calls(Work::One)
    };
    let loaded = load::load(ctx, &args.target, wanted, &progress).await?;
    if ctx.tail.wants_help {
        return super::run::help(ctx, &progress, &loaded);
    }
    loaded.check_callable()?;
    if matches!(loaded.opened.kind, Kind::Own(..)) {
        return Err(goes_first(&loaded.opened.shown));
    }
    let setters = loaded.setters(&args.limits);
    let encoded = encode_args(ctx, &loaded.function, &args.args);
    let encoded = encoded.map_err(|error| setters.explain(error))?;
    let mut function = loaded.function.with_limits(limits::of(&args.limits));
    if let Some(key) = args.idempotency_key {
        function = function.with_idempotency_key(key);
    }
    let call = function.spawn(Wire(encoded)).await;
    let call = call.map_err(|error| setters.error(error))?;
    let here = ctx.own_node.get();
    show(ctx, &progress, &call, &loaded.shown, here.is_some())?;
    match here {
        Some(node) => stay(ctx, &progress, &call, node).await,
        None => Ok(Exit::Ok),
    }
}

/// A component's limits and grants are an app's, and one that goes with this command is gone before its call.
fn goes_first(path: &str) -> CliError {
    let message = format!(
        "`{path}` has a manifest, which only an app that stays can keep for a durable call"
    );
    CliError::usage("needs-deploy", message).hint(format!(
        "deploy it first: `lydian deploy {}`, then spawn a function of that app",
        crate::output::signature::quote(path)
    ))
}

fn show(
    ctx: &Ctx,
    progress: &Progress,
    call: &Call,
    target: &str,
    here: bool,
) -> Result<(), CliError> {
    let id = call.id();
    if ctx.output.json {
        let line = json!({ "call": id, "target": target, "duplicate": call.was_duplicate() });
        return progress.print(&format!("{line}\n"));
    }
    progress.print(&format!("{id}\n"))?;
    if call.was_duplicate() {
        ctx.output
            .note("an earlier spawn had the same idempotency key; this is its call");
    }
    if here {
        ctx.output.note(&who_runs(
            connect::asks_embedded(ctx),
            connect::node_beside(),
        ));
    }
    // Here the call is done before anybody could steer it.
    let next: &[&str] = if here {
        &["get"]
    } else {
        &["get", "logs -f", "cancel"]
    };
    for command in next {
        ctx.output.hint(&format!("lydian calls {command} {id}"));
    }
    Ok(())
}

/// Who runs a call that was recorded by the node in this process; `beside` is another on the same data directory.
fn who_runs(embedded: bool, beside: Option<String>) -> String {
    match (embedded, beside) {
        (true, Some(url)) => format!(
            "`embedded` asks for a node in this process; it runs the call, or the node at `{url}` on the same data directory does"
        ),
        (true, None) => {
            "`embedded` asks for a node in this process, which runs the call and ends with it"
                .to_owned()
        }
        (false, Some(url)) => format!(
            "the node at `{url}` does not answer, so this process runs the call and ends with it"
        ),
        (false, None) => {
            "no node is running, so this process runs the call and ends with it".to_owned()
        }
    }
}

/// What becomes of a call that this process leaves.
fn left(beside: Option<String>) -> String {
    let runs = beside.map_or_else(
        || "`lydian up` on this data directory".to_owned(),
        |url| format!("the node at `{url}`"),
    );
    format!("left before the call was done; {runs} runs it again")
}

/// Runs the call here, to its end.
async fn stay(ctx: &Ctx, progress: &Progress, call: &Call, node: &Node) -> Result<Exit, CliError> {
    progress.step(format!("running {}", call.id()));
    let done = tokio::select! {
        done = call.get::<Wire>(None) => done,
        _ = tokio::signal::ctrl_c() => {
            progress.finish();
            // Back into the queue, so that the next node need not wait for this one's claim to run out.
            node.shutdown(Duration::ZERO).await;
            ctx.output.note(&left(connect::node_beside()));
            return Ok(Exit::Interrupted);
        }
    };
    match done {
        Ok(_) => {
            progress.done("done");
            Ok(Exit::Ok)
        }
        // The spawn itself succeeded; how the call ended is what `get` tells.
        Err(Error::Failed(failure)) => {
            progress.finish();
            ctx.output.note(&format!("the call failed: {failure}"));
            Ok(Exit::Ok)
        }
        Err(error) => Err(error.into()),
    }
}
