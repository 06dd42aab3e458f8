//! Descriptors of the host that guests have open: sockets and connections of every kind, counted as one.
//!
//! Each belongs to a sandbox, whose limit is `open_files`, and to the node, whose process has only so many. [`Files::open`] takes
//! one from both before anything is opened; it is given back when the last thing that needs it is gone ([`Open`] is shared by a
//! socket and its streams, as WASI 0.3 lets streams outlive their socket).
//!
//! wasmtime does not tell when a guest drops a socket. So [`Sockets`] remembers which resource each descriptor is for, and looks
//! for those that are gone: when the count has doubled, and before anything is refused.
//!
//! **The count is never too low, and for a moment too high.** A stream of WASI 0.3 gives its share back when wasmtime has told its
//! end, which it does when the guest next waits for anything. A guest that lets go of streams and never waits in between is therefore
//! refused at its limit counted over all it opened since it last waited, not over what it has; after one wait it is exact again.
//! Sockets without streams, and all of WASI 0.2, are exact whenever something is refused.

use crate::checks::{Check, CheckStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime::component::{Resource, ResourceTable};

/// Guests of a node get a quarter of its process's descriptors: the rest is for connections, components and files.
const SHARE: u64 = 4;
/// Fewer than this is no network.
const FEWEST: u64 = 64;
/// There are not more ports to connect from.
const MOST: u64 = 65_536;
/// Fewer sockets than this are not worth a look.
const SWEEP_FROM: usize = 8;

/// What all guests of a node have open. Clones are the same.
#[derive(Clone)]
pub(crate) struct Descriptors(Arc<Count>);

/// What one sandbox has open. Clones are the same.
#[derive(Clone)]
pub(crate) struct Files {
    own: Arc<Count>,
    node: Descriptors,
}

struct Count {
    limit: usize,
    open: AtomicUsize,
}

/// Why nothing more can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// The sandbox is at its limit.
    Sandbox,
    /// All sandboxes together are at the node's.
    Node,
}

/// One descriptor. Given back when dropped.
pub(crate) struct Open(Files);

impl Count {
    fn new(limit: usize) -> Count {
        Count {
            limit,
            open: AtomicUsize::new(0),
        }
    }

    fn take(&self) -> bool {
        let more = |open| (open < self.limit).then_some(open + 1);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .is_ok()
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_full(&self) -> bool {
        self.open.load(Ordering::Acquire) >= self.limit
    }
}

impl Descriptors {
    /// A share of the `descriptors` that the process may have; `None`: any number.
    pub(crate) fn of_process(descriptors: Option<u64>) -> Descriptors {
        let share = descriptors.map_or(MOST, |descriptors| descriptors / SHARE);
        Descriptors::limited(usize::try_from(share.clamp(FEWEST, MOST)).unwrap_or(usize::MAX))
    }

    pub(crate) fn limited(limit: usize) -> Descriptors {
        Descriptors(Arc::new(Count::new(limit)))
    }

    /// What `lydian doctor` says of them.
    pub(crate) fn check(&self) -> Check {
        let (open, limit) = self.used();
        let enough = open < limit;
        Check {
            name: "guest-sockets",
            status: if enough {
                CheckStatus::Ok
            } else {
                CheckStatus::Warn
            },
            detail: format!("{open} of {limit} in use by all functions together"),
            fix: if enough {
                String::new()
            } else {
                "raise the number of open files with `ulimit -n` before the node starts".into()
            },
        }
    }

    /// How many are open, and how many may be.
    fn used(&self) -> (usize, usize) {
        (self.0.open.load(Ordering::Relaxed), self.0.limit)
    }
}

impl Files {
    pub(crate) fn new(limit: u32, node: Descriptors) -> Files {
        Files {
            own: Arc::new(Count::new(limit as usize)),
            node,
        }
    }

    /// Takes one, before it is opened.
    pub(crate) fn open(&self) -> Result<Open, Exhausted> {
        if !self.own.take() {
            return Err(Exhausted::Sandbox);
        }
        if !self.node.0.take() {
            self.own.give_back();
            return Err(Exhausted::Node);
        }
        Ok(Open(self.clone()))
    }

