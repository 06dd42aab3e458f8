//! A blob read piece by piece: whoever sends it on holds one piece at a time, not the blob.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lydian_value::Digest;

use super::fs::{Dir, blocking};
use crate::{Error, Result};

/// Bytes hashed at a time.
const HASH_BYTES: usize = 256 << 10;

/// A verified blob on its way out.
#[async_trait]
pub trait Reader: Send {
    /// The blob's length.
    fn size(&self) -> u64;

    /// At most `most` bytes from `offset` on; fewer, down to none, at the end.
    async fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes>;
}

/// An open file. It stays readable when the blob is collected.
pub(super) struct FileReader {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl FileReader {
    /// Hashes the whole file first: no piece of a damaged blob is handed out.
    pub(super) fn open(dir: &Dir, digest: &Digest) -> Result<Self> {
        let (file, path) = dir.open(digest)?;
        let read = |error| Error::io("read", &path, error);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; HASH_BYTES];
        let mut size = 0;
        loop {
            let got = (&file).read(&mut buffer).map_err(read)?;
            if got == 0 {
                break;
            }
            hasher.update(&buffer[..got]);
            size += got as u64;
        }
        if Digest::from(hasher.finalize()) != *digest {
            return Err(dir.set_aside(digest, &file));
        }
        Ok(Self {
            file: Arc::new(file),
            path,
            size,
        })
    }
}

#[async_trait]
impl Reader for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes> {
        let left = self.size.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let (file, path) = (self.file.clone(), self.path.clone());
        blocking(move || {
            let mut bytes = BytesMut::zeroed(len);
            file.read_exact_at(&mut bytes, offset)
                .map_err(|error| Error::io("read", path, error))?;
            Ok(bytes.freeze())
        })
        .await
    }
}

/// Bytes that are in memory anyway.
pub(super) struct MemoryReader(pub(super) Bytes);

#[async_trait]
impl Reader for MemoryReader {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes> {
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let to = from.saturating_add(most).min(self.0.len());
        Ok(self.0.slice(from..to))
    }
}
