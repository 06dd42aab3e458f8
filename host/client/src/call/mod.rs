//! Recorded calls: found again by their id, waited for, cancelled, explained.

mod gather;
mod model;

pub use gather::gather;
pub use model::{CallFilter, CallInfo, CallKind, CallState, Explanation};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::failure::{Failure, Usage};
use crate::forms::Output;
use crate::limits::Limits;
use crate::logs::LogStream;
use lydian_api::v1;
use model::result_type;
use std::fmt;
use std::time::{Duration, Instant};

/// How long one request waits at the node; a longer wait asks again, so that proxies between do not
/// take it for dead.
const LONGEST_WAIT: Duration = Duration::from_secs(55);

/// A recorded call. Holds nothing but the id, so it costs nothing to make one and none is lost with it.
///
/// ```no_run
/// # async fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
/// use lydian_client::{Call, Error};
/// use std::time::Duration;
///
/// let call = Call::from_id(&client, "c-01jd…");
/// match call.get::<f64>(Duration::from_secs(1)).await {
///     Ok(score) => println!("{score}"),
///     Err(Error::Timeout { .. }) => println!("still running"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Call {
    client: Client,
    id: String,
    duplicate: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

impl Call {
    /// The call of this id. Asks nothing: whether there is one shows when it is used.
    pub fn from_id(client: &Client, id: impl Into<String>) -> Self {
        Self {
            client: client.clone(),
            id: id.into(),
            duplicate: false,
        }
    }

    pub(crate) fn spawned(client: &Client, id: String, duplicate: bool) -> Self {
        Self {
            client: client.clone(),
            id,
            duplicate,
        }
    }

    /// Its id, which outlives this program.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the spawn that made this met an earlier one with the same idempotency key.
    pub fn was_duplicate(&self) -> bool {
        self.duplicate
    }

