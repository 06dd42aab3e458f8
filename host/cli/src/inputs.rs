//! The input lines of a map: each one the arguments of one call, in JSON or WAVE. Pure.
//!
//! A line is tried in a fixed order, so that the same line always means the same: JSON arguments (an
//! array, or an object by parameter name), the JSON value of the only parameter, a WAVE tuple of
//! arguments, the WAVE value of the only parameter.

use bytes::Bytes;
use lydian_value::{Error, FuncType, Limits, Param, Type, Value, json, wave};

use crate::words;

/// Reads lines for one function.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    function: &'a FuncType,
    /// Lines are WAVE, never JSON.
    wave_only: bool,
    limits: Limits,
    /// On the arguments of one call.
    encoded: Limits,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(function: &'a FuncType, wave_only: bool) -> Self {
        Self {
            function,
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
        let line = line.trim();
        if line.is_empty() {
            return Ok(None);
        }
        let values = self.values(line)?;
        self.function.encode_args(&values, &self.encoded).map(Some)
    }

    fn values(&self, line: &str) -> Result<Vec<Value>, Error> {
        if self.wave_only {
            return self.wave(line);
        }
        self.json(line).or_else(|error| {
            // A line that is JSON is told what is wrong with it as JSON.
            let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok();
            self.wave(line)
                .map_err(|other| if is_json() { error } else { other })
        })
    }

    fn json(&self, line: &str) -> Result<Vec<Value>, Error> {
        let all = self.function.args_from_json(line, &self.limits);
        match (all, self.only()) {
            (Err(error), Some(only)) => match json::from_str(&only.ty, line, &self.limits) {
                Ok(value) => Ok(vec![value]),
                // Not even an array or object: the value itself was meant.
                Err(own) if !line.starts_with(['[', '{']) => Err(own.in_field(&only.name)),
                Err(_) => Err(error),
            },
            (all, _) => all,
        }
    }

    fn wave(&self, line: &str) -> Result<Vec<Value>, Error> {
        let tuple = || {
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
        };
        match self.only() {
            None if self.function.params.is_empty() && line == "()" => Ok(Vec::new()),
            None => tuple(),
            Some(only) => match wave::parse(&only.ty, line, &self.limits) {
                Ok(value) => Ok(vec![value]),
                Err(error) => tuple().map_err(|_| error.in_field(&only.name)),
            },
        }
    }

    fn only(&self) -> Option<&'a Param> {
        match self.function.params.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
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

    #[test]
    fn every_spelling_of_a_single_argument_is_read() {
        let square = FuncType::new("square", [("x", Type::U64)], None);
        for line in ["4", "[4]", "{\"x\": 4}", "(4)", " 4\t"] {
            check(&square, line, &[Value::U64(4)]);
        }
    }

    #[test]
    fn every_spelling_of_several_arguments_is_read() {
        let f = FuncType::new("f", [("n", Type::U32), ("word", Type::String)], None);
        for line in ["[1, \"a\"]", "{\"word\": \"a\", \"n\": 1}", "(1, \"a\")"] {
            check(&f, line, &[Value::U32(1), Value::from("a")]);
        }
        let error = Lines::new(&f, false).parse("[\"x\", \"a\"]").unwrap_err();
        assert!(error.to_string().starts_with("n: "), "{error}");
        assert!(Lines::new(&f, true).parse("[1, \"a\"]").is_err());
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

    /// A record is the arguments by name, or the only argument itself.
    #[test]
    fn a_record_parameter_can_stand_alone() {
        let config = Type::record("config", [("depth", Type::U32)]);
        let f = FuncType::new("f", [("config", config)], None);
        for line in [
            "{\"depth\": 3}",
            "{\"config\": {\"depth\": 3}}",
            "[{\"depth\": 3}]",
            "{depth: 3}",
        ] {
            check(&f, line, &[Value::Record(vec![Value::U32(3)])]);
        }
    }

    #[test]
    fn a_list_parameter_can_stand_alone() {
        let f = FuncType::new("f", [("xs", Type::list(Type::U64))], None);
        for line in ["[1, 2]", "[[1, 2]]", "{\"xs\": [1, 2]}"] {
            check(&f, line, &[Value::from(vec![1u64, 2])]);
        }
    }

    #[test]
    fn blank_lines_are_no_input() {
        let f = FuncType::new("f", [("x", Type::U64)], None);
        assert_eq!(Lines::new(&f, false).parse("  \r").unwrap(), None);
    }
}
