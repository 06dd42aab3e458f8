//! A crate directory, built into a component.
//!
//! `cargo component build --release` when the manifest says so (`package.metadata.component`), else
//! `cargo build --release --target wasm32-wasip2`. The artifact is found through cargo's JSON messages,
//! never by guessing paths. What cargo says on stderr is kept and shown untouched when the build fails.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use serde_json::Value as Json;

use crate::output::error::CliError;
use crate::output::guest::escape;
use crate::output::progress::Progress;
use crate::units;

/// The target plain crates are built for: its output is a component already.
const TARGET: &str = "wasm32-wasip2";

/// What a crate's manifest says about building it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Absent in a workspace without a root package.
    pub(crate) name: Option<String>,
    /// `cargo component` is what builds it.
    pub(crate) is_cargo_component: bool,
}

/// Whether `path` is a directory with a `Cargo.toml`.
pub(crate) fn is_crate(path: &Path) -> bool {
    path.join("Cargo.toml").is_file()
}

/// Reads `dir/Cargo.toml`.
///
/// # Errors
/// Exit 3 when there is none, 2 when it is not TOML.
pub(crate) fn read_package(dir: &Path) -> Result<Package, CliError> {
    let path = dir.join("Cargo.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if !dir.exists() => {
            return Err(CliError::not_found(
                "file-not-found",
                format!("no file or directory `{}`", dir.display()),
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CliError::not_found(
                "not-a-crate",
                format!("directory `{}` has no `Cargo.toml`", dir.display()),
            )
            .hint("name a `.wasm` file or the directory of a crate"));
        }
        Err(error) => return Err(CliError::read(&path, &error)),
    };
    parse_package(&text).map_err(|message| {
        CliError::usage(
            "bad-manifest",
            format!("`{}` is not a manifest: {message}", path.display()),
        )
    })
}

fn parse_package(text: &str) -> Result<Package, String> {
    let manifest: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    let package = manifest.get("package");
    let component = package.and_then(|package| package.get("metadata")?.get("component"));
    Ok(Package {
        name: package.and_then(|package| Some(package.get("name")?.as_str()?.to_owned())),
        is_cargo_component: component.is_some(),
    })
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) component: PathBuf,
    /// The crate's programs, built for the sandbox too: what they say about themselves stands in there.
    pub(crate) programs: Vec<Program>,
}

/// A `main` of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// As `cargo build --bin` names it.
    pub(crate) name: String,
    /// Its WebAssembly.
    pub(crate) file: PathBuf,
}

/// What becomes of cargo's own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narration {
    /// One line while it works; all of it when the build fails.
    OnFailure,
    /// As if cargo had been called by hand.
    Whole,
}

/// Builds the crate in `dir`.
///
/// # Errors
/// Exit 3: no crate there. Exit 1: cargo is missing or the build failed, after cargo's own output was shown. Exit 2: the
/// crate makes no component, or several.
pub(crate) fn build(
    dir: &Path,
    narration: Narration,
    progress: &Progress,
) -> Result<Built, CliError> {
    let package = read_package(dir)?;
    let shown = package
        .name
        .clone()
        .unwrap_or_else(|| dir.display().to_string());
    let started = Instant::now();
    progress.step(format!("building {shown}"));
    let finished = run_cargo(dir, command(&package), &shown, narration, progress)?;
    if !finished.success {
        return Err(finished.failed(&shown, &package, progress));
    }
    let warnings = finished.warnings;
    let warned = if warnings > 0 {
        format!(", {}", units::plural(warnings, "warning"))
    } else {
        String::new()
    };
    progress.done(&format!(
        "built {shown} in {}{warned}",
        units::duration(started.elapsed())
    ));
    one_component(dir, &shown, finished.artifacts)
}

/// Builds a program of the crate in `dir` for this machine; answers the executable.
///
/// # Errors
/// As of [`build`].
pub(crate) fn build_program(
    dir: &Path,
    name: &str,
    progress: &Progress,
) -> Result<PathBuf, CliError> {
    let package = read_package(dir)?;
    progress.step(format!("building {name}"));
    let mut command = cargo();
    command.args(["build", "--bin", name, MESSAGES]);
    let finished = run_cargo(dir, command, name, Narration::OnFailure, progress)?;
    if !finished.success {
        return Err(finished.failed(name, &package, progress));
    }
    finished.executable.ok_or_else(|| {
        let message = format!("cargo made no executable of program `{name}`");
        CliError::failed("build-failed", message)
    })
}

