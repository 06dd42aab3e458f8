//! What stands between the network and the services: protocols, host names, tokens, and too many connections.

use crate::guests::{MATH, SLEEP};
use crate::harness::{self, TestNode, refusal, request, u64_of};
use lydian_api::v1;
use lydian_api::v1::call_info::State;
use lydian_api::v1::nodes_client::NodesClient;
use lydian_node::Token;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

const MINUTE: u64 = 60_000_000_000;
const SECRET: &str = "a-secret-of-enough-characters";

async fn info(channel: Channel) -> Result<v1::InfoResponse, Status> {
    let response = NodesClient::new(channel).info(v1::InfoRequest {}).await?;
    Ok(response.into_inner())
}

/// The request, word for word, over HTTP/1.1; the whole answer.
async fn http1(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the node accepts");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// As a web page's script sends it: no preflight is made for `text/plain`, so the type must decide.
#[tokio::test]
async fn grpc_is_answered_over_http_2_and_as_grpc_only() {
    let node = TestNode::start().await;
    let post = |content_type: &str| {
        format!(
            "POST /lydian.v1.Nodes/Info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: {content_type}\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
        )
    };
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web",
    ] {
        let answer = http1(node.address, &post(content_type)).await;
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
        assert!(answer.contains("gRPC over HTTP/2 only"), "{answer}");
    }
    let answer = http1(node.address, &post("text/plain")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(info(harness::connect(node.address).await).await.is_ok());
}

/// DNS rebinding: the browser connects to loopback, and says whose page it does so for.
#[tokio::test]
async fn loopback_does_not_answer_to_other_host_names() {
    let node = TestNode::start().await;
    let get =
        |host: &str| format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let answer = http1(node.address, &get("evil.example:7070")).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(
        answer.contains("`evil.example:7070`") && answer.contains("--allow-host"),
        "{answer}"
    );
    for host in ["localhost", "app--f.localhost:1", "127.0.0.1", "[::1]"] {
        let answer = http1(node.address, &get(host)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let endpoint = Channel::from_shared(format!("http://{}", node.address)).expect("an address");
    let evil = endpoint
        .clone()
        .origin("http://evil.example".parse().expect("an origin"));
    let refused = info(evil.connect().await.expect("connected")).await;
    let (code, name, text) = refusal(&refused.expect_err("refused"));
    assert_eq!(
        (code, name.as_str()),
        (Code::PermissionDenied, "host-not-allowed")
    );
    assert!(text.contains("`evil.example`"), "{text}");
}

#[tokio::test]
async fn listed_host_names_are_answered() {
    let node = TestNode::with(|options| options.allow_hosts = vec!["node.example".into()]).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: node.example\r\nconnection: close\r\n\r\n";
    assert!(http1(node.address, get).await.starts_with("HTTP/1.1 200 "));
}

/// With the token, with another, without: over the network; callers in the process are the node's own.
#[tokio::test]
async fn a_token_is_asked_for_on_every_grpc_call_from_the_network() {
    let token = Token::new(SECRET).expect("a token");
    let node = TestNode::with(|options| options.token = Some(token)).await;
    let channel = harness::connect(node.address).await;
    let with = |authorization: &str| {
        let mut request = Request::new(v1::InfoRequest {});
        let value = authorization.parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
        request
    };
    for (request, name) in [
        (Request::new(v1::InfoRequest {}), "no-token"),
        (with(SECRET), "no-token"),
        (with("Basic dXNlcjpwYXNz"), "no-token"),
        (with("Bearer another-secret-of-that-size"), "wrong-token"),
        (with("Bearer "), "wrong-token"),
    ] {
        let refused = NodesClient::new(channel.clone()).info(request).await;
        let (code, found, text) = refusal(&refused.expect_err(name));
        assert_eq!((code, found.as_str()), (Code::Unauthenticated, name));
        assert!(
            text.contains("LYDIAN_TOKEN") && !text.contains(SECRET),
            "{text}"
        );
    }
    for authorization in [format!("Bearer {SECRET}"), format!("bearer {SECRET}")] {
        let answered = NodesClient::new(channel.clone())
            .info(with(&authorization))
            .await;
        assert!(answered.is_ok(), "{answered:?}");
    }
    // Also where the services describe themselves.
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let nothing = futures::stream::empty();
    let refused = reflection.server_reflection_info(nothing).await;
    assert_eq!(refused.expect_err("refused").code(), Code::Unauthenticated);
    let mut health = HealthClient::new(channel);
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let mut inside = NodesClient::new(node.node.routes());
    assert!(inside.info(v1::InfoRequest {}).await.is_ok());
}

/// Whether the other side has closed the connection, waited for.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

/// Sockets that say nothing, and some that stop in the middle of a beginning, hold no connection for long.
#[tokio::test]
async fn silent_connections_are_closed_and_others_go_on() {
    let node = TestNode::with(|options| options.head_timeout = Duration::from_secs(2)).await;
    node.deploy("math", MATH).await;
    let mut silent = Vec::new();
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: loc"] {
        for _ in 0..8 {
            let mut stream = TcpStream::connect(node.address).await.expect("accepted");
            stream.write_all(beginning.as_bytes()).await.expect("sent");
            silent.push(stream);
        }
    }
    let answer = node.invoke("math", "square", &4u64.to_le_bytes()).await;
    assert_eq!(u64_of(&answer.expect("the call is answered")), 16);
    for stream in &mut silent {
        assert!(is_closed(stream).await);
    }
    // The connection that did speak is still there.
    let answer = node.invoke("math", "square", &5u64.to_le_bytes()).await;
    assert_eq!(u64_of(&answer.expect("the call is answered")), 25);
}

/// More silent sockets than there are connections: callers old and new are served all the same.
#[tokio::test]
async fn a_flood_of_silent_connections_keeps_nobody_out() {
    let node = TestNode::with(|options| options.max_connections = Some(8)).await;
    node.deploy("math", MATH).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(node.address).await.expect("accepted"));
    }
    let answer = node.invoke("math", "square", &4u64.to_le_bytes()).await;
    assert_eq!(u64_of(&answer.expect("the old connection is served")), 16);
    let mut calls = harness::calls(harness::connect(node.address).await);
    let answer = calls
        .invoke(request("math", "square", &6u64.to_le_bytes()))
        .await;
    let outcome = answer
        .expect("a new one too")
        .into_inner()
        .outcome
        .expect("an outcome");
    assert_eq!(u64_of(&outcome.into_result().expect("a result")), 36);
    // The oldest of them had to go, long before its time.
    assert!(is_closed(&mut silent[0]).await);
}

