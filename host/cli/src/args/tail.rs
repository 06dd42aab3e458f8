//! What follows a TARGET: options of ours, or arguments of the function?
//!
//! `lydian run fib.wasm::fib 30 --timeout 5s --n 4` mixes both, and the function's parameters are known
//! only once its component was read. The rule, applied before clap sees anything:
//!
//! - before the TARGET every option is ours; after `--` everything is the function's, and values only: a
//!   text that looks like a name is a text there ([`Tail::literal`]);
//! - between, an option we know is ours and anything else the function's. A function with a parameter of
//!   the same name makes that ambiguous, which is refused later with the way out ([`Tail::taken`]).

use std::ffi::OsString;

use clap::{Arg, Command};

/// Commands whose TARGET is followed by the function's arguments.
const WITH_TAIL: [&str; 2] = ["run", "spawn"];

/// What was found behind the TARGET.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Names of the options taken as ours, without dashes.
    pub(crate) taken: Vec<String>,
    /// `--help` stood behind the TARGET: the function's help is wanted, not ours.
    pub(crate) wants_help: bool,
    /// How many of the arguments, at their end, stood behind `--`: they are values, whatever they
    /// look like.
    pub(crate) literal: usize,
    /// Names of all options the command has, for whoever mistypes one: behind the TARGET it looks like the function's.
    pub(crate) options: Vec<String>,
}

/// Moves our options from behind the TARGET before it and marks the rest with `--`.
///
/// `command` is the built top command. A command line without a tail comes back as it was.
pub(super) fn sort(command: &Command, argv: Vec<OsString>) -> (Vec<OsString>, Tail) {
    let found = skip_options(command, &argv, 1).and_then(|at| {
        let name = argv[at].to_str().filter(|name| WITH_TAIL.contains(name))?;
        let subcommand = command.find_subcommand(name)?;
        let end = at + 1 + before_dashes(&argv[at + 1..]);
        match skip_options(subcommand, &argv[..end], at + 1) {
            Some(target) => Some((subcommand, target, false)),
            // `--` stands before the TARGET: all that follows it is the function's.
            None if end + 1 < argv.len() && only_options(subcommand, &argv[at + 1..end]) => {
                Some((subcommand, end + 1, true))
            }
            None => None,
        }
    });
    let Some((subcommand, target, all_literal)) = found else {
        return (argv, Tail::default());
    };
    let mut tail = Tail {
        options: long_names(subcommand),
        ..Tail::default()
    };
    let mut ours = Vec::new();
    let mut functions = Vec::new();
    let mut tokens = argv[target + 1..].iter();
    if all_literal {
        tail.literal = tokens.len();
        functions.extend(tokens.by_ref().cloned());
    }
    while let Some(token) = tokens.next() {
        match token.to_str() {
            Some("--") => {
                tail.literal = tokens.len();
                functions.extend(tokens.by_ref().cloned());
            }
            Some("--help" | "-h") => tail.wants_help = true,
            text => match text.and_then(|text| known(subcommand, text)) {
                Some((name, value_follows)) => {
                    tail.taken.push(name);
                    ours.push(token.clone());
                    if value_follows {
                        ours.extend(tokens.next().cloned());
                    }
                }
                None => functions.push(token.clone()),
            },
        }
    }
    let mut sorted = argv[..target - usize::from(all_literal)].to_vec();
    sorted.extend(ours);
    // `--` before the TARGET as well: nothing behind it is taken for an option again.
    sorted.push("--".into());
    sorted.push(argv[target].clone());
    sorted.extend(functions);
    (sorted, tail)
}

/// The index of the first token from `start` on that is neither an option nor an option's value.
/// None when there is none, or when `--` or something unknown comes first: clap then says what is wrong.
fn skip_options(command: &Command, argv: &[OsString], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(token) = argv.get(at) {
        match token.to_str() {
            Some(text) if text.starts_with('-') && text != "-" => {
                let (_, value_follows) = known(command, text)?;
                at += 1 + usize::from(value_follows);
            }
            _ => return Some(at),
        }
    }
    None
}

/// How many tokens come before the first `--`; all when there is none.
fn before_dashes(tokens: &[OsString]) -> usize {
    let found = tokens.iter().position(|token| token == "--");
    found.unwrap_or(tokens.len())
}

/// Whether the tokens are options of `command` and their values, and nothing else.
fn only_options(command: &Command, tokens: &[OsString]) -> bool {
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        match token.to_str().and_then(|text| known(command, text)) {
            Some((_, true)) => {
                if tokens.next().is_none() {
                    return false;
                }
            }
            Some((_, false)) => {}
            None => return false,
        }
    }
    true
}

