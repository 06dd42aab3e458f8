//! Several calls in one sandbox, with resources as handles.
//!
//! A session holds one slot as long as it is open, so an idle one is closed: its client may be gone without
//! the network having noticed.

use crate::admission::Slot;
use crate::calls::invoke::{Checked, Running, calls};
use crate::calls::log::Follower;
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::Kind;
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::resolve::Ready;
use futures::{Stream, StreamExt};
use lydian_api::v1::session_request::Part as Asked;
use lydian_api::v1::session_response::Part as Said;
use lydian_api::v1::{
    self, LogChunk, SessionCall, SessionDrop, SessionOpen, SessionOpened, SessionRequest,
    SessionResponse, SessionResult, Target,
};
use lydian_engine::{
    Component, Failure, FailureKind, Function, Grants, Outcome, Session, SessionOptions, Usage,
};
use lydian_value::FuncType;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::Instrument;

/// A session nobody used for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// Answers made ahead of a slow reader.
const ANSWERS_AHEAD: usize = 4;

/// Why a session ended that its client did not end.
const CANCELLED: &str = "the session was cancelled";
const GONE: &str = "the session's client went away";

type Answers = mpsc::Sender<Result<SessionResponse, Status>>;

/// One open session and its client.
struct Open {
    session: Session,
    component: Arc<Component>,
    manifest: Arc<Manifest>,
    running: Running,
    log: Follower,
    answers: Answers,
    limits: lydian_engine::Limits,
    used: Usage,
    // Passed on when the session is over.
    slot: Option<Slot>,
}

impl Core {
    /// `Calls.Session`, from its first message on. `requests` are the messages that follow it.
    pub(crate) async fn session<R>(
        self: &Arc<Self>,
        open: SessionOpen,
        requests: R,
    ) -> Result<mpsc::Receiver<Result<SessionResponse, Status>>, Error>
    where
        R: Stream<Item = Result<SessionRequest, Status>> + Send + Unpin + 'static,
    {
        let target = open
            .target
            .ok_or_else(|| Error::invalid("open.target", "is missing"))?;
        let (ready, component) = self.resolver.ready(&target).await?;
        let (checked, grants) = self
            .session_terms(&target, &ready, &component, open.limits.as_ref())
            .await?;
        let lineage = Lineage::of_client(Some(&target), open.depth, open.traceparent);
        let running = self.begin(Kind::Session, &checked, lineage);
        if let Some(failure) = checked.refusal(&bytes::Bytes::new(), open.depth) {
            return Ok(failed_to_open(&running, failure));
        }
        let mut slot = match running.slot().await? {
            Ok(slot) => slot,
            Err(failure) => return Ok(failed_to_open(&running, failure)),
        };
        running.call.started();
        let mut options = session_options(self, &running, &component, grants);
        options.memory = slot.reserved();
        let session = match self.engine.open(options).await {
            Ok(session) => session,
            Err(failure) => return Ok(failed_to_open(&running, failure)),
        };
        let (answers, reader) = mpsc::channel(ANSWERS_AHEAD);
        let open = Open {
            session,
            component,
            manifest: ready.manifest.clone(),
            log: running.call.log().attach(),
            limits: checked.limits,
            running,
            answers,
            used: Usage::default(),
            slot: Some(slot),
        };
        let span = open.running.span();
        tokio::spawn(open.serve(requests).instrument(span));
        Ok(reader)
    }
}

impl Core {
    /// Limits and grants are a function's, and a session may call any of them: it has the lowest of each limit, and the
    /// grants that all of them have.
    async fn session_terms(
        &self,
        target: &Target,
        ready: &Ready,
        component: &Component,
        limits: Option<&v1::Limits>,
    ) -> Result<(Checked, Arc<Grants>), Error> {
        let functions = component.interface().functions.iter();
        let mut names = functions.filter(|function| in_sessions(&ready.manifest, &function.name));
        let of = |name: Option<&FuncType>| Target {
            function: name
                .map(|function| function.name.clone())
                .unwrap_or_default(),
            ..target.clone()
        };
        let mut terms = self.check(Some(&of(names.next())), limits).await?;
        let mut grants = Grants::clone(&terms.target.grants);
        for name in names {
            let other = self.check(Some(&of(Some(name))), limits).await?;
            terms.limits = terms.limits.lowered_by(&other.limits);
            let theirs = &other.target.grants;
            grants.network.retain(|host| theirs.network.contains(host));
            grants.env.retain(|variable| theirs.env.contains(variable));
            if grants.args != theirs.args {
                grants.args.clear();
            }
        }
        Ok((terms, Arc::new(grants)))
    }
}

