//! A stream's items on their way to the host: together where they are made quickly, and none of them held back for one that is
//! not.
//!
//! A source that never waits gives one item after another, and nobody knows how long it takes for the next. So what is written
//! at once is bounded by time as well as by number: what a slow source has made is with its reader before it makes more, and a
//! panic takes only what was made in the last moment with it.

use crate::Stream;
use std::time::{Duration, Instant};
use wit_bindgen::rt::async_support::StreamWriter;

/// How many items are handed over at once, at most.
const MOST: usize = 1024;
/// How long an item waits for others that are written with it: far more than a write takes, and nothing to a reader.
const LONGEST: Duration = Duration::from_millis(1);
/// From this many items on, the source is a quick one, and the clock is asked once for so many: it costs as much as they do.
const STRIDE: usize = 16;

/// Writes a stream's items as they come, until it ends or the reader is gone.
///
/// The first goes alone, and at most twice as many each time: a stream that breaks early has shown what it had.
pub async fn feed<T: 'static>(mut writer: StreamWriter<T>, mut source: Stream<T>) {
    let mut most = 1;
    while let Some(first) = source.next().await {
        let began = Instant::now();
        let mut batch = vec![first];
        let is_full = |len: usize| {
            len >= most
                || (len < STRIDE || len.is_multiple_of(STRIDE)) && began.elapsed() >= LONGEST
        };
        let ended = source.ready(&mut batch, is_full).await;
        if !writer.write_all(batch).await.is_empty() || ended {
            return;
        }
        most = (most * 2).min(MOST);
    }
}
