//! Descriptions of components, kept beside their artifacts.
//!
//! Describing a component takes its bytes and a millisecond or more, mapping its artifact neither. So the description is
//! written down once: JSON after the BLAKE3 hash of it. It is no code, and nothing that is safe depends on it: values are laid
//! out by what wasmtime says of the artifact. A damaged one is made anew.

use crate::compile;
use crate::error::Error;
use bytes::Bytes;
use lydian_value::{Digest, Interface};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Below the data directory.
const DIRECTORY: &str = "interfaces";

/// The description of a component: from disk, or from its bytes, which are only then asked for.
pub(crate) async fn of<E>(
    data_dir: &Path,
    digest: Digest,
    bytes: impl Future<Output = Result<Bytes, E>>,
) -> Result<Interface, Error>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let path = path(data_dir, &digest);
    if let Some(interface) = read(&path) {
        return Ok(interface);
    }
    let bytes = bytes.await.map_err(|error| compile::Error::Source {
        component: digest,
        source: Arc::new(error),
    })?;
    let interface = lydian_value::inspect(&bytes).map_err(|source| Error::Interface {
        component: digest,
        source,
    })?;
    if let Err(error) = write(&path, &interface) {
        tracing::warn!(%error, "the description of a component is not kept");
    }
    Ok(interface)
}

/// The description of a component, where it was written down.
pub(crate) fn kept(data_dir: &Path, digest: &Digest) -> Option<Interface> {
    read(&path(data_dir, digest))
}

fn path(data_dir: &Path, digest: &Digest) -> PathBuf {
    data_dir.join(DIRECTORY).join(format!("{digest}.json"))
}

fn read(path: &Path) -> Option<Interface> {
    let bytes = fs::read(path).ok()?;
    let (hash, json) = bytes.split_first_chunk()?;
    if blake3::hash(json) != *hash {
        tracing::warn!(path = %path.display(), "a component's description is damaged and made anew");
        return None;
    }
    let json = std::str::from_utf8(json).ok()?;
    Interface::from_json(json).ok()
}

/// Whole or not at all: written aside, then renamed.
fn write(path: &Path, interface: &Interface) -> std::io::Result<()> {
    let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let json = interface.to_json();
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(blake3::hash(json.as_bytes()).as_bytes())?;
    file.write_all(json.as_bytes())?;
    drop(file);
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lydian_value::{FuncType, Type};

    fn written() -> (tempfile::TempDir, PathBuf, Interface) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.json");
        let interface = Interface {
            imports: vec!["wasi:cli/stdout@0.2.6".into()],
            ..Interface::default()
        };
        write(&path, &interface).unwrap();
        (directory, path, interface)
    }

    #[test]
    fn descriptions_read_back() {
        let (_directory, path, interface) = written();
        assert_eq!(read(&path), Some(interface));
    }

    /// Types nest deeper as JSON than serde_json reads by itself.
    #[test]
    fn descriptions_of_deep_types_read_back() {
        let (_directory, path, mut interface) = written();
        let deep = (0..80).fold(Type::U8, |ty, _| Type::record("r", [("a", ty)]));
        interface.functions = vec![FuncType::new("f", [("x", deep)], None)];
        write(&path, &interface).unwrap();
        assert_eq!(read(&path), Some(interface));
    }

    /// A crash or a bad disk must not give a component another component's functions.
    #[test]
    fn damaged_descriptions_are_not_used() {
        let (_directory, path, _) = written();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path), None);
        fs::write(&path, &bytes[..10]).unwrap();
        assert_eq!(read(&path), None);
    }
}
