//! Calls of a shell: a phrase becomes a function and its arguments, the result is shown and kept.

use bytes::Bytes;
use lydian_client::{Error, FailureKind, Limits as CallLimits, Wire};
use lydian_value::{FuncType, Limits, Type, Value, names};

use super::super::run::{Running, show_output};
use super::Shell;
use super::line::{self, Args, Phrase};
use super::values::Kept;
use crate::args::Tail;
use crate::arguments;
use crate::output::error::CliError;
use crate::output::result::{self, Spelling};

impl Shell<'_> {
    /// Calls what the phrase names, shows its result and keeps it.
    pub(super) async fn say(
        &mut self,
        name: Option<&str>,
        phrase: &Phrase<'_>,
    ) -> Result<(), CliError> {
        if phrase.args == Args::None
            && let Some(kept) = self.values.get(phrase.head)
        {
            if name.is_none() {
                self.show(&kept)?;
            }
            self.values.keep(name, kept, self.session.as_ref());
            return Ok(());
        }
        let (function, receiver) = self.function(phrase.head)?;
        let values = self.arguments(&function, receiver, &phrase.args)?;
        let wrong = |error| arguments::wrong_argument(&function, &error);
        let encoded = function
            .encode_args(&values, &Limits::default())
            .map_err(wrong)?;
        let streams = function.result.as_ref().is_some_and(result::has_stream);
        let bytes = if self.shares && !streams {
            self.call_shared(&function, encoded).await?
        } else {
            self.call_fresh(&function, encoded, name.is_none()).await?
        };
        self.values.give(&function, &values);
        if let (Some(bytes), Some(ty)) = (bytes, &function.result) {
            let text = Spelling::Wave.value(ty, &bytes)?;
            let value = result::decoded(ty, &bytes)?;
            let kept = Kept::new(&function, ty, value, text);
            // A call of its own has shown its result as it came.
            if self.shares && !streams && name.is_none() {
                self.show(&kept)?;
            }
            let shown = kept.shown();
            match (kept.clone().bound(), name) {
                (Some(kept), _) => self.values.keep(name, kept, self.session.as_ref()),
                (None, None) => self.values.keep(None, kept, self.session.as_ref()),
                (None, Some(name)) => {
                    let message = format!("`{}` returned {shown}", function.name);
                    return Err(CliError::failed("returned-err", message)
                        .hint(format!("`{name}` was not set")));
                }
            }
        } else if self.shares && self.ctx.output.json && name.is_none() {
            self.progress.print("null\n")?;
        }
        Ok(())
    }

    /// The function a head names; with a resource in front, its method and the resource's text.
    fn function(&self, head: &str) -> Result<(FuncType, Option<String>), CliError> {
        if let Some((name, method)) = head.rsplit_once('.')
            && self.values.knows(name)
        {
            let found = self.values.get(name).and_then(|kept| kept.unwrapped());
            let Some(kept) = found else {
                let message = format!("there is no value at `{name}`");
                return Err(CliError::not_found("value-not-found", message)
                    .hint("`.values` lists what has a name"));
            };
            let Some(resource) = kept.resource() else {
                let message = format!("`{name}` is a {}, which has no methods", kept.ty);
                return Err(CliError::usage("no-method", message));
            };
            let local = format!("{resource}.{method}");
            let full = kept
                .interface
                .as_ref()
                .map(|path| format!("{path}#{local}"));
            let found = full.and_then(|full| self.interface.function(&full).ok());
            let found = found.or_else(|| self.interface.function(&local).ok());
            let Some(function) = found else {
                return Err(self.no_method(resource, method));
            };
            let takes_it = function.params.first().is_some_and(
                |param| matches!(&param.ty, Type::Own(of) | Type::Borrow(of) if **of == *resource),
            );
            return Ok((function.clone(), takes_it.then(|| kept.text.clone())));
        }
        match self.interface.function(head) {
            Ok(function) => Ok((function.clone(), None)),
            Err(error) => {
                let mut unknown = CliError::not_found("function-not-found", error.to_string());
                unknown.hints = error.hints();
                unknown.hints.truncate(6);
                Err(unknown.hint("`.functions` lists them all"))
            }
        }
    }

    fn no_method(&self, resource: &str, method: &str) -> CliError {
        let prefix = format!("{resource}.");
        let methods: Vec<&str> = self
            .interface
            .functions
            .iter()
            .filter_map(|function| {
                let local = function.name.rsplit('#').next()?;
                local.strip_prefix(&prefix).filter(|name| *name != "new")
            })
            .collect();
        let error = CliError::not_found(
            "function-not-found",
            format!("`{resource}` has no method `{method}`"),
        );
        match crate::suggest::nearest(method, methods.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("it has {}", methods.join(", "))),
        }
    }

    /// The values of the arguments, names filled in.
    fn arguments(
        &self,
        function: &FuncType,
        receiver: Option<String>,
        args: &Args<'_>,
    ) -> Result<Vec<Value>, CliError> {
        let fill = |text: &&str| line::filled(text, |path| Some(self.values.get(path)?.text));
        let mut texts: Vec<String> = receiver.into_iter().collect();
        let bounds = Limits::default();
        let wrong = |error| arguments::wrong_argument(function, &error);
        match args {
            Args::None => {}
            Args::Words(words) => {
                let dashes = words.iter().position(|word| *word == "--");
                let (words, literal) = match dashes {
                    Some(at) => (&words[..at], &words[at + 1..]),
                    None => (&words[..], &[][..]),
                };
                texts.extend(words.iter().map(fill));
                texts.extend(literal.iter().map(|text| (*text).to_owned()));
                let tail = Tail {
                    literal: literal.len(),
                    ..Tail::default()
                };
                return arguments::bind(function, &texts, &tail);
            }
            Args::Listed(listed) => match by_name(function, listed) {
                Some(named) => {
                    let first = function.params.first();
                    let own = texts
                        .iter()
                        .zip(first)
                        .map(|(text, param)| (param.name.clone(), text.clone()));
                    let named = named
                        .iter()
                        .map(|(name, text)| ((*name).to_owned(), fill(text)));
                    let all: Vec<(String, String)> = own.chain(named).collect();
                    return function.args_from_named(&all, &bounds).map_err(wrong);
                }
                None => texts.extend(listed.iter().map(fill)),
            },
        }
        function.args_from_wave(&texts, &bounds).map_err(wrong)
    }

    /// A call in a sandbox of its own, shown as `lydian run` shows it.
    async fn call_fresh(
        &mut self,
        function: &FuncType,
        args: Bytes,
        shown: bool,
    ) -> Result<Option<Bytes>, CliError> {
        let callable = tokio::select! {
            found = self.opened.function(&function.name) => found?,
            () = self.interrupt.pressed() => return Err(stopped(function)),
        };
        let setters = self.setters(&callable.info().limits);
        let callable = callable.with_limits(self.limits());
        let mut running = Running::new(self.ctx, &self.progress, &callable);
        running.shows_result = shown;
        self.progress.step(format!("running {}", function.name));
        tokio::select! {
            ended = running.follow(Wire(args)) => {
                ended.map_err(|error| setters.explain(error))?;
            }
            () = self.interrupt.pressed() => return Err(stopped(function)),
        }
        self.progress.finish();
        // The number of a stream that has ended means nothing.
        let streams = function.result.as_ref().is_some_and(result::has_stream);
        Ok(running.result.take().filter(|_| !streams))
    }

    /// A call in the sandbox that all share.
    async fn call_shared(
        &mut self,
        function: &FuncType,
        args: Bytes,
    ) -> Result<Option<Bytes>, CliError> {
        if self.session.is_none() {
            let session = self.opened.session(self.limits()).await?;
            let progress = self.progress.clone();
            session.on_log(move |chunk| show_output(&progress, &chunk));
            self.session = Some(session);
        }
        let Some(session) = self.session.clone() else {
            return Ok(None);
        };
        self.progress.step(format!("running {}", function.name));
        let ended = tokio::select! {
            ended = session.call::<Wire, Wire>(&function.name, Wire(args)) => Some(ended),
            () = self.interrupt.pressed() => None,
        };
        self.progress.finish();
        match ended {
            Some(Ok(Wire(bytes))) => Ok(Some(bytes)),
            Some(Err(error)) => {
                let over = is_over(&error);
                let deployed = self.deployed_limits(&function.name);
                let error = self.setters(&deployed).error(error);
                if over {
                    self.restart();
                }
                Err(error)
            }
            None => {
                self.restart();
                Err(stopped(function))
            }
        }
    }

    fn deployed_limits(&self, function: &str) -> CallLimits {
        let mut functions = self.description.functions.iter();
        let found = functions.find(|known| known.name == function);
        found.map(|known| known.limits.clone()).unwrap_or_default()
    }

    fn show(&self, kept: &Kept) -> Result<(), CliError> {
        let text = match self.spelling() {
            Spelling::Wave => kept.shown(),
            Spelling::Json => result::wave_to_json(&kept.ty, &kept.text)?,
        };
        self.progress.print(&format!("{text}\n"))
    }

    fn spelling(&self) -> Spelling {
        if self.ctx.output.json {
            Spelling::Json
        } else {
            Spelling::Wave
        }
    }
}

