//! What a request from the network must be to reach the node's services. Callers in this process do not come past here.
//!
//! In this order:
//!
//! 1. On a connection to loopback, the host it asks for must be one of this machine ([`Hosts`]).
//! 2. Only `application/grpc` over HTTP/2 reaches gRPC services; everything else gets the plain HTTP routes, where they do
//!    not exist. No web page can make such a request: browsers speak HTTP/2 over TLS only, and ask first before they send
//!    that content type.
//! 3. A gRPC request must show the node's [`Token`], when it has one. A single health check needs
//!    none; it is answered in time or not at all. The connection is a stranger's until a request on
//!    it has shown the token ([`Life`]).

use super::connections::Life;
use super::hosts::Hosts;
use super::{Peer, token::Token};
use crate::error::Error;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, Version, header};
use axum::response::IntoResponse;
use futures::future::Either;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::Status;
use tower::Service;

/// Health checks are made by machines that hold no token, and tell nothing. Watching would hold a
/// stream for as long as the watcher likes.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// How long a request without the token may take; most of it is its own sending.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(5);

/// The way from a socket to the routes.
pub(crate) struct Front {
    /// gRPC and HTTP.
    pub(crate) all: Router,
    /// HTTP alone.
    pub(crate) plain: Router,
    pub(crate) hosts: Hosts,
    pub(crate) token: Option<Token>,
}

/// Between whom a connection is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    peer: SocketAddr,
    /// Whether the peer connected to an address of loopback; so it is on this machine, as browsers are.
    loopback: bool,
}

impl Link {
    pub(crate) fn of(stream: &TcpStream, peer: SocketAddr) -> Self {
        let local = stream.local_addr();
        Self {
            peer,
            // An address that cannot be told is taken for the one with more to check.
            loopback: local.map_or(true, |local| local.ip().to_canonical().is_loopback()),
        }
    }
}

impl Front {
    pub(crate) fn new(all: Router, plain: Router, hosts: &[String], token: Option<Token>) -> Self {
        Self {
            all,
            plain,
            hosts: Hosts::new(hosts),
            token,
        }
    }

    /// The answer to a request; the future borrows nothing.
    pub(crate) fn answer(
        &self,
        link: Link,
        life: &Life,
        mut request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let grpc = is_grpc(request.headers());
        let (router, known) = match self.route(link, &request, grpc) {
            Ok(route) => route,
            Err(refusal) => return Either::Left(std::future::ready(refusal.response(grpc))),
        };
        if known {
            life.recognise();
        }
        request.extensions_mut().insert(Peer(link.peer));
        // A router is always ready.
        let answer = router.clone().call(request);
        let answer = async { answer.await.unwrap_or_else(|never| match never {}) };
        if known {
            return Either::Right(Either::Left(answer));
        }
        Either::Right(Either::Right(async move {
            let answer = tokio::time::timeout(STRANGER_TIMEOUT, answer).await;
            answer.unwrap_or_else(|_| Refusal::Late.response(grpc))
        }))
    }

    /// Where a request goes, and whether who sent it may ask for anything.
    fn route(
        &self,
        link: Link,
        request: &Request<Body>,
        grpc: bool,
    ) -> Result<(&Router, bool), Refusal> {
        if link.loopback
            && let Some(host) = asked_hosts(request).find(|host| !self.hosts.allow(host))
        {
            return Err(Refusal::Host(host.to_owned()));
        }
        match (grpc, request.version() >= Version::HTTP_2) {
            (false, _) => Ok((&self.plain, self.token.is_none())),
            (true, false) => Err(Refusal::Protocol),
            (true, true) => self.check_token(request).map(|known| (&self.all, known)),
        }
    }

    /// Whether the request shows the token, where it may do without.
    fn check_token(&self, request: &Request<Body>) -> Result<bool, Refusal> {
        let Some(token) = &self.token else {
            return Ok(true);
        };
        match bearer(request.headers()) {
            Some(given) if token.is(given) => Ok(true),
            _ if request.uri().path() == HEALTH_CHECK => Ok(false),
            None => Err(Refusal::Token(Error::NoToken)),
            Some(_) => Err(Refusal::Token(Error::WrongToken)),
        }
    }
}

/// Whether the caller speaks gRPC, in any of its encodings.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"))
}

/// The hosts a request names, in its target and in its head. A browser always names one.
fn asked_hosts(request: &Request<Body>) -> impl Iterator<Item = &str> {
    let named = request.headers().get_all(header::HOST).iter();
    // What is not text is no name of ours.
    let named = named.map(|host| host.to_str().unwrap_or(""));
    let target = request.uri().authority().map(|target| target.as_str());
    target.into_iter().chain(named)
}

/// What stands behind `Bearer` in the `authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Why a request goes no further.
enum Refusal {
    Host(String),
    Protocol,
    Token(Error),
    /// Without the token, and not sent in time.
    Late,
}

impl Refusal {
    /// In the language the caller speaks.
    fn response(self, grpc: bool) -> Response<Body> {
        match self {
            Self::Protocol => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "this node answers gRPC over HTTP/2 only\n",
            )
                .into_response(),
            Self::Host(host) if grpc => in_grpc(Error::HostNotAllowed { host }),
            Self::Host(host) => {
                let error = Error::HostNotAllowed { host };
                let hints = error.detail().hints.join("; ");
                let text = format!("{error}; {hints}\n");
                (StatusCode::MISDIRECTED_REQUEST, text).into_response()
            }
            Self::Token(error) => in_grpc(error),
            Self::Late if grpc => {
                Status::deadline_exceeded("the request did not arrive in time").into_http()
            }
            Self::Late => StatusCode::REQUEST_TIMEOUT.into_response(),
        }
    }
}

fn in_grpc(error: Error) -> Response<Body> {
    Status::from(error).into_http::<Body>()
}
