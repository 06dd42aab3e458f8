//! `BlobStore`: immutable bytes named by their BLAKE3 digest.
//!
//! A blob is either absent or whole: bytes are hashed while they arrive and become visible, durable, at
//! the end. What is read is hashed again; bytes that changed on disk are reported and never served.
//! There is no rename and no compare-and-swap: putting a blob twice is harmless.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use crate::Result;

mod fs;
mod memory;
mod read;
mod sweep;
mod upload;

pub(crate) use fs::sync_dir;
pub use fs::{FsBlobs, FsBlobsOptions};
pub use memory::MemoryBlobs;
pub use read::Reader;

/// No blob may be larger, unless the store is told otherwise: a component that big is a mistake.
pub const DEFAULT_MAX_BLOB_BYTES: u64 = 1 << 30;

/// What collection must keep, whatever its age.
pub type LiveSet = HashSet<Digest>;

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub blobs: u64,
    /// Uploads that nobody came back for.
    pub uploads: u64,
    pub bytes: u64,
}

/// Bytes by digest.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Which of them are there, in order. A blob found is safe from collection for another grace.
    async fn has_many(&self, digests: &[Digest]) -> Result<Vec<bool>>;

    /// Which of them are not there, in order.
    async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let has = self.has_many(digests).await?;
        Ok(digests
            .iter()
            .zip(has)
            .filter(|(_, has)| !has)
            .map(|(digest, _)| *digest)
            .collect())
    }

    /// Stores a blob under its digest, which it returns. Durable on return.
    ///
    /// # Errors
    /// [`crate::Error::BlobTooLarge`], [`crate::Error::DiskFull`].
    async fn put(&self, bytes: Bytes) -> Result<Digest>;

    /// The blob's bytes, verified. A blob read is safe from collection for another grace.
    ///
    /// # Errors
    /// [`crate::Error::BlobNotFound`]; [`crate::Error::CorruptEntry`], after which it is absent.
    async fn get(&self, digest: &Digest) -> Result<Bytes>;

    /// The blob, verified, to be read piece by piece. A blob opened is safe from collection for another grace.
    ///
    /// # Errors
    /// As of [`BlobStore::get`].
    async fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>>;

    /// Its length, without reading it.
    async fn size(&self, digest: &Digest) -> Result<Option<u64>>;

    /// How many bytes of an interrupted upload are kept; 0 when there was none.
    async fn offset(&self, digest: &Digest) -> Result<u64>;

    /// Starts or resumes an upload of `size` bytes. One uploader at a time can resume; others of the same
    /// blob start at 0 and leave nothing behind when interrupted.
    ///
    /// # Errors
    /// [`crate::Error::BlobTooLarge`], before a byte is sent.
    async fn upload(&self, digest: &Digest, size: u64) -> Result<Box<dyn Upload>>;

    /// Removes blobs that are not live and were neither stored, found nor read within `grace`, and
    /// uploads abandoned for as long. `grace` must outlast the time between an upload or a look-up and
    /// the commit that makes the blob live.
    async fn sweep(&self, live: &LiveSet, grace: Duration) -> Result<Swept>;
}

/// A blob on its way in. Dropped unfinished, what arrived is kept for a later [`BlobStore::upload`].
#[async_trait]
pub trait Upload: Send {
    /// Bytes that are there: where the next [`Upload::write`] goes. The size when the blob exists.
    fn offset(&self) -> u64;

    /// Appends bytes.
    ///
    /// # Errors
    /// [`crate::Error::SizeMismatch`] past the announced size, [`crate::Error::DiskFull`].
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Makes the blob visible, durable on return. False: it already was there.
    ///
    /// # Errors
    /// [`crate::Error::DigestMismatch`] when the bytes are others: they are dropped, the next upload
    /// starts at 0. [`crate::Error::SizeMismatch`] when some are missing: the rest can be resumed.
    async fn finish(self: Box<Self>) -> Result<bool>;
}
