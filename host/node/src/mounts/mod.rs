//! Directories that apps ship with them: listed as a blob, made real once per node, read by guests.
//!
//! A directory is made beside its place, file by file from verified blobs, and renamed there when it is whole. All apps
//! that ship the same one share it; it is removed with the last version that uses it. Each node has a folder of its own,
//! held by a lock: what a node that died has left is removed by the next.

mod tree;

use crate::error::Error;
use crate::manifest::MountPoint;
use lydian_engine::{Directory, Mount};
use lydian_store::{LiveSet, Store};
use lydian_value::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
pub(crate) use tree::Tree;

/// Below the data directory.
const FOLDER: &str = "trees";
const LOCK: &str = "lock";
/// Of a file at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Missing files that an error names.
const NAMED: usize = 5;

/// The directories of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct Mounts(Arc<Inner>);

struct Inner {
    store: Store,
    folder: PathBuf,
    /// Held as long as the node lives.
    _lock: fs::File,
    /// Directories made so far: each has a name that none had before.
    number: AtomicU64,
    /// By their listing's digest; the lock makes those who want the same one wait for one making of it.
    made: Mutex<HashMap<Digest, Place>>,
}

type Place = Arc<tokio::sync::Mutex<Weak<Made>>>;

/// A directory that is there. Removed when it is dropped.
#[derive(Debug)]
struct Made {
    path: PathBuf,
}

