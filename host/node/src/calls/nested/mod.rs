//! Calls that functions make: `lydian:calls`, carried out by the node the function runs on.
//!
//! Such a call is an ordinary one: resolved in the caller's environment, checked, admitted, run with the limits and
//! grants of its own deployment, recorded. What differs is its [`Lineage`]: how deep it is, whose time and budget it
//! spends. It ends with its caller, however that ends, except when it was spawned.
//!
//! | file | what |
//! | --- | --- |
//! | [`lineage`] | depth, deadline, environment, and the budget that all calls of one root share |
//! | [`answer`] | errors as the guest reads them |
//! | [`mapping`] | maps, over the same board as a client's |
//! | [`trace`] | W3C trace context |
//! | [`waiting`] | who waits for whom, and how deep they count |

mod answer;
pub(crate) mod lineage;
mod mapping;
pub(crate) mod trace;
pub(crate) mod waiting;

use crate::calls::invoke::{Checked, MAX_DEPTH};
use crate::calls::record::{Call, Kind};
use crate::core::Core;
use crate::resolve::Resolved;
use answer::{refused, unreturned};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use lineage::{Lineage, Root};
use lydian_api::v1;
use lydian_engine::calls::{Calls, Error, ErrorKind, MapOptions, Mapping, Request, Target};
use lydian_engine::{FailureKind, Outcome};
use lydian_store::Job;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use waiting::Waits;

/// How often a function that waits for a recorded call says so to whoever claims them, and to
/// admission once it was.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same at first, when the call may be about to be claimed.
const LOOK_SOON: Duration = Duration::from_millis(100);

/// What one running call may ask for.
#[derive(Clone)]
pub(crate) struct Nested(Arc<Caller>);

struct Caller {
    core: Arc<Core>,
    target: Arc<Resolved>,
    /// What the calls it makes have in common.
    lineage: Lineage,
    root: Arc<Root>,
    /// How deep the caller counts, see [`Call::raise`].
    raised: Arc<AtomicU32>,
    /// What it waits for.
    waits: Arc<Waits>,
}

impl Nested {
    /// For a call whose function can make calls; one input of a map each has its own.
    pub(crate) fn new(core: &Arc<Core>, call: &Call) -> Self {
        let own = &call.lineage;
        let allowed = match call.target.fan_out {
            0 => core.options.max_nested_calls,
            fan_out => fan_out,
        };
        let root = own
            .root
            .clone()
            .unwrap_or_else(|| Root::new(call.id, allowed));
        let place = &call.target.place;
        let environment = match place.app.as_str() {
            "" => own.environment.clone(),
            _ => place.environment.clone(),
        };
        // A trace that nobody began begins here, so that all calls of this one are in it.
        let traceparent = match own.traceparent.as_str() {
            "" => trace::child(""),
            known => known.to_owned(),
        };
        Self(Arc::new(Caller {
            core: core.clone(),
            target: call.target.clone(),
            lineage: Lineage {
                depth: own.depth + 1,
                parent: Some(call.id),
                environment,
                traceparent,
                root: Some(root.clone()),
                deadline: None,
            },
            root,
            raised: call.raised(),
            waits: call.waits().clone(),
        }))
    }
}

impl Caller {
    /// How deep the calls are that it makes.
    fn depth(&self) -> u32 {
        let caller = self.raised.load(Ordering::Relaxed);
        self.lineage.depth.max(caller + 1)
    }

    fn lineage(&self, deadline: Instant) -> Lineage {
        Lineage {
            depth: self.depth(),
            deadline: Some(deadline),
            traceparent: trace::child(&self.lineage.traceparent),
            ..self.lineage.clone()
        }
    }

    async fn resolve(&self, target: &Target) -> Result<Arc<Resolved>, Error> {
        let resolver = &self.core.resolver;
        let found = match &target.app {
            None => resolver.sibling(&self.target, &target.function),
            Some(app) => {
                let target = v1::Target::app(&self.lineage.environment, app, &target.function);
                resolver.function(Some(&target)).await
            }
        };
        let found = found.map_err(refused)?;
        match found.function.has_handles() || found.function.has_streams() {
            false => Ok(found),
            true => Err(unreturned(found.name())),
        }
    }

    /// What a call of `target` has as limits, its arguments checked. Nothing is taken for it yet.
    async fn check(&self, target: &Target) -> Result<Checked, Error> {
        let found = self.resolve(target).await?;
        let depth = self.depth();
        let pool = self.core.admission.of(found.function.is_concurrent());
        let levels = pool.levels();
        if depth > levels {
            return Err(too_deep(found.name(), levels));
        }
        self.core.limited(found, None).map_err(refused)
    }

