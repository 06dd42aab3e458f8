//! The items of a function's `stream<T>` result.

use crate::error::{Error, Refusal, Result};
use crate::failure::Failure;
use crate::forms::{Output, Wire};
use crate::function::Function;
use crate::run::{Event, Run};
use futures::Stream;
use lydian_value::Type;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl Function {
    /// The type of the items of the result, checked against `T`.
    pub(crate) async fn stream_item<T: Output>(&self) -> Result<Type> {
        let bound = self.bind().await?;
        let name = &bound.info.name;
        let wrong = |what: String| {
            Error::InvalidArgument(
                Refusal::new(
                    "not-a-stream",
                    format!("the result of `{name}` is {what}, not a stream of items"),
                )
                .about(name)
                .hint("use `function.call(…)`, or `function.run(…)` for streams inside a result"),
            )
        };
        match &bound.ty().result {
            Some(Type::Stream(item) | Type::Future(item)) => {
                // What carries nothing is read as so many `()`.
                let item = item.as_deref().cloned();
                let item = item.unwrap_or_else(|| Type::tuple([]));
                T::check(Some(&item))?;
                Ok(item)
            }
            Some(other) => Err(wrong(format!("`{other}`"))),
            None => Err(wrong("nothing".to_owned())),
        }
    }
}

/// The items of a stream result as they come: `impl Stream<Item = Result<T>>`. Dropping it cancels the
/// call; made by [`Function::stream`].
#[must_use = "dropping the stream cancels the call"]
#[derive(Debug)]
pub struct ResultStream<T> {
    run: Run<Wire>,
    item: Type,
    ready: VecDeque<T>,
    /// Told once the items before it are.
    failure: Option<Failure>,
    ended: bool,
}

impl<T: Output> ResultStream<T> {
    /// Waits until the function has returned its stream.
    pub(crate) async fn open(mut run: Run<Wire>, item: Type) -> Result<Self> {
        run.until_finished().await?;
        Ok(Self {
            run,
            item,
            ready: VecDeque::new(),
            failure: None,
            ended: false,
        })
    }

    /// The items that came together, which is faster than one by one; none after the last.
    ///
    /// # Errors
    /// - [`Error::Failed`]: the function failed while its stream was open.
    /// - [`Error::Unreachable`]: the node went away.
    ///
    /// ```no_run
    /// # async fn example(bytes: lydian_client::Function) -> lydian_client::Result<()> {
    /// let mut stream = bytes.stream::<_, u8>(()).await?;
    /// while let Some(chunk) = stream.next_chunk().await? {
    ///     println!("{} bytes", chunk.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<T>>> {
        std::future::poll_fn(|cx| {
            if self.ready.is_empty() {
                match ready!(self.poll_fill(cx)) {
                    Ok(true) => {}
                    Ok(false) => return Poll::Ready(Ok(None)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(Some(std::mem::take(&mut self.ready).into())))
        })
        .await
    }

    /// Waits for at least one item; false after the last.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        while self.ready.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.run).poll_next(cx)).transpose() {
                Ok(Some(Event::Items(items))) => {
                    self.ended |= items.end;
                    if !items.items.is_empty() {
                        let limits = self.run.value_limits();
                        self.ready = T::decode_list(&self.item, items.items, &limits)?.into();
                    }
                    if let Some(failure) = items.failure {
                        self.ended = true;
                        self.failure = Some(failure);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        if self.ready.is_empty()
            && let Some(failure) = self.failure.take()
        {
            return Poll::Ready(Err(Error::Failed(Box::new(failure))));
        }
        Poll::Ready(Ok(!self.ready.is_empty()))
    }
}

/// Items are plain values, pinned to nothing.
impl<T> Unpin for ResultStream<T> {}

impl<T: Output> Stream for ResultStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.poll_fill(cx)) {
            Ok(_) => Poll::Ready(self.ready.pop_front().map(Ok)),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}
