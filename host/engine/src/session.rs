//! Several calls in one sandbox, with the guest's resources as handles.
//!
//! A session is a task on a sandbox thread that owns the store; [`Session`] sends it one request after the other. Each call has
//! the limits of a call: time and CPU anew, memory and handles over the whole session. The first call that does not end by
//! itself ends the session: what it left behind is not to be trusted.

use crate::calls::Calls;
use crate::codec::{self, Args};
use crate::component::{Component, Function, Loaded};
use crate::current::{self, Current};
use crate::engine::{AbortOnDrop, Engine};
use crate::grants::Grants;
use crate::invoke::{Admitted, Call, Invocation, retire};
use crate::limit::LimitHit;
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind, Outcome, Start, Usage};
use crate::output::OutputSink;
use crate::sandbox::{self, Ctx};
use crate::streams;
use crate::watch::{End, watch};
use bytes::Bytes;
use lydian_value::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::component::Instance;
use wasmtime::{AsContextMut, Store};

/// What a session starts from.
#[derive(Clone)]
pub struct SessionOptions {
    /// Whose functions are called.
    pub component: Arc<Component>,
    /// What each call may use; memory and handles count over the whole session.
    pub limits: Limits,
    /// What it may reach.
    pub grants: Arc<Grants>,
    /// Where its output goes.
    pub output: OutputSink,
    /// Ends it early.
    pub cancel: CancellationToken,
    /// Carries out the calls that its functions make of others.
    pub calls: Option<Arc<dyn Calls>>,
}

impl SessionOptions {
    /// The engine's limits, no grants, output that nobody reads.
    pub fn new(component: Arc<Component>) -> SessionOptions {
        SessionOptions {
            component,
            limits: Limits::UNSET,
            grants: Arc::default(),
            output: OutputSink::discard(),
            cancel: CancellationToken::new(),
            calls: None,
        }
    }
}

/// A sandbox that lives over several calls. Dropping it stops the sandbox.
pub struct Session {
    requests: mpsc::Sender<Request>,
    _task: AbortOnDrop,
}

enum Request {
    Call {
        function: Function,
        args: Bytes,
        answer: oneshot::Sender<Outcome>,
    },
    Drop {
        handle: u32,
        answer: oneshot::Sender<Result<(), Failure>>,
    },
}

impl Engine {
    /// Opens a session: a place in the pool is taken and the component instantiated.
    ///
    /// # Errors
    /// The [`Failure`] of the component's start.
    pub async fn open(&self, options: SessionOptions) -> Result<Session, Failure> {
        let Some(first) = Function::first(&options.component) else {
            return Err(Failure::new(
                FailureKind::Arguments,
                "the component exports no functions",
            ));
        };
        let invocation = Invocation {
            function: first,
            args: Bytes::new(),
            limits: options.limits,
            grants: options.grants,
            output: options.output,
            cancel: options.cancel,
            calls: options.calls,
        };
        let call = Call::new(self, invocation);
        let admitted = self.admit(&call).await?;
        let (requests, inbox) = mpsc::channel(1);
        let (opened, ready) = oneshot::channel();
        let stopped = || crate::invoke::stopped("session");
        let task = self
            .spawn(Keeper::serve(inbox, call, admitted, opened))
            .ok_or_else(stopped)?;
        let task = AbortOnDrop(Some(task.abort_handle()));
        ready.await.map_err(|_| stopped())??;
        Ok(Session {
            requests,
            _task: task,
        })
    }
}

impl Session {
    /// Calls a function of the session's component. Streams in its result are closed.
    pub async fn call(&self, function: Function, args: Bytes) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let over = over(function.name());
        let sent = self
            .requests
            .send(Request::Call {
                function,
                args,
                answer,
            })
            .await;
        let outcome = match sent {
            Ok(()) => outcome.await.ok(),
            Err(_) => None,
        };
        outcome.unwrap_or(Outcome {
            result: Err(over),
            usage: Usage::default(),
        })
    }

    /// Drops a resource that a result has handed out; its destructor runs in the guest.
    ///
    /// # Errors
    /// [`FailureKind::Arguments`] for a handle that is not open, else the failure of the destructor, which ends the session.
    pub async fn drop_handle(&self, handle: u32) -> Result<(), Failure> {
        let (answer, dropped) = oneshot::channel();
        let gone = || over("drop");
        self.requests
            .send(Request::Drop { handle, answer })
            .await
            .map_err(|_| gone())?;
        dropped.await.map_err(|_| gone())?
    }

    /// Ends the session and waits until its place in the pool is free.
    pub async fn close(self) {
        let Session { requests, _task } = self;
        let drained = requests.clone();
        drop(requests);
        drop(_task);
        drained.closed().await;
    }
}