/// Where builds of the crate in `dir` write, as cargo says; empty when it does not.
pub(crate) fn outputs(dir: &Path) -> Vec<PathBuf> {
    let mut command = cargo();
    command
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(dir)
        .stdin(Stdio::null());
    let Ok(output) = command.output() else {
        return Vec::new();
    };
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let dirs = [&metadata["target_directory"], &metadata["build_directory"]];
    let dirs = dirs.into_iter().filter_map(Json::as_str).map(PathBuf::from);
    let crate_dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mut found = Vec::new();
    for dir in dirs {
        let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        if crate_dir.starts_with(&real) {
            // The crate lies in its own target directory: only what cargo makes there is cargo's.
            found.extend(INSIDE.iter().map(|name| dir.join(name)));
        } else {
            found.push(dir);
        }
    }
    found
}

/// What cargo makes in a target directory.
const INSIDE: [&str; 8] = [
    TARGET,
    "wasm32-wasip1",
    "release",
    "debug",
    "tmp",
    "build",
    ".rustc_info.json",
    "CACHEDIR.TAG",
];

/// What cargo did.
#[derive(Debug, Default)]
struct Finished {
    success: bool,
    stderr: Vec<u8>,
    artifacts: Vec<Artifact>,
    executable: Option<PathBuf>,
    warnings: u64,
}

impl Finished {
    /// Shows cargo's own words, and reads them for a cure.
    fn failed(&self, shown: &str, package: &Package, progress: &Progress) -> CliError {
        progress.finish();
        let _ = std::io::stderr().lock().write_all(&self.stderr);
        failed(shown, package, &String::from_utf8_lossy(&self.stderr))
    }
}

/// A `.wasm` file cargo made.
#[derive(Debug, PartialEq, Eq)]
struct Artifact {
    /// The manifest of the package it belongs to.
    manifest: PathBuf,
    file: PathBuf,
    /// The name of a program; none for a library.
    program: Option<String>,
}

/// Messages as JSON, what is meant for people on stderr.
const MESSAGES: &str = "--message-format=json-render-diagnostics";

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn command(package: &Package) -> Command {
    let mut command = cargo();
    if package.is_cargo_component {
        command.args(["component", "build", "--release"]);
    } else {
        command.args(["build", "--release", "--target", TARGET]);
    }
    command.arg(MESSAGES);
    command
}

fn run_cargo(
    dir: &Path,
    mut command: Command,
    shown: &str,
    narration: Narration,
    progress: &Progress,
) -> Result<Finished, CliError> {
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if narration == Narration::Whole {
        progress.finish();
        command.stderr(Stdio::inherit());
    }
    if progress.is_coloured() {
        // Cargo sees a pipe; the user sees a terminal.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().map_err(|error| no_cargo(&error))?;
    let (lines, stderr) = drain(child.stderr.take());
    let messages = child.stdout.take();
    let reader = std::thread::spawn(move || messages.map(read_messages).unwrap_or_default());
    follow(&lines, shown, progress);
    let mut finished = reader.join().unwrap_or_default();
    finished.stderr = stderr.join().unwrap_or_default();
    finished.success = wait(&mut child)?;
    Ok(finished)
}

fn wait(child: &mut Child) -> Result<bool, CliError> {
    let status = child.wait();
    Ok(status
        .map_err(|error| CliError::failed("build-failed", format!("cargo was lost: {error}")))?
        .success())
}

fn no_cargo(error: &std::io::Error) -> CliError {
    let message = format!("cannot start `cargo`: {error}");
    CliError::failed("no-cargo", message)
        .hint("install Rust from https://rustup.rs, or name a `.wasm` file")
}

type Lines = mpsc::Receiver<String>;

/// Collects stderr as it is, and hands its lines on for the footer.
fn drain(stderr: Option<impl Read + Send + 'static>) -> (Lines, std::thread::JoinHandle<Vec<u8>>) {
    let (sender, lines) = mpsc::channel();
    let collector = std::thread::spawn(move || {
        let mut all = Vec::new();
        let Some(stderr) = stderr else { return all };
        let mut stderr = BufReader::new(stderr);
        loop {
            let start = all.len();
            match stderr.read_until(b'\n', &mut all) {
                Ok(0) | Err(_) => return all,
                Ok(_) => {
                    let _ = sender.send(String::from_utf8_lossy(&all[start..]).trim().to_owned());
                }
            }
        }
    });
    (lines, collector)
}

fn follow(lines: &Lines, shown: &str, progress: &Progress) {
    while let Ok(line) = lines.recv() {
        let line = without_colours(&line);
        if !line.is_empty() {
            progress.detail(format!("building {shown}: {}", escape(&line, true)));
        }
    }
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        rest = after
            .split_once(|c: char| c.is_ascii_alphabetic())
            .map_or("", |(_, after)| after);
    }
    plain + rest
}

