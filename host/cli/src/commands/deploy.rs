//! `lydian deploy`: a component becomes the newest version of an app.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use lydian_client::{Change, ChangeKind, Deploy, Deployed};
use serde_json::{Value as Json, json};

use super::connect::{self, Place, Work};
use super::{Ctx, load};
use crate::args::deploy::Args;
use crate::build;
use crate::docs::Documented;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::tree::Tree;
use crate::target::Code;
use crate::units;

/// How the history names this program.
const CLIENT: &str = concat!("lydian ", env!("CARGO_PKG_VERSION"));

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let started = Instant::now();
    let progress = ctx.output.progress();
    let source = Source::find(&args.path)?;
    let mut manifest = read_manifest(&source.manifest)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => source.default_name(manifest.as_ref())?,
    };
    let file = match &source.code {
        Code::Crate(dir) => build::build(dir, &progress)?,
        Code::File(path) => path.clone(),
        Code::App { name, .. } => return Err(not_a_path(name)),
    };
    let bytes = load::read_component(&file)?;
    if let Code::Crate(dir) = &source.code {
        manifest = with_docs(manifest, dir, &bytes);
    }
    let digest = lydian_client::Digest::of(&bytes);
    let size = bytes.len() as u64;
    let client = connect::connect(ctx, Place::Catalog, Work::One).await?;
    progress.step(format!("deploying {name} ({})", units::bytes(size)));
    let mut deploy = Deploy::new(&name, bytes).client(CLIENT);
    if let Some(manifest) = &manifest {
        deploy = deploy.manifest(manifest);
    }
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
    let deployed = deployed.map_err(|error| load::named(error, digest, &file))?;
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

/// What is deployed, and where its manifest would be.
struct Source {
    code: Code,
    manifest: PathBuf,
}

impl Source {
    fn find(path: &str) -> Result<Self, CliError> {
        let code = load::parse_code(path)?;
        let dir = match &code {
            Code::Crate(dir) => dir.clone(),
            Code::File(file) => file.parent().map(Path::to_owned).unwrap_or_default(),
            Code::App { name, .. } => return Err(not_a_path(name)),
        };
        Ok(Self {
            code,
            manifest: dir.join("lydian.toml"),
        })
    }

    fn dir(&self) -> &Path {
        let dir = self
            .manifest
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty());
        dir.unwrap_or(Path::new("."))
    }

    /// The name in lydian.toml, else the package's, else the file's.
    fn default_name(&self, manifest: Option<&Json>) -> Result<String, CliError> {
        if let Some(name) = manifest.and_then(|manifest| manifest.get("name")?.as_str()) {
            return Ok(name.to_owned());
        }
        let name = match &self.code {
            Code::Crate(dir) => build::read_package(dir)?.name,
            Code::File(file) => file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .map(|stem| stem.replace('_', "-")),
            Code::App { .. } => None,
        };
        name.ok_or_else(|| {
            CliError::usage("no-name", "the app has no name").hint("give one with `--name`")
        })
    }
}

fn not_a_path(name: &str) -> CliError {
    CliError::not_found(
        "file-not-found",
        format!("no file or crate directory `{name}`"),
    )
    .hint("name a `.wasm` file or a directory with a `Cargo.toml`")
}

/// Reads `lydian.toml` as the JSON the node takes. Its keys are the node's to check.
fn read_manifest(path: &Path) -> Result<Option<Json>, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::read(path, &error)),
    };
    parse_manifest(&text).map(Some).map_err(|message| {
        CliError::usage(
            "bad-manifest",
            format!("`{}` is not a manifest: {message}", path.display()),
        )
    })
}

fn parse_manifest(text: &str) -> Result<Json, String> {
    // The whole error shows the line and a caret.
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())
}

/// The manifest with what the crate's WIT says about its functions, where it says nothing itself.
fn with_docs(manifest: Option<Json>, dir: &Path, component: &[u8]) -> Option<Json> {
    let documented = Documented::read(dir);
    let functions = lydian_value::inspect(component).map(|interface| interface.functions);
    let Some(docs) = documented.manifest(&functions.unwrap_or_default()) else {
        return manifest;
    };
    Some(under(manifest.unwrap_or_else(|| json!({})), docs))
}

/// `over` where it speaks, else `under`, table by table.
fn under(over: Json, under: Json) -> Json {
    match (over, under) {
        (Json::Object(mut over), Json::Object(all)) => {
            for (key, value) in all {
                let value = match over.remove(&key) {
                    Some(own) => self::under(own, value),
                    None => value,
                };
                over.insert(key, value);
            }
            Json::Object(over)
        }
        (over, _) => over,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_become_json() {
        let json =
            parse_manifest("name = \"math\"\n[functions.square]\ntimeout = \"5s\"\n").unwrap();
        assert_eq!(
            json,
            json!({ "name": "math", "functions": { "square": { "timeout": "5s" } } })
        );
        assert!(parse_manifest("name = ").is_err());
    }

    #[test]
    fn what_the_file_says_wins_over_the_comments() {
        let file = json!({ "timeout": "5s", "functions": { "a": { "docs": "mine" } } });
        let docs = json!({ "functions": { "a": { "docs": "theirs" }, "b": { "docs": "theirs" } } });
        let expected = json!({
            "timeout": "5s",
            "functions": { "a": { "docs": "mine" }, "b": { "docs": "theirs" } },
        });
        assert_eq!(under(file, docs), expected);
    }

    #[test]
    fn names_default_to_manifest_then_file() {
        let source = Source::find("out/my_app.wasm").unwrap();
        assert_eq!(source.manifest, Path::new("out/lydian.toml"));
        assert_eq!(source.default_name(None).unwrap(), "my-app");
        assert_eq!(
            source
                .default_name(Some(&json!({ "name": "math" })))
                .unwrap(),
            "math"
        );
        assert_eq!(
            Source::find("app-name").err().unwrap().code,
            "file-not-found"
        );
    }
}
