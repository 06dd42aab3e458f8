//! Several calls in one sandbox, with the guest's resources as handles.
//!
//! A session is a task on a sandbox thread that owns the store; [`Session`] sends it one request after the other. Each call has
//! the limits of a call: time and CPU anew, memory and handles over the whole session. The first call that does not end by
//! itself ends the session: what it left behind is not to be trusted.

use crate::calls::Calls;
use crate::component::{Component, Function};
use crate::engine::{AbortOnDrop, Engine};
use crate::grants::Grants;
use crate::invoke::{Admitted, Call, Invocation, Reserved};
use crate::keeper::{Keeper, over};
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind, Outcome, Usage};
use crate::output::OutputSink;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

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
    /// Memory that was reserved for its sandbox's start.
    pub memory: Reserved,
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
            memory: Reserved::default(),
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
            memory: options.memory,
        };
        let call = Call::new(self, invocation);
        let admitted = self.admit(&call).await?;
        let (requests, inbox) = mpsc::channel(1);
        let (opened, ready) = oneshot::channel();
        let stopped = || crate::invoke::stopped("session");
        let task = self
            .spawn(serve(inbox, call, admitted, opened))
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

/// The task of a session: one request after the other. Parameters are dropped last to first: the inbox, whose end
/// [`Session::close`] waits for, after the place in the pool.
async fn serve(
    mut inbox: mpsc::Receiver<Request>,
    call: Call,
    admitted: Admitted,
    opened: oneshot::Sender<Result<(), Failure>>,
) {
    let cancel = call.invocation.cancel.clone();
    let started = Keeper::start(call, admitted.engine(), admitted.account()).await;
    let mut keeper = match started {
        Ok(keeper) => keeper,
        Err(failure) => {
            // Whoever asked may have left.
            let _ = opened.send(Err(failure));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    loop {
        let request = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            request = inbox.recv() => request,
        };
        let Some(request) = request else { break };
        answer(&mut keeper, request).await;
        if !keeper.is_usable() {
            break;
        }
    }
}

async fn answer(keeper: &mut Keeper, request: Request) {
    match request {
        Request::Call {
            function,
            args,
            answer,
        } => {
            // Whoever asked may have left.
            let _ = answer.send(keeper.call(function, args).await);
        }
        Request::Drop { handle, answer } => {
            let _ = answer.send(keeper.drop_handle(handle).await);
        }
    }
}
