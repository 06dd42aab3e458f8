//! Descriptors of the host that guests have open: files, directories, sockets and connections of
//! every kind, counted as one.
//!
//! Each belongs to a sandbox, whose limit is `open_files`, and to the node, whose process has only
//! so many. [`Files::open`] takes one from both before anything is opened; it is given back when
//! the last thing that needs it is gone:
//!
//! - **Files and directories** are shared by their descriptor, its streams and reads under way. All of these hold the same
//!   [`std::fs::File`], and [`Files::keep_file`] remembers it weakly: the count ends with it, not with the guest's handle.
//! - **Sockets** end with their resource ([`Files::closed_socket`]); [`Open`] is shared by a socket and its streams, as WASI 0.3
//!   lets streams outlive their socket.
//! - **Connections** of `wasi:http` hold an [`Open`] of their own.
//!
//! The resource's end is told at once. That a stream was the last to hold a file is found out when
//! it matters: before anything is refused, here or in another sandbox of the node, and when the
//! node is asked how many are open.
//!
//! **The count is never too low, and for a moment too high.** A socket's stream of WASI 0.3 gives its share back when wasmtime has
//! told its end, which it does when the guest next waits for anything. A guest that lets go of streams and never waits in between
//! is therefore refused at its limit counted over all it opened since it last waited, not over what it has; after one wait it is
//! exact again.

use crate::checks::{Check, CheckStatus};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Guests of a node get a quarter of its process's descriptors: the rest is for connections, components and files.
const SHARE: u64 = 4;
/// Fewer than this is no network.
const FEWEST: u64 = 64;
/// There are not more ports to connect from.
const MOST: u64 = 65_536;
/// All sandboxes are looked through at most so often: a guest that asks again and again must not
/// keep the others waiting.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// What all guests of a node have open. Clones are the same.
#[derive(Clone)]
pub(crate) struct Descriptors(Arc<Node>);

struct Node {
    count: Count,
    sandboxes: Mutex<Sandboxes>,
}

/// Those that have files open, to be looked through when the node is full.
#[derive(Default)]
struct Sandboxes {
    live: HashMap<usize, Weak<Sandbox>>,
    /// Files that a read under way held when their sandbox ended.
    outlived: Vec<(Weak<File>, Open)>,
    swept: Option<Instant>,
}

/// What one sandbox has open. Clones are the same.
#[derive(Clone)]
pub(crate) struct Files(Arc<Sandbox>);

struct Sandbox {
    own: Arc<Count>,
    node: Descriptors,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By address, which no other file has while it is remembered.
    files: HashMap<usize, (Weak<File>, Open)>,
    /// By their place in the sandbox's table.
    sockets: HashMap<u32, Arc<Open>>,
    /// Mounted directories, which only the node counts: they are the deployment's and open until
    /// the sandbox ends.
    mounts: usize,
    /// Whether the node knows of it.
    known: bool,
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
pub(crate) struct Open {
    own: Arc<Count>,
    node: Descriptors,
}

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

