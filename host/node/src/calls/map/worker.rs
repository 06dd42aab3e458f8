//! Workers: tasks that run inputs one after the other, each in a fresh sandbox.

use super::Map;
use super::board::Input;
use crate::admission::Slot;
use crate::calls::invoke::invocation;
use crate::calls::seat::Seat;
use crate::error::Error;
use lydian_engine::{Failure, FailureKind, Invocation, Outcome, Usage};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::Instrument;

/// How often it is looked whether more workers would help.
const GROW_EVERY: Duration = Duration::from_millis(20);

/// Pause of a map that found the node's lines full.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Starts the workers that the inputs in line call for.
pub(super) fn hire(map: &Arc<Map>) {
    let count = map.board.hire();
    for _ in 0..count {
        // On the threads that run guests, so that no input changes threads on its way.
        map.core
            .engine
            .spawn(work(map.clone()).instrument(map.span.clone()));
    }
    if count > 0 && !map.growing.swap(true, Ordering::AcqRel) {
        tokio::spawn(look_after(map.clone()));
    }
}

async fn look_after(map: Arc<Map>) {
    loop {
        tokio::time::sleep(GROW_EVERY).await;
        if !map.board.grow() {
            map.growing.store(false, Ordering::Release);
            return;
        }
        hire(&map);
    }
}

async fn work(map: Arc<Map>) {
    let mut slot = None;
    let mut finished = None;
    loop {
        let had_result = finished.is_some();
        let next = map.board.exchange(finished.take());
        if had_result {
            map.news.notify_one();
        }
        let Some(input) = next else { return };
        let seat = match seated(&map, slot.take()).await {
            Ok(seat) => seat,
            Err(error) => return retreat(&map, input, error),
        };
        map.call.started();
        let (outcome, left) = run(&map, &input, seat).await;
        slot = left;
        if map.call.cancel.is_cancelled() {
            // Else every input in line would be taken, to fail the same way.
            map.cut();
        }
        finished = Some((input, outcome));
    }
}

/// A place for the next input: the one held, unless others wait for it.
async fn seated(map: &Map, slot: Option<Slot>) -> Result<Seat, Error> {
    let mut admitted = match slot {
        Some(slot) => map.core.admission.pass(slot).await.map(Seat::Fresh),
        None => map.core.seat(&map.call).await,
    };
    // A map has inputs enough to keep trying where a single call gives up.
    while matches!(
        admitted,
        Err(Error::NoSandbox { .. } | Error::QueueFull { .. })
    ) {
        tokio::time::sleep(FULL_PAUSE).await;
        admitted = map.core.seat(&map.call).await;
    }
    admitted
}

/// The node takes no more: what other workers hold slots for goes on, and the last one ends the map.
fn retreat(map: &Map, input: Input, error: Error) {
    map.board.give_back(input);
    let text = format!("the map was interrupted: {error}");
    map.board
        .cut(Failure::new(FailureKind::Interrupted, text).hint("run the remaining inputs again"));
    map.news.notify_one();
}

/// Runs one input; a sandbox of its own leaves its slot for the next one.
async fn run(map: &Map, input: &Input, seat: Seat) -> (Outcome, Option<Slot>) {
    let refusal = match map.checked.arguments(input.args.clone()) {
        Ok(args) => map.checked.refusal(&args, map.call.lineage.depth),
        Err(error) => {
            let hints = error.detail().hints;
            let failure = Failure::new(
                FailureKind::Arguments,
                format!("input {}: {error}", input.index),
            );
            Some(hints.into_iter().fold(failure, Failure::hint))
        }
    };
    if let Some(failure) = refusal {
        let outcome = Outcome {
            result: Err(failure),
            usage: Usage::default(),
        };
        return (outcome, map.core.leave(seat));
    }
    let lines = map.printed.lines(input.index);
    let (args, sink) = (input.args.clone(), lines.sink());
    let invocation = invocation(&map.core, &map.call, args, sink);
    let ended = match seat {
        Seat::Fresh(mut slot) if map.call.target.class.is_none() => {
            let invocation = Invocation {
                memory: slot.reserved(),
                ..invocation
            };
            (map.core.engine.invoke(invocation).await, Some(slot))
        }
        seat => (map.core.run_in(seat, &map.call, invocation).await, None),
    };
    lines.finish();
    ended
}
