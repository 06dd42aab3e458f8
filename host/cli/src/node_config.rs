//! How a node of `lydian up` is set up: its options, from the command line and from a file.
//!
//! The file is turned into a command line of its own and read by the same parser, so an option and its key cannot differ.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use clap::{Args as _, FromArgMatches as _};
use lydian_node::{Limits, Options, Token};
use toml::{Table, Value};

use crate::args::limits::LimitArgs;
use crate::args::node::{AccessArgs, SizeArgs, UpArgs};
use crate::env;
use crate::output::error::CliError;
use crate::suggest;
use crate::units::Bytes;

/// The table of a file that holds the limits.
const LIMITS: &str = "limits";
/// The table in it that holds the most that calls may be given, and the option it stands for.
const LIMITS_MAX: &str = "max";
const LIMIT_MAX: &str = "limit-max";
/// The option that a file cannot give.
const CONFIG: &str = "config";

/// `args`, with what they leave out taken from the file they name.
///
/// # Errors
/// The file cannot be read, or says what no option is.
pub(crate) fn with_file(args: UpArgs) -> Result<UpArgs, CliError> {
    let Some(path) = &args.config else {
        return Ok(args);
    };
    let text = std::fs::read_to_string(path).map_err(|error| CliError::read(path, &error))?;
    let file = read(path, &text)?;
    Ok(merge(args, file))
}

fn read(path: &Path, text: &str) -> Result<UpArgs, CliError> {
    let shown = path.display();
    let wrong = |why: String| CliError::usage("bad-config", format!("`{shown}`: {why}"));
    let table = text
        .parse::<Table>()
        .map_err(|error| wrong(error.message().to_owned()))?;
    let command = UpArgs::augment_args(clap::Command::new("up").no_binary_name(true));
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .collect();
    let limits = LimitArgs::augment_args(clap::Command::new(LIMITS));
    let limits: Vec<&str> = limits
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .collect();
    let mut line = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(table) if key == LIMITS => {
                for (key, value) in table {
                    match value {
                        Value::Table(most) if key == LIMITS_MAX => {
                            for (key, value) in most {
                                let mut one = Vec::new();
                                add(&mut one, &key, value, &limits)
                                    .map_err(|why| wrong_key(&shown.to_string(), &why, &limits))?;
                                line.extend(one.into_iter().map(|option| {
                                    let option = option.to_string_lossy().into_owned();
                                    let limit = option.trim_start_matches('-');
                                    format!("--{LIMIT_MAX}={limit}").into()
                                }));
                            }
                        }
                        value => add(&mut line, &key, value, &limits)
                            .map_err(|why| wrong_key(&shown.to_string(), &why, &limits))?,
                    }
                }
            }
            value => {
                let top: Vec<&str> = known
                    .iter()
                    .copied()
                    .filter(|name| ![CONFIG, LIMIT_MAX].contains(name) && !limits.contains(name))
                    .collect();
                add(&mut line, &key, value, &top)
                    .map_err(|why| wrong_key(&shown.to_string(), &why, &top))?;
            }
        }
    }
    let matches = command.try_get_matches_from(line);
    matches
        .and_then(|matches| UpArgs::from_arg_matches(&matches))
        .map_err(|error| wrong(clap_text(&error)))
}

/// What is wrong with a key.
enum Wrong {
    Unknown(String),
    Value(String),
}

fn wrong_key(file: &str, wrong: &Wrong, known: &[&str]) -> CliError {
    match wrong {
        Wrong::Value(key) => CliError::usage(
            "bad-config",
            format!("`{file}`: `{key}` is no text, number, true or false"),
        ),
        Wrong::Unknown(key) => {
            let error = CliError::usage("bad-config", format!("`{file}`: `{key}` is not known"));
            match suggest::nearest(key, known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are `{}`", known.join("`, `"))),
            }
        }
    }
}

