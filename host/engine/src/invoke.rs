//! One call in a sandbox of its own, from admission to the returned slot.
//!
//! ```text
//! admit: payload limit -> node-wide budget -> slots     on the caller's thread; waiting here is `queue`
//! run:   store -> instance -> lower -> guest -> lift    on a sandbox thread, under the watch
//! done:  usage read, store dropped, slots returned      whatever happened before
//! ```
//!
//! Always true: what was taken is given back by a destructor, so counters are exact whichever way a call ends; a sandbox
//! that did not end by itself is dropped, never used again.

mod body;

use crate::calls::Calls;
use crate::component::{Function, Loaded};
use crate::current::{self, Current, WrongAbi};
use crate::engine::{AbortOnDrop, Counters, Engine, PAYLOAD_PERMIT_BYTES, on_sandbox_thread};
use crate::grants::Grants;
use crate::limit::{self, LimitHit};
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind, Outcome, Usage};
use crate::output::OutputSink;
use crate::sandbox::{self, Ctx};
use crate::streams::{Finished, Items};
use crate::ticker::Running;
use crate::watch::{End, watch};
use body::{Answer, Times, body, streaming_body};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

/// One call.
#[derive(Clone)]
pub struct Invocation {
    /// What to call.
    pub function: Function,
    /// The wire encoding of its arguments.
    pub args: Bytes,
    /// What it may use; what is not set is the engine's default.
    pub limits: Limits,
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// Where its output goes.
    pub output: OutputSink,
    /// Ends it early.
    pub cancel: CancellationToken,
    /// Carries out the calls that it makes of other functions; none: they are told that nobody does.
    pub calls: Option<Arc<dyn Calls>>,
}

impl Invocation {
    /// A call with the engine's limits and no grants, whose output nobody reads.
    pub fn new(function: Function, args: impl Into<Bytes>) -> Invocation {
        Invocation {
            function,
            args: args.into(),
            limits: Limits::UNSET,
            grants: Arc::default(),
            output: OutputSink::discard(),
            cancel: CancellationToken::new(),
            calls: None,
        }
    }
}

/// `calls` has no form worth reading.
impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invocation")
            .field("function", &self.function)
            .field("limits", &self.limits)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// A call that has answered, and what still follows.
pub struct Run {
    /// The answer. Its usage is up to here.
    pub outcome: Outcome,
    /// Items of the streams that the answer names.
    pub items: Option<Items>,
}

impl Engine {
    /// Calls a function in a fresh sandbox. Streams in its result are closed; use [`Engine::run`] for them.
    ///
    /// Dropping the future stops the sandbox.
    pub async fn invoke(&self, invocation: Invocation) -> Outcome {
        self.start(invocation, false).await.outcome
    }

    /// Calls a function in a fresh sandbox, which lives on while streams of the result are read.
    pub async fn run(&self, invocation: Invocation) -> Run {
        let wanted = invocation.function.has_streams();
        self.start(invocation, wanted).await
    }

    async fn start(&self, invocation: Invocation, streams: bool) -> Run {
        let mut call = Call::new(self, invocation);
        let admitted = match self.admit(&call).await {
            Ok(admitted) => admitted,
            Err(failure) => {
                return Run {
                    outcome: Outcome {
                        result: Err(failure),
                        usage: call.usage,
                    },
                    items: None,
                };
            }
        };
        call.usage.queue = admitted.queued;
        if streams {
            return self.stream(call, admitted).await;
        }
        Run {
            outcome: self.on_sandbox_thread(call, admitted).await,
            items: None,
        }
    }

    async fn on_sandbox_thread(&self, call: Call, admitted: Admitted) -> Outcome {
        let inside = current::is_set();
        if on_sandbox_thread() && !inside {
            return call.run(admitted).await;
        }
        let (function, usage) = (call.invocation.function.clone(), call.usage);
        let lost = |usage| Outcome {
            result: Err(stopped(function.name())),
            usage,
        };
        let mut run = Box::pin(call.run(admitted));
        if function.export().pace.is_quick()
            && !inside
            && let Some(outcome) = self.at_once(run.as_mut())
        {
            return outcome;
        }
        let Some(task) = self.spawn(run) else {
            return lost(usage);
        };
        let _abort = AbortOnDrop(Some(task.abort_handle()));
        task.await.unwrap_or_else(|_| lost(usage))
    }

