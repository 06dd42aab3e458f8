//! `lydian new`: a crate to start from, out of a template that is part of this program.
//!
//! A template is a folder of files in which `{{name}}`, `{{crate}}` and `{{sdk}}` stand for the crate's
//! name, its name in Rust, and where the SDK is. The first commands at the head of its source become what
//! to type next.

use std::path::Path;

use serde_json::json;

use super::Ctx;
use crate::args::new::Args;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::tree::Tree;

/// A folder of files.
pub(crate) struct Template {
    pub(crate) name: &'static str,
    /// Path and text.
    files: &'static [(&'static str, &'static str)],
}

/// Every template, by name.
pub(crate) const TEMPLATES: &[Template] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// Added to a file's name where cargo would take the template itself for a crate.
const SUFFIX: &str = ".template";
/// The longest name cargo's registry takes, and short enough for a host name.
const MAX_NAME: usize = 63;

pub(super) fn run(ctx: &Ctx, args: &Args) -> Result<Exit, CliError> {
    check_name(&args.name)?;
    let template = TEMPLATES
        .iter()
        .find(|template| template.name == args.template);
    let Some(template) = template else {
        let message = format!("no template `{}`", args.template);
        return Err(CliError::usage("no-template", message));
    };
    let dir = Path::new(&args.name);
    check_empty(dir)?;
    let sdk = sdk(args.sdk.as_deref())?;
    let filled = |text: &str| {
        text.replace("{{name}}", &args.name)
            .replace("{{crate}}", &args.name.replace('-', "_"))
            .replace("{{sdk}}", &sdk)
    };
    let mut written = Vec::new();
    for (path, text) in template.files {
        let path = filled(path.strip_suffix(SUFFIX).unwrap_or(path));
        write(&dir.join(&path), &filled(text))?;
        written.push(path);
    }
    let next = next_commands(template)
        .into_iter()
        .map(filled_command(&filled))
        .collect::<Vec<_>>();
    tell(ctx, args, &written, &next)
}

fn filled_command<'a>(filled: &'a impl Fn(&str) -> String) -> impl Fn(&'static str) -> String + 'a {
    move |command| filled(command)
}

fn tell(ctx: &Ctx, args: &Args, written: &[String], next: &[String]) -> Result<Exit, CliError> {
    if ctx.output.json {
        let json =
            json!({ "name": args.name, "template": args.template, "files": written, "next": next });
        ctx.output.print_json(&json)?;
        return Ok(Exit::Ok);
    }
    let style = ctx.output.out;
    let mut tree = Tree::new(format!(
        "{} made {} from template `{}`",
        style.green("✓"),
        style.bold(&args.name),
        args.template
    ));
    for file in written {
        tree.add(format!("{}/{file}", args.name));
    }
    ctx.output.print(&(tree.render(style) + "\n"))?;
    for command in next {
        ctx.output.hint(&format!("`{command}`"));
    }
    Ok(Exit::Ok)
}

/// What a crate may be called, which is also what an app may be called.
fn check_name(name: &str) -> Result<(), CliError> {
    let refused = |why: &str| {
        Err(CliError::usage(
            "bad-name",
            format!("`{name}` is no name for a crate: {why}"),
        )
        .hint("write small letters, digits and `-`, a letter first: `my-app`"))
    };
    if name.len() > MAX_NAME {
        return refused("it is longer than 63 bytes");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return refused("it does not begin with a small letter");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    {
        return refused("it holds more than small letters, digits, `-` and `_`");
    }
    if TAKEN.contains(&name) {
        return refused("Rust or the SDK uses it");
    }
    Ok(())
}

/// Names cargo refuses, or that would hide a crate that is needed.
const TAKEN: [&str; 58] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "lydian",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "use",
    "where",
    "while",
];

fn check_empty(dir: &Path) -> Result<(), CliError> {
    let shown = dir.display();
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(CliError::usage(
                "not-empty",
                format!("directory `{shown}` is there and not empty"),
            )
            .hint("choose another name, or empty it first")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(CliError::usage(
            "not-a-directory",
            format!("`{shown}` is there and no directory"),
        )),
        Err(error) => Err(CliError::read(dir, &error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| {
            CliError::failed(
                "cannot-write",
                format!("cannot write `{}`: {error}", path.display()),
            )
        })
}

/// Where the SDK is, as the value of a dependency.
fn sdk(given: Option<&Path>) -> Result<String, CliError> {
    let is_sdk = |dir: &Path| dir.join("Cargo.toml").is_file() && dir.join("src/lib.rs").is_file();
    if let Some(dir) = given {
        if !is_sdk(dir) {
            let message = format!("`{}` is not the `lydian` crate", dir.display());
            return Err(CliError::not_found("no-sdk", message)
                .hint("it is the folder `guest-sdk` of a checkout of Lydian"));
        }
        return Ok(by_path(dir));
    }
    // A program that still lies beside its sources goes with them.
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
    if is_sdk(&beside) {
        return Ok(by_path(&beside));
    }
    Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION")))
}

fn by_path(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    // A string of JSON is one of TOML.
    let path = json!(dir.display().to_string());
    format!("{{ path = {path} }}")
}

/// The first two commands in the template's words: lines of a file's header that begin with `lydian`.
fn next_commands(template: &'static Template) -> Vec<&'static str> {
    let texts = template.files.iter().map(|(_, text)| *text);
    let lines = texts.flat_map(str::lines).filter_map(|line| {
        let command = line.strip_prefix("//! ")?.split("  #").next()?.trim_end();
        command.starts_with("lydian ").then_some(command)
    });
    let mut commands: Vec<&str> = Vec::new();
    for line in lines {
        if !commands.contains(&line) && commands.len() < 2 {
            commands.push(line);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_or_the_sdk_would_trip_over_are_refused() {
        for name in ["hello", "my-app2", "a_b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "", "Hello", "2fast", "-a", "a b", "a/b", "../a", "é", "std", "lydian", "fn",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_path_is_a_dependency_whatever_it_is_called() {
        assert_eq!(
            by_path(Path::new("/no where/\"it\"")),
            r#"{ path = "/no where/\"it\"" }"#
        );
    }

    /// Every template says what to type next, and leaves no placeholder that nobody fills.
    #[test]
    fn templates_are_whole() {
        assert!(!TEMPLATES.is_empty());
        for template in TEMPLATES {
            assert_eq!(next_commands(template).len(), 2, "{}", template.name);
            for (path, text) in template.files {
                let left = text
                    .replace("{{name}}", "")
                    .replace("{{crate}}", "")
                    .replace("{{sdk}}", "");
                assert!(!left.contains("{{") || path.ends_with(".rs"), "{path}");
            }
        }
    }
}
