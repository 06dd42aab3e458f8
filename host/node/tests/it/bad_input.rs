//! Bad input of every kind: each is told by name with its fix, and disturbs nothing else.

use crate::guests::{CONFIG, MATH, NEEDS_DATABASE, ONE, wasm};
use crate::harness::{TestNode, expect_kind, put_as, raw, refusal, request};
use bytes::Bytes;
use lydian_api::ErrorExt;
use lydian_api::v1::failure::Kind;
use lydian_api::v1::{self, Target};
use lydian_node::{Node, Options, StartError};
use lydian_value::Digest;
use std::net::SocketAddr;
use tonic::{Code, Status};

async fn deploy_bytes(node: &TestNode, bytes: &[u8]) -> Status {
    let digest = node
        .put_bytes(bytes.to_vec())
        .await
        .expect("any bytes can be stored");
    let request = v1::DeployRequest {
        app: "app".into(),
        component: raw(&digest),
        ..Default::default()
    };
    node.apps()
        .deploy(request)
        .await
        .expect_err("the deploy is refused")
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_what_it_is() {
    let node = TestNode::start().await;
    node.deploy("one", ONE).await;
    let component = wasm(MATH);
    let core_module = wat::parse_str("(module)").expect("a module");
    for (bytes, word) in [
        (&b"#!/bin/sh\necho hello\n"[..], "not a component"),
        (
            &b"\x7fELF\x02\x01\x01 and so on, for a while longer than a header"[..],
            "native code",
        ),
        (&core_module[..], "core module"),
        (&component[..component.len() / 2], ""),
        (&[][..], "empty"),
    ] {
        let error = deploy_bytes(&node, bytes).await;
        let (code, _, text) = refusal(&error);
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(text.contains(word), "{text}");
        assert!(!error.lydian().hints.is_empty(), "no hint: {text}");
    }
    assert!(node.invoke("one", "", &[]).await.is_ok());
}

#[tokio::test]
async fn an_import_nobody_provides_is_named_with_its_way_out() {
    let node = TestNode::start().await;
    let error = node
        .deploy_with("app", NEEDS_DATABASE, "")
        .await
        .unwrap_err();
    let (code, detail, text) = refusal(&error);
    assert_eq!(
        (code, detail.as_str()),
        (Code::InvalidArgument, "missing-import")
    );
    assert!(
        text.contains("acme:db/query@1.0.0") && text.contains("wac plug"),
        "{text}"
    );
}

#[tokio::test]
async fn missing_apps_and_functions_are_told_with_the_likely_ones() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let error = node
        .try_invoke(request("mth", "square", &[]))
        .await
        .unwrap_err();
    let (code, detail, text) = refusal(&error);
    assert_eq!((code, detail.as_str()), (Code::NotFound, "app-not-found"));
    assert!(text.contains("did you mean `math`?"), "{text}");

    let error = node
        .try_invoke(request("math", "sqare", &[]))
        .await
        .unwrap_err();
    let (code, detail, text) = refusal(&error);
    assert_eq!(
        (code, detail.as_str()),
        (Code::NotFound, "function-not-found")
    );
    assert!(text.contains("did you mean `square`?"), "{text}");

    let error = node.try_invoke(request("math", "", &[])).await.unwrap_err();
    let (code, detail, text) = refusal(&error);
    assert_eq!(
        (code, detail.as_str()),
        (Code::InvalidArgument, "function-not-named")
    );
    assert!(text.contains("square: func(x: u64) -> u64"), "{text}");
}

/// Types are checked before a sandbox is taken, and the text names the place.
#[tokio::test]
async fn wrong_arguments_are_told_by_path() {
    let node = TestNode::start().await;
    node.deploy("config", CONFIG).await;
    node.deploy("math", MATH).await;
    for (app, function, args, path) in [
        ("config", "train", &[1u8, 0, 0, 0, 0][..], "config.rate"),
        ("config", "train", &[], "config.depth"),
        ("math", "square", &[0; 9], ""),
        ("math", "noop", &[1], ""),
    ] {
        let error = node
            .try_invoke(request(app, function, args))
            .await
            .unwrap_err();
        let (code, detail, text) = refusal(&error);
        assert_eq!(
            (code, detail.as_str()),
            (Code::InvalidArgument, "wrong-argument-type"),
            "{text}"
        );
        assert_eq!(error.lydian().subject, path, "{text}");
        assert!(text.contains("func("), "no signature: {text}");
    }
    let info = node
        .nodes()
        .info(v1::InfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.sandboxes_live, 0);
}