/// Classes have instances of their own, which are entered and kept.
fn in_sessions(manifest: &Manifest, function: &str) -> bool {
    manifest.is_callable(function) && manifest.class_of(function).is_none()
}

fn session_options(
    core: &Arc<Core>,
    running: &Running,
    component: &Arc<Component>,
    grants: Arc<Grants>,
) -> SessionOptions {
    let call = &running.call;
    let mut options = SessionOptions::new(component.clone());
    options.limits = call.limits;
    options.grants = Arc::new(Grants {
        mounts: call.grants().mounts.clone(),
        ..Grants::clone(&grants)
    });
    options.output = running.sink_for_reader();
    options.cancel = call.cancel.clone();
    options.calls = calls(core, call);
    options
}

/// A component whose start fails opens no session; the client gets the failure as the result of call 0.
fn failed_to_open(
    running: &Running,
    failure: Failure,
) -> mpsc::Receiver<Result<SessionResponse, Status>> {
    let outcome = running.refused(failure);
    let (answers, reader) = mpsc::channel(2);
    let opened = Said::Opened(SessionOpened {
        call: running.call.id.to_string(),
    });
    // The channel is as large as what goes in.
    let _ = answers.try_send(Ok(opened.into()));
    let _ = answers.try_send(Ok(result(0, outcome).into()));
    reader
}

impl Open {
    async fn serve<R>(mut self, mut requests: R)
    where
        R: Stream<Item = Result<SessionRequest, Status>> + Send + Unpin,
    {
        let call = self.running.call.id.to_string();
        let opened = self.say(Said::Opened(SessionOpened { call }));
        if opened.await.is_err() {
            return;
        }
        let end = self.answer_all(&mut requests).await.err();
        let Open {
            session,
            running,
            mut used,
            slot,
            ..
        } = self;
        session.close().await;
        if let Some(slot) = slot {
            used.queue = slot.queued;
        }
        running.call.finished(used, end);
    }

