//! Sends results, credit and output to the client; when it stops reading, so does everything else.

use super::board::Next;
use super::{Guard, worker};
use crate::calls::log::Follower;
use futures::Stream;
use lydian_api::v1::{LogChunk, MapDone, MapOpened, MapResponse, MapResults, map_response::Part};
use std::collections::VecDeque;
use std::time::Duration;
use tonic::Status;

/// Fewer results than this are worth a moment's wait for more to share their message.
const SMALL_BATCH: usize = 256;

/// That moment: the shortest a timer can do.
const LINGER: Duration = Duration::from_millis(1);

struct Writer {
    guard: Guard,
    log: Follower,
    /// To be sent before anything new is looked for.
    waiting: VecDeque<Part>,
    over: bool,
}

/// The answer's messages, first to last.
pub(super) fn responses(guard: Guard) -> impl Stream<Item = Result<MapResponse, Status>> + Send {
    let call = guard.map.call.id.to_string();
    let writer = Writer {
        log: guard.map.call.log().attach(),
        waiting: VecDeque::from([Part::Opened(MapOpened { call })]),
        over: false,
        guard,
    };
    futures::stream::unfold(Some(writer), |writer| async move {
        let mut writer = writer?;
        match writer.next().await {
            Some(Ok(part)) => Some((Ok(part.into()), Some(writer))),
            Some(Err(status)) => Some((Err(status), None)),
            None => None,
        }
    })
}

impl Writer {
    async fn next(&mut self) -> Option<Result<Part, Status>> {
        loop {
            if let Some(part) = self.waiting.pop_front() {
                return Some(Ok(part));
            }
            if self.over {
                return None;
            }
            let map = self.guard.map.clone();
            if let Some(status) = map.failed() {
                return Some(Err(status));
            }
            // Before results, of which there may be some every time: whoever prints waits for its reader.
            let printed = self.log.ready().unwrap_or_default();
            self.print(printed);
            match map.board.next() {
                Next::Results(results) => {
                    // Room was made: workers that stopped for it go on.
                    if map.board.has_work() {
                        worker::hire(&map);
                    }
                    self.waiting
                        .push_back(Part::Results(MapResults { results }));
                }
                Next::Credit(credit) => self.waiting.push_back(Part::Credit(credit)),
                Next::Done(done) => self.finish(done),
                Next::Wait if self.waiting.is_empty() => self.wait().await,
                Next::Wait => {}
            }
        }
    }

    /// Waits until there may be something to send.
    async fn wait(&mut self) {
        let map = self.guard.map.clone();
        tokio::select! {
            () = map.news.notified() => {
                let (ready, more) = map.board.ready();
                if ready < SMALL_BATCH && more {
                    tokio::time::sleep(LINGER).await;
                }
            }
            Some(chunks) = self.log.next() => self.print(chunks),
            () = map.call.cancel.cancelled(), if !map.board.is_cut() => map.cut(),
        }
    }

    fn finish(&mut self, done: MapDone) {
        let map = &self.guard.map;
        map.call.finished(map.board.total(), map.ending(&done));
        let rest = self.log.ready().unwrap_or_default();
        self.print(rest);
        self.waiting.push_back(Part::Done(done));
        self.over = true;
    }

    fn print(&mut self, chunks: Vec<LogChunk>) {
        self.waiting.extend(chunks.into_iter().map(Part::Log));
    }
}