fn over(function: &str) -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        format!("cannot call `{function}`: the session is over"),
    )
    .hint("open another session; one ends with the first call that traps or reaches a limit")
}

/// The task that owns the sandbox.
struct Keeper {
    component: Arc<Loaded>,
    call: Call,
    store: Store<Ctx>,
    instance: Instance,
    current: Option<Box<Current>>,
    calls: u64,
}

impl Keeper {
    /// Parameters are dropped last to first: the inbox, whose end [`Session::close`] waits for, after the place in the pool.
    async fn serve(
        mut inbox: mpsc::Receiver<Request>,
        mut call: Call,
        _admitted: Admitted,
        opened: oneshot::Sender<Result<(), Failure>>,
    ) {
        let started = Instant::now();
        let deadline = started + call.limits.timeout;
        let mut store = call.store(deadline);
        let pre = call.invocation.function.loaded().clone();
        let start = sandbox::instantiate(&mut store, &pre.pre);
        let (end, current) = watch(
            start,
            call.current(),
            started,
            deadline,
            &call.invocation.cancel,
        )
        .await;
        call.usage.instantiate = started.elapsed();
        let instance = match call.result(end, &store) {
            Ok(instance) => instance,
            Err(failure) => {
                retire(store);
                // Whoever asked may have left.
                let _ = opened.send(Err(failure));
                return;
            }
        };
        let mut keeper = Keeper {
            component: pre,
            call,
            store,
            instance,
            current,
            calls: 0,
        };
        let _ = opened.send(Ok(()));
        let cancel = keeper.call.invocation.cancel.clone();
        loop {
            let request = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                request = inbox.recv() => request,
            };
            let Some(request) = request else { break };
            if !keeper.answer(request).await {
                break;
            }
        }
        retire(keeper.store);
    }

    /// Carries one request out; `false` when the session is over.
    async fn answer(&mut self, request: Request) -> bool {
        match request {
            Request::Call {
                function,
                args,
                answer,
            } => {
                let outcome = self.call(function, args).await;
                let go_on = outcome
                    .result
                    .as_ref()
                    .map_or_else(|failure| failure.kind == FailureKind::Arguments, |_| true);
                let _ = answer.send(outcome);
                go_on && self.current.is_some()
            }
            Request::Drop { handle, answer } => {
                let dropped = self.drop_handle(handle).await;
                let go_on = dropped
                    .as_ref()
                    .map_or_else(|failure| failure.kind == FailureKind::Arguments, |()| true);
                let _ = answer.send(dropped);
                go_on
            }
        }
    }

    async fn call(&mut self, function: Function, args: Bytes) -> Outcome {
        self.call.invocation.function = function;
        self.call.usage = self.usage(args.len());
        if let Err(failure) = self.check(&args) {
            return Outcome {
                result: Err(failure),
                usage: self.call.usage,
            };
        }
        self.calls += 1;
        let Some(mut current) = self.current.take() else {
            return Outcome {
                result: Err(over(self.call.name())),
                usage: self.call.usage,
            };
        };
        current.renew(self.call.limits.cpu);
        let started = Instant::now();
        let held = args.len();
        let deadline = started + self.call.limits.timeout;
        let calls = self.call.invocation.calls.as_ref();
        self.store.data_mut().may_call(calls, deadline);
        let body = call_in(
            &mut self.store,
            &self.instance,
            &self.call.invocation.function,
            args,
        );
        let (end, current) = watch(
            body,
            current,
            started,
            deadline,
            &self.call.invocation.cancel,
        )
        .await;
        self.call.usage.run = started.elapsed();
        self.store.data_mut().release(held);
        let ended_well = matches!(end, End::Done(Ok(_)));
        let result = self.call.result(end, &self.store);
        self.call.account(&self.store, current.as_deref());
        self.store.data_mut().calling = None;
        if let Ok(bytes) = &result {
            self.call.usage.bytes_out += bytes.len() as u64;
        }
        self.current = current.filter(|_| ended_well);
        Outcome {
            result: result.map(Bytes::from),
            usage: self.call.usage,
        }
    }

    /// Runs the destructor of a guest's resource, under the limits of a call.
    async fn drop_handle(&mut self, handle: u32) -> Result<(), Failure> {
        let Some(mut current) = self.current.take() else {
            return Err(over("drop"));
        };
        if !current.has_handle(handle) {
            self.current = Some(current);
            return Err(unknown(handle));
        }
        current.renew(self.call.limits.cpu);
        let store = &mut self.store;
        let body = async {
            match current::take_handle(handle, true) {
                Some(resource) => resource.resource_drop_async(store).await,
                None => Ok(()),
            }
        };
        let started = Instant::now();
        let deadline = started + self.call.limits.timeout;
        let cancel = &self.call.invocation.cancel;
        let (end, current) = watch(body, current, started, deadline, cancel).await;
        let ended_well = matches!(end, End::Done(Ok(())));
        self.current = current.filter(|_| ended_well);
        self.call.result(end, &self.store)
    }

    /// Refuses what cannot be lowered before the guest is entered: a call that fails half-way ends the session.
    fn check(&self, args: &[u8]) -> Result<(), Failure> {
        let function = &self.call.invocation.function;
        if !Arc::ptr_eq(function.loaded(), &self.component)
            && function.component() != self.component.digest
        {
            let text = format!(
                "function `{}` is not of the session's component",
                function.name()
            );
            return Err(Failure::new(FailureKind::Arguments, text));
        }
        if args.len() as u64 > self.call.limits.payload_bytes {
            return Err(self.call.at_limit(LimitHit::Arguments));
        }
        let malformed = |error: lydian_value::Error| {
            Failure::new(
                FailureKind::Arguments,
                format!("cannot call function `{}`: {error}", function.name()),
            )
        };
        let bounds = lydian_value::Limits {
            bytes: usize::MAX,
            ..lydian_value::Limits::default()
        };
        if !function.takes_handles() {
            return function.ty().check_args(args, &bounds).map_err(malformed);
        }
        let values = function
            .ty()
            .decode_args(args, &bounds)
            .map_err(malformed)?;
        let mut handles = Vec::new();
        values
            .iter()
            .for_each(|value| collect_handles(value, &mut handles));
        match handles.into_iter().find(|handle| {
            !self
                .current
                .as_ref()
                .is_some_and(|current| current.has_handle(*handle))
        }) {
            Some(handle) => Err(unknown(handle)),
            None => Ok(()),
        }
    }

    fn usage(&self, bytes_in: usize) -> Usage {
        let fresh = Usage {
            bytes_in: bytes_in as u64,
            ..Usage::default()
        };
        match self.calls {
            // The first call pays for the start, as it would have without a session.
            0 => Usage {
                bytes_in: bytes_in as u64,
                ..self.call.usage
            },
            _ => Usage {
                start: Start::Warm,
                ..fresh
            },
        }
    }
}

