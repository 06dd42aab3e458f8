//! Streams as iterators.

use super::Driver;
use crate::error::Result;
use futures::{Stream, StreamExt};

/// A stream that is waited for item by item. Dropping it does what dropping the stream does.
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct Iter<S> {
    stream: S,
    driver: Driver,
}

impl<S> Iter<S> {
    pub(crate) fn new(stream: S, driver: &Driver) -> Self {
        Self {
            stream,
            driver: driver.clone(),
        }
    }

    /// The stream, for what only it knows: the summary of a map.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Changes the stream: the options of a map.
    ///
    /// ```no_run
    /// # fn example(square: lydian_client::blocking::Function) -> lydian_client::Result<()> {
    /// let inputs = (0..1000u64).map(|x| (x,));
    /// for result in square.map::<_, u64, _>(inputs).with(|map| map.unordered()) {
    ///     println!("{}", result?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<T>(self, change: impl FnOnce(S) -> T) -> Iter<T> {
        Iter {
            stream: change(self.stream),
            driver: self.driver,
        }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Iterator for Iter<S> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = async { self.stream.next().await.transpose() };
        self.driver.wait(next).transpose()
    }
}
