//! `lydian map`: one function over the lines of a file, results as lines.

mod feed;

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use lydian_client::{Error, Failure, Map, OnFailure, Wire};
use lydian_value::{Limits, Type, Value, wave};
use serde_json::json;

use self::feed::{Feed, Reading, Source};
use super::connect::Work;
use super::limits::{self, Setters};
use super::opened::Wanted;
use super::run::show_output;
use super::{Ctx, load};
use crate::args::map::Args;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::progress::{Bar, Progress};
use crate::output::result::{self, Spelling};
use crate::units;

/// Results written at once when they are there already.
const WRITTEN: usize = 1024;

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let progress = ctx.output.progress();
    let source = Source::open(&args.inputs)?;
    let wanted = Wanted {
        settings: limits::manifest(&args.limits),
        ..Wanted::calls(Work::Many)
    };
    let loaded = load::load(ctx, &args.target, wanted, &progress).await?;
    loaded.check_callable()?;
    let setters = loaded.setters(&args.limits);
    let function = loaded.function.with_limits(limits::of(&args.limits));
    let ty = function.ty();
    let reading = Reading {
        ty: Arc::clone(&ty),
        wave_only: args.wave,
        payload: limits::payload(&function.info().limits),
    };
    let (feed, inputs) = Feed::start(source, reading)?;
    let mut map = function
        .map_stream::<Wire, Wire, _>(inputs)
        .max_parallel(args.max_parallel.unwrap_or(0));
    if args.unordered {
        map = map.unordered();
    }
    let map = map.on_log(|chunk| show_output(&progress, &chunk));
    let sink = Sink {
        spelling: if ctx.output.json {
            Spelling::Json
        } else {
            Spelling::Wave
        },
        result: ty.result.clone(),
        with_errors: args.return_errors,
        with_index: args.unordered,
        tally: Tally::default(),
    };
    let drive = Drive {
        ctx,
        progress: &progress,
        feed: &feed,
        sink,
        setters,
        name: function.name(),
        started: Instant::now(),
    };
    let exit = if args.return_errors {
        drive.run(map.return_errors(), |item| item).await
    } else {
        drive.run(map, Ok).await
    };
    loaded.opened.close().await;
    exit
}

/// Everything between a map and its exit code.
struct Drive<'a> {
    ctx: &'a Ctx,
    progress: &'a Progress,
    feed: &'a Feed,
    sink: Sink,
    setters: Setters,
    name: &'a str,
    started: Instant,
}

impl Drive<'_> {
    async fn run<M: OnFailure<Wire>>(
        mut self,
        map: Map<'_, Wire, Wire, M>,
        item: impl Fn(M::Item) -> Result<Wire, Failure>,
    ) -> Result<Exit, CliError> {
        self.show();
        let mut results = map.with_index().ready_chunks(WRITTEN);
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        let ended = loop {
            let chunk = tokio::select! {
                chunk = results.next() => chunk,
                _ = &mut stop => {
                    self.summarize("stopped after");
                    return Ok(Exit::Interrupted);
                }
            };
            let Some(chunk) = chunk else { break Ok(()) };
            let ended = self.write(chunk, &item);
            self.show();
            if ended.is_err() {
                break ended;
            }
        };
        // A line that cannot be read ended the inputs, so it is the reason, whatever else happened.
        if let Some(error) = self.feed.take_error() {
            self.summarize("stopped after");
            return Err(self.setters.explain(error));
        }
        if let Err(error) = ended {
            self.summarize("stopped after");
            return Err(error);
        }
        self.summarize("");
        let Tally { failed, err, .. } = self.sink.tally;
        Ok(if failed + err > 0 {
            Exit::Failed
        } else {
            Exit::Ok
        })
    }

    /// Writes what is there. An error among the results is told after those before it.
    fn write<T>(
        &mut self,
        chunk: Vec<Result<(u64, T), Error>>,
        item: impl Fn(T) -> Result<Wire, Failure>,
    ) -> Result<(), CliError> {
        let mut text = String::new();
        let mut ended = Ok(());
        for result in chunk {
            let line =
                result
                    .map_err(|error| self.setters.error(error))
                    .and_then(|(index, result)| {
                        let result = item(result).map_err(|failure| self.setters.failure(failure));
                        self.sink.line(index, result)
                    });
            match line {
                Ok(line) => text += &line,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        self.progress.print(&text)?;
        ended
    }

    fn show(&self) {
        let (total, exact) = self.feed.total();
        let Tally { done, failed, .. } = self.sink.tally;
        self.progress.bar(Bar {
            label: self.name.to_owned(),
            done,
            failed,
            total,
            exact,
        });
    }

    fn summarize(&self, prefix: &str) {
        self.progress.finish();
        let elapsed = self.started.elapsed();
        let Tally { done, failed, err } = self.sink.tally;
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-6);
        let mut text = format!(
            "{} in {}",
            units::plural(done, "result"),
            units::duration(elapsed)
        );
        if done > 1 {
            text += &format!(", {}/s", units::count(rate.round() as u64));
        }
        for (number, what) in [(failed, "failed"), (err, "returned err")] {
            if number > 0 {
                text += &format!(", {} {what}", units::count(number));
            }
        }
        let style = self.ctx.output.err;
        let mark = match (prefix, failed + err) {
            ("", 0) => style.green("✓ "),
            ("", _) => style.yellow("! "),
            (prefix, _) => format!("{prefix} "),
        };
        self.progress.say(&format!("{mark}{text}"));
    }
}

