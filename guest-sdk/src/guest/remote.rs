//! Calls from inside a guest, over the imports of `lydian:calls`.
//!
//! A call is begun when its future is first polled and waited for when it is polled again. So several futures that are
//! polled together (`join!`) are under way together, although each wait blocks the guest.

use super::calls::{self, Mapping, Pending};
use crate::map::Options;
use crate::name::Name;
use crate::{Error, ErrorKind, Result};
use lydian_value::{Args, FuncType, Limits, Wit};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Inputs of a map that may be under way: what every node allows.
const WINDOW: usize = 256;
/// Results that are taken at once.
const TAKEN: u32 = 64;

/// Guests have one thread.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

/// A guest calls others over the platform only.
#[derive(Debug)]
pub struct Local<A, R>(PhantomData<fn(A) -> R>);

impl<A, R> Clone for Local<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R> Copy for Local<A, R> {}

/// Forgets the plain function.
pub const fn local<A, R>(_: fn(A) -> R) -> Local<A, R> {
    Local(PhantomData)
}

/// Runs a future of this crate to its end; those of guests never wait for anything but themselves.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

/// Lets others be polled before this goes on.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What the platform bounds already.
fn limits() -> Limits {
    Limits {
        bytes: usize::MAX,
        ..Limits::default()
    }
}

fn encode<A: Args>(args: &A) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    args.encode(&mut out);
    Ok(out)
}

fn decode<R: Wit>(bytes: &[u8]) -> Result<R> {
    lydian_value::from_wire(bytes, &limits()).map_err(|error| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("the result is of another type: {error}"),
        )
    })
}

fn target(name: &Name) -> calls::Target<'_> {
    calls::Target {
        app: name.other_app(),
        function: name.function(),
    }
}

/// The caller's own functions have the types they were compiled with; those of others are asked for.
fn check<A: Args + 'static, R: Wit + 'static>(name: &Name) -> Result<()> {
    if name.other_app().is_none() || name.is_checked::<A, R>() {
        return Ok(());
    }
    let json = calls::type_of(target(name))?;
    let ty: FuncType = serde_json::from_str(&json).map_err(|error| {
        Error::new(
            ErrorKind::Unavailable,
            format!("the type of `{}` cannot be read: {error}", name.function()),
        )
    })?;
    let fits = A::matches(&ty).and_then(|()| ty.returns::<R>());
    fits.map_err(|error| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("`{}`: {error}", name.function()),
        )
    })?;
    name.checked::<A, R>();
    Ok(())
}

/// Calls a function and waits for its result.
pub async fn call<A: Args + 'static, R: Wit + 'static>(
    name: &Name,
    _: Option<Local<A, R>>,
    args: A,
) -> Result<R> {
    check::<A, R>(name)?;
    let pending: Pending = calls::start(target(name), &encode(&args)?)?;
    yield_now().await;
    decode(&pending.get()?)
}

/// A recorded call is known by its id alone.
#[derive(Debug, Clone)]
pub struct Handle;

impl Handle {
    /// What any call is asked through.
    pub async fn current() -> Result<Self> {
        Ok(Self)
    }
}

/// Records a call.
pub async fn spawn<A: Args + 'static, R: Wit + 'static>(
    name: &Name,
    _: Option<Local<A, R>>,
    args: A,
) -> Result<(String, Handle)> {
    check::<A, R>(name)?;
    Ok((calls::spawn(target(name), &encode(&args)?)?, Handle))
}

/// The result of a recorded call; none when it is not there in time.
pub async fn get<R: Wit>(_: &Handle, call: &str, timeout: Option<Duration>) -> Result<Option<R>> {
    let millis = timeout.map_or(u64::MAX, |timeout| {
        u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    });
    calls::get(call, millis)?.as_deref().map(decode).transpose()
}

/// Stops a recorded call.
pub async fn cancel(_: &Handle, call: &str) -> Result<()> {
    calls::cancel(call)
}

/// A map that is under way.
pub struct Running<'a, R> {
    inputs: Box<dyn Iterator<Item = Vec<u8>> + 'a>,
    /// None until the first input is there, and when it is over.
    mapping: Option<Mapping>,
    open: Option<Box<dyn FnOnce() -> Result<Mapping> + 'a>>,
    outstanding: usize,
    exhausted: bool,
    ready: VecDeque<calls::MapItem>,
    result: PhantomData<fn() -> R>,
}

/// Begins a map, once it is polled.
pub fn map<'a, A: Args + 'static, R: Wit + 'static>(
    name: Name,
    _: Option<Local<A, R>>,
    inputs: Box<dyn Iterator<Item = A> + Send + 'a>,
    options: Options,
) -> Running<'a, R> {
    let encoded = inputs.map(|input| {
        let mut out = Vec::new();
        input.encode(&mut out);
        out
    });
    Running {
        inputs: Box::new(encoded),
        mapping: None,
        open: Some(Box::new(move || {
            check::<A, R>(&name)?;
            Mapping::open(
                target(&name),
                options.ordered,
                options.return_errors,
                options.max_parallel,
            )
        })),
        outstanding: 0,
        exhausted: false,
        ready: VecDeque::new(),
        result: PhantomData,
    }
}

impl<R: Wit> Running<'_, R> {
    /// The next input's outcome; an error is the map's own.
    pub fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<(u64, Result<R>)>>> {
        let item = match self.step() {
            Ok(item) => item,
            Err(error) => {
                self.end();
                return Poll::Ready(Some(Err(error)));
            }
        };
        Poll::Ready(item.map(|item| {
            let index = item.index;
            Ok((index, item.outcome().and_then(|bytes| decode(&bytes))))
        }))
    }

    fn step(&mut self) -> Result<Option<calls::MapItem>> {
        if let Some(item) = self.ready.pop_front() {
            return Ok(Some(item));
        }
        self.fill()?;
        let Some(mapping) = &self.mapping else {
            return Ok(None);
        };
        self.ready.extend(mapping.next(TAKEN)?);
        self.outstanding = self.outstanding.saturating_sub(self.ready.len());
        if self.ready.is_empty() {
            self.end();
        }
        Ok(self.ready.pop_front())
    }

    /// Hands over as many inputs as may be under way.
    fn fill(&mut self) -> Result<()> {
        if self.exhausted {
            return Ok(());
        }
        let room = WINDOW - self.outstanding.min(WINDOW);
        let inputs: Vec<Vec<u8>> = self.inputs.by_ref().take(room).collect();
        self.exhausted = inputs.len() < room;
        if !inputs.is_empty() {
            if let Some(open) = self.open.take() {
                self.mapping = Some(open()?);
            }
            if let Some(mapping) = &self.mapping {
                mapping.push(&inputs)?;
                self.outstanding += inputs.len();
            }
        }
        if self.exhausted
            && let Some(mapping) = &self.mapping
        {
            mapping.finish();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.mapping = None;
        self.open = None;
        self.exhausted = true;
        self.ready.clear();
    }
}
