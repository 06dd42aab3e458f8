//! `lydian deploy`: a component becomes the newest version of an app.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lydian_client::{Change, ChangeKind, Deploy, Deployed};
use serde_json::{Value as Json, json};

use super::connect::{self, Place, Work};
use super::source::Source;
use super::{Ctx, load, ship};
use crate::args::deploy::Args;
use crate::exit::Exit;
use crate::manifest;
use crate::output::error::CliError;
use crate::output::tree::Tree;
use crate::target;
use crate::units;

/// How the history names this program.
const CLIENT: &str = concat!("lydian ", env!("CARGO_PKG_VERSION"));

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let started = Instant::now();
    let progress = ctx.output.progress();
    let source = Source::find(&args.path)?;
    let ready = source.ready(&progress)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => source.default_name(&ready)?,
    };
    can_be_named(&name)?;
    let size = ready.bytes.len() as u64;
    let client = connect::connect(ctx, Place::Catalog, Work::One).await?;
    progress.step(format!("deploying {name} ({})", units::bytes(size)));
    let manifest = ship::manifest(&client, &source, &ready, manifest::empty(), &progress).await?;
    let mut deploy = Deploy::new(&name, ready.bytes.clone())
        .client(CLIENT)
        .manifest(&manifest);
    if let Some(message) = args.message {
        deploy = deploy.message(message);
    }
    if let Some(commit) = commit(source.dir()) {
        deploy = deploy.commit(commit);
    }
    if let Some(version) = args.if_version {
        deploy = deploy.if_version(version);
    }
    let deployed = if args.plan {
        client.plan(deploy).await
    } else {
        client.deploy(deploy).await
    };
    let deployed = deployed.map_err(|error| load::named(error, ready.digest, &ready.file))?;
    progress.finish();
    if ctx.output.json {
        ctx.output
            .print_json(&deployed_json(&name, &deployed, args.plan))?;
        return Ok(Exit::Ok);
    }
    let place = format!("{name} in {}", client.environment());
    let head = head(ctx, &place, &deployed, args.plan, started);
    let tree = tree(ctx, head, &deployed).render(ctx.output.out);
    ctx.output.print(&format!("{tree}\n"))?;
    if !args.plan && !deployed.unchanged {
        next_steps(ctx, &name, &deployed);
    }
    Ok(Exit::Ok)
}

/// Refuses a name by which no command could find the app again.
fn can_be_named(name: &str) -> Result<(), CliError> {
    if target::names_app(name) {
        return Ok(());
    }
    let message =
        format!("`{name}` cannot be an app's name: commands would read it as something else");
    Err(CliError::usage("invalid-name", message)
        .hint("give another with `--name`, such as `my-app`: a target with `/`, `@` or `::`, a leading `.` or the end `.wasm` is a path or a version"))
}

/// The commit `dir` is at, with `*` when files differ from it. None outside a repository or without git.
fn commit(dir: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(args)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let dirty = !git(&["status", "--porcelain", "--untracked-files=no", "--", "."])?.is_empty();
    Some(if dirty { commit + "*" } else { commit })
}

fn head(ctx: &Ctx, place: &str, deployed: &Deployed, plan: bool, started: Instant) -> String {
    let style = ctx.output.out;
    let took = units::duration(started.elapsed());
    match (plan, deployed.unchanged) {
        (true, true) => format!(
            "{place} is up to date at v{}; a deploy would change nothing",
            deployed.version
        ),
        (true, false) => format!(
            "{place} would become v{}; nothing was changed",
            deployed.version + 1
        ),
        (false, true) => format!(
            "{} {place} is unchanged, still v{} ({took})",
            style.green("✓"),
            deployed.version
        ),
        (false, false) => format!(
            "{} deployed {place} as v{} in {took}",
            style.green("✓"),
            deployed.version
        ),
    }
}

/// What a deploy, plan or rollback changed, below `head`.
pub(super) fn tree(ctx: &Ctx, head: String, deployed: &Deployed) -> Tree {
    let mut tree = Tree::new(head);
    if let Some(compile) = deployed.compile {
        let how = if compile.cached {
            "already compiled".to_owned()
        } else {
            format!("compiled in {}", units::duration(compile.duration))
        };
        let (component, artifact) = (
            units::bytes(compile.component_bytes),
            units::bytes(compile.artifact_bytes),
        );
        tree.add(format!("component of {component}, {how} to {artifact}"));
    }
    for change in &deployed.changes {
        tree.add(change_line(ctx, change));
    }
    if deployed.changes.is_empty() {
        for function in &deployed.functions {
            tree.add(format!("{}: {}", function.name, function.signature));
        }
    }
    tree
}

fn change_line(ctx: &Ctx, change: &Change) -> String {
    let style = ctx.output.out;
    match change.kind {
        ChangeKind::Added => format!("{} {}  {}", style.green("+"), change.what, change.after),
        ChangeKind::Removed => format!("{} {}  {}", style.red("-"), change.what, change.before),
        _ => format!(
            "{} {}  {} → {}",
            style.yellow("~"),
            change.what,
            change.before,
            change.after
        ),
    }
}

fn next_steps(ctx: &Ctx, name: &str, deployed: &Deployed) {
    if let Some(function) = deployed.functions.first() {
        let target = format!("{name}::{}", function.name);
        let example = crate::output::signature::example(&function.ty, &target);
        ctx.output.hint(&format!("call it with `{example}`"));
    }
}

pub(super) fn deployed_json(app: &str, deployed: &Deployed, plan: bool) -> Json {
    let changes = deployed.changes.iter().map(|change| {
        json!({ "kind": change.kind.to_string(), "what": change.what, "before": change.before, "after": change.after })
    });
    json!({
        "app": app,
        "version": deployed.version,
        "unchanged": deployed.unchanged,
        "plan": plan,
        "changes": changes.collect::<Vec<_>>(),
        "functions": deployed.functions.iter().map(super::app::function_json).collect::<Vec<_>>(),
        "compile": deployed.compile.map(|compile| json!({
            "duration_us": compile.duration.as_micros() as u64,
            "cached": compile.cached,
            "component_bytes": compile.component_bytes,
            "artifact_bytes": compile.artifact_bytes,
        })),
    })
}
