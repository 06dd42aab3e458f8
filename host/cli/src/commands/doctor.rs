//! `lydian doctor`: what is missing on this machine, and how to mend it.

use std::path::Path;
use std::process::Command;

use lydian_client::{CheckStatus, NodeInfo};
use serde_json::json;

use super::Ctx;
use super::connect::{self, Place, Work};
use crate::args::node::DoctorArgs;
use crate::env;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::units;

/// One line of the answer.
struct Finding {
    name: String,
    status: CheckStatus,
    detail: String,
    /// Empty when there is nothing to do.
    fix: String,
}

impl Finding {
    fn new(
        name: &str,
        status: CheckStatus,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            status,
            detail: detail.into(),
            fix: fix.into(),
        }
    }
}

pub(super) async fn run(ctx: &Ctx, _: DoctorArgs) -> Result<Exit, CliError> {
    let progress = ctx.output.progress();
    progress.step("looking around");
    let mut findings = vec![data_dir()];
    findings.push(node(ctx).await);
    findings.extend(engine(ctx).await);
    findings.extend([cargo(), wasm_target(), cargo_component()]);
    progress.finish();
    show(ctx, &findings)?;
    let fails = findings
        .iter()
        .any(|finding| finding.status == CheckStatus::Fail);
    Ok(if fails { Exit::Failed } else { Exit::Ok })
}

fn data_dir() -> Finding {
    let dir = match env::data_dir(None) {
        Ok(dir) => dir,
        Err(error) => {
            return Finding::new(
                "data-dir",
                CheckStatus::Fail,
                error.message,
                "set `LYDIAN_HOME`",
            );
        }
    };
    let shown = dir.display();
    match write_probe(&dir) {
        Ok(()) => Finding::new(
            "data-dir",
            CheckStatus::Ok,
            format!("`{shown}` is writable"),
            "",
        ),
        Err(error) => Finding::new(
            "data-dir",
            CheckStatus::Fail,
            format!("`{shown}` cannot be written: {error}"),
            "free some space, mend its owner, or set `LYDIAN_HOME` to another directory",
        ),
    }
}

/// Writes a page and removes it: permissions alone do not tell of full disks.
fn write_probe(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(dir)?;
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, [0; 4096]);
    let removed = std::fs::remove_file(&probe);
    written.and(removed)
}

async fn node(ctx: &Ctx) -> Finding {
    match connect::running_node(ctx).await {
        Ok(Some(client)) => match client.node_info().await {
            Ok(info) => Finding::new("node", CheckStatus::Ok, describe(client.url(), &info), ""),
            Err(error) => unreachable_node(client.url(), &CliError::from(error)),
        },
        Ok(None) => Finding::new("node", CheckStatus::Ok, no_node(ctx), ""),
        Err(error) => unreachable_node(ctx.global.url.as_deref().unwrap_or_default(), &error),
    }
}

/// Why commands run in their own process.
fn no_node(ctx: &Ctx) -> String {
    const ALONE: &str = "commands work without one, in their own process";
    match (connect::asks_embedded(ctx), connect::node_beside()) {
        (true, _) => format!("`embedded` asks for none; {ALONE}"),
        (false, Some(url)) => format!("the one at `{url}` does not answer; {ALONE}"),
        (false, None) => format!("none is running; {ALONE}"),
    }
}

fn unreachable_node(url: &str, error: &CliError) -> Finding {
    let fix = error
        .hints
        .first()
        .cloned()
        .unwrap_or_else(|| "check `LYDIAN_URL`".to_owned());
    Finding::new(
        "node",
        CheckStatus::Fail,
        format!("`{url}`: {}", error.message),
        fix,
    )
}

fn describe(url: &str, info: &NodeInfo) -> String {
    let draining = if info.draining { ", stopping" } else { "" };
    format!(
        "{url}, version {}, {} of {} sandboxes in use{draining}",
        info.version,
        units::count(info.sandboxes_live.into()),
        units::count(info.sandboxes_max.into())
    )
}

/// What the engine says of the machine: of the node's when one is used, else of this one.
async fn engine(ctx: &Ctx) -> Vec<Finding> {
    let info = match connect::connect(ctx, Place::Catalog, Work::Many).await {
        Ok(client) => client.node_info().await.map_err(CliError::from),
        Err(error) => Err(error),
    };
    match info {
        Ok(info) => info
            .checks
            .into_iter()
            .map(|check| Finding::new(&check.name, check.status, check.detail, check.fix))
            .collect(),
        Err(error) => {
            let fix = error.hints.first().cloned().unwrap_or_default();
            vec![Finding::new(
                "engine",
                CheckStatus::Fail,
                error.message,
                fix,
            )]
        }
    }
}

fn cargo() -> Finding {
    match first_line("cargo", &["--version"]) {
        Some(version) => Finding::new("cargo", CheckStatus::Ok, version, ""),
        None => Finding::new(
            "cargo",
            CheckStatus::Warn,
            "not found; crate directories cannot be built",
            "install Rust from https://rustup.rs",
        ),
    }
}

fn wasm_target() -> Finding {
    let dir = first_line(
        "rustc",
        &["--print", "target-libdir", "--target", "wasm32-wasip2"],
    );
    match dir.filter(|dir| Path::new(dir).is_dir()) {
        Some(_) => Finding::new(
            "wasm-target",
            CheckStatus::Ok,
            "wasm32-wasip2 is installed",
            "",
        ),
        None => Finding::new(
            "wasm-target",
            CheckStatus::Warn,
            "wasm32-wasip2 is not installed; crate directories cannot be built",
            "rustup target add wasm32-wasip2",
        ),
    }
}

fn cargo_component() -> Finding {
    match first_line("cargo", &["component", "--version"]) {
        Some(version) => Finding::new("cargo-component", CheckStatus::Ok, version, ""),
        None => Finding::new(
            "cargo-component",
            CheckStatus::Ok,
            "not installed; only crates with `package.metadata.component` need it",
            "",
        ),
    }
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn show(ctx: &Ctx, findings: &[Finding]) -> Result<(), CliError> {
    if ctx.output.json {
        let json = findings.iter().map(|finding| {
            json!({
                "name": finding.name,
                "status": finding.status.to_string(),
                "detail": finding.detail,
                "fix": finding.fix,
            })
        });
        return ctx.output.print_json(&json.collect());
    }
    let style = ctx.output.out;
    let width = findings
        .iter()
        .map(|finding| finding.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.status {
            CheckStatus::Ok => style.green("✓"),
            CheckStatus::Fail => style.red("✗"),
            _ => style.yellow("!"),
        };
        text += &format!("{mark} {:width$}  {}\n", finding.name, finding.detail);
        if !finding.fix.is_empty() && finding.status != CheckStatus::Ok {
            text += &format!("  {:width$}  {} {}\n", "", style.cyan("hint:"), finding.fix);
        }
    }
    ctx.output.print(&text)
}
