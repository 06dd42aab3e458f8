//! The input lines of a map: each one the arguments of one call, in JSON or WAVE. Pure.
//!
//! What a line holds is decided once, from the function's type, never line by line ([`Shape`]): for
//! a function of several parameters the arguments, as an array, a tuple or an object by name; for a
//! function of one parameter its value alone. So `[[]]` means the same in every line of a file,
//! whatever stands in the others. A parameter whose values are never written in some kind of
//! brackets leaves those free: around them stand the arguments, `[4]` for a `u64`.

use bytes::Bytes;
use lydian_value::{Error, FuncType, Limits, Param, Type, Value, json, wave};

use crate::words;

/// Reads lines for one function.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    function: &'a FuncType,
    shape: Shape<'a>,
    /// Lines are WAVE, never JSON.
    wave_only: bool,
    limits: Limits,
    /// On the arguments of one call.
    encoded: Limits,
}

/// What a line holds.
#[derive(Debug, Clone, Copy)]
enum Shape<'a> {
    /// The arguments: several, or none.
    Arguments,
    /// The value of the only parameter.
    Value {
        param: &'a Param,
        /// What its values may be written in.
        own: Brackets,
    },
}

/// Kinds of brackets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Brackets {
    square: bool,
    curly: bool,
    round: bool,
}

impl Brackets {
    /// Those that a value of the type may begin with, in JSON or in WAVE.
    fn of(ty: &Type) -> Self {
        let mut found = Self::default();
        match ty {
            Type::List(_) | Type::FixedList(..) => found.square = true,
            // A tuple, a map and flags are arrays in JSON.
            Type::Tuple(_) => (found.square, found.round) = (true, true),
            Type::Map(..) | Type::Flags(_) => (found.square, found.curly) = (true, true),
            Type::Record(_) | Type::Variant(_) => found.curly = true,
            // `some(…)` and `ok(…)` may be left out around most payloads.
            Type::Option(payload) => {
                found = Self::of(payload);
                found.curly |= matches!(**payload, Type::Option(_));
            }
            Type::Result(result) => {
                found = result.ok.as_ref().map(Self::of).unwrap_or_default();
                found.curly = true;
            }
            // Text that needs no quotes may begin with anything.
            Type::String | Type::Char => {
                (found.square, found.curly, found.round) = (true, true, true)
            }
            _ => {}
        }
        found
    }

    fn has(self, bracket: char) -> bool {
        match bracket {
            '[' => self.square,
            '{' => self.curly,
            _ => self.round,
        }
    }
}

impl<'a> Lines<'a> {
    pub(crate) fn new(function: &'a FuncType, wave_only: bool) -> Self {
        let shape = match function.params.as_slice() {
            [param] => Shape::Value {
                param,
                own: Brackets::of(&param.ty),
            },
            _ => Shape::Arguments,
        };
        Self {
            function,
            shape,
            wave_only,
            limits: Limits::default(),
            encoded: Limits::default(),
        }
    }

    /// Refuses arguments that are over these bounds.
    pub(crate) fn within(self, encoded: Limits) -> Self {
        Self { encoded, ..self }
    }

    /// The arguments of a line in the wire encoding; none for a blank line.
    ///
    /// # Errors
    /// The line is neither: what is wrong with it as JSON when it looks like JSON, else as WAVE.
    pub(crate) fn parse(&self, line: &str) -> Result<Option<Bytes>, Error> {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let open = trimmed.chars().next().filter(|open| "[{(".contains(*open));
        let values = match self.shape {
            Shape::Value { param, own } if open.is_none_or(|open| own.has(open)) => self
                .value(param, line)
                .map(|value| vec![value])
                .map_err(|error| match open {
                    Some(_) => error.with_hint(alone(param)),
                    None => error,
                }),
            Shape::Value { param, .. } => self
                .arguments(trimmed)
                .map_err(|error| error.with_hint(alone(param))),
            Shape::Arguments => self.arguments(trimmed).map_err(|error| match open {
                Some(_) => error,
                None => error.with_hint(self.together()),
            }),
        }?;
        self.function.encode_args(&values, &self.encoded).map(Some)
    }

    /// The arguments in their brackets.
    fn arguments(&self, line: &str) -> Result<Vec<Value>, Error> {
        self.either(
            line,
            || self.function.args_from_json(line, &self.limits),
            || self.tuple(line),
        )
    }

