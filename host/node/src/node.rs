//! A running node: start, routes, shutdown.
//!
//! | | who signals | who waits |
//! | --- | --- | --- |
//! | admission closed | [`Node::shutdown`], first | nobody: callers are refused, those in line too |
//! | durable calls | the same moment: none are claimed any more | shutdown, until each ended or was handed back |
//! | calls in flight | | shutdown, up to the grace; then they are interrupted |
//! | connections | shutdown, last | [`Node::serve`], a moment; then they are cut |
//!
//! A node that is dropped without shutdown takes nothing new and lets what runs end by itself. One that is
//! killed loses what it was doing; durable calls are claimed again by the next.

use crate::api::payload::{PayloadClocks, PayloadLayer};
use crate::api::{AppsService, BlobsService, CallsService, NodesService};
use crate::calls::spawn::Spawner;
use crate::core::Core;
use crate::options::{Data, Options};
use crate::serve;
use crate::serve::front::{Front, is_grpc};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lydian_api::size::{BLOB_CHUNK_BYTES, MAX_MESSAGE_BYTES};
use lydian_api::v1::apps_server::AppsServer;
use lydian_api::v1::blobs_server::BlobsServer;
use lydian_api::v1::calls_server::CallsServer;
use lydian_api::v1::nodes_server::NodesServer;
use lydian_engine::{Engine, PoolOptions};
use lydian_store::Store;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

/// Messages of requests that carry no payload.
const SMALL_MESSAGE_BYTES: usize = BLOB_CHUNK_BYTES + (64 << 10);

