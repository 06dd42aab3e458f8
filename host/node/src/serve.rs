//! One port for gRPC and HTTP: accepts connections and serves each until it ends or the node does.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lydian_api::size::MAX_FRAME_BYTES;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Requests at once on one connection. More wait on the client's side.
const MAX_STREAMS: u32 = 1_024;
/// Requests that were given up before the node looked at them. Callers that cancel a lot are no attack; who makes it
/// more than this in one go is sent away.
const MAX_PENDING_RESETS: usize = 8 * MAX_STREAMS as usize;
/// What a request may send ahead of being read. With [`MAX_STREAMS`] it bounds what one connection makes the node hold.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The largest window HTTP/2 knows: streams have windows of their own, and a smaller one here would let a few requests
/// that wait for room stop all the others of the connection.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// A connection that does not answer a ping is dead; its calls are cancelled.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long connections may take to end once the node is over.
const GOODBYE: Duration = Duration::from_secs(1);
/// A client that is slower to send a request's head is holding the connection for nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after accepting failed, which it does while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of the connection. Absent for callers in this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves until `over`, then says goodbye to every connection.
pub(crate) async fn serve(listener: TcpListener, router: Router, over: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = over.cancelled() => break,
            // Keeps the set from growing with every connection there ever was.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, router.clone(), over.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Who has not left by then is cut off when the set is dropped.
    let _ = tokio::time::timeout(GOODBYE, all).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, over: CancellationToken) {
    // A small answer must not wait for a large one that never comes.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = hyper_util::service::TowerToHyperService::new(tower::service_fn(
        move |request: Request<_>| {
            let mut request: Request<Body> = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            // A router is always ready.
            router.clone().call(request)
        },
    ));
    let builder = builder();
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(KEEPALIVE);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
}
