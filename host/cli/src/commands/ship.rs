//! The directories a manifest mounts, sent to the node before the app that mounts them.
//!
//! | written by | form |
//! | --- | --- |
//! | `lydian.toml`, as in the SDK | `mounts = { "./assets" = "/assets" }` |
//! | the SDK, inside the component | `"/assets": { "from": "./assets" }` |
//! | here, for the node | `"/assets": { "from": "./assets", "tree": "<digest>" }` |
//!
//! Paths are relative to the crate, or to the directory of the component.

use std::path::PathBuf;

use lydian_client::Client;
use serde_json::{Map, Value as Json, json};

use super::source::{Ready, Source};
use crate::manifest;
use crate::output::error::CliError;
use crate::output::progress::Progress;

const MOUNTS: &str = "mounts";

/// The manifest an app is opened or deployed with, all that it mounts shipped. `settings` lies over what the
/// manifest says.
///
/// # Errors
/// Exit 2: what it mounts is no directory, or holds what cannot be shipped. Otherwise as of the node.
pub(super) async fn manifest(
    client: &Client,
    source: &Source,
    ready: &Ready,
    settings: Json,
    progress: &Progress,
) -> Result<Json, CliError> {
    let said = ready.manifest.clone().unwrap_or_else(manifest::empty);
    let mut all = manifest::laid_over(settings, said);
    let mounts = mounts(Some(&all), ready.inside.manifest.as_ref());
    if mounts.is_empty() {
        return Ok(all);
    }
    let mut shipped = Map::new();
    for (path, mount) in mounts {
        shipped.insert(path, ship(client, source, mount, progress).await?);
    }
    all[MOUNTS] = Json::Object(shipped);
    Ok(all)
}

/// The local directories among what is mounted.
pub(super) fn directories(source: &Source, ready: &Ready) -> Vec<PathBuf> {
    let mounts = mounts(ready.manifest.as_ref(), ready.inside.manifest.as_ref());
    let mounts = mounts.values().filter_map(local);
    mounts.map(|from| place(source, from)).collect()
}

/// By the path in the sandbox: what the component says of mounts, and over it what the manifest does.
fn mounts(manifest: Option<&Json>, inside: Option<&Json>) -> Map<String, Json> {
    let of = |manifest: Option<&Json>| {
        let table = manifest.and_then(|manifest| manifest.get(MOUNTS)?.as_object());
        let entries = table.into_iter().flatten().map(|(key, value)| match value {
            Json::String(at) => (at.clone(), json!({ "from": key })),
            _ => (key.clone(), value.clone()),
        });
        Json::Object(entries.collect())
    };
    match manifest::laid_over(of(manifest), of(inside)) {
        Json::Object(mounts) => mounts,
        _ => Map::new(),
    }
}

/// The directory to ship; none when it was shipped, or the node must tell what is wrong with the entry.
fn local(mount: &Json) -> Option<&str> {
    match mount.get("tree") {
        Some(_) => None,
        None => mount.get("from")?.as_str(),
    }
}

fn place(source: &Source, from: &str) -> PathBuf {
    // Leaves out the `.` in the middle of it.
    source.dir().join(from).components().collect()
}

async fn ship(
    client: &Client,
    source: &Source,
    mut mount: Json,
    progress: &Progress,
) -> Result<Json, CliError> {
    let Some(from) = local(&mount) else {
        return Ok(mount);
    };
    progress.step(format!("shipping {from}"));
    let tree = client.ship_directory(place(source, from)).await;
    let tree = tree.map_err(|error| refused(error, source, from))?;
    mount["tree"] = tree.to_string().into();
    Ok(mount)
}

fn refused(error: lydian_client::Error, source: &Source, from: &str) -> CliError {
    let error = CliError::from(error);
    if error.code != "not-shipped" {
        return error;
    }
    error.hint(format!(
        "`mounts` names `{from}`, which is looked for in `{}`",
        source.dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_one() {
        let file = json!({ "mounts": { "./mine": "/data", "/raw": { "from": "raw" } } });
        let inside =
            json!({ "mounts": { "/data": { "from": "./theirs" }, "/etc": { "from": "etc" } } });
        let expected = json!({
            "/data": { "from": "./mine" },
            "/raw": { "from": "raw" },
            "/etc": { "from": "etc" },
        });
        assert_eq!(Json::Object(mounts(Some(&file), Some(&inside))), expected);
        assert!(mounts(Some(&json!({ "timeout": "5s" })), None).is_empty());
    }

    #[test]
    fn what_was_shipped_is_not_shipped_again() {
        assert_eq!(local(&json!({ "from": "./a" })), Some("./a"));
        assert_eq!(local(&json!({ "from": "./a", "tree": "x" })), None);
        assert_eq!(local(&json!(3)), None);
    }
}
