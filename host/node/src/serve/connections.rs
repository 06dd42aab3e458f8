//! How many connections there may be, and which of them go.
//!
//! - One that has not begun a protocol within the head's time is closed: it holds a descriptor for nothing.
//! - One that has is kept alive as long as it answers pings (HTTP/2), or until the next head is late (HTTP/1).
//! - On a node that asks for a token, a connection is a stranger until a request on it has shown
//!   the token. Strangers have a share of the places and of it a share for each address. A new
//!   stranger takes the place of the oldest one, of its own address first, whatever that one is
//!   doing. A stranger that asks for nothing for a while is closed.
//! - When all are taken, a new one takes the place of the oldest stranger, else of one that is
//!   doing nothing: of one that never asked for anything first, then of the one that asked longest
//!   ago. When every one of them has a request in flight, the new one is refused.
//!
//! Always true: a connection that has shown the token, or need not, is never closed for another's
//! sake while it has a request in flight.

use crate::options::Options;
use axum::body::Body;
use http_body::Frame;
use lydian_engine::{Check, CheckStatus};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
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
/// One in so many connections may be a stranger's, and one in so many of those of one address.
/// Enough that a caller with the token, who is a stranger for a round trip, is none of the oldest
/// by then.
const STRANGERS_OF: usize = 4;
/// Strangers that ask for nothing for so long are closed. Health checks come more often.
const STRANGER_IDLE: Duration = Duration::from_secs(60);
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
    /// Whether callers must show a token; else nobody is a stranger.
    token: bool,
    clocks: Clocks,
    began: Instant,
    open: Mutex<Open>,
    next: AtomicU64,
    refused: AtomicU64,
    replaced: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// The connections there are.
#[derive(Default)]
struct Open {
    all: HashMap<u64, Arc<Life>>,
    /// Those that were strangers when last looked at, oldest first.
    strangers: BTreeMap<u64, Arc<Life>>,
    strangers_of: HashMap<IpAddr, usize>,
}