impl Directory for Made {
    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // Many files take a while, and this may be a thread that others wait for.
        std::thread::spawn(move || remove(&path));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

impl Mounts {
    /// Directories below `data`, which other nodes may use at the same time.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(store: Store, data: &Path) -> io::Result<Self> {
        let all = data.join(FOLDER);
        fs::create_dir_all(&all)?;
        for left in fs::read_dir(&all)?.flatten() {
            let lock = fs::File::open(left.path().join(LOCK));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                remove(&left.path());
            }
        }
        let folder = tempfile::Builder::new()
            .prefix("node-")
            .tempdir_in(&all)?
            .keep();
        // Another node that starts at this very moment looks for a lock that is there and free, so it is locked under
        // another name.
        let lock = fs::File::create(folder.join(".lock"))?;
        lock.lock()?;
        fs::rename(folder.join(".lock"), folder.join(LOCK))?;
        Ok(Self(Arc::new(Inner {
            store,
            folder,
            _lock: lock,
            number: AtomicU64::new(0),
            made: Mutex::default(),
        })))
    }

    /// Reads a listing and sees that all of its files are there.
    ///
    /// # Errors
    /// [`Error::Manifest`] that names what is missing.
    pub(crate) async fn check(&self, mount: &MountPoint) -> Result<Tree, Error> {
        let refused = |reason: String| Error::Manifest {
            path: format!("mounts.{}", mount.path),
            reason,
            hint: Some("ship the directory again: deploy it with the client".to_owned()),
        };
        let tree = match self.tree(mount.tree).await {
            Ok(tree) => tree.map_err(refused)?,
            Err(lydian_store::Error::BlobNotFound { .. }) => {
                let tree = mount.tree;
                return Err(refused(format!(
                    "has a listing `{tree}` that is not on this node"
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let mut missing = Vec::new();
        for files in tree.files.chunks(1_000) {
            let digests: Vec<Digest> = files.iter().map(|file| file.digest).collect();
            let has = self.0.store.blobs().has_many(&digests).await?;
            let absent = files.iter().zip(has).filter(|(_, has)| !has);
            missing.extend(absent.map(|(file, _)| format!("`{}`", file.path)));
        }
        let named = missing
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        match missing.len() {
            0 => Ok(tree),
            1..=NAMED => Err(refused(format!("lacks the files {named}"))),
            count => Err(refused(format!("lacks {count} files, among them {named}"))),
        }
    }

    async fn tree(&self, digest: Digest) -> Result<Result<Tree, String>, lydian_store::Error> {
        let json = self.0.store.blobs().get(&digest).await?;
        Ok(Tree::parse(&json))
    }

    /// The listings and files of these directories, which collection must keep.
    ///
    /// # Errors
    /// A listing that is there cannot be read, so that it is not known what to keep.
    pub(crate) async fn live(&self, trees: LiveSet) -> Result<LiveSet, lydian_store::Error> {
        let mut live = LiveSet::new();
        for digest in trees {
            match self.tree(digest).await {
                Ok(tree) => {
                    let files = tree.map(|tree| tree.files).unwrap_or_default();
                    live.extend(files.into_iter().map(|file| file.digest));
                    live.insert(digest);
                }
                Err(lydian_store::Error::BlobNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(live)
    }

    /// Makes what is not there, and answers what guests see.
    pub(crate) async fn make(&self, points: &[MountPoint]) -> Result<Vec<Mount>, Error> {
        let mut mounts = Vec::with_capacity(points.len());
        for point in points {
            mounts.push(Mount {
                at: point.path.clone(),
                directory: self.directory(point).await?,
            });
        }
        Ok(mounts)
    }

    async fn directory(&self, point: &MountPoint) -> Result<Arc<dyn Directory>, Error> {
        let place = {
            let mut made = self.0.made.lock();
            made.retain(|_, place| Arc::strong_count(place) > 1 || is_used(place));
            made.entry(point.tree).or_default().clone()
        };
        let mut place = place.lock().await;
        if let Some(made) = place.upgrade() {
            return Ok(made);
        }
        let tree = self.check(point).await?;
        let failed = |error: io::Error| {
            tracing::warn!(%error, at = point.path, "cannot make a mounted directory");
            let at = &point.path;
            Error::Internal(format!("the directory at `{at}` could not be made"))
        };
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.0.folder)
            .map_err(failed)?;
        for file in &tree.files {
            self.copy(new.path(), file).await?;
        }
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(format!("{number}"));
        fs::rename(new.keep(), &path).map_err(failed)?;
        close(&path).map_err(failed)?;
        let made = Arc::new(Made { path });
        *place = Arc::downgrade(&made);
        Ok(made)
    }

    /// Writes one file from its blob, whose digest is checked on the way.
    async fn copy(&self, into: &Path, file: &tree::File) -> Result<(), Error> {
        let failed = |error: io::Error| {
            tracing::warn!(%error, file = file.path, "cannot write a mounted file");
            Error::Internal(format!(
                "the mounted file `{}` could not be written",
                file.path
            ))
        };
        let path = into.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut reader = self.0.store.blobs().reader(&file.digest).await?;
        let mut written = fs::File::create_new(&path).map_err(failed)?;
        let (mut hasher, mut offset) = (blake3::Hasher::new(), 0);
        loop {
            let piece = reader.read_at(offset, PIECE_BYTES).await?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
            written.write_all(&piece).map_err(failed)?;
            offset += piece.len() as u64;
        }
        if hasher.finalize().as_bytes() != file.digest.as_bytes() || offset != file.size {
            let path = &file.path;
            let text =
                format!("the mounted file `{path}` is not what was shipped: deploy it again");
            return Err(Error::Internal(text));
        }
        let mode = if file.executable { 0o555 } else { 0o444 };
        let mode = fs::Permissions::from_mode(mode);
        written.set_permissions(mode).map_err(failed)
    }
}

/// Whether somebody uses a directory, or makes it right now.
fn is_used(place: &Place) -> bool {
    place
        .try_lock()
        .map_or(true, |made| made.strong_count() > 0)
}

/// Makes a directory and those in it read-only.
fn close(path: &Path) -> io::Result<()> {
    each_directory(path, &|path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555))
    })
}

/// Removes a directory whose own permissions forbid it.
fn remove(path: &Path) {
    let writable = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    let opened = writable(path).and_then(|()| each_directory(path, &writable));
    if let Err(error) = opened.and_then(|()| fs::remove_dir_all(path))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a mounted directory was not removed");
    }
}

/// Changes a directory and all below it; links are not followed.
fn each_directory(path: &Path, change: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    change(path)?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_directory(&entry.path(), change)?;
        }
    }
    Ok(())
}
