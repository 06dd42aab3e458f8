//! The state of one map under one lock: inputs in line, results in line, and what was granted.
//!
//! Pure bookkeeping: nothing here waits or runs, so its rules are tested without a node.

use super::RESULT_BYTES;
use crate::budget::Charge;
use crate::convert;
use bytes::Bytes;
use lydian_api::size::{MAP_BATCH_BYTES, MAP_BATCH_ITEMS};
use lydian_api::v1::{MapCredit, MapDone, MapInputs, MapResult, map_result};
use lydian_engine::{Failure, Outcome, Usage};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a result counts for besides its bytes.
const RESULT_OVERHEAD_BYTES: u64 = 64;

/// How a map behaves.
pub(super) struct Rules {
    pub(super) ordered: bool,
    pub(super) return_errors: bool,
    /// Inputs granted beyond those answered.
    pub(super) window_inputs: u64,
    /// Bytes of arguments granted beyond those done with.
    pub(super) window_bytes: u64,
    /// Workers to begin with, and at most.
    pub(super) workers: (usize, usize),
}

/// One input on its way to a sandbox.
pub(super) struct Input {
    pub(super) index: u64,
    pub(super) args: Bytes,
    /// Of the message it came in; the room is free again when all of its inputs are done with.
    _charge: Arc<Charge>,
}

pub(super) struct Board {
    rules: Rules,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Input>,
    /// Index the next input must have; so many were received.
    received: u64,
    received_bytes: u64,
    granted: u64,
    granted_bytes: u64,
    /// Bytes of inputs received and not done with.
    held_bytes: u64,
    all_read: bool,
    running: u64,
    workers: usize,
    target: usize,
    /// Finished since the last look of [`Board::grow`].
    pace: usize,
    /// Finished and not yet sent: by index from `answered` when ordered, else as they came.
    ready: VecDeque<Option<MapResult>>,
    ready_bytes: u64,
    ready_count: usize,
    answered: u64,
    /// Inputs from this index on are not run.
    stop_at: Option<u64>,
    /// Nothing is sent any more but the end.
    over: bool,
    /// Why the map was cut short, if not by a result.
    cut: Option<Failure>,
    succeeded: u64,
    failed: u64,
    total: Usage,
}

/// What the writer does next.
pub(super) enum Next {
    Results(Vec<MapResult>),
    Credit(MapCredit),
    Wait,
    Done(MapDone),
}

/// Why inputs are refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Indices must follow one another from 0.
    Index { expected: u64, found: u64 },
    /// More was sent than granted.
    Credit,
}

impl Board {
    pub(super) fn new(rules: Rules) -> Self {
        let state = State {
            target: rules.workers.0,
            ..State::default()
        };
        Self {
            rules,
            state: Mutex::new(state),
        }
    }