    /// The result, waiting for it up to `timeout`: for ever when `None`, not at all when zero.
    /// While it waits, the node may restart: it is asked again once it is back.
    ///
    /// # Errors
    /// - [`Error::Timeout`]: it is not done yet. It goes on.
    /// - [`Error::Unreachable`]: the node was not there when the time was over.
    /// - [`Error::Failed`]: it failed, or was cancelled.
    /// - [`Error::NotFound`]: there is no such call, or its result was kept long enough.
    /// - [`Error::InvalidArgument`]: the result is of another type than `R`.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// use std::time::Duration;
    /// let polled = call.get::<f64>(Duration::ZERO).await;
    /// let waited: f64 = call.get(None).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get<R: Output>(&self, timeout: impl Into<Option<Duration>>) -> Result<R> {
        let timeout: Option<Duration> = timeout.into();
        let began = Instant::now();
        // A wait too long to be a point in time is one for ever.
        let until = timeout.and_then(|timeout| began.checked_add(timeout));
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            let wait = left.map_or(LONGEST_WAIT, |left| left.min(LONGEST_WAIT));
            let answer = match timeout {
                Some(Duration::ZERO) => self.ask(wait).await?,
                _ => self.answer(self.get_patiently(wait, until).await?)?,
            };
            if let Some(result) = answer {
                return result;
            }
            if left == Some(wait) {
                return Err(Error::Timeout {
                    call: self.id.clone(),
                    waited: timeout.unwrap_or_default(),
                });
            }
        }
    }

    /// The result if there is one; `None` while the call is not done.
    ///
    /// # Errors
    /// As of [`get`](Call::get), save for the timeout.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// if let Some(score) = call.poll::<f64>().await? {
    ///     println!("{score}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn poll<R: Output>(&self) -> Result<Option<R>> {
        self.ask(Duration::ZERO).await?.transpose()
    }

    /// One request. The outer result is of the request, the inner one of the call.
    async fn ask<R: Output>(&self, wait: Duration) -> Result<Option<Result<R>>> {
        self.answer(self.get_raw(wait).await?)
    }

    /// As [`Call::ask`], through restarts of the node.
    async fn ask_patiently<R: Output>(&self, wait: Duration) -> Result<Option<Result<R>>> {
        self.answer(self.get_patiently(wait, None).await?)
    }

    fn answer<R: Output>(&self, response: v1::GetCallResponse) -> Result<Option<Result<R>>> {
        let Some(outcome) = response.outcome else {
            return Ok(None);
        };
        let info = response.info.unwrap_or_default();
        let ty = result_type(&info)?;
        R::check(ty.as_ref())?;
        Ok(Some(match outcome.into_result() {
            Ok(bytes) => R::decode(ty.as_ref(), bytes, &unbounded()),
            Err(failure) => Err(Error::Failed(Box::new(Failure::from(failure)))),
        }))
    }

    fn request(&self, wait: Duration) -> v1::GetCallRequest {
        // A wait shorter than the wire can say must not become a poll.
        let millis = wait.as_nanos().div_ceil(1_000_000);
        v1::GetCallRequest {
            call: self.id.clone(),
            timeout_ms: u64::try_from(millis).unwrap_or(u64::MAX),
        }
    }

    /// As [`Call::get_raw`], through restarts of the node.
    async fn get_patiently(
        &self,
        wait: Duration,
        until: Option<Instant>,
    ) -> Result<v1::GetCallResponse> {
        self.client
            .patiently(until, || {
                // Some of it may have gone by while the node was not there.
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                let request = self.request(left.map_or(wait, |left| left.min(wait)));
                let mut calls = self.client.calls_api();
                async move { calls.get(request).await }
            })
            .await
    }

    async fn get_raw(&self, wait: Duration) -> Result<v1::GetCallResponse> {
        let request = self.request(wait);
        self.client
            .read(|| {
                let mut calls = self.client.calls_api();
                let request = request.clone();
                async move { calls.get(request).await }
            })
            .await
    }

    /// What is known of the call now.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no such call.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// println!("{}", call.info().await?.state);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn info(&self) -> Result<CallInfo> {
        let response = self.get_raw(Duration::ZERO).await?;
        CallInfo::try_from(response.info.unwrap_or_default())
    }

    /// Stops the call, and only it; it will not be tried again. Answers whether it was still running.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no such call.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// if !call.cancel().await? {
    ///     println!("it had finished already");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self) -> Result<bool> {
        let request = v1::CancelRequest {
            call: self.id.clone(),
        };
        let response = self
            .client
            .once(self.client.calls_api().cancel(request))
            .await?;
        Ok(response.was_running)
    }

    /// What the call wrote; with `follow`, until it is done.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no such call.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// use futures::TryStreamExt;
    /// let mut logs = call.logs(true).await?;
    /// while let Some(chunk) = logs.try_next().await? {
    ///     print!("{}", chunk.text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn logs(&self, follow: bool) -> Result<LogStream> {
        let request = v1::CallLogsRequest {
            call: self.id.clone(),
            follow,
        };
        let chunks = self
            .client
            .once(self.client.calls_api().logs(request))
            .await?;
        Ok(LogStream::new(&self.client, chunks))
    }

    /// Where the call's time went, and why its sandbox was fresh, warm or cold. Also of calls that were
    /// not spawned, while the node remembers them.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is no such call.
    ///
    /// ```no_run
    /// # async fn example(call: lydian_client::Call) -> lydian_client::Result<()> {
    /// let explanation = call.explain().await?;
    /// if let Some(usage) = explanation.usage {
    ///     println!("{:?} in the sandbox", usage.run);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain(&self) -> Result<Explanation> {
        let request = v1::ExplainRequest {
            call: self.id.clone(),
        };
        let response = self
            .client
            .read(|| {
                let mut calls = self.client.calls_api();
                let request = request.clone();
                async move { calls.explain(request).await }
            })
            .await?;
        Ok(Explanation {
            info: CallInfo::try_from(response.info.unwrap_or_default())?,
            usage: response.usage.map(Usage::from),
            failure: response.failure.map(Failure::from),
            start_reason: response.start_reason,
            limits: response.limits.map(Limits::from).unwrap_or_default(),
        })
    }
}

/// The node kept the result within the function's own limit, whatever that was.
fn unbounded() -> lydian_value::Limits {
    lydian_value::Limits {
        bytes: usize::MAX,
        ..lydian_value::Limits::default()
    }
}