/// Adds `--key=value` to a command line.
fn add(line: &mut Vec<OsString>, key: &str, value: Value, known: &[&str]) -> Result<(), Wrong> {
    if !known.contains(&key) {
        return Err(Wrong::Unknown(key.to_owned()));
    }
    let text = match value {
        Value::String(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Boolean(true) => {
            line.push(format!("--{key}").into());
            return Ok(());
        }
        Value::Boolean(false) => return Ok(()),
        Value::Array(values) => {
            return values.into_iter().try_for_each(|value| match value {
                Value::String(_) => add(line, key, value, known),
                _ => Err(Wrong::Value(key.to_owned())),
            });
        }
        _ => return Err(Wrong::Value(key.to_owned())),
    };
    line.push(format!("--{key}={text}").into());
    Ok(())
}

/// The first line of what clap says, without its mark.
fn clap_text(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// What `line` leaves out is the `file`'s to say.
fn merge(line: UpArgs, file: UpArgs) -> UpArgs {
    // A token on the command line goes before a token file in the file, and the other way round.
    let token = if line.access.token.is_some() || line.access.token_file.is_some() {
        line.access.clone()
    } else {
        file.access.clone()
    };
    let (limits, theirs) = (line.limits, file.limits);
    UpArgs {
        config: line.config,
        listen: line.listen.or(file.listen),
        data_dir: line.data_dir.or(file.data_dir),
        grace: line.grace.or(file.grace),
        access: AccessArgs {
            token: token.token,
            token_file: token.token_file,
            insecure: line.access.insecure || file.access.insecure,
            allow_host: [line.access.allow_host, file.access.allow_host].concat(),
        },
        size: SizeArgs {
            guest_memory: line.size.guest_memory.or(file.size.guest_memory),
            max_sandboxes: line.size.max_sandboxes.or(file.size.max_sandboxes),
            max_connections: line.size.max_connections.or(file.size.max_connections),
            guest_sockets: line.size.guest_sockets.or(file.size.guest_sockets),
            artifact_cache: line.size.artifact_cache.or(file.size.artifact_cache),
            compile_workers: line.size.compile_workers.or(file.size.compile_workers),
            compile_memory: line.size.compile_memory.or(file.size.compile_memory),
        },
        limits: LimitArgs {
            timeout: limits.timeout.or(theirs.timeout),
            cpu: limits.cpu.or(theirs.cpu),
            memory: limits.memory.or(theirs.memory),
            payload: limits.payload.or(theirs.payload),
            host_call_bytes: limits.host_call_bytes.or(theirs.host_call_bytes),
            handles: limits.handles.or(theirs.handles),
            open_files: limits.open_files.or(theirs.open_files),
            output: limits.output.or(theirs.output),
            output_rate: limits.output_rate.or(theirs.output_rate),
        },
        limit_max: [line.limit_max, file.limit_max].concat(),
    }
}

/// The node's options.
///
/// # Errors
/// A token that is none, or none at all where others can reach the node.
pub(crate) fn options(
    args: &UpArgs,
    listen: SocketAddr,
    data_dir: &Path,
) -> Result<Options, CliError> {
    let mut options = Options::new(data_dir);
    options.token = token(&args.access)?;
    if options.token.is_none() && !listen.ip().is_loopback() && !args.access.insecure {
        return Err(open_to_others(listen));
    }
    options.allow_hosts = args.access.allow_host.clone();
    let size = &args.size;
    options.max_sandboxes = size.max_sandboxes;
    options.max_connections = size.max_connections.map(|count| count as usize);
    options.guest_sockets = size.guest_sockets.map(|count| count as usize);
    options.artifact_cache_bytes = size.artifact_cache.map(|bytes| bytes.0);
    options.compile_workers = size.compile_workers.map(|count| count as usize);
    options.compile_memory_bytes = size.compile_memory.map(|bytes| bytes.0);
    options.guest_memory_bytes = size.guest_memory.map(|bytes| bytes.0);
    options.limits = limits(&args.limits).or(&options.limits);
    // What is named first counts: the command line, then the file.
    options.limits_max = args
        .limit_max
        .iter()
        .fold(options.limits_max, |max, more| max.or(&limits(more)));
    if let Some((limit, asked, most)) = options.limits.above(&options.limits_max) {
        let text = format!("the default of `{limit}`, {asked}, is above its maximum of {most}");
        return Err(CliError::usage("limit-too-high", text));
    }
    Ok(options)
}

fn open_to_others(listen: SocketAddr) -> CliError {
    let message = format!(
        "`{listen}` can be reached from other machines, and whoever reaches it could run code here"
    );
    CliError::usage("no-token", message)
        .hint("ask callers for a token: `--token-file FILE`, or set `LYDIAN_TOKEN`")
        .hint("or say `--insecure` if something else keeps others out")
}

fn token(access: &AccessArgs) -> Result<Option<Token>, CliError> {
    let (secret, from) = match (&access.token, &access.token_file) {
        (Some(token), _) => (token.clone(), "`--token`".to_owned()),
        (None, Some(path)) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| CliError::read(path, &error))?;
            (text.trim_end().to_owned(), format!("`{}`", path.display()))
        }
        (None, None) => match env::read(&env::TOKEN) {
            Some(token) => (token, format!("`{}`", env::TOKEN.name)),
            None => return Ok(None),
        },
    };
    let token = Token::new(&secret).map_err(|error| {
        CliError::usage(
            "bad-token",
            format!("the token of {from} cannot be used: {error}"),
        )
        .hint("make one with `openssl rand -hex 32`")
    })?;
    Ok(Some(token))
}

