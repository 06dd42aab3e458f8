//! Guests that may reach one address, and keep every connection to it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lydian_client::{Call, FailureKind, Limits};
use lydian_tests::guests;
use serde_json::json;

use crate::support::{Ended, TestNode, call, patiently, until};

/// Accepts every connection and keeps it; answers requests with a body that never comes to its end.
struct Peer {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<TcpStream>>>,
}

impl Peer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let all = kept.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut asked = stream.try_clone().unwrap();
                all.lock().unwrap().push(stream);
                std::thread::spawn(move || {
                    let mut request = [0; 1024];
                    if asked.read(&mut request).is_ok_and(|read| read > 0) {
                        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning";
                        let _ = asked.write_all(head);
                    }
                });
            }
        });
        Self { address, kept }
    }

    fn accepted(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    /// Ends every connection there is.
    fn hang_up(&self) {
        for stream in self.kept.lock().unwrap().iter() {
            // Some ended before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections others had made by now, once at least so many were accepted. The backlog keeps its order,
    /// so none of them is left in it when a connection of our own has come through.
    async fn accepted_before_ours(&self, at_least: usize) -> usize {
        let reached = format!("{at_least} connections were not accepted");
        patiently(&reached, until(|| self.accepted() >= at_least)).await;
        let ours = TcpStream::connect(self.address).unwrap();
        let ours = ours.local_addr().unwrap();
        let place = || {
            let kept = self.kept.lock().unwrap();
            kept.iter()
                .position(|stream| stream.peer_addr().is_ok_and(|from| from == ours))
        };
        patiently(
            "our own connection was not accepted",
            until(|| place().is_some()),
        )
        .await;
        place().unwrap()
    }

    fn grant(&self, open_files: u32) -> serde_json::Value {
        json!({ "network": [self.address.to_string()], "open-files": open_files })
    }
}

async fn ask(node: &TestNode, function: &str, arguments: &[&str]) -> Ended {
    let function = node.client.function("sockets", function).await.unwrap();
    let limits = Limits::new().timeout(Duration::from_secs(60));
    call(&function.with_limits(limits), arguments).await
}

/// Twenty of each kind, and the next one stops the guest; HTTP tells it, as the interface has a word for that.
#[tokio::test(flavor = "multi_thread")]
async fn open_files_bounds_connections_of_every_kind() {
    let (node, peer) = (TestNode::start().await, Peer::start());
    node.deploy("sockets", guests::SOCKETS, peer.grant(20))
        .await;
    let (quoted, port) = (
        format!("\"{}\"", peer.address),
        peer.address.port().to_string(),
    );
    for (function, target) in [
        ("tcp", Some(&quoted)),
        ("tcp-async", Some(&port)),
        ("tcp-streams", Some(&port)),
        ("udp", None),
        ("udp-async", None),
        ("http", Some(&quoted)),
    ] {
        let before = peer.accepted();
        let arguments = |n| {
            target
                .map(String::as_str)
                .into_iter()
                .chain([n])
                .collect::<Vec<_>>()
        };
        let got = ask(&node, function, &arguments("20")).await;
        assert_eq!(got, Ended::Value("(20, none)".into()), "{function}");
        let more = arguments("21");
        let ended = node.beside_others(ask(&node, function, &more)).await;
        if function == "http" {
            let told = Ended::Value("(20, some(\"ErrorCode::ConnectionLimitReached\"))".into());
            assert_eq!(ended, told);
        } else {
            let Ended::Failed(FailureKind::Handles, message) = &ended else {
                panic!("{function}: {ended:?}")
            };
            let said = "has more open files and sockets than its limit of 20";
            assert!(message.contains(said), "{function}: {message}");
        }
        if target.is_some() {
            let accepted = peer.accepted_before_ours(before + 40).await;
            assert_eq!(accepted - before, 40, "{function}");
        }
    }
}

/// As many as one likes, as long as they are closed: also the streams that WASI 0.3 lets outlive their socket.
#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_do_not_count() {
    let (node, peer) = (TestNode::start().await, Peer::start());
    node.deploy("sockets", guests::SOCKETS, peer.grant(5)).await;
    let (quoted, port) = (
        format!("\"{}\"", peer.address),
        peer.address.port().to_string(),
    );
    for (function, target) in [("churn", &quoted), ("churn-async", &port)] {
        let got = ask(&node, function, &[target, "300"]).await;
        assert_eq!(got, Ended::Value("(300, none)".into()), "{function}");
    }
}

/// Many guests, each within its limit: the node's own descriptors are not what they take. The one that asks for one too
/// many is told so and goes on; the others notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn all_guests_together_are_bounded_by_the_node() {
    let peer = Peer::start();
    let node = TestNode::with(|options| options.guest_sockets = Some(30)).await;
    node.deploy("sockets", guests::SOCKETS, peer.grant(256))
        .await;
    let quoted = format!("\"{}\"", peer.address);
    let many = [quoted.as_str(), "25", "true"];
    let holding = ask(&node, "hold", &many);
    let asking = async {
        let held = until(|| peer.accepted() >= 25);
        patiently("25 connections were not accepted", held).await;
        let late = ask(&node, "hold", &[&quoted, "20", "false"]).await;
        let Ended::Value(got) = &late else {
            panic!("{late:?}")
        };
        assert!(got.starts_with("(5, some("), "{got}");
        let refused = ask(&node, "http", &[&quoted, "6"]).await;
        let told = "(5, some(\"ErrorCode::ConnectionLimitReached\"))";
        assert_eq!(refused, Ended::Value(told.into()));
        let port = peer.address.port().to_string();
        let refused = ask(&node, "tcp-async", &[&port, "6"]).await;
        let Ended::Value(got) = &refused else {
            panic!("{refused:?}")
        };
        assert!(
            got.starts_with("(5, some(") && got.contains("no descriptor left"),
            "{got}"
        );
        peer.hang_up();
    };
    let (held, ()) = tokio::join!(holding, asking);
    assert_eq!(held, Ended::Value("(25, none)".into()));
    // What a sandbox had is the node's again.
    node.is_empty().await;
    let again = ask(&node, "hold", &[&quoted, "30", "false"]).await;
    assert_eq!(again, Ended::Value("(30, none)".into()));
}

