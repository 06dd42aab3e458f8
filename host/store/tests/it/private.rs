//! What is on the disk is its user's alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lydian_store::{Error, Store};
use lydian_value::Digest;
use tempfile::TempDir;

/// Everything below, with its mode.
fn everything(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        found.push((path.clone(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            found.extend(everything(&path));
        }
    }
    found
}

fn open_to_others(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut open = everything(dir);
    open.retain(|(_, mode)| mode & 0o077 != 0);
    open
}

async fn fill(store: &Store) {
    store
        .blobs()
        .put(Bytes::from_static(b"kept"))
        .await
        .unwrap();
    let digest = Digest::of(b"interrupted");
    let mut upload = store.blobs().upload(&digest, 11).await.unwrap();
    upload.write(Bytes::from_static(b"inter")).await.unwrap();
}

/// Arguments, results and components: the umask of whoever starts a node must not decide who reads them.
#[tokio::test]
async fn nothing_of_a_store_can_be_read_by_others() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("data");
    let store = Store::open(&dir).await.unwrap();
    fill(&store).await;
    assert!(everything(&dir).len() > 6, "{:?}", everything(&dir));
    assert_eq!(open_to_others(parent.path()), []);
}

/// As releases before this one made it.
#[tokio::test]
async fn a_store_that_was_open_is_closed_and_goes_on() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("data");
    fill(&Store::open(&dir).await.unwrap()).await;
    for path in [dir.clone(), dir.join("blobs")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(dir.join("meta.sqlite"), Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&dir).await.unwrap();
    assert_eq!(open_to_others(parent.path()), []);
    let kept = store.blobs().get(&Digest::of(b"kept")).await.unwrap();
    assert_eq!(&kept[..], b"kept");
}

#[tokio::test]
async fn everybodys_directory_is_no_data_directory() {
    let parent = TempDir::new().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o1777)).unwrap();
    let refused = Store::open(parent.path()).await.err().unwrap();
    assert!(matches!(refused, Error::Shared { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("LYDIAN_HOME"));
}
