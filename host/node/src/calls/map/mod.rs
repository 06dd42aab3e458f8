//! Many inputs, many results, over one stream with credits; flat memory whatever their number.
//!
//! ```text
//! client --inputs within credit--> reader --+            +--> writer --results, credit--> client
//!                                           v            |
//!                                        board: queue, running, finished (window)
//!                                           ^            |
//!                                           +-- workers -+   one sandbox each, input after input
//! ```
//!
//! - The **window** bounds inputs that were granted and whose results were not yet sent: queued, running,
//!   and held back for order. Sending results grants as many inputs again. Bytes are granted apart.
//! - A **worker** is a task that takes inputs one after the other and ends when there are none; no task, timer or
//!   message is made per input. Workers begin at twice the processors and double while inputs wait and too few
//!   finish, so sandboxes that sleep are joined by others while sandboxes that compute are not, up to the bound.
//! - Finished results over [`RESULT_BYTES`] stop workers from taking inputs until the client reads. Inputs
//!   are taken in order, so the one everything waits for is never the one held back.
//! - The first failure stops the map unless errors are returned: inputs after it are not taken, and in
//!   order those before it are still answered.
//!
//! Not here: admission between maps and others ([`crate::admission`]), what one input may use.

mod board;
mod printed;
mod reader;
mod worker;
mod writer;

use crate::budget::Held;
use crate::calls::invoke::{Checked, Running, interrupted};
use crate::calls::nested::lineage::Lineage;
use crate::calls::record::{Call, Kind};
use crate::core::Core;
use crate::error::Error;
use board::Board;
use futures::Stream;
use lydian_api::v1::{MapDone, MapOpen, MapRequest, MapResponse};
use lydian_engine::{Failure, FailureKind};
use parking_lot::Mutex;
use printed::Printed;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};

/// Inputs granted beyond those answered: what 10 ms of the fastest guests use up.
pub(crate) const WINDOW_INPUTS: u64 = 8_192;

/// Results that may wait for the client.
pub(crate) const RESULT_BYTES: u64 = 32 << 20;

/// Sandboxes a map gets when it does not say, per processor: enough to cover waits of a guest that mostly computes.
const DEFAULT_PARALLEL_PER_THREAD: usize = 16;

/// What reader, workers and writer of one map share.
pub(crate) struct Map {
    core: Arc<Core>,
    call: Arc<Call>,
    checked: Checked,
    board: Board,
    span: Span,
    /// Told when there is something to send: results, room, the end.
    news: Notify,
    printed: Arc<Printed>,
    /// Whether someone looks after the number of workers already.
    growing: AtomicBool,
    /// Why the map ends without an end, if it does.
    broken: Mutex<Option<Status>>,
}

/// Ends the map when the client lets go of it.
struct Guard {
    map: Arc<Map>,
    reader: AbortHandle,
    // Recorded as ended, or as cancelled, when dropped.
    _running: Running,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.reader.abort();
        self.map.board.stop();
        self.map.call.cancel.cancel();
    }
}

/// How a map is done, and for whom.
pub(crate) struct Terms {
    pub(crate) ordered: bool,
    pub(crate) return_errors: bool,
    /// Sandboxes at once; 0: the node decides.
    pub(crate) max_parallel: u32,
    pub(crate) lineage: Lineage,
    pub(crate) cancel: CancellationToken,
}

impl Core {
    /// `Calls.Map`, from its first message on. `inputs` are the messages that follow it,
    /// and `room` what each of them takes of the byte budget.
    pub(crate) async fn map<I>(
        self: &Arc<Self>,
        open: MapOpen,
        inputs: I,
        room: Held,
    ) -> Result<impl Stream<Item = Result<MapResponse, Status>> + Send + use<I>, Error>
    where
        I: Stream<Item = Result<MapRequest, Status>> + Send + Unpin + 'static,
    {
        if self.admission.draining() {
            return Err(Error::Draining);
        }
        let checked = self
            .check(open.target.as_ref(), open.limits.as_ref())
            .await?;
        let terms = Terms {
            ordered: open.ordered,
            return_errors: open.return_errors,
            max_parallel: open.max_parallel,
            lineage: Lineage::of_client(open.target.as_ref(), open.depth, open.traceparent),
            cancel: CancellationToken::new(),
        };
        Ok(self.map_with(checked, terms, inputs, room))
    }

    /// A map of a function that is known.
    pub(crate) fn map_with<I>(
        self: &Arc<Self>,
        checked: Checked,
        terms: Terms,
        inputs: I,
        room: Held,
    ) -> impl Stream<Item = Result<MapResponse, Status>> + Send + use<I>
    where
        I: Stream<Item = Result<MapRequest, Status>> + Send + Unpin + 'static,
    {
        let running = self.begin_with(Kind::Map, &checked, terms.lineage, terms.cancel);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = match terms.max_parallel as usize {
            0 => threads * DEFAULT_PARALLEL_PER_THREAD,
            wanted => wanted,
        };
        let most = wanted.clamp(
            1,
            self.admission
                .of(checked.target.function.is_concurrent())
                .max(),
        );
        let span = running.span();
        let map = Arc::new(Map {
            call: running.call.clone(),
            printed: Printed::of(running.call.clone()),
            board: Board::new(board::Rules {
                ordered: terms.ordered,
                return_errors: terms.return_errors,
                window_inputs: WINDOW_INPUTS,
                window_bytes: self.options.map_window_bytes,
                workers: ((threads * 2).min(most), most),
            }),
            span: span.clone(),
            growing: AtomicBool::new(false),
            news: Notify::new(),
            broken: Mutex::new(None),
            core: self.clone(),
            checked,
        });
        let reader = reader::read(map.clone(), inputs, room).instrument(span);
        let reader = tokio::spawn(reader).abort_handle();
        writer::responses(Guard {
            map,
            reader,
            _running: running,
        })
    }
}

impl Map {
    /// Ends the map with a status: its client broke the rules, or is gone.
    fn fail(&self, status: Status) {
        self.board.stop();
        self.call.cancel.cancel();
        self.broken.lock().get_or_insert(status);
    }

    /// Ends the map because its call was cancelled, or because the node stops.
    fn cut(&self) {
        let name = self.checked.target.name();
        self.board.cut(match self.call.is_interrupted() {
            true => interrupted(name),
            false => Failure::new(
                FailureKind::Cancelled,
                format!("the map over `{name}` was cancelled"),
            ),
        });
    }

    fn failed(&self) -> Option<Status> {
        self.broken.lock().take()
    }

    /// The failure that the call as a whole is remembered with.
    fn ending(&self, done: &MapDone) -> Option<Failure> {
        let name = self.checked.target.name();
        if self.call.cancel.is_cancelled() {
            return Some(Failure::new(
                FailureKind::Cancelled,
                format!("the map over `{name}` was cancelled"),
            ));
        }
        let (failed, all) = (done.failed, done.failed + done.succeeded);
        (failed > 0).then(|| {
            Failure::new(
                FailureKind::Trap,
                format!("{failed} of {all} inputs of `{name}` failed"),
            )
        })
    }
}