    /// Takes one beyond the limit if need be.
    fn add(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Descriptors {
    /// A share of the `descriptors` that the process may have; `None`: any number.
    pub(crate) fn of_process(descriptors: Option<u64>) -> Descriptors {
        let share = descriptors.map_or(MOST, |descriptors| descriptors / SHARE);
        Descriptors::limited(usize::try_from(share.clamp(FEWEST, MOST)).unwrap_or(usize::MAX))
    }

    pub(crate) fn limited(limit: usize) -> Descriptors {
        Descriptors(Arc::new(Node {
            count: Count::new(limit),
            sandboxes: Mutex::default(),
        }))
    }

    /// What `lydian doctor` says of them.
    pub(crate) fn check(&self) -> Check {
        self.sweep(Duration::ZERO);
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
        let count = &self.0.count;
        (count.open.load(Ordering::Relaxed), count.limit)
    }

    fn take(&self) -> bool {
        let count = &self.0.count;
        count.take() || (self.sweep(SWEEP_PAUSE) && count.take())
    }

    /// Forgets files that are gone, in every sandbox, unless that was done within `pause`. Says
    /// whether it did.
    fn sweep(&self, pause: Duration) -> bool {
        let mut sandboxes = self.0.sandboxes.lock();
        if sandboxes.swept.is_some_and(|at| at.elapsed() < pause) {
            return false;
        }
        sandboxes.swept = Some(Instant::now());
        sandboxes
            .outlived
            .retain(|(file, _)| file.strong_count() > 0);
        let live: Vec<_> = sandboxes.live.values().filter_map(Weak::upgrade).collect();
        // A sandbox that ends just now takes itself out of the list, so the lock must be free by
        // then.
        drop(sandboxes);
        live.iter().for_each(|sandbox| sandbox.sweep());
        true
    }
}

impl Files {
    pub(crate) fn new(limit: u32, node: Descriptors) -> Files {
        Files(Arc::new(Sandbox {
            own: Arc::new(Count::new(limit as usize)),
            node,
            kept: Mutex::default(),
        }))
    }

    /// Takes one, before it is opened.
    pub(crate) fn open(&self) -> Result<Open, Exhausted> {
        let Sandbox { own, node, .. } = &*self.0;
        if !own.take() {
            self.0.sweep();
            if !own.take() {
                return Err(Exhausted::Sandbox);
            }
        }
        if !node.take() {
            own.give_back();
            return Err(Exhausted::Node);
        }
        Ok(self.0.taken())
    }

    /// Counts a mounted directory. That it is opened was decided at deployment, so it only leaves
    /// less for others.
    pub(crate) fn mount(&self) {
        self.0.node.0.count.add();
        self.0.kept.lock().mounts += 1;
    }

    /// The file, or directory, was opened: it counts until nothing holds it.
    pub(crate) fn keep_file(&self, file: &Arc<File>, open: Open) {
        let mut kept = self.0.kept.lock();
        let first = !std::mem::replace(&mut kept.known, true);
        kept.files
            .insert(address(file), (Arc::downgrade(file), open));
        drop(kept);
        if first {
            let mut sandboxes = self.0.node.0.sandboxes.lock();
            let at = Arc::as_ptr(&self.0).addr();
            sandboxes.live.insert(at, Arc::downgrade(&self.0));
        }
    }

    /// A handle to the file is gone; perhaps it was the last.
    pub(crate) fn closed_file(&self, file: &Weak<File>) {
        if file.strong_count() == 0 {
            self.0.kept.lock().files.remove(&file.as_ptr().addr());
        }
    }

    /// The socket was made, and is this resource.
    pub(crate) fn keep_socket(&self, socket: u32, open: Open) {
        self.0.kept.lock().sockets.insert(socket, Arc::new(open));
    }

    /// A share in the descriptor of a socket, for a stream of it.
    pub(crate) fn share_socket(&self, socket: u32) -> Option<Arc<Open>> {
        self.0.kept.lock().sockets.get(&socket).cloned()
    }

    /// The resource is gone.
    pub(crate) fn closed_socket(&self, socket: u32) {
        self.0.kept.lock().sockets.remove(&socket);
    }
}

impl Sandbox {
    /// One that was counted.
    fn taken(&self) -> Open {
        Open {
            own: self.own.clone(),
            node: self.node.clone(),
        }
    }

    fn sweep(&self) {
        let mut kept = self.kept.lock();
        kept.files.retain(|_, (file, _)| file.strong_count() > 0);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let at = std::ptr::from_ref(self).addr();
        let kept = self.kept.get_mut();
        for _ in 0..kept.mounts {
            self.node.0.count.give_back();
        }
        if !kept.known {
            return;
        }
        let files = std::mem::take(&mut kept.files).into_values();
        let outlived = files.filter(|(file, _)| file.strong_count() > 0);
        let mut sandboxes = self.node.0.sandboxes.lock();
        sandboxes.live.remove(&at);
        sandboxes.outlived.extend(outlived);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.node.0.count.give_back();
        self.own.give_back();
    }
}

fn address(file: &Arc<File>) -> usize {
    Arc::as_ptr(file).addr()
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

    /// A socket's place in the table is given away again once it is dropped; its streams may still
    /// be there.
    #[test]
    fn sockets_end_with_their_resource_and_their_streams() {
        let node = Descriptors::limited(100);
        let files = Files::new(2, node.clone());
        for socket in [7; 50] {
            files.keep_socket(socket, files.open().expect("room"));
            let stream = files.share_socket(socket);
            files.closed_socket(socket);
            assert_eq!(node.used(), (1, 100));
            drop(stream);
            assert_eq!(node.used(), (0, 100));
        }
    }

    fn file() -> Arc<File> {
        Arc::new(File::open("/dev/null").expect("a file"))
    }

    /// The handle is one of several that hold a file: streams and reads under way are others.
    #[test]
    fn files_count_until_nothing_holds_them() {
        let node = Descriptors::limited(100);
        let files = Files::new(2, node.clone());
        let opened = [file(), file()];
        for file in &opened {
            files.keep_file(file, files.open().expect("room"));
        }
        let [first, second] = opened;
        let (stream, handle) = (first.clone(), Arc::downgrade(&first));
        drop(first);
        files.closed_file(&handle);
        assert_eq!(files.open().err(), Some(Exhausted::Sandbox));
        drop(stream);
        assert!(files.open().is_ok());
        let handle = Arc::downgrade(&second);
        drop(second);
        files.closed_file(&handle);
        assert_eq!(node.used(), (0, 100));
    }

    /// What other sandboxes let go of is there for the one that asks.
    #[test]
    fn files_that_are_gone_make_room_on_the_node() {
        let node = Descriptors::limited(1);
        let (one, other) = (Files::new(2, node.clone()), Files::new(2, node.clone()));
        let stream = file();
        one.keep_file(&stream, one.open().expect("room"));
        assert_eq!(other.open().err(), Some(Exhausted::Node));
        // A read may hold a file for longer than its sandbox lives.
        drop(one);
        assert_eq!(node.used(), (1, 1));
        drop(stream);
        std::thread::sleep(SWEEP_PAUSE);
        assert!(other.open().is_ok());
        assert_eq!(node.used(), (0, 1));
    }

    /// They are opened whatever the limits, and leave less for guests.
    #[test]
    fn the_node_counts_mounts() {
        let node = Descriptors::limited(2);
        let files = Files::new(10, node.clone());
        files.mount();
        files.mount();
        files.mount();
        assert_eq!(files.open().err(), Some(Exhausted::Node));
        assert_eq!(node.used(), (3, 2));
        drop(files);
        assert_eq!(node.used(), (0, 2));
    }
}