/// What came of the inputs so far.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// All of them, the failed ones too.
    done: u64,
    failed: u64,
    /// Answered with the function's own `err(…)`.
    err: u64,
}

/// Spells results as lines.
struct Sink {
    spelling: Spelling,
    result: Option<Type>,
    /// Failures are lines too, so each line says which it is.
    with_errors: bool,
    with_index: bool,
    tally: Tally,
}

impl Sink {
    fn line(&mut self, index: u64, result: Result<Wire, Failure>) -> Result<String, CliError> {
        self.tally.done += 1;
        let ty = self.result.as_ref();
        let body = match &result {
            Ok(Wire(bytes)) => {
                self.tally.err += u64::from(result::is_err(ty, bytes));
                self.spelling.result(ty, bytes)?
            }
            Err(_) => {
                self.tally.failed += 1;
                None
            }
        };
        let failure = result.err();
        Ok(match self.spelling {
            Spelling::Wave => self.wave(index, body, failure),
            Spelling::Json => self.json(index, body, failure),
        })
    }

    fn wave(&self, index: u64, body: Option<String>, failure: Option<Failure>) -> String {
        let text = match failure {
            Some(failure) => format!(
                "err({})",
                quoted(&format!("{}: {}", failure.kind, failure.message))
            ),
            None if self.with_errors => {
                body.map_or_else(|| "ok".to_owned(), |body| format!("ok({body})"))
            }
            // A line per input, even where there is nothing to say.
            None => body.unwrap_or_else(|| "()".to_owned()),
        };
        if self.with_index {
            format!("{index}\t{text}\n")
        } else {
            format!("{text}\n")
        }
    }

    fn json(&self, index: u64, body: Option<String>, failure: Option<Failure>) -> String {
        let body = body.unwrap_or_else(|| "null".to_owned());
        if !self.with_errors && !self.with_index {
            return format!("{body}\n");
        }
        let index = if self.with_index {
            format!("\"index\":{index},")
        } else {
            String::new()
        };
        match failure {
            Some(failure) => {
                let error = json!({ "code": failure.kind.code(), "message": failure.message, "hints": failure.hints });
                format!("{{{index}\"error\":{error}}}\n")
            }
            None => format!("{{{index}\"ok\":{body}}}\n"),
        }
    }
}

/// A text as a WAVE string.
fn quoted(text: &str) -> String {
    wave::print(&Type::String, &Value::from(text), &Limits::default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sink(spelling: Spelling, with_errors: bool, with_index: bool) -> Sink {
        Sink {
            spelling,
            result: Some(Type::U64),
            with_errors,
            with_index,
            tally: Tally::default(),
        }
    }

    fn sixteen() -> Result<Wire, Failure> {
        Ok(Wire(Bytes::copy_from_slice(&16u64.to_le_bytes())))
    }

    #[test]
    fn lines_say_no_more_than_needed() {
        assert_eq!(
            sink(Spelling::Wave, false, false)
                .line(3, sixteen())
                .unwrap(),
            "16\n"
        );
        assert_eq!(
            sink(Spelling::Wave, false, true)
                .line(3, sixteen())
                .unwrap(),
            "3\t16\n"
        );
        assert_eq!(
            sink(Spelling::Wave, true, false)
                .line(3, sixteen())
                .unwrap(),
            "ok(16)\n"
        );
        assert_eq!(
            sink(Spelling::Json, false, false)
                .line(3, sixteen())
                .unwrap(),
            "16\n"
        );
        assert_eq!(
            sink(Spelling::Json, true, true).line(3, sixteen()).unwrap(),
            "{\"index\":3,\"ok\":16}\n"
        );
    }
}
