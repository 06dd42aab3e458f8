//! Bytes on their way into the blob directory: hashed as they come, published at the end.

use std::fs::{self, File, FileTimes, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use lydian_value::Digest;

use super::Upload;
use super::fs::{Dir, blocking, is_at, sync_dir};
use crate::private;
use crate::{Error, Result};

/// Bytes read at a time when an interrupted upload is hashed again.
const READ_BYTES: usize = 256 * 1024;

/// How long to wait for a partial file that somebody has: a client that lost its connection is back before the
/// write it left behind has ended.
const HAND_OVER: Duration = Duration::from_millis(200);

/// An upload into the directory.
pub(super) enum FsUpload {
    /// The blob is there already.
    There { digest: Digest, size: u64 },
    /// Bytes are coming; none after a cancelled write, whose end nobody waited for.
    Coming(Option<Box<Incoming>>),
}

impl FsUpload {
    pub(super) fn start(dir: &Arc<Dir>, digest: Digest, size: u64) -> Result<Self> {
        dir.check_size(&digest, size)?;
        if dir.has_whole(&digest, size)? {
            return Ok(Self::There { digest, size });
        }
        let incoming = match Incoming::resume(dir, digest, size)? {
            Some(incoming) => incoming,
            None => Incoming::temporary(dir, digest, size)?,
        };
        Ok(Self::Coming(Some(Box::new(incoming))))
    }
}

#[async_trait]
impl Upload for FsUpload {
    fn offset(&self) -> u64 {
        match self {
            Self::There { size, .. } => *size,
            Self::Coming(incoming) => incoming.as_ref().map_or(0, |incoming| incoming.offset),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        match self {
            Self::There { .. } if chunk.is_empty() => Ok(()),
            Self::There { digest, size } => Err(Error::SizeMismatch {
                digest: *digest,
                announced: *size,
                got: *size + chunk.len() as u64,
            }),
            Self::Coming(slot) => {
                let mut incoming = slot.take().ok_or(Error::Closed)?;
                let (incoming, result) = blocking(move || {
                    let result = incoming.write(&chunk);
                    Ok((incoming, result))
                })
                .await?;
                *slot = Some(incoming);
                result
            }
        }
    }

    async fn finish(self: Box<Self>) -> Result<bool> {
        match *self {
            Self::There { .. } => Ok(false),
            Self::Coming(incoming) => {
                let mut incoming = incoming.ok_or(Error::Closed)?;
                blocking(move || incoming.publish()).await.map(|()| true)
            }
        }
    }
}

/// A file being filled; its lock tells collection that somebody is at it.
pub(super) struct Incoming {
    dir: Arc<Dir>,
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    offset: u64,
    hasher: blake3::Hasher,
    /// Kept when dropped, to be resumed.
    resumable: bool,
    published: bool,
}

impl Incoming {
    /// Takes up the partial file, if nobody else has it; what it holds is hashed again.
    fn resume(dir: &Arc<Dir>, digest: Digest, size: u64) -> Result<Option<Self>> {
        let path = dir.partials().join(digest.to_string());
        let io = |error| Error::write(&path, size, "open", error);
        let deadline = Instant::now() + HAND_OVER;
        let file = loop {
            let file = private::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
            }
            // Between opening and locking, the one who had it may have published or removed it.
            if is_at(&file, &path) {
                break file;
            }
        };
        let mut incoming = Self::over(dir, file, path, digest, size, true);
        incoming.hash_what_is_there()?;
        Ok(Some(incoming))
    }

    /// A file of its own that is gone when dropped.
    pub(super) fn temporary(dir: &Arc<Dir>, digest: Digest, size: u64) -> Result<Self> {
        loop {
            let path = dir.temporary(&digest);
            match private::options()
                .create_new(true)
                .read(true)
                .write(true)
                .open(&path)
            {
                Ok(file) => {
                    file.lock()
                        .map_err(|error| Error::io("lock", &path, error))?;
                    return Ok(Self::over(dir, file, path, digest, size, false));
                }
                // Left behind by a crashed process that had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::write(&path, size, "create", error)),
            }
        }
    }

    fn over(
        dir: &Arc<Dir>,
        file: File,
        path: PathBuf,
        digest: Digest,
        size: u64,
        resumable: bool,
    ) -> Self {
        let hasher = blake3::Hasher::new();
        Self {
            dir: dir.clone(),
            file,
            path,
            digest,
            size,
            offset: 0,
            hasher,
            resumable,
            published: false,
        }
    }

    fn hash_what_is_there(&mut self) -> Result<()> {
        let io = |error| Error::io("read", &self.path, error);
        if self.file.metadata().map_err(io)?.len() > self.size {
            self.file.set_len(0).map_err(io)?;
        }
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = self.file.read(&mut buffer).map_err(io)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..read]);
            self.offset += read as u64;
        }
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let got = self.offset + chunk.len() as u64;
        if got > self.size {
            return Err(Error::SizeMismatch {
                digest: self.digest,
                announced: self.size,
                got,
            });
        }
        if let Err(error) = self.file.write_all(chunk) {
            return Err(self.failed("write", error));
        }
        self.hasher.update(chunk);
        self.offset = got;
        Ok(())
    }

    /// After a failed write the file's end is unknown: back to the last good byte. On a full disk all of it
    /// goes, to leave the room to whoever needs less.
    fn failed(&mut self, action: &'static str, error: io::Error) -> Error {
        let error = Error::write(&self.path, self.size - self.offset, action, error);
        if matches!(error, Error::DiskFull { .. }) {
            self.resumable = false;
        }
        let restored = self
            .file
            .set_len(self.offset)
            .and_then(|()| self.file.seek(io::SeekFrom::End(0)));
        if restored.is_err() {
            self.resumable = false;
        }
        error
    }

    /// Verifies the bytes, flushes them, and gives the file its name.
    pub(super) fn publish(&mut self) -> Result<()> {
        if self.offset < self.size {
            let (digest, announced, got) = (self.digest, self.size, self.offset);
            return Err(Error::SizeMismatch {
                digest,
                announced,
                got,
            });
        }
        let actual = Digest::from(self.hasher.finalize());
        if actual != self.digest {
            self.resumable = false;
            return Err(Error::DigestMismatch {
                expected: self.digest,
                actual,
            });
        }
        // An upload may have been resumed after a long time; its grace starts now.
        let now = FileTimes::new().set_modified(SystemTime::now());
        if let Err(error) = self.file.set_times(now).and_then(|()| self.file.sync_all()) {
            // What the kernel could not write it may have dropped, and a second flush would call it
            // written: none of this file is trusted any more.
            self.resumable = false;
            return Err(Error::write(&self.path, self.size, "flush", error));
        }
        let target = self.dir.blob(&self.digest);
        let parent = self.dir.fan(&self.digest)?;
        let _lock = self.dir.lock_shared()?;
        if let Err(error) = fs::rename(&self.path, &target) {
            return Err(Error::write(&target, self.size, "publish", error));
        }
        self.published = true;
        sync_dir(&parent).inspect_err(|_| {
            // Likewise of its name: the next upload starts over instead of finding it.
            let _ = fs::remove_file(&target);
        })
    }
}

