//! Results that come one by one.

use futures_core::Stream as Source;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A result of many items, given out as they are made: `stream<T>` in WIT.
///
/// ```
/// #[lydian::app]
/// mod app {
///     /// The numbers from 0 to `n`, without it.
///     #[lydian::function]
///     pub fn count(n: u64) -> lydian::Stream<u64> {
///         lydian::Stream::from_iter(0..n)
///     }
/// }
/// ```
///
/// A function may also say `impl Iterator<Item = T>` or `impl Stream<Item = T>`, which are turned into this.
pub struct Stream<T>(Pin<Box<dyn Source<Item = T>>>);

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl<T: 'static> Stream<T> {
    /// The items of any stream.
    pub fn new(source: impl Source<Item = T> + 'static) -> Self {
        Self(Box::pin(source))
    }

    /// The items of an iterator.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that borrows cannot be a stream"
    )]
    pub fn from_iter<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: 'static,
    {
        Self::new(Iter(items.into_iter()))
    }

    /// What `make` gives, called again and again until it is `None`.
    ///
    /// ```
    /// let mut left = 3;
    /// let countdown = lydian::Stream::unfold(async move || {
    ///     left -= 1;
    ///     (left >= 0).then_some(left)
    /// });
    /// ```
    pub fn unfold<F>(mut make: F) -> Self
    where
        F: AsyncFnMut() -> Option<T> + 'static,
    {
        let (sender, receiver) = slot();
        let work = async move {
            while let Some(item) = make().await {
                sender.give(item).await;
            }
        };
        Self::new(Unfold {
            work: Some(Box::pin(work)),
            receiver,
        })
    }

    /// The next item; none at the end.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }

    /// Adds what is there already, until there are enough; answers whether it was the end.
    #[cfg(target_family = "wasm")]
    pub(crate) async fn ready(
        &mut self,
        items: &mut Vec<T>,
        is_enough: impl Fn(usize) -> bool,
    ) -> bool {
        poll_fn(|context| {
            while !is_enough(items.len()) {
                match self.0.as_mut().poll_next(context) {
                    Poll::Ready(Some(item)) => items.push(item),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(false)
        })
        .await
    }
}

impl<T> Source for Stream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}

/// An iterator as a stream.
struct Iter<I>(I);

impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Source for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// Work that gives items, and where the latest lies.
struct Unfold<T> {
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    receiver: std::rc::Rc<std::cell::RefCell<Option<T>>>,
}

impl<T> Unpin for Unfold<T> {}

impl<T> Source for Unfold<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        let polled = work.as_mut().poll(context);
        if let Some(item) = self.receiver.borrow_mut().take() {
            return Poll::Ready(Some(item));
        }
        if polled.is_ready() {
            self.work = None;
        }
        polled.map(|()| None)
    }
}

/// One place for an item, shared by who makes and who takes it.
struct Sender<T>(std::rc::Rc<std::cell::RefCell<Option<T>>>);

fn slot<T>() -> (Sender<T>, std::rc::Rc<std::cell::RefCell<Option<T>>>) {
    let place = std::rc::Rc::default();
    (Sender(std::rc::Rc::clone(&place)), place)
}

impl<T> Sender<T> {
    /// Lays the item down and waits until it was taken, which is when it is polled again.
    async fn give(&self, item: T) {
        *self.0.borrow_mut() = Some(item);
        let mut given = false;
        poll_fn(|_| {
            if std::mem::replace(&mut given, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
