//! clap's answers in our words: backticks, `hint:` lines, JSON when asked.

use std::io::Write as _;

use clap::error::ErrorKind;

use super::Output;
use super::error::CliError;
use crate::args::Global;
use crate::exit::Exit;

/// Shows help, the version, or what is wrong with the command line.
pub(crate) fn show(error: &clap::Error, json: bool) -> Exit {
    match error.kind() {
        ErrorKind::DisplayVersion if json => {
            let version = serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "wasmtime": lydian_node::WASMTIME_VERSION,
                "commit": option_env!("LYDIAN_COMMIT"),
            });
            let _ = writeln!(std::io::stdout().lock(), "{version}");
            Exit::Ok
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed stdout is not worth a word.
            let _ = error.print();
            Exit::Ok
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            let _ = error.print();
            Exit::Usage
        }
        _ => {
            let global = Global {
                json,
                quiet: false,
                url: None,
                environment: None,
            };
            translate(&error.to_string()).show(&Output::new(&global))
        }
    }
}

/// Reads clap's text: a message, `tip:` lines and a usage line.
fn translate(text: &str) -> CliError {
    let mut message = Vec::new();
    let mut hints = Vec::new();
    let mut in_message = true;
    for line in text.lines().map(str::trim_end) {
        let bare = line.trim_start();
        if let Some(tip) = bare.strip_prefix("tip: ") {
            hints.push(backticked(tip));
        } else if let Some(usage) = bare.strip_prefix("Usage: ") {
            hints.push(format!("usage: `{}`", without_globals(usage)));
        } else if bare.is_empty() {
            in_message = false;
        } else if in_message || bare.starts_with('[') {
            message.push(backticked(bare.strip_prefix("error: ").unwrap_or(bare)));
        }
    }
    let mut error = CliError::usage("usage", message.join(" "));
    error.hints = hints;
    error
}

/// clap lists what is set as if it had to be, and a variable sets these for every command.
fn without_globals(usage: &str) -> String {
    usage
        .replace(" --url <URL>", "")
        .replace(" --env <NAME>", "")
}

fn backticked(text: &str) -> String {
    text.replace('\'', "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claps_words_become_ours() {
        let text = "error: unexpected argument '--plam' found\n\n  tip: a similar argument exists: '--plan'\n\n\
                    Usage: lydian deploy --plan <PATH>\n\nFor more information, try '--help'.\n";
        let error = translate(text);
        assert_eq!(error.message, "unexpected argument `--plam` found");
        assert_eq!(
            error.hints,
            [
                "a similar argument exists: `--plan`",
                "usage: `lydian deploy --plan <PATH>`"
            ]
        );
    }

    #[test]
    fn missing_arguments_and_possible_values_are_kept() {
        let missing = "error: the following required arguments were not provided:\n  --inputs <FILE>\n\nUsage: x\n";
        assert_eq!(
            translate(missing).message,
            "the following required arguments were not provided: --inputs <FILE>"
        );
        let values =
            "error: invalid value 'x' for '<SHELL>'\n  [possible values: bash, zsh]\n\nFor more\n";
        assert_eq!(
            translate(values).message,
            "invalid value `x` for `<SHELL>` [possible values: bash, zsh]"
        );
    }
}
