//! The same SDK without `async`, for scripts and for programs that have no runtime.
//!
//! Each type here wraps the one of the same name outside, and has the same methods with the same
//! meaning; streams are iterators. A client owns a thread that drives its connection.
//!
//! ```no_run
//! use lydian_client::blocking::Client;
//!
//! # fn main() -> lydian_client::Result<()> {
//! let client = Client::connect("http://127.0.0.1:7070")?;
//! let square = client.function("math", "square")?;
//! let sixteen: u64 = square.call((4u64,))?;
//! for result in square.map::<_, u64, _>((0..1000u64).map(|x| (x,))) {
//!     println!("{}", result?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Inside `async` code these calls would block the thread that drives everything else there, so they
//! are refused with [`Error::InvalidArgument`].

mod calls;
mod function;
mod iter;

pub use calls::{Call, Resource, Session, gather};
pub use function::Function;
pub use iter::Iter;

use crate::error::{Error, Refusal, Result};
use crate::{
    App, CallFilter, CallInfo, Deploy, Deployed, Description, Digest, Limits, LogStream, NodeInfo,
    Tail, Version,
};
use bytes::Bytes;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};

/// The thread that drives a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct Driver(Arc<Thread>);

#[derive(Debug)]
struct Thread(Option<Runtime>);

impl Drop for Thread {
    fn drop(&mut self) {
        // Waiting for the thread is not allowed inside `async` code, where the last clone may end up.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Driver {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lydian-client")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            let text = format!("cannot start the thread of a client: {error}");
            Error::Unavailable(Refusal::new("no-thread", text))
        })?;
        Ok(Self(Arc::new(Thread(Some(runtime)))))
    }

    /// Waits on the calling thread.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_ok() {
            let text = "a blocking call inside `async` code would stop everything else there";
            let refusal = Refusal::new("blocking-in-async", text);
            return Err(Error::InvalidArgument(refusal.hint(
                "use the type of the same name outside of `lydian_client::blocking`",
            )));
        }
        match &self.0.0 {
            Some(runtime) => runtime.block_on(future),
            None => Err(Error::broken("the client's thread is gone")),
        }
    }
}

/// A node, seen from one environment; see [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Client {
    inner: crate::Client,
    driver: Driver,
}

impl Client {
    fn with(future: impl Future<Output = Result<crate::Client>>) -> Result<Self> {
        let driver = Driver::start()?;
        let inner = driver.wait(future)?;
        Ok(Self { inner, driver })
    }

    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// As there.
    pub fn connect(url: &str) -> Result<Self> {
        Self::with(crate::Client::connect(url))
    }

    /// As [`crate::Client::from_env`].
    ///
    /// # Errors
    /// As there.
    pub fn from_env() -> Result<Self> {
        Self::with(crate::Client::from_env())
    }

    /// As `crate::Client::embedded`.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "embedded")]
    pub fn embedded(options: crate::Options) -> Result<Self> {
        Self::with(crate::Client::embedded(options))
    }

    /// A client that waits for what `client` does.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: no thread could be started.
    pub fn wrap(client: crate::Client) -> Result<Self> {
        Ok(Self {
            inner: client,
            driver: Driver::start()?,
        })
    }

    fn same(&self, inner: crate::Client) -> Self {
        Self {
            inner,
            driver: self.driver.clone(),
        }
    }

    /// As [`crate::Client::with_token`].
    ///
    /// # Errors
    /// As there.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        Ok(self.same(self.inner.with_token(token)?))
    }

    /// As [`crate::Client::in_environment`].
    #[must_use]
    pub fn in_environment(&self, environment: &str) -> Self {
        self.same(self.inner.in_environment(environment))
    }

    /// The client without `blocking`.
    pub fn get_ref(&self) -> &crate::Client {
        &self.inner
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }
}

/// Methods that wait for those of the same name.
macro_rules! same {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ty;)*) => {
        impl Client {
            $(
                #[doc = concat!("As [`crate::Client::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As there.
                pub fn $name(&self, $($arg: $ty),*) -> Result<$result> {
                    self.driver.wait(self.inner.$name($($arg),*))
                }
            )*
        }
    };
}

same! {
    put(bytes: impl Into<Bytes>) -> Digest;
    missing(digests: &[Digest]) -> Vec<Digest>;
    deploy(deploy: Deploy) -> Deployed;
    plan(deploy: Deploy) -> Deployed;
    apps() -> Vec<App>;
    all_apps() -> Vec<App>;
    environments() -> Vec<String>;
    describe(app: &str) -> Description;
    describe_version(app: &str, version: u64) -> Description;
    describe_component(component: Digest) -> Description;
    history(app: &str) -> Vec<Version>;
    rollback(app: &str, version: u64) -> Deployed;
    stop(app: &str) -> u64;
    calls(filter: CallFilter) -> Vec<CallInfo>;
    node_info() -> NodeInfo;
}

impl Client {
    /// As [`crate::Client::app_logs`].
    ///
    /// # Errors
    /// As there.
    pub fn app_logs(&self, app: &str, tail: Tail) -> Result<Iter<LogStream>> {
        let logs = self.driver.wait(self.inner.app_logs(app, tail))?;
        Ok(Iter::new(logs, &self.driver))
    }

    fn function_of(
        &self,
        found: impl Future<Output = Result<crate::Function>>,
    ) -> Result<Function> {
        let function = self.driver.wait(found)?;
        Ok(Function::new(function, &self.driver))
    }

    /// As [`crate::Client::function`].
    ///
    /// # Errors
    /// As there.
    pub fn function(&self, app: &str, name: &str) -> Result<Function> {
        self.function_of(self.inner.function(app, name))
    }

    /// As [`crate::Client::function_at`].
    ///
    /// # Errors
    /// As there.
    pub fn function_at(&self, app: &str, version: u64, name: &str) -> Result<Function> {
        self.function_of(self.inner.function_at(app, version, name))
    }

    /// As [`crate::Client::component_function`].
    ///
    /// # Errors
    /// As there.
    pub fn component_function(&self, component: Digest, name: &str) -> Result<Function> {
        self.function_of(self.inner.component_function(component, name))
    }

    /// As [`crate::Client::session`].
    ///
    /// # Errors
    /// As there.
    pub fn session(&self, app: &str) -> Result<Session> {
        let session = self.driver.wait(self.inner.session(app))?;
        Ok(Session::new(session, &self.driver))
    }

    /// As [`crate::Client::component_session`].
    ///
    /// # Errors
    /// As there.
    pub fn component_session(&self, component: Digest, limits: Limits) -> Result<Session> {
        let session = self.inner.component_session(component, limits);
        Ok(Session::new(self.driver.wait(session)?, &self.driver))
    }
}
