//! One call with what happens on the way: its start, its output, the items of its streams.

use crate::calls::invoke::Running;
use crate::calls::log::Follower;
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::Kind;
use crate::calls::seat::Seat;
use crate::convert;
use crate::core::Core;
use crate::error::Error;
use bytes::Bytes;
use lydian_api::v1::{self, LogChunk, RunEvent, Started, run_event::Event};
use lydian_engine::{Failure, FailureKind, Invocation, Items, Outcome, Run, StreamItems, Usage};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Events made ahead of a slow reader. Output waits in the call's bounded log, not here.
const EVENTS_AHEAD: usize = 16;

/// The events of one call; dropping it cancels the call.
pub(crate) type Events = mpsc::Receiver<RunEvent>;

/// How long a reader has to take what is sent after the call was cancelled: it may be about to read
/// how the call ended, or may have stopped reading, and a sandbox waits for the answer.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The reader is gone.
struct Gone;

impl Core {
    /// `Calls.Run`.
    pub(crate) async fn run(self: &Arc<Self>, request: v1::InvokeRequest) -> Result<Events, Error> {
        let checked = self
            .check(request.target.as_ref(), request.limits.as_ref())
            .await?;
        let args = checked.arguments(request.args)?;
        let lineage =
            Lineage::of_client(request.target.as_ref(), request.depth, request.traceparent);
        let running = self.begin(Kind::Invoke, &checked, lineage);
        let (events, reader) = mpsc::channel(EVENTS_AHEAD);
        let teller = Teller {
            log: running.call.log().attach(),
            printed: VecDeque::new(),
            cancel: running.call.cancel.clone(),
            events,
        };
        if let Some(failure) = checked.refusal(&args, request.depth) {
            teller.refuse(running.refused(failure));
            return Ok(reader);
        }
        let seat = match running.seat().await? {
            Ok(seat) => seat,
            Err(failure) => {
                teller.refuse(running.refused(failure));
                return Ok(reader);
            }
        };
        let sink = running.sink_for_reader();
        let invocation = running.invocation(args, sink);
        let span = running.span();
        tokio::spawn(tell(self.clone(), running, invocation, seat, teller).instrument(span));
        Ok(reader)
    }
}

/// Carries the call out and tells its reader; ends, and the call with it, when the reader is gone.
async fn tell(
    core: Arc<Core>,
    running: Running,
    invocation: Invocation,
    seat: Seat,
    mut teller: Teller,
) {
    let call = running.call.id.to_string();
    let start = convert::start(running.call.target.start).into();
    if teller
        .send(Event::Started(Started { call, start }))
        .await
        .is_err()
    {
        return;
    }
    let slot = match seat {
        // Kept instances give no streams.
        seat if running.call.target.class.is_some() || !invocation.function.has_streams() => {
            let run = core.run_in(seat, &running.call, invocation);
            match teller.while_running(&running, run).await {
                Ok(outcome) => {
                    let _ = teller.last(running.ended(outcome)).await;
                }
                Err(outcome) => running.abandoned(outcome),
            }
            return;
        }
        Seat::Kept(_) => return,
        Seat::Fresh(slot) => slot,
    };
    let mut slot = slot;
    let invocation = Invocation {
        memory: slot.reserved(),
        ..invocation
    };
    let ran = teller.while_running(&running, core.engine.run(invocation));
    let (Run { mut outcome, items }, gone) = match ran.await {
        Ok(run) => (run, false),
        Err(run) => (run, true),
    };
    outcome.usage.queue += slot.queued;
    match items {
        Some(items) => tell_items(running, outcome, items, gone, teller).await,
        None if gone => running.abandoned(outcome),
        None => {
            drop(slot);
            let outcome = running.ended(outcome);
            let _ = teller.last(outcome).await;
        }
    }
}

