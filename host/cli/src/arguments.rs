//! The function's arguments as typed on the command line, bound to its parameters. Pure.
//!
//! By position, by name (`--name value`, `--name=value`), or mixed: positions then fill the
//! parameters that are not named, in order. A bare `--flag` sets a bool. What follows `--` is by
//! position, whatever it looks like. Texts are WAVE; what they mean is [`lydian_value`]'s.

use lydian_value::{ErrorKind, FuncType, Limits, Param, Type, Value, names};

use crate::args::Tail;
use crate::output::error::CliError;

/// Argument texts, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Texts {
    positional: Vec<String>,
    /// With the parameter's name as the function spells it.
    named: Vec<(String, String)>,
}

/// The values of `function`'s parameters.
///
/// # Errors
/// Exit 2: an unknown name, a wrong number, a text that is not of its parameter's type, or an option in
/// `tail` that could also have meant a parameter.
pub(crate) fn bind(
    function: &FuncType,
    tokens: &[String],
    tail: &Tail,
) -> Result<Vec<Value>, CliError> {
    refuse_ambiguous(function, tail)?;
    let (tokens, literal) = tokens.split_at(tokens.len().saturating_sub(tail.literal));
    let mut texts = sort(function, tokens, &tail.options)?;
    texts.positional.extend_from_slice(literal);
    let bounds = Limits::default();
    let wrong = |error: lydian_value::Error| wrong_argument(function, &error);
    if texts.named.is_empty() {
        return function
            .args_from_wave(&texts.positional, &bounds)
            .map_err(wrong);
    }
    let named = name_positions(function, texts)?;
    function.args_from_named(&named, &bounds).map_err(wrong)
}

/// A refusal of a value, as the user meets it.
pub(crate) fn wrong_argument(function: &FuncType, error: &lydian_value::Error) -> CliError {
    let mut refused = CliError::usage(
        error.code(),
        format!("wrong argument for `{}`: {error}", function.name),
    );
    refused.hints = error.hints();
    if matches!(error.kind(), ErrorKind::TooManyBytes { .. }) {
        refused
            .hints
            .push("raise `payload`, or send less".to_owned());
    }
    let signature = signature(function);
    if !refused
        .hints
        .iter()
        .any(|hint| hint.contains("function is"))
    {
        refused.hints.push(format!("the function is `{signature}`"));
    }
    refused
}

/// `square: func(x: u64) -> u64`
pub(crate) fn signature(function: &FuncType) -> String {
    format!("{}: {}", function.name, function.signature())
}

fn refuse_ambiguous(function: &FuncType, tail: &Tail) -> Result<(), CliError> {
    let both = tail
        .taken
        .iter()
        .find(|taken| find(function, taken).is_some());
    match both {
        None => Ok(()),
        Some(name) => Err(CliError::usage(
            "ambiguous-option",
            format!(
                "`--{name}` is a parameter of `{}` and an option of lydian",
                function.name
            ),
        )
        .hint("put lydian's option before the target")
        .hint("give the function's argument by position, behind `--`: `… -- VALUE`")),
    }
}

fn sort(function: &FuncType, tokens: &[String], options: &[String]) -> Result<Texts, CliError> {
    let mut texts = Texts::default();
    let mut tokens = tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        let Some(option) = token
            .strip_prefix("--")
            .filter(|rest| starts_like_a_name(rest))
        else {
            texts.positional.push(token.clone());
            continue;
        };
        let (name, given) = option
            .split_once('=')
            .map_or((option, None), |(name, text)| (name, Some(text.to_owned())));
        let param = find(function, name).ok_or_else(|| unknown(function, name, options))?;
        let text = match given {
            Some(text) => text,
            None if param.ty == Type::Bool && !tokens.peek().is_some_and(|next| is_bool(next)) => {
                "true".to_owned()
            }
            None => tokens.next().cloned().ok_or_else(|| {
                CliError::usage(
                    "missing-value",
                    format!("`--{name}` needs a value of type {}", param.ty),
                )
                .hint(format!("the function is `{}`", signature(function)))
            })?,
        };
        if texts.named.iter().any(|(before, _)| *before == param.name) {
            return Err(CliError::usage(
                "duplicate",
                format!("`--{name}` is given twice"),
            ));
        }
        texts.named.push((param.name.clone(), text));
    }
    Ok(texts)
}

/// `--` alone and `---` are texts, `--x` and `--Depth` are names.
fn starts_like_a_name(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "false")
}

/// Parameters are kebab-case; people also write them as their language does.
fn find<'a>(function: &'a FuncType, name: &str) -> Option<&'a Param> {
    let mut params = function.params.iter();
    params.find(|param| names::means(name, &param.name))
}

