//! `lydian app …`.

use lydian_client::{
    App, ClassInfo, Client, Description, EntrypointInfo, FunctionInfo, MountInfo, Tail, Version,
};
use serde_json::{Value as Json, json};

use super::connect::{self, Place, Work};
use super::opened::{Opened, Wanted};
use super::{Ctx, load, logs};
use crate::args::app::{AppArg, Command, ListArgs, LogsArgs, RollbackArgs};
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::table::Table;
use crate::output::tree::Tree;
use crate::target::{self, Code};
use crate::units;

pub(super) async fn run(ctx: &Ctx, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(ctx, &args).await,
        Command::Describe(args) => describe(ctx, &args).await,
        Command::Wit(args) => wit(ctx, &args).await,
        Command::History(args) => history(ctx, &args.app).await,
        Command::Rollback(args) => rollback(ctx, &args).await,
        Command::Stop(args) => stop(ctx, &args.app).await,
        Command::Logs(args) => app_logs(ctx, args).await,
    }
}

async fn catalog(ctx: &Ctx) -> Result<Client, CliError> {
    connect::connect(ctx, Place::Catalog, Work::One).await
}

async fn list(ctx: &Ctx, args: &ListArgs) -> Result<Exit, CliError> {
    let client = catalog(ctx).await?;
    let apps = if args.all {
        client.all_apps().await?
    } else {
        client.apps().await?
    };
    if ctx.output.json {
        ctx.output
            .print_json(&apps.iter().map(app_json).collect())?;
        return Ok(Exit::Ok);
    }
    if apps.is_empty() {
        ctx.output.note(&format!(
            "no app in environment `{}`; `lydian deploy PATH` makes one",
            client.environment()
        ));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "App",
        "Environment",
        "State",
        "Version",
        "Functions",
        "Running",
        "Deployed",
        "Component",
    ]);
    for app in &apps {
        table.row(vec![
            app.name.clone(),
            app.environment.clone(),
            state(app),
            format!("v{}", app.version),
            app.functions.to_string(),
            app.calls_running.to_string(),
            units::timestamp(app.deployed_at),
            app.component.short(),
        ]);
    }
    ctx.output.print(&table.render(ctx.output.out))?;
    Ok(Exit::Ok)
}

fn state(app: &App) -> String {
    match (app.ephemeral, app.detached) {
        (true, true) => "detached".to_owned(),
        (true, false) => "ephemeral".to_owned(),
        (false, _) => app.state.to_string(),
    }
}

fn app_json(app: &App) -> Json {
    json!({
        "name": app.name,
        "environment": app.environment,
        "state": app.state.to_string(),
        "version": app.version,
        "component": app.component.to_string(),
        "deployed_at_ms": units::unix_ms(app.deployed_at),
        "functions": app.functions,
        "calls_running": app.calls_running,
        "ephemeral": app.ephemeral,
        "detached": app.detached,
    })
}

/// What an APP argument names: a deployed app, or a component that is only looked at. In a command about apps a bare word
/// is the app before it is the folder of a crate.
async fn description(ctx: &Ctx, text: &str) -> Result<Description, CliError> {
    let code = load::parse_code(text)?;
    if let (Code::Crate(_), Some(app)) = (&code, target::as_app(text)) {
        match described(ctx, &app).await {
            Err(error) if error.exit == Exit::NotFound => {}
            found => return found,
        }
    }
    described(ctx, &code).await
}

async fn described(ctx: &Ctx, code: &Code) -> Result<Description, CliError> {
    let progress = ctx.output.progress();
    let opened = Opened::new(ctx, code, Wanted::calls(Work::One), &progress).await?;
    let description = opened.describe().await?;
    opened.close().await;
    Ok(description)
}

