//! One port for gRPC and HTTP: accepts connections and serves each until it ends, has to go or the node is over.
//!
//! Who may ask for what is decided in [`front`]; how many connections there are, and which must go, in [`connections`].

pub(crate) mod connections;
pub(crate) mod front;
mod hosts;
pub(crate) mod token;

use self::connections::{Admitted, Clocks, Connections, InFlight, Life};
use self::front::{Front, Link};
use axum::body::Body;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lydian_api::size::MAX_FRAME_BYTES;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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
/// How long connections may take to end once the node is over, or once they were told to go.
const GOODBYE: Duration = Duration::from_secs(1);
/// Pause after accepting failed, which it does while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of the connection. Absent for callers in this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

tokio::task_local! {
    static CALLER: SocketAddr;
}

/// Who the current request came from, when it came over the network and its own task asks. On loopback, where every caller
/// has the same address, a caller is a connection.
pub(crate) fn caller() -> Option<String> {
    let peer = CALLER.try_get().ok()?;
    match peer.ip().to_canonical() {
        ip if ip.is_loopback() => Some(peer.to_string()),
        ip => Some(ip.to_string()),
    }
}

/// Serves until `over`, then says goodbye to every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    connections: Connections,
    over: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = over.cancelled() => break,
            // Keeps the set from growing with every connection there ever was.
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // One connection too many is closed at once: waiting in the kernel's line, it would only find out later.
            Ok((stream, peer)) => {
                if let Some(admitted) = connections.admit(peer.ip()) {
                    open.spawn(connection(
                        stream,
                        peer,
                        front.clone(),
                        admitted,
                        over.clone(),
                    ));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    // Who has not left by then is cut off when the set is dropped.
    let _ = tokio::time::timeout(GOODBYE, all).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    admitted: Admitted,
    over: CancellationToken,
) {
    // A small answer must not wait for a large one that never comes.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let link = Link::of(&stream, peer);
    let life = admitted.life().clone();
    let service = tower::service_fn({
        let life = life.clone();
        move |request: Request<_>| {
            let in_flight = InFlight::begin(&life);
            let answer = front.answer(link, &life, request.map(Body::new));
            let answer = CALLER.scope(peer, answer);
            async move {
                let answer = answer.await;
                Ok::<_, Infallible>(answer.map(|body| in_flight.until_sent(body)))
            }
        }
    });
    let builder = builder(admitted.clocks());
    let io = TokioIo::new(Listening {
        stream,
        life: life.clone(),
    });
    let service = hyper_util::service::TowerToHyperService::new(service);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = admitted.silent() => return,
        () = life.evicted() => {
            // Nothing that a stranger waits for is worth a place.
            if !life.is_known() {
                return;
            }
            // A request may be on its way to a connection that was idle just now: it is answered still.
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GOODBYE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
        () = over.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended");
    }
}

fn builder(clocks: Clocks) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .keep_alive_interval(clocks.ping_every)
        .keep_alive_timeout(clocks.ping_timeout);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(clocks.head_timeout);
    builder
}

/// A stream that takes note of what its peer has said: until that is a protocol's beginning, hyper has no clock on it.
struct Listening {
    stream: TcpStream,
    life: Arc<Life>,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.life.hear(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
