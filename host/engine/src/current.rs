//! The call that the current thread is polling.
//!
//! wasmtime lifts results through static methods that are given neither the store's data nor anything of ours, and its
//! epoch callback needs to know when this turn on the processor began. So while a sandbox is polled, and only then, its
//! [`Current`] lies in a thread-local; [`crate::watch`] puts it there before each poll and takes it out after.

use crate::codec::{Item, Node, Plan};
use crate::ledger::{Charge, Ledger};
use crate::limit::LimitHit;
use crate::limits::Limits;
use crate::streams::Readable;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{FutureReader, ResourceAny, ResourceType, StreamReader};
use wasmtime::{Result, bail};

thread_local! {
    static CURRENT: RefCell<Option<Box<Current>>> = const { RefCell::new(None) };
    static BORROWED: Cell<bool> = const { Cell::new(false) };
}

/// What a sandbox is doing.
pub(crate) struct Current {
    plan: Option<Arc<Plan>>,
    /// Whether the function was taken for one that is lifted asynchronously.
    expect_async: bool,
    payload_limit: usize,
    ledger: Ledger,
    /// When the call's wall time is over.
    deadline: Instant,
    handles: Handles,
    streams: Vec<OpenStream>,
    batch: Option<Reading>,
    bytes_out: u64,
    cpu: Cpu,
    /// When the last turn ended.
    left: Option<Instant>,
}

/// A stream or future that a result has named, not yet read.
pub(crate) struct OpenStream {
    pub(crate) number: u32,
    pub(crate) item: Option<Arc<Node>>,
    pub(crate) readable: Readable,
}

/// Resources that results have handed to the host, by the number that the caller knows them by.
struct Handles {
    open: Vec<Option<ResourceAny>>,
    free: Vec<u32>,
    live: u32,
    limit: u32,
    /// Numbers of streams, futures and error contexts, which are only names.
    next_name: u32,
}

/// A batch of stream items on its way out.
struct Reading {
    item: Arc<Node>,
    count: usize,
    started: bool,
    bytes: Vec<u8>,
}

/// Time on a processor.
struct Cpu {
    used: Duration,
    limit: Duration,
    turn: Option<Instant>,
}

impl Current {
    pub(crate) fn new(limits: &Limits, ledger: &Ledger, deadline: Instant) -> Box<Current> {
        Box::new(Current {
            plan: None,
            expect_async: false,
            payload_limit: usize::try_from(limits.payload_bytes).unwrap_or(usize::MAX),
            ledger: ledger.clone(),
            deadline,
            handles: Handles {
                open: Vec::new(),
                free: Vec::new(),
                live: 0,
                limit: limits.handles,
                next_name: 0,
            },
            streams: Vec::new(),
            batch: None,
            bytes_out: 0,
            cpu: Cpu {
                used: Duration::ZERO,
                limit: limits.cpu,
                turn: None,
            },
            left: None,
        })
    }

    /// Begins a turn on this thread, which counts from `turn`.
    pub(crate) fn enter(mut self: Box<Self>, turn: Instant) {
        self.cpu.turn = Some(turn);
        CURRENT.set(Some(self));
    }

    /// Ends the turn.
    pub(crate) fn leave() -> Option<Box<Current>> {
        let mut current = CURRENT.take()?;
        if let Some(turn) = current.cpu.turn.take() {
            let now = Instant::now();
            current.cpu.used += now.saturating_duration_since(turn);
            current.left = Some(now);
        }
        Some(current)
    }

    /// Gives the next call of a session as much CPU time as the last one had, until `deadline`.
    pub(crate) fn renew(&mut self, cpu: Duration, deadline: Instant) {
        self.deadline = deadline;
        self.cpu.used = Duration::ZERO;
        self.cpu.limit = cpu;
        self.bytes_out = 0;
    }

    /// What resource an open handle is of; none when it is not open.
    pub(crate) fn handle(&self, handle: u32) -> Option<ResourceType> {
        let index = handle.checked_sub(1)? as usize;
        let resource = self.handles.open.get(index)?.as_ref()?;
        Some(resource.ty())
    }

