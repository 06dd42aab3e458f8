//! What a guest prints, on its way out: bounded, slowed down, made safe to show.
//!
//! ```text
//! guest --write--> Meter (bytes, rate) --> Escaper (control characters) --> OutputSink
//! ```
//!
//! A guest that prints faster than its rate waits, as if its terminal were slow. So does one
//! whose reader has asked for time. A guest that prints more than its limit is stopped, and its last chunk says that
//! something is missing.
//! Always true: a chunk is valid UTF-8 and holds no control character but line feed and tab, so that it can neither move a
//! cursor nor hide a line. Nothing is kept here but the last of stderr, for the words of a panic: who wants the output
//! buffers it.

use crate::panic::LastWords;
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which of its two outputs a guest wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something a guest printed, possibly part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it was printed.
    pub stream: OutputStream,
    /// UTF-8 with control characters escaped as `\x1b`, and what is not UTF-8 as `\xff`.
    pub data: Bytes,
    /// Whether something after this chunk was dropped at the output limit.
    pub truncated: bool,
}

/// Where a guest's output goes. Called on the sandbox's thread, so it must not block.
#[derive(Clone, Default)]
pub struct OutputSink {
    take: Option<Arc<dyn Fn(OutputChunk) + Send + Sync>>,
    has_room: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl OutputSink {
    /// Nowhere. It is still counted and limited.
    pub fn discard() -> OutputSink {
        OutputSink::default()
    }

    /// To `sink`, chunk by chunk, as it is printed.
    pub fn new(sink: impl Fn(OutputChunk) + Send + Sync + 'static) -> OutputSink {
        OutputSink {
            take: Some(Arc::new(sink)),
            has_room: None,
        }
    }

    /// The same for a reader who may be slow: before it writes, the guest waits until `has_room`, as for a slow terminal.
    #[must_use]
    pub fn when(mut self, has_room: impl Fn() -> bool + Send + Sync + 'static) -> OutputSink {
        self.has_room = Some(Arc::new(has_room));
        self
    }

    /// Into memory; the limits of the call bound it.
    pub fn buffer() -> (OutputSink, OutputBuffer) {
        let buffer = OutputBuffer::default();
        let kept = buffer.0.clone();
        let sink = OutputSink::new(move |chunk| {
            let mut kept = kept.lock();
            match chunk.stream {
                OutputStream::Stdout => kept.0.extend_from_slice(&chunk.data),
                OutputStream::Stderr => kept.1.extend_from_slice(&chunk.data),
            }
        });
        (sink, buffer)
    }
}

impl OutputSink {
    fn has_room(&self) -> bool {
        self.has_room.as_ref().is_none_or(|has_room| has_room())
    }

    fn send(&self, stream: OutputStream, text: String, truncated: bool) {
        if let Some(take) = &self.take {
            take(OutputChunk {
                stream,
                data: text.into(),
                truncated,
            });
        }
    }
}

impl fmt::Debug for OutputSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.take.is_some() {
            "OutputSink(..)"
        } else {
            "OutputSink(discard)"
        })
    }
}

/// What was printed to an [`OutputSink::buffer`].
#[derive(Clone, Debug, Default)]
pub struct OutputBuffer(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);

impl OutputBuffer {
    /// Standard output and standard error so far, leaving nothing behind.
    pub fn take(&self) -> (Bytes, Bytes) {
        let (stdout, stderr) = std::mem::take(&mut *self.0.lock());
        (stdout.into(), stderr.into())
    }
}

/// How soon a guest looks again whether its reader has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Both outputs of one sandbox.
pub(crate) struct Output {
    state: Mutex<State>,
}

struct State {
    sink: OutputSink,
    meter: Meter,
    stdout: Escaper,
    stderr: Escaper,
    last_words: LastWords,
    /// Something was refused at the limit.
    refused: bool,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// This many bytes may be written now.
    Bytes(usize),
    /// Nothing before then.
    Later(Instant),
    /// Nothing any more.
    Never,
}

impl Output {
    pub(crate) fn new(sink: OutputSink, limit: u64, rate: u64) -> Output {
        let meter = Meter {
            written: 0,
            limit,
            rate: rate.max(1),
            tokens: rate.max(1),
            refilled: None,
        };
        Output {
            state: Mutex::new(State {
                sink,
                meter,
                stdout: Escaper::default(),
                stderr: Escaper::default(),
                last_words: LastWords::default(),
                refused: false,
            }),
        }
    }

