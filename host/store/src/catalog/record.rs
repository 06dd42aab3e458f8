//! How apps and versions are written: JSON under `app/<environment>/<app>` and
//! `version/<environment>/<app>/<number>`, the number in 20 digits so that keys sort by it.

use bytes::Bytes;
use lydian_value::Digest;
use serde::{Deserialize, Serialize};

use super::{App, AppState, Version};
use crate::{Error, Key, Result};

pub(super) const APPS: &str = "app/";
pub(super) const VERSIONS: &str = "version/";

/// A DNS label may have 63 bytes, and an app's name is part of one; one more is kept as a round number
/// for names that never become host names.
const MAX_NAME_BYTES: usize = 64;

pub(super) fn app_key(environment: &str, name: &str) -> Key {
    format!("{APPS}{environment}/{name}").into()
}

pub(super) fn versions_prefix(environment: &str, name: &str) -> Key {
    format!("{VERSIONS}{environment}/{name}/").into()
}

pub(super) fn version_key(environment: &str, name: &str, number: u64) -> Key {
    format!("{VERSIONS}{environment}/{name}/{number:020}").into()
}

/// The number in a version's key; 0 when it has none.
pub(super) fn version_number(key: &Key) -> u64 {
    let text = std::str::from_utf8(key.as_bytes()).unwrap_or_default();
    text.rsplit('/')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// Environment and app in an app's key.
pub(super) fn names(key: &Key) -> Option<(&str, &str)> {
    std::str::from_utf8(key.as_bytes())
        .ok()?
        .strip_prefix(APPS)?
        .split_once('/')
}

/// Whether an environment or an app may have this name: letters, digits, `-`, `_` and `.`, at most 64, a letter or digit
/// first.
///
/// # Errors
/// [`Error::InvalidName`], which calls it `what`.
pub fn check_name(what: &'static str, name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let valid = name.len() <= MAX_NAME_BYTES
        && name.bytes().all(allowed)
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric());
    if valid {
        Ok(())
    } else {
        Err(Error::InvalidName {
            what,
            name: name.into(),
        })
    }
}

pub(super) fn check_manifest(manifest: &[u8]) -> Result<()> {
    if manifest.is_empty() {
        return Ok(());
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(manifest)
        .map(drop)
        .map_err(|error| Error::InvalidManifest {
            reason: error.to_string(),
        })
}

/// A version as written. The manifest is kept as text inside the JSON, so it comes back byte for byte.
#[derive(Serialize, Deserialize)]
pub(super) struct VersionRecord {
    number: u64,
    component: Digest,
    manifest: String,
    deployed_at_ms: u64,
    message: String,
    commit: String,
    client: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<u64>,
}

impl VersionRecord {
    pub(super) fn bytes(version: &Version) -> Bytes {
        json(&Self::from(version))
    }

    pub(super) fn read(key: &Key, bytes: &[u8]) -> Result<Version> {
        parse::<Self>(key, bytes).map(Version::from)
    }
}

impl From<&Version> for VersionRecord {
    fn from(version: &Version) -> Self {
        Self {
            number: version.number,
            component: version.component,
            manifest: String::from_utf8_lossy(&version.manifest).into_owned(),
            deployed_at_ms: version.deployed_at_ms,
            message: version.message.clone(),
            commit: version.commit.clone(),
            client: version.client.clone(),
            rolled_back_to: version.rolled_back_to,
        }
    }
}

impl From<VersionRecord> for Version {
    fn from(record: VersionRecord) -> Self {
        Self {
            number: record.number,
            component: record.component,
            manifest_digest: Digest::of(record.manifest.as_bytes()),
            manifest: record.manifest.into(),
            deployed_at_ms: record.deployed_at_ms,
            message: record.message,
            commit: record.commit,
            client: record.client,
            rolled_back_to: record.rolled_back_to,
        }
    }
}

/// An app as written, its current version included: listing apps reads one record each.
#[derive(Serialize, Deserialize)]
pub(super) struct AppRecord {
    stopped: bool,
    current: VersionRecord,
}

impl AppRecord {
    pub(super) fn bytes(app: &App) -> Bytes {
        json(&Self {
            stopped: app.state == AppState::Stopped,
            current: (&app.current).into(),
        })
    }

    pub(super) fn read(key: &Key, bytes: &[u8]) -> Result<App> {
        let (environment, name) = names(key).ok_or_else(|| Error::CorruptRecord {
            key: key.clone(),
            reason: "not an app's key".into(),
        })?;
        let record: Self = parse(key, bytes)?;
        Ok(App {
            environment: environment.into(),
            name: name.into(),
            state: if record.stopped {
                AppState::Stopped
            } else {
                AppState::Deployed
            },
            current: record.current.into(),
        })
    }
}

/// Serialising these records cannot fail: no maps with odd keys, no foreign code.
fn json(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).unwrap_or_default().into()
}

fn parse<'a, T: Deserialize<'a>>(key: &Key, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::CorruptRecord {
        key: key.clone(),
        reason: error.to_string(),
    })
}