impl Open {
    /// Takes a connection out of the strangers.
    fn take_stranger(&mut self, id: u64) -> Option<Arc<Life>> {
        let life = self.strangers.remove(&id)?;
        if let Some(count) = self.strangers_of.get_mut(&life.peer) {
            *count -= 1;
            if *count == 0 {
                self.strangers_of.remove(&life.peer);
            }
        }
        Some(life)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Life>> {
        self.take_stranger(id);
        self.all.remove(&id)
    }

    /// The oldest stranger, of this address if one is given. Those that have shown the token
    /// meanwhile are taken out on the way.
    fn oldest_stranger(&mut self, of: Option<IpAddr>) -> Option<u64> {
        let known: Vec<u64> = self
            .strangers
            .iter()
            .take_while(|(_, life)| life.is_known())
            .map(|(id, _)| *id)
            .collect();
        for id in known {
            self.take_stranger(id);
        }
        let mut strangers = self.strangers.iter().filter(|(_, life)| !life.is_known());
        let found = strangers.find(|(_, life)| of.is_none_or(|peer| life.peer == peer));
        found.map(|(id, _)| *id)
    }
}

impl Connections {
    pub(crate) fn new(options: &Options) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self(Arc::new(Inner {
            max: options
                .max_connections
                .unwrap_or_else(|| most(limit))
                .max(1),
            token: options.token.is_some(),
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

    /// A place for a connection from `peer` that was accepted; `None` when it must be closed.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Admitted> {
        let peer = peer.to_canonical();
        let mut open = self.0.open.lock();
        if self.0.token {
            self.make_room_for_stranger(&mut open, peer);
        }
        if open.all.len() >= self.0.max {
            let goes = open.oldest_stranger(None);
            let Some(id) = goes.or_else(|| least_wanted(&open.all)) else {
                drop(open);
                self.0.refuse();
                return None;
            };
            self.replace(&mut open, id);
        }
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let life = Arc::new(Life {
            began: self.0.began,
            in_flight: AtomicUsize::new(0),
            heard_bytes: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            known: AtomicBool::new(!self.0.token),
            peer,
            active_ms: AtomicU64::new(ms(self.0.began.elapsed())),
            leave: CancellationToken::new(),
        });
        open.all.insert(id, life.clone());
        if self.0.token {
            open.strangers.insert(id, life.clone());
            *open.strangers_of.entry(peer).or_default() += 1;
        }
        Some(Admitted {
            connections: self.clone(),
            id,
            life,
        })
    }

    /// Closes the oldest strangers until there is room for one more, in all and of this address. On
    /// loopback all have one address, which says nothing of who they are.
    fn make_room_for_stranger(&self, open: &mut Open, peer: IpAddr) {
        let share = (self.0.max / STRANGERS_OF).max(1);
        let of_peer = match peer.is_loopback() {
            true => share,
            false => (share / STRANGERS_OF).max(1),
        };
        while open.strangers_of.get(&peer).copied().unwrap_or_default() >= of_peer {
            match open.oldest_stranger(Some(peer)) {
                Some(id) => self.replace(open, id),
                None => break,
            }
        }
        while open.strangers.len() >= share {
            match open.oldest_stranger(None) {
                Some(id) => self.replace(open, id),
                None => break,
            }
        }
    }

    fn replace(&self, open: &mut Open, id: u64) {
        if let Some(life) = open.remove(id) {
            life.leave.cancel();
        }
        self.0.replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// What `lydian doctor` says of them.
    pub(crate) fn check(&self) -> Check {
        let inner = &self.0;
        let refused = inner.refused.load(Ordering::Relaxed);
        let replaced = inner.replaced.load(Ordering::Relaxed);
        let detail = format!(
            "{} of {} in use; {refused} refused and {replaced} idle ones closed for others since the start",
            inner.open.lock().all.len(),
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

    /// Resolves when the connection has begun no protocol in time, or is a stranger's that has
    /// asked for nothing for long; never once neither can be.
    pub(crate) async fn silent(&self) {
        tokio::time::sleep(self.clocks().head_timeout).await;
        if !self.life.heard() {
            return;
        }
        while !self.life.is_known() {
            let idle = self.life.idle();
            if idle >= STRANGER_IDLE {
                return;
            }
            tokio::time::sleep(STRANGER_IDLE - idle).await;
        }
        std::future::pending::<()>().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Gone already when it had to make room.
        self.connections.0.open.lock().remove(self.id);
    }
}

/// What is known of one connection.
pub(crate) struct Life {
    /// What `active_ms` counts from.
    began: Instant,
    in_flight: AtomicUsize,
    heard_bytes: AtomicUsize,
    asked: AtomicBool,
    /// A request on it has shown the token, or none need be shown.
    known: AtomicBool,
    peer: IpAddr,
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

    /// A request on it has shown the token.
    pub(crate) fn recognise(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Whether the caller has shown the token, or need not.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Since the end of its last request, or since it began.
    fn idle(&self) -> Duration {
        let now = ms(self.began.elapsed());
        Duration::from_millis(now.saturating_sub(self.active_ms.load(Ordering::Relaxed)))
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
    use crate::Token;
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn connections(max: usize) -> Connections {
        let mut options = Options::memory();
        options.max_connections = Some(max);
        Connections::new(&options)
    }

    fn with_token(max: usize) -> Connections {
        let mut options = Options::memory();
        options.max_connections = Some(max);
        options.token = Some(Token::new("0123456789abcdef").expect("a token"));
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
        let asked = connections.admit(LOOPBACK).expect("room");
        drop(InFlight::begin(asked.life()));
        let silent = connections.admit(LOOPBACK).expect("room");
        let third = connections.admit(LOOPBACK).expect("the silent one's place");
        assert!(silent.life().leave.is_cancelled());
        assert!(!asked.life().leave.is_cancelled());
        let busy = InFlight::begin(third.life());
        let fourth = connections.admit(LOOPBACK).expect("the idle one's place");
        assert!(asked.life().leave.is_cancelled());
        let also_busy = InFlight::begin(fourth.life());
        assert!(connections.admit(LOOPBACK).is_none());
        assert!(
            connections
                .check()
                .detail
                .contains("2 of 2 in use; 1 refused and 2 idle")
        );
        assert_eq!(connections.check().status, CheckStatus::Warn);
        drop((busy, also_busy));
        assert!(connections.admit(LOOPBACK).is_some());
    }

    #[test]
    fn a_connection_that_ended_leaves_its_place() {
        let connections = connections(1);
        let first = connections.admit(LOOPBACK).expect("room");
        let busy = InFlight::begin(first.life());
        assert!(connections.admit(LOOPBACK).is_none());
        drop((busy, first));
        assert!(connections.admit(LOOPBACK).is_some());
    }

    /// Strangers push out strangers, however busy they are, and nobody who has shown the token.
    #[test]
    fn strangers_have_a_share_and_make_room_for_each_other() {
        let connections = with_token(8);
        let caller = connections.admit(LOOPBACK).expect("room");
        caller.life().recognise();
        let first = connections.admit(LOOPBACK).expect("room");
        let _held = InFlight::begin(first.life());
        let second = connections.admit(LOOPBACK).expect("room");
        let third = connections.admit(LOOPBACK).expect("the first's place");
        assert!(first.life().leave.is_cancelled());
        assert!(!second.life().leave.is_cancelled());
        assert!(!caller.life().leave.is_cancelled());
        drop((first, second, third));
        let open = connections.0.open.lock();
        assert!(open.strangers.is_empty() && open.strangers_of.is_empty());
    }

    /// One address cannot take what is there for strangers; on loopback, where there is one, it
    /// can.
    #[test]
    fn strangers_of_one_address_push_out_their_own() {
        let connections = with_token(64);
        let noisy = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let quiet = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        let other = connections.admit(quiet).expect("room");
        let all: Vec<Admitted> = (0..100)
            .map(|_| connections.admit(noisy).expect("room"))
            .collect();
        assert!(!other.life().leave.is_cancelled());
        let open = |all: &[Admitted]| {
            let gone = |it: &&Admitted| !it.life().leave.is_cancelled();
            all.iter().filter(gone).count()
        };
        assert_eq!(open(&all), 4);
        assert!(!all[99].life().leave.is_cancelled(), "the newest is there");
        drop(all);
        let near: Vec<Admitted> = (0..100)
            .map(|_| connections.admit(LOOPBACK).expect("room"))
            .collect();
        assert_eq!(open(&near), 16);
    }

    /// When callers take every place, a stranger is the first to go, even a busy one.
    #[test]
    fn a_stranger_goes_before_any_caller() {
        let connections = with_token(4);
        let callers: Vec<Admitted> = (0..3)
            .map(|_| {
                let caller = connections.admit(LOOPBACK).expect("room");
                caller.life().recognise();
                caller
            })
            .collect();
        let stranger = connections.admit(LOOPBACK).expect("room");
        let _held = InFlight::begin(stranger.life());
        let newcomer = connections.admit(LOOPBACK).expect("the stranger's place");
        assert!(stranger.life().leave.is_cancelled());
        newcomer.life().recognise();
        assert!(callers.iter().all(|it| !it.life().leave.is_cancelled()));
    }
}