    /// Begins the output of another call of the same sandbox: it goes to `sink` and counts anew.
    pub(crate) fn renew(&self, sink: OutputSink) {
        let mut state = self.state.lock();
        state.sink = sink;
        state.last_words.forget();
        state.meter.written = 0;
        state.refused = false;
    }

    /// How much may be written now. Asked before a write, which then takes what it was promised.
    pub(crate) fn room(&self) -> Room {
        let mut state = self.state.lock();
        let now = Instant::now();
        match state.meter.room(now) {
            Room::Bytes(_) if !state.sink.has_room() => Room::Later(now + LOOK_AGAIN),
            room => room,
        }
    }

    /// Writes as much of `bytes` as there is room for, and says how much; `None` at the limit.
    pub(crate) fn write(&self, stream: OutputStream, bytes: &[u8]) -> Option<usize> {
        let mut state = self.state.lock();
        let count = match state.meter.room(Instant::now()) {
            Room::Bytes(room) => room.min(bytes.len()),
            Room::Later(_) => 0,
            Room::Never => {
                if !bytes.is_empty() && !state.refused {
                    state.refused = true;
                    state.sink.send(stream, String::new(), true);
                }
                return None;
            }
        };
        state.meter.take(count);
        let escaper = match stream {
            OutputStream::Stdout => &mut state.stdout,
            OutputStream::Stderr => &mut state.stderr,
        };
        let text = escaper.escape(&bytes[..count]);
        if stream == OutputStream::Stderr {
            state.last_words.hear(&text);
        }
        if !text.is_empty() {
            state.sink.send(stream, text, false);
        }
        Some(count)
    }

    /// Gives out what was held back of an unfinished character.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock();
        for (stream, rest) in [
            (OutputStream::Stdout, state.stdout.finish()),
            (OutputStream::Stderr, state.stderr.finish()),
        ] {
            if !rest.is_empty() {
                state.sink.send(stream, rest, false);
            }
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.state.lock().meter.written
    }

    /// What the guest told of a panic: `at src/lib.rs:4:5: index out of bounds`.
    pub(crate) fn panic(&self) -> Option<String> {
        self.state.lock().last_words.panic()
    }

    pub(crate) fn refused(&self) -> bool {
        self.state.lock().refused
    }
}

/// Counts bytes and pours out a second's worth at a time.
struct Meter {
    written: u64,
    limit: u64,
    rate: u64,
    tokens: u64,
    /// `None` until the first look: most sandboxes never write.
    refilled: Option<Instant>,
}

impl Meter {
    fn room(&mut self, now: Instant) -> Room {
        let left = self.limit.saturating_sub(self.written);
        if left == 0 {
            return Room::Never;
        }
        let refilled = self.refill(now);
        if self.tokens == 0 {
            // A hundredth of a second's worth at a time, so that a slow rate does not wake its guest for each byte.
            let wait = Duration::from_nanos(1_000_000_000 / self.rate.min(100));
            return Room::Later(refilled + wait);
        }
        Room::Bytes(self.tokens.min(left).try_into().unwrap_or(usize::MAX))
    }

    /// Pours in what time has brought; answers up to when.
    fn refill(&mut self, now: Instant) -> Instant {
        let refilled = *self.refilled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(refilled);
        let poured = (elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000)
            .min(u128::from(self.rate)) as u64;
        if poured > 0 {
            self.tokens = (self.tokens + poured).min(self.rate);
            self.refilled = Some(now);
            return now;
        }
        refilled
    }

    fn take(&mut self, count: usize) {
        self.written += count as u64;
        self.tokens = self.tokens.saturating_sub(count as u64);
    }
}

/// Turns bytes into text that is safe to show, across chunk boundaries.
#[derive(Default)]
struct Escaper {
    /// The beginning of a character whose end was not written yet; at most three bytes.
    partial: Vec<u8>,
}

