//! One kept instance: made, entered, called, let go.

use super::Key;
use crate::admission::Slot;
use crate::calls::log;
use crate::clock::now_ms;
use crate::manifest::Class;
use crate::resolve::{Live, Place, Resolved};
use bytes::Bytes;
use lydian_api::v1::log_chunk::Source;
use lydian_engine::{
    Engine, Failure, FailureKind, Function, Invocation, Kept, Limits, Outcome, OutputSink,
    OutputStream, Usage,
};
use lydian_value::{FuncType, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// An exit function has so long, whatever its class has: others may wait for its place.
const EXIT_TIME: Duration = Duration::from_secs(10);

/// A class of one version, as its instances need it.
pub(crate) struct Terms {
    pub(super) id: u64,
    pub(super) place: Place,
    class: Class,
    /// Where what its exit function prints goes.
    live: Arc<Live>,
}

impl Terms {
    pub(crate) fn new(place: Place, class: Class, live: Arc<Live>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            place,
            class,
            live,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.class.name
    }
}

/// A kept instance. Dropped, it goes without its exit function.
pub(crate) struct Instance {
    // The sandbox goes before its place.
    kept: Kept,
    pub(super) slot: Slot,
    pub(super) key: Key,
    pub(super) terms: Arc<Terms>,
    exit: Option<Function>,
    limits: Limits,
    born: Instant,
    calls: u64,
    /// What it held when it was entered.
    entered_bytes: u64,
    pub(super) idle_since: Instant,
    /// Since when its class has had it without a pause.
    pub(super) turn: Instant,
}

impl Instance {
    /// Makes an instance for a call of `target`, enters it, and answers with what that took. The slot is given back when
    /// it fails.
    pub(crate) async fn make(
        engine: &Engine,
        target: &Resolved,
        terms: &Arc<Terms>,
        mut slot: Slot,
        call: &Invocation,
    ) -> Result<(Self, Usage), Failure> {
        let begun = Instant::now();
        let start = Invocation {
            memory: slot.reserved(),
            ..call.clone()
        };
        let kept = engine.keep(start).await?;
        let opened = begun.elapsed();
        let lifecycle = |name: &Option<String>| {
            name.as_ref()
                .map(|name| target.function.sibling(name))
                .transpose()
                .map_err(|error| Failure::new(FailureKind::Trap, error.to_string()))
        };
        let exit = lifecycle(&terms.class.exit)?;
        let (mut kept, usage) = match lifecycle(&terms.class.enter)? {
            None => (kept, Usage::default()),
            Some(enter) => Self::enter(engine, terms, kept, enter, call).await?,
        };
        let usage = Usage {
            instantiate: opened + usage.run,
            ..usage
        };
        let now = Instant::now();
        let instance = Self {
            entered_bytes: kept.held().memory_bytes,
            kept,
            slot,
            key: Key::new(terms, &call.limits),
            terms: terms.clone(),
            exit,
            limits: call.limits,
            born: now,
            calls: 0,
            idle_since: now,
            turn: now,
        };
        Ok((instance, usage))
    }

    async fn enter(
        engine: &Engine,
        terms: &Terms,
        kept: Kept,
        enter: Function,
        call: &Invocation,
    ) -> Result<(Kept, Usage), Failure> {
        let invocation = Invocation {
            function: enter.clone(),
            args: Bytes::new(),
            ..call.clone()
        };
        let (outcome, kept) = engine.turn(kept, invocation).await;
        let not_entered =
            |why: &str| format!("class `{}` could not be entered: {why}", terms.name());
        let result = outcome.result.map_err(|failure| Failure {
            message: not_entered(&failure.message),
            ..failure
        })?;
        if let Some(why) = refusal(enter.ty(), &result) {
            return Err(
                Failure::new(FailureKind::Trap, not_entered(&why)).hint(format!(
                    "`{}` answered this: see to what it needs",
                    enter.name()
                )),
            );
        }
        let lost = || Failure::new(FailureKind::Interrupted, not_entered("its sandbox is gone"));
        Ok((kept.ok_or_else(lost)?, outcome.usage))
    }

    /// Serves one call; none comes back that cannot serve another.
    pub(crate) async fn serve(self, engine: &Engine, call: Invocation) -> (Outcome, Option<Self>) {
        let Self { kept, slot, .. } = self;
        let (outcome, kept) = engine.turn(kept, call).await;
        let ended_well = outcome.result.is_ok();
        // The slot is passed on after the sandbox is gone, which `turn` has seen to.
        let instance = kept.filter(|_| ended_well).map(|kept| Self {
            kept,
            slot,
            key: self.key,
            terms: self.terms,
            exit: self.exit,
            limits: self.limits,
            born: self.born,
            calls: self.calls + 1,
            entered_bytes: self.entered_bytes,
            idle_since: self.idle_since,
            turn: self.turn,
        });
        (outcome, instance)
    }

    /// Whether it was called before.
    pub(crate) fn is_used(&self) -> bool {
        self.calls > 0
    }

    /// How long its place was waited for, by the call it was made for.
    pub(crate) fn queued(&self) -> Duration {
        match self.is_used() {
            true => Duration::ZERO,
            false => self.slot.queued,
        }
    }

    /// Whether it shall serve nobody else, for its age, or for what it has come to hold.
    pub(super) fn is_spent(&mut self) -> bool {
        let class = &self.terms.class;
        self.calls >= class.max_calls
            || class.max_age.is_some_and(|age| self.born.elapsed() >= age)
            || self.has_leaked()
    }

    /// Three quarters of what was left after it was entered are taken, between calls.
    fn has_leaked(&mut self) -> bool {
        let held = self.kept.held();
        let room = self.limits.memory_bytes.saturating_sub(self.entered_bytes);
        let grown = held.memory_bytes.saturating_sub(self.entered_bytes);
        grown > room / 4 * 3 || held.handles > self.limits.handles as usize / 4 * 3
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale_in().is_zero()
    }

    /// How long it may be idle yet.
    pub(super) fn stale_in(&self) -> Duration {
        let class = &self.terms.class;
        let idle = class.max_idle.saturating_sub(self.idle_since.elapsed());
        match class.max_age {
            Some(age) => idle.min(age.saturating_sub(self.born.elapsed())),
            None => idle,
        }
    }

    /// Calls its exit function, if it has one, and goes. What that prints is in the app's log; that it failed, too.
    pub(super) async fn exit(self, engine: Engine) {
        let Some(exit) = self.exit.clone() else {
            return;
        };
        let (name, live) = (exit.name().to_owned(), self.terms.live.clone());
        let note = move |source, data| {
            live.log.push(log::chunk("", &name, source, data, now_ms()));
        };
        let printed = note.clone();
        let call = Invocation {
            limits: Limits {
                timeout: self.limits.timeout.min(EXIT_TIME),
                ..self.limits
            },
            output: OutputSink::new(move |chunk| {
                let source = match chunk.stream {
                    OutputStream::Stdout => Source::Stdout,
                    OutputStream::Stderr => Source::Stderr,
                };
                printed(source, chunk.data);
            }),
            ..Invocation::new(exit.clone(), Bytes::new())
        };
        let (outcome, _) = self.serve(&engine, call).await;
        let failed = match &outcome.result {
            Err(failure) => Some(failure.message.clone()),
            Ok(result) => refusal(exit.ty(), result),
        };
        if let Some(why) = failed {
            note(Source::System, format!("(on exit: {why})\n").into());
        }
    }
}

/// The error in a result of `result<_, string>`.
fn refusal(ty: &FuncType, result: &Bytes) -> Option<String> {
    let decoded = ty.decode_result(result, &lydian_value::Limits::default());
    match decoded.ok().flatten()? {
        Value::Result(Err(why)) => Some(match why.as_deref() {
            Some(Value::String(why)) => why.to_string(),
            _ => "it gave an error".to_owned(),
        }),
        _ => None,
    }
}
