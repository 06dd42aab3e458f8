//! Maps that functions begin: a client's map whose client is in this process.
//!
//! Inputs wait here while the map has granted no credit for them, results there until they are asked for; both are
//! bounded, by [`OUTSTANDING_INPUTS`] and by the bytes a map may hold.

use super::Caller;
use super::answer::recorded;
use crate::budget::{Charge, Held};
use crate::calls::map::Terms;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use lydian_api::size::{MAP_BATCH_BYTES, MAP_BATCH_ITEMS};
use lydian_api::v1::map_response::Part;
use lydian_api::v1::{MapInputs, MapRequest, MapResponse, MapResult, map_request, map_result};
use lydian_engine::calls::{Error, ErrorKind, MapItem, MapOptions, Mapping, Request};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

/// Inputs that were pushed and whose results were not taken. The contract promises 256.
const OUTSTANDING_INPUTS: u64 = 1_024;

struct Map {
    caller: Arc<Caller>,
    name: String,
    /// None once it was said that no more come.
    inputs: Option<mpsc::UnboundedSender<Result<MapRequest, Status>>>,
    results: BoxStream<'static, Result<MapResponse, Status>>,
    return_errors: bool,
    /// Pushed, and the map has no credit for them yet.
    waiting: VecDeque<Bytes>,
    waiting_bytes: u64,
    max_bytes: u64,
    credit_inputs: u64,
    credit_bytes: u64,
    sent: u64,
    pushed: u64,
    taken: u64,
    finished: bool,
    /// Results that were read and not asked for.
    ready: VecDeque<MapResult>,
    /// What pushed bytes take of the node's budget, until so many results were taken.
    room: VecDeque<(u64, Charge)>,
    /// The failure that ended the map, to be told after the results before it.
    failed: Option<Error>,
    over: bool,
}

/// `Calls::map`.
pub(super) async fn begin(
    caller: Arc<Caller>,
    request: Request,
    options: MapOptions,
) -> Result<Box<dyn Mapping>, Error> {
    let checked = caller.check(&request.target).await?;
    let name = checked.target.name().to_owned();
    let terms = Terms {
        ordered: options.ordered,
        return_errors: options.return_errors,
        max_parallel: options.max_parallel,
        lineage: caller.lineage(request.deadline),
        cancel: request.cancel.child_token(),
    };
    let (inputs, queue) = mpsc::unbounded_channel();
    let queue = tokio_stream::wrappers::UnboundedReceiverStream::new(queue);
    let core = caller.core.clone();
    let results = core.map_with(checked, terms, queue, Held::default());
    let mut map = Map {
        name,
        inputs: Some(inputs),
        results: results.boxed(),
        return_errors: options.return_errors,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        max_bytes: core.options.map_window_bytes,
        credit_inputs: 0,
        credit_bytes: 0,
        sent: 0,
        pushed: 0,
        taken: 0,
        finished: false,
        ready: VecDeque::new(),
        room: VecDeque::new(),
        failed: None,
        over: false,
        caller,
    };
    // The first credit is there without waiting, and with it inputs run before a result is asked for.
    while map.credit_inputs == 0 && !map.over {
        map.advance().await?;
    }
    Ok(Box::new(map))
}