    /// The value of the only parameter: in JSON, or as `lydian run` takes it.
    fn value(&self, param: &Param, line: &str) -> Result<Value, Error> {
        let trimmed = line.trim();
        let as_json = || {
            json::from_str(&param.ty, trimmed, &self.limits)
                .map_err(|error| error.in_field(&param.name))
        };
        let as_typed = || {
            let text = match plain_text(&param.ty, trimmed) {
                // Text or arguments: whichever was meant, the other would run without a word.
                true if !self.wave_only && trimmed.starts_with(['[', '{']) && is_json(trimmed) => {
                    return as_json();
                }
                // Its spaces are the text's own.
                true => line.trim_end_matches(['\r', '\n']),
                false => trimmed,
            };
            let args = self.function.args_from_wave(&[text], &self.limits)?;
            Ok(args.into_iter().next().unwrap_or(Value::Option(None)))
        };
        self.either(trimmed, as_json, as_typed)
    }

    /// What a line is in JSON, else in WAVE. One that is JSON is told what is wrong with it as
    /// JSON.
    fn either<T>(
        &self,
        line: &str,
        json: impl FnOnce() -> Result<T, Error>,
        wave: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.wave_only {
            return wave();
        }
        json().or_else(|error| wave().map_err(|other| if is_json(line) { error } else { other }))
    }

    /// `(1, "a")`
    fn tuple(&self, line: &str) -> Result<Vec<Value>, Error> {
        if self.function.params.is_empty() && line == "()" {
            return Ok(Vec::new());
        }
        let types = self.function.params.iter().map(|param| param.ty.clone());
        match wave::parse(&Type::tuple(types), line, &self.limits) {
            Ok(Value::Tuple(values)) => Ok(values),
            Ok(other) => Ok(vec![other]),
            // Read one by one, a value that does not fit is told with its parameter's name.
            Err(error) => match words::in_parentheses(line) {
                Some(texts) => self.function.args_from_wave(&texts, &self.limits),
                None => Err(error),
            },
        }
    }

    /// The rule for a function of several parameters, or none.
    fn together(&self) -> String {
        let names = self.function.params.iter().map(|param| &*param.name);
        match names.collect::<Vec<_>>().as_slice() {
            [] => "the function takes no arguments, so each line is `[]`".to_owned(),
            names => format!(
                "each line holds all arguments: an array or a tuple of ({}), or an object by name",
                names.join(", ")
            ),
        }
    }
}

/// The rule for a function of one parameter.
fn alone(param: &Param) -> String {
    let Param { name, ty } = param;
    format!(
        "`{name}` is the only parameter, so each line is its value alone, for example `{}`",
        ty.example()
    )
}