/// What cargo's messages tell of: files and warnings.
fn read_messages(stdout: impl Read) -> Finished {
    let mut finished = Finished::default();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Json>(&line) else {
            continue;
        };
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                finished.artifacts.extend(wasm_files(&message));
                if let Some(executable) = message["executable"].as_str() {
                    finished.executable = Some(executable.into());
                }
            }
            Some("compiler-message") if message["message"]["level"] == "warning" => {
                finished.warnings += 1;
            }
            _ => {}
        }
    }
    finished
}

fn wasm_files(message: &Json) -> Vec<Artifact> {
    let manifest = message["manifest_path"].as_str().unwrap_or_default();
    let kinds = message["target"]["kind"].as_array().into_iter().flatten();
    let kinds: Vec<&str> = kinds.filter_map(Json::as_str).collect();
    let program = match (kinds.contains(&"bin"), kinds.contains(&"cdylib")) {
        (true, _) => message["target"]["name"].as_str().map(str::to_owned),
        (false, true) => None,
        (false, false) => return Vec::new(),
    };
    let files = message["filenames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str);
    files
        .filter(|file| file.ends_with(".wasm"))
        .map(|file| Artifact {
            manifest: manifest.into(),
            file: file.into(),
            program: program.clone(),
        })
        .collect()
}

/// Which of the two is in the file is chance.
fn one_file(program: &str, file: &Path) -> CliError {
    let message = format!(
        "the library and the program `{program}` both become `{}`",
        crate::target::short_name(file)
    );
    CliError::usage("one-file", message).hint(format!(
        "call the program otherwise, in Cargo.toml: `[[bin]]` with `name = \"{program}-main\"` and `path = \"src/main.rs\"`"
    ))
}

/// The component of the crate itself; else the only one that was built. Of a library and programs it is the library.
fn one_component(dir: &Path, shown: &str, mut artifacts: Vec<Artifact>) -> Result<Built, CliError> {
    let own = dir.join("Cargo.toml").canonicalize().ok();
    if artifacts
        .iter()
        .any(|artifact| Some(&artifact.manifest) == own.as_ref())
    {
        artifacts.retain(|artifact| Some(&artifact.manifest) == own.as_ref());
    }
    let programs = artifacts.iter().filter_map(|artifact| {
        Some(Program {
            name: artifact.program.clone()?,
            file: artifact.file.clone(),
        })
    });
    let programs: Vec<Program> = programs.collect();
    let library = artifacts.iter().find(|artifact| artifact.program.is_none());
    if let Some(library) = library
        && let Some(program) = programs.iter().find(|it| it.file == library.file)
    {
        return Err(one_file(&program.name, &library.file));
    }
    if artifacts.iter().any(|artifact| artifact.program.is_none()) {
        artifacts.retain(|artifact| artifact.program.is_none());
    }
    match artifacts.len() {
        1 => Ok(Built {
            component: artifacts.remove(0).file,
            programs,
        }),
        0 => Err(CliError::usage(
            "no-component",
            format!("crate `{shown}` makes no component"),
        )
        .hint("add to its Cargo.toml: `[lib]` with `crate-type = [\"cdylib\"]`")),
        _ => {
            let names: Vec<String> = artifacts
                .iter()
                .map(|artifact| format!("`{}`", artifact.file.display()))
                .collect();
            Err(CliError::usage(
                "several-components",
                format!("crate `{shown}` makes several components"),
            )
            .hint(format!("name one: {}", names.join(", "))))
        }
    }
}

/// Reads cargo's output for the failures that have a known cure.
fn failed(shown: &str, package: &Package, stderr: &str) -> CliError {
    let error = CliError::failed("build-failed", format!("crate `{shown}` does not build"));
    let lacks_component =
        stderr.contains("no such command: `component`") || stderr.contains("no such subcommand");
    if package.is_cargo_component && lacks_component {
        return error.hint("its manifest wants cargo-component: `cargo install cargo-component`");
    }
    let lacks_target = stderr.contains("target may not be installed") || stderr.contains("E0463");
    if lacks_target && stderr.contains("wasm32") {
        let target = if package.is_cargo_component {
            "wasm32-wasip1"
        } else {
            TARGET
        };
        return error.hint(format!("install the target: `rustup target add {target}`"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_tell_how_to_build() {
        let plain = parse_package("[package]\nname = \"hello\"").unwrap();
        assert_eq!(
            plain,
            Package {
                name: Some("hello".to_owned()),
                is_cargo_component: false
            }
        );
        let component = parse_package(
            "[package]\nname = \"c\"\n[package.metadata.component]\npackage = \"a:b\"",
        )
        .unwrap();
        assert!(component.is_cargo_component);
        assert!(parse_package("[package").is_err());
        let line: Vec<_> = command(&component)
            .get_args()
            .map(|arg| arg.to_owned())
            .collect();
        assert_eq!(
            line,
            [
                "component",
                "build",
                "--release",
                "--message-format=json-render-diagnostics"
            ]
        );
    }

    #[test]
    fn artifacts_come_from_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/dep/Cargo.toml","target":{"kind":["lib"]},"filenames":["/t/libdep.rlib"]}"#,
            "\nnoise\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["cdylib","rlib"]},"filenames":["/t/a.wasm","/t/liba.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["bin"],"name":"m"},"filenames":["/t/m.wasm"],"executable":"/t/m.wasm"}"#,
            "\n",
            r#"{"reason":"compiler-message","message":{"level":"warning"}}"#,
            "\n"
        );
        let finished = read_messages(messages.as_bytes());
        let artifact = |file: &str, program: Option<&str>| Artifact {
            manifest: "/w/a/Cargo.toml".into(),
            file: file.into(),
            program: program.map(str::to_owned),
        };
        assert_eq!(
            finished.artifacts,
            [
                artifact("/t/a.wasm", None),
                artifact("/t/m.wasm", Some("m"))
            ]
        );
        assert_eq!(finished.warnings, 1);
        assert_eq!(finished.executable, Some("/t/m.wasm".into()));
        let built = one_component(Path::new("/nowhere"), "a", finished.artifacts).unwrap();
        assert_eq!(built.component, Path::new("/t/a.wasm"));
        assert_eq!(built.programs[0].name, "m");
    }

    #[test]
    fn none_or_several_components_are_explained() {
        let artifact = |name: &str| Artifact {
            manifest: format!("/w/{name}/Cargo.toml").into(),
            file: format!("/t/{name}.wasm").into(),
            program: None,
        };
        let dir = Path::new("/nowhere");
        assert_eq!(
            one_component(dir, "a", vec![artifact("a")])
                .unwrap()
                .component,
            Path::new("/t/a.wasm")
        );
        assert_eq!(
            one_component(dir, "a", vec![]).unwrap_err().code,
            "no-component"
        );
        let program = Artifact {
            program: Some("a".to_owned()),
            ..artifact("a")
        };
        assert_eq!(
            one_component(dir, "a", vec![artifact("a"), program])
                .unwrap_err()
                .message,
            "the library and the program `a` both become `a.wasm`"
        );
        let several = one_component(dir, "a", vec![artifact("a"), artifact("b")]).unwrap_err();
        assert_eq!(several.hints, ["name one: `/t/a.wasm`, `/t/b.wasm`"]);
    }

    #[test]
    fn known_failures_carry_the_cure() {
        let missing = "error[E0463]: can't find crate for `core`\n = note: the `wasm32-wasip2` target may not be installed";
        let error = failed("a", &Package::default(), missing);
        assert_eq!(
            error.hints,
            ["install the target: `rustup target add wasm32-wasip2`"]
        );
        let package = Package {
            name: None,
            is_cargo_component: true,
        };
        let error = failed("a", &package, "error: no such command: `component`");
        assert!(error.hints[0].contains("cargo install cargo-component"));
        assert!(
            failed("a", &Package::default(), "error: expected `;`")
                .hints
                .is_empty()
        );
    }

    #[test]
    fn colours_of_cargo_do_not_reach_the_footer() {
        assert_eq!(
            without_colours("\x1b[1m\x1b[32m   Compiling\x1b[0m a v0.1"),
            "   Compiling a v0.1"
        );
    }
}
