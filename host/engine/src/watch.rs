//! What surrounds a sandbox while it runs: deadline, cancellation, CPU time, panics.
//!
//! [`watch`] polls the sandbox first and looks at the clock only when it is not done, so a short call pays for one read of
//! the clock and nothing else. Guests give way at every epoch tick, so each of its checks is at most one tick late, even for
//! a guest that spins. Dropping the call's future is what stops it: its fiber unwinds, and the store, which the caller owns,
//! is dropped next.

use crate::current::Current;
use crate::limit::LimitHit;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How a watched sandbox ended.
pub(crate) enum End<T> {
    /// By itself.
    Done(T),
    /// At a limit that is watched from outside.
    Limit(LimitHit),
    /// The caller cancelled.
    Cancelled,
    /// A host function panicked, with this message.
    Panicked(String),
}

/// Runs `call` until it ends, `deadline` passes, or `cancel` is cancelled; then it is gone.
///
/// `started` is now, or a moment ago. Answers how it ended, and what it has used.
pub(crate) async fn watch<T>(
    call: impl Future<Output = T>,
    current: Box<Current>,
    started: Instant,
    deadline: Instant,
    cancel: &CancellationToken,
) -> (End<T>, Option<Box<Current>>) {
    let mut call = pin!(Some(call));
    let mut current = Some(current);
    let mut turn = Some(started);
    let mut alarms = Alarms {
        deadline,
        cancel,
        sleep: None,
        cancelled: None,
    };
    let end = std::future::poll_fn(|cx| {
        if alarms.cancel.is_cancelled() {
            return Poll::Ready(End::Cancelled);
        }
        let Some(call) = call.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let turn = turn.take().unwrap_or_else(Instant::now);
        match on_stage(&mut current, turn, || call.poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(End::Done(output)),
            Ok(Poll::Pending) => alarms.poll(cx),
            Err(panic) => Poll::Ready(End::Panicked(panic)),
        }
    })
    .await;
    if matches!(end, End::Done(_)) {
        return (end, current);
    }
    // Unwinding a suspended fiber runs destructors of host functions, which may panic as well.
    let dropped = on_stage(&mut current, Instant::now(), || call.set(None));
    let end = match (end, dropped) {
        (End::Limit(_) | End::Cancelled, Err(panic)) => End::Panicked(panic),
        (end, _) => end,
    };
    (end, current)
}

/// Runs a piece of the sandbox with its [`Current`] in place, and turns a panic into its message. The turn began at `turn`.
fn on_stage<R>(
    current: &mut Option<Box<Current>>,
    turn: Instant,
    piece: impl FnOnce() -> R,
) -> Result<R, String> {
    if let Some(current) = current.take() {
        current.enter(turn);
    }
    // The sandbox is dropped after a panic, so nothing sees what it left half done.
    let result = catch_unwind(AssertUnwindSafe(piece));
    *current = Current::leave();
    result.map_err(|panic| panic_text(panic.as_ref()))
}

/// What may end a call from outside. Registered with the runtime by calls that do not end at once.
struct Alarms<'a> {
    deadline: Instant,
    cancel: &'a CancellationToken,
    sleep: Option<Pin<Box<Sleep>>>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Alarms<'_> {
    fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<End<T>> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(self.deadline.into())));
        if sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Limit(LimitHit::Timeout));
        }
        let cancelled = self
            .cancelled
            .get_or_insert_with(|| Box::pin(self.cancel.clone().cancelled_owned()));
        cancelled.as_mut().poll(cx).map(|()| End::Cancelled)
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
