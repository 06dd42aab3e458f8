//! One function over many inputs: a stream of results, fed by a stream of inputs.
//!
//! Everything happens while the [`Map`] is polled: inputs are taken only when the node has granted
//! credit for them, and results only when somebody wants them. So memory stays flat however many inputs
//! there are, a slow reader slows the inputs, and dropping the map cancels what runs. No task is
//! spawned, and inputs may borrow.

mod pump;

use crate::error::{Error, Result};
use crate::failure::{Failure, Usage};
use crate::forms::{Input, Output};
use crate::function::Function;
use crate::logs::LogChunk;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use lydian_api::v1;
use pump::{Inputs, Pump};
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An item and the index of its input, or the end.
type PollIndexed<T> = Poll<Option<Result<(u64, T)>>>;

/// What is done with an input whose function failed. Implemented by [`Raise`] and [`Collect`].
pub trait OnFailure<R>: Send + 'static {
    /// What the map yields.
    type Item;
    #[doc(hidden)]
    const RETURN_ERRORS: bool;
    #[doc(hidden)]
    fn item(result: Result<R, Failure>) -> Result<Self::Item>;
}

/// The first failure ends the map.
#[derive(Debug)]
pub struct Raise;

/// Failures are among the results.
#[derive(Debug)]
pub struct Collect;

impl<R> OnFailure<R> for Raise {
    type Item = R;
    const RETURN_ERRORS: bool = false;

    fn item(result: Result<R, Failure>) -> Result<R> {
        result.map_err(|failure| Error::Failed(Box::new(failure)))
    }
}

impl<R> OnFailure<R> for Collect {
    type Item = Result<R, Failure>;
    const RETURN_ERRORS: bool = true;

    fn item(result: Result<R, Failure>) -> Result<Self::Item> {
        Ok(result)
    }
}

/// A function applied to many inputs; made by [`Function::map`].
///
/// Awaited, it gives a `Vec` of all results. As a stream, it gives them as they come. Without options
/// results are in the order of the inputs, and the first failure is the last item; an input that does
/// not fit the function's type ends the map in any case.
///
/// ```no_run
/// # async fn example(score: lydian_client::Function) -> lydian_client::Result<()> {
/// use futures::TryStreamExt;
///
/// let inputs = (0..1_000_000u64).map(|x| (x,));
/// let mut scores = score.map::<_, f64, _>(inputs).unordered().max_parallel(64);
/// while let Some(score) = scores.try_next().await? {
///     println!("{score}");
/// }
/// println!("{:?}", scores.summary());
/// # Ok(())
/// # }
/// ```
#[must_use = "a map does nothing unless it is awaited or polled"]
pub struct Map<'a, A, R, M = Raise> {
    function: Function,
    open: v1::MapOpen,
    state: State<'a, A>,
    /// Survive the pump.
    call: Option<String>,
    summary: Option<MapSummary>,
    on_log: Option<Box<dyn FnMut(LogChunk) + Send + 'a>>,
    result: PhantomData<fn() -> (R, M)>,
}

enum State<'a, A> {
    /// Nobody has polled yet; or only for the first input.
    Idle(BoxStream<'a, A>),
    Opening(BoxFuture<'a, Result<Pump<'a>>>),
    Running(Box<Pump<'a>>),
    Over,
}

/// How a map ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MapSummary {
    /// Inputs with a result.
    pub succeeded: u64,
    /// Inputs that failed.
    pub failed: u64,
    /// Where the time of all of them went.
    pub usage: Usage,
}

impl<A, R, M> std::fmt::Debug for Map<'_, A, R, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map")
            .field("function", &self.function)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

/// Options, and what is known of the map so far.
impl<'a, A: Input, R: Output> Map<'a, A, R> {
    pub(crate) fn new(function: Function, inputs: BoxStream<'a, A>) -> Self {
        let options = function.options();
        let open = v1::MapOpen {
            limits: options.limits.to_wire(),
            traceparent: options.traceparent.clone(),
            ordered: true,
            ..v1::MapOpen::default()
        };
        Self {
            function,
            open,
            state: State::Idle(inputs),
            call: None,
            summary: None,
            on_log: None,
            result: PhantomData,
        }
    }

    /// Failures become results: the item is `Result<R, Failure>`, and the map goes on. What ends it
    /// still are mistakes that concern all inputs, such as a node that went away.
    ///
    /// ```no_run
    /// # async fn example(f: lydian_client::Function) -> lydian_client::Result<()> {
    /// let outcomes = f.map::<_, u64, _>([(1u64,), (0,)]).return_errors().await?;
    /// for outcome in outcomes {
    ///     match outcome {
    ///         Ok(value) => println!("{value}"),
    ///         Err(failure) => println!("input {:?}: {failure}", failure.input),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn return_errors(self) -> Map<'a, A, R, Collect> {
        Map {
            function: self.function,
            open: v1::MapOpen {
                return_errors: <Collect as OnFailure<R>>::RETURN_ERRORS,
                ..self.open
            },
            state: self.state,
            call: self.call,
            summary: self.summary,
            on_log: self.on_log,
            result: PhantomData,
        }
    }
}

impl<'a, A: Input, R: Output, M: OnFailure<R>> Map<'a, A, R, M> {
    /// Results in the order of the inputs. This is the default.
    pub fn ordered(mut self) -> Self {
        self.open.ordered = true;
        self
    }

    /// Results as they are ready. [`with_index`](Map::with_index) tells which input each belongs to.
    pub fn unordered(mut self) -> Self {
        self.open.ordered = false;
        self
    }

