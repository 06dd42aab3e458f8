//! Connections that break, and ones whose other side falls silent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lydian_client::{CallFilter, CallState, Client, Error};
use lydian_tests::guests;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::support::{TestNode, patiently};

/// Stands between a client and a node, and is the network that fails.
struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    links: Arc<Mutex<Vec<AbortHandle>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Connections are closed as they come.
    Closed,
}

impl Proxy {
    async fn before(node: &TestNode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), node.address());
        let (state, watched) = watch::channel(State::Open);
        let links: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let all = links.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() != State::Closed {
                    let link = tokio::spawn(link(client, target, watched.clone()));
                    all.lock().unwrap().push(link.abort_handle());
                }
            }
        });
        Self {
            address,
            state,
            links,
        }
    }

    async fn client(&self) -> Client {
        let url = format!("http://{}", self.address);
        Client::connect(&url).await.unwrap()
    }

    /// Connections from now on, and those there are if they fall silent.
    fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Ends what connections there are.
    fn cut(&self) {
        for link in self.links.lock().unwrap().drain(..) {
            link.abort();
        }
    }
}

async fn link(mut client: TcpStream, node: SocketAddr, mut state: watch::Receiver<State>) {
    let mut node = TcpStream::connect(node).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut node) => return,
        _ = state.wait_for(|state| *state == State::Silent) => {}
    }
    // Both stay open.
    std::future::pending::<()>().await;
}

/// A client that vanished without a word must not keep its sandboxes until their time is over.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_client_that_stops_answering_are_cancelled() {
    let node = TestNode::with(|options| {
        options.ping_every = Duration::from_secs(1);
        options.ping_timeout = Duration::from_secs(3);
    })
    .await;
    let proxy = Proxy::before(&node).await;
    let (there, silent) = (&node.client, proxy.client().await);
    let mut calls = Vec::new();
    for client in [there, &silent] {
        let digest = client.put(guests::SLEEP.bytes()).await.unwrap();
        let sleep = client.component_function(digest, "sleep").await.unwrap();
        let hour = 60u64 * 60 * 1_000_000_000;
        calls.push(tokio::spawn(
            async move { sleep.call::<_, ()>((hour,)).await },
        ));
    }
    let running = async |count: usize| {
        patiently(&format!("there never are {count} calls"), async {
            loop {
                let calls = there.calls(CallFilter::default()).await.unwrap();
                let states = calls.iter().map(|call| call.state);
                if states.filter(|state| *state == CallState::Running).count() == count {
                    return calls;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    };
    running(2).await;
    proxy.set(State::Silent);
    let calls_now = running(1).await;
    assert!(
        calls_now
            .iter()
            .any(|call| call.state == CallState::Cancelled)
    );
    // Whoever answers is left alone, however long it says nothing of its own.
    tokio::time::sleep(Duration::from_secs(5)).await;
    running(1).await;
    assert!(!calls[0].is_finished());
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    node.is_empty().await;
}

/// A connection that breaks takes no app with it: its opener goes on, also with what it was about to ask.
#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_app_outlives_a_broken_connection() {
    let node = TestNode::start().await;
    let proxy = Proxy::before(&node).await;
    let opener = proxy.client().await;
    let opening = opener.open_app(guests::MATH.bytes(), None, "app");
    let app = opening.await.unwrap();
    let name = app.name().to_owned();
    let is_there = async || {
        let function = node.client.function(&name, "square").await.unwrap();
        let squared = function.call::<_, u64>((4u64,)).await;
        assert_eq!(squared.unwrap(), 16);
    };
    for version in 2..5u64 {
        proxy.cut();
        is_there().await;
        let manifest = serde_json::json!({ "timeout": format!("{version}s") });
        let replaced = app.replace(guests::MATH.bytes(), Some(&manifest));
        let replaced = patiently("the opener has no answer", replaced).await;
        assert_eq!(replaced.unwrap().deployed.version, version);
        is_there().await;
    }
    // Broken while nobody asks, and for a while.
    proxy.set(State::Closed);
    proxy.cut();
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.set(State::Open);
    tokio::time::sleep(Duration::from_secs(12)).await;
    is_there().await;
    app.close().await.unwrap();
    let gone = node.client.describe(&name).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
}

/// An opener that cannot come back in time is told that the app is gone, and it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_app_is_gone_when_its_opener_stays_away() {
    let node = TestNode::with(|options| options.ephemeral_grace = Duration::from_millis(200)).await;
    let proxy = Proxy::before(&node).await;
    let opener = proxy.client().await;
    let opening = opener.open_app(guests::MATH.bytes(), None, "app");
    let app = opening.await.unwrap();
    proxy.set(State::Closed);
    proxy.cut();
    patiently("the app stays", async {
        while node.client.describe(app.name()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    proxy.set(State::Open);
    let replaced = app.replace(guests::MATH.bytes(), None);
    let replaced = patiently("the opener has no answer", replaced).await;
    assert!(
        matches!(replaced, Err(Error::Unreachable(_))),
        "{replaced:?}"
    );
    // The client itself is not broken by it.
    assert!(
        opener
            .open_app(guests::MATH.bytes(), None, "app")
            .await
            .is_ok()
    );
}
