//! Content, sessions and connections, against a node made of mirrors.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are not seen as tests"
)]

mod fake;

use fake::Fake;
use lydian_client::{Call, Client, Digest, Error, Handle};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

const MIB: usize = 1 << 20;

/// What the node has is not sent again.
#[tokio::test]
async fn content_is_sent_once() {
    let fake = Fake::new();
    let client = fake.client();
    let bytes = vec![7u8; 3 * MIB];
    let digest = client.put(bytes.clone()).await.expect("stored");
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(fake.blob(&digest).as_deref(), Some(&bytes[..]));
    client.put(bytes).await.expect("there already");
    assert_eq!(fake.asked().puts.load(SeqCst), 1);
    assert!(client.missing(&[digest]).await.expect("answers").is_empty());
}

/// An upload that breaks goes on where the node's copy ends.
#[tokio::test]
async fn a_broken_upload_is_resumed() {
    let fake = Fake::new();
    *fake.script.break_uploads_after.lock().expect("unpoisoned") = vec![MIB, 2 * MIB, MIB];
    let bytes: Vec<u8> = (0..8 * MIB).map(|at| (at / 1000) as u8).collect();
    let digest = fake
        .client()
        .put(bytes.clone())
        .await
        .expect("stored in the end");
    assert_eq!(fake.blob(&digest).as_deref(), Some(&bytes[..]));
    assert_eq!(fake.asked().puts.load(SeqCst), 4);
    assert_eq!(
        fake.asked().put_bytes.load(SeqCst),
        8 * MIB as u64,
        "nothing was sent twice"
    );
}

/// Two that send the same bytes at once: what one of them has sent is not for the other to go on with.
#[tokio::test]
async fn an_upload_beside_another_of_the_same_bytes_sends_all() {
    let fake = Fake::new();
    let bytes: Vec<u8> = (0..3 * MIB).map(|at| (at / 1000) as u8).collect();
    fake.hold(&bytes, MIB);
    fake.script.others_upload.store(true, SeqCst);
    let digest = fake.client().put(bytes.clone()).await.expect("stored");
    assert_eq!(fake.blob(&digest).as_deref(), Some(&bytes[..]));
    assert_eq!(fake.asked().puts.load(SeqCst), 2);
}

/// Without progress there is an end to trying.
#[tokio::test(start_paused = true)]
async fn an_upload_without_progress_is_given_up() {
    let fake = Fake::new();
    fake.script.forget_uploads.store(true, SeqCst);
    *fake.script.break_uploads_after.lock().expect("unpoisoned") = vec![MIB; 100];
    let error = fake
        .client()
        .put(vec![1u8; 3 * MIB])
        .await
        .expect_err("never ends");
    assert_eq!(error.code(), "unreachable");
    assert_eq!(fake.asked().puts.load(SeqCst), 5);
}

/// Resources live in a session, and go when they are dropped.
#[tokio::test]
async fn resources_live_in_a_session() {
    let fake = Fake::new();
    let client = fake.client();
    let error = client.function("math", "counter.new").await.expect("found");
    let error = error
        .call::<_, Handle>((1u32,))
        .await
        .expect_err("needs a session");
    assert_eq!(error.code(), "needs-session");

    let session = client.session("math").await.expect("opens");
    assert_eq!(session.id(), "c-session");
    let one = session
        .construct("counter.new", (10u32,))
        .await
        .expect("made");
    let two = session
        .construct("a:b/c#counter.new", (20u32,))
        .await
        .expect("made");
    assert_eq!(one.call::<_, u32>("add", (1u32,)).await.expect("works"), 11);
    assert_eq!(two.call::<_, u32>("add", (1u32,)).await.expect("works"), 21);
    assert_eq!(one.call::<_, u32>("add", (1u32,)).await.expect("works"), 12);
    let error = one
        .call::<_, u32>("add", ("1".to_owned(),))
        .await
        .expect_err("a number");
    assert_eq!(error.to_string(), "by: expected u32, found string");
    let error = one
        .call::<_, u32>("subtract", (1u32,))
        .await
        .expect_err("no such method");
    assert!(matches!(error, Error::NotFound(_)));
    let handle = one.handle().0;
    drop(one);
    two.call::<_, u32>("add", (1u32,)).await.expect("works");
    assert_eq!(
        *fake.asked().handles_dropped.lock().expect("unpoisoned"),
        [handle]
    );
    // Given away for good: the guest drops it.
    let handle = two.into_handle();
    session
        .call::<_, Handle>("counter.new", (1u32,))
        .await
        .expect("works");
    assert!(
        !fake
            .asked()
            .handles_dropped
            .lock()
            .expect("unpoisoned")
            .contains(&handle.0)
    );
}

/// Who waits and who comes later is told why a session is over.
#[tokio::test]
async fn a_session_that_is_over_says_why() {
    let session = Fake::new().client().session("math").await.expect("opens");
    let error = session
        .construct("counter.new", (99u32,))
        .await
        .expect_err("ends it");
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    let error = session
        .construct("counter.new", (1u32,))
        .await
        .expect_err("it is over");
    assert_eq!(error.code(), "session-over");
    assert!(
        error.to_string().contains("the session was idle"),
        "{error}"
    );
}