/// A name of no parameter; `options` are those of the command, one of which may have been meant.
fn unknown(function: &FuncType, name: &str, options: &[String]) -> CliError {
    let error = CliError::usage(
        "unknown-name",
        format!("no parameter `{name}` in `{}`", signature(function)),
    );
    let params = function.params.iter().map(|param| param.name.as_str());
    let names = params.chain(options.iter().map(String::as_str));
    match crate::suggest::nearest(name, names) {
        Some(near) => error.hint(format!("did you mean `--{near}`?")),
        None => error.hint("`lydian run --help` lists the options of lydian"),
    }
}

fn name_positions(function: &FuncType, texts: Texts) -> Result<Vec<(String, String)>, CliError> {
    let mut named = texts.named;
    let mut free = function
        .params
        .iter()
        .filter(|param| named.iter().all(|(name, _)| *name != param.name));
    let mut filled = Vec::new();
    for text in texts.positional {
        let Some(param) = free.next() else {
            return Err(CliError::usage(
                "argument-count",
                format!("`{text}` is one argument too many"),
            )
            .hint(format!("the function is `{}`", signature(function))));
        };
        filled.push((param.name.clone(), text));
    }
    named.extend(filled);
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> FuncType {
        let params = [
            ("depth", Type::U32),
            ("learning-rate", Type::F64),
            ("verbose", Type::Bool),
            ("note", Type::String),
        ];
        FuncType::new("train", params, None)
    }

    fn bound(line: &str) -> Result<Vec<Value>, CliError> {
        let tokens: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        bind(&train(), &tokens, &Tail::default())
    }

    #[test]
    fn positions_names_and_a_mix_mean_the_same() {
        let expected = vec![
            Value::U32(3),
            Value::F64(0.5),
            Value::Bool(true),
            Value::from("hi"),
        ];
        for line in [
            "3 0.5 true hi",
            "--depth 3 --learning-rate 0.5 --verbose true --note hi",
            "--depth=3 --learning_rate=0.5 --verbose --note=hi",
            "3 --verbose --note hi 0.5",
        ] {
            assert_eq!(bound(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn mistakes_name_the_thing_and_the_way_out() {
        let error = bound("--dept 3").unwrap_err();
        assert_eq!(error.code, "unknown-name");
        assert_eq!(error.hints, ["did you mean `--depth`?"]);
        assert_eq!(bound("--depth").unwrap_err().code, "missing-value");
        assert_eq!(bound("--depth 1 --depth 2").unwrap_err().code, "duplicate");
        assert_eq!(
            bound("1 2 true hi --depth 5").unwrap_err().message,
            "`hi` is one argument too many"
        );
        assert_eq!(bound("1").unwrap_err().code, "missing-argument");
        assert!(
            bound("x 0.5 true hi")
                .unwrap_err()
                .message
                .contains("depth")
        );
    }

    #[test]
    fn a_mistyped_option_of_lydian_is_met() {
        let tail = Tail {
            options: vec!["timeout".to_owned(), "json".to_owned()],
            ..Tail::default()
        };
        for (typed, meant) in [
            ("--timout", "--timeout"),
            ("--tiemout", "--timeout"),
            ("--jsn", "--json"),
            ("--dept", "--depth"),
        ] {
            let error = bind(&train(), &[typed.to_owned()], &tail).unwrap_err();
            assert_eq!(error.hints, [format!("did you mean `{meant}`?")]);
        }
    }

    /// A text that begins with dashes has to reach its parameter somehow.
    #[test]
    fn what_follows_two_dashes_is_a_value() {
        let tokens =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        for (line, literal, note) in [
            ("3 0.5 true --note", 1, "--note"),
            ("3 0.5 true --help", 1, "--help"),
            ("3 0.5 true --", 1, "--"),
            ("--depth 3 --verbose 0.5 --depth=1", 2, "--depth=1"),
        ] {
            let tail = Tail {
                literal,
                ..Tail::default()
            };
            let values = bind(&train(), &tokens(line), &tail).unwrap();
            assert_eq!(values[3], Value::from(note), "{line}");
        }
    }

    /// `--timeout` taken for lydian's although the function has a parameter of that name would change
    /// what runs without a word.
    #[test]
    fn an_option_that_is_also_a_parameter_is_refused() {
        let function = FuncType::new("wait", [("timeout", Type::String)], None);
        let tail = Tail {
            taken: vec!["timeout".to_owned()],
            ..Tail::default()
        };
        let error = bind(&function, &[], &tail).unwrap_err();
        assert_eq!(error.code, "ambiguous-option");
        assert_eq!(
            bind(
                &function,
                &["--timeout".to_owned(), "5s".to_owned()],
                &Tail::default()
            )
            .unwrap()
            .len(),
            1
        );
    }
}
