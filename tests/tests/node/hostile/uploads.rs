//! Uploads that are no component, or one that should never be taken.

use std::time::Duration;

use lydian_client::{Client, Deploy, Error, FailureKind};
use lydian_tests::{Guest, generate, guests};
use proptest::prelude::{ProptestConfig, any, proptest};

use crate::support::{Ended, TestNode, call, patiently};

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

/// More than a sandbox may have by declaration: refused before it can take a slot, with the number that is too large.
#[tokio::test(flavor = "multi_thread")]
async fn what_declares_too_much_is_refused() {
    let node = TestNode::start().await;
    for (component, said) in [
        (
            guests::HUGE_TABLE.bytes(),
            "10000000 elements in one table, more than the limit of 100000",
        ),
        (
            generate::many_instances(5_000),
            "memories, more than the limit of 16",
        ),
        (
            generate::many_memories(500),
            "memories, more than the limit of 16",
        ),
        (
            generate::many_tables(500),
            "tables, more than the limit of 64",
        ),
    ] {
        let error = refused(&node, said, component).await;
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    // What it needs at once is only known to be too much under the caller's limit.
    let bomb = node.function(guests::MEMORY_BOMB_START, "run").await;
    let Ended::Failed(kind, message) = node.beside_others(call(&bomb, &[])).await else {
        panic!("4 GiB were granted")
    };
    assert_eq!(kind, FailureKind::Memory);
    assert!(message.contains("its limit of 256 MiB"), "{message}");
}

/// Native code of this very node, under the digest of the component it was made from and under its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_own_native_code_is_no_upload() {
    let node = TestNode::start().await;
    node.function(guests::MATH, "square").await;
    let artifact = node.artifacts().pop().expect("it was compiled");
    let native = std::fs::read(artifact).unwrap();
    assert!(native.starts_with(b"\x7fELF"));
    let error = refused(&node, "an artifact", native.clone()).await;
    assert!(error.to_string().contains("native code"), "{error}");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    let mut program = std::fs::read("/proc/self/exe").unwrap();
    program.truncate(8 << 20);
    let error = refused(&node, "a program", program).await;
    assert!(error.to_string().contains("native code"), "{error}");
}

/// Somebody changed the files: what is mapped is what this component was compiled to, or it is compiled again.
#[tokio::test(flavor = "multi_thread")]
async fn artifacts_that_were_exchanged_are_not_run() {
    let data = tempfile::TempDir::new().unwrap();
    let answer = async |node: &TestNode, number: u32| {
        let answer = node.bytes(generate::answer(number), "run").await.unwrap();
        call(&answer, &[]).await
    };
    let node = TestNode::on(data.path()).await;
    assert_eq!(answer(&node, 1).await, Ended::Value("1".into()));
    let first = node.artifacts();
    assert_eq!(answer(&node, 2).await, Ended::Value("2".into()));
    let both = node.artifacts();
    assert_eq!((first.len(), both.len()), (1, 2));
    let second = both.iter().find(|path| !first.contains(path)).unwrap();
    drop(node);
    let aside = data.path().join("aside");
    std::fs::rename(&first[0], &aside).unwrap();
    std::fs::rename(second, &first[0]).unwrap();
    std::fs::rename(&aside, second).unwrap();
    let node = TestNode::on(data.path()).await;
    for number in [1, 2] {
        let ended = node.beside_others(answer(&node, number)).await;
        assert_eq!(ended, Ended::Value(number.to_string()));
    }
}

/// A component that takes gigabytes to compile is given up at its memory, and its author told; others are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_too_much_to_compile_is_given_up() {
    let node = TestNode::with(|options| options.compile_memory_bytes = Some(32 << 20)).await;
    let error = refused(
        &node,
        "a function without end",
        generate::nested_blocks(100_000),
    )
    .await;
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    assert!(!error.hints().is_empty(), "{error}");
}

/// As many are compiled at once as the node was told: with one worker a component waits for another tenant's, with two
/// it does not.
#[tokio::test(flavor = "multi_thread")]
async fn components_are_compiled_by_as_many_workers_as_there_are() {
    let deploy = |client: Client, app: &str, component: Vec<u8>| {
        let deploy = Deploy::new(app, component);
        tokio::spawn(async move { client.deploy(deploy).await })
    };
    for workers in [1, 2] {
        let node = TestNode::with(|options| options.compile_workers = Some(workers)).await;
        let slow = deploy(node.client.clone(), "slow", generate::many_jumps());
        // It is on its way to its worker; what comes later waits behind it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut quick = deploy(node.client.clone(), "quick", generate::answer(1));
        if workers == 1 {
            let early = tokio::time::timeout(Duration::from_secs(2), &mut quick).await;
            assert!(early.is_err(), "compiled beside another: {early:?}");
            slow.abort();
        }
        let compiled = patiently("a component is never compiled", quick).await;
        compiled.unwrap().unwrap();
        if workers == 2 {
            assert!(!slow.is_finished());
            slow.abort();
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
