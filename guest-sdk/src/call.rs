//! Recorded calls.

use crate::imp::{self, Handle};
use crate::{Error, ErrorKind, Result};
use lydian_value::Wit;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A recorded call, made by `spawn`. It outlives this program; its id finds it again.
///
/// ```no_run
/// # async fn example() -> lydian::Result<()> {
/// # let id = String::new();
/// use lydian::{Call, ErrorKind};
/// use std::time::Duration;
///
/// let call: Call<f64> = Call::from_id(id).await?;
/// match call.get(Duration::from_secs(1)).await {
///     Ok(score) => println!("{score}"),
///     Err(error) if error.kind() == ErrorKind::Timeout => println!("still running"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Call<R> {
    id: String,
    handle: Handle,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.id).finish()
    }
}

impl<R> fmt::Display for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl<R> Call<R> {
    pub(crate) fn new(id: String, handle: Handle) -> Self {
        Self {
            id,
            handle,
            result: PhantomData,
        }
    }

    /// The call of this id, on the back end that is current now. Whether there is one shows when it is asked.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable): the back end cannot be reached.
    pub async fn from_id(id: impl Into<String>) -> Result<Self> {
        Ok(Self::new(id.into(), Handle::current().await?))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Stops the call, and only it. Nothing happens when it is done.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound): there is no such call.
    pub async fn cancel(&self) -> Result<()> {
        imp::cancel(&self.handle, &self.id).await
    }

    /// As [`cancel`](Self::cancel), without `async`.
    ///
    /// # Errors
    /// As there.
    pub fn cancel_blocking(&self) -> Result<()> {
        imp::block_on(self.cancel())
    }
}

impl<R: Wit + Send + 'static> Call<R> {
    /// The result, waiting for it up to `timeout`: for ever when `None`, not at all when zero.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout): it is not done yet, and goes on. Else how the call failed.
    pub async fn get(&self, timeout: impl Into<Option<Duration>>) -> Result<R> {
        let timeout = timeout.into();
        loop {
            if let Some(result) = imp::get(&self.handle, &self.id, timeout).await? {
                return Ok(result);
            }
            if let Some(timeout) = timeout {
                let text = format!("call `{}` is not done after {timeout:?}", self.id);
                return Err(Error::new(ErrorKind::Timeout, text));
            }
        }
    }

    /// As [`get`](Self::get), without `async`.
    ///
    /// # Errors
    /// As there.
    pub fn get_blocking(&self, timeout: impl Into<Option<Duration>>) -> Result<R> {
        let timeout = timeout.into();
        imp::block_on(self.get(timeout))
    }

    /// The result if there is one; `None` while the call is not done.
    ///
    /// # Errors
    /// How the call failed.
    pub async fn poll(&self) -> Result<Option<R>> {
        imp::get(&self.handle, &self.id, Some(Duration::ZERO)).await
    }

    /// As [`poll`](Self::poll), without `async`.
    ///
    /// # Errors
    /// As there.
    pub fn poll_blocking(&self) -> Result<Option<R>> {
        imp::block_on(self.poll())
    }
}
