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
use crate::engine::{AbortOnDrop, Counters, Engine, on_sandbox_thread};
use crate::grants::Grants;
use crate::ledger::{Account, Charge};
use crate::limit::{self, LimitHit};
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind, Outcome, Usage};
use crate::output::OutputSink;
use crate::sandbox::{self, Ctx};
use crate::streams::{Finished, Items};
use crate::ticker::Running;
use crate::watch::{End, watch};
pub(crate) use body::finish;
use body::{Answer, Times, body, streaming_body};
use bytes::Bytes;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
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
    /// Memory that was reserved for its sandbox's start; none: the engine waits for some.
    pub memory: Reserved,
}

/// Memory reserved for one sandbox. The first that asks takes it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reserved(Option<Arc<Mutex<Option<Charge>>>>);

impl Reserved {
    /// Hands over what is charged.
    pub fn new(charge: Charge) -> Reserved {
        Reserved(Some(Arc::new(Mutex::new(Some(charge)))))
    }

    fn take(&self) -> Option<Charge> {
        self.0.as_ref().and_then(|charge| charge.lock().take())
    }
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
            memory: Reserved::default(),
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
        let may_be_short = function.is_quick() && call.invocation.args.len() <= SHORT_ARGS_BYTES;
        let mut run = Box::pin(call.run(admitted));
        if may_be_short
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

