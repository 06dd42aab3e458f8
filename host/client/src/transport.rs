//! The one way to a node, whether it is at the end of a socket or in this process.
//!
//! [`Transport`] is what the generated clients speak through. It erases the difference between a
//! connection and a service in memory, and adds the token to every request, so that nothing above it
//! knows which of the two it talks to.

use crate::error::{Error, Refusal, Result, Unreachable};
use bytes::Bytes;
use futures::future::BoxFuture;
use lydian_api::size::{MAX_FRAME_BYTES, STREAM_WINDOW_BYTES};
use lydian_api::v1::MissingRequest;
use lydian_api::v1::blobs_client::BlobsClient;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::codegen::{Body as HttpBody, Service, StdError};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first answer may take, to a question that costs a node nothing. No later one is bounded.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that vanished without closing its connection is noticed after the interval and the timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest window HTTP/2 knows. Each stream has its own window, which bounds what is buffered; a
/// smaller one for the connection would let a few streams that nobody reads stop all the others.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// What [`Transport::url`] says of a node in this process.
pub(crate) const IN_PROCESS: &str = "embedded";

/// A node's services in this process.
type Local = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A way to a node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Transport {
    way: Way,
    url: Arc<str>,
    token: Option<HeaderValue>,
}

#[derive(Clone)]
enum Way {
    Remote(Channel),
    Local(Local),
}

impl Transport {
    /// Connects to `http://host:port`, or fails if no node answers there.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let transport = Self::open(url).await?;
        transport.greet(GREETING_TIMEOUT).await?;
        Ok(transport)
    }

    async fn open(url: &str) -> Result<Self> {
        let url = normalize(url)?;
        let endpoint = endpoint(&url)?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Error::Unreachable(Unreachable::new(&url, &error)))?;
        Ok(Self {
            way: Way::Remote(channel),
            url: url.into(),
            token: None,
        })
    }

    /// Makes sure that a node is at the other end: what only listens says nothing, and another server something else.
    async fn greet(&self, within: Duration) -> Result<()> {
        let mut blobs = BlobsClient::new(self.clone());
        let asked = blobs.missing(MissingRequest::default());
        match tokio::time::timeout(within, asked).await {
            Err(_) => {
                let how = format!("no answer within {within:?}");
                Err(Error::Unreachable(Unreachable::no_node(&self.url, how)))
            }
            Ok(Ok(_)) => Ok(()),
            // A refusal of a node, which may want a token, is an answer.
            Ok(Err(status)) if lydian_api::error::detail(&status).is_some() => Ok(()),
            Ok(Err(status)) => Err(Error::of_a_stranger(status, &self.url)),
        }
    }

    /// Speaks to services in this process, as a socket would.
    pub(crate) fn local<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        let service = service.map_response(|response: Response<B>| response.map(Body::new));
        Self {
            way: Way::Local(BoxCloneSyncService::new(service)),
            url: IN_PROCESS.into(),
            token: None,
        }
    }

    /// Sends `token` with every request, as `authorization: Bearer …`.
    pub(crate) fn with_token(mut self, token: &str) -> Result<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Error::InvalidArgument(
                Refusal::new("bad-token", "the token is not one line of printable ASCII")
                    .hint("check `LYDIAN_TOKEN` for a line break at its end"),
            )
        })?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Response<Body>, StdError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        match &mut self.way {
            Way::Remote(channel) => Service::poll_ready(channel, cx).map_err(Into::into),
            Way::Local(service) => service.poll_ready(cx).map_err(|never| match never {}),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        match &mut self.way {
            Way::Remote(channel) => {
                let answer = Service::call(channel, request);
                Box::pin(async { answer.await.map_err(Into::into) })
            }
            Way::Local(service) => {
                let answer = service.call(request);
                Box::pin(async { answer.await.map_err(|never| match never {}) })
            }
        }
    }
}