/// Serves the fake on a socket, until it is aborted.
async fn serve(fake: &Fake, listener: TcpListener) -> (String, JoinHandle<()>) {
    let address = listener.local_addr().expect("bound");
    let routes = fake.routes();
    let server = tokio::spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_routes(routes);
        server.serve_with_incoming(incoming).await.expect("serves");
    });
    (format!("http://{address}"), server)
}

async fn listen(address: SocketAddr) -> TcpListener {
    for _ in 0..3_000 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the port stays taken");
}

/// A node that went away is named with the fix, and used again when it is back.
#[tokio::test]
async fn a_lost_node_is_unreachable_until_it_is_back() {
    let fake = Fake::new();
    // A runtime of its own, whose end is the end of the node: connections, too.
    let node = tokio::runtime::Runtime::new().expect("a runtime");
    let served = fake.clone();
    let start = async move { serve(&served, listen(([127, 0, 0, 1], 0).into()).await).await };
    let (url, _) = node.spawn(start).await.expect("serves");
    let client = Client::connect(&url).await.expect("connects");
    let square = client.function("math", "square").await.expect("found");
    assert_eq!(square.call::<_, u64>((4u64,)).await.expect("works"), 16);

    node.shutdown_background();
    // Its connections end a moment later.
    let mut error = None;
    for _ in 0..3_000 {
        match square.call::<_, u64>((4u64,)).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(lost) => {
                error = Some(lost);
                break;
            }
        }
    }
    let error = error.expect("nobody answers");
    assert_eq!(error.code(), "unreachable", "{error:?}");
    assert!(error.to_string().contains(&url), "{error}");
    assert!(error.hints()[0].contains("lydian up"), "{error:?}");

    let address = url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let (_, _server) = serve(&fake, listen(address).await).await;
    // A read is tried again, so it does not even notice.
    client.environments().await.expect("is back");
    assert_eq!(square.call::<_, u64>((4u64,)).await.expect("works"), 16);
}

/// Whoever waits for a recorded call need not know that its node restarts meanwhile.
#[tokio::test]
async fn a_call_is_waited_for_through_a_restart() {
    let fake = Fake::new();
    let node = tokio::runtime::Runtime::new().expect("a runtime");
    let served = fake.clone();
    let start = async move { serve(&served, listen(([127, 0, 0, 1], 0).into()).await).await };
    let (url, _) = node.spawn(start).await.expect("serves");
    let client = Client::connect(&url).await.expect("connects");
    fake.script
        .not_yet
        .lock()
        .expect("unpoisoned")
        .insert("c-4".into(), u64::MAX);
    node.shutdown_background();
    let call = Call::from_id(&client, "c-4");
    let waiting = tokio::spawn(async move { call.get::<u64>(None).await });
    let address = url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let listener = listen(address).await;
    // Longer than a read is tried.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished());
    fake.script
        .not_yet
        .lock()
        .expect("unpoisoned")
        .insert("c-4".into(), 1);
    let (_, _server) = serve(&fake, listener).await;
    assert_eq!(waiting.await.expect("no panic").expect("answers"), 16);
}

/// A spawn whose answer is lost is sent again under the key it had, so it is recorded once.
#[tokio::test]
async fn a_spawn_is_repeated_under_one_key() {
    let fake = Fake::new();
    fake.script.lose_spawns.store(2, SeqCst);
    let square = fake
        .client()
        .function("math", "square")
        .await
        .expect("found");
    let call = square.spawn((4u64,)).await.expect("recorded");
    assert!(!call.was_duplicate());
    let other = square.spawn((4u64,)).await.expect("recorded");
    assert!(!other.was_duplicate());
    let spawns = fake.asked().spawns.lock().expect("unpoisoned").clone();
    let keys: Vec<_> = spawns
        .iter()
        .map(|spawn| spawn.idempotency_key.as_str())
        .collect();
    assert_eq!(keys.len(), 4);
    assert!(!keys[0].is_empty() && keys[0] == keys[1] && keys[1] == keys[2]);
    assert_ne!(keys[0], keys[3]);
}

/// An address that is none, and one where nobody listens.
#[tokio::test]
async fn a_wrong_url_is_refused() {
    let error = Client::connect("https://node").await.expect_err("no TLS");
    assert_eq!(error.code(), "bad-url");
    let free = listen(([127, 0, 0, 1], 0).into())
        .await
        .local_addr()
        .expect("bound");
    let error = Client::connect(&free.to_string())
        .await
        .expect_err("nobody listens");
    assert_eq!(error.code(), "unreachable");
    let error = Fake::new()
        .client()
        .with_token("line\nbreak")
        .expect_err("not a token");
    assert_eq!(error.code(), "bad-token");
}
