//! Instances that are kept between calls: whoever holds a [`Kept`] decides which call it serves next, and when it goes.
//!
//! ```text
//! keep: admitted, instantiated --> Kept --turn--> Outcome, and the Kept again
//!                                             \-> Outcome, and nothing: it trapped, hit a limit or was stopped
//! ```
//!
//! Always true: a kept instance serves one call at a time, because a call takes it; a future that is dropped drops the
//! instance with it. Between calls it holds a place in the pool and its memory, and no clock ticks for it.

use crate::current;
use crate::engine::{AbortOnDrop, Engine, on_sandbox_thread};
use crate::invoke::{Admitted, Call, Invocation, stopped};
use crate::keeper::{Held, Keeper};
use crate::outcome::{Failure, Outcome, Usage};
use bytes::Bytes;

/// An instance between two calls. Dropping it drops its sandbox.
pub struct Kept {
    // The sandbox goes before its place.
    keeper: Keeper,
    admitted: Admitted,
}

impl Kept {
    /// What it holds now: more than after its first call may be a leak.
    pub fn held(&mut self) -> Held {
        self.keeper.held()
    }
}

impl Engine {
    /// Makes an instance of the component of `invocation`'s function, with its limits and grants, which hold for all the
    /// calls it will serve. Calls nothing; the instance's start function may print and is stopped like a call.
    ///
    /// # Errors
    /// The [`Failure`] of the component's start.
    pub async fn keep(&self, invocation: Invocation) -> Result<Kept, Failure> {
        let name = invocation.function.name().to_owned();
        let call = Call::new(
            self,
            Invocation {
                args: Bytes::new(),
                ..invocation
            },
        );
        let mut admitted = self.admit(&call).await?;
        let engine = self.clone();
        let kept = self.on_guest_thread(async move {
            let keeper = Keeper::start(call, &engine, admitted.account()).await?;
            admitted.rest();
            Ok(Kept { keeper, admitted })
        });
        kept.await.unwrap_or_else(|| Err(stopped(&name)))
    }

    /// Calls a function of the instance's component on it; the call's time limits, output, cancellation and calls are
    /// `invocation`'s. Gives the instance back when it can serve another call.
    pub async fn turn(&self, mut kept: Kept, invocation: Invocation) -> (Outcome, Option<Kept>) {
        let name = invocation.function.name().to_owned();
        let engine = self.clone();
        let turn = self.on_guest_thread(async move {
            kept.admitted.wake(&engine);
            let outcome = kept.keeper.turn(&engine, invocation).await;
            kept.admitted.rest();
            let usable = kept.keeper.is_usable();
            (outcome, usable.then_some(kept))
        });
        turn.await.unwrap_or_else(|| {
            let outcome = Outcome {
                result: Err(stopped(&name)),
                usage: Usage::default(),
            };
            (outcome, None)
        })
    }

    /// Runs a future on a thread that runs guests, this one if it does; `None` when the engine stops. Dropping the answer
    /// stops it.
    async fn on_guest_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        if on_sandbox_thread() && !current::is_set() {
            return Some(work.await);
        }
        let task = self.spawn(work)?;
        let _abort = AbortOnDrop(Some(task.abort_handle()));
        task.await.ok()
    }
}
