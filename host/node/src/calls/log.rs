//! What guests print: bounded rings that can be read from the start and followed.
//!
//! One ring per call and one per app get each chunk. A ring keeps the newest bytes up to its bound; small pieces of one
//! source that come together are kept as one. A follower is a position in the ring: a slow one costs nothing, loses the
//! oldest bytes, and is told how many. Who waits for a call is *attached* to its log: while it reads, however slowly, the
//! guest waits for it and nothing is lost. Control characters are escaped before they come here, by the engine.

use bytes::{Bytes, BytesMut};
use lydian_api::v1::{LogChunk, log_chunk};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Beside its text a kept piece costs about this much; counted, or many empty lines would be free.
const PIECE_OVERHEAD_BYTES: usize = 128;
/// Chunks of one source become one piece up to this size, and for this long: no reader could tell them apart.
const PIECE_BYTES: usize = 8 << 10;
const PIECE_MS: u64 = 20;
/// An attached reader that takes nothing for this long is left behind: a stopped terminal must not hold a sandbox.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bounded log. Share it in an [`Arc`].
pub(crate) struct LogRing {
    max_bytes: usize,
    ring: Mutex<Ring>,
    changed: Notify,
}

#[derive(Default)]
struct Ring {
    pieces: VecDeque<Piece>,
    /// Bytes kept, overhead included; and all that ever came, by the same count.
    cost: usize,
    spent: u64,
    /// Bytes printed so far.
    end: u64,
    closed: bool,
    attached: Option<Attached>,
}

/// Chunks that are kept as one.
struct Piece {
    /// Bytes printed before it.
    at: u64,
    /// The first chunk, without its data.
    head: LogChunk,
    data: BytesMut,
}

/// How far the reader is that guests wait for.
struct Attached {
    spent: u64,
    /// When it last took something, or began to be behind.
    since: Instant,
}

/// A reader's place in a ring.
pub(crate) struct Follower {
    log: Arc<LogRing>,
    next: u64,
    attached: bool,
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
        ring.append(chunk);
        while ring.cost > self.max_bytes && ring.pieces.len() > 1 {
            if let Some(dropped) = ring.pieces.pop_front() {
                ring.cost -= dropped.data.len() + PIECE_OVERHEAD_BYTES;
            }
        }
        drop(ring);
        self.changed.notify_waiters();
    }

    /// Bytes kept, overhead included.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.lock().cost
    }

    /// Whether the attached reader can take more before it would lose something; nobody else is waited for.
    pub(crate) fn has_room(&self) -> bool {
        let ring = self.ring.lock();
        ring.attached.as_ref().is_none_or(|reader| {
            let behind = ring.spent - reader.spent;
            behind < self.max_bytes as u64 / 2 || reader.since.elapsed() > PATIENCE
        })
    }

    /// Forgets what is kept; readers are told at the next chunk.
    pub(crate) fn clear(&self) {
        let mut ring = self.ring.lock();
        ring.cost = 0;
        ring.pieces = VecDeque::new();
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
            attached: false,
        }
    }

    /// The reader that guests wait for; there is one at most.
    pub(crate) fn attach(self: &Arc<Self>) -> Follower {
        self.ring.lock().caught_up();
        let mut follower = self.follow();
        follower.attached = true;
        follower
    }
}

impl Ring {
    fn append(&mut self, mut chunk: LogChunk) {
        let data = std::mem::take(&mut chunk.data);
        if let Some(reader) = &mut self.attached
            && reader.spent == self.spent
        {
            reader.since = Instant::now();
        }
        let at = self.end;
        self.end += data.len() as u64;
        let mut cost = data.len();
        match self
            .pieces
            .back_mut()
            .filter(|last| last.takes(&chunk, data.len()))
        {
            Some(last) => last.data.extend_from_slice(&data),
            None => {
                cost += PIECE_OVERHEAD_BYTES;
                self.pieces.push_back(Piece {
                    at,
                    head: chunk,
                    data: data.into(),
                });
            }
        }
        self.cost += cost;
        self.spent += cost as u64;
    }

    fn caught_up(&mut self) {
        self.attached = Some(Attached {
            spent: self.spent,
            since: Instant::now(),
        });
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.data.len() as u64
    }

