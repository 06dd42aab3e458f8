//! Components whose stored bytes changed or went: who is told what, what goes on working, and how they come back.

use crate::guests::{MATH, ONE, wasm};
use crate::harness::{TestNode, raw, refusal, request};
use lydian_api::v1::{self, describe_request::Of};
use lydian_node::Options;
use lydian_value::Digest;
use std::path::Path;
use std::time::Duration;
use tonic::{Code, Status};

/// HOSTILE 28: bytes that changed on disk are told by digest, and deploying them again mends the entry.
#[tokio::test]
async fn a_damaged_component_is_named_and_mended_by_another_deploy() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = TestNode::of(Options::new(directory.path())).await;
    node.deploy("math", MATH).await;
    let digest = node.put(ONE).await;
    damage(&directory.path().join("blobs"), &digest);
    let request = v1::DeployRequest {
        app: "one".into(),
        component: raw(&digest),
        ..Default::default()
    };
    let error = node.apps().deploy(request.clone()).await.unwrap_err();
    let (code, detail, text) = refusal(&error);
    assert_eq!(
        (code, detail.as_str()),
        (Code::DataLoss, "component-damaged"),
        "{text}"
    );
    assert!(
        text.contains(&digest.to_string()) && text.contains("again"),
        "{text}"
    );
    assert!(node.invoke("math", "noop", &[]).await.is_ok());
    // It is missing now, so a client that deploys uploads it again.
    assert!(node.misses(&digest).await);
    node.deploy("one", ONE).await;
    assert!(node.invoke("one", "", &[]).await.is_ok());
}

/// Native code and description are enough to be called, described and counted: the bytes are not asked for.
#[tokio::test]
async fn an_app_whose_artifact_is_whole_goes_on_without_its_component() {
    let directory = tempfile::tempdir().expect("a directory");
    let digest = deployed(directory.path()).await;
    damage(&directory.path().join("blobs"), &digest);
    let node = TestNode::of(Options::new(directory.path())).await;
    let both = [("math".to_owned(), 7), ("one".to_owned(), 1)];
    assert_eq!(functions(&node).await, both);
    // Whoever reads the bytes finds the damage, and sets them aside.
    let get = v1::GetRequest {
        digest: raw(&digest),
        ..Default::default()
    };
    node.blobs().get(get).await.expect_err("it is damaged");
    let described = describe(&node, "one").await.expect("what is known of it");
    assert_eq!(
        (described.functions.len(), described.component_bytes),
        (1, 0)
    );
    assert!(node.invoke("one", "", &[]).await.is_ok());
    assert_eq!(functions(&node).await, both);
}

/// Where it must be compiled again, the app and its version are named, and the deploy that restores it; however often it
/// is asked for, for the damaged bytes are set aside by the first who reads them.
#[tokio::test]
async fn an_app_whose_component_is_needed_and_damaged_is_named_with_its_mending() {
    let directory = tempfile::tempdir().expect("a directory");
    let digest = deployed(directory.path()).await;
    damage(&directory.path().join("blobs"), &digest);
    for kept in ["artifacts", "interfaces"] {
        std::fs::remove_dir_all(directory.path().join(kept)).expect("what was compiled");
    }
    let node = TestNode::of(Options::new(directory.path())).await;
    let call = || node.try_invoke(request("one", "", &[]));
    assert_eq!(functions(&node).await[1], ("one".to_owned(), 0));
    for error in [
        call().await.expect_err("it cannot be run"),
        call().await.expect_err("it cannot be run"),
        describe(&node, "one").await.expect_err("nor described"),
    ] {
        let (code, detail, text) = refusal(&error);
        assert_eq!(
            (code, detail.as_str()),
            (Code::DataLoss, "version-damaged"),
            "{text}"
        );
        for said in [
            "app `one` version 1",
            "damaged",
            "`lydian deploy PATH --name one`",
        ] {
            assert!(text.contains(said), "{text}");
        }
    }
    // Another app is none the worse, and the content is all that was missing.
    assert!(node.invoke("math", "noop", &[]).await.is_ok());
    assert!(node.deploy("one", ONE).await.unchanged);
    assert!(node.invoke("one", "", &[]).await.is_ok());
    assert_eq!(functions(&node).await[1], ("one".to_owned(), 1));
}

/// A data directory with two apps, whose node has ended; the component of `one`.
async fn deployed(directory: &Path) -> Digest {
    let node = TestNode::of(Options::new(directory)).await;
    node.deploy("math", MATH).await;
    node.deploy("one", ONE).await;
    node.shut_down(Duration::ZERO).await;
    Digest::of(&wasm(ONE))
}

/// The apps with how many functions they are said to have.
async fn functions(node: &TestNode) -> Vec<(String, u32)> {
    let list = node.apps().list(v1::ListAppsRequest::default()).await;
    let apps = list.expect("the list").into_inner().apps;
    apps.into_iter()
        .map(|app| (app.name, app.functions))
        .collect()
}

async fn describe(node: &TestNode, app: &str) -> Result<v1::DescribeResponse, Status> {
    let request = v1::DescribeRequest {
        of: Some(Of::App(v1::AppRef {
            app: app.to_owned(),
            ..Default::default()
        })),
    };
    Ok(node.apps().describe(request).await?.into_inner())
}

/// Overwrites the stored blob wherever it lies.
fn damage(directory: &std::path::Path, digest: &Digest) {
    let name = digest.to_string();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().replace('/', "").contains(&name[4..]) {
                let mut permissions = path.metadata().expect("the file").permissions();
                #[allow(
                    clippy::permissions_set_readonly_false,
                    reason = "the file is a test's"
                )]
                permissions.set_readonly(false);
                std::fs::set_permissions(&path, permissions).expect("the file");
                let mut bytes = std::fs::read(&path).expect("the blob");
                bytes[9] ^= 0xff;
                std::fs::write(&path, bytes).expect("the blob");
                return;
            }
        }
    }
    panic!("no file holds blob {name}");
}
