//! Guests that may reach one address, and keep every connection to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lydian_client::{FailureKind, Limits};
use lydian_tests::guests;
use serde_json::json;

use crate::support::{Ended, TestNode, call};

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
            assert_eq!(peer.accepted() - before, 40, "{function}");
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
    let many = [quoted.as_str(), "25", "3000"];
    let holding = ask(&node, "hold", &many);
    let asking = async {
        while peer.accepted() < 25 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let late = ask(&node, "hold", &[&quoted, "20", "0"]).await;
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
    };
    let (held, ()) = tokio::join!(holding, asking);
    assert_eq!(held, Ended::Value("(25, none)".into()));
    // What a sandbox had is the node's again.
    node.is_empty().await;
    let again = ask(&node, "hold", &[&quoted, "30", "0"]).await;
    assert_eq!(again, Ended::Value("(30, none)".into()));
}