/// One call in an instance that is there.
async fn call_in(
    store: &mut Store<Ctx>,
    instance: &Instance,
    function: &Function,
    args: Bytes,
) -> wasmtime::Result<Vec<u8>> {
    store.data_mut().hold(args.len())?;
    let export = function.export();
    let func = sandbox::export(instance, store, export)?;
    current::begin(export.plan.clone(), export.is_async());
    let result = codec::call(store, func, export.flats(), Args(args)).await;
    let named = current::take_streams();
    if !named.is_empty() {
        streams::close(store.as_context_mut(), named)?;
    }
    result
}

fn unknown(handle: u32) -> Failure {
    Failure::new(FailureKind::Arguments, format!("handle {handle} is not open in this session"))
        .hint("handles come from results of the same session, and are gone once they are dropped or given away")
}

fn collect_handles(value: &Value, handles: &mut Vec<u32>) {
    match value {
        Value::Handle(handle) => handles.push(*handle),
        Value::List(items) | Value::Record(items) | Value::Tuple(items) => {
            items.iter().for_each(|item| collect_handles(item, handles));
        }
        Value::Map(entries) => entries.iter().for_each(|(key, value)| {
            collect_handles(key, handles);
            collect_handles(value, handles);
        }),
        Value::Variant(_, Some(payload)) | Value::Option(Some(payload)) => {
            collect_handles(payload, handles)
        }
        Value::Result(Ok(Some(payload)) | Err(Some(payload))) => collect_handles(payload, handles),
        _ => {}
    }
}