fn stopped(function: &FuncType) -> CliError {
    CliError::new(
        crate::exit::Exit::Interrupted,
        "interrupted",
        format!("stopped `{}`", function.name),
    )
}

/// Whether a failure took the sandbox with it. Wrong arguments, a handle that is not open among
/// them, never reach the guest.
fn is_over(error: &Error) -> bool {
    match error {
        Error::Failed(failure) => failure.kind != FailureKind::Arguments,
        Error::Conflict(_) => true,
        _ => false,
    }
}

/// `x: 1, y: 2` as names and values; none when they are not all names of parameters.
fn by_name<'a>(function: &FuncType, texts: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let named = texts.iter().map(|text| {
        let (name, value) = text.split_once(':')?;
        let name = name.trim();
        let mut params = function.params.iter();
        let known = params.any(|param| names::means(name, &param.name));
        known.then_some((name, value.trim()))
    });
    let named: Option<Vec<_>> = named.collect();
    named.filter(|named| !named.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_by_name_are_told_from_values() {
        let f = FuncType::new("f", [("x", Type::U64), ("y", Type::U64)], None);
        assert_eq!(
            by_name(&f, &["y: 1", "x:2"]),
            Some(vec![("y", "1"), ("x", "2")])
        );
        for texts in [
            vec![],
            vec!["1"],
            vec!["z: 1"],
            vec!["x: 1", "2"],
            vec!["{x: 1}"],
        ] {
            assert_eq!(by_name(&f, &texts), None, "{texts:?}");
        }
    }
}
