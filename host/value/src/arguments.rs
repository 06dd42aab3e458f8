//! A call's arguments as people give them: in order, by name, or as JSON.
//!
//! On a command line each argument is WAVE, except where that would only be in the way: text for a `string` needs no
//! quotes, a single character for a `char` neither. An option that is not given is none.

use crate::error::{brief, excerpt};
use crate::json::JsonReader;
use crate::text::Parser;
use crate::{Error, ErrorKind, FuncType, Limits, Param, Type, Value, names, wave};

impl FuncType {
    /// Arguments in order, each in WAVE or a bare word; options at the end may be missing.
    ///
    /// # Errors
    /// Names the parameter (`rate: expected f64, found string`), and hints at its type with an example.
    pub fn args_from_wave<S: AsRef<str>>(
        &self,
        args: &[S],
        limits: &Limits,
    ) -> Result<Vec<Value>, Error> {
        self.takes_values()?;
        if args.len() > self.params.len() {
            self.expect_count(args.len())?;
        }
        let given = self
            .params
            .iter()
            .zip(args)
            .map(|(param, arg)| param.read(arg.as_ref(), limits));
        let absent = self.params.iter().skip(args.len()).map(Param::absent);
        given.chain(absent).collect()
    }

    /// Arguments by name, in any order, as after `--name`; a name may be spelled as in the source.
    ///
    /// # Errors
    /// As for [`Self::args_from_wave`]; a name that is not a parameter's brings the nearest that is.
    pub fn args_from_named<N, S>(
        &self,
        args: &[(N, S)],
        limits: &Limits,
    ) -> Result<Vec<Value>, Error>
    where
        N: AsRef<str>,
        S: AsRef<str>,
    {
        self.takes_values()?;
        let mut values: Vec<Option<Value>> = self.params.iter().map(|_| None).collect();
        for (name, text) in args {
            let index = self.parameter(name.as_ref())?;
            let param = &self.params[index];
            if values[index].is_some() {
                return Err(Error::new(ErrorKind::Duplicate).in_field(&param.name));
            }
            values[index] = Some(param.read(text.as_ref(), limits)?);
        }
        let filled = self.params.iter().zip(values);
        filled
            .map(|(param, value)| value.map_or_else(|| param.absent(), Ok))
            .collect()
    }

    /// Refuses a function that nobody can call from outside, before any text is taken for what it can never be.
    fn takes_values(&self) -> Result<(), Error> {
        let refused = |param: &Param| {
            let ty = brief(never_given(&param.ty)?);
            Some(Error::new(ErrorKind::NotAnArgument { ty }).in_field(&param.name))
        };
        self.params.iter().find_map(refused).map_or(Ok(()), Err)
    }

    fn parameter(&self, name: &str) -> Result<usize, Error> {
        let mut params = self.params.iter();
        let exact = params.position(|param| param.name == name);
        let mut params = self.params.iter();
        let found = exact.or_else(|| params.position(|param| names::means(name, &param.name)));
        found.ok_or_else(|| {
            Error::unknown(
                "parameter",
                name,
                self.params.iter().map(|param| &*param.name),
            )
        })
    }

    /// Arguments as JSON text: an array in order, an object by name, or, for a function of one parameter that takes neither
    /// arrays nor objects, the bare value.
    pub fn args_from_json(&self, text: &str, limits: &Limits) -> Result<Vec<Value>, Error> {
        self.takes_values()?;
        let mut reader = JsonReader::new(text, limits);
        let args = match reader.peek() {
            Some(b'[') => self.args_from_array(&mut reader)?,
            Some(b'{') => self.args_from_object(&mut reader)?,
            _ => match &self.params[..] {
                [only] => vec![
                    reader
                        .nested(|r| r.value(&only.ty))
                        .map_err(|error| only.explain(error))?,
                ],
                _ => {
                    return Err(Error::wrong_type(
                        "an array or object of arguments",
                        "a single value",
                    ));
                }
            },
        };
        reader.finish()?;
        Ok(args)
    }

    fn args_from_array(&self, reader: &mut JsonReader<'_>) -> Result<Vec<Value>, Error> {
        let mut args = Vec::with_capacity(self.params.len());
        reader.nested(|r| {
            r.sequence(&"an array of arguments", &mut |r| {
                let Some(param) = self.params.get(args.len()) else {
                    return self.expect_count(args.len() + 1);
                };
                args.push(r.value(&param.ty).map_err(|error| param.explain(error))?);
                Ok(())
            })
        })?;
        let absent = self
            .params
            .iter()
            .skip(args.len())
            .map(Param::absent)
            .collect::<Result<Vec<_>, _>>()?;
        args.extend(absent);
        Ok(args)
    }

