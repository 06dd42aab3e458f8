//! The environment variables the command reads: this list and no other place.
//!
//! Those with a flag of the same meaning are read by clap through [`Variable::name`]; the rest are
//! read here once. `lydian --help` ends with [`help`].

use std::path::PathBuf;

use crate::args::Global;
use crate::output::error::CliError;

/// One variable: its name and what it is for.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
}

/// Where the local data lives.
pub(crate) const HOME: Variable = Variable {
    name: "LYDIAN_HOME",
    help: "data directory of local runs and of `lydian up` [default: $XDG_DATA_HOME/lydian]",
};
/// The node to talk to.
pub(crate) const URL: Variable = Variable {
    name: "LYDIAN_URL",
    help: "node to use, as `--url`; `embedded` for none",
};
/// The environment names are looked up in.
pub(crate) const ENVIRONMENT: Variable = Variable {
    name: "LYDIAN_ENV",
    help: "environment apps are looked up in, as `--env` [default: main]",
};
/// Who is asking.
pub(crate) const TOKEN: Variable = Variable {
    name: "LYDIAN_TOKEN",
    help: "token sent to the node, and asked for by `lydian up`",
};
/// What the command itself logs.
pub(crate) const LOG: Variable = Variable {
    name: "LYDIAN_LOG",
    help: "what `lydian up` and embedded runs log, such as `info` or `lydian_node=debug` [default: warn]",
};
/// Read by every program that colours.
pub(crate) const NO_COLOR: Variable = Variable {
    name: "NO_COLOR",
    help: "set to anything: no colours",
};

/// Every variable, in the order help shows them.
pub(crate) const ALL: [&Variable; 6] = [&HOME, &URL, &ENVIRONMENT, &TOKEN, &LOG, &NO_COLOR];

/// The section of `--help` that lists them.
pub(crate) fn help() -> String {
    let width = ALL
        .iter()
        .map(|variable| variable.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::from("Environment variables:\n");
    for variable in ALL {
        text += &format!("  {:width$}  {}\n", variable.name, variable.help);
    }
    text
}

/// The value of `variable`; an empty one counts as not set.
pub(crate) fn read(variable: &Variable) -> Option<String> {
    std::env::var(variable.name)
        .ok()
        .filter(|value| !value.is_empty())
}

/// Takes back what clap read from an empty variable.
fn unset_if_empty(value: &mut Option<String>, variable: &Variable) {
    let empty = || std::env::var_os(variable.name).is_some_and(|value| value.is_empty());
    if value.as_deref() == Some("") && empty() {
        *value = None;
    }
}

/// Makes sure that what stands for every command can be used.
///
/// # Errors
/// Exit 2: the environment has a name that none can have.
pub(crate) fn check(global: &mut Global) -> Result<(), CliError> {
    unset_if_empty(&mut global.url, &URL);
    unset_if_empty(&mut global.environment, &ENVIRONMENT);
    match &global.environment {
        Some(name) if !is_name(name) => {
            let variable = read(&ENVIRONMENT).as_ref() == Some(name);
            let place = if variable { ENVIRONMENT.name } else { "--env" };
            let message = format!("`{place}` is `{name}`, which no environment can be called");
            Err(CliError::usage("invalid-name", message)
                .hint("use 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or digit"))
        }
        _ => Ok(()),
    }
}

/// What a deploy accepts as a name. A name that it would refuse has no apps, which is no answer to a mistyped one.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.len() <= 64
        && name.chars().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The data directory: `given` (`--data-dir`), else `LYDIAN_HOME`, else where the platform keeps data.
///
/// # Errors
/// Neither is set and this user has no home directory.
pub(crate) fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    use etcetera::BaseStrategy as _;
    if let Some(dir) = given.or_else(|| read(&HOME).map(PathBuf::from)) {
        return Ok(from_home(dir));
    }
    let base = etcetera::choose_base_strategy().map_err(|_| {
        CliError::failed(
            "no-home",
            format!("no home directory is known; set `{}`", HOME.name),
        )
    })?;
    Ok(base.data_dir().join("lydian"))
}

/// A path that begins with `~` from the user's home directory: only a shell's own words are
/// expanded by the shell.
fn from_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => path,
    }
}