    /// When the sandbox last left a processor.
    pub(crate) fn left(&self) -> Option<Instant> {
        self.left
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.cpu.used
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }
}

fn with<R>(read: impl FnOnce(&mut Current) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| current.as_deref_mut().map(read))
}

/// Whether a sandbox is being polled on this thread.
pub(crate) fn is_set() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Names the function that is about to be called.
pub(crate) fn begin(plan: Arc<Plan>, expect_async: bool) {
    with(|current| {
        current.plan = Some(plan);
        current.expect_async = expect_async;
    });
}

/// The layout of the function that is being called.
pub(crate) fn plan() -> Result<Arc<Plan>> {
    match with(|current| current.plan.clone()) {
        Some(Some(plan)) => Ok(plan),
        _ => bail!("no call is in progress"),
    }
}

/// Fails when the function turns out to be lifted the other way than was thought.
pub(crate) fn expect_abi(is_async: bool) -> Result<()> {
    match with(|current| current.expect_async) {
        Some(expected) if expected != is_async => bail!(WrongAbi { is_async }),
        _ => Ok(()),
    }
}

/// A function whose type says `async` may be lifted synchronously; only its options tell. Nothing has run when this is found.
#[derive(Debug, thiserror::Error)]
#[error("the function is lifted differently from what its type suggests")]
pub(crate) struct WrongAbi {
    pub(crate) is_async: bool,
}

/// Most bytes that may be lifted.
pub(crate) fn payload_limit() -> usize {
    with(|current| current.payload_limit).unwrap_or(0)
}

/// Room for a piece of a result, on the node's ledger.
pub(crate) fn charge_result(bytes: usize) -> Result<Charge> {
    let charge = with(|current| current.ledger.payload(bytes as u64)).flatten();
    charge.ok_or_else(|| LimitHit::NodePayload.into())
}

/// Whether the host may go on with work for the guest: copies obey the clocks as the guest's own
/// code does.
pub(crate) fn checkpoint() -> Result<()> {
    let over = with(|current| {
        let now = Instant::now();
        if now >= current.deadline {
            return Some(LimitHit::Timeout);
        }
        let turn = current
            .cpu
            .turn
            .map_or(Duration::ZERO, |turn| now.saturating_duration_since(turn));
        (current.cpu.used + turn >= current.cpu.limit).then_some(LimitHit::Cpu)
    });
    match over.flatten() {
        Some(hit) => Err(hit.into()),
        None => Ok(()),
    }
}

/// Runs a turn of a sandbox on a thread that is not for guests, so that copies in it know to be
/// short.
pub(crate) fn on_borrowed_thread<R>(turn: impl FnOnce() -> R) -> R {
    struct GiveBack;
    impl Drop for GiveBack {
        fn drop(&mut self) {
            BORROWED.set(false);
        }
    }
    BORROWED.set(true);
    let _back = GiveBack;
    turn()
}

/// Whether this turn must be short.
pub(crate) fn must_be_short() -> bool {
    BORROWED.get()
}

/// Time used on a processor, this turn included, and whether that is more than allowed.
pub(crate) fn cpu_spent() -> bool {
    with(|current| {
        let turn = current
            .cpu
            .turn
            .map_or(Duration::ZERO, |turn| turn.elapsed());
        current.cpu.used + turn >= current.cpu.limit
    })
    .unwrap_or(false)
}

/// Keeps a resource for the caller.
pub(crate) fn open_handle(resource: ResourceAny) -> Result<u32> {
    with(|current| current.handles.insert(resource))
        .unwrap_or(Err(LimitHit::Handles))
        .map_err(Into::into)
}

/// The resource behind a handle; `given_away` when it leaves the host's hands.
pub(crate) fn take_handle(handle: u32, given_away: bool) -> Option<ResourceAny> {
    with(|current| current.handles.get(handle, given_away)).flatten()
}