    /// Whether a chunk that comes next may be kept with this piece.
    fn takes(&self, next: &LogChunk, bytes: usize) -> bool {
        let head = &self.head;
        self.data.len() + bytes <= PIECE_BYTES
            && next.at_ms.saturating_sub(head.at_ms) <= PIECE_MS
            && (head.source, head.truncated) == (next.source, next.truncated)
            && (&head.call, &head.function) == (&next.call, &next.function)
    }

    fn from(&self, place: u64) -> LogChunk {
        let skip = place.saturating_sub(self.at) as usize;
        LogChunk {
            data: Bytes::copy_from_slice(&self.data[skip..]),
            ..self.head.clone()
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
        let mut ring = self.log.ring.lock();
        let first = ring
            .pieces
            .partition_point(|piece| piece.end() <= self.next);
        let new = ring.pieces.range(first..);
        let mut chunks: Vec<_> = new.map(|piece| piece.from(self.next)).collect();
        if let Some(oldest) = chunks.first_mut() {
            let kept_from = ring.pieces[first].at;
            oldest.missed_bytes = kept_from.saturating_sub(self.next);
            oldest.truncated |= oldest.missed_bytes > 0;
            self.next = ring.end;
        }
        if self.attached {
            ring.caught_up();
        }
        (!chunks.is_empty() || !ring.closed).then_some(chunks)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.attached {
            self.log.ring.lock().attached = None;
        }
    }
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
        missed_bytes: 0,
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

    /// A chunk that is not kept with the one before.
    fn later(text: &str, at_ms: u64) -> LogChunk {
        LogChunk {
            at_ms,
            ..line(text)
        }
    }

    /// A guest that prints for ever must cost a fixed amount, and the reader must see how much is gone.
    #[test]
    fn a_full_ring_drops_the_oldest_and_says_so() {
        let ring = Arc::new(LogRing::new(10 * (PIECE_OVERHEAD_BYTES + 2)));
        let mut follower = ring.follow();
        for n in 0..100 {
            ring.push(later(&format!("{}\n", n % 10), n * 1_000));
        }
        let kept = ring.kept();
        assert_eq!(text(&kept), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        let first = &follower.ready().unwrap()[0];
        assert!(first.truncated);
        assert_eq!(first.missed_bytes, 180);
        assert_eq!((kept[1].truncated, kept[1].missed_bytes), (false, 0));
    }

    /// Ten thousand short lines are ten thousand writes; each would cost more than it says.
    #[test]
    fn small_chunks_of_one_source_are_kept_together() {
        let ring = Arc::new(LogRing::new(64 << 10));
        let mut follower = ring.follow();
        ring.push(line("a"));
        assert_eq!(text(&follower.ready().unwrap()), "a");
        for _ in 0..20_000 {
            ring.push(line("b\n"));
        }
        let kept = follower.ready().unwrap();
        assert_eq!(kept.len(), 5);
        assert_eq!(
            kept.iter().map(|chunk| chunk.data.len()).sum::<usize>(),
            40_000
        );
        assert_eq!(kept[0].missed_bytes, 0);
        ring.push(LogChunk {
            source: log_chunk::Source::Stderr.into(),
            ..line("c")
        });
        ring.push(later("d", 1_000));
        let others = follower.ready().unwrap();
        assert_eq!((others.len(), text(&others)), (2, "cd".to_owned()));
    }

    #[test]
    fn an_attached_reader_is_waited_for() {
        let ring = Arc::new(LogRing::new(4 * (PIECE_OVERHEAD_BYTES + 1)));
        assert!(ring.has_room());
        let mut reader = ring.attach();
        for n in 0..2 {
            assert!(ring.has_room());
            ring.push(later("x", n * 1_000));
        }
        assert!(!ring.has_room());
        assert_eq!(text(&reader.ready().unwrap()), "xx");
        assert!(ring.has_room());
        // One that only follows is not waited for, nor is one that has gone.
        let _follower = ring.follow();
        for n in 10..13 {
            ring.push(later("x", n * 1_000));
        }
        assert!(!ring.has_room());
        drop(reader);
        assert!(ring.has_room());
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
