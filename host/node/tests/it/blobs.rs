//! Uploads: verified, resumable, at most once.

use crate::harness::{TestNode, put_as, raw, refusal};
use bytes::Bytes;
use futures::StreamExt;
use lydian_api::v1::{self, put_request::Part};
use lydian_value::Digest;
use tonic::Code;

fn blob(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_blob_is_read_back_whole_and_from_an_offset() {
    let node = TestNode::start().await;
    let bytes = blob(3_000_000);
    let digest = node.put_bytes(bytes.clone()).await.unwrap();
    for offset in [0, 1_500_000, bytes.len()] {
        let request = v1::GetRequest {
            digest: raw(&digest),
            offset_bytes: offset as u64,
        };
        let parts: Vec<_> = node
            .blobs()
            .get(request)
            .await
            .unwrap()
            .into_inner()
            .collect()
            .await;
        let read: Vec<u8> = parts
            .into_iter()
            .flat_map(|part| part.unwrap().data.to_vec())
            .collect();
        assert!(read == bytes[offset..]);
    }
    let past = v1::GetRequest {
        digest: raw(&digest),
        offset_bytes: 3_000_001,
    };
    assert_eq!(
        refusal(&node.blobs().get(past).await.unwrap_err()).0,
        Code::InvalidArgument
    );
}

/// Memory of this process that is in use.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages: u64 = pages
        .split(' ')
        .nth(1)
        .expect("a field")
        .parse()
        .expect("a number");
    pages * 4096
}

/// Forty readers of 32 MiB that take nothing from the network would hold 1.3 GB if each had its blob in memory.
#[tokio::test]
async fn readers_that_do_not_read_hold_no_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(lydian_node::Options::new(directory.path())).await;
    let bytes = blob(32 << 20);
    let digest = node.put_bytes(bytes.clone()).await.unwrap();
    let before = resident_bytes();
    let mut readers = Vec::new();
    for _ in 0..40 {
        // A connection each: streams of one connection share its window.
        let channel = crate::harness::connect(node.address).await;
        let mut blobs = v1::blobs_client::BlobsClient::new(channel);
        let request = v1::GetRequest {
            digest: raw(&digest),
            offset_bytes: 0,
        };
        readers.push(blobs.get(request).await.unwrap().into_inner());
    }
    let held = resident_bytes().saturating_sub(before);
    assert!(held < 400 << 20, "{} MiB", held >> 20);
    let parts: Vec<_> = readers.swap_remove(7).collect().await;
    let read: Vec<u8> = parts
        .into_iter()
        .flat_map(|part| part.unwrap().data.to_vec())
        .collect();
    assert!(read == bytes);
}

/// Bytes that are not the blob's are never sent, also where only some of them are asked for.
#[tokio::test]
async fn a_damaged_blob_is_refused_before_its_first_byte() {
    let directory = tempfile::tempdir().unwrap();
    let node = TestNode::of(lydian_node::Options::new(directory.path())).await;
    let mut bytes = blob(1_000_000);
    let digest = node.put_bytes(bytes.clone()).await.unwrap();
    let name = digest.to_string();
    let path = directory.path().join("blobs").join(&name[..2]).join(&name);
    bytes[999_999] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let get = v1::GetRequest {
        digest: raw(&digest),
        offset_bytes: 10,
    };
    let (code, name, text) = refusal(&node.blobs().get(get.clone()).await.unwrap_err());
    assert_eq!((code, name.as_str()), (Code::DataLoss, "blob-damaged"));
    assert!(
        !text.contains(&directory.path().display().to_string()),
        "{text}"
    );
    assert_eq!(
        refusal(&node.blobs().get(get).await.unwrap_err()).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_where_it_stopped() {
    let node = TestNode::start().await;
    let bytes = blob(900_000);
    let digest = Digest::of(&bytes);
    let start = |offset_bytes| {
        v1::PutRequest::from(v1::PutStart {
            digest: raw(&digest),
            size_bytes: 900_000,
            offset_bytes,
        })
    };
    let data = |bytes: &[u8]| v1::PutRequest::from(Part::Data(Bytes::copy_from_slice(bytes)));
    let first = [start(0), data(&bytes[..400_000])];
    let error = node
        .blobs()
        .put(futures::stream::iter(first))
        .await
        .unwrap_err();
    assert_eq!(refusal(&error).1, "size-mismatch");
    let offset = v1::OffsetRequest {
        digest: raw(&digest),
    };
    let offset = node
        .blobs()
        .offset(offset)
        .await
        .unwrap()
        .into_inner()
        .offset_bytes;
    assert_eq!(offset, 400_000);
    let second = [start(offset), data(&bytes[400_000..])];
    assert!(
        !node
            .blobs()
            .put(futures::stream::iter(second))
            .await
            .unwrap()
            .into_inner()
            .already_there
    );
    assert!(
        put_as(node.blobs(), digest, bytes)
            .await
            .unwrap()
            .already_there
    );
}

#[tokio::test]
async fn an_offset_beyond_what_is_there_is_refused() {
    let node = TestNode::start().await;
    let bytes = blob(1_000);
    let start = v1::PutStart {
        digest: raw(&Digest::of(&bytes)),
        size_bytes: 1_000,
        offset_bytes: 500,
    };
    let error = node
        .blobs()
        .put(futures::stream::iter([v1::PutRequest::from(start)]))
        .await
        .unwrap_err();
    assert!(refusal(&error).2.contains("only 0 bytes"), "{error:?}");
}

/// A client may name a size it does not keep, or one no node takes.
#[tokio::test]
async fn announced_sizes_are_kept_and_bounded() {
    let node = TestNode::start().await;
    let bytes = blob(1_000);
    let put = |size_bytes| {
        let start = v1::PutStart {
            digest: raw(&Digest::of(&bytes)),
            size_bytes,
            offset_bytes: 0,
        };
        [
            start.into(),
            v1::PutRequest::from(Part::Data(Bytes::copy_from_slice(&bytes))),
        ]
    };
    let error = node
        .blobs()
        .put(futures::stream::iter(put(10)))
        .await
        .unwrap_err();
    assert_eq!(refusal(&error).1, "size-mismatch");
    let error = node
        .blobs()
        .put(futures::stream::iter(put(1 << 50)))
        .await
        .unwrap_err();
    assert_eq!(refusal(&error).1, "blob-too-large");
}
