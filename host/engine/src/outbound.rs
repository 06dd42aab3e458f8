//! `wasi:http` requests, sent only where [`Egress`] lets them.
//!
//! The host in the URL is resolved and checked, and the connection is made to exactly the address that was checked. What is
//! sent as `Host` follows the URL, redirects are the guest's own requests and checked as such, and `CONNECT` and upgrades,
//! which would turn a granted connection into a tunnel, are refused.

use crate::descriptors::Open;
use crate::egress::{Egress, Refused};
use crate::retained;
use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// How long connecting and waiting may take when the guest does not say; the call's own limit is below that mostly.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Driver), Error>;

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(send(self.clone(), request, options))
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        retained::BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        retained::BODY_CHUNK_BYTES
    }
}

async fn send(
    egress: Egress,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    if request.method() == Method::CONNECT {
        return Err(Error::HttpRequestDenied);
    }
    let tls = request.uri().scheme() != Some(&Scheme::HTTP);
    let host = request
        .uri()
        .host()
        .ok_or(Error::HttpRequestUriInvalid)?
        .to_owned();
    let port = request
        .uri()
        .port_u16()
        .unwrap_or(if tls { 443 } else { 80 });
    let wait = |pick: fn(&RequestOptions) -> Option<Duration>| {
        options.as_ref().and_then(pick).unwrap_or(DEFAULT_TIMEOUT)
    };
    let connect = connect(&egress, &host, port, tls);
    let stream = timeout(wait(|o| o.connect_timeout), connect)
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let handshake = hyper::client::conn::http1::Builder::new().handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    *request.uri_mut() = origin_form(request.uri());

    let first_byte = wait(|o| o.first_byte_timeout);
    let between = wait(|o| o.between_bytes_timeout);
    let mut connection = Box::pin(connection);
    let response = async {
        let response = timeout(first_byte, sender.send_request(request));
        tokio::pin!(response);
        // The connection moves the request along; should it end first, the response is there or never comes.
        tokio::select! {
            biased;
            response = &mut response => response,
            ended = &mut connection => {
                ended?;
                response.await
            }
        }
        .map_err(|_| Error::ConnectionReadTimeout)?
        .map_err(Error::from)
    }
    .await?;
    let driver = tokio::spawn(async move { connection.await.map_err(Error::from) });
    let body = response.map(|body| Patient::new(body, between).boxed_unsync());
    Ok((body, Box::new(Abort(driver).wait())))
}

/// Ends the connection with the sandbox that uses it.
struct Abort(tokio::task::JoinHandle<Result<(), Error>>);

impl Abort {
    async fn wait(mut self) -> Result<(), Error> {
        (&mut self.0).await.unwrap_or(Ok(()))
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that gives up when nothing comes for too long.
struct Patient {
    body: hyper::body::Incoming,
    patience: Duration,
    until: Pin<Box<tokio::time::Sleep>>,
}

impl Patient {
    fn new(body: hyper::body::Incoming, patience: Duration) -> Patient {
        Patient {
            body,
            patience,
            until: Box::pin(tokio::time::sleep(patience)),
        }
    }
}

impl http_body::Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let next = tokio::time::Instant::now() + self.patience;
            self.until.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        self.until
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A connection that gives its descriptor back when it is closed.
struct Counted {
    stream: TcpStream,
    _open: Open,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    egress: &Egress,
    host: &str,
    port: u16,
    tls: bool,
) -> Result<Box<dyn Stream>, Error> {
    let addresses = egress
        .resolve(host, port)
        .await
        .map_err(|refused| match refused {
            Refused::NotGranted => Error::DestinationIpProhibited,
            Refused::Unresolvable => Error::DnsError {
                rcode: None,
                info_code: None,
            },
        })?;
    // A guest that is told so goes on without; it holds no more of the node than it may.
    let open = egress
        .files
        .open()
        .map_err(|_| Error::ConnectionLimitReached)?;
    let stream = Counted {
        stream: connect_any(&addresses).await?,
        _open: open,
    };
    if !tls {
        return Ok(Box::new(stream));
    }
    let name = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(name).map_err(Error::InvalidDnsNameError)?;
    Ok(Box::new(
        TlsConnector::from(tls_config()?)
            .connect(name, stream)
            .await
            .map_err(Error::Tls)?,
    ))
}

async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Error::Connect(error),
        }
    }
    Err(last)
}

/// Trusts the roots that browsers trust, wherever the node runs.
fn tls_config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let make = || {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.into(),
        };
        let builder =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().ok()?;
        Some(Arc::new(
            builder.with_root_certificates(roots).with_no_client_auth(),
        ))
    };
    CONFIG
        .get_or_init(make)
        .clone()
        .ok_or(Error::TlsProtocolError)
}

/// The path alone, as a server wants it; scheme and host are for proxies.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().unwrap_or_else(|_| Uri::from_static("/"))
}
