//! Functions that call others: what a sandbox asks of whoever runs it.
//!
//! The engine knows no catalog, so it hands each request to the [`Calls`] that its [`Invocation`](crate::Invocation)
//! came with; [`host`] is the guest's side of it, `lydian:calls`. A request carries the caller's deadline and a token that
//! is cancelled when the caller lets go of the call, or is itself over, however it ended.
//!
//! Always true: nothing a guest starts through here outlives the call that started it, save what it
//! [spawned](Calls::spawn); what waits for the guest here is bounded in number and bytes.

pub(crate) mod host;

use crate::ledger::Account;
use crate::limit::LimitHit;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Calls that one sandbox may have under way, or done and not dropped.
pub(crate) const MAX_PENDING: usize = 1_024;

/// Carries out what the functions of one call ask for.
///
/// Futures are polled on the threads that run guests; sandboxes started from them change no thread.
pub trait Calls: Send + Sync {
    /// The type of a function, as JSON of [`lydian_value::FuncType`].
    fn type_of(&self, target: Target) -> BoxFuture<'static, Result<String, Error>>;

    /// Calls a function and waits for its result, in the wire encoding.
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// Records a call, which is run whether or not the caller lives; answers its id.
    fn spawn(&self, request: Request) -> BoxFuture<'static, Result<String, Error>>;

    /// The result of a recorded call; none when it is not there within `wait`.
    fn get(&self, call: String, wait: Duration)
    -> BoxFuture<'static, Result<Option<Bytes>, Error>>;

    /// Stops a recorded call.
    fn cancel(&self, call: String) -> BoxFuture<'static, Result<(), Error>>;

    /// Begins a map of one function over many inputs. `request` has no arguments.
    fn map(
        &self,
        request: Request,
        options: MapOptions,
    ) -> BoxFuture<'static, Result<Box<dyn Mapping>, Error>>;
}

/// A map that is under way. Dropping it cancels what has not been done.
pub trait Mapping: Send {
    /// Adds inputs, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::Budget`] when more are outstanding than there may be.
    fn push(&mut self, inputs: Vec<Bytes>) -> Result<(), Error>;

    /// No more inputs come.
    fn finish(&mut self);

    /// The next results, at most `max` and at least one; none when the map is over.
    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<MapItem>, Error>>;
}

/// A function, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The app; none is the caller's own, at the caller's own version.
    pub app: Option<String>,
    /// `square`, or `acme:img/resize#thumbnail`.
    pub function: String,
}

/// One call to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to call.
    pub target: Target,
    /// The wire encoding of its arguments.
    pub args: Bytes,
    /// When the caller's own time is over.
    pub deadline: Instant,
    /// Cancelled when nobody wants the result any more.
    pub cancel: CancellationToken,
}

/// How a map is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// Results in the order of the inputs, else as they are ready.
    pub ordered: bool,
    /// Failures are among the results, else the first one ends the map.
    pub return_errors: bool,
    /// At most so many inputs at once; 0: whoever runs it decides.
    pub max_parallel: u32,
}

/// What became of one input of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapItem {
    /// Which input, from 0.
    pub index: u64,
    /// Its result in the wire encoding, or why there is none.
    pub outcome: Result<Bytes, Error>,
}

/// Why a guest gets no result. A value to the guest, never a trap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What to branch on.
    pub kind: ErrorKind,
    /// One sentence that names the thing.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// The cases of `lydian:calls/invoke.error-kind`; see there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the contract in `wit/calls` says what each means"
)]
pub enum ErrorKind {
    NotFound,
    NotAllowed,
    InvalidArgument,
    Failed,
    Timeout,
    Cancelled,
    Depth,
    Budget,
    Interrupted,
    Unavailable,
}

impl Error {
    /// An error without hints.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What the sandbox of one call knows of its calls to others.
pub(crate) struct Calling {
    calls: Arc<dyn Calls>,
    deadline: Instant,
    /// The sandbox's: arguments and results are on it as long as they wait.
    account: Account,
    /// Cancelled with this value: so ends whatever the call has under way.
    over: CancellationToken,
    open: Arc<Open>,
}

/// What waits for one sandbox.
#[derive(Debug, Default)]
struct Open {
    pending: AtomicUsize,
    made: AtomicU64,
}

impl Calling {
    pub(crate) fn new(calls: Arc<dyn Calls>, deadline: Instant, account: Account) -> Calling {
        Calling {
            calls,
            deadline,
            account,
            over: CancellationToken::new(),
            open: Arc::default(),
        }
    }

    /// How many calls were asked for.
    pub(crate) fn made(&self) -> u64 {
        self.open.made.load(Ordering::Relaxed)
    }

    fn count(&self, calls: usize) {
        self.open.made.fetch_add(calls as u64, Ordering::Relaxed);
    }

    /// A request whose arguments are on the sandbox's account for as long as anybody holds them.
    fn request(&self, target: Target, args: Vec<u8>) -> Result<Request, Error> {
        Ok(Request {
            target,
            args: self.charged(args)?,
            deadline: self.deadline,
            cancel: self.over.child_token(),
        })
    }

    fn charged(&self, bytes: Vec<u8>) -> Result<Bytes, Error> {
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        let charge = self.account.charge(bytes.len() as u64);
        charge.map(|charge| charge.hold(bytes)).map_err(no_room)
    }
}

/// What the caller may hold is taken; the same for arguments that wait and for results.
fn no_room(hit: LimitHit) -> Error {
    match hit {
        LimitHit::NodeMemory => Error::new(
            ErrorKind::Unavailable,
            "the node is full: it has no memory left for this call",
        )
        .hint("try again later"),
        _ => Error::new(
            ErrorKind::Budget,
            "arguments and results of calls that were not dropped take more than the memory limit",
        )
        .hint("drop calls whose results were taken, or make fewer at once"),
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
