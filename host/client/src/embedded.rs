//! A node inside the calling process: the same services, without a socket.
//!
//! All clients of one data directory share one node, and with it one engine and one pool of sandboxes.
//! The node's tasks run on threads of their own, so it does not matter which of a program's runtimes asked
//! first or ends first; a request is driven by whoever waits for it.

use crate::client::{Client, variable};
use crate::error::{Error, Refusal, Result};
use crate::transport::Transport;
use bytes::Bytes;
use etcetera::BaseStrategy;
use lydian_node::{Data, Node};
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, Service};

/// Threads for what the node does besides running guests, which have threads of their own.
const NODE_THREADS: usize = 2;
/// How long calls in flight may take to end when the last client is closed.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// The threads of all nodes in this process; they stay until it ends.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// The nodes that run, by data directory.
static NODES: tokio::sync::Mutex<Vec<(PathBuf, Weak<Running>)>> =
    tokio::sync::Mutex::const_new(Vec::new());

/// How a node in this process is set up.
///
/// ```no_run
/// # async fn example() -> lydian_client::Result<()> {
/// use lydian_client::{Client, Options};
///
/// let options = Options::new("/var/lib/sweep").configure(|node| node.max_sandboxes = Some(64));
/// let client = Client::embedded(options).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Default)]
pub struct Options {
    place: Place,
    configure: Option<Configure>,
}

type Configure = Box<dyn FnOnce(&mut lydian_node::Options) + Send>;

/// Where the node keeps its state.
#[derive(Debug, Clone, Default)]
enum Place {
    #[default]
    Home,
    Directory(PathBuf),
    /// Apps and calls in memory, compiled components in the directory.
    Artifacts(PathBuf),
    Memory,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A node that keeps its state in `directory`. Other processes may use it at the same time.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Directory(directory.into()),
            configure: None,
        }
    }

    /// A node that forgets apps and calls when the last client is gone, but keeps compiled components in
    /// `directory`: for programs that run components without deploying them.
    pub fn in_memory(directory: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Artifacts(directory.into()),
            configure: None,
        }
    }

    /// A node of its own that keeps nothing at all: for tests.
    pub fn memory() -> Self {
        Self {
            place: Place::Memory,
            configure: None,
        }
    }

    /// Changes what else can be set. Has no effect when a node of the same directory runs already in
    /// this process, for that one is shared.
    pub fn configure(
        mut self,
        change: impl FnOnce(&mut lydian_node::Options) + Send + 'static,
    ) -> Self {
        self.configure = Some(Box::new(change));
        self
    }

    fn node_options(self) -> Result<lydian_node::Options> {
        let mut options = match self.place {
            Place::Home => lydian_node::Options::embedded(home()?),
            Place::Directory(directory) => lydian_node::Options::embedded(directory),
            Place::Artifacts(directory) => {
                let mut options = lydian_node::Options::memory();
                options.artifacts = Some(directory);
                options
            }
            Place::Memory => lydian_node::Options::memory(),
        };
        // Whoever embeds a node waits for what it compiles.
        options.compile_niceness = 0;
        if let Some(configure) = self.configure {
            configure(&mut options);
        }
        Ok(options)
    }
}

/// `LYDIAN_HOME`, else where the platform keeps a user's data.
fn home() -> Result<PathBuf> {
    if let Some(home) = variable("LYDIAN_HOME")? {
        let home = PathBuf::from(home);
        // Only a shell's own words are expanded by the shell.
        return Ok(match (home.strip_prefix("~"), etcetera::home_dir()) {
            (Ok(rest), Ok(user)) => user.join(rest),
            _ => home,
        });
    }
    let base = etcetera::choose_base_strategy().map_err(|_| {
        let refusal = Refusal::new("no-home", "this user has no home directory");
        Error::InvalidArgument(refusal.hint("set `LYDIAN_HOME` to a directory for Lydian's data"))
    })?;
    Ok(base.data_dir().join("lydian"))
}

