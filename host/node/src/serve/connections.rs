//! How many connections there may be, and which of them go.
//!
//! - One that has not begun a protocol within the head's time is closed: it holds a descriptor for nothing.
//! - One that has is kept alive as long as it answers pings (HTTP/2), or until the next head is late (HTTP/1).
//! - When all are taken, a new one takes the place of one that is doing nothing: of one that never asked for anything
//!   first, then of the one that asked longest ago. When every one of them has a request in flight, the new one is refused.
//!
//! Always true: a connection with a request in flight is never closed for another's sake.

use crate::options::Options;
use axum::body::Body;
use http_body::Frame;
use lydian_engine::{Check, CheckStatus};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// As long as HTTP/2's opening, the longer of the two protocols' beginnings.
const OPENING_BYTES: usize = 24;
/// Fewer connections than this serve nobody, however few descriptors there are.
const FEWEST: u64 = 16;
/// More than this and the node's memory, not its descriptors, is what runs out.
const MOST: u64 = 16_384;
/// How often refusals are logged while they go on.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The connections of a node. Clones are the same.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// To begin, and for a request's head.
    pub(crate) head_timeout: Duration,
    /// Between two pings of HTTP/2.
    pub(crate) ping_every: Duration,
    /// To answer one.
    pub(crate) ping_timeout: Duration,
}

struct Inner {
    max: usize,
    clocks: Clocks,
    began: Instant,
    open: Mutex<HashMap<u64, Arc<Life>>>,
    next: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Connections {
    pub(crate) fn new(options: &Options) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self(Arc::new(Inner {
            max: options
                .max_connections
                .unwrap_or_else(|| most(limit))
                .max(1),
            clocks: Clocks {
                head_timeout: options.head_timeout,
                ping_every: options.ping_every,
                ping_timeout: options.ping_timeout,
            },
            began: Instant::now(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            said: Mutex::new(None),
        }))
    }

    /// A place for a connection that was accepted; `None` when it must be closed.
    pub(crate) fn admit(&self) -> Option<Admitted> {
        let mut open = self.0.open.lock();
        if open.len() >= self.0.max {
            let Some(id) = least_wanted(&open) else {
                drop(open);
                self.0.refuse();
                return None;
            };
            if let Some(life) = open.remove(&id) {
                life.leave.cancel();
            }
            self.0.replaced.fetch_add(1, Ordering::Relaxed);
        }
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let life = Arc::new(Life {
            began: self.0.began,
            in_flight: AtomicUsize::new(0),
            heard_bytes: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            active_ms: AtomicU64::new(ms(self.0.began.elapsed())),
            leave: CancellationToken::new(),
        });
        open.insert(id, life.clone());
        Some(Admitted {
            connections: self.clone(),
            id,
            life,
        })
    }

    /// What `lydian doctor` says of them.
    pub(crate) fn check(&self) -> Check {
        let inner = &self.0;
        let refused = inner.refused.load(Ordering::Relaxed);
        let replaced = inner.replaced.load(Ordering::Relaxed);
        let detail = format!(
            "{} of {} in use; {refused} refused and {replaced} idle ones closed for others since the start",
            inner.open.lock().len(),
            inner.max
        );
        let (status, fix) = match refused {
            0 => (CheckStatus::Ok, ""),
            _ => (
                CheckStatus::Warn,
                "raise the number of open files with `ulimit -n` before the node starts, or use fewer connections",
            ),
        };
        Check {
            name: "connections",
            status,
            detail,
            fix: fix.into(),
        }
    }
}

impl Inner {
    fn refuse(&self) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut said = self.said.lock();
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                refused,
                max = self.max,
                "connections are refused: all are in use"
            );
        }
    }
}

/// Half of the process's descriptors: the rest is for components, files and what guests open.
fn most(descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(MOST, |descriptors| descriptors / 2);
    usize::try_from(half.clamp(FEWEST, MOST)).unwrap_or(usize::MAX)
}

fn least_wanted(open: &HashMap<u64, Arc<Life>>) -> Option<u64> {
    open.iter()
        .filter(|(_, life)| life.in_flight.load(Ordering::Acquire) == 0)
        .min_by_key(|(_, life)| {
            (
                life.asked.load(Ordering::Relaxed),
                life.active_ms.load(Ordering::Relaxed),
            )
        })
        .map(|(id, _)| *id)
}