    /// Puts received inputs in line.
    pub(super) fn receive(&self, inputs: MapInputs, charge: Charge) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if inputs.first_index != state.received {
            return Err(Refused::Index {
                expected: state.received,
                found: inputs.first_index,
            });
        }
        for args in &inputs.args {
            // The last of the bytes may be overdrawn by one input, or a large one could never be sent.
            if state.received >= state.granted || state.received_bytes >= state.granted_bytes {
                return Err(Refused::Credit);
            }
            state.received += 1;
            state.received_bytes += args.len() as u64;
            state.held_bytes += args.len() as u64;
        }
        let charge = Arc::new(charge);
        for (index, args) in (inputs.first_index..).zip(inputs.args) {
            state.queue.push_back(Input {
                index,
                args,
                _charge: charge.clone(),
            });
        }
        Ok(())
    }

    /// No more inputs will come.
    pub(super) fn all_read(&self) {
        self.state.lock().all_read = true;
    }

    /// Records what a worker finished and gives it its next input. None: it ends.
    pub(super) fn exchange(&self, finished: Option<(Input, Outcome)>) -> Option<Input> {
        let mut state = self.state.lock();
        if let Some((input, outcome)) = finished {
            self.finish(&mut state, input, outcome);
        }
        let next = if state.may_run() {
            state.queue.pop_front()
        } else {
            None
        };
        match &next {
            Some(_) => state.running += 1,
            None => state.workers -= 1,
        }
        next
    }

    /// Puts an input back that its worker could not run; the worker ends.
    pub(super) fn give_back(&self, input: Input) {
        let mut state = self.state.lock();
        state.running -= 1;
        state.workers -= 1;
        let place = state
            .queue
            .partition_point(|queued| queued.index < input.index);
        state.queue.insert(place, input);
    }

    /// How many workers to start now; they count from here on.
    pub(super) fn hire(&self) -> usize {
        let mut state = self.state.lock();
        if !state.may_run() {
            return 0;
        }
        let wanted = state
            .queue
            .len()
            .min(state.target.saturating_sub(state.workers));
        state.workers += wanted;
        wanted
    }

    /// Doubles the workers when inputs wait and fewer were finished since the last time than there are workers.
    /// False: nobody works, so there is nothing to look after.
    pub(super) fn grow(&self) -> bool {
        let mut state = self.state.lock();
        let slow = std::mem::take(&mut state.pace) < state.workers;
        if slow && state.may_run() {
            state.target = (state.target * 2).min(self.rules.workers.1);
        }
        state.workers > 0
    }

    /// Ends the map early, for `why`; what runs already still answers.
    pub(super) fn cut(&self, why: Failure) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.stop_at.unwrap_or(u64::MAX).min(state.next_to_run()));
        state.cut.get_or_insert(why);
    }

    /// Nothing is run or sent any more.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.over = true;
        state.stop_at = Some(0);
        state.queue.clear();
        state.ready.clear();
    }

    /// What the map has used.
    pub(super) fn total(&self) -> Usage {
        self.state.lock().total
    }

    /// Whether the map is being cut short, and nobody need ask for it again.
    pub(super) fn is_cut(&self) -> bool {
        let state = self.state.lock();
        state.over || state.stop_at.is_some()
    }

    /// Results that wait to be sent, and whether more are on the way.
    pub(super) fn ready(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.ready_count, state.running > 0)
    }

    /// Whether workers stopped because the client does not read.
    pub(super) fn has_work(&self) -> bool {
        let state = self.state.lock();
        state.may_run() && state.workers < state.target
    }

    /// What to send next.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        let results = self.take_results(&mut state);
        if !results.is_empty() {
            return Next::Results(results);
        }
        if state.over || state.exhausted() && state.running == 0 {
            return match self.last_word(&mut state) {
                Some(result) => Next::Results(vec![result]),
                None => Next::Done(self.done(&state)),
            };
        }
        self.credit(&mut state).map_or(Next::Wait, Next::Credit)
    }

    fn finish(&self, state: &mut State, input: Input, outcome: Outcome) {
        state.running -= 1;
        state.pace += 1;
        state.held_bytes -= input.args.len() as u64;
        add(
            &mut state.total,
            &outcome.usage,
            state.succeeded + state.failed == 0,
        );
        let result = match outcome.result {
            Ok(value) => {
                state.succeeded += 1;
                map_result::Result::Value(value)
            }
            Err(failure) => {
                state.failed += 1;
                if !self.rules.return_errors {
                    state.stop_at = Some(state.stop_at.unwrap_or(u64::MAX).min(input.index));
                }
                map_result::Result::Failure(convert::failure(failure))
            }
        };
        if state.over {
            return;
        }
        let result = MapResult {
            index: input.index,
            result: Some(result),
        };
        state.ready_bytes += cost(&result);
        state.ready_count += 1;
        if !self.rules.ordered {
            state.ready.push_back(Some(result));
            return;
        }
        // The window bounds how far an index can be ahead.
        let place = (input.index - state.answered) as usize;
        if state.ready.len() <= place {
            state.ready.resize_with(place + 1, || None);
        }
        state.ready[place] = Some(result);
    }

    fn take_results(&self, state: &mut State) -> Vec<MapResult> {
        let (mut results, mut bytes) = (Vec::new(), 0);
        while !state.over && results.len() < MAP_BATCH_ITEMS && bytes < MAP_BATCH_BYTES as u64 {
            let Some(result) = state.ready.front_mut().and_then(Option::take) else {
                break;
            };
            state.ready.pop_front();
            state.answered += 1;
            state.ready_count -= 1;
            state.ready_bytes -= cost(&result);
            bytes += cost(&result);
            let failed = matches!(result.result, Some(map_result::Result::Failure(_)));
            state.over = failed && !self.rules.return_errors;
            results.push(result);
        }
        results
    }

    /// The failure that tells why a map was cut short, once.
    fn last_word(&self, state: &mut State) -> Option<MapResult> {
        let why = state.cut.take()?;
        if state.over {
            return None;
        }
        state.over = true;
        state.failed += 1;
        let index = state.next_to_run();
        Some(MapResult {
            index,
            result: Some(map_result::Result::Failure(convert::failure(why))),
        })
    }

    fn done(&self, state: &State) -> MapDone {
        MapDone {
            succeeded: state.succeeded,
            failed: state.failed,
            total: Some(convert::usage(&state.total)),
        }
    }

    /// New credit, when it is worth a message: a quarter of a window, or the client has none.
    fn credit(&self, state: &mut State) -> Option<MapCredit> {
        if state.all_read {
            return None;
        }
        let inputs = (state.answered + self.rules.window_inputs).saturating_sub(state.granted);
        let free_from = state.received_bytes - state.held_bytes;
        let bytes = (free_from + self.rules.window_bytes).saturating_sub(state.granted_bytes);
        let out_of_inputs = state.granted == state.received && inputs > 0;
        let out_of_bytes =
            state.held_bytes == 0 && bytes > 0 && bytes >= self.rules.window_bytes / 4;
        let worth = inputs >= self.rules.window_inputs / 4 || bytes >= self.rules.window_bytes / 4;
        if !(worth || out_of_inputs || out_of_bytes) {
            return None;
        }
        state.granted += inputs;
        state.granted_bytes += bytes;
        Some(MapCredit { inputs, bytes })
    }
}