/// The long name of the option `token` spells in `command`, and whether its value is the next token.
fn known(command: &Command, token: &str) -> Option<(String, bool)> {
    let (argument, has_value) = if let Some(long) = token.strip_prefix("--") {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        (
            command
                .get_arguments()
                .find(|argument| argument.get_long() == Some(name))?,
            value.is_some(),
        )
    } else {
        // `-q`, `-eprod`. A negative number is no option: none of ours is a digit.
        let mut chars = token.strip_prefix('-')?.chars();
        let short = chars.next()?;
        let argument = command
            .get_arguments()
            .find(|argument| argument.get_short() == Some(short))?;
        let has_value = !chars.as_str().is_empty();
        if has_value && !takes_value(argument) {
            return None;
        }
        (argument, has_value)
    };
    let name = argument.get_long().unwrap_or(argument.get_id().as_str());
    Some((name.to_owned(), takes_value(argument) && !has_value))
}

fn long_names(command: &Command) -> Vec<String> {
    let names = command.get_arguments().filter_map(Arg::get_long);
    names.map(str::to_owned).collect()
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn sorted(line: &str) -> (String, Tail) {
        let mut command = Cli::command();
        command.build();
        let (argv, tail) = sort(&command, line.split(' ').map(OsString::from).collect());
        let argv: Vec<_> = argv
            .into_iter()
            .map(|token| token.into_string().unwrap())
            .collect();
        (argv.join(" "), tail)
    }

    #[track_caller]
    fn check(line: &str, expected: &str, taken: &[&str]) {
        let (argv, tail) = sorted(line);
        assert_eq!(argv, expected);
        assert_eq!(tail.taken, taken);
    }

    #[test]
    fn our_options_move_before_the_target() {
        check(
            "lydian run t.wasm::f 4 --timeout 5s --n 3 --json",
            "lydian run --timeout 5s --json -- t.wasm::f 4 --n 3",
            &["timeout", "json"],
        );
        check(
            "lydian run t::f --memory=1MiB -q x",
            "lydian run --memory=1MiB -q -- t::f x",
            &["memory", "quiet"],
        );
    }

    #[test]
    fn options_before_the_target_stay_and_are_not_counted() {
        check(
            "lydian --json run --timeout 5s t::f 4",
            "lydian --json run --timeout 5s -- t::f 4",
            &[],
        );
        check("lydian -e prod run t::f", "lydian -e prod run -- t::f", &[]);
    }

    #[test]
    fn negative_numbers_and_unknown_options_are_the_functions() {
        check(
            "lydian run t::f -5 --nope -inf",
            "lydian run -- t::f -5 --nope -inf",
            &[],
        );
    }

    #[test]
    fn everything_after_two_dashes_is_the_functions() {
        check(
            "lydian run t::f 1 -- --timeout 5 --help",
            "lydian run -- t::f 1 --timeout 5 --help",
            &[],
        );
        assert_eq!(
            sorted("lydian run t::f 1 -- --timeout 5 --help").1.literal,
            3
        );
        for line in [
            "lydian run -q -- t::f --s --",
            "lydian run -q t::f -- --s --",
        ] {
            let (argv, tail) = sorted(line);
            assert_eq!(argv, "lydian run -q -- t::f --s --");
            assert_eq!(tail.literal, 2);
        }
    }

    /// What clap then makes of it: nothing behind the TARGET is lost, another `--` neither.
    #[test]
    fn what_is_the_functions_arrives_whole() {
        let line = [
            "lydian", "spawn", "t::f", "--x", "1", "--", "--", "-q", "---",
        ];
        let parsed = crate::args::parse(line.map(OsString::from).to_vec()).unwrap();
        let crate::args::Command::Spawn(spawn) = parsed.cli.command else {
            panic!("not a spawn");
        };
        assert_eq!(spawn.args, ["--x", "1", "--", "-q", "---"]);
        assert_eq!(parsed.tail.literal, 3);
    }

    #[test]
    fn help_behind_the_target_is_the_functions() {
        assert!(sorted("lydian run t::f --help").1.wants_help);
        assert!(sorted("lydian run t::f -h").1.wants_help);
        let (line, tail) = sorted("lydian run --help t::f");
        assert_eq!(line, "lydian run --help -- t::f");
        assert!(!tail.wants_help && tail.taken.is_empty());
    }

    #[test]
    fn other_commands_are_left_alone() {
        check(
            "lydian calls get abc --timeout 5s",
            "lydian calls get abc --timeout 5s",
            &[],
        );
        check("lydian run", "lydian run", &[]);
        check("lydian", "lydian", &[]);
    }
}
