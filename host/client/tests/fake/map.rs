//! Maps: one input after another, under the credit that the script gives.

use super::{Fake, square};
use lydian_api::v1::{self, map_request, map_response, map_result};
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

/// Counts maps whose answer nobody reads any more before it is complete.
pub(super) struct Abandoned<S> {
    pub(super) stream: S,
    pub(super) fake: Fake,
    pub(super) done: bool,
}

impl<S: Stream + Unpin> Stream for Abandoned<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(cx);
        self.done |= matches!(next, std::task::Poll::Ready(None));
        next
    }
}

impl<S> Drop for Abandoned<S> {
    fn drop(&mut self) {
        if !self.done {
            self.fake.asked().maps_dropped.fetch_add(1, SeqCst);
        }
    }
}

impl Fake {
    /// One input at a time, credit for the window; gives up when nobody reads.
    pub(super) async fn run_map(
        self,
        mut parts: Streaming<v1::MapRequest>,
        answers: mpsc::Sender<Result<v1::MapResponse, Status>>,
    ) -> Option<()> {
        let say = async |part: map_response::Part| answers.send(Ok(part.into())).await.ok();
        let window = self.script.map_window.load(SeqCst);
        let Some(map_request::Part::Open(open)) = parts.next().await?.ok()?.part else {
            return None;
        };
        let call = "c-map".into();
        say(map_response::Part::Opened(v1::MapOpened { call })).await?;
        let bytes = 1 << 20;
        say(map_response::Part::Credit(v1::MapCredit {
            inputs: window,
            bytes,
        }))
        .await?;
        let (mut granted, mut received) = (window, 0);
        let mut done = v1::MapDone::default();
        while let Some(part) = parts.next().await {
            let Some(map_request::Part::Inputs(inputs)) = part.ok()?.part else {
                return None;
            };
            assert_eq!(inputs.first_index, received, "an index was left out");
            received += inputs.args.len() as u64;
            self.asked()
                .map_inputs
                .fetch_add(inputs.args.len() as u64, SeqCst);
            self.asked()
                .overdrawn
                .fetch_add(received.saturating_sub(granted), SeqCst);
            let mut results = Vec::new();
            for (index, args) in (inputs.first_index..).zip(&inputs.args) {
                let result = square(args);
                let failed = result.is_err();
                done.succeeded += u64::from(!failed);
                done.failed += u64::from(failed);
                results.push(v1::MapResult {
                    index,
                    result: Some(match result {
                        Ok(value) => map_result::Result::Value(value),
                        Err(failure) => map_result::Result::Failure(failure),
                    }),
                });
                if failed && !open.return_errors {
                    break;
                }
            }
            if !open.ordered {
                results.reverse();
            }
            let credit = v1::MapCredit {
                inputs: inputs.args.len() as u64,
                bytes: inputs.args.iter().map(|args| args.len() as u64).sum(),
            };
            say(map_response::Part::Results(v1::MapResults { results })).await?;
            if done.failed > 0 && !open.return_errors {
                break;
            }
            granted += credit.inputs;
            say(map_response::Part::Credit(credit)).await?;
        }
        say(map_response::Part::Done(done)).await
    }
}