fn limits(args: &LimitArgs) -> Limits {
    let bytes = |bytes: Option<Bytes>| bytes.map_or(0, |bytes| bytes.0);
    Limits {
        timeout: args.timeout.unwrap_or_default(),
        cpu: args.cpu.unwrap_or_default(),
        memory_bytes: bytes(args.memory),
        payload_bytes: bytes(args.payload),
        host_call_bytes: bytes(args.host_call_bytes),
        handles: args.handles.unwrap_or_default(),
        open_files: args.open_files.unwrap_or_default(),
        output_bytes: bytes(args.output),
        output_bytes_per_second: bytes(args.output_rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line(args: &[&str]) -> UpArgs {
        let command = UpArgs::augment_args(clap::Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(args).expect("arguments");
        UpArgs::from_arg_matches(&matches).expect("arguments")
    }

    fn file(text: &str) -> Result<UpArgs, CliError> {
        read(Path::new("node.toml"), text)
    }

    /// One of everything: who adds an option that is read from one place only sees it here.
    const ALL: &str = r#"
        listen = "127.0.0.1:1"
        data-dir = "/data"
        grace = "7s"
        token = "0123456789abcdef"
        insecure = true
        allow-host = ["node.example"]
        guest-memory = "10KiB"
        max-sandboxes = 11
        max-connections = 12
        guest-sockets = 13
        artifact-cache = "14KiB"
        compile-workers = 15
        compile-memory = "16KiB"
        [limits]
        timeout = "1s"
        cpu = "2s"
        memory = "3KiB"
        payload = "4KiB"
        host-call-bytes = "5KiB"
        handles = 6
        open-files = 7
        output = "8KiB"
        output-rate = "9KiB"
        [limits.max]
        memory = "30KiB"
        timeout = "10s"
    "#;

    #[test]
    fn every_option_is_a_key_and_reaches_the_node() {
        let args = merge(line(&[]), file(ALL).expect("a file"));
        let command = UpArgs::augment_args(clap::Command::new("up"));
        for name in command.get_arguments().filter_map(clap::Arg::get_long) {
            let skipped = [CONFIG, LIMIT_MAX, "token-file"];
            assert!(
                skipped.contains(&name) || ALL.contains(&format!("{name} =")),
                "{name}"
            );
        }
        assert_eq!(args.data_dir.as_deref(), Some(Path::new("/data")));
        assert_eq!(args.grace, Some(Duration::from_secs(7)));
        let listen = args.listen.expect("an address");
        assert_eq!(listen.port(), 1);
        let options = options(&args, listen, Path::new("/data")).expect("options");
        assert!(options.token.is_some());
        assert_eq!(options.allow_hosts, ["node.example"]);
        assert_eq!(options.max_sandboxes, Some(11));
        assert_eq!(options.max_connections, Some(12));
        assert_eq!(options.guest_sockets, Some(13));
        assert_eq!(options.artifact_cache_bytes, Some(14 << 10));
        assert_eq!(options.compile_workers, Some(15));
        assert_eq!(options.compile_memory_bytes, Some(16 << 10));
        let limits = Limits {
            timeout: Duration::from_secs(1),
            cpu: Duration::from_secs(2),
            memory_bytes: 3 << 10,
            payload_bytes: 4 << 10,
            host_call_bytes: 5 << 10,
            handles: 6,
            open_files: 7,
            output_bytes: 8 << 10,
            output_bytes_per_second: 9 << 10,
        };
        assert_eq!(options.limits, limits);
        assert_eq!(options.guest_memory_bytes, Some(10 << 10));
        let max = Limits {
            timeout: Duration::from_secs(10),
            memory_bytes: 30 << 10,
            ..Limits::UNSET
        };
        assert_eq!(options.limits_max, max);
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let given = [
            "--max-sandboxes=3",
            "--memory=1MiB",
            "--token-file=t",
            "--allow-host=a",
            "--limit-max=memory=2MiB",
        ];
        let args = merge(line(&given), file(ALL).expect("a file"));
        assert_eq!(args.size.max_sandboxes, Some(3));
        assert_eq!(args.limits.memory, Some(Bytes(1 << 20)));
        assert_eq!(
            (args.access.token, args.size.compile_workers),
            (None, Some(15))
        );
        assert_eq!(args.access.allow_host, ["a", "node.example"]);
        assert_eq!(args.limit_max[0].memory, Some(Bytes(2 << 20)));
    }

    #[test]
    fn what_is_no_option_is_named() {
        for (text, said, hint) in [
            (
                "max-sandbox = 3",
                "`max-sandbox` is not known",
                "did you mean `max-sandboxes`?",
            ),
            ("memory = \"1MiB\"", "`memory` is not known", ""),
            (
                "[limits]\nmemroy = \"1MiB\"",
                "`memroy` is not known",
                "did you mean `memory`?",
            ),
            ("[limits]\nlisten = \"1\"", "`listen` is not known", ""),
            (
                "[limits.max]\nmemroy = \"1MiB\"",
                "`memroy` is not known",
                "did you mean `memory`?",
            ),
            ("config = \"x\"", "`config` is not known", ""),
            ("max-sandboxes = 0", "the least is 1", ""),
            (
                "max-sandboxes = 1.5",
                "`max-sandboxes` is no text, number",
                "",
            ),
            ("[limits]\nmemory = \"much\"", "is not a size", ""),
            ("listen", "node.toml", ""),
        ] {
            let error = file(text).expect_err(text);
            assert!(error.message.contains(said), "{text}: {}", error.message);
            assert!(
                error.hints.iter().any(|said| said.contains(hint)) || hint.is_empty(),
                "{text}"
            );
        }
    }

    /// Whoever starts a node for others must say who they are.
    #[test]
    fn other_machines_need_a_token_or_a_word_that_none_is_wanted() {
        let everywhere: SocketAddr = "0.0.0.0:7070".parse().expect("an address");
        let set_up = |args: &[&str]| options(&line(args), everywhere, Path::new("/data"));
        let error = set_up(&[]).expect_err("refused");
        assert_eq!(error.code, "no-token");
        assert!(error.hints.iter().any(|hint| hint.contains("--token-file")));
        assert!(set_up(&["--insecure"]).is_ok());
        assert!(set_up(&["--token=0123456789abcdef"]).is_ok());
        let error = set_up(&["--token=short"]).expect_err("refused");
        assert!(
            error.message.contains("16 are the least"),
            "{}",
            error.message
        );
    }
}