#[tokio::test]
async fn arguments_over_the_payload_limit_take_no_sandbox() {
    let node = TestNode::start().await;
    node.deploy_with("bytes", crate::guests::BYTES, r#"{"payload": "1KiB"}"#)
        .await
        .unwrap();
    let mut args = vec![0xd0, 0x0f]; // 2,000
    args.resize(2_002, 7);
    let failure = expect_kind(node.invoke("bytes", "length", &args).await, Kind::Payload);
    assert!(failure.message.contains("1024"), "{failure:?}");
    let spawn = v1::SpawnRequest {
        target: Some(Target::app("", "bytes", "length")),
        args: args.into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(&node.calls().spawn(spawn).await.unwrap_err()).1,
        "arguments-too-large"
    );
}

#[tokio::test]
async fn manifests_are_refused_by_key_before_anything_is_compiled() {
    let node = TestNode::start().await;
    for (manifest, subject) in [
        (r#"{"memry": "1MiB"}"#, "memry"),
        (
            r#"{"functions": {"one": {"retries": 3}}}"#,
            "functions.one.retries",
        ),
        (
            r#"{"functions": {"other": {"cpu": "1s"}}}"#,
            "functions.other",
        ),
        (r#"{"timeout": "soon"}"#, "timeout"),
        ("{", ""),
    ] {
        let error = node.deploy_with("one", ONE, manifest).await.unwrap_err();
        let (code, detail, text) = refusal(&error);
        assert_eq!(
            (code, detail.as_str()),
            (Code::InvalidArgument, "invalid-manifest"),
            "{text}"
        );
        assert_eq!(error.lydian().subject, subject, "{text}");
    }
    let list = node
        .apps()
        .list(v1::ListAppsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .apps;
    assert!(list.is_empty());
}

#[tokio::test]
async fn odd_names_and_incomplete_requests_are_refused() {
    let node = TestNode::start().await;
    for name in ["", "a/b", "../etc", "with space", &"x".repeat(100)] {
        let error = node.deploy_with(name, ONE, "").await.unwrap_err();
        assert_eq!(
            refusal(&error).0,
            Code::InvalidArgument,
            "{name}: {error:?}"
        );
    }
    let no_target = node
        .try_invoke(v1::InvokeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refusal(&no_target).1, "invalid-request");
    let short = v1::InvokeRequest {
        target: Some(Target::component(Bytes::from_static(b"abc"), "")),
        ..Default::default()
    };
    assert!(
        refusal(&node.try_invoke(short).await.unwrap_err())
            .2
            .contains("32 bytes")
    );
    let unknown = v1::GetCallRequest {
        call: "c00000000000000000000000000".into(),
        timeout_ms: 0,
    };
    assert_eq!(
        refusal(&node.calls().get(unknown).await.unwrap_err()).1,
        "call-not-found"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_fix() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let mut options = Options::memory();
    options.listen = Some(address);
    let Err(error) = Node::start(options).await else {
        panic!("the port was taken")
    };
    assert!(matches!(error, StartError::PortInUse { .. }));
    assert!(
        error.to_string().contains(&address.port().to_string()),
        "{error}"
    );
    let other = format!("--listen 127.0.0.1:{}", address.port().wrapping_add(1));
    assert!(error.hints()[0].contains(&other), "{:?}", error.hints());
}

/// HOSTILE 27: bytes under another's digest never become that blob.
#[tokio::test]
async fn an_upload_under_a_forged_digest_is_refused() {
    let node = TestNode::start().await;
    let claimed = Digest::of(&wasm(ONE));
    let error = put_as(node.blobs(), claimed, wasm(MATH)).await.unwrap_err();
    assert_eq!(refusal(&error).1, "digest-mismatch");
    assert!(node.misses(&claimed).await);
}

#[tokio::test]
async fn unknown_methods_and_pages_are_told_in_the_callers_language() {
    let node = TestNode::start().await;
    let (status, body) = http_get(node.address, "/healthz").await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, body) = http_get(node.address, "/").await;
    assert!(status == 200 && body.contains("lydian run"), "{body}");
    assert_eq!(http_get(node.address, "/nonesuch").await.0, 404);
}

/// HTTP/1.1 on the port that speaks gRPC.
async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("the node answers");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer[9..12].parse().expect("a status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}
