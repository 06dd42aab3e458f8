//! The services of `lydian.v1`: messages in, [`crate::core::Core`] asked, messages out. No rule lives here.

mod apps;
mod blobs;
mod calls;
mod nodes;
pub(crate) mod payload;
pub(crate) mod sending;

pub(crate) use apps::AppsService;
pub(crate) use blobs::BlobsService;
pub(crate) use calls::CallsService;
pub(crate) use nodes::NodesService;

use crate::calls::log::Follower;
use futures::Stream;
use futures::stream::BoxStream;
use lydian_api::v1::LogChunk;
use tonic::Status;

/// A streamed answer.
type Streamed<T> = BoxStream<'static, Result<T, Status>>;

/// `first`, then what `follower` reads; `keep` drops chunks that were not asked for.
fn log_stream(
    follower: Option<Follower>,
    first: Vec<LogChunk>,
    keep: impl Fn(&LogChunk) -> bool + Send + 'static,
) -> impl Stream<Item = Result<LogChunk, Status>> + Send {
    futures::stream::unfold(
        (follower, first.into_iter(), keep),
        |(mut follower, mut chunks, keep)| async move {
            loop {
                if let Some(chunk) = chunks.next() {
                    return Some((Ok(chunk), (follower, chunks, keep)));
                }
                let next = follower.as_mut()?.next().await?;
                chunks = next
                    .into_iter()
                    .filter(&keep)
                    .collect::<Vec<_>>()
                    .into_iter();
            }
        },
    )
}
