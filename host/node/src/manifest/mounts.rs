//! `mounts`: directories that are shipped with an app, by the path guests see them at.

use super::{Problem, refused, tables, units};
use crate::error::Error;
use lydian_value::Digest;
use serde_json::{Map, Value};

/// Directories of one app.
const MAX_MOUNTS: usize = 32;

/// A shipped directory and where guests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// `/assets`.
    pub(crate) path: String,
    /// As its author wrote it; for people.
    pub(crate) from: String,
    /// The digest of its listing.
    pub(crate) tree: Digest,
}

pub(super) fn parse(map: &mut Map<String, Value>) -> Result<Vec<MountPoint>, Error> {
    let mounts: Vec<MountPoint> = tables(map, "mounts")?
        .into_iter()
        .map(|(path, table)| one(path, table))
        .collect::<Result<_, _>>()?;
    if mounts.len() > MAX_MOUNTS {
        return Err(refused("mounts", &format!("are more than {MAX_MOUNTS}")));
    }
    for mount in &mounts {
        let inside = |other: &&MountPoint| {
            let rest = other.path.strip_prefix(&mount.path);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(other) = mounts.iter().find(inside) {
            let path = format!("mounts.{}", other.path);
            return Err(refused(&path, &format!("lies inside `{}`", mount.path)));
        }
    }
    Ok(mounts)
}

fn one(path: String, mut table: Map<String, Value>) -> Result<MountPoint, Error> {
    let at = format!("mounts.{path}");
    if !is_absolute(&path) {
        return Err(Problem::new("is no path to mount at")
            .hint("write it as \"/assets\": absolute, without `.`, `..` and a final `/`")
            .at(at));
    }
    let mut text = |key: &str| match table.remove(key) {
        None => Ok(None),
        Some(value) => units::string(&value)
            .map(|text| Some(text.to_owned()))
            .map_err(|problem| problem.at(format!("{at}.{key}"))),
    };
    let (from, tree) = (text("from")?, text("tree")?);
    if let Some(key) = table.keys().next() {
        let problem =
            Problem::new("is not a key of a mount").hint("the keys are `from` and `tree`");
        return Err(problem.at(format!("{at}.{key}")));
    }
    let from = from.unwrap_or_default();
    let Some(tree) = tree else {
        let text = format!("has no `tree`: the directory `{from}` was not shipped");
        return Err(Problem::new(text)
            .hint("deploy with a client that ships directories, such as `lydian deploy`")
            .at(at));
    };
    let tree = tree.parse();
    Ok(MountPoint {
        tree: tree.map_err(|_| refused(&format!("{at}.tree"), "is no digest"))?,
        from,
        path,
    })
}

fn is_absolute(path: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let parts = path.strip_prefix('/');
    path.len() <= 255 && parts.is_some_and(|parts| parts.split('/').all(is_name))
}
