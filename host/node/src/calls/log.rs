//! What guests print: bounded rings that can be read from the start and followed.
//!
//! One ring per call and one per app get each chunk. A ring keeps the newest bytes up to its bound and
//! says when older ones were dropped; a follower is a position in the ring, so a slow reader costs
//! nothing and loses the oldest lines, marked. Control characters are escaped before they come here, by the
//! engine.

use bytes::Bytes;
use lydian_api::v1::{LogChunk, log_chunk};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// Beside its text a kept chunk costs about this much; counted, or many empty lines would be free.
const CHUNK_OVERHEAD_BYTES: usize = 128;

/// A bounded log. Share it in an [`Arc`].
pub(crate) struct LogRing {
    max_bytes: usize,
    ring: Mutex<Ring>,
    changed: Notify,
}

#[derive(Default)]
struct Ring {
    chunks: VecDeque<LogChunk>,
    bytes: usize,
    /// Position of `chunks[0]`: how many were dropped before.
    first: u64,
    closed: bool,
}

/// A reader's place in a ring.
pub(crate) struct Follower {
    log: Arc<LogRing>,
    next: u64,
}

impl LogRing {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ring: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Appends a chunk.
    pub(crate) fn push(&self, chunk: LogChunk) {
        let mut ring = self.ring.lock();
        ring.bytes += cost(&chunk);
        ring.chunks.push_back(chunk);
        while ring.bytes > self.max_bytes && ring.chunks.len() > 1 {
            if let Some(dropped) = ring.chunks.pop_front() {
                ring.bytes -= cost(&dropped);
                ring.first += 1;
            }
        }
        drop(ring);
        self.changed.notify_waiters();
    }

    /// Bytes kept, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.lock().bytes
    }

    /// Forgets what is kept; readers see that something is missing.
    pub(crate) fn clear(&self) {
        let mut ring = self.ring.lock();
        ring.first += ring.chunks.len() as u64;
        ring.bytes = 0;
        ring.chunks = VecDeque::new();
    }

    /// Says that nothing will follow.
    pub(crate) fn close(&self) {
        self.ring.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// What is kept.
    pub(crate) fn kept(self: &Arc<Self>) -> Vec<LogChunk> {
        self.follow().ready().unwrap_or_default()
    }

    /// A reader at the oldest chunk that is kept.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        Follower {
            log: self.clone(),
            next: 0,
        }
    }
}

impl Follower {
    /// The chunks since the last time, at least one. None: the log is closed and read to its end.
    pub(crate) async fn next(&mut self) -> Option<Vec<LogChunk>> {
        let log = self.log.clone();
        loop {
            // Registered before looking, so a push in between is not missed.
            let mut changed = std::pin::pin!(log.changed.notified());
            changed.as_mut().enable();
            match self.ready() {
                Some(chunks) if chunks.is_empty() => changed.await,
                other => return other,
            }
        }
    }

    /// The chunks since the last time, if any. None: closed and read to its end.
    pub(crate) fn ready(&mut self) -> Option<Vec<LogChunk>> {
        let ring = self.log.ring.lock();
        let skip = self.next.saturating_sub(ring.first);
        let mut chunks: Vec<_> = ring.chunks.iter().skip(skip as usize).cloned().collect();
        let missed = self.next < ring.first;
        if let Some(first) = chunks.first_mut() {
            first.truncated |= missed;
        }
        self.next = ring.first + ring.chunks.len() as u64;
        (!chunks.is_empty() || !ring.closed).then_some(chunks)
    }
}

fn cost(chunk: &LogChunk) -> usize {
    chunk.data.len() + CHUNK_OVERHEAD_BYTES
}

/// The last `lines` lines of these chunks, the first chunk cut where needed.
pub(crate) fn tail(mut chunks: Vec<LogChunk>, lines: usize) -> Vec<LogChunk> {
    let mut newlines = 0;
    for at in (0..chunks.len()).rev() {
        let data = chunks[at].data.clone();
        // The newline at the very end ends the last line; it does not begin another.
        let ends = usize::from(at + 1 == chunks.len() && data.ends_with(b"\n"));
        for newline in (0..data.len() - ends)
            .rev()
            .filter(|place| data[*place] == b'\n')
        {
            newlines += 1;
            if newlines == lines {
                chunks[at].data = data.slice(newline + 1..);
                let skip = usize::from(chunks[at].data.is_empty());
                return chunks.split_off(at + skip);
            }
        }
    }
    chunks
}

/// A chunk of a call's output.
pub(crate) fn chunk(
    call: &str,
    function: &str,
    source: log_chunk::Source,
    data: Bytes,
    at_ms: u64,
) -> LogChunk {
    LogChunk {
        call: call.to_owned(),
        source: source.into(),
        data,
        truncated: false,
        at_ms,
        function: function.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogChunk {
        chunk(
            "c",
            "f",
            log_chunk::Source::Stdout,
            Bytes::copy_from_slice(text.as_bytes()),
            0,
        )
    }

    fn text(chunks: &[LogChunk]) -> String {
        chunks
            .iter()
            .map(|chunk| String::from_utf8_lossy(&chunk.data))
            .collect()
    }

    /// A guest that prints for ever must cost a fixed amount, and the reader must see that lines are gone.
    #[test]
    fn a_full_ring_drops_the_oldest_and_says_so() {
        let ring = Arc::new(LogRing::new(10 * (CHUNK_OVERHEAD_BYTES + 2)));
        let mut follower = ring.follow();
        for n in 0..100 {
            ring.push(line(&format!("{}\n", n % 10)));
        }
        let kept = ring.kept();
        assert_eq!(text(&kept), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        assert!(follower.ready().unwrap()[0].truncated);
        assert!(!ring.kept()[1].truncated);
    }

    #[tokio::test]
    async fn a_follower_gets_each_chunk_once_until_the_end() {
        let ring = Arc::new(LogRing::new(1 << 20));
        ring.push(line("a\n"));
        let mut follower = ring.follow();
        assert_eq!(text(&follower.next().await.unwrap()), "a\n");
        let writer = tokio::spawn({
            let ring = ring.clone();
            async move {
                ring.push(line("b\n"));
                ring.close();
            }
        });
        assert_eq!(text(&follower.next().await.unwrap()), "b\n");
        assert!(follower.next().await.is_none());
        writer.await.unwrap();
    }

    #[test]
    fn a_tail_counts_lines_across_chunks() {
        let chunks = vec![line("a\nb\n"), line("c\n"), line("d"), line("e\nf\n")];
        assert_eq!(text(&tail(chunks.clone(), 1)), "f\n");
        assert_eq!(text(&tail(chunks.clone(), 2)), "de\nf\n");
        assert_eq!(text(&tail(chunks.clone(), 3)), "c\nde\nf\n");
        assert_eq!(text(&tail(chunks, 100)), "a\nb\nc\nde\nf\n");
    }
}