/// What a grant opens, and what it leaves closed, by every road that carries bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_its_address_and_no_other() {
    let (node, peer) = (TestNode::start().await, Peer::start());
    let (other, datagrams) = (Peer::start(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let udp = datagrams.local_addr().unwrap();
    let manifest = json!({ "network": [peer.address.to_string(), udp.to_string()] });
    node.deploy("net", guests::NET, manifest).await;
    let quoted = |address: SocketAddr| format!("\"{address}\"");
    let (granted, closed) = (quoted(peer.address), quoted(other.address));
    let ask = async |function: &str, arguments: &[&str]| {
        let function = node.client.function("net", function).await.unwrap();
        call(&function, arguments).await
    };
    assert_eq!(
        ask("tcp-connect", &[&granted]).await,
        Ended::Value("ok".into())
    );
    let status = ask("get", &["\"http\"", &granted, "\"/\""]).await;
    assert_eq!(status, Ended::Value("ok(200)".into()));
    assert_eq!(
        ask("send-udp", &[&quoted(udp)]).await,
        Ended::Value("ok".into())
    );
    let mut received = [0; 16];
    let length = datagrams.recv(&mut received).unwrap();
    assert_eq!(&received[..length], b"hello");
    let accepted = peer.accepted();
    assert_eq!(accepted, 2);
    for (function, arguments) in [
        ("tcp-connect", vec![closed.as_str()]),
        ("get", vec!["\"http\"", closed.as_str(), "\"/\""]),
        // By the port of one and the name of the other; and another spelling of loopback.
        ("get", vec!["\"http\"", "\"localhost:1\"", "\"/\""]),
        ("send-udp", vec![closed.as_str()]),
        ("tcp-listen", vec!["\"127.0.0.1:0\""]),
    ] {
        let ended = ask(function, &arguments).await;
        assert!(
            matches!(&ended, Ended::Value(value) if value.starts_with("err(")),
            "{function}: {ended:?}"
        );
    }
    let now = (
        peer.accepted_before_ours(accepted).await,
        other.accepted_before_ours(0).await,
    );
    assert_eq!(now, (accepted, 0));
}

/// A session is one sandbox for all functions: it may do what each of them may, and has what the least of them has.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_what_all_its_functions_have() {
    let node = TestNode::start().await;
    let manifest = json!({
        "env": { "ALL": "1" },
        "timeout": "20s",
        "functions": {
            "variables": { "env": { "ONE": "2" }, "timeout": "10s" },
            "arguments": { "timeout": "15s" },
        },
    });
    node.deploy("env", guests::ENV, manifest).await;
    let alone = node.client.function("env", "variables").await.unwrap();
    let both = "[(\"ALL\", \"1\"), (\"ONE\", \"2\")]";
    assert_eq!(call(&alone, &[]).await, Ended::Value(both.into()));
    let session = node.client.session("env").await.unwrap();
    let seen: Vec<(String, String)> = session.call("variables", ()).await.unwrap();
    assert_eq!(seen, [("ALL".to_owned(), "1".to_owned())]);
    let call = Call::from_id(&node.client, session.id());
    let explained = call.explain().await.unwrap();
    assert_eq!(explained.limits.timeout, Some(Duration::from_secs(10)));
}
