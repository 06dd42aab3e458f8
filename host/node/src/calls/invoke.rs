//! One call, one answer: resolve, check, admit, run, record. No database on the way.

pub(crate) use crate::admission::MAX_DEPTH;
use crate::admission::Slot;
use crate::calls::nested::Nested;
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::{Call, Kind, NewCall};
use crate::calls::seat::Seat;
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use crate::resolve::Resolved;
use bytes::Bytes;
use lydian_api::size::MAX_PAYLOAD_BYTES;
use lydian_api::v1;
use lydian_engine::calls::Calls;
use lydian_engine::{
    Failure, FailureKind, Invocation, Limits, Outcome, OutputChunk, OutputSink, OutputStream,
    Reserved, Usage,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// A request that may run: its function is there, and its limits are decided.
pub(crate) struct Checked {
    pub(crate) target: Arc<Resolved>,
    pub(crate) limits: Limits,
}

/// A call that has begun. Dropped before its end, it is cancelled and recorded as such.
pub(crate) struct Running {
    pub(crate) call: Arc<Call>,
    core: Arc<Core>,
}

impl Core {
    /// `Calls.Invoke`.
    pub(crate) async fn invoke(
        self: &Arc<Self>,
        request: v1::InvokeRequest,
    ) -> Result<v1::InvokeResponse, Error> {
        let checked = self
            .check(request.target.as_ref(), request.limits.as_ref())
            .await?;
        let args = checked.arguments(request.args)?;
        let lineage =
            Lineage::of_client(request.target.as_ref(), request.depth, request.traceparent);
        let running = self.begin(Kind::Invoke, &checked, lineage);
        let printed = request.want_output.then(Captured::default);
        let outcome = match checked.refusal(&args, request.depth) {
            Some(failure) => running.refused(failure),
            None => match running.seat().await? {
                Ok(seat) => {
                    let sink = running.sink(printed.clone());
                    running.run(seat, args, sink).await
                }
                Err(failure) => running.refused(failure),
            },
        };
        let (stdout, stderr) = printed.map(|printed| printed.take()).unwrap_or_default();
        Ok(v1::InvokeResponse {
            call: running.call.id.to_string(),
            outcome: Some(convert::outcome(outcome)),
            stdout,
            stderr,
        })
    }

    /// Finds what a request names and decides its limits. See [`Core::limited`].
    pub(crate) async fn check(
        &self,
        target: Option<&v1::Target>,
        limits: Option<&v1::Limits>,
    ) -> Result<Checked, Error> {
        let target = self.resolver.function(target).await?;
        self.limited(target, limits)
    }

    /// A function with the limits one caller's calls of it have: what the deployment sets, else the node's, which the
    /// caller can only lower. Of a component that nobody deployed the caller decides, within what a message can carry.
    ///
    /// # Errors
    /// [`Error::AboveCeiling`] when the caller decides, and asks for more than the node gives to anyone.
    pub(crate) fn limited(
        &self,
        target: Arc<Resolved>,
        limits: Option<&v1::Limits>,
    ) -> Result<Checked, Error> {
        let node = self.limits();
        let caller = limits.map_or(Limits::UNSET, convert::limits_from);
        let limits = if target.place.app.is_empty() {
            if let Some(above) = caller.above(self.engine.limits_max()) {
                return Err(Error::above_ceiling(above));
            }
            let mut own = caller.or(&node);
            own.payload_bytes = own.payload_bytes.min(MAX_PAYLOAD_BYTES as u64);
            own
        } else {
            target.limits.or(&node).lowered_by(&caller)
        };
        // A version may have been deployed when the node allowed more.
        let limits = limits.lowered_by(self.engine.limits_max());
        Ok(Checked { target, limits })
    }

    /// Records that a call begins.
    pub(crate) fn begin(
        self: &Arc<Self>,
        kind: Kind,
        checked: &Checked,
        lineage: Lineage,
    ) -> Running {
        self.begin_with(kind, checked, lineage, CancellationToken::new())
    }

    /// As [`Core::begin`], of a call that ends with `cancel`.
    pub(crate) fn begin_with(
        self: &Arc<Self>,
        kind: Kind,
        checked: &Checked,
        lineage: Lineage,
        cancel: CancellationToken,
    ) -> Running {
        self.begin_as(NewCall {
            id: self.ids.next(crate::clock::now_ms()),
            kind,
            target: checked.target.clone(),
            limits: checked.limits,
            attempt: 1,
            lineage,
            cancel,
            log_bytes: self.options.call_log_bytes,
        })
    }

    /// As [`Core::begin`], of a call that was recorded before.
    pub(crate) fn begin_as(self: &Arc<Self>, call: NewCall) -> Running {
        let call = Arc::new(Call::new(call));
        self.recent.add(call.clone());
        call.target.live.running.fetch_add(1, Ordering::Relaxed);
        Running {
            call,
            core: self.clone(),
        }
    }
}

impl Checked {
    /// The arguments, checked against the function's type before anything is taken for them.
    pub(crate) fn arguments(&self, args: Bytes) -> Result<Bytes, Error> {
        let bounds = lydian_value::Limits {
            bytes: args.len().max(1),
            ..lydian_value::Limits::default()
        };
        match self.target.ty().check_args(&args, &bounds) {
            Ok(()) => Ok(args),
            Err(error) => Err(Error::Arguments {
                error,
                signature: format!("{}: {}", self.target.name(), self.target.ty().signature()),
            }),
        }
    }

    /// Why the call fails without a sandbox, if it does.
    pub(crate) fn refusal(&self, args: &Bytes, depth: u32) -> Option<Failure> {
        let name = self.target.name();
        if depth > MAX_DEPTH {
            let text = format!("function `{name}` was called over {MAX_DEPTH} calls deep");
            return Some(
                Failure::new(FailureKind::Depth, text)
                    .hint("look for functions that call each other in a circle"),
            );
        }
        let limit = self.limits.payload_bytes;
        if args.len() as u64 > limit {
            let text = format!(
                "the arguments of `{name}` take {} bytes, over the limit of {limit} bytes",
                args.len()
            );
            return Some(
                Failure::new(FailureKind::Payload, text)
                    .hint("deploy with a larger `payload`, or send less"),
            );
        }
        None
    }
}

impl Running {
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Runs the call where it has its place, and records how it ended.
    pub(crate) async fn run(&self, seat: Seat, args: Bytes, sink: OutputSink) -> Outcome {
        let invocation = self.invocation(args, sink);
        let call = self.core.run_in(seat, &self.call, invocation);
        let outcome = call.instrument(self.span()).await;
        self.ended(outcome)
    }

    /// Waits for a sandbox; a call that is cancelled in line fails without one.
    pub(crate) async fn slot(&self) -> Result<Result<Slot, Failure>, Error> {
        tokio::select! {
            biased;
            slot = self.core.admission.slot(self.call.need()) => slot.map(Ok).inspect_err(|error| {
                let failure = Failure::new(FailureKind::Interrupted, error.to_string());
                self.call.finished(Usage::default(), Some(failure));
            }),
            () = self.call.cancel.cancelled() => {
                let text = format!("function `{}` was cancelled while it waited for a sandbox", self.call.target.name());
                Ok(Err(Failure::new(FailureKind::Cancelled, text)))
            }
        }
    }

    /// What logs and traces say of the call. No payload, no secret.
    pub(crate) fn span(&self) -> Span {
        let (call, target) = (&self.call, &self.call.target);
        tracing::debug_span!(
            "call",
            id = %call.id,
            function = target.name(),
            digest = %target.digest.short(),
            environment = target.place.environment,
            app = target.place.app,
            traceparent = self.call.lineage.traceparent,
        )
    }

    /// What the engine is asked to run.
    pub(crate) fn invocation(&self, args: Bytes, output: OutputSink) -> Invocation {
        self.call.started();
        invocation(&self.core, &self.call, args, output)
    }

    /// Where the guest's output goes: the call's and the app's log, and `captured` when the caller wants it.
    pub(crate) fn sink(&self, captured: Option<Captured>) -> OutputSink {
        let call = self.call.clone();
        OutputSink::new(move |chunk| {
            if let Some(captured) = &captured {
                captured.push(&chunk);
            }
            call.printed(chunk);
        })
    }

    /// The same where a reader is attached to the call's log, for whom the guest waits.
    pub(crate) fn sink_for_reader(&self) -> OutputSink {
        let call = self.call.clone();
        self.sink(None).when(move || call.has_room())
    }

    /// Records how the call ended.
    pub(crate) fn ended(&self, mut outcome: Outcome) -> Outcome {
        if let Err(failure) = &mut outcome.result
            && failure.kind == FailureKind::Cancelled
            && self.call.is_interrupted()
        {
            *failure = interrupted(self.call.target.name());
        }
        self.call
            .finished(outcome.usage, outcome.result.as_ref().err().cloned());
        outcome
    }

    /// As [`Running::ended`], of a call that was stopped because nobody reads its answer.
    pub(crate) fn abandoned(&self, mut outcome: Outcome) {
        if let Err(failure) = &mut outcome.result
            && failure.kind == FailureKind::Cancelled
        {
            *failure = self.gone();
        }
        self.ended(outcome);
    }

    fn gone(&self) -> Failure {
        let name = self.call.target.name();
        let text = format!("function `{name}` was cancelled: its caller went away");
        Failure::new(FailureKind::Cancelled, text)
    }

    /// Records that the call failed before it had a sandbox.
    pub(crate) fn refused(&self, failure: Failure) -> Outcome {
        self.call.finished(Usage::default(), Some(failure.clone()));
        Outcome {
            result: Err(failure),
            usage: Usage::default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.call.running() {
            self.call.cancel.cancel();
            // What a sandbox has used went with the future that carried it.
            let usage = self.call.in_line().then(Usage::default);
            self.call.finished(usage, Some(self.gone()));
        }
        self.call
            .target
            .live
            .running
            .fetch_sub(1, Ordering::Relaxed);
        self.core.recent.ended(&self.call);
    }
}

/// The failure of a call that the node stopped under.
pub(crate) fn interrupted(function: &str) -> Failure {
    Failure::new(
        FailureKind::Interrupted,
        format!("function `{function}` was interrupted: the node stopped"),
    )
    .hint("call it again")
}

/// What the engine is asked to run for one input of a call.
pub(crate) fn invocation(
    core: &Arc<Core>,
    call: &Call,
    args: Bytes,
    output: OutputSink,
) -> Invocation {
    Invocation {
        function: call.target.function.clone(),
        args,
        limits: call.limits_now(),
        calls: calls(core, call),
        grants: call.grants(),
        output,
        cancel: call.cancel.clone(),
        memory: Reserved::default(),
    }
}

/// What carries out the calls that a call's function makes; none when it can make none.
pub(crate) fn calls(core: &Arc<Core>, call: &Call) -> Option<Arc<dyn Calls>> {
    let wanted = call.target.function.makes_calls();
    wanted.then(|| Arc::new(Nested::new(core, call)) as Arc<dyn Calls>)
}

/// Output kept for the caller; the output limit bounds it.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);

impl Captured {
    fn push(&self, chunk: &OutputChunk) {
        let mut kept = self.0.lock();
        match chunk.stream {
            OutputStream::Stdout => kept.0.extend_from_slice(&chunk.data),
            OutputStream::Stderr => kept.1.extend_from_slice(&chunk.data),
        }
    }

    fn take(&self) -> (Bytes, Bytes) {
        let (stdout, stderr) = std::mem::take(&mut *self.0.lock());
        (stdout.into(), stderr.into())
    }
}
