//! Uploads that are no component, or one that should never be taken.

use lydian_client::Error;
use lydian_tests::{Guest, generate, guests};
use proptest::prelude::{ProptestConfig, any, proptest};

use crate::support::TestNode;

/// Puts it and asks for a function; returns the refusal.
async fn refused(node: &TestNode, what: &str, component: Vec<u8>) -> Error {
    match node.beside_others(node.bytes(component, "run")).await {
        Ok(_) => panic!("{what} was accepted"),
        Err(error) => error,
    }
}

/// Native code never reaches the loader, whatever it claims to be.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_webassembly_is_refused() {
    let node = TestNode::start().await;
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"hello".to_vec()),
        (
            "an ELF file",
            std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec(),
        ),
        ("an archive", b"PK\x03\x04".repeat(100)),
        ("the magic alone", b"\0asm".to_vec()),
        (
            "a component's header alone, cut",
            b"\0asm\x0d\0\x01".to_vec(),
        ),
    ] {
        let error = refused(&node, what, bytes).await;
        assert!(
            matches!(error, Error::InvalidArgument(_)),
            "{what}: {error}"
        );
    }
}

async fn guest_is_refused(node: &TestNode, guest: Guest) -> Error {
    refused(node, guest.name, guest.bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_features_that_are_off_is_refused() {
    let node = TestNode::start().await;
    for guest in [
        guests::MEMORY64,
        guests::SHARED_MEMORY,
        guests::WASI_THREADS,
        guests::CORE_MODULE,
    ] {
        let error = guest_is_refused(&node, guest).await;
        assert!(
            matches!(error, Error::InvalidArgument(_)),
            "{}: {error}",
            guest.name
        );
    }
}

/// More than a sandbox may have by declaration: refused before it can take a slot, or at its limit when called.
#[tokio::test(flavor = "multi_thread")]
async fn what_declares_too_much_gets_nothing() {
    let node = TestNode::start().await;
    for (what, component) in [
        ("a memory of 4 GiB", guests::MEMORY_BOMB_START.bytes()),
        ("a table of ten million", guests::HUGE_TABLE.bytes()),
        ("5,000 instances", generate::many_instances(5_000)),
        ("500 memories", generate::many_memories(500)),
        ("500 tables", generate::many_tables(500)),
    ] {
        if let Ok(run) = node.beside_others(node.bytes(component, "run")).await {
            let outcome = node.beside_others(run.call::<_, ()>(())).await;
            assert!(outcome.is_err(), "{what} was granted");
        }
    }
}

/// The import is named, and so is the way out.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_nobody_provides_is_named() {
    let node = TestNode::start().await;
    for (guest, import) in [
        (guests::MISSING_IMPORT, "acme:database/rows@1.2.0"),
        (guests::NEWER_WASI, "wasi:cli/environment@0.9.0"),
    ] {
        let error = guest_is_refused(&node, guest).await;
        assert!(error.to_string().contains(import), "{error}");
        assert!(!error.hints().is_empty(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_cut_anywhere_is_refused() {
    let node = TestNode::start().await;
    let whole = guests::HELLO.bytes();
    for parts in 1..20 {
        let cut = whole[..whole.len() * parts / 20].to_vec();
        assert!(
            node.bytes(cut, "hello").await.is_err(),
            "{parts} twentieths of a component were accepted"
        );
    }
    assert!(node.bytes(whole, "hello").await.is_ok());
}

/// One byte changed somewhere: refused, or a component that still runs under its limits; never a broken node.
#[test]
fn a_damaged_component_harms_nobody() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(TestNode::start());
    let whole = guests::LEAST.bytes();
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(at in 0..whole.len(), byte in any::<u8>())| {
        let mut damaged = whole.clone();
        damaged[at] = byte;
        runtime.block_on(async {
            if let Ok(nothing) = node.bytes(damaged, "nothing").await {
                let _ = nothing.call::<_, ()>(()).await;
            }
        });
    });
    runtime.block_on(node.is_empty());
}