    fn is_full(&self) -> bool {
        self.own.is_full() || self.node.0.is_full()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.node.0.give_back();
        self.0.own.give_back();
    }
}

/// The sockets of one sandbox, by their place in its table.
#[derive(Default)]
pub(crate) struct Sockets {
    open: HashMap<u32, Arc<Open>>,
    /// How many there were that are not gone, when that was last looked at.
    live: usize,
}

impl Sockets {
    /// Takes one for a socket that is about to be made.
    pub(crate) fn make_room(
        &mut self,
        files: &Files,
        table: &ResourceTable,
    ) -> Result<Open, Exhausted> {
        if self.open.len() >= SWEEP_FROM.max(2 * self.live) {
            self.sweep(table);
        }
        files.open().or_else(|_| {
            self.sweep(table);
            files.open()
        })
    }

    /// Forgets what is gone, when that could make a difference.
    pub(crate) fn sweep_if_full(&mut self, files: &Files, table: &ResourceTable) {
        if !self.open.is_empty() && files.is_full() {
            self.sweep(table);
        }
    }

    /// The socket was made.
    pub(crate) fn insert(&mut self, socket: u32, open: Open) {
        self.open.insert(socket, Arc::new(open));
    }

    /// A share in the socket's descriptor, for a stream of it.
    pub(crate) fn share(&self, socket: u32) -> Option<Arc<Open>> {
        self.open.get(&socket).cloned()
    }

    fn sweep(&mut self, table: &ResourceTable) {
        self.open.retain(|socket, _| is_socket(table, *socket));
        self.live = self.open.len();
    }
}

fn is_socket(table: &ResourceTable, at: u32) -> bool {
    fn is<T: Send + 'static>(table: &ResourceTable, at: u32) -> bool {
        table.get(&Resource::<T>::new_borrow(at)).is_ok()
    }
    is::<wasmtime_wasi::p2::TcpSocket>(table, at)
        || is::<wasmtime_wasi::p2::UdpSocket>(table, at)
        || is::<wasmtime_wasi::sockets::TcpSocket>(table, at)
        || is::<wasmtime_wasi::sockets::UdpSocket>(table, at)
        || is::<wasmtime_wasi::filesystem::Descriptor>(table, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_process_is_for_guests() {
        assert_eq!(Descriptors::of_process(Some(1_024)).used(), (0, 256));
        assert_eq!(Descriptors::of_process(Some(10)).used(), (0, 64));
        assert_eq!(Descriptors::of_process(None).used(), (0, 65_536));
    }

    #[test]
    fn a_sandbox_stops_at_its_own_limit_and_all_at_the_nodes() {
        let node = Descriptors::limited(3);
        let (one, other) = (Files::new(2, node.clone()), Files::new(2, node.clone()));
        let first = [one.open(), one.open()];
        assert!(first.iter().all(Result::is_ok));
        assert_eq!(one.open().err(), Some(Exhausted::Sandbox));
        let _third = other.open().ok();
        assert_eq!(other.open().err(), Some(Exhausted::Node));
        assert_eq!(node.used(), (3, 3));
        // A refusal by the node takes nothing of the sandbox's own.
        drop(first);
        assert!(other.open().is_ok());
        assert_eq!(node.used(), (1, 3));
    }

    /// A socket's place in the table is given away again once it is dropped.
    #[test]
    fn sockets_that_are_gone_are_found_before_one_is_refused() {
        let node = Descriptors::limited(100);
        let files = Files::new(2, node.clone());
        let (mut sockets, table) = (Sockets::default(), ResourceTable::new());
        for socket in 0..50 {
            // None of them is in the table, so each is gone by the time the next is made.
            let open = sockets.make_room(&files, &table).expect("room");
            sockets.insert(socket, open);
        }
        let shared = sockets.share(49).expect("the last one");
        sockets.sweep(&table);
        assert_eq!(node.used(), (1, 100));
        drop(shared);
        assert_eq!(node.used(), (0, 100));
    }
}