    /// At most so many sandboxes at once; zero leaves it to the node.
    pub fn max_parallel(mut self, sandboxes: u32) -> Self {
        self.open.max_parallel = sandboxes;
        self
    }

    /// Calls `show` with everything the function writes.
    ///
    /// ```no_run
    /// # async fn example(f: lydian_client::Function) -> lydian_client::Result<()> {
    /// let inputs = (0..10u64).map(|x| (x,));
    /// let results: Vec<u64> = f.map(inputs).on_log(|chunk| eprint!("{}", chunk.text())).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_log(mut self, show: impl FnMut(LogChunk) + Send + 'a) -> Self {
        self.on_log = Some(Box::new(show));
        self
    }

    /// The same stream, each item with the index of its input.
    ///
    /// ```no_run
    /// # async fn example(f: lydian_client::Function) -> lydian_client::Result<()> {
    /// use futures::TryStreamExt;
    /// let inputs = (0..10u64).map(|x| (x,));
    /// let mut results = f.map::<_, u64, _>(inputs).unordered().with_index();
    /// while let Some((index, result)) = results.try_next().await? {
    ///     println!("{index}: {result}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_index(self) -> Indexed<'a, A, R, M> {
        Indexed(self)
    }

    /// Runs the map to its end and keeps no result.
    ///
    /// # Errors
    /// As the stream: the first failure unless errors are returned, a node that went away.
    ///
    /// ```no_run
    /// # async fn example(send: lydian_client::Function) -> lydian_client::Result<()> {
    /// let summary = send.map::<_, (), _>((0..10u64).map(|x| (x,))).drain().await?;
    /// println!("{} sent", summary.succeeded);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(mut self) -> Result<MapSummary> {
        while let Some(item) = self.next().await {
            item?;
        }
        Ok(self.summary.unwrap_or_default())
    }

    /// The id of the map's call, once it is open; for `lydian calls explain`.
    pub fn call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    /// How the map ended; none before its end.
    pub fn summary(&self) -> Option<MapSummary> {
        self.summary
    }

    /// The next result with its input's index.
    fn poll_indexed(&mut self, cx: &mut Context<'_>) -> PollIndexed<M::Item> {
        loop {
            let step = match &mut self.state {
                State::Idle(inputs) => {
                    // Without a first input there is nothing to ask the node for.
                    let first = ready!(inputs.as_mut().poll_next(cx));
                    self.open(first);
                    continue;
                }
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(pump) => {
                        self.state = State::Running(Box::new(pump));
                        continue;
                    }
                    Err(error) => Some(Err(error)),
                },
                State::Running(pump) => match ready!(pump.poll_event(cx)) {
                    Ok(pump::Event::Opened(call)) => {
                        self.call = Some(call);
                        continue;
                    }
                    Ok(pump::Event::Log(chunk)) => {
                        if let Some(show) = &mut self.on_log {
                            show(chunk);
                        }
                        continue;
                    }
                    Ok(pump::Event::Result(index, result)) => {
                        let result = pump.decode::<R>(result);
                        Some(result.and_then(M::item).map(|item| (index, item)))
                    }
                    Ok(pump::Event::Done(summary)) => {
                        self.summary = Some(summary);
                        None
                    }
                    Err(error) => Some(Err(error)),
                },
                State::Over => None,
            };
            if !matches!(step, Some(Ok(_))) {
                // Frees the stream, which tells the node to stop.
                self.state = State::Over;
            }
            return Poll::Ready(step);
        }
    }

    /// Begins, now that the first input is there, or that there is none.
    fn open(&mut self, first: Option<A>) {
        let State::Idle(rest) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let Some(first) = first else {
            self.summary = Some(MapSummary::default());
            return;
        };
        let function = self.function.clone();
        let open = self.open.clone();
        self.state = State::Opening(Box::pin(async move {
            let bound = function.check_types::<A, R>().await?;
            bound.returns_at_once()?;
            let inputs = futures::stream::once(std::future::ready(first)).chain(rest);
            let inputs = Inputs::new(inputs, bound.clone());
            Pump::open(function.client(), bound, open, inputs).await
        }));
    }
}

impl<A, R, M> Unpin for Map<'_, A, R, M> {}

impl<A: Input, R: Output, M: OnFailure<R>> Stream for Map<'_, A, R, M> {
    type Item = Result<M::Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.poll_indexed(cx));
        Poll::Ready(item.map(|item| item.map(|(_, item)| item)))
    }
}

/// All results, in the order in which the stream gives them.
impl<'a, A: Input, R: Output, M: OnFailure<R>> IntoFuture for Map<'a, A, R, M>
where
    M::Item: Send,
{
    type Output = Result<Vec<M::Item>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut items = Vec::new();
            while let Some(item) = self.next().await {
                items.push(item?);
            }
            Ok(items)
        })
    }
}

/// A [`Map`] whose items carry the index of their input; made by [`Map::with_index`].
#[derive(Debug)]
#[must_use = "a map does nothing unless it is polled"]
pub struct Indexed<'a, A, R, M = Raise>(Map<'a, A, R, M>);

impl<A, R, M> Unpin for Indexed<'_, A, R, M> {}

impl<'a, A, R, M> Indexed<'a, A, R, M> {
    /// The map itself, for its summary.
    pub fn get_ref(&self) -> &Map<'a, A, R, M> {
        &self.0
    }
}

impl<A: Input, R: Output, M: OnFailure<R>> Stream for Indexed<'_, A, R, M> {
    type Item = Result<(u64, M::Item)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_indexed(cx)
    }
}
