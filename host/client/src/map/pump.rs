//! The two directions of a map's stream, driven from one `poll`.
//!
//! Inputs go out in batches: as many as the credit allows, as fit one message, and as are at hand
//! without waiting. A byte credit may be overdrawn by one input, for an input larger than the node's
//! whole window must still be sent some time.

use super::MapSummary;
use crate::client::Client;
use crate::error::{Error, Refusal, Result};
use crate::failure::{Failure, Usage};
use crate::forms::{Input, Output};
use crate::logs::LogChunk;
use crate::lookup::Bound;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use lydian_api::size::{MAP_BATCH_BYTES, MAP_BATCH_ITEMS};
use lydian_api::v1::map_response::Part;
use lydian_api::v1::{self, MapRequest, MapResponse, map_request, map_result};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Streaming;

/// Messages that may wait for the connection; one more is being filled.
const QUEUED_MESSAGES: usize = 2;

/// Inputs in the wire encoding, with the text of an error naming which one it was.
pub(super) struct Inputs<'a> {
    encoded: BoxStream<'a, Result<Bytes>>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new<A: Input>(
        inputs: impl Stream<Item = A> + Send + 'a,
        bound: Arc<Bound>,
    ) -> Self {
        let limits = bound.value_limits();
        let encoded = inputs.map(move |input| input.encode(bound.ty(), &limits));
        Self {
            encoded: encoded.boxed(),
        }
    }
}

/// What the map is told.
pub(super) enum Event {
    Opened(String),
    Log(LogChunk),
    Result(u64, Result<Bytes, Failure>),
    Done(MapSummary),
}

/// An open map stream.
pub(super) struct Pump<'a> {
    client: Client,
    bound: Arc<Bound>,
    // Dropped before the sender: the node must see the map abandoned, not its inputs ended.
    responses: Streaming<MapResponse>,
    requests: mpsc::Sender<MapRequest>,
    inputs: Inputs<'a>,
    batch: Batch,
    credit: Credit,
    inputs_over: bool,
    results: VecDeque<v1::MapResult>,
}

/// Inputs on their way into one message.
#[derive(Default)]
struct Batch {
    first_index: u64,
    args: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.args.len() >= MAP_BATCH_ITEMS || self.bytes >= MAP_BATCH_BYTES
    }

    fn push(&mut self, args: Bytes) {
        self.bytes += args.len();
        self.args.push(args);
    }

    fn take(&mut self) -> v1::MapInputs {
        let args = std::mem::take(&mut self.args);
        let first_index = self.first_index;
        self.first_index += args.len() as u64;
        self.bytes = 0;
        v1::MapInputs { first_index, args }
    }
}

/// What the node is still willing to take.
#[derive(Default)]
struct Credit {
    inputs: u64,
    /// Below zero after an input larger than what was left.
    bytes: i128,
}

impl Credit {
    fn allows_one(&self) -> bool {
        self.inputs > 0 && self.bytes > 0
    }

    fn grant(&mut self, credit: v1::MapCredit) {
        self.inputs = self.inputs.saturating_add(credit.inputs);
        self.bytes = self.bytes.saturating_add(credit.bytes.into());
    }

    fn spend(&mut self, bytes: usize) {
        self.inputs -= 1;
        self.bytes -= bytes as i128;
    }
}

/// Whether a poll moved anything.
#[derive(PartialEq, Clone, Copy)]
enum Progress {
    Some,
    None,
}

impl<'a> Pump<'a> {
    pub(super) async fn open(
        client: &Client,
        bound: Arc<Bound>,
        open: v1::MapOpen,
        inputs: Inputs<'a>,
    ) -> Result<Self> {
        let (mut requests, queue) = mpsc::channel(QUEUED_MESSAGES);
        let open = v1::MapOpen {
            target: Some(bound.target.clone()),
            ..open
        };
        let open = MapRequest::from(map_request::Part::Open(open));
        requests
            .try_send(open)
            .map_err(|_| Error::broken("a new channel has no room"))?;
        let responses = client.once(client.calls_api().map(queue)).await?;
        Ok(Self {
            client: client.clone(),
            bound,
            responses,
            requests,
            inputs,
            batch: Batch::default(),
            credit: Credit::default(),
            inputs_over: false,
            results: VecDeque::new(),
        })
    }