    fn args_from_object(&self, reader: &mut JsonReader<'_>) -> Result<Vec<Value>, Error> {
        let mut values: Vec<Option<Value>> = self.params.iter().map(|_| None).collect();
        reader.nested(|r| {
            r.object(&"an object of arguments", |r, name| {
                let index = self.parameter(&name)?;
                let param = &self.params[index];
                if values[index].is_some() {
                    return Err(Error::new(ErrorKind::Duplicate).in_field(&param.name));
                }
                values[index] = Some(r.value(&param.ty).map_err(|error| param.explain(error))?);
                Ok(())
            })
        })?;
        let filled = self.params.iter().zip(values);
        filled
            .map(|(param, value)| value.map_or_else(|| param.absent(), Ok))
            .collect()
    }
}

impl Param {
    /// Reads one argument from a command line.
    fn read(&self, text: &str, limits: &Limits) -> Result<Value, Error> {
        if let Some(value) = bare(&self.ty, text) {
            return Ok(value);
        }
        wave::parse(&self.ty, text, limits).map_err(|error| match error.kind() {
            // A word that is no WAVE at all: what matters is the type, not where the grammar stopped.
            ErrorKind::Syntax { .. } if error.path().is_empty() && is_word(text) => self.explain(
                Error::wrong_type(&self.ty, format_args!("`{}`", excerpt(text))),
            ),
            _ => self.explain(error),
        })
    }

    fn absent(&self) -> Result<Value, Error> {
        match &self.ty {
            Type::Option(_) => Ok(Value::Option(None)),
            ty => {
                let kind = ErrorKind::MissingArgument {
                    name: self.name.clone(),
                    expected: brief(ty),
                };
                Err(Error::new(kind).with_hint(self.example()))
            }
        }
    }

    fn explain(&self, error: Error) -> Error {
        error.with_hint(self.example()).in_field(&self.name)
    }

    fn example(&self) -> String {
        let Param { name, ty } = self;
        match ty.name() {
            Some(_) => format!(
                "`{name}` takes {}, for example `{}`",
                brief(ty.shape()),
                ty.example()
            ),
            None => format!(
                "`{name}` takes {}, for example `{}`",
                brief(ty),
                ty.example()
            ),
        }
    }
}

/// The part of a type that keeps it from being an argument. What may be absent, or empty, does not.
fn never_given(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Stream(_) | Type::Future(_) | Type::ErrorContext => Some(ty),
        Type::Record(record) => record
            .fields
            .iter()
            .find_map(|field| never_given(&field.ty)),
        Type::Tuple(items) => items.iter().find_map(never_given),
        _ => None,
    }
}

fn is_word(text: &str) -> bool {
    !text.starts_with(|ch: char| "[({\"'".contains(ch))
}