/// `host:port` is taken for `http://host:port`; everything else must be a plain HTTP URL.
fn normalize(url: &str) -> Result<String> {
    let url = url.trim();
    let (scheme, authority) = url.split_once("://").unwrap_or(("http", url));
    match (
        &*scheme.to_ascii_lowercase(),
        authority.trim_end_matches('/'),
    ) {
        (_, "") => Err(bad_url(url)),
        // A port alone is one of this machine, as where a node is told to listen.
        ("http", authority) if authority.trim_start_matches(':').parse::<u16>().is_ok() => {
            let port = authority.trim_start_matches(':');
            Ok(format!("http://127.0.0.1:{port}"))
        }
        ("http", authority) => Ok(format!("http://{authority}")),
        ("https", _) => Err(no_tls(url)),
        _ => Err(bad_url(url)),
    }
}

fn no_tls(url: &str) -> Error {
    Error::InvalidArgument(
        Refusal::new("bad-url", format!("`{url}` asks for TLS, which nodes do not speak"))
            .about(url)
            .hint("write `http://host:port`; over a network that is not yours, reach it through a tunnel, such as `ssh -L`"),
    )
}

fn bad_url(url: &str) -> Error {
    Error::InvalidArgument(
        Refusal::new("bad-url", format!("`{url}` is not the URL of a node"))
            .about(url)
            .hint("write it as `http://host:port`, for example `http://127.0.0.1:7070`"),
    )
}

fn endpoint(url: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| bad_url(url))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People paste `127.0.0.1:7070`, browsers add a slash; TLS is not spoken, so it must not look as if.
    #[test]
    fn urls_are_completed_or_refused() {
        assert_eq!(
            normalize("127.0.0.1:7070").ok().as_deref(),
            Some("http://127.0.0.1:7070")
        );
        for port in ["7070", ":7070"] {
            assert_eq!(
                normalize(port).ok().as_deref(),
                Some("http://127.0.0.1:7070")
            );
        }
        assert_eq!(
            normalize(" http://node:7070/ ").ok().as_deref(),
            Some("http://node:7070")
        );
        for bad in ["", "https://node:7070", "ftp://node", "http://"] {
            let error = normalize(bad).expect_err(bad);
            assert_eq!(error.code(), "bad-url");
            assert_eq!(error.to_string().contains("TLS"), bad.contains("https"));
        }
    }

    /// Something that takes connections and says nothing must not hold anybody up for minutes.
    #[tokio::test]
    async fn a_silent_listener_is_told_after_a_bounded_wait() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("bound"));
        let transport = Transport::open(&url)
            .await
            .expect("it takes the connection");
        let error = transport.greet(Duration::from_millis(20)).await;
        says_no_node(
            &error.expect_err("nobody answers"),
            &url,
            "no answer within 20ms",
        );
    }

    /// A web server's answers, in HTTP/1 as in HTTP/2, are no node's.
    #[tokio::test]
    async fn another_server_is_told_from_a_node() {
        let web = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", web.local_addr().expect("bound"));
        let server = tokio::spawn(async move {
            let (mut stream, _) = web.accept().await.expect("somebody comes");
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
                .await
                .expect("sent");
            stream
        });
        let error = Transport::connect(&url).await.err().expect("it is no node");
        says_no_node(&error, &url, "gRPC");
        drop(server.await);
    }

    #[track_caller]
    fn says_no_node(error: &Error, url: &str, how: &str) {
        assert_eq!(error.code(), "unreachable");
        let text = error.report().to_string();
        for said in [
            url,
            "something listens there",
            how,
            "hint: check host and port",
        ] {
            assert!(text.contains(said), "{text}");
        }
    }

    /// The error of the first thing everybody does wrong: no node is running.
    #[tokio::test]
    async fn connecting_to_nothing_names_the_url_and_the_fix() {
        // Port 9 of the loopback address is the discard service, which nobody runs.
        let error = Transport::connect("http://127.0.0.1:9").await.err();
        let error = error.expect("nobody listens there");
        assert!(matches!(error, Error::Unreachable(_)));
        let text = error.report().to_string();
        assert!(text.contains("http://127.0.0.1:9"), "{text}");
        assert!(text.contains("lydian up"), "{text}");
    }
}
