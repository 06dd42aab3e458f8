//! One function over many inputs.

use crate::imp::{self, Local, Running};
use crate::name::Name;
use crate::target::{Arguments, Returned};
use crate::{Error, Result};
use futures_core::Stream;
use std::future::{IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How a map is done.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_family = "wasm"), allow(unreachable_pub))]
pub struct Options {
    pub(crate) ordered: bool,
    pub(crate) return_errors: bool,
    pub(crate) max_parallel: u32,
}

/// What is done with an input whose call failed: [`Raise`] or [`Collect`].
pub trait OnFailure<R>: Send + 'static {
    /// What the map yields.
    type Item: Send;
    #[doc(hidden)]
    fn item(result: Result<R>) -> Result<Self::Item>;
}

/// The first failure ends the map.
#[derive(Debug)]
pub struct Raise;

/// Failures are among the results.
#[derive(Debug)]
pub struct Collect;

impl<R: Send> OnFailure<R> for Raise {
    type Item = R;

    fn item(result: Result<R>) -> Result<R> {
        result
    }
}

impl<R: Send> OnFailure<R> for Collect {
    type Item = Result<R>;

    fn item(result: Result<R>) -> Result<Self::Item> {
        Ok(result)
    }
}

/// A function applied to many inputs, each in a sandbox of its own; made by a function's `map`.
///
/// Awaited, it gives a `Vec` of all results. As a stream, or by [`next`](Map::next), it gives them as they come. Unless
/// told otherwise results are in the order of the inputs, and the first failure ends it. Inputs are taken as the
/// platform has room for them, so there may be any number.
///
/// ```no_run
/// # #[lydian::app] mod app {
/// #     #[lydian::function] pub fn score(depth: u32) -> f64 { f64::from(depth) }
/// # }
/// # async fn example() -> lydian::Result<()> {
/// let all: Vec<f64> = app::score::map(0..100).await?;
///
/// let mut scores = app::score::map(0..1_000_000).unordered().max_parallel(64);
/// while let Some(score) = scores.next().await {
///     println!("{}", score?);
/// }
///
/// for outcome in app::score::map(0..100).return_errors().blocking()? {
///     match outcome {
///         Ok(score) => println!("{score}"),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a map does nothing unless it is awaited or polled"]
pub struct Map<'a, A, R, M = Raise> {
    state: State<'a, A, R>,
    options: Options,
    on_failure: PhantomData<fn() -> M>,
}

/// An item and the index of its input, or the end.
type PollIndexed<T> = Poll<Option<Result<(u64, T)>>>;

enum State<'a, A, R> {
    Idle(
        Name,
        Option<Local<A, R>>,
        Box<dyn Iterator<Item = A> + Send + 'a>,
    ),
    Running(Running<'a, R>),
    Over,
}

impl<A, R, M> std::fmt::Debug for Map<'_, A, R, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Map")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<A, R, M> Unpin for Map<'_, A, R, M> {}

impl<'a, A: Arguments, R: Returned> Map<'a, A, R> {
    pub(crate) fn new(
        name: Name,
        local: Option<Local<A, R>>,
        inputs: Box<dyn Iterator<Item = A> + Send + 'a>,
    ) -> Self {
        Self {
            state: State::Idle(name, local, inputs),
            options: Options {
                ordered: true,
                return_errors: false,
                max_parallel: 0,
            },
            on_failure: PhantomData,
        }
    }

    /// Failures become results: the item is `Result<R>`, and the map goes on. What still ends it concerns all inputs,
    /// such as a node that went away.
    pub fn return_errors(self) -> Map<'a, A, R, Collect> {
        Map {
            state: self.state,
            options: Options {
                return_errors: true,
                ..self.options
            },
            on_failure: PhantomData,
        }
    }
}

impl<A: Arguments, R: Returned, M: OnFailure<R>> Map<'_, A, R, M> {
    /// Results as they are ready, in any order.
    pub fn unordered(mut self) -> Self {
        self.options.ordered = false;
        self
    }

    /// At most so many inputs at once; zero leaves it to the platform.
    pub fn max_parallel(mut self, inputs: u32) -> Self {
        self.options.max_parallel = inputs;
        self
    }

    /// The next result; none when all are there.
    ///
    /// # Errors
    /// The first failure, unless errors are returned; what concerns the whole map, in any case.
    pub async fn next(&mut self) -> Option<Result<M::Item>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The next result with the index of its input, from 0: for [`unordered`](Self::unordered).
    ///
    /// # Errors
    /// As of [`next`](Self::next).
    pub async fn next_indexed(&mut self) -> Option<Result<(u64, M::Item)>> {
        poll_fn(|context| self.poll_indexed(context)).await
    }

    /// All results, without `async`.
    ///
    /// # Errors
    /// As of [`next`](Self::next).
    pub fn blocking(self) -> Result<Vec<M::Item>> {
        imp::block_on(self.all())
    }

    /// Runs the map to its end and keeps no result; answers how many there were.
    ///
    /// # Errors
    /// As of [`next`](Self::next).
    pub async fn drain(mut self) -> Result<u64> {
        let mut done = 0;
        while let Some(item) = self.next().await {
            item?;
            done += 1;
        }
        Ok(done)
    }

    async fn all(mut self) -> Result<Vec<M::Item>> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await {
            items.push(item?);
        }
        Ok(items)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<M::Item>>> {
        let item = ready!(self.poll_indexed(context));
        Poll::Ready(item.map(|item| item.map(|(_, item)| item)))
    }

    fn poll_indexed(&mut self, context: &mut Context<'_>) -> PollIndexed<M::Item> {
        if let State::Idle(..) = self.state
            && let State::Idle(name, local, inputs) =
                std::mem::replace(&mut self.state, State::Over)
        {
            self.state = State::Running(imp::map(name, local, inputs, self.options));
        }
        let State::Running(running) = &mut self.state else {
            return Poll::Ready(None);
        };
        let item = ready!(running.poll_next(context));
        let item = item.map(|item: Result<(u64, Result<R>), Error>| {
            let (index, outcome) = item?;
            M::item(outcome).map(|item| (index, item))
        });
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Over;
        }
        Poll::Ready(item)
    }
}

impl<A: Arguments, R: Returned, M: OnFailure<R>> Stream for Map<'_, A, R, M> {
    type Item = Result<M::Item>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

/// All results, in the order in which the stream gives them.
impl<'a, A: Arguments, R: Returned, M: OnFailure<R>> IntoFuture for Map<'a, A, R, M> {
    type Output = Result<Vec<M::Item>>;
    type IntoFuture = imp::BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.all())
    }
}
