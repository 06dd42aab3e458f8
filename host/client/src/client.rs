//! The client: one node, one environment, and what is known of the functions there.

use crate::error::{Error, Refusal, Result};
use crate::lookup::Lookups;
use crate::transport::{IN_PROCESS, Transport};
use bytes::Bytes;
use lydian_api::v1::apps_client::AppsClient;
use lydian_api::v1::blobs_client::BlobsClient;
use lydian_api::v1::calls_client::CallsClient;
use lydian_api::v1::nodes_client::NodesClient;
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Service, StdError};

/// The environment of a client that names none.
pub const DEFAULT_ENVIRONMENT: &str = "main";
/// Where `lydian up` listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// A payload's limit can be raised per function, so the gRPC library's own bound is only a guard
/// against a peer that is not a node at all.
const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// Pauses before a read is tried again after the connection broke.
const READ_RETRIES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

/// The first pause of a request that is tried for longer, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A node, seen from one environment. Cheap to clone; all clones share one connection.
///
/// ```no_run
/// # async fn example() -> lydian_client::Result<()> {
/// use lydian_client::Client;
///
/// let client = Client::connect("http://127.0.0.1:7070").await?;
/// let square = client.function("math", "square").await?;
/// let sixteen: u64 = square.call((4u64,)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    environment: Arc<str>,
}

struct Shared {
    transport: Transport,
    lookups: Lookups,
    /// Whatever must outlive the connection: the node, when it is in this process.
    keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url())
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a node at `http://host:port`.
    ///
    /// # Errors
    /// - [`Error::InvalidArgument`]: `url` is not such a URL.
    /// - [`Error::Unreachable`]: no node answers there.
    ///
    /// ```no_run
    /// # async fn example() -> lydian_client::Result<()> {
    /// let client = lydian_client::Client::connect("http://127.0.0.1:7070").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<Self> {
        Ok(Self::over(Transport::connect(url).await?, None))
    }

    /// The client the environment variables describe.
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `LYDIAN_URL` | the node, or `embedded` for one in this process; not set: `embedded` with the feature of that name, else [`DEFAULT_URL`] |
    /// | `LYDIAN_ENV` | the environment, else [`DEFAULT_ENVIRONMENT`] |
    /// | `LYDIAN_TOKEN` | sent with every request |
    /// | `LYDIAN_HOME` | the data directory of a node in this process |
    ///
    /// # Errors
    /// As of [`Client::connect`] and `Client::embedded`; [`Error::InvalidArgument`] for a variable that
    /// is not text.
    ///
    /// ```no_run
    /// # async fn example() -> lydian_client::Result<()> {
    /// let client = lydian_client::Client::from_env().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_env() -> Result<Self> {
        let client = match variable("LYDIAN_URL")? {
            Some(url) if url == IN_PROCESS => Self::in_process().await?,
            Some(url) => Self::connect(&url).await?,
            None if cfg!(feature = "embedded") => Self::in_process().await?,
            None => Self::connect(DEFAULT_URL).await?,
        };
        let client = match variable("LYDIAN_TOKEN")? {
            Some(token) => client.with_token(&token)?,
            None => client,
        };
        Ok(match variable("LYDIAN_ENV")? {
            Some(environment) => client.in_environment(&environment),
            None => client,
        })
    }

    #[cfg(feature = "embedded")]
    async fn in_process() -> Result<Self> {
        Self::embedded(crate::Options::default()).await
    }

    #[cfg(not(feature = "embedded"))]
    async fn in_process() -> Result<Self> {
        let refusal = Refusal::new(
            "not-embedded",
            "this program cannot run a node in its process",
        );
        Err(Error::InvalidArgument(refusal.about(IN_PROCESS).hint(
            "build it with the feature `embedded` of `lydian-client`, or set `LYDIAN_URL` to a node",
        )))
    }

    /// Speaks to a node's services in this process, without a socket: `Node::routes()`, or services of
    /// a test.
    ///
    /// ```no_run
    /// # fn example(node_routes: tonic::service::Routes) {
    /// let client = lydian_client::Client::from_service(node_routes);
    /// # }
    /// ```
    pub fn from_service<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self::over(Transport::local(service), None)
    }

    pub(crate) fn over(transport: Transport, keep: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        let shared = Shared {
            transport,
            lookups: Lookups::default(),
            keep,
        };
        Self {
            shared: Arc::new(shared),
            environment: DEFAULT_ENVIRONMENT.into(),
        }
    }

    /// The same node, with `token` sent as bearer with every request.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: the token cannot be sent, for it is not one line of ASCII.
    ///
    /// ```no_run
    /// # fn example(client: lydian_client::Client) -> lydian_client::Result<()> {
    /// let client = client.with_token("lyd_…")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let transport = self.shared.transport.clone().with_token(token)?;
        let mut client = Self::over(transport, self.shared.keep.clone());
        client.environment = self.environment.clone();
        Ok(client)
    }

    /// The same node, seen from another environment.
    ///
    /// ```no_run
    /// # fn example(client: lydian_client::Client) {
    /// let staging = client.in_environment("staging");
    /// # }
    /// ```
    #[must_use]
    pub fn in_environment(&self, environment: &str) -> Self {
        Self {
            shared: self.shared.clone(),
            environment: environment.into(),
        }
    }

    /// The environment whose apps this client sees.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// The node's URL; `embedded` for one in this process.
    pub fn url(&self) -> &str {
        self.shared.transport.url()
    }

    /// What [`Client::over`] was told to keep, if it is a `T`.
    #[cfg(feature = "embedded")]
    pub(crate) fn kept<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared.keep.clone()?.downcast().ok()
    }

    pub(crate) fn lookups(&self) -> &Lookups {
        &self.shared.lookups
    }

    pub(crate) fn blobs(&self) -> BlobsClient<Transport> {
        BlobsClient::new(self.shared.transport.clone())
    }

    pub(crate) fn apps_api(&self) -> AppsClient<Transport> {
        AppsClient::new(self.shared.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn calls_api(&self) -> CallsClient<Transport> {
        CallsClient::new(self.shared.transport.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn nodes_api(&self) -> NodesClient<Transport> {
        NodesClient::new(self.shared.transport.clone())
    }

    pub(crate) fn error(&self, status: tonic::Status) -> Error {
        Error::from_status(status, self.url())
    }

    /// Runs a request that changes nothing, again when the connection broke under it. Never for
    /// requests that may have had an effect.
    pub(crate) async fn read<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut pauses = READ_RETRIES.iter();
        loop {
            match request().await.map_err(|status| self.error(status)) {
                Ok(response) => return Ok(response.into_inner()),
                Err(error @ Error::Unreachable(_)) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a request that may be repeated, for as long as the node cannot be reached or is
    /// shutting down: it may be back in a moment. Gives up at `deadline`, if there is one.
    pub(crate) async fn patiently<T, F>(
        &self,
        deadline: Option<Instant>,
        mut request: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match request().await.map_err(|status| self.error(status)) {
                Ok(response) => return Ok(response.into_inner()),
                Err(error) if error.is_absence() => error,
                Err(error) => return Err(error),
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if left < pause => return Err(error),
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs a request once, whatever happens.
    pub(crate) async fn once<T>(
        &self,
        request: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T> {
        match request.await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(self.error(status)),
        }
    }
}

/// An environment variable; empty counts as not set.
pub(crate) fn variable(name: &'static str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::InvalidArgument(
            Refusal::new("bad-variable", format!("`{name}` is not UTF-8 text")).about(name),
        )),
    }
}