    /// Gives a call its first turn on the caller's thread: waking another one costs ten times what a quick function does.
    /// `None` when it has more to do, which then is for the sandbox threads; a guest gives way within a tick or two.
    fn at_once(&self, run: Pin<&mut impl Future<Output = Outcome>>) -> Option<Outcome> {
        // What it registers timers and sockets with.
        let _runtime = self.enter()?;
        match run.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    async fn stream(&self, call: Call, admitted: Admitted) -> Run {
        let (name, usage) = (call.name().to_owned(), call.usage);
        let (answer, answered) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        let lost = || Run {
            outcome: Outcome {
                result: Err(stopped(&name)),
                usage,
            },
            items: None,
        };
        let Some(task) = self.spawn(call.stream(admitted, answer, done)) else {
            return lost();
        };
        let abort = AbortOnDrop(Some(task.abort_handle()));
        match answered.await {
            Ok((outcome, readers)) if readers.is_empty() => Run {
                outcome,
                items: None,
            },
            Ok((outcome, readers)) => Run {
                outcome,
                items: Some(Items::new(readers, finished, abort)),
            },
            Err(_) => lost(),
        }
    }

    /// Waits for a place. What is taken is in the answer, and given back when that is dropped.
    pub(crate) async fn admit(&self, call: &Call) -> Result<Admitted, Failure> {
        if call.invocation.args.len() as u64 > call.limits.payload_bytes {
            return Err(call.at_limit(LimitHit::Arguments));
        }
        let component = call.invocation.function.loaded();
        if let Some(slots) = self.take_free(component, call.invocation.args.len()) {
            return Ok(Admitted::new(self, slots, None, Duration::ZERO));
        }
        let asked = Instant::now();
        let take = self.take(component, call.invocation.args.len());
        let taken = tokio::select! {
            biased;
            taken = take => taken,
            () = call.invocation.cancel.cancelled() => return Err(cancelled(call.name())),
        };
        let (slots, payload) = taken.ok_or_else(|| stopped(call.name()))?;
        let queued = asked.elapsed();
        Ok(Admitted::new(self, slots, payload, queued))
    }

    /// The common case: few bytes, and free slots that nobody waits for.
    fn take_free(&self, component: &Loaded, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes >= PAYLOAD_PERMIT_BYTES {
            return None;
        }
        let host = &component.host;
        let slots = component.slots.min(host.places);
        host.slots.clone().try_acquire_many_owned(slots).ok()
    }

    /// First the bytes, then the slots, in this order everywhere, so that two callers never wait for each other.
    async fn take(
        &self,
        component: &Loaded,
        bytes: usize,
    ) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let permits = u32::try_from(bytes / PAYLOAD_PERMIT_BYTES)
            .unwrap_or(u32::MAX)
            .min(self.0.payload_permits);
        let payload = match permits {
            0 => None,
            permits => Some(
                self.0
                    .payload
                    .clone()
                    .acquire_many_owned(permits)
                    .await
                    .ok()?,
            ),
        };
        let host = &component.host;
        let slots = component.slots.min(host.places);
        Some((
            host.slots.clone().acquire_many_owned(slots).await.ok()?,
            payload,
        ))
    }
}

/// A place in the engine. Dropping it gives everything back.
pub(crate) struct Admitted {
    pub(crate) queued: Duration,
    engine: Engine,
    counters: Arc<Counters>,
    /// Keeps the clock ticking; none while the sandbox rests.
    running: Option<Running>,
    _slots: OwnedSemaphorePermit,
    _payload: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    fn new(
        engine: &Engine,
        slots: OwnedSemaphorePermit,
        payload: Option<OwnedSemaphorePermit>,
        queued: Duration,
    ) -> Admitted {
        let counters = engine.0.counters.clone();
        counters.live.fetch_add(1, Ordering::Relaxed);
        counters.calls.fetch_add(1, Ordering::Relaxed);
        Admitted {
            queued,
            engine: engine.clone(),
            counters,
            running: Some(engine.0.ticker.running()),
            _slots: slots,
            _payload: payload,
        }
    }
}