impl State {
    /// Whether a worker may take the input at the front.
    fn may_run(&self) -> bool {
        let Some(front) = self.queue.front() else {
            return false;
        };
        !self.over
            && self.ready_bytes <= RESULT_BYTES
            && self.stop_at.is_none_or(|stop| front.index < stop)
    }

    /// Whether no further input will be run.
    fn exhausted(&self) -> bool {
        match self.stop_at {
            Some(stop) => self.queue.front().is_none_or(|front| front.index >= stop),
            None => self.all_read && self.queue.is_empty(),
        }
    }

    fn next_to_run(&self) -> u64 {
        self.queue
            .front()
            .map_or(self.received, |front| front.index)
    }
}

fn cost(result: &MapResult) -> u64 {
    let bytes = match &result.result {
        Some(map_result::Result::Value(value)) => value.len(),
        Some(map_result::Result::Failure(failure)) => {
            failure.message.len() + failure.backtrace.len()
        }
        None => 0,
    };
    bytes as u64 + RESULT_OVERHEAD_BYTES
}

/// Sums of times and bytes; the highest peak; the first start, which tells whether the map began cold.
fn add(total: &mut Usage, one: &Usage, first: bool) {
    total.queue += one.queue;
    total.load += one.load;
    total.compile += one.compile;
    total.instantiate += one.instantiate;
    total.run += one.run;
    total.cpu += one.cpu;
    total.peak_memory_bytes = total.peak_memory_bytes.max(one.peak_memory_bytes);
    total.bytes_in += one.bytes_in;
    total.bytes_out += one.bytes_out;
    total.output_bytes += one.output_bytes;
    if first {
        total.start = one.start;
    }
}

#[cfg(test)]
mod tests;
