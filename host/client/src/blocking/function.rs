//! Functions without `async`.

use super::calls::Call;
use super::{Driver, Iter};
use crate::error::Result;
use crate::forms::{Input, Output};
use crate::{Answer, FuncType, FunctionInfo, Limits, Map, ResultStream, Run, Value};
use bytes::Bytes;
use std::sync::Arc;

/// A function on a node; see [`crate::Function`].
#[derive(Debug, Clone)]
pub struct Function {
    inner: crate::Function,
    driver: Driver,
}

impl Function {
    pub(crate) fn new(inner: crate::Function, driver: &Driver) -> Self {
        Self {
            inner,
            driver: driver.clone(),
        }
    }

    /// The function without `blocking`.
    pub fn get_ref(&self) -> &crate::Function {
        &self.inner
    }

    /// As [`crate::Function::name`].
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// As [`crate::Function::ty`].
    pub fn ty(&self) -> Arc<FuncType> {
        self.inner.ty()
    }

    /// As [`crate::Function::info`].
    pub fn info(&self) -> FunctionInfo {
        self.inner.info()
    }

    /// As [`crate::Function::with_limits`].
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self::new(self.inner.with_limits(limits), &self.driver)
    }

    /// As [`crate::Function::with_idempotency_key`].
    #[must_use]
    pub fn with_idempotency_key(&self, key: impl Into<String>) -> Self {
        Self::new(self.inner.with_idempotency_key(key), &self.driver)
    }

    /// As [`crate::Function::with_traceparent`].
    #[must_use]
    pub fn with_traceparent(&self, traceparent: impl Into<String>) -> Self {
        Self::new(self.inner.with_traceparent(traceparent), &self.driver)
    }

    /// As [`crate::Function::call`].
    ///
    /// # Errors
    /// As there.
    pub fn call<A: Input, R: Output>(&self, args: A) -> Result<R> {
        self.driver.wait(self.inner.call(args))
    }

    /// As [`crate::Function::invoke`].
    ///
    /// # Errors
    /// As there.
    pub fn invoke<A: Input, R: Output>(&self, args: A) -> Result<Answer<R>> {
        self.driver.wait(self.inner.invoke(args))
    }

    /// As [`crate::Function::call_values`].
    ///
    /// # Errors
    /// As there.
    pub fn call_values(&self, args: &[Value]) -> Result<Option<Value>> {
        self.driver.wait(self.inner.call_values(args))
    }

    /// As [`crate::Function::call_wire`].
    ///
    /// # Errors
    /// As there.
    pub fn call_wire(&self, args: impl Into<Bytes>) -> Result<Bytes> {
        self.driver.wait(self.inner.call_wire(args))
    }

    /// As [`crate::Function::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run<A: Input, R: Output>(&self, args: A) -> Result<Iter<Run<R>>> {
        let run = self.driver.wait(self.inner.run(args))?;
        Ok(Iter::new(run, &self.driver))
    }

    /// As [`crate::Function::stream`].
    ///
    /// # Errors
    /// As there.
    pub fn stream<A: Input, T: Output>(&self, args: A) -> Result<Iter<ResultStream<T>>> {
        let stream = self.driver.wait(self.inner.stream(args))?;
        Ok(Iter::new(stream, &self.driver))
    }

    /// As [`crate::Function::map`]; its options are set with [`Iter::with`].
    pub fn map<'a, A, R, I>(&self, inputs: I) -> Iter<Map<'a, A, R>>
    where
        A: Input,
        R: Output,
        I: IntoIterator<Item = A>,
        I::IntoIter: Send + 'a,
    {
        Iter::new(self.inner.map(inputs), &self.driver)
    }

    /// As [`crate::Function::spawn`].
    ///
    /// # Errors
    /// As there.
    pub fn spawn<A: Input>(&self, args: A) -> Result<Call> {
        let call = self.driver.wait(self.inner.spawn(args))?;
        Ok(Call::new(call, &self.driver))
    }
}