    /// Until the client ends the session; the failure to remember when it leaves, idles, stops
    /// reading or is cancelled.
    async fn answer_all<R>(&mut self, requests: &mut R) -> Result<(), Failure>
    where
        R: Stream<Item = Result<SessionRequest, Status>> + Send + Unpin,
    {
        let cancel = self.running.call.cancel.clone();
        loop {
            let request = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(cancelled(CANCELLED)),
                () = self.answers.closed() => return Err(cancelled(GONE)),
                chunks = self.log.next() => {
                    for chunk in chunks.unwrap_or_default() {
                        self.say(Said::Log(chunk)).await?;
                    }
                    continue;
                }
                request = tokio::time::timeout(IDLE, requests.next()) => request,
            };
            match request {
                Err(_) => {
                    let status =
                        Status::aborted(format!("the session was idle for {} s", IDLE.as_secs()));
                    self.send(Err(status)).await?;
                    return Err(cancelled("the session was idle"));
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(_))) => return Err(cancelled(GONE)),
                Ok(Some(Ok(request))) => {
                    if let Err(status) = self.answer(request).await? {
                        return self.send(Err(status)).await;
                    }
                }
            }
        }
    }

    /// Carries a request out and answers it. A request that is none ends the session with a status.
    async fn answer(&mut self, request: SessionRequest) -> Result<Result<(), Status>, Failure> {
        let said = match request.part {
            Some(Asked::Call(call)) => self.call(call).await,
            Some(Asked::Drop(drop)) => self.drop_handle(drop).await,
            _ => {
                return Ok(Err(Error::invalid(
                    "part",
                    "is neither `call` nor `drop`: a session is opened once",
                )
                .into()));
            }
        };
        for chunk in self.log.ready().unwrap_or_default() {
            self.say(Said::Log(chunk)).await?;
        }
        self.say(said).await.map(Ok)
    }

    /// A wrong function or argument is the answer to this call and does not end the session.
    async fn call(&mut self, call: SessionCall) -> Said {
        let failed = |failure| {
            result(
                call.id,
                Outcome {
                    result: Err(failure),
                    usage: Usage::default(),
                },
            )
        };
        let function = match self.component.function(&call.function) {
            Ok(function) if !in_sessions(&self.manifest, function.name()) => {
                let text = format!("function `{}` is of a class", function.name());
                return failed(Failure::new(FailureKind::Arguments, text).hint(
                    "call its methods without a session: they share the state of kept instances",
                ));
            }
            Ok(function) => function,
            Err(error) => {
                let failure = Failure::new(FailureKind::Arguments, error.to_string());
                return failed(error.hints().into_iter().fold(failure, Failure::hint));
            }
        };
        let bounds = lydian_value::Limits {
            bytes: call.args.len().max(1),
            ..lydian_value::Limits::default()
        };
        if let Err(error) = function.ty().check_args(&call.args, &bounds) {
            let failure = Failure::new(FailureKind::Arguments, error.to_string());
            let failure = error.hints().into_iter().fold(failure, Failure::hint);
            return failed(
                failure.hint(format!("the function is `{}`", function.ty().signature())),
            );
        }
        let limit = self.limits.payload_bytes;
        if call.args.len() as u64 > limit {
            let text = format!(
                "the arguments take {} bytes, over the limit of {limit} bytes",
                call.args.len()
            );
            return failed(Failure::new(FailureKind::Payload, text));
        }
        let outcome = self.carry_out(function, call.args).await;
        self.used.run += outcome.usage.run;
        self.used.cpu += outcome.usage.cpu;
        self.used.instantiate += outcome.usage.instantiate;
        self.used.bytes_in += outcome.usage.bytes_in;
        self.used.bytes_out += outcome.usage.bytes_out;
        self.used.output_bytes = self.used.output_bytes.max(outcome.usage.output_bytes);
        self.used.peak_memory_bytes = self
            .used
            .peak_memory_bytes
            .max(outcome.usage.peak_memory_bytes);
        result(call.id, outcome)
    }

    /// Calls, and sends what is printed meanwhile. A client that goes away takes the call with it;
    /// one that does not read does not keep it from its end.
    async fn carry_out(&mut self, function: Function, args: bytes::Bytes) -> Outcome {
        let mut call = std::pin::pin!(self.session.call(function, args));
        let cancel = &self.running.call.cancel;
        // What was printed and not sent yet, oldest first.
        let mut printed: VecDeque<LogChunk> = VecDeque::new();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut call => break outcome,
                () = self.answers.closed(), if !cancel.is_cancelled() => cancel.cancel(),
                room = self.answers.reserve(), if !printed.is_empty() && !cancel.is_cancelled() => {
                    if let (Ok(room), Some(chunk)) = (room, printed.pop_front()) {
                        room.send(Ok(Said::Log(chunk).into()));
                    }
                }
                // No more of it while that waits, so the guest waits too.
                Some(chunks) = self.log.next(), if printed.is_empty() => printed.extend(chunks),
            }
        };
        for chunk in printed {
            if self.say(Said::Log(chunk)).await.is_err() {
                break;
            }
        }
        outcome
    }

    async fn drop_handle(&mut self, drop: SessionDrop) -> Said {
        let dropped = self.session.drop_handle(drop.handle).await;
        let outcome = Outcome {
            result: dropped.map(|()| bytes::Bytes::new()),
            usage: Usage::default(),
        };
        result(drop.id, outcome)
    }

    async fn say(&self, said: Said) -> Result<(), Failure> {
        self.send(Ok(said.into())).await
    }

    /// Sends when the client has read enough for it: it may take as long about that as about a
    /// request, and no longer than the session lives.
    async fn send(&self, said: Result<SessionResponse, Status>) -> Result<(), Failure> {
        tokio::select! {
            biased;
            sent = self.answers.send(said) => sent.map_err(|_| cancelled(GONE)),
            () = self.running.call.cancel.cancelled() => Err(cancelled(CANCELLED)),
            () = tokio::time::sleep(IDLE) => {
                Err(cancelled("the session's client stopped reading"))
            }
        }
    }
}

fn result(id: u64, outcome: Outcome) -> Said {
    Said::Result(SessionResult {
        id,
        outcome: Some(convert::outcome(outcome)),
    })
}

fn cancelled(why: &str) -> Failure {
    Failure::new(FailureKind::Cancelled, why)
}