impl Escaper {
    fn escape(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            joined.as_slice()
        };
        let mut text = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    push_escaped(&mut text, valid);
                    return text;
                }
                Err(error) => {
                    let (valid, broken) = rest.split_at(error.valid_up_to());
                    push_escaped(&mut text, std::str::from_utf8(valid).unwrap_or_default());
                    let Some(length) = error.error_len() else {
                        self.partial = broken.to_vec();
                        return text;
                    };
                    push_bytes(&mut text, &broken[..length]);
                    rest = &broken[length..];
                }
            }
        }
    }

    fn finish(&mut self) -> String {
        let mut text = String::new();
        push_bytes(&mut text, &std::mem::take(&mut self.partial));
        text
    }
}

fn push_escaped(text: &mut String, valid: &str) {
    if !valid.chars().any(is_unsafe) {
        text.push_str(valid);
        return;
    }
    for character in valid.chars() {
        if !is_unsafe(character) {
            text.push(character);
        } else if character.is_ascii() {
            push_bytes(text, &[character as u8]);
        } else {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        }
    }
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Control characters but line feed and tab, and those that reorder the text around them.
fn is_unsafe(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(parts: &[&[u8]]) -> String {
        let mut escaper = Escaper::default();
        let mut text: String = parts.iter().map(|part| escaper.escape(part)).collect();
        text.push_str(&escaper.finish());
        text
    }

    /// A guest's log must not be able to drive the terminal it is read on.
    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped(&[b"a\tb\n"]), "a\tb\n");
        assert_eq!(escaped(&[b"\x1b[2Jx\r\x07"]), "\\x1b[2Jx\\x0d\\x07");
        assert_eq!(
            escaped(&["\u{9b}31m\u{202e}".as_bytes()]),
            "\\u{9b}31m\\u{202e}"
        );
    }

    #[test]
    fn broken_utf8_is_escaped_byte_by_byte() {
        assert_eq!(escaped(&[b"ok\xff\xc3"]), "ok\\xff\\xc3");
    }

    /// Chunk boundaries are the runtime's accident; characters must survive them.
    #[test]
    fn characters_split_over_chunks_stay_whole() {
        let euro = "€".as_bytes();
        assert_eq!(escaped(&[&euro[..1], &euro[1..2], &euro[2..]]), "€");
    }

    #[test]
    fn output_ends_at_the_limit_and_says_so() {
        let chunks = Arc::new(Mutex::new(Vec::new()));
        let seen = chunks.clone();
        let output = Output::new(
            OutputSink::new(move |chunk| seen.lock().push(chunk)),
            4,
            1 << 20,
        );
        assert_eq!(output.write(OutputStream::Stdout, b"abcdef"), Some(4));
        assert!(!output.refused());
        assert_eq!(output.write(OutputStream::Stderr, b"ef"), None);
        assert_eq!(output.write(OutputStream::Stderr, b"ef"), None);
        assert!(output.refused());
        let chunks = chunks.lock();
        assert_eq!(
            chunks
                .iter()
                .map(|chunk| chunk.truncated)
                .collect::<Vec<_>>(),
            [false, true]
        );
    }

    /// What was promised is taken: a reader that falls behind between the question and the write loses nothing.
    #[test]
    fn output_waits_for_its_reader() {
        let room = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let asked = room.clone();
        let (sink, buffer) = OutputSink::buffer();
        let sink = sink.when(move || asked.load(std::sync::atomic::Ordering::Relaxed));
        let output = Output::new(sink, 1 << 20, 1 << 20);
        assert!(matches!(output.room(), Room::Bytes(_)));
        room.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(output.room(), Room::Later(_)));
        assert_eq!(output.write(OutputStream::Stdout, b"abc"), Some(3));
        assert_eq!(buffer.take().0, "abc");
        room.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(output.room(), Room::Bytes(_)));
    }

    #[test]
    fn output_beyond_the_rate_has_to_wait() {
        let output = Output::new(OutputSink::discard(), 1 << 20, 10);
        assert_eq!(output.write(OutputStream::Stdout, &[b'x'; 50]), Some(10));
        assert!(matches!(output.room(), Room::Later(_)));
        let now = Instant::now();
        let mut meter = Meter {
            written: 0,
            limit: 100,
            rate: 10,
            tokens: 0,
            refilled: Some(now),
        };
        let later = now + Duration::from_secs(5);
        assert_eq!(meter.room(later), Room::Bytes(10));
    }
}
