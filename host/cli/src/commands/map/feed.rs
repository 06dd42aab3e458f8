//! The inputs of a map: a thread that reads and encodes lines.
//!
//! It is at most [`AHEAD`] batches ahead of the client, which takes them as the node grants credit. So memory stays flat
//! however long the file is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use lydian_client::Wire;
use lydian_value::{FuncType, Limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::arguments;
use crate::exit::Exit;
use crate::inputs::Lines;
use crate::output::error::CliError;
use crate::units;

/// Lines that cross to the client at once.
const BATCH: usize = 512;
/// Batches read ahead.
const AHEAD: usize = 4;
/// What some editors begin a text with; it is none of it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The longest line; the wire encoding is bounded by the same.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Where lines come from.
pub(super) struct Source {
    reader: Box<dyn Read + Send>,
    /// What errors call it.
    name: String,
    /// Of a regular file.
    size: Option<u64>,
}

impl Source {
    pub(super) fn open(path: &str) -> Result<Self, CliError> {
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

/// How lines are read.
pub(super) struct Reading {
    pub(super) ty: Arc<FuncType>,
    pub(super) wave_only: bool,
    /// On the arguments of one call.
    pub(super) payload: Limits,
}

/// The reading thread, seen from outside.
pub(super) struct Feed {
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
    pub(super) fn start(
        source: Source,
        reading: Reading,
    ) -> Result<(Self, impl Stream<Item = Wire> + Send), CliError> {
        let shared = Arc::new(Shared::default());
        let feed = Self {
            shared: Arc::clone(&shared),
            size: source.size,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let work = move || {
            if let Err(error) = read(source, &reading, &shared, &sender) {
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
    pub(super) fn total(&self) -> (Option<u64>, bool) {
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

    pub(super) fn take_error(&self) -> Option<CliError> {
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
    reading: &Reading,
    shared: &Shared,
    sender: &mpsc::Sender<Vec<Wire>>,
) -> Result<(), CliError> {
    let ty = &reading.ty;
    let lines = Lines::new(ty, reading.wave_only).within(reading.payload);
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
            let text = match number {
                1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line),
                _ => &line,
            };
            let parsed = parse(&lines, text, ty);
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
    use lydian_value::Type;

    use super::*;

    fn lines_of(text: &'static str) -> (Vec<Vec<Wire>>, Option<CliError>, Arc<Shared>) {
        let source = Source {
            reader: Box::new(text.as_bytes()),
            name: "in".to_owned(),
            size: None,
        };
        let ty = FuncType::new("square", [("x", Type::U64)], Some(Type::U64));
        let shared = Arc::new(Shared::default());
        let (sender, mut receiver) = mpsc::channel(16);
        let reading = Reading {
            ty: Arc::new(ty),
            wave_only: false,
            payload: Limits::default(),
        };
        let error = read(source, &reading, &shared, &sender).err();
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

    /// Editors put it there unseen, and it says nothing.
    #[test]
    fn a_byte_order_mark_is_skipped() {
        let (batches, error, _) = lines_of("\u{feff}1\n2\n");
        assert!(error.is_none());
        assert_eq!(batches.concat().len(), 2);
        let (_, error, _) = lines_of("1\n\u{feff}2\n");
        assert!(error.is_some());
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
        let square = FuncType::new("square", [("x", Type::U64)], None);
        let lines = Lines::new(&square, false);
        let line = vec![b'1'; MAX_LINE_BYTES as usize + 1];
        let error = parse(&lines, &line, &square).unwrap_err();
        assert_eq!(error.exit, Exit::Limit);
        assert!(error.message.contains("64.0 MiB"), "{}", error.message);
        let hint = &error.hints[0];
        assert!(hint.contains("several lines"), "{hint}");
    }
}