async fn describe(ctx: &Ctx, args: &AppArg) -> Result<Exit, CliError> {
    let description = description(ctx, &args.app).await?;
    if ctx.output.json {
        ctx.output.print_json(&description_json(&description))?;
    } else {
        ctx.output
            .print(&(describe_tree(ctx, &args.app, &description) + "\n"))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn describe_tree(ctx: &Ctx, name: &str, description: &Description) -> String {
    let style = ctx.output.out;
    let mut tree = match &description.app {
        Some(app) if !app.ephemeral => {
            let mut tree = Tree::new(format!(
                "{} v{} in {}, {}",
                style.bold(&app.name),
                app.version,
                app.environment,
                state(app)
            ));
            tree.add(format!("deployed {}", units::timestamp(app.deployed_at)));
            tree.add(format!(
                "component {}, {}",
                app.component.short(),
                component_size(description)
            ));
            tree
        }
        _ => {
            let mut tree = Tree::new(format!("{}, not deployed", style.bold(name)));
            tree.add(format!("component of {}", component_size(description)));
            tree
        }
    };
    // Most functions have the limits of all others, which are then said once.
    let common = description.functions.first().map(|first| &first.limits);
    let common = common.filter(|common| {
        description
            .functions
            .iter()
            .all(|function| function.limits == **common)
    });
    let mut functions = Tree::new(units::plural(
        description.functions.len() as u64,
        "function",
    ));
    for function in &description.functions {
        functions.add(function_tree(ctx, function, common.is_none()));
    }
    tree.add(functions);
    if let Some(limits) = common {
        tree.add(limits_tree("limits of each", limits));
    }
    let mut of = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let mut part = Tree::new(title);
            for line in lines {
                part.add(line);
            }
            tree.add(part);
        }
    };
    of(
        "classes",
        description.classes.iter().map(class_line).collect(),
    );
    of(
        "mounts",
        description.mounts.iter().map(mount_line).collect(),
    );
    let entrypoints = description.entrypoints.iter().map(entrypoint_line);
    of("programs, run here by `lydian run`", entrypoints.collect());
    if !description.imports.is_empty() {
        let mut imports = Tree::new("imports");
        for line in grouped(&description.imports) {
            imports.add(line);
        }
        tree.add(imports);
    }
    tree.render(style)
}

/// An app may run although its component's bytes are gone.
fn component_size(description: &Description) -> String {
    match description.component_bytes {
        0 => "a size not known: its stored bytes are gone".to_owned(),
        bytes => units::bytes(bytes),
    }
}

fn limits_tree(title: &str, limits: &lydian_client::Limits) -> Tree {
    let mut tree = Tree::new(title);
    for line in limit_lines(limits) {
        tree.add(line);
    }
    tree
}

/// The limits that are set, a few per line.
pub(super) fn limit_lines(limits: &lydian_client::Limits) -> Vec<String> {
    let words: Vec<String> = set_limits(limits)
        .into_iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    words.chunks(4).map(|line| line.join(", ")).collect()
}

/// Interfaces of one package on one line: `wasi:io@0.2.6: poll, error, streams`.
fn grouped(imports: &[String]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for import in imports {
        let (path, version) = import
            .split_once('@')
            .map_or((import.as_str(), None), |(path, version)| {
                (path, Some(version))
            });
        let Some((package, interface)) = path.split_once('/') else {
            groups.push((import.clone(), Vec::new()));
            continue;
        };
        let package = version.map_or_else(
            || package.to_owned(),
            |version| format!("{package}@{version}"),
        );
        match groups.iter_mut().find(|(known, _)| *known == package) {
            Some((_, interfaces)) => interfaces.push(interface),
            None => groups.push((package, vec![interface])),
        }
    }
    let line = |(package, interfaces): (String, Vec<&str>)| {
        if interfaces.is_empty() {
            package
        } else {
            format!("{package}: {}", interfaces.join(", "))
        }
    };
    groups.into_iter().map(line).collect()
}

fn function_tree(ctx: &Ctx, function: &FunctionInfo, with_limits: bool) -> Tree {
    let style = ctx.output.out;
    let mut tree = Tree::new(format!(
        "{}: {}",
        style.bold(&function.name),
        function.signature
    ));
    let docs = function.docs.trim();
    if let Some(line) = docs.lines().next() {
        tree.add(style.dim(line));
    }
    if with_limits {
        tree.add(limits_tree("limits", &function.limits));
    }
    if !function.grants.is_empty() {
        tree.add(format!("grants: {}", function.grants.join(", ")));
    }
    tree
}

