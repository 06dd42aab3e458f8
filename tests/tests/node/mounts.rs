//! Directories shipped with an app: sent by content, mounted read-only.

use std::fs;
use std::path::Path;

use lydian_client::{ChangeKind, Client, Deploy, Error, FailureKind, Limits};
use lydian_tests::guests::FILES;
use serde_json::{Value, json};

use crate::support::{Ended, TestNode, patiently};

/// A directory with files in it.
fn assets() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("deep/er")).unwrap();
    for (path, text) in [
        ("a.txt", "first"),
        (".hidden", "seen"),
        ("deep/er/b.txt", "second"),
        ("deep/copy.txt", "first"),
    ] {
        fs::write(directory.path().join(path), text).unwrap();
    }
    directory
}

async fn manifest(client: &Client, directory: &Path) -> Value {
    let tree = client.ship_directory(directory).await.unwrap().to_string();
    json!({ "mounts": { "/assets": { "from": "./assets", "tree": tree } } })
}

async fn read(node: &TestNode, app: &str, path: &str) -> Result<String, String> {
    let read = node.client.function(app, "read-text").await.unwrap();
    read.call((path.to_owned(),)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_directory_is_read_and_cannot_be_changed() {
    let node = TestNode::start().await;
    let directory = assets();
    let manifest = manifest(&node.client, directory.path()).await;
    node.deploy("app", FILES, manifest.clone()).await;
    assert_eq!(read(&node, "app", "/assets/a.txt").await.unwrap(), "first");
    assert_eq!(read(&node, "app", "/assets/.hidden").await.unwrap(), "seen");
    let deep = read(&node, "app", "/assets/deep/er/b.txt").await;
    assert_eq!(deep.unwrap(), "second");
    let names = node.client.function("app", "list-names").await.unwrap();
    let names: Result<Vec<String>, String> = names.call(("/assets".to_owned(),)).await.unwrap();
    assert_eq!(names.unwrap(), [".hidden", "a.txt", "deep"]);
    let spoil = node.client.function("app", "spoil").await.unwrap();
    let told: Vec<String> = spoil.call(("/assets".to_owned(),)).await.unwrap();
    assert_eq!(told.len(), 7);
    assert!(!told.iter().any(|one| one.ends_with("done")), "{told:?}");
    assert_eq!(read(&node, "app", "/assets/a.txt").await.unwrap(), "first");

    let described = node.client.describe("app").await.unwrap();
    let mount = &described.mounts[0];
    assert_eq!(
        (mount.path.as_str(), mount.from.as_str()),
        ("/assets", "./assets")
    );
    assert_eq!((mount.files, mount.bytes), (4, 20));
    // An app without mounts sees nothing of it.
    node.deploy("other", FILES, json!({})).await;
    assert!(read(&node, "other", "/assets/a.txt").await.is_err());
    // Ephemeral apps have them, too.
    let app = node
        .client
        .open_app(FILES.bytes(), Some(&manifest), "files")
        .await
        .unwrap();
    assert_eq!(
        read(&node, app.name(), "/assets/a.txt").await.unwrap(),
        "first"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_which_directories_change() {
    let node = TestNode::start().await;
    let directory = assets();
    let one = manifest(&node.client, directory.path()).await;
    node.deploy("app", FILES, one.clone()).await;
    assert_eq!(manifest(&node.client, directory.path()).await, one);
    fs::write(directory.path().join("a.txt"), "third").unwrap();
    let two = manifest(&node.client, directory.path()).await;
    let deploy = |manifest: &Value| Deploy::new("app", FILES.bytes()).manifest(manifest);
    let planned = node.client.plan(deploy(&two)).await.unwrap();
    let change = planned
        .changes
        .iter()
        .find(|change| change.what == "mount /assets");
    assert_eq!(change.unwrap().kind, ChangeKind::Changed);
    node.client.deploy(deploy(&two)).await.unwrap();
    assert_eq!(read(&node, "app", "/assets/a.txt").await.unwrap(), "third");
    // The version before still has what it was deployed with.
    let old = node
        .client
        .function_at("app", 1, "read-text")
        .await
        .unwrap();
    let text: Result<String, String> = old.call(("/assets/a.txt".to_owned(),)).await.unwrap();
    assert_eq!(text.unwrap(), "first");
}

/// What is not there must be found at deploy, by name.
#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_cannot_be_are_refused() {
    let node = TestNode::start().await;
    let refused = async |mounts: Value| {
        let manifest = json!({ "mounts": mounts });
        let deploy = Deploy::new("app", FILES.bytes()).manifest(&manifest);
        let error = node.client.deploy(deploy).await.unwrap_err();
        format!("{error} | {}", error.hints().join(" | "))
    };
    let absent = lydian_client::Digest::of(b"nowhere").to_string();
    let file = json!({ "path": "lost.txt", "digest": absent, "size": 7, "executable": false });
    let listing = json!({ "version": 1, "files": [file] }).to_string();
    let lacking = node
        .client
        .put(listing.into_bytes())
        .await
        .unwrap()
        .to_string();
    let escaping = json!({ "path": "../x", "digest": absent, "size": 7 });
    let listing = json!({ "version": 1, "files": [escaping] }).to_string();
    let escaping = node
        .client
        .put(listing.into_bytes())
        .await
        .unwrap()
        .to_string();
    for (mounts, says) in [
        (
            json!({ "/assets": { "from": "./assets" } }),
            "was not shipped",
        ),
        (
            json!({ "/assets": { "tree": absent } }),
            "is not on this node",
        ),
        (
            json!({ "/assets": { "tree": lacking } }),
            "lacks the files `lost.txt`",
        ),
        (
            json!({ "/assets": { "tree": escaping } }),
            "no relative path",
        ),
        (
            json!({ "assets": { "tree": lacking } }),
            "no path to mount at",
        ),
        (
            json!({ "/a/../b": { "tree": lacking } }),
            "no path to mount at",
        ),
        (json!({ "/a": { "tree": "abc" } }), "is no digest"),
        (
            json!({ "/a": { "tree": lacking }, "/a/b": { "tree": lacking } }),
            "lies inside `/a`",
        ),
    ] {
        let told = refused(mounts).await;
        assert!(told.contains(says), "{told}");
    }
}

/// HOSTILE 13: what a guest opens is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn open_files_are_limited() {
    let node = TestNode::start().await;
    let directory = assets();
    let manifest = manifest(&node.client, directory.path()).await;
    node.deploy("app", FILES, manifest).await;
    let hold = node.client.function("app", "hold").await.unwrap();
    let hold = hold.with_limits(Limits::new().open_files(20));
    let held: u32 = hold
        .call(("/assets/a.txt".to_owned(), 15u32))
        .await
        .unwrap();
    assert_eq!(held, 15);
    let ended = crate::support::call(&hold, &["\"/assets/a.txt\"", "25"]).await;
    assert!(
        matches!(ended, Ended::Failed(FailureKind::Handles, _)),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mounted_is_kept_and_what_nobody_mounts_is_not() {
    let node = TestNode::with(|options| options.blob_grace = std::time::Duration::ZERO).await;
    let directory = assets();
    let manifest = manifest(&node.client, directory.path()).await;
    node.deploy("app", FILES, manifest.clone()).await;
    let unused = node
        .client
        .put(b"nobody mounts this".to_vec())
        .await
        .unwrap();
    node.collect().await;
    assert_eq!(node.client.missing(&[unused]).await.unwrap(), [unused]);
    assert_eq!(read(&node, "app", "/assets/a.txt").await.unwrap(), "first");
    assert_eq!(node.trees(), 1);
    // Two apps that ship the same share it; one goes with the last version that has it.
    let app = node.client.open_app(FILES.bytes(), Some(&manifest), "same");
    let same = app.await.unwrap();
    assert!(read(&node, same.name(), "/assets/a.txt").await.is_ok());
    assert_eq!(node.trees(), 1);
    fs::write(directory.path().join("a.txt"), "third").unwrap();
    let other = self::manifest(&node.client, directory.path()).await;
    same.replace(FILES.bytes(), Some(&other)).await.unwrap();
    let text = read(&node, same.name(), "/assets/a.txt").await;
    assert_eq!(text.unwrap(), "third");
    assert_eq!(node.trees(), 2);
    same.close().await.unwrap();
    patiently("a directory that nobody uses is left", async {
        while node.trees() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Nothing may be left out without a word, and nothing shipped that is not in the directory.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shipped_is_named() {
    let node = TestNode::start().await;
    let shipped = async |path: &Path| match node.client.ship_directory(path).await {
        Err(Error::InvalidArgument(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let directory = assets();
    let at = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink("a.txt", at("inside")).unwrap();
    assert!(node.client.ship_directory(directory.path()).await.is_ok());
    std::os::unix::fs::symlink("/etc/passwd", at("outside")).unwrap();
    let told = shipped(directory.path()).await;
    assert!(
        told.contains("outside") && told.contains("leads out"),
        "{told}"
    );
    fs::remove_file(at("outside")).unwrap();
    std::os::unix::fs::symlink("deep", at("linked")).unwrap();
    let told = shipped(directory.path()).await;
    assert!(told.contains("a link to a directory"), "{told}");
    let told = shipped(&at("a.txt")).await;
    assert!(told.contains("is not a directory"), "{told}");
    let told = shipped(&at("absent")).await;
    assert!(told.contains("absent"), "{told}");
    patiently("sandboxes are left", node.is_empty()).await;
}
