//! Blobs in memory: for tests, and for nodes that keep nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lydian_value::Digest;
use parking_lot::Mutex;

use super::read::MemoryReader;
use super::{BlobStore, DEFAULT_MAX_BLOB_BYTES, LiveSet, Reader, Swept, Upload};
use crate::clock::millis;
use crate::{Clock, Error, Result};

/// Blobs in memory; clones share them.
#[derive(Clone)]
pub struct MemoryBlobs(Arc<Shared>);

struct Shared {
    clock: Clock,
    max_blob_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blobs: HashMap<Digest, Blob>,
    /// Interrupted uploads and when they were.
    partial: HashMap<Digest, (BytesMut, u64)>,
}

struct Blob {
    bytes: Bytes,
    used_ms: u64,
}

impl MemoryBlobs {
    pub fn new() -> Self {
        Self::with(Clock::system(), DEFAULT_MAX_BLOB_BYTES)
    }

    /// With another clock and size limit.
    pub fn with(clock: Clock, max_blob_bytes: u64) -> Self {
        Self(Arc::new(Shared {
            clock,
            max_blob_bytes,
            state: Mutex::default(),
        }))
    }

    fn check_size(&self, digest: &Digest, bytes: u64) -> Result<()> {
        let limit = self.0.max_blob_bytes;
        if bytes > limit {
            return Err(Error::BlobTooLarge {
                digest: *digest,
                bytes,
                limit,
            });
        }
        Ok(())
    }
}

impl Default for MemoryBlobs {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn find(&mut self, digest: &Digest, now_ms: u64) -> Option<&Blob> {
        let blob = self.blobs.get_mut(digest)?;
        blob.used_ms = now_ms;
        Some(blob)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn has_many(&self, digests: &[Digest]) -> Result<Vec<bool>> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        Ok(digests
            .iter()
            .map(|digest| state.find(digest, now).is_some())
            .collect())
    }

    async fn put(&self, bytes: Bytes) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        self.check_size(&digest, bytes.len() as u64)?;
        let used_ms = self.0.clock.now_ms();
        self.0
            .state
            .lock()
            .blobs
            .insert(digest, Blob { bytes, used_ms });
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes> {
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let blob = state
            .find(digest, now)
            .ok_or(Error::BlobNotFound { digest: *digest })?;
        Ok(blob.bytes.clone())
    }

    async fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        Ok(Box::new(MemoryReader(self.get(digest).await?)))
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self
            .0
            .state
            .lock()
            .blobs
            .get(digest)
            .map(|blob| blob.bytes.len() as u64))
    }

    async fn offset(&self, digest: &Digest) -> Result<u64> {
        let state = self.0.state.lock();
        let whole = state.blobs.get(digest).map(|blob| blob.bytes.len());
        let partial = || state.partial.get(digest).map(|(bytes, _)| bytes.len());
        Ok(whole.or_else(partial).unwrap_or(0) as u64)
    }

    async fn upload(&self, digest: &Digest, size: u64) -> Result<Box<dyn Upload>> {
        self.check_size(digest, size)?;
        let now = self.0.clock.now_ms();
        let mut state = self.0.state.lock();
        let there = state.find(digest, now).is_some();
        let kept = state
            .partial
            .remove(digest)
            .map(|(bytes, _)| bytes)
            .unwrap_or_default();
        let bytes = if there || kept.len() as u64 > size {
            BytesMut::new()
        } else {
            kept
        };
        let (store, digest) = (self.clone(), *digest);
        Ok(Box::new(MemoryUpload {
            store,
            digest,
            size,
            there,
            bytes,
            done: false,
        }))
    }

    async fn sweep(&self, live: &LiveSet, grace: Duration) -> Result<Swept> {
        let before = self.0.clock.now_ms().saturating_sub(millis(grace));
        let mut state = self.0.state.lock();
        let mut swept = Swept::default();
        state.blobs.retain(|digest, blob| {
            let keep = live.contains(digest) || blob.used_ms > before;
            swept.blobs += u64::from(!keep);
            swept.bytes += if keep { 0 } else { blob.bytes.len() as u64 };
            keep
        });
        state.partial.retain(|_, (bytes, at_ms)| {
            let keep = *at_ms > before;
            swept.uploads += u64::from(!keep);
            swept.bytes += if keep { 0 } else { bytes.len() as u64 };
            keep
        });
        Ok(swept)
    }
}

struct MemoryUpload {
    store: MemoryBlobs,
    digest: Digest,
    size: u64,
    there: bool,
    bytes: BytesMut,
    /// Published, or refused for good: nothing to resume.
    done: bool,
}

#[async_trait]
impl Upload for MemoryUpload {
    fn offset(&self) -> u64 {
        if self.there {
            self.size
        } else {
            self.bytes.len() as u64
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let got = self.offset() + chunk.len() as u64;
        if got > self.size {
            return Err(Error::SizeMismatch {
                digest: self.digest,
                announced: self.size,
                got,
            });
        }
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<bool> {
        if self.there {
            return Ok(false);
        }
        if self.offset() < self.size {
            let (digest, announced, got) = (self.digest, self.size, self.offset());
            return Err(Error::SizeMismatch {
                digest,
                announced,
                got,
            });
        }
        self.done = true;
        let actual = Digest::of(&self.bytes);
        if actual != self.digest {
            return Err(Error::DigestMismatch {
                expected: self.digest,
                actual,
            });
        }
        let blob = Blob {
            bytes: self.bytes.split().freeze(),
            used_ms: self.store.0.clock.now_ms(),
        };
        self.store.0.state.lock().blobs.insert(actual, blob);
        Ok(true)
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if !self.done && !self.bytes.is_empty() {
            let partial = (self.bytes.split(), self.store.0.clock.now_ms());
            self.store
                .0
                .state
                .lock()
                .partial
                .insert(self.digest, partial);
        }
    }
}