    async fn call(self: Arc<Self>, request: Request) -> Result<Bytes, Error> {
        self.root.take(1)?;
        let checked = self.check(&request.target).await?;
        let core = &self.core;
        let room = core.budget.charge(request.args.len() as u64).await;
        let room = room.map_err(refused)?;
        let args = checked.arguments(request.args).map_err(refused)?;
        let lineage = self.lineage(request.deadline);
        let depth = lineage.depth;
        let cancel = request.cancel.child_token();
        let running = core.begin_with(Kind::Invoke, &checked, lineage, cancel);
        let _waiting = self.waits_for(&running.call);
        let outcome = match checked.refusal(&args, depth) {
            Some(failure) => running.refused(failure),
            None => match running.seat().await.map_err(refused)? {
                Ok(seat) => {
                    let sink = running.sink(None);
                    running.run(seat, args, sink).await
                }
                Err(failure) => running.refused(failure),
            },
        };
        drop(room);
        self.answered(&checked, request.deadline, outcome)
    }

    /// The result; a call that was stopped because its caller's time was over says so.
    fn answered(
        &self,
        checked: &Checked,
        deadline: Instant,
        outcome: Outcome,
    ) -> Result<Bytes, Error> {
        outcome.result.map_err(|failure| {
            let name = checked.target.name();
            match failure.kind {
                FailureKind::Timeout if Instant::now() >= deadline => Error::new(
                    ErrorKind::Timeout,
                    format!("function `{name}` was stopped with its caller, whose time was over"),
                ),
                _ => answer::failed(failure),
            }
        })
    }

    async fn spawn(self: Arc<Self>, request: Request) -> Result<String, Error> {
        self.root.take(1)?;
        let checked = self.check(&request.target).await?;
        let lineage = self.lineage(request.deadline);
        let spawned = self.core.spawn_nested(checked, request.args, &lineage);
        spawned.await.map_err(refused)
    }

    /// A recorded call of the caller's environment.
    async fn recorded(&self, call: &str) -> Result<Job, Error> {
        let job = self.core.job(call).await.map_err(refused)?;
        match job {
            Some(job) if job.function.environment == self.lineage.environment => Ok(job),
            _ => Err(Error::new(
                ErrorKind::NotFound,
                format!("call `{call}` is not known in this environment"),
            )),
        }
    }

    async fn get(self: Arc<Self>, call: String, wait: Duration) -> Result<Option<Bytes>, Error> {
        let until = Instant::now() + wait.min(crate::calls::query::MAX_GET_WAIT);
        let mut look_again = LOOK_SOON;
        let ended = loop {
            let job = self.recorded(&call).await?;
            let _waiting = match job.state.ended() {
                true => None,
                false => Some(self.waits_for_recorded(&job)?),
            };
            let left = until.saturating_duration_since(Instant::now());
            let ended = self.core.job_end(&call, left.min(look_again)).await;
            match ended.map_err(refused)? {
                Some(ended) => break ended,
                None if left <= look_again => return Ok(None),
                None => look_again = LOOK_AGAIN.min(look_again * 2),
            }
        };
        let outcome = self.core.job_outcome(ended).await.map_err(refused)?;
        outcome
            .map(|outcome| outcome.into_result().map_err(answer::recorded))
            .transpose()
    }

    async fn cancel(self: Arc<Self>, call: String) -> Result<(), Error> {
        self.recorded(&call).await?;
        let cancelled = self.core.cancel_call(v1::CancelRequest { call });
        cancelled.await.map(drop).map_err(refused)
    }

    async fn type_of(self: Arc<Self>, target: Target) -> Result<String, Error> {
        let found = self.resolve(&target).await?;
        serde_json::to_string(found.ty())
            .map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
    }
}

fn too_deep(name: &str, levels: u32) -> Error {
    let text = format!("function `{name}` was called over {levels} calls deep");
    let hint = match levels {
        MAX_DEPTH => "look for functions that call each other in a circle",
        _ => "the node's pool is too small for deeper calls: give it more sandboxes",
    };
    Error::new(ErrorKind::Depth, text).hint(hint)
}

impl Calls for Nested {
    fn type_of(&self, target: Target) -> BoxFuture<'static, Result<String, Error>> {
        self.0.clone().type_of(target).boxed()
    }

    fn call(&self, request: Request) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.0.clone().call(request).boxed()
    }

    fn spawn(&self, request: Request) -> BoxFuture<'static, Result<String, Error>> {
        self.0.clone().spawn(request).boxed()
    }

    fn get(
        &self,
        call: String,
        wait: Duration,
    ) -> BoxFuture<'static, Result<Option<Bytes>, Error>> {
        self.0.clone().get(call, wait).boxed()
    }

    fn cancel(&self, call: String) -> BoxFuture<'static, Result<(), Error>> {
        self.0.clone().cancel(call).boxed()
    }

    fn map(
        &self,
        request: Request,
        options: MapOptions,
    ) -> BoxFuture<'static, Result<Box<dyn Mapping>, Error>> {
        mapping::begin(self.0.clone(), request, options).boxed()
    }
}
