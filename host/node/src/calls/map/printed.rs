//! What the inputs of a map print: lines of different inputs stay whole.
//!
//! Inputs run side by side and share one log, and many a guest writes a line in pieces, as Python's
//! `print` writes text and newline apart. So the end of a line is waited for, up to
//! [`LONGEST_BYTES`], and a line that its input left without an end is ended before another input's
//! begins.

use crate::calls::record::Call;
use bytes::Bytes;
use lydian_engine::{OutputChunk, OutputSink, OutputStream};
use parking_lot::Mutex;
use std::sync::Arc;

/// A line longer than this is passed on in pieces: it is no line that anyone reads.
const LONGEST_BYTES: usize = 8 << 10;

/// The log that the inputs of a map share.
pub(super) struct Printed {
    call: Arc<Call>,
    /// The input whose line is open.
    open: Mutex<Option<u64>>,
}

/// What one input prints.
pub(super) struct Lines {
    printed: Arc<Printed>,
    input: u64,
    /// The beginnings of lines: of stdout, of stderr.
    begun: Mutex<[Vec<u8>; 2]>,
}

impl Printed {
    pub(super) fn of(call: Arc<Call>) -> Arc<Self> {
        Arc::new(Self {
            call,
            open: Mutex::default(),
        })
    }

    /// Where the output of an input goes.
    pub(super) fn lines(self: &Arc<Self>, input: u64) -> Arc<Lines> {
        Arc::new(Lines {
            printed: self.clone(),
            input,
            begun: Mutex::default(),
        })
    }

    fn push(&self, input: u64, mut chunk: OutputChunk) {
        // Held while the log takes it, or another input could come in between.
        let mut open = self.open.lock();
        if open.is_some_and(|other| other != input) && !chunk.data.is_empty() {
            let ended = [b"\n", &*chunk.data].concat();
            chunk.data = ended.into();
        }
        if let Some(last) = chunk.data.last() {
            *open = (*last != b'\n').then_some(input);
        }
        self.call.printed(chunk);
    }
}

impl Lines {
    /// The sink of the input's sandbox, which waits for a slow reader as one of a single call does.
    pub(super) fn sink(self: &Arc<Self>) -> OutputSink {
        let (lines, call) = (self.clone(), self.printed.call.clone());
        OutputSink::new(move |chunk| lines.take(chunk)).when(move || call.has_room())
    }

    fn take(&self, chunk: OutputChunk) {
        if chunk.data.is_empty() {
            // That something was dropped is told by itself.
            self.finish();
            return self.printed.push(self.input, chunk);
        }
        let mut begun = self.begun.lock();
        let line = &mut begun[place(chunk.stream)];
        let end = chunk.data.iter().rposition(|byte| *byte == b'\n');
        let whole = match end {
            // Nothing follows what was cut off.
            _ if chunk.truncated => chunk.data.len(),
            Some(end) => end + 1,
            None if line.len() + chunk.data.len() > LONGEST_BYTES => chunk.data.len(),
            None => 0,
        };
        if whole == 0 && !chunk.truncated {
            line.extend_from_slice(&chunk.data);
            return;
        }
        let data = match line.is_empty() {
            true => chunk.data.slice(..whole),
            false => [&**line, &chunk.data[..whole]].concat().into(),
        };
        *line = chunk.data[whole..].to_vec();
        drop(begun);
        self.printed.push(self.input, OutputChunk { data, ..chunk });
    }

    /// Passes on the lines that have no end, as the input is over.
    pub(super) fn finish(&self) {
        let begun = std::mem::take(&mut *self.begun.lock());
        for (stream, line) in [OutputStream::Stdout, OutputStream::Stderr]
            .into_iter()
            .zip(begun)
        {
            if !line.is_empty() {
                let chunk = OutputChunk {
                    stream,
                    data: Bytes::from(line),
                    truncated: false,
                };
                self.printed.push(self.input, chunk);
            }
        }
    }
}

fn place(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}