/// Tells the answer, then the items of its streams. The sandbox lives on while they are read, so the call ends with
/// them.
async fn tell_items(
    running: Running,
    outcome: Outcome,
    mut items: Items,
    gone: bool,
    mut teller: Teller,
) {
    let (queue, failure) = (outcome.usage.queue, outcome.result.as_ref().err().cloned());
    let streamed = match gone {
        true => Err(Gone),
        false => match teller.last(outcome).await {
            Ok(()) => teller.items(&mut items).await,
            Err(gone) => Err(gone),
        },
    };
    if streamed.is_err() {
        running.call.cancel.cancel();
    }
    let usage = Usage {
        queue,
        ..items.usage().await
    };
    match streamed {
        Ok(broken) => {
            let result = failure.or(broken).map_or_else(|| Ok(Bytes::new()), Err);
            running.ended(Outcome { result, usage });
        }
        Err(Gone) => {
            let cancelled = Failure::new(FailureKind::Cancelled, "");
            let result = Err(failure.unwrap_or(cancelled));
            running.abandoned(Outcome { result, usage });
        }
    }
}

/// Sends events to the reader of one call.
struct Teller {
    events: mpsc::Sender<RunEvent>,
    log: Follower,
    /// What was printed and not sent yet, oldest first.
    printed: VecDeque<LogChunk>,
    /// The call's.
    cancel: CancellationToken,
}

impl Teller {
    /// The only event of a call that got no sandbox.
    fn refuse(self, outcome: Outcome) {
        // Nothing was sent before, so there is room.
        let _ = self
            .events
            .try_send(event(Event::Outcome(convert::outcome(outcome))));
    }

    /// Sends output as it comes until `run` is done. When its reader is gone the call is cancelled, and what came of
    /// it, which nobody will read, is the error: it tells what was used.
    async fn while_running<T>(
        &mut self,
        running: &Running,
        run: impl Future<Output = T>,
    ) -> Result<T, T> {
        let mut run = std::pin::pin!(run);
        loop {
            let told = tokio::select! {
                biased;
                done = &mut run => return Ok(done),
                () = self.events.closed() => Err(Gone),
                room = self.events.reserve(), if !self.printed.is_empty() => {
                    if let (Ok(room), Some(chunk)) = (room, self.printed.pop_front()) {
                        room.send(event(Event::Log(chunk)));
                    }
                    Ok::<_, Gone>(())
                }
                // No more of it while that waits, so the guest waits too.
                Some(chunks) = self.log.next(), if self.printed.is_empty() => {
                    self.printed.extend(chunks);
                    Ok(())
                }
            };
            if told.is_err() {
                running.call.cancel.cancel();
                return Err(run.await);
            }
        }
    }

    /// Sends what was printed before the end, then the outcome.
    async fn last(&mut self, outcome: Outcome) -> Result<(), Gone> {
        let printed = std::mem::take(&mut self.printed);
        self.print(printed.into()).await?;
        let rest = self.log.ready().unwrap_or_default();
        self.print(rest).await?;
        self.send(Event::Outcome(convert::outcome(outcome))).await
    }

    /// Sends the items of the result's streams, and the output meanwhile; answers what broke them.
    async fn items(&mut self, items: &mut Items) -> Result<Option<Failure>, Gone> {
        let mut broken = None;
        loop {
            tokio::select! {
                next = items.next() => match next {
                    Some(next) => {
                        broken = broken.or_else(|| next.failure.clone());
                        self.send(Event::Items(stream_items(next))).await?;
                    }
                    None => break,
                },
                () = self.events.closed() => return Err(Gone),
                Some(chunks) = self.log.next() => self.print(chunks).await?,
            }
        }
        let rest = self.log.ready().unwrap_or_default();
        self.print(rest).await?;
        Ok(broken)
    }

    async fn print(&self, chunks: Vec<LogChunk>) -> Result<(), Gone> {
        for chunk in chunks {
            self.send(Event::Log(chunk)).await?;
        }
        Ok(())
    }

    /// Sends when the reader has read enough for it; a call that is cancelled does not wait for its
    /// reader.
    async fn send(&self, one: Event) -> Result<(), Gone> {
        let late = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            sent = self.events.send(event(one)) => sent.map_err(|_| Gone),
            () = late => Err(Gone),
        }
    }
}

fn event(event: Event) -> RunEvent {
    event.into()
}

fn stream_items(items: StreamItems) -> v1::StreamItems {
    v1::StreamItems {
        stream: items.stream,
        items: items.items,
        end: items.end,
        failure: items.failure.map(convert::failure),
    }
}