impl Client {
    /// A client of a node in this process. Behaves as [`Client::connect`] does, without the network.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: the node cannot start, for instance because its directory cannot be
    /// written.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use lydian_client::{Client, Options};
    ///
    /// let client = Client::embedded(Options::default()).await?;
    /// let digest = client.put(std::fs::read("math.wasm")?).await?;
    /// let square = client.component_function(digest, "square").await?;
    /// let sixteen: u64 = square.call((4u64,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn embedded(options: Options) -> Result<Self> {
        let running = running(options.node_options()?).await?;
        let service = Inside {
            service: running.node.routes(),
            runtime: runtime()?.clone(),
        };
        Ok(Self::over(Transport::local(service), Some(running)))
    }

    /// Waits until the node in this process has ended what it does, when this is its last client; calls
    /// that take longer than five seconds are interrupted, recorded ones taken up by the next node. A client
    /// that is dropped instead does not wait. Without a node in this process nothing happens.
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) {
    /// client.close().await;
    /// # }
    /// ```
    pub async fn close(self) {
        let running = self.kept::<Running>();
        drop(self);
        if let Some(running) = running.and_then(Arc::into_inner) {
            // Dropping it afterwards asks once more, which changes nothing.
            running.node.shutdown(CLOSE_GRACE).await;
        }
    }
}

/// The node of these options, started unless it runs already.
async fn running(options: lydian_node::Options) -> Result<Arc<Running>> {
    let Data::Directory(directory) = options.data.clone() else {
        return Ok(Arc::new(start(options).await?));
    };
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    // Held while starting: two that ask at once must not start two.
    let mut nodes = NODES.lock().await;
    nodes.retain(|(_, node)| node.strong_count() > 0);
    let known = nodes.iter().find(|(known, _)| *known == directory);
    if let Some(running) = known.and_then(|(_, node)| node.upgrade()) {
        return Ok(running);
    }
    let running = Arc::new(start(options).await?);
    nodes.push((directory, Arc::downgrade(&running)));
    Ok(running)
}

async fn start(options: lydian_node::Options) -> Result<Running> {
    let started = runtime()?.spawn(Node::start(options)).await;
    match started {
        Ok(Ok(node)) => Ok(Running { node }),
        Ok(Err(error)) => {
            let hints = error.hints();
            Err(not_started(&error, hints))
        }
        Err(panicked) => Err(not_started(&panicked, Vec::new())),
    }
}

fn not_started(error: &(dyn std::error::Error + 'static), hints: Vec<String>) -> Error {
    let mut text = format!("cannot start a node in this process: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    let refusal = Refusal::new("node-not-started", text);
    Error::Unavailable(hints.into_iter().fold(refusal, Refusal::hint))
}

fn runtime() -> Result<&'static Handle> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(NODE_THREADS)
        .thread_name("lydian-node")
        .enable_all()
        .build()
        .map_err(|error| not_started(&error, Vec::new()))?;
    // Somebody else may have been faster; a runtime is dropped on a thread that may block.
    if let Err(spare) = RUNTIME.set(runtime) {
        spare.shutdown_background();
    }
    match RUNTIME.get() {
        Some(runtime) => Ok(runtime.handle()),
        None => Err(Error::broken("the node's runtime was not kept")),
    }
}

/// A node that ends with its last client.
struct Running {
    node: Node,
}

impl Drop for Running {
    fn drop(&mut self) {
        let node = self.node.clone();
        if let Some(runtime) = RUNTIME.get() {
            runtime.spawn(async move { node.shutdown(Duration::ZERO).await });
        }
    }
}

/// A service whose tasks and timers belong to the node's runtime, whoever drives it.
#[derive(Clone)]
struct Inside<S> {
    service: S,
    runtime: Handle,
}

impl<S, B> Service<Request<Body>> for Inside<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: HttpBody<Data = Bytes> + Unpin,
{
    type Response = Response<InsideBody<B>>;
    type Error = Infallible;
    type Future = InsideFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let _inside = self.runtime.enter();
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let _inside = self.runtime.enter();
        InsideFuture {
            future: self.service.call(request),
            runtime: self.runtime.clone(),
        }
    }
}

/// The future of an [`Inside`].
struct InsideFuture<F> {
    future: F,
    runtime: Handle,
}

impl<F, B> Future for InsideFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<InsideBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _inside = this.runtime.enter();
        Pin::new(&mut this.future).poll(cx).map(|answer| {
            let runtime = this.runtime.clone();
            answer.map(|answer| answer.map(|body| InsideBody { body, runtime }))
        })
    }
}

/// The body of an answer of an [`Inside`].
struct InsideBody<B> {
    body: B,
    runtime: Handle,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for InsideBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let _inside = this.runtime.enter();
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
