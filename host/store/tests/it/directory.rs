//! What only the blob directory can be asked: damage, leftovers, several processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use lydian_store::{BlobStore, Error, FsBlobs, FsBlobsOptions, LiveSet};
use lydian_value::Digest;
use tempfile::TempDir;

use crate::bed::BlobBed;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn open(dir: &Path) -> FsBlobs {
    FsBlobs::open(dir, FsBlobsOptions::default()).unwrap()
}

/// Overwrites a byte in the middle, as a failing disk would.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Bytes that changed on disk must never reach a sandbox, and must be named.
#[tokio::test]
async fn a_corrupt_blob_is_named_set_aside_and_mended_by_an_upload() {
    let dir = TempDir::new().unwrap();
    let blobs = open(dir.path());
    let (good, other) = (
        Bytes::from_static(b"good bytes"),
        Bytes::from_static(b"other bytes"),
    );
    let digest = blobs.put(good.clone()).await.unwrap();
    let neighbour = blobs.put(other.clone()).await.unwrap();
    damage(&blobs.path(&digest));
    let error = blobs.get(&digest).await.unwrap_err();
    damage(&blobs.path(&neighbour));
    let unread = blobs.reader(&neighbour).await.err().unwrap();
    assert!(matches!(unread, Error::CorruptEntry { digest, .. } if digest == neighbour));
    blobs.put(other.clone()).await.unwrap();
    let Error::CorruptEntry {
        digest: named,
        quarantine,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*named, digest);
    assert!(error.to_string().starts_with("corrupt entry"));
    assert!(error.hint().is_some());
    assert_eq!(fs::read(quarantine).unwrap().len(), good.len());
    assert_eq!(blobs.missing(&[digest, neighbour]).await.unwrap(), [digest]);
    assert!(matches!(
        blobs.get(&digest).await,
        Err(Error::BlobNotFound { .. })
    ));
    assert_eq!(blobs.get(&neighbour).await.unwrap(), other);
    blobs.put(good.clone()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), good);
}

/// A file cut short is known by its length: an upload does not take it for the blob.
#[tokio::test]
async fn a_blob_cut_short_is_written_again() {
    let dir = TempDir::new().unwrap();
    let blobs = open(dir.path());
    let digest = blobs.put("whole".into()).await.unwrap();
    fs::write(blobs.path(&digest), "who").unwrap();
    blobs.put("whole".into()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), "whole");
    fs::write(blobs.path(&digest), "who").unwrap();
    let mut upload = blobs.upload(&digest, 5).await.unwrap();
    upload.write("whole".into()).await.unwrap();
    assert!(upload.finish().await.unwrap());
    assert_eq!(blobs.get(&digest).await.unwrap(), "whole");
}

/// What a crash leaves of an upload may be anything; it costs one more try, not a wrong blob.
#[tokio::test]
async fn a_damaged_partial_upload_is_dropped() {
    let dir = TempDir::new().unwrap();
    let blobs = open(dir.path());
    let whole = Bytes::from_static(b"0123456789");
    let digest = Digest::of(&whole);
    let mut upload = blobs.upload(&digest, 10).await.unwrap();
    upload.write(whole.slice(..6)).await.unwrap();
    drop(upload);
    damage(&dir.path().join("partial").join(digest.to_string()));
    let mut upload = blobs.upload(&digest, 10).await.unwrap();
    assert_eq!(upload.offset(), 6);
    upload.write(whole.slice(6..)).await.unwrap();
    assert!(matches!(
        upload.finish().await,
        Err(Error::DigestMismatch { .. })
    ));
    let mut upload = blobs.upload(&digest, 10).await.unwrap();
    assert_eq!(upload.offset(), 0);
    upload.write(whole.clone()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), whole);
}

/// Nothing is left of uploads that ended, well or badly.
#[tokio::test]
async fn ended_uploads_leave_no_files() {
    let dir = TempDir::new().unwrap();
    let blobs = open(dir.path());
    blobs.put("one".into()).await.unwrap();
    let wrong = Digest::of(b"two");
    let mut upload = blobs.upload(&wrong, 3).await.unwrap();
    upload.write("owt".into()).await.unwrap();
    assert!(upload.finish().await.is_err());
    // One has the resumable file, the other a temporary one; neither sent a byte.
    let pair = (
        blobs.upload(&wrong, 3).await.unwrap(),
        blobs.upload(&wrong, 3).await.unwrap(),
    );
    drop(pair);
    assert_eq!(entries(&dir.path().join("partial")), Vec::<PathBuf>::new());
    assert_eq!(
        entries(&dir.path().join("temporary")),
        Vec::<PathBuf>::new()
    );
}

