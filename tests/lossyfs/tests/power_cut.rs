//! Power cuts under the store: what it acknowledged was flushed, files and names alike; and full disks.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends this way"
)]

#[path = "../../../host/store/tests/it/workload.rs"]
mod workload;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lossyfs::{Disk, Loss};
use lydian_store::{BlobStore, Error, FsBlobs, FsBlobsOptions, LiveSet, Store, Write};
use lydian_value::Digest;
use tempfile::TempDir;
use workload::{Acks, child, random};

/// The program itself; see [`Acks::run_and_kill`]. Does nothing when run as a test.
#[test]
fn program() {
    child();
}

/// Runs the program, kills it, cuts the power, and looks, several times on one disk.
fn cut_and_verify(loss: impl Fn() -> Loss) {
    if !lossyfs::available() {
        return;
    }
    let (disk, at) = (Disk::new(), TempDir::new().unwrap());
    let mut acks = Acks::default();
    for _ in 0..6 {
        let mounted = disk.mount(at.path()).unwrap();
        acks.run_and_kill(
            "program",
            &at.path().join("data"),
            20 + random(600) as usize,
        );
        mounted.unmount().unwrap();
        let loss = loss();
        println!("{loss:?}");
        disk.cut(loss);
        let mounted = disk.mount(at.path()).unwrap();
        acks.verify(&at.path().join("data"));
        mounted.unmount().unwrap();
    }
    println!("{} acknowledged operations, none lost", acks.count());
}

#[test]
fn nothing_acknowledged_is_lost_when_all_else_is() {
    cut_and_verify(|| Loss::Everything);
}

/// Some of what was not flushed arrives, in no order: torn files must not be taken for whole ones.
#[test]
fn nothing_acknowledged_is_lost_when_some_of_the_rest_survives() {
    cut_and_verify(|| Loss::Random(random(u64::MAX)));
}

fn with_disk(capacity: u64, test: impl AsyncFnOnce(&Disk, &Path)) {
    if !lossyfs::available() {
        return;
    }
    let (disk, at) = (Disk::with_capacity(capacity), TempDir::new().unwrap());
    let mounted = disk.mount(at.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(&disk, at.path()));
    drop(runtime);
    mounted.unmount().unwrap();
}

/// A full disk costs the upload that met it, which is named with its size; smaller ones still fit.
#[test]
fn a_blob_that_does_not_fit_is_refused_and_leaves_nothing() {
    with_disk(1_000_000, async |disk, at| {
        let blobs = FsBlobs::open(at.join("blobs"), FsBlobsOptions::default()).unwrap();
        let kept = blobs.put(Bytes::from(vec![1; 600_000])).await.unwrap();
        let large = Bytes::from(vec![2; 700_000]);
        let error = blobs.put(large.clone()).await.unwrap_err();
        assert!(
            matches!(&error, Error::DiskFull { path, bytes: 700_000 } if path.starts_with(at)),
            "{error}"
        );
        assert!(error.hint().is_some());
        let digest = Digest::of(&large);
        let mut upload = blobs.upload(&digest, 700_000).await.unwrap();
        upload.write(large.slice(..300_000)).await.unwrap();
        let error = upload.write(large.slice(300_000..)).await.unwrap_err();
        assert!(
            matches!(&error, Error::DiskFull { bytes: 400_000, .. }),
            "{error}"
        );
        drop(upload);
        assert_eq!(disk.used(), 600_000);
        assert_eq!(blobs.missing(&[kept, digest]).await.unwrap(), [digest]);
        blobs.put(Bytes::from(vec![3; 300_000])).await.unwrap();
        // Once there is room, the same upload goes through.
        blobs.sweep(&LiveSet::new(), Duration::ZERO).await.unwrap();
        blobs.put(large.clone()).await.unwrap();
        assert_eq!(blobs.get(&digest).await.unwrap(), large);
    });
}

/// What is committed together fails together, so what may fail on its own is not committed together.
#[test]
fn a_large_commit_that_does_not_fit_costs_the_small_ones_beside_it_nothing() {
    with_disk(u64::MAX, async |disk, at| {
        let store = Store::open(at.join("data")).await.unwrap();
        disk.set_capacity(disk.used() + 2_000_000);
        let mut commits = tokio::task::JoinSet::new();
        for n in 0..40 {
            let (store, len) = (store.clone(), if n % 10 == 5 { 5_000_000 } else { 10 });
            commits.spawn(async move {
                let write = Write::Put(format!("key {n}").into(), vec![7; len].into());
                (len, store.meta().commit(vec![], vec![write]).await)
            });
        }
        for (len, result) in commits.join_all().await {
            match result {
                Ok(_) => assert_eq!(len, 10),
                Err(error) => assert!(
                    matches!(error, Error::DiskFull { .. }) && len > 10,
                    "{len}: {error}"
                ),
            }
        }
    });
}

/// A full disk under the database fails the commit by name; nothing of it is seen, reading goes on, and so does
/// writing as soon as there is room.
#[test]
fn a_commit_that_does_not_fit_is_refused_and_later_ones_go_on() {
    with_disk(u64::MAX, async |disk, at| {
        let store = Store::open(at.join("data")).await.unwrap();
        let put = |key: &str, len| vec![Write::Put(key.into(), vec![7; len].into())];
        store
            .meta()
            .commit(vec![], put("before", 10))
            .await
            .unwrap();
        disk.set_capacity(disk.used() + 100_000);
        let error = store
            .meta()
            .commit(vec![], put("large", 500_000))
            .await
            .unwrap_err();
        let Error::DiskFull { path, bytes } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (path.file_name().unwrap().to_str().unwrap(), *bytes),
            ("meta.sqlite", 500_005)
        );
        assert!(store.meta().get(&"large".into()).await.unwrap().is_none());
        assert!(store.meta().get(&"before".into()).await.unwrap().is_some());
        store.meta().commit(vec![], put("small", 10)).await.unwrap();
        disk.set_capacity(u64::MAX);
        store
            .meta()
            .commit(vec![], put("large", 500_000))
            .await
            .unwrap();
        drop(store);
        let store = Store::open(at.join("data")).await.unwrap();
        for key in ["before", "small", "large"] {
            assert!(
                store.meta().get(&key.into()).await.unwrap().is_some(),
                "{key}"
            );
        }
    });
}
