//! What functions write, and how much of it to show.

use crate::apps::time;
use crate::client::Client;
use crate::error::{Error, Result};
use bytes::Bytes;
use futures::Stream;
use lydian_api::v1;
use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use tonic::Streaming;

/// A piece of what a function wrote; possibly part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogChunk {
    /// The call that wrote it.
    pub call: String,
    /// The function that wrote it.
    pub function: String,
    /// Where it was written to.
    pub source: LogSource,
    /// As written, control characters escaped.
    pub data: Bytes,
    /// Something is missing here: the output limit was reached, or see [`missed_bytes`](Self::missed_bytes).
    pub truncated: bool,
    /// Bytes before this that a node no longer had for a reader who came late or fell behind.
    pub missed_bytes: u64,
    /// When.
    pub at: SystemTime,
}

impl LogChunk {
    /// The data as text; bytes that are not UTF-8 become replacement characters.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

/// Where output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The node itself, about the call.
    System,
}

impl From<v1::LogChunk> for LogChunk {
    fn from(chunk: v1::LogChunk) -> Self {
        Self {
            source: match chunk.source() {
                v1::log_chunk::Source::Stdout => LogSource::Stdout,
                v1::log_chunk::Source::Stderr => LogSource::Stderr,
                _ => LogSource::System,
            },
            call: chunk.call,
            function: chunk.function,
            data: chunk.data,
            truncated: chunk.truncated,
            missed_bytes: chunk.missed_bytes,
            at: time(chunk.at_ms),
        }
    }
}

/// Which part of an app's logs to read.
///
/// ```
/// use lydian_client::Tail;
/// let tail = Tail::lines(50).function("square").follow();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Tail {
    pub(crate) lines: u32,
    pub(crate) follow: bool,
    pub(crate) function: String,
}

impl Tail {
    /// The newest `lines` lines; zero leaves the number to the node.
    pub fn lines(lines: u32) -> Self {
        Self {
            lines,
            ..Self::default()
        }
    }

    /// Also what is written from now on; the stream then does not end.
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Only what this function wrote.
    pub fn function(mut self, name: impl Into<String>) -> Self {
        self.function = name.into();
        self
    }
}

/// Logs as they come: `impl Stream<Item = Result<LogChunk>>`.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct LogStream {
    client: Client,
    chunks: Streaming<v1::LogChunk>,
}

impl LogStream {
    pub(crate) fn new(client: &Client, chunks: Streaming<v1::LogChunk>) -> Self {
        Self {
            client: client.clone(),
            chunks,
        }
    }
}

impl Stream for LogStream {
    type Item = Result<LogChunk>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(Pin::new(&mut self.chunks).poll_next(cx));
        Poll::Ready(chunk.map(|chunk| match chunk {
            Ok(chunk) => Ok(LogChunk::from(chunk)),
            Err(status) => Err(Error::from_status(status, self.client.url())),
        }))
    }
}