/// The second uploader at once is served too, and does not spoil the first one's file.
#[tokio::test]
async fn only_one_uploader_resumes() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let whole = Bytes::from_static(b"0123456789");
    let digest = Digest::of(&whole);
    let mut first = one.upload(&digest, 10).await.unwrap();
    first.write(whole.slice(..4)).await.unwrap();
    let mut second = two.upload(&digest, 10).await.unwrap();
    assert_eq!(second.offset(), 0);
    second.write(whole.clone()).await.unwrap();
    assert!(second.finish().await.unwrap());
    first.write(whole.slice(4..)).await.unwrap();
    first.finish().await.unwrap();
    assert_eq!(one.get(&digest).await.unwrap(), whole);
}

/// A client that lost its connection is back before the node has noticed; it must not start again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_just_being_dropped_is_waited_for() {
    let dir = TempDir::new().unwrap();
    let blobs = open(dir.path());
    for n in 0..20u8 {
        let digest = Digest::of(&[n; 10]);
        let mut first = blobs.upload(&digest, 10).await.unwrap();
        first.write(vec![n; 4].into()).await.unwrap();
        let (second, ()) = tokio::join!(blobs.upload(&digest, 10), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(second.unwrap().offset(), 4);
    }
}

/// Files of a process that died are collected after the grace; files that are not ours never are.
#[tokio::test]
async fn collection_takes_leftovers_and_leaves_strangers() {
    let bed = BlobBed::disk();
    let dir = bed.dir.as_ref().unwrap().path();
    let digest = bed.store.put("used".into()).await.unwrap();
    let fan = dir.join(&digest.to_string()[..2]);
    fs::write(fan.join("notes.txt"), "mine").unwrap();
    fs::write(dir.join("README"), "mine").unwrap();
    let left = dir.join("temporary").join(format!("{digest}.1-0"));
    fs::write(&left, "half").unwrap();
    assert_eq!(
        bed.store.sweep(&LiveSet::new(), DAY).await.unwrap().uploads,
        0
    );
    bed.age(2 * DAY);
    let swept = bed
        .store
        .sweep(&LiveSet::from([digest]), DAY)
        .await
        .unwrap();
    assert_eq!((swept.blobs, swept.uploads, swept.bytes), (0, 1, 4));
    assert!(!left.exists() && fan.join("notes.txt").exists() && dir.join("README").exists());
}

/// Found old by the collector, then found by somebody who will use it, then about to be removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_found_while_it_is_about_to_be_swept_stays() {
    let bed = BlobBed::disk();
    let digest = bed.store.put("found".into()).await.unwrap();
    bed.age(2 * DAY);
    let lock = fs::File::open(bed.dir.as_ref().unwrap().path().join("lock")).unwrap();
    lock.lock_shared().unwrap();
    let store = bed.store.clone();
    let sweep = tokio::spawn(async move { store.sweep(&LiveSet::new(), DAY).await.unwrap() });
    // Time for the collector to come to the lock; if it is not enough, nothing is tested, and nothing fails.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bed.store.has_many(&[digest]).await.unwrap(), [true]);
    lock.unlock().unwrap();
    assert_eq!(sweep.await.unwrap().blobs, 0);
    assert_eq!(bed.store.get(&digest).await.unwrap(), "found");
}

/// A corrupt entry is evidence, but not for ever.
#[tokio::test]
async fn quarantine_is_cleared_after_a_week() {
    let bed = BlobBed::disk();
    let dir = bed.dir.as_ref().unwrap().path();
    let digest = bed.store.put("bytes".into()).await.unwrap();
    damage(&dir.join(&digest.to_string()[..2]).join(digest.to_string()));
    assert!(bed.store.get(&digest).await.is_err());
    bed.age(6 * DAY);
    bed.store
        .sweep(&LiveSet::new(), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(entries(&dir.join("quarantine")).len(), 1);
    bed.age(2 * DAY);
    bed.store
        .sweep(&LiveSet::new(), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(entries(&dir.join("quarantine")).len(), 0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FsBlobs::open(file.join("blobs"), FsBlobsOptions::default())
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.ends_with("file/blobs")),
        "{error}"
    );
}