impl Admitted {
    /// Lets the clock stop: nothing runs in the sandbox until it is woken.
    pub(crate) fn rest(&mut self) {
        self.running = None;
    }

    /// Something runs again.
    pub(crate) fn wake(&mut self, engine: &Engine) {
        self.running = Some(engine.0.ticker.running());
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.counters.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call with its limits decided, and what it has used so far.
pub(crate) struct Call {
    pub(crate) invocation: Invocation,
    pub(crate) limits: Limits,
    pub(crate) usage: Usage,
}

impl Call {
    pub(crate) fn new(engine: &Engine, invocation: Invocation) -> Call {
        let prepared = invocation.function.prepared();
        let usage = Usage {
            load: prepared.load,
            compile: prepared.compile,
            start: prepared.start,
            bytes_in: invocation.args.len() as u64,
            ..Usage::default()
        };
        Call {
            limits: invocation.limits.resolved(engine.limits()),
            usage,
            invocation,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.invocation.function.name()
    }

    pub(crate) fn at_limit(&self, hit: LimitHit) -> Failure {
        limit::at_limit(self.name(), &self.limits, hit)
    }

    pub(crate) fn store(&self, deadline: Instant) -> Store<Ctx> {
        let mut ctx = Ctx::new(
            self.limits,
            self.invocation.grants.clone(),
            self.invocation.output.clone(),
            self.invocation.function.loaded().host.descriptors.clone(),
        );
        ctx.may_call(self.invocation.calls.as_ref(), deadline);
        sandbox::store(&self.invocation.function.loaded().host.wasmtime, ctx)
    }

    pub(crate) fn current(&self) -> Box<Current> {
        let payload = usize::try_from(self.limits.payload_bytes).unwrap_or(usize::MAX);
        Current::new(payload, self.limits.handles, self.limits.cpu)
    }

    /// The whole sandbox, on a sandbox thread.
    async fn run(mut self, admitted: Admitted) -> Outcome {
        let engine = admitted.engine.clone();
        let started = Instant::now();
        let deadline = started + self.limits.timeout;
        loop {
            let mut store = self.store(deadline);
            let mut times = Times::new(started);
            let call = body(&mut store, &self, &mut times);
            let cancel = &self.invocation.cancel;
            let (end, current) = watch(call, self.current(), started, deadline, cancel).await;
            self.invocation.function.export().pace.note(
                times.total(current.as_deref()),
                matches!(end, End::Done(Ok(_))),
            );
            let result = match end {
                End::Done(Err(error)) if error.is::<WrongAbi>() => {
                    // Only now is it known how the function is lifted; nothing of it has run yet.
                    self.relearn(&error);
                    continue;
                }
                End::Done(Err(error)) if self.left_well(&error) => {
                    self.result(End::Done(Ok(Vec::new())), &store)
                }
                end => self.result(end, &store),
            };
            times.write(current.as_deref(), &mut self.usage);
            self.account(&store, current.as_deref());
            retire(store);
            let result = self.hand_out(&engine, result);
            if let Ok(bytes) = &result {
                self.usage.bytes_out += bytes.len() as u64;
            }
            return Outcome {
                result,
                usage: self.usage,
            };
        }
    }

    /// The same for a call whose streams are read. `answer` gets the result, `done` how the sandbox ended.
    async fn stream(
        mut self,
        admitted: Admitted,
        answer: oneshot::Sender<Answer>,
        done: oneshot::Sender<Finished>,
    ) {
        let _held = admitted;
        let started = Instant::now();
        let deadline = started + self.limits.timeout;
        let mut answer = Some(answer);
        loop {
            let mut store = self.store(deadline);
            let mut times = Times::new(started);
            let call = streaming_body(&mut store, &self, &mut times, &mut answer);
            let cancel = &self.invocation.cancel;
            let (end, current) = watch(call, self.current(), started, deadline, cancel).await;
            let result = match end {
                End::Done(Err(error)) if error.is::<WrongAbi>() => {
                    self.relearn(&error);
                    continue;
                }
                End::Done(Err(error)) if self.left_well(&error) => {
                    self.result(End::Done(Ok(())), &store)
                }
                end => self.result(end, &store),
            };
            times.write(current.as_deref(), &mut self.usage);
            self.account(&store, current.as_deref());
            retire(store);
            // Whoever asked may have left. Who exited well has no result, so there is nothing else to send.
            if let Some(answer) = answer {
                let outcome = Outcome {
                    result: result.clone().map(|()| Bytes::new()),
                    usage: self.usage,
                };
                let _ = answer.send((outcome, Vec::new()));
            }
            let _ = done.send(Finished {
                usage: self.usage,
                failure: result.err(),
            });
            return;
        }
    }

    /// A function without a result that exits with status 0 has done what it was called for, as a command has.
    fn left_well(&self, error: &wasmtime::Error) -> bool {
        self.invocation.function.ty().result.is_none() && limit::exited_well(error)
    }

    fn relearn(&self, error: &wasmtime::Error) {
        if let Some(WrongAbi { is_async }) = error.downcast_ref() {
            self.invocation.function.export().learn(*is_async);
        }
    }

    pub(crate) fn result<T>(
        &self,
        end: End<wasmtime::Result<T>>,
        store: &Store<Ctx>,
    ) -> Result<T, Failure> {
        store.data().output.finish();
        match end {
            End::Done(Ok(value)) => Ok(value),
            End::Done(Err(error)) => Err(limit::failure(
                self.name(),
                &self.limits,
                &error,
                store.data().circumstances(),
            )),
            End::Limit(hit) => Err(self.at_limit(hit)),
            End::Cancelled => Err(cancelled(self.name())),
            End::Panicked(message) => {
                tracing::warn!(function = self.name(), message, "a host function panicked");
                let text = format!(
                    "a host function that function `{}` called failed unexpectedly",
                    self.name()
                );
                Err(Failure::new(FailureKind::HostPanic, text)
                    .hint("this is a bug in the platform, please report it"))
            }
        }
    }

    pub(crate) fn account(&mut self, store: &Store<Ctx>, current: Option<&Current>) {
        let data = store.data();
        self.usage.peak_memory_bytes = self.usage.peak_memory_bytes.max(data.peak_memory_bytes());
        self.usage.output_bytes = data.output.written();
        self.usage.nested_calls = data.calling.as_ref().map_or(0, |calling| calling.made());
        if let Some(current) = current {
            self.usage.cpu = current.cpu();
            self.usage.bytes_out = current.bytes_out();
        }
    }

    /// Large results count against the node-wide budget until the caller has dropped them.
    fn hand_out(
        &self,
        engine: &Engine,
        result: Result<Vec<u8>, Failure>,
    ) -> Result<Bytes, Failure> {
        let bytes = result?;
        let permits = u32::try_from(bytes.len() / PAYLOAD_PERMIT_BYTES).unwrap_or(u32::MAX);
        if permits == 0 {
            return Ok(bytes.into());
        }
        match engine.0.payload.clone().try_acquire_many_owned(permits) {
            Ok(permit) => Ok(Bytes::from_owner(Counted {
                bytes,
                _permit: permit,
            })),
            Err(_) => Err(self.at_limit(LimitHit::NodePayload)),
        }
    }
}

/// Bytes that hold on to their share of the budget.
struct Counted {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Drops a store where a destructor that panics costs nothing but a line in the log.
pub(crate) fn retire(store: Store<Ctx>) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(store)));
    if dropped.is_err() {
        tracing::warn!("dropping a sandbox panicked");
    }
}

pub(crate) fn cancelled(function: &str) -> Failure {
    Failure::new(
        FailureKind::Cancelled,
        format!("function `{function}` was cancelled"),
    )
}

/// The engine went away under the call.
pub(crate) fn stopped(function: &str) -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        format!("function `{function}` was interrupted: the node is stopping"),
    )
    .hint("call it again")
}