    /// Gives a call its first turn on the caller's thread: waking another one costs ten times what
    /// a quick function does. `None` when it has more to do, which then is for the sandbox threads;
    /// a guest gives way within a tick or two, and a result that takes longer to read is read where
    /// the thread's other tasks have been moved away (`codec/answer.rs`).
    fn at_once(&self, run: Pin<&mut impl Future<Output = Outcome>>) -> Option<Outcome> {
        // What it registers timers and sockets with.
        let may_move = Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
        let _runtime = self.enter()?;
        let turn = || run.poll(&mut Context::from_waker(Waker::noop()));
        let turn = match may_move {
            true => current::on_borrowed_thread(turn),
            // All of the program runs on this one thread, or none of it does: there is nobody to
            // make way for.
            false => turn(),
        };
        match turn {
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
    ///
    /// A node has reserved both the place and the memory before it asks, so this waits only where
    /// the engine is used without one; then first come, first served.
    pub(crate) async fn admit(&self, call: &Call) -> Result<Admitted, Failure> {
        if call.invocation.args.len() as u64 > call.limits.payload_bytes {
            return Err(call.at_limit(LimitHit::Arguments));
        }
        let component = call.invocation.function.loaded();
        let mut reserved = call.invocation.memory.take();
        if let Some(places) = self.free_places(component)
            && let Some(memory) = reserved.take().or_else(|| self.free_memory(call))
        {
            let account = Account::open(&self.0.ledger, call.limits.memory_bytes, Some(memory));
            return Ok(Admitted::new(self, places, account, Duration::ZERO));
        }
        let asked = Instant::now();
        let taken = tokio::select! {
            biased;
            taken = self.wait(call, reserved) => taken,
            () = call.invocation.cancel.cancelled() => return Err(cancelled(call.name())),
        };
        let (places, memory) = taken?;
        let account = Account::open(&self.0.ledger, call.limits.memory_bytes, Some(memory));
        Ok(Admitted::new(self, places, account, asked.elapsed()))
    }

    /// The common case: places that nobody waits for.
    fn free_places(&self, component: &Loaded) -> Option<Places> {
        let host = &component.host;
        let slots = host.slots.clone().try_acquire_many_owned(component.slots);
        let stacks = match &host.stacks {
            Some(stacks) => Some(
                stacks
                    .clone()
                    .try_acquire_many_owned(component.stacks)
                    .ok()?,
            ),
            None => None,
        };
        Some((slots.ok()?, stacks))
    }

    fn free_memory(&self, call: &Call) -> Option<Charge> {
        let start = call.invocation.function.initial_bytes() + call.invocation.args.len() as u64;
        self.0.ledger.charge(start.min(call.limits.memory_bytes))
    }

    /// First the places, then the memory, in this order everywhere, so that two callers never wait
    /// for each other. Memory is waited for only so long: what holds it may be waiting for this
    /// very call.
    async fn wait(
        &self,
        call: &Call,
        reserved: Option<Charge>,
    ) -> Result<(Places, Charge), Failure> {
        let gone = |_| stopped(call.name());
        let component = call.invocation.function.loaded();
        let host = &component.host;
        let slots = host.slots.clone().acquire_many_owned(component.slots);
        let slots = slots.await.map_err(gone)?;
        let stacks = match &host.stacks {
            Some(stacks) => {
                let stacks = stacks.clone().acquire_many_owned(component.stacks);
                Some(stacks.await.map_err(gone)?)
            }
            None => None,
        };
        let memory = match reserved {
            Some(reserved) => reserved,
            None => {
                let memory = tokio::time::timeout(MEMORY_WAIT, async {
                    loop {
                        let freed = self.0.ledger.freed();
                        match self.free_memory(call) {
                            Some(memory) => return memory,
                            None => freed.await,
                        }
                    }
                });
                let full = |_| call.at_limit(LimitHit::NodeMemory);
                memory.await.map_err(full)?
            }
        };
        Ok(((slots, stacks), memory))
    }
}

/// Slots, and stacks where they are counted apart.
type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Arguments of a call that may begin on the thread that asks for it.
const SHORT_ARGS_BYTES: usize = 64 << 10;

/// Longest wait for memory that other sandboxes hold.
const MEMORY_WAIT: Duration = Duration::from_secs(30);

/// A place in the engine. Dropping it gives everything back.
pub(crate) struct Admitted {
    pub(crate) queued: Duration,
    engine: Engine,
    counters: Arc<Counters>,
    /// Keeps the clock ticking; none while the sandbox rests.
    running: Option<Running>,
    /// The bytes of its sandbox.
    account: Account,
    _places: Places,
}

impl Admitted {
    fn new(engine: &Engine, places: Places, account: Account, queued: Duration) -> Admitted {
        let counters = engine.0.counters.clone();
        counters.live.fetch_add(1, Ordering::Relaxed);
        counters.calls.fetch_add(1, Ordering::Relaxed);
        Admitted {
            queued,
            engine: engine.clone(),
            counters,
            running: Some(engine.0.ticker.running()),
            account,
            _places: places,
        }
    }
}

impl Admitted {
    /// The bytes of its sandbox.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

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
            limits: invocation
                .limits
                .resolved(engine.limits(), engine.limits_max()),
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

    pub(crate) fn store(&self, account: &Account, deadline: Instant) -> Store<Ctx> {
        let mut ctx = Ctx::new(
            self.limits,
            self.invocation.grants.clone(),
            self.invocation.output.clone(),
            self.invocation.function.loaded().host.descriptors.clone(),
            account.clone(),
        );
        ctx.may_call(self.invocation.calls.as_ref(), deadline);
        sandbox::store(&self.invocation.function.loaded().host.wasmtime, ctx)
    }

    pub(crate) fn current(&self, engine: &Engine, deadline: Instant) -> Box<Current> {
        Current::new(&self.limits, &engine.0.ledger, deadline)
    }

    /// The whole sandbox, on a sandbox thread.
    async fn run(mut self, admitted: Admitted) -> Outcome {
        let engine = admitted.engine.clone();
        let started = Instant::now();
        let deadline = started + self.limits.timeout;
        loop {
            let mut store = self.store(&admitted.account, deadline);
            let mut times = Times::new(started);
            let call = body(&mut store, &self, &mut times);
            let cancel = &self.invocation.cancel;
            let current = self.current(&engine, deadline);
            let (end, current) = watch(call, current, started, deadline, cancel).await;
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
                    self.result(End::Done(Ok(Bytes::new())), &store)
                }
                end => self.result(end, &store),
            };
            times.write(current.as_deref(), &mut self.usage);
            self.account(&store, current.as_deref());
            retire(store);
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
        let engine = admitted.engine.clone();
        let started = Instant::now();
        let deadline = started + self.limits.timeout;
        let mut answer = Some(answer);
        loop {
            let mut store = self.store(&admitted.account, deadline);
            let mut times = Times::new(started);
            let call = streaming_body(&mut store, &self, &mut times, &mut answer);
            let cancel = &self.invocation.cancel;
            let current = self.current(&engine, deadline);
            let (end, current) = watch(call, current, started, deadline, cancel).await;
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
        self.usage.peak_memory_bytes = self.usage.peak_memory_bytes.max(data.account().peak());
        self.usage.output_bytes = data.output.written();
        self.usage.nested_calls = data.calling.as_ref().map_or(0, |calling| calling.made());
        if let Some(current) = current {
            self.usage.cpu = current.cpu();
            self.usage.bytes_out = current.bytes_out();
        }
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