    pub(super) fn decode<R: Output>(
        &self,
        result: Result<Bytes, Failure>,
    ) -> Result<Result<R, Failure>> {
        let decode = |bytes| {
            let ty = self.bound.ty().result.as_ref();
            R::decode(ty, bytes, &self.bound.value_limits())
        };
        match result {
            Ok(bytes) => decode(bytes).map(Ok),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Sends and receives until there is something to tell.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event>> {
        loop {
            // Feeding first keeps the node busy while the caller looks at results.
            let mut progress = self.poll_send(cx)?;
            if let Some(result) = self.results.pop_front() {
                return Poll::Ready(self.result(result));
            }
            match Pin::new(&mut self.responses).poll_next(cx) {
                Poll::Ready(Some(Ok(response))) => {
                    progress = Progress::Some;
                    if let Some(event) = self.receive(response)? {
                        return Poll::Ready(Ok(event));
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    return Poll::Ready(Err(self.client.error(status)));
                }
                Poll::Ready(None) => {
                    let name = &self.bound.info.name;
                    let text = format!("the node ended the map of `{name}` before its last result");
                    return Poll::Ready(Err(Error::broken(text)));
                }
                Poll::Pending => {}
            }
            if progress == Progress::None {
                return Poll::Pending;
            }
        }
    }

    fn receive(&mut self, response: MapResponse) -> Result<Option<Event>> {
        Ok(match response.part {
            Some(Part::Opened(opened)) => Some(Event::Opened(opened.call)),
            Some(Part::Credit(credit)) => {
                self.credit.grant(credit);
                None
            }
            Some(Part::Results(results)) => {
                self.results.extend(results.results);
                None
            }
            Some(Part::Log(chunk)) => Some(Event::Log(LogChunk::from(chunk))),
            Some(Part::Done(done)) => Some(Event::Done(MapSummary {
                succeeded: done.succeeded,
                failed: done.failed,
                usage: done.total.map(Usage::from).unwrap_or_default(),
            })),
            // A part this client is too old to know.
            None => None,
        })
    }

    fn result(&self, result: v1::MapResult) -> Result<Event> {
        let index = result.index;
        let result = match result.result {
            Some(map_result::Result::Value(value)) => Ok(value),
            Some(map_result::Result::Failure(failure)) => Err(Failure {
                input: Some(index),
                ..Failure::from(failure)
            }),
            None => Ok(Bytes::new()),
        };
        Ok(Event::Result(index, result))
    }

    /// Fills a batch and hands it to the connection, as far as credit, inputs and the connection allow.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Progress> {
        let mut progress = Progress::None;
        while !self.inputs_over {
            // No room, or the node hung up: then the response stream says why.
            if !matches!(self.requests.poll_ready(cx), Poll::Ready(Ok(()))) {
                break;
            }
            self.fill(cx)?;
            if !self.batch.args.is_empty() {
                let inputs = map_request::Part::Inputs(self.batch.take());
                if self.requests.start_send(inputs.into()).is_err() {
                    break;
                }
                progress = Progress::Some;
            } else if !self.inputs_over {
                break;
            }
            if self.inputs_over {
                self.requests.close_channel();
                progress = Progress::Some;
            }
        }
        Ok(progress)
    }

    /// Takes the inputs that are at hand, until the batch is full or the credit spent.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<()> {
        while self.credit.allows_one() && !self.batch.is_full() {
            match self.inputs.encoded.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(args))) => {
                    self.credit.spend(args.len());
                    self.batch.push(args);
                }
                Poll::Ready(Some(Err(error))) => {
                    let index = self.batch.first_index + self.batch.args.len() as u64;
                    return Err(in_input(error, index));
                }
                Poll::Ready(None) => self.inputs_over = true,
                Poll::Pending => break,
            }
            if self.inputs_over {
                break;
            }
        }
        Ok(())
    }
}

/// Says which input was wrong.
fn in_input(error: Error, index: u64) -> Error {
    match error {
        Error::InvalidArgument(refusal) => Error::InvalidArgument(Box::new(Refusal {
            message: format!("input {index}: {}", refusal.message),
            ..*refusal
        })),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input larger than the whole window must not wait for ever; the next one waits its turn.
    #[test]
    fn byte_credit_is_overdrawn_by_one_input_at_most() {
        let mut credit = Credit::default();
        credit.grant(v1::MapCredit {
            inputs: 10,
            bytes: 100,
        });
        assert!(credit.allows_one());
        credit.spend(1000);
        assert!(!credit.allows_one());
        credit.grant(v1::MapCredit {
            inputs: 0,
            bytes: 900,
        });
        assert!(!credit.allows_one());
        credit.grant(v1::MapCredit {
            inputs: 0,
            bytes: 1,
        });
        assert!(credit.allows_one());
    }

    /// Indices run on from batch to batch.
    #[test]
    fn batches_carry_the_index_of_their_first_input() {
        let mut batch = Batch::default();
        batch.push(Bytes::from_static(b"a"));
        batch.push(Bytes::from_static(b"b"));
        assert_eq!((batch.take().first_index, batch.bytes), (0, 0));
        batch.push(Bytes::from_static(b"c"));
        assert_eq!(batch.take().first_index, 2);
    }
}