/// A fresh number for something that is not a resource.
pub(crate) fn number() -> u32 {
    with(|current| current.handles.name()).unwrap_or(0)
}

/// Keeps a stream of a result until it is read.
pub(crate) fn open_stream(reader: StreamReader<Item>, item: Option<&Arc<Node>>) -> Result<u32> {
    open(Readable::Stream(reader), item)
}

/// Keeps a future of a result until it is read.
pub(crate) fn open_future(reader: FutureReader<Item>, item: Option<&Arc<Node>>) -> Result<u32> {
    open(Readable::Future(reader), item)
}

/// The same for a stream of bytes, which may be one of the host's.
pub(crate) fn open_byte_stream(reader: StreamReader<u8>) -> Result<u32> {
    open(Readable::Bytes(reader), None)
}

/// The same for a stream that carries nothing.
pub(crate) fn open_unit_stream(reader: StreamReader<()>) -> Result<u32> {
    open(Readable::UnitStream(reader), None)
}

/// The same for a future that carries nothing.
pub(crate) fn open_unit_future(reader: FutureReader<()>) -> Result<u32> {
    open(Readable::UnitFuture(reader), None)
}

fn open(readable: Readable, item: Option<&Arc<Node>>) -> Result<u32> {
    let item = item.cloned();
    with(|current| {
        if current.streams.len() >= current.handles.limit as usize {
            return Err(LimitHit::Handles);
        }
        let number = current.handles.name();
        current.streams.push(OpenStream {
            number,
            item,
            readable,
        });
        Ok(number)
    })
    .unwrap_or(Err(LimitHit::Handles))
    .map_err(Into::into)
}

/// The streams and futures that the last result has named.
pub(crate) fn take_streams() -> Vec<OpenStream> {
    with(|current| std::mem::take(&mut current.streams)).unwrap_or_default()
}

/// Says what the next items are, before wasmtime lifts them.
pub(crate) fn expect_batch(item: Arc<Node>, count: usize) {
    with(|current| {
        current.batch = Some(Reading {
            item,
            count,
            started: false,
            bytes: Vec::new(),
        })
    });
}

/// For the first item of a batch: what to read, and how many.
pub(crate) fn start_batch() -> Option<(Arc<Node>, usize)> {
    with(|current| {
        let reading = current.batch.as_mut().filter(|reading| !reading.started)?;
        reading.started = true;
        Some((reading.item.clone(), reading.count))
    })
    .flatten()
}

/// Keeps what was read.
pub(crate) fn finish_batch(bytes: Vec<u8>) {
    with(|current| {
        if let Some(reading) = &mut current.batch {
            reading.bytes = bytes;
        }
    });
}

/// What was read, without its length.
pub(crate) fn take_batch() -> Vec<u8> {
    with(|current| current.batch.take())
        .flatten()
        .map_or_else(Vec::new, |reading| reading.bytes)
}

/// Counts bytes that left the sandbox.
pub(crate) fn count_out(bytes: usize) {
    with(|current| current.bytes_out += bytes as u64);
}

impl Handles {
    fn insert(&mut self, resource: ResourceAny) -> Result<u32, LimitHit> {
        if self.live >= self.limit {
            return Err(LimitHit::Handles);
        }
        self.live += 1;
        if let Some(handle) = self.free.pop() {
            self.open[handle as usize - 1] = Some(resource);
            return Ok(handle);
        }
        self.open.push(Some(resource));
        Ok(self.open.len() as u32)
    }

    /// Handles count from 1, so that a forgotten zero is never one.
    fn get(&mut self, handle: u32, given_away: bool) -> Option<ResourceAny> {
        let slot = self.open.get_mut(handle.checked_sub(1)? as usize)?;
        if !given_away {
            return *slot;
        }
        let resource = slot.take()?;
        self.free.push(handle);
        self.live -= 1;
        Some(resource)
    }

    fn name(&mut self) -> u32 {
        self.next_name += 1;
        self.next_name
    }
}