/// A connection's place. Free again when dropped.
pub(crate) struct Admitted {
    connections: Connections,
    id: u64,
    life: Arc<Life>,
}

impl Admitted {
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    pub(crate) fn clocks(&self) -> Clocks {
        self.connections.0.clocks
    }

    /// Resolves when the connection has begun no protocol in time; never once it has.
    pub(crate) async fn silent(&self) {
        tokio::time::sleep(self.clocks().head_timeout).await;
        if self.life.heard() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Gone already when it had to make room.
        self.connections.0.open.lock().remove(&self.id);
    }
}

/// What is known of one connection.
pub(crate) struct Life {
    /// What `active_ms` counts from.
    began: Instant,
    in_flight: AtomicUsize,
    heard_bytes: AtomicUsize,
    asked: AtomicBool,
    active_ms: AtomicU64,
    leave: CancellationToken,
}

impl Life {
    /// The peer has sent this many bytes.
    pub(crate) fn hear(&self, bytes: usize) {
        // One task reads a connection, so nothing is lost between the two; beyond the opening nobody looks.
        let heard = self.heard_bytes.load(Ordering::Relaxed);
        if heard < OPENING_BYTES {
            self.heard_bytes
                .store(heard.saturating_add(bytes), Ordering::Relaxed);
        }
    }

    /// Whether enough came to know the protocol, whose own clocks are running then.
    pub(crate) fn heard(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
            || self.heard_bytes.load(Ordering::Relaxed) >= OPENING_BYTES
    }

    /// Resolves when the connection has to make room.
    pub(crate) async fn evicted(&self) {
        self.leave.cancelled().await;
    }

    fn touch(&self) {
        self.active_ms
            .store(ms(self.began.elapsed()), Ordering::Relaxed);
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A request that came and whose answer is not sent yet.
pub(crate) struct InFlight(Arc<Life>);

impl InFlight {
    pub(crate) fn begin(life: &Arc<Life>) -> Self {
        life.in_flight.fetch_add(1, Ordering::AcqRel);
        life.asked.store(true, Ordering::Relaxed);
        Self(life.clone())
    }

    /// The answer's body, which keeps the request in flight until it is sent or given up.
    pub(crate) fn until_sent(self, body: Body) -> Sending {
        Sending {
            body,
            _in_flight: self,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body on its way.
pub(crate) struct Sending {
    body: Body,
    _in_flight: InFlight,
}

impl http_body::Body for Sending {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize) -> Connections {
        let mut options = Options::memory();
        options.max_connections = Some(max);
        Connections::new(&options)
    }

    /// Descriptors are also needed for what connections ask for.
    #[test]
    fn half_of_the_descriptors_are_for_connections() {
        assert_eq!(most(Some(1_024)), 512);
        assert_eq!(most(Some(8)), FEWEST as usize);
        assert_eq!(most(None), MOST as usize);
    }

    #[test]
    fn a_new_connection_replaces_a_silent_one_before_one_that_asked() {
        let connections = connections(2);
        let asked = connections.admit().expect("room");
        drop(InFlight::begin(asked.life()));
        let silent = connections.admit().expect("room");
        let third = connections.admit().expect("the silent one's place");
        assert!(silent.life().leave.is_cancelled());
        assert!(!asked.life().leave.is_cancelled());
        let busy = InFlight::begin(third.life());
        let fourth = connections.admit().expect("the idle one's place");
        assert!(asked.life().leave.is_cancelled());
        let also_busy = InFlight::begin(fourth.life());
        assert!(connections.admit().is_none());
        assert!(
            connections
                .check()
                .detail
                .contains("2 of 2 in use; 1 refused and 2 idle")
        );
        assert_eq!(connections.check().status, CheckStatus::Warn);
        drop((busy, also_busy));
        assert!(connections.admit().is_some());
    }

    #[test]
    fn a_connection_that_ended_leaves_its_place() {
        let connections = connections(1);
        let first = connections.admit().expect("room");
        let busy = InFlight::begin(first.life());
        assert!(connections.admit().is_none());
        drop((busy, first));
        assert!(connections.admit().is_some());
    }
}
