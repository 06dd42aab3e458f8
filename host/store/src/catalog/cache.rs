//! The catalog's copy in memory, and the task that keeps it in step.
//!
//! Records are kept as read and made into apps when first asked for: opening a store with ten thousand apps
//! to call one of them parses one.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::RwLock;

use super::record::{self, AppRecord};
use super::{App, DEFAULT_ENVIRONMENT, scan_all};
use crate::{Error, Key, MetaStore, Range, Result, Rev};

/// Pause after the change feed failed.
const RETRY: Duration = Duration::from_secs(1);

/// Apps by environment and name, each with the revision it was read at: news can arrive out of order,
/// from a commit of this process and from the change feed, and only newer ones count.
#[derive(Default)]
pub(super) struct Cache(RwLock<BTreeMap<String, BTreeMap<String, Cached>>>);

struct Cached {
    rev: Rev,
    app: LazyLock<Result<Arc<App>>, Parse>,
}

/// Makes the app from its record; an unreadable one stays so until it is written anew.
type Parse = Box<dyn FnOnce() -> Result<Arc<App>> + Send>;

impl Cache {
    pub(super) fn environments(&self) -> Vec<String> {
        let map = self.0.read();
        let mut names: Vec<_> = map.keys().cloned().collect();
        if let Err(place) = names.binary_search_by(|name| name.as_str().cmp(DEFAULT_ENVIRONMENT)) {
            names.insert(place, DEFAULT_ENVIRONMENT.into());
        }
        names
    }

    pub(super) fn apps(&self, environment: Option<&str>) -> Vec<Arc<App>> {
        let map = self.0.read();
        let readable = |apps: &BTreeMap<String, Cached>| {
            apps.values()
                .filter_map(|cached| cached.app.as_ref().ok().cloned())
                .collect::<Vec<_>>()
        };
        match environment {
            Some(environment) => map.get(environment).map(readable).unwrap_or_default(),
            None => map.values().flat_map(readable).collect(),
        }
    }

    pub(super) fn app(&self, environment: &str, name: &str) -> Result<Option<Arc<App>>> {
        let map = self.0.read();
        map.get(environment)
            .and_then(|apps| apps.get(name))
            .map(|cached| cached.app.clone())
            .transpose()
    }

    pub(super) fn put(&self, rev: Rev, app: Arc<App>) {
        let (environment, name) = (app.environment.clone(), app.name.clone());
        self.insert(environment, name, rev, move || Ok(app));
    }

    /// Takes a record as the database has it.
    pub(super) fn take(&self, key: Key, rev: Rev, value: Bytes) {
        let Some((environment, name)) = record::names(&key) else {
            return;
        };
        let (environment, name) = (environment.to_owned(), name.to_owned());
        self.insert(environment, name, rev, move || {
            let app = AppRecord::read(&key, &value).map(Arc::new);
            app.inspect_err(
                |error| tracing::warn!(%error, "an app cannot be read; deploy it again"),
            )
        });
    }

    fn insert(
        &self,
        environment: String,
        name: String,
        rev: Rev,
        app: impl FnOnce() -> Result<Arc<App>> + Send + 'static,
    ) {
        let mut map = self.0.write();
        let apps = map.entry(environment).or_default();
        if apps.get(&name).is_none_or(|present| present.rev < rev) {
            apps.insert(
                name,
                Cached {
                    rev,
                    app: LazyLock::new(Box::new(app)),
                },
            );
        }
    }
}

/// Reads every app; returns the revision to follow from.
pub(super) async fn load(cache: &Cache, meta: &dyn MetaStore) -> Result<Rev> {
    let (apps, rev) = scan_all(meta, Range::prefix(&record::APPS.into())).await?;
    for (key, entry) in apps {
        cache.take(key, entry.rev, entry.value);
    }
    Ok(rev)
}

/// Applies what changes, until aborted or the store is closed, which this does not prevent. Apps are never
/// deleted.
pub(super) async fn follow(cache: Arc<Cache>, meta: Weak<dyn MetaStore>, mut since: Rev) {
    while let Some(store) = meta.upgrade() {
        let mut changes = store.changes(record::APPS.into(), since);
        drop(store);
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    // Not `change.rev`: keys of one commit share it, and some may still be to come.
                    since = change.rev - 1;
                    if let Some(value) = change.value {
                        cache.take(change.key, change.rev, value);
                    }
                }
                Err(Error::Compacted { .. }) => {
                    if let Some(store) = meta.upgrade() {
                        since = load(&cache, &*store).await.unwrap_or(since);
                    }
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the catalog cannot follow changes");
                    break;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
