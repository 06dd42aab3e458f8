//! Where a call runs: in a sandbox of its own, or on a kept instance of its class.

use crate::admission::Slot;
use crate::calls::invoke::Running;
use crate::calls::record::Call;
use crate::core::Core;
use crate::error::Error;
use crate::warm::{Instance, Key, Terms};
use lydian_engine::{Failure, FailureKind, Invocation, Outcome, Start, Usage};
use std::sync::Arc;

/// The right to run now.
pub(crate) enum Seat {
    /// In a sandbox that is made for it.
    Fresh(Slot),
    /// On an instance that is there.
    Kept(Box<Instance>),
}

impl Core {
    /// Waits for a place for one call, or one input of it.
    ///
    /// # Errors
    /// As of [`Admission::slot`](crate::admission::Admission::slot).
    pub(crate) async fn seat(&self, call: &Call) -> Result<Seat, Error> {
        let need = call.need();
        let Some(terms) = &call.target.class else {
            return self.admission.slot(need).await.map(Seat::Fresh);
        };
        let key = Key::new(terms, &call.limits);
        if let Some(instance) = self.warm.take(&key, need) {
            return Ok(Seat::Kept(Box::new(instance)));
        }
        let handed = self.warm.wait(&key, need);
        // One may have come free between the two looks.
        if let Some(instance) = self.warm.take(&key, need) {
            return Ok(Seat::Kept(Box::new(instance)));
        }
        tokio::select! {
            biased;
            slot = self.admission.slot(need) => slot.map(Seat::Fresh),
            Some(instance) = async { handed.await.ok()?.take() } => Ok(Seat::Kept(Box::new(instance))),
        }
    }

    /// Runs one call, or one input of it, and gives its place on.
    pub(crate) async fn run_in(&self, seat: Seat, call: &Call, invocation: Invocation) -> Outcome {
        match (seat, &call.target.class) {
            (Seat::Fresh(mut slot), None) => {
                let invocation = Invocation {
                    memory: slot.reserved(),
                    ..invocation
                };
                let mut outcome = self.engine.invoke(invocation).await;
                outcome.usage.queue += slot.queued;
                outcome
            }
            (Seat::Fresh(slot), Some(terms)) => {
                self.run_on_new(terms, slot, call, invocation).await
            }
            (Seat::Kept(instance), _) => self.run_on(*instance, None, invocation).await,
        }
    }

    /// Gives a place back that was not used; a slot is the caller's to use again.
    pub(crate) fn leave(&self, seat: Seat) -> Option<Slot> {
        match seat {
            Seat::Fresh(slot) => Some(slot),
            Seat::Kept(instance) => {
                self.warm.put(*instance);
                None
            }
        }
    }

    async fn run_on_new(
        &self,
        terms: &Arc<Terms>,
        slot: Slot,
        call: &Call,
        invocation: Invocation,
    ) -> Outcome {
        let queued = slot.queued;
        let made = Instance::make(&self.engine, &call.target, terms, slot, &invocation).await;
        match made {
            Ok((instance, usage)) => self.run_on(instance, Some(usage), invocation).await,
            Err(failure) => Outcome {
                result: Err(failure),
                usage: Usage {
                    queue: queued,
                    ..Usage::default()
                },
            },
        }
    }

    /// `made` is what making the instance took, when it was made for this call.
    async fn run_on(
        &self,
        instance: Instance,
        made: Option<Usage>,
        invocation: Invocation,
    ) -> Outcome {
        let queued = instance.queued();
        let prepared = invocation.function.prepared();
        let (mut outcome, instance) = instance.serve(&self.engine, invocation).await;
        if let Some(instance) = instance {
            self.warm.put(instance);
        }
        let usage = &mut outcome.usage;
        usage.queue += queued;
        match made {
            Some(made) => {
                usage.instantiate = made.instantiate;
                usage.cpu += made.cpu;
                (usage.start, usage.load, usage.compile) =
                    (prepared.start, prepared.load, prepared.compile);
            }
            None => usage.start = Start::Warm,
        }
        outcome
    }
}

impl Running {
    /// Waits for a place; a call that is cancelled in line fails without one.
    pub(crate) async fn seat(&self) -> Result<Result<Seat, Failure>, Error> {
        tokio::select! {
            biased;
            seat = self.core().seat(&self.call) => seat.map(Ok).inspect_err(|error| {
                let failure = Failure::new(FailureKind::Interrupted, error.to_string());
                self.call.finished(Usage::default(), Some(failure));
            }),
            () = self.call.cancel.cancelled() => {
                let text = format!("function `{}` was cancelled while it waited for a sandbox", self.call.target.name());
                Ok(Err(Failure::new(FailureKind::Cancelled, text)))
            }
        }
    }
}