/// When each connection has a call in flight there is no room, and nobody in it is disturbed.
#[tokio::test]
async fn connections_beyond_the_bound_are_refused_and_counted() {
    let node = TestNode::with(|options| options.max_connections = Some(3)).await;
    node.deploy("sleep", SLEEP).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut calls = harness::calls(harness::connect(node.address).await);
        let sleep = request("sleep", "", &MINUTE.to_le_bytes());
        running.push(tokio::spawn(async move { calls.invoke(sleep).await }));
    }
    node.wait_for(2, State::Running).await;
    // The third connection is the node's own, kept busy by a followed log.
    let mut calls = node.calls();
    let listed = node.wait_for(2, State::Running).await;
    let follow = v1::CallLogsRequest {
        call: listed[0].call.clone(),
        follow: true,
    };
    let log = calls.logs(follow).await.expect("a log").into_inner();
    let mut refused = TcpStream::connect(node.address)
        .await
        .expect("the kernel accepts");
    assert!(is_closed(&mut refused).await);
    let info = node
        .nodes()
        .info(v1::InfoRequest {})
        .await
        .expect("the info");
    let info = info.into_inner();
    let check = info.checks.iter().find(|check| check.name == "connections");
    let check = check.expect("a check");
    assert!(
        check.detail.contains("3 of 3 in use; 1 refused"),
        "{check:?}"
    );
    assert!(check.fix.contains("ulimit -n"), "{check:?}");
    assert_eq!(node.wait_for(2, State::Running).await.len(), 2);
    drop(log);
    for call in running {
        call.abort();
    }
}

