//! Conformance of `BlobStore`.

use std::time::Duration;

use bytes::Bytes;
use lydian_store::{Error, LiveSet, Swept};
use lydian_value::Digest;

use crate::bed::{MAX_BLOB_BYTES, conformance};

const HOUR: Duration = Duration::from_secs(3600);

/// `len` bytes that are not all the same.
fn bytes(len: usize, seed: u8) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]);
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn live(digests: &[Digest]) -> LiveSet {
    digests.iter().copied().collect()
}

conformance! { BlobBed:
    async fn a_blob_is_read_back(bed) {
        for len in [0, 1, 65_537, 3 << 20] {
            let blob = bytes(len, 1);
            let digest = bed.store.put(blob.clone()).await.unwrap();
            assert_eq!(digest, Digest::of(&blob));
            assert_eq!(bed.store.get(&digest).await.unwrap(), blob);
            assert_eq!(bed.store.size(&digest).await.unwrap(), Some(len as u64));
            // Once more is harmless.
            assert_eq!(bed.store.put(blob).await.unwrap(), digest);
        }
    }

    /// What is sent to a client is never in memory as a whole.
    async fn a_blob_is_read_piece_by_piece(bed) {
        let blob = bytes(300_001, 1);
        let digest = bed.store.put(blob.clone()).await.unwrap();
        let mut reader = bed.store.reader(&digest).await.unwrap();
        assert_eq!(reader.size(), 300_001);
        let mut read = Vec::new();
        loop {
            let piece = reader.read_at(read.len() as u64, 100_000).await.unwrap();
            assert!(piece.len() <= 100_000);
            if piece.is_empty() {
                break;
            }
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, blob);
        assert_eq!(reader.read_at(300_000, 10).await.unwrap(), blob.slice(300_000..));
        assert_eq!(reader.read_at(u64::MAX, 10).await.unwrap(), Bytes::new());
        let absent = Digest::of(b"nobody");
        let error = bed.store.reader(&absent).await.err().unwrap();
        assert!(matches!(error, Error::BlobNotFound { digest: named } if named == absent));
    }

    async fn an_absent_blob_is_named(bed) {
        let digest = Digest::of(b"nobody");
        let error = bed.store.get(&digest).await.unwrap_err();
        assert!(matches!(error, Error::BlobNotFound { digest: named } if named == digest));
        assert_eq!(bed.store.size(&digest).await.unwrap(), None);
        assert_eq!(bed.store.offset(&digest).await.unwrap(), 0);
    }

    async fn missing_names_what_is_not_there_in_order(bed) {
        let all: Vec<_> = (0..4).map(|seed| bytes(9, seed)).collect();
        let digests: Vec<_> = all.iter().map(|blob| Digest::of(blob)).collect();
        bed.store.put(all[1].clone()).await.unwrap();
        bed.store.put(all[3].clone()).await.unwrap();
        assert_eq!(bed.store.has_many(&digests).await.unwrap(), [false, true, false, true]);
        assert_eq!(bed.store.missing(&digests).await.unwrap(), [digests[0], digests[2]]);
        assert_eq!(bed.store.missing(&[]).await.unwrap(), []);
    }

    async fn an_upload_in_chunks_is_one_blob(bed) {
        let blob = bytes(300_000, 1);
        let digest = Digest::of(&blob);
        let mut upload = bed.store.upload(&digest, blob.len() as u64).await.unwrap();
        for chunk in 0..3 {
            assert_eq!(upload.offset(), chunk * 100_000);
            let from = chunk as usize * 100_000;
            upload.write(blob.slice(from..from + 100_000)).await.unwrap();
            assert_eq!(bed.store.has_many(&[digest]).await.unwrap(), [false]);
        }
        assert!(upload.finish().await.unwrap());
        assert_eq!(bed.store.get(&digest).await.unwrap(), blob);
    }

    async fn an_empty_blob_can_be_uploaded(bed) {
        let digest = Digest::of(b"");
        assert!(bed.store.upload(&digest, 0).await.unwrap().finish().await.unwrap());
        assert_eq!(bed.store.get(&digest).await.unwrap(), Bytes::new());
    }

    /// A client that lost its connection sends only the rest.
    async fn an_interrupted_upload_is_resumed(bed) {
        let blob = bytes(300_000, 1);
        let digest = Digest::of(&blob);
        let mut upload = bed.store.upload(&digest, 300_000).await.unwrap();
        upload.write(blob.slice(..123_456)).await.unwrap();
        drop(upload);
        assert_eq!(bed.store.offset(&digest).await.unwrap(), 123_456);
        assert!(matches!(bed.store.get(&digest).await, Err(Error::BlobNotFound { .. })));
        let mut upload = bed.store.upload(&digest, 300_000).await.unwrap();
        assert_eq!(upload.offset(), 123_456);
        upload.write(blob.slice(123_456..)).await.unwrap();
        assert!(upload.finish().await.unwrap());
        assert_eq!(bed.store.get(&digest).await.unwrap(), blob);
        assert_eq!(bed.store.offset(&digest).await.unwrap(), 300_000);
    }

    async fn an_unfinished_upload_can_go_on_after_finishing_too_early(bed) {
        let blob = bytes(1_000, 1);
        let digest = Digest::of(&blob);
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        upload.write(blob.slice(..400)).await.unwrap();
        let early = upload.finish().await.unwrap_err();
        assert!(matches!(early, Error::SizeMismatch { announced: 1_000, got: 400, .. }));
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        assert_eq!(upload.offset(), 400);
        upload.write(blob.slice(400..)).await.unwrap();
        upload.finish().await.unwrap();
    }

    async fn other_bytes_than_announced_are_refused_and_dropped(bed) {
        let digest = Digest::of(&bytes(1_000, 1));
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        upload.write(bytes(1_000, 2)).await.unwrap();
        let error = upload.finish().await.unwrap_err();
        let other = Digest::of(&bytes(1_000, 2));
        assert!(matches!(error, Error::DigestMismatch { expected, actual } if (expected, actual) == (digest, other)));
        assert_eq!(bed.store.offset(&digest).await.unwrap(), 0);
        assert_eq!(bed.store.has_many(&[digest, other]).await.unwrap(), [false, false]);
    }

    async fn more_bytes_than_announced_are_refused(bed) {
        let blob = bytes(1_000, 1);
        let digest = Digest::of(&blob);
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        upload.write(blob.slice(..999)).await.unwrap();
        let error = upload.write(bytes(2, 3)).await.unwrap_err();
        assert!(matches!(error, Error::SizeMismatch { announced: 1_000, got: 1_001, .. }));
        // The refused chunk left nothing behind.
        upload.write(blob.slice(999..)).await.unwrap();
        upload.finish().await.unwrap();
    }

    /// An announced size that shrank is another upload, not a longer one cut off.
    async fn resuming_with_a_smaller_size_starts_again(bed) {
        let digest = Digest::of(&bytes(100, 1));
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        upload.write(bytes(500, 2)).await.unwrap();
        drop(upload);
        let mut upload = bed.store.upload(&digest, 100).await.unwrap();
        assert_eq!(upload.offset(), 0);
        upload.write(bytes(100, 1)).await.unwrap();
        upload.finish().await.unwrap();
    }

    async fn uploading_what_is_there_needs_no_bytes(bed) {
        let blob = bytes(1_000, 1);
        let digest = bed.store.put(blob.clone()).await.unwrap();
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        assert_eq!(upload.offset(), 1_000);
        assert!(upload.write(blob.slice(..1)).await.is_err());
        assert!(!upload.finish().await.unwrap());
    }

    async fn uploads_of_one_blob_at_once_all_succeed(bed) {
        let blob = bytes(500_000, 1);
        let digest = Digest::of(&blob);
        let tasks: Vec<_> = (0..6).map(|_| {
            let (store, blob) = (bed.store.clone(), blob.clone());
            tokio::spawn(async move {
                let mut upload = store.upload(&digest, 500_000).await.unwrap();
                while upload.offset() < 500_000 {
                    let from = upload.offset() as usize;
                    upload.write(blob.slice(from..(from + 50_000).min(500_000))).await.unwrap();
                    tokio::task::yield_now().await;
                }
                upload.finish().await.unwrap();
            })
        }).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(bed.store.get(&digest).await.unwrap(), blob);
    }

    async fn a_blob_over_the_limit_is_refused_before_it_is_sent(bed) {
        let (over, digest) = (MAX_BLOB_BYTES + 1, Digest::of(b"large"));
        let error = bed.store.upload(&digest, over).await.err().unwrap();
        assert!(matches!(error, Error::BlobTooLarge { bytes, limit, .. } if (bytes, limit) == (over, MAX_BLOB_BYTES)));
        let error = bed.store.put(bytes(over as usize, 1)).await.unwrap_err();
        assert!(matches!(error, Error::BlobTooLarge { .. }));
        bed.store.put(bytes(MAX_BLOB_BYTES as usize, 1)).await.unwrap();
    }

    async fn sweeping_takes_what_is_old_and_unused(bed) {
        let used = bed.store.put(bytes(10, 1)).await.unwrap();
        let unused = bed.store.put(bytes(20, 2)).await.unwrap();
        bed.age(2 * HOUR);
        let swept = bed.store.sweep(&live(&[used]), HOUR).await.unwrap();
        assert_eq!(swept, Swept { blobs: 1, uploads: 0, bytes: 20 });
        assert_eq!(bed.store.has_many(&[used, unused]).await.unwrap(), [true, false]);
    }

    async fn sweeping_spares_what_was_just_stored(bed) {
        let digest = bed.store.put(bytes(10, 1)).await.unwrap();
        assert_eq!(bed.store.sweep(&live(&[]), HOUR).await.unwrap(), Swept::default());
        assert_eq!(bed.store.get(&digest).await.unwrap(), bytes(10, 1));
        bed.age(2 * HOUR);
        assert_eq!(bed.store.sweep(&live(&[]), HOUR).await.unwrap().blobs, 1);
    }

    /// Whoever was told that a blob is there is about to use it.
    async fn a_blob_found_read_or_stored_again_is_young_again(bed) {
        let digests: Vec<_> = futures::future::join_all((0..5).map(|seed| bed.store.put(bytes(10, seed))))
            .await.into_iter().map(Result::unwrap).collect();
        bed.age(2 * HOUR);
        bed.store.has_many(&digests[0..1]).await.unwrap();
        bed.store.get(&digests[1]).await.unwrap();
        bed.store.put(bytes(10, 2)).await.unwrap();
        bed.store.upload(&digests[3], 10).await.unwrap().finish().await.unwrap();
        assert_eq!(bed.store.sweep(&live(&[]), HOUR).await.unwrap().blobs, 1);
        assert_eq!(bed.store.missing(&digests).await.unwrap(), [digests[4]]);
    }

    /// An upload that took longer than the grace is complete only now.
    async fn a_slow_upload_is_young_when_it_ends(bed) {
        let blob = bytes(1_000, 1);
        let digest = Digest::of(&blob);
        let mut upload = bed.store.upload(&digest, 1_000).await.unwrap();
        upload.write(blob).await.unwrap();
        bed.age(2 * HOUR);
        upload.finish().await.unwrap();
        assert_eq!(bed.store.sweep(&live(&[]), HOUR).await.unwrap(), Swept::default());
    }

    async fn abandoned_uploads_are_swept_and_running_ones_are_not(bed) {
        let (one, two) = (bytes(1_000, 1), bytes(1_000, 2));
        let mut abandoned = bed.store.upload(&Digest::of(&one), 1_000).await.unwrap();
        abandoned.write(one.slice(..600)).await.unwrap();
        drop(abandoned);
        let mut running = bed.store.upload(&Digest::of(&two), 1_000).await.unwrap();
        running.write(two.slice(..600)).await.unwrap();
        assert_eq!(bed.store.sweep(&live(&[]), HOUR).await.unwrap(), Swept::default());
        bed.age(2 * HOUR);
        let swept = bed.store.sweep(&live(&[]), HOUR).await.unwrap();
        assert_eq!(swept, Swept { blobs: 0, uploads: 1, bytes: 600 });
        assert_eq!(bed.store.offset(&Digest::of(&one)).await.unwrap(), 0);
        running.write(two.slice(600..)).await.unwrap();
        assert!(running.finish().await.unwrap());
    }

    /// Collection runs while blobs are found and stored: what was reported as there stays readable.
    async fn sweeping_never_takes_what_was_reported_as_there(bed) {
        let blobs: Vec<_> = (0..20).map(|seed| bytes(100, seed)).collect();
        let sweeper = {
            let store = bed.store.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    store.sweep(&LiveSet::new(), HOUR).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        };
        for round in 0..5 {
            bed.age(2 * HOUR);
            for blob in &blobs {
                let digest = Digest::of(blob);
                if round % 2 == 0 || !bed.store.has_many(&[digest]).await.unwrap()[0] {
                    bed.store.put(blob.clone()).await.unwrap();
                }
                assert_eq!(bed.store.get(&digest).await.unwrap(), *blob);
            }
        }
        sweeper.await.unwrap();
    }
}
