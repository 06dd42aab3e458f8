//! The listing of a shipped directory: a blob that names a blob for every file.

use lydian_value::Digest;
use serde_json::Value;
use std::collections::HashSet;

/// Files in one directory.
const MAX_FILES: usize = 100_000;
/// Of one path below its directory, as file systems have it.
const MAX_PATH_BYTES: usize = 1_024;
const MAX_PART_BYTES: usize = 255;

/// A directory by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Sorted by path.
    pub(crate) files: Vec<File>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative, parts separated by `/`.
    pub(crate) path: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) executable: bool,
}

impl Tree {
    /// Reads a listing; every path in it stays below the directory, and none is both a file and a directory.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let listing: Value = serde_json::from_slice(json)
            .map_err(|error| format!("is no listing of a directory: {error}"))?;
        if listing["version"] != 1 {
            let version = &listing["version"];
            return Err(format!(
                "is a listing of version {version}, and this node reads version 1"
            ));
        }
        let files = listing["files"]
            .as_array()
            .ok_or("is a listing without `files`")?;
        if files.len() > MAX_FILES {
            let count = files.len();
            return Err(format!(
                "has {count} files, over the {MAX_FILES} there may be"
            ));
        }
        let files: Vec<File> = files.iter().map(File::parse).collect::<Result<_, _>>()?;
        for pair in files.windows(2) {
            let (one, next) = (&pair[0].path, &pair[1].path);
            if one >= next {
                return Err(format!(
                    "lists `{next}` after `{one}`: paths are sorted and unique"
                ));
            }
        }
        // Sorted by bytes, what is below `a` need not follow `a` at once: `a-b` comes between.
        let known: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        for file in &files {
            let mut parents = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
            if let Some(parent) = parents.find(|parent| known.contains(parent)) {
                return Err(format!("has `{parent}` as a file and as a directory"));
            }
        }
        Ok(Self { files })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl File {
    fn parse(file: &Value) -> Result<Self, String> {
        let path = file["path"].as_str().unwrap_or_default();
        if !is_below(path) {
            return Err(format!("has a file at `{path}`, which is no relative path"));
        }
        let digest = file["digest"].as_str().and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, file["size"].as_u64()) else {
            return Err(format!("has no digest or size for `{path}`"));
        };
        Ok(Self {
            path: path.to_owned(),
            digest,
            size,
            executable: file["executable"].as_bool().unwrap_or_default(),
        })
    }
}

fn is_below(path: &str) -> bool {
    let is_name = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= MAX_PART_BYTES
            && !part.contains(['\\', '\0'])
    };
    path.len() <= MAX_PATH_BYTES && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Vec<u8> {
        let digest = Digest::of(b"").to_string();
        let file = |path: &&str| serde_json::json!({ "path": path, "digest": digest, "size": 0 });
        let files: Vec<_> = paths.iter().map(file).collect();
        let listing = serde_json::json!({ "version": 1, "files": files });
        listing.to_string().into_bytes()
    }

    /// A listing is another's input, and its paths become paths of this machine.
    #[test]
    fn paths_stay_below_their_directory() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/",
            "a\\b",
            "a\0",
        ] {
            assert!(Tree::parse(&listing(&[bad])).is_err(), "{bad:?}");
        }
        let long = "x/".repeat(600) + "x";
        assert!(Tree::parse(&listing(&[&long])).is_err());
        let good = Tree::parse(&listing(&["a", "b/c", "b/d"]));
        assert_eq!(good.map(|tree| tree.files.len()), Ok(3));
    }

    #[test]
    fn one_path_is_one_thing() {
        for bad in [
            &["b", "a"][..],
            &["a", "a"],
            &["a", "a-b", "a/b"],
            &["a", "a/b"],
        ] {
            assert!(Tree::parse(&listing(bad)).is_err(), "{bad:?}");
        }
        assert!(Tree::parse(br#"{"version":2,"files":[]}"#).is_err());
        assert!(Tree::parse(b"not json").is_err());
        assert!(Tree::parse(&listing(&[])).is_ok());
    }
}