/// The value of an argument that needs no WAVE: text for a string, one character for a char, either of them as an option.
fn bare(ty: &Type, text: &str) -> Option<Value> {
    match ty {
        // A text in quotes is WAVE; one that begins with a quote and is not WAVE is worth an error, not a guess.
        Type::String if !text.starts_with('"') => Some(Value::String(text.to_owned())),
        Type::Char => {
            let mut chars = text.chars();
            chars
                .next()
                .filter(|_| chars.next().is_none())
                .map(Value::Char)
        }
        Type::Option(payload) if text != "none" && !text.starts_with("some(") => {
            bare(payload, text).map(|value| Value::Option(Some(Box::new(value))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> FuncType {
        let config = Type::record("config", [("depth", Type::U32), ("rate", Type::F64)]);
        let params = [
            ("name", Type::String),
            ("config", config),
            ("max-depth", Type::option(Type::U8)),
            ("note", Type::option(Type::String)),
        ];
        FuncType::new("train", params, None)
    }

    fn named(args: &[(&str, &str)]) -> Result<Vec<Value>, Error> {
        train().args_from_named(args, &Limits::default())
    }

    fn positional(ty: Type, arg: &str) -> Result<Value, Error> {
        let func = FuncType::new("f", [("x", ty)], None);
        func.args_from_wave(&[arg], &Limits::default())
            .map(|mut args| args.remove(0))
    }

    /// Quotes inside a shell's quotes are what people get wrong.
    #[test]
    fn text_needs_no_quotes() {
        assert_eq!(
            positional(Type::String, "hello world"),
            Ok("hello world".into())
        );
        assert_eq!(positional(Type::String, "\"a\\tb\""), Ok("a\tb".into()));
        assert_eq!(positional(Type::String, ""), Ok("".into()));
        assert_eq!(positional(Type::String, "none"), Ok("none".into()));
        assert_eq!(positional(Type::Char, "x"), Ok(Value::Char('x')));
        assert_eq!(positional(Type::Char, "'x'"), Ok(Value::Char('x')));
        let some = |value| Ok(Value::Option(Some(Box::new(value))));
        assert_eq!(
            positional(Type::option(Type::String), "hi"),
            some("hi".into())
        );
        assert_eq!(
            positional(Type::option(Type::String), "some(\"hi\")"),
            some("hi".into())
        );
        assert_eq!(
            positional(Type::option(Type::String), "none"),
            Ok(Value::Option(None))
        );
        assert!(positional(Type::String, "\"unfinished").is_err());
    }

    /// The error is read by someone who does not have the WIT at hand.
    #[test]
    fn a_wrong_argument_names_the_parameter_and_shows_an_example() {
        let error = positional(Type::U64, "four").unwrap_err();
        assert_eq!(error.to_string(), "x: expected u64, found `four`");
        assert_eq!(error.hints(), ["`x` takes u64, for example `42`"]);
        let error = named(&[("name", "a"), ("config", "{depth: 3, rate: \"fast\"}")]).unwrap_err();
        assert_eq!(error.to_string(), "config.rate: expected f64, found string");
        assert_eq!(
            error.hints(),
            [
                "`config` takes record { depth: u32, rate: f64 }, for example `{depth: 42, rate: 1.5}`"
            ]
        );
    }

    /// Options are what a caller may leave out, by name and at the end.
    #[test]
    fn options_may_be_missing_and_nothing_else() {
        let args = named(&[("config", "{depth: 3, rate: 1}"), ("name", "a")]).unwrap();
        assert_eq!(args[2..], [Value::Option(None), Value::Option(None)]);
        let in_order = train().args_from_wave(&["a", "{depth: 3, rate: 1}"], &Limits::default());
        assert_eq!(in_order, Ok(args));
        let error = named(&[("name", "a")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing argument `config` of type config"
        );
        let error = train()
            .args_from_wave(&["a"; 5], &Limits::default())
            .unwrap_err();
        assert_eq!(error.to_string(), "expected 4 arguments, found 5");
        assert!(
            error.hints()[0].contains("func(name: string, config: config"),
            "{:?}",
            error.hints()
        );
    }

    /// Names come from a shell: other spellings of `-`, typing errors, repetitions.
    #[test]
    fn named_arguments_are_found_or_explained() {
        let config = ("config", "{depth: 3, rate: 1}");
        for spelt in ["max-depth", "max_depth", "maxDepth", "max_Depth"] {
            let args = named(&[("name", "a"), config, (spelt, "7")]).unwrap();
            assert_eq!(args[2], Value::Option(Some(Box::new(Value::U8(7)))));
        }
        let args = named(&[("name", "a"), config, ("max_depth", "7")]).unwrap();
        assert_eq!(args[2], Value::Option(Some(Box::new(Value::U8(7)))));
        let error = named(&[("nmae", "a")]).unwrap_err();
        assert_eq!(error.to_string(), "no parameter `nmae`");
        assert_eq!(error.hints(), ["did you mean `name`?"]);
        assert_eq!(
            named(&[("name", "a"), ("name", "b")])
                .unwrap_err()
                .to_string(),
            "name: given twice"
        );
    }

    /// A web caller sends an array or an object; both name the parameter when something is wrong.
    #[test]
    fn json_arguments_are_an_array_or_an_object() {
        let limits = Limits::default();
        let by_name = train().args_from_json(
            r#"{"config": {"rate": 1, "depth": 3}, "name": "a"}"#,
            &limits,
        );
        let in_order = train().args_from_json(r#"["a", {"depth": 3, "rate": 1.0}]"#, &limits);
        assert_eq!(by_name, in_order);
        assert!(by_name.is_ok());
        let error = train()
            .args_from_json(r#"["a", {"depth": -1, "rate": 1}]"#, &limits)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "config.depth: -1 is out of range for u32"
        );
        assert!(
            train()
                .args_from_json(r#"["a", {"depth": 1, "rate": 1}, 1, "n", 5]"#, &limits)
                .is_err()
        );
        assert!(train().args_from_json(r#"["a"] x"#, &limits).is_err());
        let square = FuncType::new("square", [("x", Type::U64)], None);
        assert_eq!(square.args_from_json("4", &limits), Ok(vec![Value::U64(4)]));
    }
}