/// Whether a line is text without quotes.
fn plain_text(ty: &Type, line: &str) -> bool {
    match ty {
        Type::String => !line.starts_with('"'),
        Type::Option(payload) => {
            line != "none" && !line.starts_with("some(") && plain_text(payload, line)
        }
        _ => false,
    }
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(function: &FuncType, line: &str, expected: &[Value]) {
        let bytes = Lines::new(function, false).parse(line).unwrap().unwrap();
        assert_eq!(
            function.decode_args(&bytes, &Limits::default()).unwrap(),
            expected,
            "{line}"
        );
    }

    #[track_caller]
    fn refused(function: &FuncType, line: &str) -> Error {
        Lines::new(function, false).parse(line).unwrap_err()
    }

    fn of(ty: Type) -> FuncType {
        FuncType::new("f", [("x", ty)], None)
    }

    /// Brackets that the type leaves free stand around the arguments, in every line.
    #[test]
    fn every_spelling_of_a_single_argument_is_read() {
        for line in ["4", "[4]", "{\"x\": 4}", "(4)", " 4\t"] {
            check(&of(Type::U64), line, &[Value::U64(4)]);
        }
        assert!(
            refused(&of(Type::U64), "[4, 5]")
                .hints()
                .last()
                .unwrap()
                .contains("value alone")
        );
    }

    #[test]
    fn every_spelling_of_several_arguments_is_read() {
        let f = FuncType::new("f", [("n", Type::U32), ("word", Type::String)], None);
        for line in ["[1, \"a\"]", "{\"word\": \"a\", \"n\": 1}", "(1, \"a\")"] {
            check(&f, line, &[Value::U32(1), Value::from("a")]);
        }
        let error = refused(&f, "[\"x\", \"a\"]");
        assert!(error.to_string().starts_with("n: "), "{error}");
        assert!(Lines::new(&f, true).parse("[1, \"a\"]").is_err());
        let hints = refused(&f, "1").hints();
        assert!(
            hints.iter().any(|hint| hint.contains("(n, word)")),
            "{hints:?}"
        );
    }

    /// What a line means must not depend on what it happens to hold.
    #[test]
    fn the_only_parameter_is_the_line_itself() {
        let rows = of(Type::list(Type::list(Type::U32)));
        let row = |items: Vec<u32>| Value::U32s(items);
        check(&rows, "[[]]", &[Value::List(vec![row(vec![])])]);
        check(&rows, "[]", &[Value::List(vec![])]);
        check(
            &rows,
            "[[1, 2], [3]]",
            &[Value::List(vec![row(vec![1, 2]), row(vec![3])])],
        );
        let some = |value| Value::Option(Some(Box::new(value)));
        let maybe = of(Type::option(Type::list(Type::U32)));
        check(&maybe, "[]", &[some(row(vec![]))]);
        check(&maybe, "[7]", &[some(row(vec![7]))]);
        check(&maybe, "null", &[Value::Option(None)]);
        let pair = of(Type::tuple([Type::list(Type::U32), Type::list(Type::U32)]));
        check(
            &pair,
            "[[1], [2]]",
            &[Value::Tuple(vec![row(vec![1]), row(vec![2])])],
        );
        check(
            &pair,
            "([1], [2])",
            &[Value::Tuple(vec![row(vec![1]), row(vec![2])])],
        );
        let flags = of(Type::flags("mode", ["read", "write"]));
        check(&flags, "[\"write\"]", &[Value::Flags(vec![1])]);
        check(&flags, "[]", &[Value::Flags(vec![])]);
        let counts = of(Type::map(Type::String, Type::U8));
        check(
            &counts,
            "{\"x\": 1}",
            &[Value::Map(vec![("x".into(), Value::U8(1))])],
        );
        let named_alike = of(Type::record("r", [("x", Type::option(Type::U8))]));
        check(
            &named_alike,
            "{\"x\": 1}",
            &[Value::Record(vec![some(Value::U8(1))])],
        );
        check(
            &named_alike,
            "{}",
            &[Value::Record(vec![Value::Option(None)])],
        );
        for (function, line) in [
            (&rows, "[[[1]]]"),
            (&maybe, "[[7]]"),
            (&pair, "[[[1], [2]]]"),
            (&counts, "{\"x\": {\"a\": 1}}"),
        ] {
            let hints = refused(function, line).hints();
            assert!(
                hints.last().unwrap().contains("value alone"),
                "{line}: {hints:?}"
            );
        }
    }

    /// As `lydian run` takes them.
    #[test]
    fn text_needs_no_quotes() {
        let greet = of(Type::String);
        for (line, text) in [
            ("World", "World"),
            ("hello world", "hello world"),
            ("  as it is \r\n", "  as it is "),
            ("\"in quotes\\n\"", "in quotes\n"),
            (" \"\\u0041\"", "A"),
            ("5", "5"),
            ("null", "null"),
            ("[section]", "[section]"),
            ("(a)", "(a)"),
        ] {
            check(&greet, line, &[text.into()]);
        }
        for line in ["[\"a\"]", "{\"x\": \"a\"}", "\"unfinished"] {
            refused(&greet, line);
        }
        let maybe = of(Type::option(Type::String));
        let some = |text: &str| Value::Option(Some(Box::new(text.into())));
        check(&maybe, "hi", &[some("hi")]);
        check(&maybe, "some(\"hi\")", &[some("hi")]);
        check(&maybe, "none", &[Value::Option(None)]);
        check(&of(Type::Char), "x", &[Value::Char('x')]);
        check(&of(Type::Char), "5", &[Value::Char('5')]);
    }

    /// A line has a number; its values have names, however the line is spelt.
    #[test]
    fn a_value_that_does_not_fit_is_named() {
        let square = FuncType::new("square", [("x", Type::U64)], None);
        let f = FuncType::new("f", [("n", Type::U32), ("word", Type::String)], None);
        for (function, line) in [
            (&square, "four"),
            (&square, "\"four\""),
            (&square, "-4"),
            (&square, "(four)"),
            (&square, "[\"four\"]"),
            (&f, "(x, \"a\")"),
            (&f, "{\"n\": \"x\", \"word\": \"a\"}"),
        ] {
            let error = Lines::new(function, false).parse(line).unwrap_err();
            let name = &function.params[0].name;
            assert!(
                error.to_string().starts_with(&format!("{name}: ")),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn a_record_parameter_stands_alone() {
        let config = Type::record("config", [("depth", Type::U32)]);
        let f = FuncType::new("f", [("config", config)], None);
        for line in ["{\"depth\": 3}", "{depth: 3}"] {
            check(&f, line, &[Value::Record(vec![Value::U32(3)])]);
        }
        refused(&f, "{\"config\": {\"depth\": 3}}");
    }

    #[test]
    fn blank_lines_are_no_input() {
        let f = FuncType::new("f", [("x", Type::U64)], None);
        assert_eq!(Lines::new(&f, false).parse("  \r").unwrap(), None);
    }
}
