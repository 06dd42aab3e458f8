//! `lydian map`: one function over the lines of a file, results as lines.
//!
//! A thread reads and encodes lines ahead, at most [`AHEAD`] batches; the client takes them as the node
//! grants credit. So memory stays flat however long the file is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use lydian_client::{Error, Failure, Map, OnFailure, Wire};
use lydian_value::{FuncType, Limits, Type, Value, wave};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::connect::Work;
use super::limits::{self, Setters};
use super::opened::Wanted;
use super::run::show_output;
use super::{Ctx, load};
use crate::args::map::Args;
use crate::arguments;
use crate::exit::Exit;
use crate::inputs::Lines;
use crate::output::error::CliError;
use crate::output::progress::{Bar, Progress};
use crate::output::result::{self, Spelling};
use crate::units;

/// Lines that cross to the client at once.
const BATCH: usize = 512;
/// Batches read ahead.
const AHEAD: usize = 4;
/// Results written at once when they are there already.
const WRITTEN: usize = 1024;
/// The longest line; the wire encoding is bounded by the same.
const MAX_LINE_BYTES: u64 = 64 << 20;

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
    let (feed, inputs) = Feed::start(source, Arc::clone(&ty), args.wave)?;
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
            return Err(error);
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
            let line = result
                .map_err(|error| self.setters.error(error))
                .and_then(|(index, result)| self.sink.line(index, item(result)));
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

/// Where lines come from.
struct Source {
    reader: Box<dyn Read + Send>,
    /// What errors call it.
    name: String,
    /// Of a regular file.
    size: Option<u64>,
}

impl Source {
    fn open(path: &str) -> Result<Self, CliError> {
        if path == "-" {
            return Ok(Self {
                reader: Box::new(std::io::stdin()),
                name: "stdin".to_owned(),
                size: None,
            });
        }
        let path = Path::new(path);
        let file = File::open(path).map_err(|error| CliError::read(path, &error))?;
        let metadata = file
            .metadata()
            .map_err(|error| CliError::read(path, &error))?;
        if metadata.is_dir() {
            return Err(CliError::usage(
                "not-a-file",
                format!("`{}` is a directory", path.display()),
            ));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self {
            reader: Box::new(file),
            name: path.display().to_string(),
            size,
        })
    }
}

/// The reading thread, seen from outside.
struct Feed {
    shared: Arc<Shared>,
    size: Option<u64>,
}

#[derive(Default)]
struct Shared {
    inputs: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
    error: Mutex<Option<CliError>>,
}