impl Mapping for Map {
    fn push(&mut self, inputs: Vec<Bytes>) -> Result<(), Error> {
        if self.finished {
            let text = format!("the map over `{}` was finished already", self.name);
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        if self.over {
            // Its end is for `next` to tell; more inputs change nothing.
            return Ok(());
        }
        let count = inputs.len() as u64;
        let bytes: u64 = inputs.iter().map(|input| input.len() as u64).sum();
        let outstanding = self.pushed - self.taken;
        let full = outstanding + count > OUTSTANDING_INPUTS;
        // One large input alone is let in, or it never could be.
        let heavy = self.waiting_bytes + bytes > self.max_bytes && outstanding + count > 1;
        if full || heavy {
            let text = format!(
                "the map over `{}` holds {outstanding} inputs and has no room for {count} more",
                self.name
            );
            return Err(Error::new(ErrorKind::Budget, text).hint("take results first"));
        }
        let Some(room) = self.caller.core.budget.try_charge(bytes) else {
            let text = format!("the node holds too many bytes of other calls to take {bytes} more");
            return Err(Error::new(ErrorKind::Budget, text).hint("take results first"));
        };
        self.caller.root.take(count)?;
        self.pushed += count;
        self.room.push_back((self.pushed, room));
        self.waiting_bytes += bytes;
        self.waiting.extend(inputs);
        self.send();
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
        self.send();
    }

    fn next(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<MapItem>, Error>> {
        self.take(max).boxed()
    }
}

impl Map {
    /// Hands on as many inputs as there is credit for.
    fn send(&mut self) {
        while self.credit_inputs > 0 && self.credit_bytes > 0 && !self.waiting.is_empty() {
            let first_index = self.sent;
            let (mut args, mut bytes) = (Vec::new(), 0);
            while args.len() < MAP_BATCH_ITEMS
                && bytes < MAP_BATCH_BYTES as u64
                && self.credit_inputs > 0
                // As of the map's own rules, the last input may overdraw.
                && self.credit_bytes > 0
                && let Some(input) = self.waiting.pop_front()
            {
                let size = input.len() as u64;
                bytes += size;
                self.credit_inputs -= 1;
                self.credit_bytes = self.credit_bytes.saturating_sub(size);
                args.push(input);
            }
            self.sent += args.len() as u64;
            self.waiting_bytes -= bytes;
            self.say(map_request::Part::Inputs(MapInputs { first_index, args }));
        }
        if self.finished && self.waiting.is_empty() {
            self.inputs = None;
        }
    }

    fn say(&self, part: map_request::Part) {
        if let Some(inputs) = &self.inputs {
            // A map that is over takes no more, which is for `next` to tell.
            let _ = inputs.send(Ok(part.into()));
        }
    }

    async fn take(&mut self, max: usize) -> Result<Vec<MapItem>, Error> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        while self.ready.is_empty() && !self.over {
            self.advance().await?;
        }
        let count = max.min(self.ready.len());
        let mut items = Vec::with_capacity(count);
        for result in self.ready.drain(..count) {
            self.taken += 1;
            let outcome = match result.result {
                Some(map_result::Result::Failure(failure)) => Err(recorded(failure)),
                Some(map_result::Result::Value(value)) => Ok(value),
                None => Ok(Bytes::new()),
            };
            match outcome {
                Err(error) if !self.return_errors => {
                    self.over = true;
                    self.failed = Some(error);
                    break;
                }
                outcome => items.push(MapItem {
                    index: result.index,
                    outcome,
                }),
            }
        }
        let taken = self.taken;
        while self.room.front().is_some_and(|(upto, _)| *upto <= taken) {
            self.room.pop_front();
        }
        match self.failed.take_if(|_| items.is_empty()) {
            Some(failed) => Err(failed),
            None => Ok(items),
        }
    }

    /// Reads one thing that the map has to say.
    async fn advance(&mut self) -> Result<(), Error> {
        match self.results.next().await {
            Some(Ok(MapResponse { part })) => match part {
                Some(Part::Credit(credit)) => {
                    self.credit_inputs += credit.inputs;
                    self.credit_bytes += credit.bytes;
                    self.send();
                }
                Some(Part::Results(results)) => self.ready.extend(results.results),
                Some(Part::Done(_)) => self.over = true,
                // What is printed goes to the call's log.
                Some(Part::Opened(_) | Part::Log(_)) | None => {}
            },
            None => self.over = true,
            Some(Err(status)) => {
                self.over = true;
                return Err(Error::new(ErrorKind::Unavailable, status.message()));
            }
        }
        Ok(())
    }
}
