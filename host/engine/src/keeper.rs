//! A sandbox that outlives a call: its store and instance, and the limits that hold over all of its calls.
//!
//! Each call has the limits of a call: time and CPU anew, memory and handles over the whole life. The first call that does
//! not end by itself makes the sandbox unusable: what it left behind is not to be trusted.

use crate::codec::{self, Args};
use crate::component::{Function, Loaded};
use crate::current::{self, Current, WrongAbi};
use crate::engine::Engine;
use crate::handles;
use crate::invoke::{Call, Invocation, finish, retire};
use crate::ledger::Account;
use crate::limit::LimitHit;
use crate::outcome::{Failure, FailureKind, Outcome, Start, Usage};
use crate::sandbox::{self, Ctx};
use crate::watch::{End, watch};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

/// What a sandbox holds between calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Memories, tables and host bytes, summed.
    pub memory_bytes: u64,
    /// Host resources that the guest has not closed.
    pub handles: usize,
}

/// A sandbox and what it has done so far.
pub(crate) struct Keeper {
    component: Arc<Loaded>,
    pub(crate) call: Call,
    /// `None` only while it is dropped.
    store: Option<Store<Ctx>>,
    instance: Instance,
    current: Option<Box<Current>>,
    calls: u64,
}

impl Keeper {
    /// Instantiates the component of `call`'s function, under its limits.
    pub(crate) async fn start(
        mut call: Call,
        engine: &Engine,
        account: &Account,
    ) -> Result<Keeper, Failure> {
        let started = Instant::now();
        let deadline = started + call.limits.timeout;
        let mut store = call.store(account, deadline);
        let component = call.invocation.function.loaded().clone();
        let start = sandbox::instantiate(&mut store, &component.pre);
        let cancel = &call.invocation.cancel;
        let current = call.current(engine, deadline);
        let (end, current) = watch(start, current, started, deadline, cancel).await;
        call.usage.instantiate = started.elapsed();
        match call.result(end, &store) {
            Ok(instance) => Ok(Keeper {
                component,
                call,
                store: Some(store),
                instance,
                current,
                calls: 0,
            }),
            Err(failure) => {
                retire(store);
                Err(failure)
            }
        }
    }

    /// As [`Keeper::call`], with the call's own time limits, output, cancellation and calls.
    pub(crate) async fn turn(&mut self, engine: &Engine, turn: Invocation) -> Outcome {
        let limits = turn.limits.resolved(engine.limits(), engine.limits_max());
        self.call.limits.timeout = limits.timeout;
        self.call.limits.cpu = limits.cpu;
        let own = &mut self.call.invocation;
        (own.cancel, own.calls) = (turn.cancel, turn.calls);
        if let Some(store) = &self.store {
            store.data().output.renew(turn.output);
        }
        self.call(turn.function, turn.args).await
    }

    /// Whether it can be called once more.
    pub(crate) fn is_usable(&self) -> bool {
        self.current.is_some()
    }

    /// What it holds now.
    pub(crate) fn held(&mut self) -> Held {
        let Some(store) = &mut self.store else {
            return Held::default();
        };
        let data = store.data_mut();
        Held {
            memory_bytes: data.account().used(),
            handles: data.table.iter_mut().count(),
        }
    }

    pub(crate) async fn call(&mut self, function: Function, args: Bytes) -> Outcome {
        self.call.invocation.function = function;
        self.call.usage = self.usage(args.len());
        if let Err(failure) = self.check(&args) {
            return Outcome {
                result: Err(failure),
                usage: self.call.usage,
            };
        }
        self.calls += 1;
        let (Some(mut current), Some(store)) = (self.current.take(), &mut self.store) else {
            return Outcome {
                result: Err(over(self.call.name())),
                usage: self.call.usage,
            };
        };
        let started = Instant::now();
        let deadline = started + self.call.limits.timeout;
        current.renew(self.call.limits.cpu, deadline);
        let calls = self.call.invocation.calls.as_ref();
        store.data_mut().may_call(calls, deadline);
        let function = &self.call.invocation.function;
        let body = call_in(store, &self.instance, function, args);
        let (end, current) = watch(
            body,
            current,
            started,
            deadline,
            &self.call.invocation.cancel,
        )
        .await;
        self.call.usage.run = started.elapsed();
        if let End::Done(Err(error)) = &end
            && let Some(WrongAbi { is_async }) = error.downcast_ref()
        {
            // For the next sandbox: this one cannot be entered again.
            function.export().learn(*is_async);
        }
        let ended_well = matches!(end, End::Done(Ok(_)));
        let result = self.call.result(end, store);
        self.call.account(store, current.as_deref());
        store.data_mut().calling = None;
        if let Ok(bytes) = &result {
            self.call.usage.bytes_out += bytes.len() as u64;
        }
        self.current = current.filter(|_| ended_well);
        Outcome {
            result,
            usage: self.call.usage,
        }
    }

    /// Runs the destructor of a guest's resource, under the limits of a call.
    pub(crate) async fn drop_handle(&mut self, handle: u32) -> Result<(), Failure> {
        let (Some(mut current), Some(store)) = (self.current.take(), &mut self.store) else {
            return Err(over("drop"));
        };
        if current.handle(handle).is_none() {
            self.current = Some(current);
            return Err(handles::unknown(handle));
        }
        let started = Instant::now();
        let deadline = started + self.call.limits.timeout;
        current.renew(self.call.limits.cpu, deadline);
        let body = async {
            match current::take_handle(handle, true) {
                Some(resource) => resource.resource_drop_async(&mut *store).await,
                None => Ok(()),
            }
        };
        let cancel = &self.call.invocation.cancel;
        let (end, current) = watch(body, current, started, deadline, cancel).await;
        let ended_well = matches!(end, End::Done(Ok(())));
        self.current = current.filter(|_| ended_well);
        self.call.result(end, store)
    }

    /// Refuses what cannot be lowered before the guest is entered: a call that fails half-way ends the session.
    fn check(&mut self, args: &[u8]) -> Result<(), Failure> {
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
        let (Some(store), Some(current)) = (&mut self.store, &self.current) else {
            return Ok(());
        };
        // An export that is lost is told of by the call.
        let Ok(func) = sandbox::export(&self.instance, store, function.export()) else {
            return Ok(());
        };
        let actual = func.ty(&*store);
        handles::check(function.ty(), &actual, &values, |handle| {
            current.handle(handle)
        })
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

pub(crate) fn over(function: &str) -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        format!("cannot call `{function}`: the session is over"),
    )
    .hint("open another session; one ends with the first call that traps or reaches a limit")
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            retire(store);
        }
    }
}

/// One call in an instance that is there.
async fn call_in(
    store: &mut Store<Ctx>,
    instance: &Instance,
    function: &Function,
    args: Bytes,
) -> wasmtime::Result<Bytes> {
    let args = Args::charged(store.data(), args)?;
    let export = function.export();
    let func = sandbox::export(instance, store, export)?;
    current::begin(export.plan.clone(), export.is_async());
    let result = codec::call(store, func, export.flats(), args).await;
    finish(store, function, result).await
}