/// How often what is kept is looked through.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How long interrupted calls may take to be recorded.
const HAND_BACK: Duration = Duration::from_secs(5);

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    routes: Router,
    front: Arc<Front>,
    health: HealthReporter,
    listener: parking_lot::Mutex<Option<TcpListener>>,
    local_addr: Option<SocketAddr>,
    /// Tells [`Node::serve`] that the node is done.
    over: CancellationToken,
    _housekeeping: AbortOnDropHandle<()>,
    // Removed with the node.
    _temporary: Option<tempfile::TempDir>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Tasks hold the core, not the node: they end because they are told to.
        self.core.spawner.stop();
        self.over.cancel();
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("port {} on {} is in use", address.port(), address.ip())]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot use the data directory `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the machine gives no random bytes")]
    Random,
    #[error(transparent)]
    Store(#[from] lydian_store::Error),
    #[error(transparent)]
    Engine(#[from] lydian_engine::Error),
    #[error("cannot offer reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl StartError {
    /// What to do about it, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::PortInUse { address } => vec![format!(
                "stop the program that uses it, perhaps another node, or listen elsewhere: `lydian up --listen {}:{}`",
                address.ip(),
                address.port().checked_add(1).unwrap_or(1024)
            )],
            Self::Listen { .. } => {
                vec!["choose an address of this machine, and a port you may use".into()]
            }
            Self::Directory { .. } => {
                vec!["set `LYDIAN_HOME` to a directory you may write to".into()]
            }
            Self::Store(error) => error.hint().into_iter().map(str::to_owned).collect(),
            Self::Engine(error) => error.hints(),
            Self::Random | Self::Reflection(_) => Vec::new(),
        }
    }
}

impl Node {
    /// Opens the store, reserves the sandboxes, listens. Serves nothing yet but [`Node::routes`]; durable calls are
    /// taken up at once.
    ///
    /// # Errors
    /// [`StartError`]; its hints say what to change.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_in(options, None).await
    }

    /// As [`Node::start`], over a store that is open: for tests that make it fail.
    ///
    /// # Errors
    /// As of [`Node::start`].
    #[doc(hidden)]
    pub async fn start_over(options: Options, store: Store) -> Result<Self, StartError> {
        Self::start_in(options, Some(store)).await
    }

    async fn start_in(options: Options, over: Option<Store>) -> Result<Self, StartError> {
        // First, for it is what fails most often, and before anything is touched.
        let listener = match options.listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let temporary = match (&options.data, &options.artifacts) {
            (Data::Memory, None) => Some(temporary_directory()?),
            _ => None,
        };
        let (store, directory) = match over {
            Some(store) => (store, directory(&options.data, temporary.as_ref())),
            None => open(&options, temporary.as_ref()).await?,
        };
        let directory = options.artifacts.clone().unwrap_or(directory);
        let mut engine = lydian_engine::Options::new(directory.clone());
        engine.pool = options
            .max_sandboxes
            .map_or_else(PoolOptions::default, PoolOptions::sized);
        engine.threads = options.sandbox_threads;
        engine.guest_sockets = options.guest_sockets;
        let compile = &mut engine.compile;
        compile.workers = options.compile_workers.unwrap_or(compile.workers);
        compile.memory_bytes = options.compile_memory_bytes.unwrap_or(compile.memory_bytes);
        compile.niceness = options.compile_niceness;
        compile.cache_bytes = options.artifact_cache_bytes.unwrap_or(compile.cache_bytes);
        engine.limits = options.limits;
        engine.limits_max = options.limits_max;
        engine.guest_memory_bytes = options.guest_memory_bytes;
        let core = Core::new(options, store, Engine::new(engine)?, &directory)?;
        let core = Arc::new(core);
        let (health, health_service) = tonic_health::server::health_reporter();
        let plain = plain_routes(&core);
        let routes = routes(&core, plain.clone(), health_service)?;
        let front = Front::new(
            routes.clone(),
            plain.layer(payload_layer(&core)),
            &core.options.allow_hosts,
            core.options.token.clone(),
        );
        say_healthy(&health).await;
        Spawner::start(&core);
        let local_addr = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        Ok(Self(Arc::new(Inner {
            _housekeeping: AbortOnDropHandle::new(tokio::spawn(housekeeping(core.clone()))),
            _temporary: temporary,
            over: CancellationToken::new(),
            listener: parking_lot::Mutex::new(listener),
            core,
            routes,
            front: Arc::new(front),
            health,
            local_addr,
        })))
    }

    /// Everything the node answers, as a service: for a client in the same process, no socket needed.
    pub fn routes(&self) -> Router {
        self.0.routes.clone()
    }

    /// Where the node listens; `None` without [`Options::listen`].
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr
    }

    /// Answers connections on the address the node listens on, until [`Node::shutdown`].
    ///
    /// # Errors
    /// The node listens nowhere, or is served already.
    pub async fn serve(&self) -> io::Result<()> {
        let listener = self.0.listener.lock().take();
        let listener = listener
            .ok_or_else(|| io::Error::other("the node listens nowhere, or is served already"))?;
        self.serve_on(listener).await
    }

    /// Answers connections that `listener` accepts, until [`Node::shutdown`].
    ///
    /// # Errors
    /// None at present; a connection that fails concerns nobody else.
    pub async fn serve_on(&self, listener: TcpListener) -> io::Result<()> {
        let (front, connections) = (self.0.front.clone(), self.0.core.connections.clone());
        serve::serve(listener, front, connections, self.0.over.clone()).await;
        Ok(())
    }

    /// Removes what has expired, and blobs that nothing uses and nobody touched for [`Options::blob_grace`]. The node
    /// does so by itself every [`Options::collect_every`].
    pub async fn collect(&self) {
        collect_garbage(&self.0.core).await;
    }

    /// Stops admitting calls, lets those in flight finish for up to `grace`, interrupts the rest, hands durable ones back
    /// to their queue, and ends [`Node::serve`]. Calling it again changes nothing.
    pub async fn shutdown(&self, grace: Duration) {
        let core = &self.0.core;
        let health = &self.0.health;
        health
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        core.admission.drain();
        core.spawner.stop();
        core.warm.close();
        // Past the grace nobody is waited for. Durable calls are done with when their ends are
        // recorded.
        let done = async {
            core.admission.idle().await;
            core.spawner.stopped().await;
        };
        let _ = tokio::time::timeout(grace, done).await;
        for call in core.recent.running() {
            call.interrupt();
        }
        let ended = async {
            core.admission.idle().await;
            core.spawner.stopped().await;
        };
        if tokio::time::timeout(HAND_BACK, ended).await.is_err() {
            tracing::warn!(
                sandboxes = core.admission.taken(),
                "calls did not end in time"
            );
        }
        self.0.over.cancel();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse { address },
            _ => StartError::Listen { address, source },
        })
}

fn temporary_directory() -> Result<tempfile::TempDir, StartError> {
    let failed = |source| StartError::Directory {
        path: std::env::temp_dir(),
        source,
    };
    tempfile::Builder::new()
        .prefix("lydian-")
        .tempdir()
        .map_err(failed)
}

/// The store, and the directory for compiled components.
async fn open(
    options: &Options,
    temporary: Option<&tempfile::TempDir>,
) -> Result<(Store, PathBuf), StartError> {
    let kept = lydian_store::Options {
        retention: options.result_retention,
        ..lydian_store::Options::default()
    };
    match (&options.data, temporary) {
        (Data::Directory(path), _) => {
            let failed = |source| StartError::Directory {
                path: path.clone(),
                source,
            };
            let mut private = tokio::fs::DirBuilder::new();
            private.recursive(true).mode(0o700);
            private.create(path).await.map_err(failed)?;
            Ok((Store::open_with(path, kept).await?, path.clone()))
        }
        (data @ Data::Memory, temporary) => {
            Ok((Store::memory_with(kept).await?, directory(data, temporary)))
        }
    }
}

/// Where compiled components go.
fn directory(data: &Data, temporary: Option<&tempfile::TempDir>) -> PathBuf {
    match data {
        Data::Directory(path) => path.clone(),
        Data::Memory => temporary.map_or_else(std::env::temp_dir, |made| made.path().to_owned()),
    }
}

/// gRPC services, reflection and health beside plain HTTP, on the same port.
fn routes(
    core: &Arc<Core>,
    plain: Router,
    health: tonic_health::pb::health_server::HealthServer<
        impl tonic_health::pb::health_server::Health,
    >,
) -> Result<Router, StartError> {
    let blobs =
        BlobsServer::new(BlobsService(core.clone())).max_decoding_message_size(SMALL_MESSAGE_BYTES);
    let apps =
        AppsServer::new(AppsService(core.clone())).max_decoding_message_size(SMALL_MESSAGE_BYTES);
    let calls = CallsServer::new(CallsService(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let nodes =
        NodesServer::new(NodesService(core.clone())).max_decoding_message_size(SMALL_MESSAGE_BYTES);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(lydian_api::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let router = Routes::from(plain)
        .add_service(blobs)
        .add_service(apps)
        .add_service(calls)
        .add_service(nodes)
        .add_service(health)
        .add_service(reflection)
        .prepare()
        .into_axum_router();
    Ok(router.layer(payload_layer(core)))
}

fn payload_layer(core: &Core) -> PayloadLayer {
    PayloadLayer {
        budget: core.budget.clone(),
        clocks: PayloadClocks {
            receive: core.options.receive_timeout,
            send: core.options.send_timeout,
        },
    }
}

/// Plain HTTP. Nothing here may change anything or cost much: a web page can make its reader's browser ask for it.
fn plain_routes(core: &Arc<Core>) -> Router {
    let probed = core.clone();
    Router::new()
        .route("/", get(greeting))
        .route(
            "/healthz",
            get(move || std::future::ready(healthz(&probed))),
        )
        .fallback(nothing_there)
}

async fn greeting() -> String {
    format!(
        "This is a Lydian node, version {}.\n\n\
         Run a function on it:     lydian run app::function\n\
         See what is deployed:     lydian app list\n\
         Ask it anything else:     gRPC lydian.v1 on this port, with reflection\n\
         Check that it is well:    GET /healthz\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn healthz(core: &Core) -> (StatusCode, &'static str) {
    match core.admission.draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        false => (StatusCode::OK, "ok\n"),
    }
}

/// In the language the caller speaks.
async fn nothing_there(headers: HeaderMap) -> Response {
    match is_grpc(&headers) {
        true => Status::unimplemented("this node has no such method")
            .into_http::<axum::body::Body>()
            .into_response(),
        false => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
    }
}

async fn say_healthy(health: &HealthReporter) {
    health.set_serving::<CallsServer<CallsService>>().await;
    health.set_serving::<AppsServer<AppsService>>().await;
    health.set_serving::<BlobsServer<BlobsService>>().await;
    health.set_serving::<NodesServer<NodesService>>().await;
}

/// Gives back memory now and then, and removes from the store what has had its time.
async fn housekeeping(core: Arc<Core>) {
    let mut tidy = tokio::time::interval(TIDY_EVERY);
    // A period of nothing is none.
    let every = core.options.collect_every.max(Duration::from_millis(1));
    let mut collect = tokio::time::interval(every);
    // The first tick is now, when there is nothing to do and a start to get out of the way of.
    tidy.tick().await;
    collect.tick().await;
    loop {
        tokio::select! {
            _ = tidy.tick() => core.resolver.tidy(),
            // Programs that embed a node for a moment leave this to the node of the directory.
            _ = collect.tick(), if core.options.resume_spawned => collect_garbage(&core).await,
        }
    }
}

#[cfg(test)]
mod tests;

async fn collect_garbage(core: &Core) {
    if let Err(error) = core.store.expire().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot remove expired results"
        );
    }
    let collected = async {
        let live = core.live_blobs().await?;
        core.store.collect(live, core.options.blob_grace).await
    };
    match collected.await {
        Ok(swept) => tracing::debug!(?swept, "collected blobs"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot collect blobs"
        ),
    }
}