/// The head's time counts for the next request too; a connection that is busy with one has all the time it needs.
#[tokio::test]
async fn kept_alive_connections_without_a_next_request_are_closed() {
    let node = TestNode::with(|options| options.head_timeout = Duration::from_secs(1)).await;
    node.deploy("sleep", SLEEP).await;
    let mut kept_alive = TcpStream::connect(node.address).await.expect("accepted");
    let get = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    kept_alive.write_all(get).await.expect("sent");
    let mut answer = [0; 12];
    kept_alive.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), kept_alive.read_to_end(&mut rest));
    assert!(closed.await.is_ok());
    // Three times as long, in flight.
    let slept = node
        .invoke("sleep", "", &3_000_000_000u64.to_le_bytes())
        .await;
    assert!(slept.is_ok(), "{slept:?}");
}

/// The beginning of an HTTP/2 connection and of one gRPC request, whose body never comes.
fn begun(path: &str) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, stream]);
        frame.extend(payload);
        frame
    };
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A header by name and value, neither in a table.
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).expect("short"));
            head.extend(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // END_HEADERS, and not END_STREAM.
    bytes.extend(frame(1, 4, 1, &head));
    bytes
}

fn with_token(request: v1::InfoRequest) -> Request<v1::InfoRequest> {
    let mut request = Request::new(request);
    let value = format!("Bearer {SECRET}").parse().expect("a value");
    request.metadata_mut().insert("authorization", value);
    request
}

/// As many connections without the token as anybody likes, each with a request that it never
/// finishes: callers with the token are served, those who were there before and those who come.
#[tokio::test]
async fn connections_without_the_token_keep_nobody_out() {
    let node = TestNode::with(|options| {
        options.token = Some(Token::new(SECRET).expect("a token"));
        options.max_connections = Some(32);
    })
    .await;
    let mut before = NodesClient::new(harness::connect(node.address).await);
    let request = || with_token(v1::InfoRequest {});
    before.info(request()).await.expect("it shows the token");
    let mut strangers = Vec::new();
    for path in [
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/Check",
        "/lydian.v1.Calls/Invoke",
        "/lydian.v1.Calls/Session",
    ] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(node.address).await.expect("accepted");
            // The node may have closed it before all is sent.
            let _ = stream.write_all(&begun(path)).await;
            strangers.push(stream);
        }
        before.info(request()).await.expect("it is served still");
        let mut new = NodesClient::new(harness::connect(node.address).await);
        new.info(request()).await.expect("a new one is served");
    }
    for stream in &mut strangers[..300] {
        assert!(is_gone(stream).await, "the oldest had to go");
    }
}

/// Whether the other side closes the connection, whatever it says before.
async fn is_gone(stream: &mut TcpStream) -> bool {
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said));
    read.await.is_ok()
}

/// Watching holds a stream for as long as the watcher likes, so it takes the token.
#[tokio::test]
async fn watching_health_takes_the_token() {
    let token = Token::new(SECRET).expect("a token");
    let node = TestNode::with(|options| options.token = Some(token)).await;
    let mut health = HealthClient::new(harness::connect(node.address).await);
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let refused = health.watch(HealthCheckRequest::default()).await;
    assert_eq!(refused.expect_err("refused").code(), Code::Unauthenticated);
}

/// A request whose first message does not come holds its place for a while, not for ever.
#[tokio::test]
async fn requests_that_do_not_arrive_are_ended() {
    let node = TestNode::with(|options| options.receive_timeout = Duration::from_millis(200)).await;
    let late = node.calls().session(futures::stream::pending()).await;
    let status = late.expect_err("it is ended");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("stopped arriving"), "{status:?}");
}