/// The limits that are set, by the names of their options, as people read them.
fn set_limits(limits: &lydian_client::Limits) -> Vec<(&'static str, String)> {
    let time = |name, value: Option<std::time::Duration>| {
        value.map(|value| (name, units::duration(value)))
    };
    let size = |name, value: Option<u64>| value.map(|value| (name, units::bytes(value)));
    let number = |name, value: Option<u32>| value.map(|value| (name, units::count(value.into())));
    [
        time("timeout", limits.timeout),
        time("cpu", limits.cpu),
        size("memory", limits.memory_bytes),
        size("payload", limits.payload_bytes),
        size("host-call-bytes", limits.host_call_bytes),
        number("handles", limits.handles),
        number("open-files", limits.open_files),
        size("output", limits.output_bytes),
        limits
            .output_bytes_per_second
            .map(|rate| ("output-rate", format!("{}/s", units::bytes(rate)))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn description_json(description: &Description) -> Json {
    json!({
        "app": description.app.as_ref().map(app_json),
        "functions": description.functions.iter().map(function_json).collect::<Vec<_>>(),
        "imports": description.imports,
        "component_bytes": Some(description.component_bytes).filter(|bytes| *bytes > 0),
        "classes": description.classes.iter().map(class_json).collect::<Vec<_>>(),
        "mounts": description.mounts.iter().map(mount_json).collect::<Vec<_>>(),
        "entrypoints": description.entrypoints.iter().map(entrypoint_json).collect::<Vec<_>>(),
        "manifest": serde_json::from_slice::<Json>(&description.manifest).unwrap_or(Json::Null),
    })
}

/// `model: predict, reset; kept 60 s idle, 100 calls`
fn class_line(class: &ClassInfo) -> String {
    let mut line = format!("{}: {}", class.name, class.methods.join(", "));
    line += &format!(
        "; an instance is kept {} idle",
        units::duration(class.max_idle)
    );
    if class.max_calls > 0 {
        line += &format!(", for {} at most", units::plural(class.max_calls, "call"));
    }
    if let Some(age) = class.max_age {
        line += &format!(", {} at most", units::duration(age));
    }
    with_docs(line, &class.docs)
}

/// `main(n: u64)`
fn entrypoint_line(entrypoint: &EntrypointInfo) -> String {
    let args = entrypoint
        .args
        .iter()
        .map(|(name, ty)| format!("{name}: {ty}"));
    let args: Vec<String> = args.collect();
    with_docs(
        format!("{}({})", entrypoint.name, args.join(", ")),
        &entrypoint.docs,
    )
}

fn with_docs(line: String, docs: &str) -> String {
    match docs.trim().lines().next() {
        Some(first) => format!("{line}: {first}"),
        None => line,
    }
}

/// `/assets from ./assets, 12 files, 3.4 MiB`
pub(super) fn mount_line(mount: &MountInfo) -> String {
    format!(
        "{} from {}, {}, {}",
        mount.path,
        mount.from,
        units::plural(mount.files, "file"),
        units::bytes(mount.bytes)
    )
}

fn class_json(class: &ClassInfo) -> Json {
    json!({
        "name": class.name,
        "methods": class.methods,
        "docs": class.docs,
        "enter": class.enter,
        "exit": class.exit,
        "max_idle_ms": class.max_idle.as_millis() as u64,
        "max_calls": class.max_calls,
        "max_age_ms": class.max_age.map(|age| age.as_millis() as u64),
    })
}

fn entrypoint_json(entrypoint: &EntrypointInfo) -> Json {
    let args = entrypoint
        .args
        .iter()
        .map(|(name, ty)| json!({ "name": name, "type": ty }));
    json!({
        "name": entrypoint.name,
        "docs": entrypoint.docs,
        "args": args.collect::<Vec<_>>(),
    })
}

pub(super) fn mount_json(mount: &MountInfo) -> Json {
    json!({
        "path": mount.path,
        "from": mount.from,
        "tree": mount.tree.to_string(),
        "files": mount.files,
        "bytes": mount.bytes,
    })
}

pub(super) fn function_json(function: &FunctionInfo) -> Json {
    json!({
        "name": function.name,
        "signature": function.signature,
        "docs": function.docs,
        "type": serde_json::to_value(&*function.ty).unwrap_or(Json::Null),
        "limits": limits_json(&function.limits),
        "grants": function.grants,
    })
}

/// Exact, unlike what people read.
pub(super) fn limits_json(limits: &lydian_client::Limits) -> Json {
    json!({
        "timeout_ms": limits.timeout.map(|time| time.as_millis() as u64),
        "cpu_ms": limits.cpu.map(|time| time.as_millis() as u64),
        "memory_bytes": limits.memory_bytes,
        "payload_bytes": limits.payload_bytes,
        "host_call_bytes": limits.host_call_bytes,
        "handles": limits.handles,
        "open_files": limits.open_files,
        "output_bytes": limits.output_bytes,
        "output_bytes_per_second": limits.output_bytes_per_second,
    })
}

async fn wit(ctx: &Ctx, args: &AppArg) -> Result<Exit, CliError> {
    let description = description(ctx, &args.app).await?;
    if ctx.output.json {
        ctx.output.print_json(&json!({ "wit": description.wit }))?;
    } else {
        ctx.output
            .print(&format!("{}\n", description.wit.trim_end()))?;
    }
    Ok(Exit::Ok)
}

async fn history(ctx: &Ctx, app: &str) -> Result<Exit, CliError> {
    let versions = catalog(ctx).await?.history(app).await?;
    if ctx.output.json {
        ctx.output
            .print_json(&versions.iter().map(version_json).collect())?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        "Version",
        "Deployed",
        "Component",
        "Client",
        "Commit",
        "Message",
    ]);
    for version in &versions {
        let current = if version.current { " *" } else { "" };
        let message = match version.rolled_back_to {
            Some(number) => format!("rollback to v{number}"),
            None => version.message.clone(),
        };
        table.row(vec![
            format!("v{}{current}", version.number),
            units::timestamp(version.deployed_at),
            version.component.short(),
            version.client.clone(),
            version.commit.clone(),
            message,
        ]);
    }
    ctx.output.print(&table.render(ctx.output.out))?;
    Ok(Exit::Ok)
}

fn version_json(version: &Version) -> Json {
    json!({
        "version": version.number,
        "component": version.component.to_string(),
        "manifest": version.manifest.to_string(),
        "deployed_at_ms": units::unix_ms(version.deployed_at),
        "message": version.message,
        "commit": version.commit,
        "client": version.client,
        "rolled_back_to": version.rolled_back_to,
        "current": version.current,
    })
}

async fn rollback(ctx: &Ctx, args: &RollbackArgs) -> Result<Exit, CliError> {
    let deployed = catalog(ctx)
        .await?
        .rollback(&args.app, args.version.unwrap_or(0))
        .await?;
    if ctx.output.json {
        ctx.output
            .print_json(&super::deploy::deployed_json(&args.app, &deployed, false))?;
    } else {
        let head = format!("{} is now v{}", args.app, deployed.version);
        ctx.output
            .print(&(super::deploy::tree(ctx, head, &deployed).render(ctx.output.out) + "\n"))?;
    }
    Ok(Exit::Ok)
}

async fn stop(ctx: &Ctx, app: &str) -> Result<Exit, CliError> {
    let running = catalog(ctx).await?.stop(app).await?;
    if ctx.output.json {
        ctx.output
            .print_json(&json!({ "app": app, "state": "stopped", "calls_running": running }))?;
        return Ok(Exit::Ok);
    }
    let rest = match running {
        0 => String::new(),
        running => format!("; {} in flight will finish", units::plural(running, "call")),
    };
    ctx.output.print(&format!("{app} is stopped{rest}\n"))?;
    Ok(Exit::Ok)
}

async fn app_logs(ctx: &Ctx, args: LogsArgs) -> Result<Exit, CliError> {
    let mut tail = Tail::lines(args.tail);
    if args.follow {
        tail = tail.follow();
    }
    if let Some(function) = args.function {
        tail = tail.function(function);
    }
    let stream = catalog(ctx).await?.app_logs(&args.app, tail).await?;
    logs::print(ctx, stream, true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_grouped_by_package() {
        let imports = [
            "wasi:io/poll@0.2.6",
            "wasi:cli/exit@0.2.6",
            "wasi:io/error@0.2.6",
            "wasi:io/poll@0.2.0",
            "plain",
        ];
        let lines = grouped(&imports.map(str::to_owned));
        assert_eq!(
            lines,
            [
                "wasi:io@0.2.6: poll, error",
                "wasi:cli@0.2.6: exit",
                "wasi:io@0.2.0: poll",
                "plain"
            ]
        );
    }
}
