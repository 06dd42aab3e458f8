//! Local directories, sent to the node by content: what it has is not sent again.
//!
//! Every file becomes a blob, and so does the listing of them all, whose digest a manifest names below `mounts`. Hidden
//! files are files; a link is shipped as what it points to, as long as that is a file of the same directory.

use crate::client::Client;
use crate::error::{Error, Refusal, Result};
use futures::{StreamExt, TryStreamExt};
use lydian_value::Digest;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files sent at once.
const PARALLEL: usize = 8;
/// Files in one question about what is missing.
const ASKED: usize = 1_000;
/// Of a file at a time, while it is hashed.
const PIECE_BYTES: usize = 1 << 20;

/// A file to ship.
struct Found {
    /// Below the directory, parts separated by `/`.
    path: String,
    on_disk: PathBuf,
    digest: Digest,
    size: u64,
    executable: bool,
}

impl Client {
    /// Sends the files of a directory that the node lacks; answers the digest of the listing, for `mounts` of a
    /// manifest: `{"/assets": {"from": "./assets", "tree": "<digest>"}}`.
    ///
    /// # Errors
    /// - [`Error::InvalidArgument`]: it is no directory, cannot be read, or holds what cannot be shipped: a link that
    ///   leads out of it, a link to a directory, a device, a name that is not UTF-8.
    /// - As of [`Client::put`].
    ///
    /// ```no_run
    /// # async fn example(client: lydian_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let tree = client.ship_directory("./assets").await?.to_string();
    /// let mounts = serde_json::json!({ "mounts": { "/assets": { "from": "./assets", "tree": tree } } });
    /// let deploy = lydian_client::Deploy::new("web", std::fs::read("web.wasm")?).manifest(&mounts);
    /// client.deploy(deploy).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ship_directory(&self, path: impl AsRef<Path>) -> Result<Digest> {
        let root = path.as_ref().to_owned();
        let files = tokio::task::spawn_blocking(move || walk(&root))
            .await
            .map_err(|_| Error::broken("reading a directory failed unexpectedly"))??;
        for some in files.chunks(ASKED) {
            let digests: Vec<Digest> = some.iter().map(|file| file.digest).collect();
            let missing = self.missing(&digests).await?;
            let mut lacking: Vec<&Found> = some
                .iter()
                .filter(|file| missing.contains(&file.digest))
                .collect();
            lacking.sort_unstable_by_key(|file| file.digest);
            lacking.dedup_by_key(|file| file.digest);
            let sent = futures::stream::iter(lacking.into_iter().map(|file| self.send(file)));
            sent.buffer_unordered(PARALLEL).try_collect::<()>().await?;
        }
        self.put(listing(&files)).await
    }

    async fn send(&self, file: &Found) -> Result<()> {
        let bytes = tokio::fs::read(&file.on_disk).await;
        let bytes = bytes.map_err(|error| unreadable(&file.on_disk, &error))?;
        match self.put(bytes).await? == file.digest {
            true => Ok(()),
            false => Err(refused(&file.on_disk, "was changed while it was read")
                .map_hint("ship it again when nobody writes to it")),
        }
    }
}

trait MapHint {
    fn map_hint(self, hint: &str) -> Self;
}

impl MapHint for Error {
    fn map_hint(self, hint: &str) -> Self {
        match self {
            Self::InvalidArgument(refusal) => Self::InvalidArgument(refusal.hint(hint)),
            other => other,
        }
    }
}

/// The same directory has the same listing, whoever ships it.
fn listing(files: &[Found]) -> Vec<u8> {
    let one = |file: &Found| {
        serde_json::json!({
            "path": file.path,
            "digest": file.digest.to_string(),
            "size": file.size,
            "executable": file.executable,
        })
    };
    let files: Vec<_> = files.iter().map(one).collect();
    let listing = serde_json::json!({ "version": 1, "files": files });
    listing.to_string().into_bytes()
}

/// All files below a directory, sorted by path.
fn walk(root: &Path) -> Result<Vec<Found>> {
    let whole = root
        .canonicalize()
        .map_err(|error| unreadable(root, &error))?;
    if !whole.is_dir() {
        return Err(refused(root, "is not a directory"));
    }
    let mut found = Vec::new();
    let mut directories = vec![(whole.clone(), String::new())];
    while let Some((directory, prefix)) = directories.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&directory, &error))?;
            let on_disk = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(refused(&on_disk, "has a name that is not UTF-8"));
            };
            let path = format!("{prefix}{name}");
            let kind = entry
                .file_type()
                .map_err(|error| unreadable(&on_disk, &error))?;
            if kind.is_dir() {
                directories.push((on_disk, format!("{path}/")));
            } else {
                found.push(file(&whole, path, on_disk, kind.is_symlink())?);
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn file(whole: &Path, path: String, on_disk: PathBuf, is_link: bool) -> Result<Found> {
    let target = match is_link {
        false => on_disk.clone(),
        true => on_disk
            .canonicalize()
            .map_err(|error| unreadable(&on_disk, &error))?,
    };
    if !target.starts_with(whole) {
        return Err(
            refused(&on_disk, "is a link that leads out of the directory")
                .map_hint("copy what it points to into the directory"),
        );
    }
    let metadata = fs::metadata(&target).map_err(|error| unreadable(&on_disk, &error))?;
    if !metadata.is_file() {
        let what = match metadata.is_dir() {
            true => "is a link to a directory",
            false => "is neither a file nor a directory",
        };
        return Err(refused(&on_disk, what));
    }
    let (digest, size) = hash(&target).map_err(|error| unreadable(&on_disk, &error))?;
    Ok(Found {
        path,
        executable: is_executable(&metadata),
        on_disk: target,
        digest,
        size,
    })
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => {
                hasher.update(&piece[..count]);
                size += count as u64;
            }
        }
    }
    let digest = Digest::try_from(&hasher.finalize().as_bytes()[..]);
    Ok((digest.map_err(io::Error::other)?, size))
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

fn refused(path: &Path, why: &str) -> Error {
    let name = path.display().to_string();
    let refusal = Refusal::new("not-shipped", format!("cannot ship `{name}`: it {why}"));
    Error::InvalidArgument(refusal.about(&name))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let name = path.display().to_string();
    let refusal = Refusal::new("not-shipped", format!("cannot ship `{name}`: {error}"));
    Error::InvalidArgument(refusal.about(&name))
}