impl Feed {
    fn start(
        source: Source,
        ty: Arc<FuncType>,
        wave_only: bool,
    ) -> Result<(Self, impl Stream<Item = Wire> + Send), CliError> {
        let shared = Arc::new(Shared::default());
        let feed = Self {
            shared: Arc::clone(&shared),
            size: source.size,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let work = move || {
            if let Err(error) = read(source, &ty, wave_only, &shared, &sender) {
                *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            shared.ended.store(true, Ordering::Release);
        };
        std::thread::Builder::new()
            .name("inputs".to_owned())
            .spawn(work)
            .map_err(|error| {
                CliError::failed("no-thread", format!("cannot read inputs: {error}"))
            })?;
        Ok((
            feed,
            ReceiverStream::new(receiver).flat_map(futures::stream::iter),
        ))
    }

    /// How many inputs there are, and whether that is counted rather than estimated from the file's size.
    fn total(&self) -> (Option<u64>, bool) {
        let inputs = self.shared.inputs.load(Ordering::Relaxed);
        if self.shared.ended.load(Ordering::Acquire) {
            return (Some(self.shared.inputs.load(Ordering::Relaxed)), true);
        }
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        let estimate = self
            .size
            .filter(|_| bytes > 0)
            .map(|size| (inputs as f64 * size as f64 / bytes as f64) as u64);
        (estimate, false)
    }

    fn take_error(&self) -> Option<CliError> {
        self.shared
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Reads and encodes until the end, an error, or a client that wants no more.
fn read(
    source: Source,
    ty: &FuncType,
    wave_only: bool,
    shared: &Shared,
    sender: &mpsc::Sender<Vec<Wire>>,
) -> Result<(), CliError> {
    let lines = Lines::new(ty, wave_only);
    let mut reader = BufReader::with_capacity(1 << 16, source.reader);
    let mut line = Vec::new();
    let mut number = 0u64;
    let mut batch = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut line);
        let read = read.map_err(|error| {
            CliError::failed(
                "inputs-not-readable",
                format!("cannot read {}: {error}", source.name),
            )
        })?;
        number += 1;
        if read > 0 {
            shared.bytes.fetch_add(read as u64, Ordering::Relaxed);
            let parsed = parse(&lines, &line, ty);
            let bytes = match parsed {
                Ok(bytes) => bytes,
                Err(mut error) => {
                    error.message = format!("{}, line {number}: {}", source.name, error.message);
                    // What was read before it still runs.
                    let _ = sender.blocking_send(batch);
                    return Err(error);
                }
            };
            if let Some(bytes) = bytes {
                shared.inputs.fetch_add(1, Ordering::Relaxed);
                batch.push(Wire(bytes));
            }
        }
        // Waiting for more lines must not hold back those that are there.
        let more_at_hand = read > 0 && reader.buffer().contains(&b'\n');
        let full = batch.len() >= BATCH || !more_at_hand;
        if full && !batch.is_empty() && sender.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn parse(lines: &Lines<'_>, line: &[u8], ty: &FuncType) -> Result<Option<Bytes>, CliError> {
    if line.len() as u64 > MAX_LINE_BYTES {
        let most = units::bytes(MAX_LINE_BYTES);
        let text = format!("the line is longer than {most}");
        return Err(CliError::new(Exit::Limit, "line-too-long", text)
            .hint("a line is the arguments of one call: spread what it holds over several lines"));
    }
    let text = std::str::from_utf8(line)
        .map_err(|_| CliError::usage("not-utf8", "the line is not UTF-8 text"))?;
    lines
        .parse(text)
        .map_err(|error| arguments::wrong_argument(ty, &error))
}

#[cfg(test)]
mod tests {
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

    fn lines_of(text: &'static str) -> (Vec<Vec<Wire>>, Option<CliError>, Arc<Shared>) {
        let source = Source {
            reader: Box::new(text.as_bytes()),
            name: "in".to_owned(),
            size: None,
        };
        let ty = FuncType::new("square", [("x", Type::U64)], Some(Type::U64));
        let shared = Arc::new(Shared::default());
        let (sender, mut receiver) = mpsc::channel(16);
        let error = read(source, &ty, false, &shared, &sender).err();
        drop(sender);
        let mut batches = Vec::new();
        while let Ok(batch) = receiver.try_recv() {
            batches.push(batch);
        }
        (batches, error, shared)
    }

    #[test]
    fn lines_become_inputs_and_blank_ones_do_not() {
        let (batches, error, shared) = lines_of("1\n\n2\n3");
        assert!(error.is_none());
        assert_eq!(batches.concat().len(), 3);
        assert_eq!(shared.inputs.load(Ordering::Relaxed), 3);
    }

    /// The inputs before a broken line were meant; the line is named as an editor counts.
    #[test]
    fn a_broken_line_is_named_and_those_before_it_run() {
        let (batches, error, _) = lines_of("1\n\nx\n3\n");
        assert_eq!(batches.concat().len(), 1);
        let error = error.unwrap();
        assert!(
            error.message.starts_with("in, line 3: "),
            "{}",
            error.message
        );
        assert_eq!(error.exit, Exit::Usage);
    }

    /// As every other limit.
    #[test]
    fn a_line_over_the_limit_ends_at_a_limit_and_tells_the_way_out() {
        let square = FuncType::new("square", [("x", lydian_value::Type::U64)], None);
        let lines = Lines::new(&square, false);
        let line = vec![b'1'; MAX_LINE_BYTES as usize + 1];
        let error = parse(&lines, &line, &square).unwrap_err();
        assert_eq!(error.exit, Exit::Limit);
        assert!(error.message.contains("64.0 MiB"), "{}", error.message);
        assert!(
            error.hints[0].contains("several lines"),
            "{:?}",
            error.hints
        );
    }
}