impl Drop for Incoming {
    /// Removes what cannot be resumed, before the lock on it goes with the file.
    fn drop(&mut self) {
        if !self.published && (!self.resumable || self.offset == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FsBlobs, FsBlobsOptions};
    use super::*;
    use std::os::fd::OwnedFd;

    /// The kernel may have dropped what it could not write, and a second flush would call it
    /// written.
    #[test]
    fn after_a_failed_flush_an_upload_starts_over() {
        let root = tempfile::TempDir::new().unwrap();
        let blobs = FsBlobs::open(root.path(), FsBlobsOptions::default()).unwrap();
        let (bytes, digest) = (b"some bytes", Digest::of(b"some bytes"));
        let resume = || Incoming::resume(blobs.dir(), digest, 10).unwrap().unwrap();
        let mut incoming = resume();
        incoming.write(&bytes[..4]).unwrap();
        drop(incoming);
        let mut incoming = resume();
        assert_eq!(incoming.offset, 4);
        incoming.write(&bytes[4..]).unwrap();
        // A pipe cannot be flushed.
        let (_reader, writer) = io::pipe().unwrap();
        let file = std::mem::replace(&mut incoming.file, File::from(OwnedFd::from(writer)));
        incoming.publish().unwrap_err();
        drop((incoming, file));
        let mut incoming = resume();
        assert_eq!(incoming.offset, 0);
        incoming.write(bytes).unwrap();
        incoming.publish().unwrap();
        assert!(blobs.path(&digest).exists());
    }
}
