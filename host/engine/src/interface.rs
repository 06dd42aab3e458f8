//! Descriptions of components, kept beside their artifacts.
//!
//! Describing a component takes its bytes and a millisecond or more, and its bytes may be hostile:
//! so a compile worker does it ([`describe`]), and what it says is checked ([`check`]) and written
//! down: JSON after the BLAKE3 hash of it. It is no code, and nothing that is safe depends on it:
//! values are laid out by what wasmtime says of the artifact. A damaged one is made anew.

use crate::layout;
use lydian_value::{Digest, Interface};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Below the data directory.
const DIRECTORY: &str = "interfaces";

/// Bytes of a description. The largest interfaces of toolchains have some hundred kilobytes.
pub(crate) const MAX_BYTES: u64 = 8 << 20;

/// Why a component's interface cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unusable {
    pub(crate) reason: String,
    pub(crate) hints: Vec<String>,
    /// Its types are larger than the compiler reckons with, so that it is not to be compiled
    /// either.
    pub(crate) too_large: bool,
}

impl Unusable {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Strings and a flag: nothing that serde_json refuses.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_text(text: &str) -> Option<Unusable> {
        serde_json::from_str(text).ok()
    }
}

/// Describes a component, in a worker: time and memory are the worker's.
pub(crate) fn describe(component: &[u8]) -> Result<String, Unusable> {
    let interface = lydian_value::inspect(component).map_err(|error| unread(&error))?;
    if let Some(reason) = layout::refusal(&interface) {
        return Err(Unusable {
            reason,
            hints: Vec::new(),
            too_large: true,
        });
    }
    let json = interface.to_json();
    if json.len() as u64 > MAX_BYTES {
        return Err(Unusable {
            reason: format!(
                "its description takes {} bytes, more than {MAX_BYTES}",
                json.len()
            ),
            hints: vec!["export fewer functions or smaller types".to_owned()],
            too_large: false,
        });
    }
    Ok(json)
}

fn unread(error: &lydian_value::InspectError) -> Unusable {
    use lydian_value::InspectError::{FixedListTooLong, NameTooLong, TooLarge, TooManyTypes};
    Unusable {
        reason: error.to_string(),
        hints: error.hints(),
        // What is too much to describe is too much to compile.
        too_large: matches!(
            error,
            FixedListTooLong | NameTooLong { .. } | TooLarge | TooManyTypes
        ),
    }
}

/// What a worker says a component's interface is.
pub(crate) fn check(json: &str) -> Option<Interface> {
    Interface::from_json(json).ok()
}

/// Writes a description down.
pub(crate) fn keep(data_dir: &Path, digest: &Digest, json: &str) {
    if let Err(error) = write(&path(data_dir, digest), json.as_bytes()) {
        tracing::warn!(%error, "the description of a component is not kept");
    }
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
    check(str::from_utf8(json).ok()?)
}

/// Whole or not at all: written aside, then renamed.
fn write(path: &Path, json: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(blake3::hash(json).as_bytes())?;
    file.write_all(json)?;
    drop(file);
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MAX_DEPTH;
    use lydian_value::{ExportPath, FuncType, Type};

    fn written() -> (tempfile::TempDir, PathBuf, Interface) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.json");
        let interface = Interface {
            imports: vec!["wasi:cli/stdout@0.2.6".into()],
            ..Interface::default()
        };
        write(&path, interface.to_json().as_bytes()).unwrap();
        (directory, path, interface)
    }

    #[test]
    fn descriptions_read_back() {
        let (_directory, path, interface) = written();
        assert_eq!(read(&path), Some(interface));
    }

    /// JSON nests four times as deep as the type, which is further than serde_json goes by itself.
    #[test]
    fn deep_types_read_back() {
        let deep = |levels| (0..levels).fold(Type::U8, |ty, _| Type::record("r", [("a", ty)]));
        let function = FuncType {
            name: "f".into(),
            params: Vec::new(),
            result: Some(deep(MAX_DEPTH)),
            is_async: false,
            docs: String::new(),
            export: ExportPath {
                interface: None,
                raw: "f".into(),
            },
        };
        let interface = Interface {
            functions: vec![function],
            ..Interface::default()
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.json");
        write(&path, interface.to_json().as_bytes()).unwrap();
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
