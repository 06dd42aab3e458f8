//! Recorded calls and sessions without `async`.

use super::{Client, Driver, Iter};
use crate::error::Result;
use crate::forms::{Input, Output};
use crate::{CallInfo, Explanation, Handle, LogChunk, LogStream};
use std::time::Duration;

/// A recorded call; see [`crate::Call`].
#[derive(Debug, Clone)]
pub struct Call {
    inner: crate::Call,
    driver: Driver,
}

impl Call {
    pub(crate) fn new(inner: crate::Call, driver: &Driver) -> Self {
        Self {
            inner,
            driver: driver.clone(),
        }
    }

    /// As [`crate::Call::from_id`].
    pub fn from_id(client: &Client, id: impl Into<String>) -> Self {
        let call = crate::Call::from_id(client.get_ref(), id);
        Self::new(call, client.driver())
    }

    /// As [`crate::Call::id`].
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// As [`crate::Call::was_duplicate`].
    pub fn was_duplicate(&self) -> bool {
        self.inner.was_duplicate()
    }

    /// As [`crate::Call::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get<R: Output>(&self, timeout: impl Into<Option<Duration>>) -> Result<R> {
        self.driver.wait(self.inner.get(timeout))
    }

    /// As [`crate::Call::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll<R: Output>(&self) -> Result<Option<R>> {
        self.driver.wait(self.inner.poll())
    }

    /// As [`crate::Call::info`].
    ///
    /// # Errors
    /// As there.
    pub fn info(&self) -> Result<CallInfo> {
        self.driver.wait(self.inner.info())
    }

    /// As [`crate::Call::cancel`].
    ///
    /// # Errors
    /// As there.
    pub fn cancel(&self) -> Result<bool> {
        self.driver.wait(self.inner.cancel())
    }

    /// As [`crate::Call::logs`].
    ///
    /// # Errors
    /// As there.
    pub fn logs(&self, follow: bool) -> Result<Iter<LogStream>> {
        let logs = self.driver.wait(self.inner.logs(follow))?;
        Ok(Iter::new(logs, &self.driver))
    }

    /// As [`crate::Call::explain`].
    ///
    /// # Errors
    /// As there.
    pub fn explain(&self) -> Result<Explanation> {
        self.driver.wait(self.inner.explain())
    }
}

/// As [`crate::gather`].
///
/// # Errors
/// As there.
pub fn gather<R: Output>(calls: impl IntoIterator<Item = Call>) -> Result<Vec<R>> {
    let mut calls = calls.into_iter().peekable();
    let Some(driver) = calls.peek().map(|call| call.driver.clone()) else {
        return Ok(Vec::new());
    };
    driver.wait(crate::gather(calls.map(|call| call.inner)))
}

/// One sandbox and what lives in it; see [`crate::Session`].
#[derive(Debug, Clone)]
pub struct Session {
    inner: crate::Session,
    driver: Driver,
}

impl Session {
    pub(crate) fn new(inner: crate::Session, driver: &Driver) -> Self {
        Self {
            inner,
            driver: driver.clone(),
        }
    }

    /// As [`crate::Session::id`].
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// As [`crate::Session::on_log`].
    pub fn on_log(&self, show: impl FnMut(LogChunk) + Send + 'static) {
        self.inner.on_log(show);
    }

    /// As [`crate::Session::call`].
    ///
    /// # Errors
    /// As there.
    pub fn call<A: Input, R: Output>(&self, function: &str, args: A) -> Result<R> {
        self.driver.wait(self.inner.call(function, args))
    }

    /// As [`crate::Session::construct`].
    ///
    /// # Errors
    /// As there.
    pub fn construct<A: Input>(&self, function: &str, args: A) -> Result<Resource> {
        let resource = self.driver.wait(self.inner.construct(function, args))?;
        Ok(Resource {
            inner: resource,
            driver: self.driver.clone(),
        })
    }
}

/// A resource in a session; see [`crate::Resource`].
#[derive(Debug)]
pub struct Resource {
    inner: crate::Resource,
    driver: Driver,
}

impl Resource {
    /// As [`crate::Resource::call`].
    ///
    /// # Errors
    /// As there.
    pub fn call<A: Input, R: Output>(&self, method: &str, args: A) -> Result<R> {
        self.driver.wait(self.inner.call(method, args))
    }

    /// As [`crate::Resource::handle`].
    pub fn handle(&self) -> Handle {
        self.inner.handle()
    }

    /// As [`crate::Resource::into_handle`].
    pub fn into_handle(self) -> Handle {
        self.inner.into_handle()
    }
}
