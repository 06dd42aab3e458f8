//! One call as a stream of events.

use crate::client::Client;
use crate::error::{Error, Result};
use crate::failure::{Failure, Start, Usage};
use crate::forms::Output;
use crate::logs::LogChunk;
use crate::lookup::Bound;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use lydian_api::v1;
use lydian_api::v1::run_event::Event as Wire;
use lydian_value::{FuncType, Limits};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::Streaming;

/// What happens in a call, in order: [`Started`](Event::Started), then output, then
/// [`Finished`](Event::Finished), then the items of streams in the result.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<R> {
    /// A sandbox was taken.
    Started {
        /// The call's id.
        call: String,
        /// Where the sandbox came from.
        start: Start,
    },
    /// The function wrote something.
    Log(LogChunk),
    /// The function returned, or failed.
    Finished(Finished<R>),
    /// Items of a stream, or the value of a future, in the result.
    Items(Items),
}

/// How a call ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finished<R> {
    /// The result, or why there is none.
    pub result: Result<R, Failure>,
    /// Where its time went.
    pub usage: Usage,
}

/// Some items of one stream in the result.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Items {
    /// The number that stands for the stream in the result.
    pub stream: u32,
    /// The items, in the wire encoding of `list<T>`; empty when only the end is told.
    pub items: Bytes,
    /// Nothing follows.
    pub end: bool,
    /// The sandbox failed while the stream was open; nothing follows.
    pub failure: Option<Failure>,
}

/// A call under way; made by [`Function::run`](crate::Function::run). Dropping it cancels the call.
#[must_use = "dropping a run cancels the call"]
pub struct Run<R> {
    client: Client,
    bound: Arc<Bound>,
    events: Streaming<v1::RunEvent>,
    finished: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("function", &self.bound.info.name)
            .finish_non_exhaustive()
    }
}

impl<R: Output> Run<R> {
    pub(crate) fn new(client: &Client, bound: Arc<Bound>, events: Streaming<v1::RunEvent>) -> Self {
        Self {
            client: client.clone(),
            bound,
            events,
            finished: false,
            result: PhantomData,
        }
    }

    pub(crate) fn ty(&self) -> &FuncType {
        self.bound.ty()
    }

    pub(crate) fn value_limits(&self) -> Limits {
        self.bound.value_limits()
    }

    /// The next event; none after the last.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: the node went away.
    ///
    /// ```no_run
    /// # async fn example(mut run: lydian_client::Run<u64>) -> lydian_client::Result<()> {
    /// while let Some(event) = run.next().await? {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Option<Event<R>>> {
        StreamExt::next(self).await.transpose()
    }

    /// The result, skipping output and not waiting for streams.
    ///
    /// # Errors
    /// - [`Error::Failed`]: it ran and failed.
    /// - [`Error::Unreachable`]: the node went away.
    ///
    /// ```no_run
    /// # async fn example(run: lydian_client::Run<u64>) -> lydian_client::Result<()> {
    /// let result = run.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn finish(mut self) -> Result<R> {
        self.until_finished().await
    }

    pub(crate) async fn until_finished(&mut self) -> Result<R> {
        while let Some(event) = self.next().await? {
            if let Event::Finished(finished) = event {
                return finished
                    .result
                    .map_err(|failure| Error::Failed(Box::new(failure)));
            }
        }
        Err(self.ended_early())
    }

    fn ended_early(&self) -> Error {
        let name = &self.bound.info.name;
        Error::broken(format!(
            "the node ended the run of `{name}` without its outcome"
        ))
    }

    fn event(&mut self, event: Wire) -> Result<Event<R>> {
        Ok(match event {
            Wire::Started(started) => Event::Started {
                start: Start::from(started.start()),
                call: started.call,
            },
            Wire::Log(chunk) => Event::Log(LogChunk::from(chunk)),
            Wire::Items(items) => Event::Items(Items::from(items)),
            Wire::Outcome(outcome) => {
                self.finished = true;
                Event::Finished(self.decode(outcome)?)
            }
        })
    }

    fn decode(&self, outcome: v1::Outcome) -> Result<Finished<R>> {
        let usage = outcome.usage.map(Usage::from).unwrap_or_default();
        let result = match outcome.into_result() {
            Ok(bytes) => Ok(R::decode(
                self.ty().result.as_ref(),
                bytes,
                &self.value_limits(),
            )?),
            Err(failure) => Err(Failure::from(failure)),
        };
        Ok(Finished { result, usage })
    }
}

impl From<v1::StreamItems> for Items {
    fn from(items: v1::StreamItems) -> Self {
        Self {
            stream: items.stream,
            items: items.items,
            end: items.end,
            failure: items.failure.map(Failure::from),
        }
    }
}

impl<R: Output> Stream for Run<R> {
    type Item = Result<Event<R>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let run = self.get_mut();
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut run.events).poll_next(cx)) {
                Some(Ok(v1::RunEvent { event: Some(event) })) => Some(run.event(event)),
                // A kind of event this client is too old to know.
                Some(Ok(v1::RunEvent { event: None })) => continue,
                Some(Err(status)) => Some(Err(run.client.error(status))),
                None if run.finished => None,
                None => {
                    run.finished = true;
                    Some(Err(run.ended_early()))
                }
            });
        }
    }
}
