//! The catalog's copy in memory, and the task that keeps it in step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    app: Result<Arc<App>>,
}

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
        self.insert(environment, name, Cached { rev, app: Ok(app) });
    }

    /// Takes a record as the database has it.
    fn take(&self, key: &Key, rev: Rev, value: &[u8]) {
        let Some((environment, name)) = record::names(key) else {
            return;
        };
        let app = AppRecord::read(key, value).map(Arc::new);
        if let Err(error) = &app {
            tracing::warn!(%environment, app = %name, %error, "an app's record cannot be read; deploy it again");
        }
        self.insert(environment.into(), name.into(), Cached { rev, app });
    }

    fn insert(&self, environment: String, name: String, cached: Cached) {
        let mut map = self.0.write();
        let apps = map.entry(environment).or_default();
        if apps
            .get(&name)
            .is_none_or(|present| present.rev < cached.rev)
        {
            apps.insert(name, cached);
        }
    }
}

/// Reads every app; returns the revision to follow from.
pub(super) async fn load(cache: &Cache, meta: &dyn MetaStore) -> Result<Rev> {
    let (apps, rev) = scan_all(meta, Range::prefix(&record::APPS.into())).await?;
    for (key, entry) in &apps {
        cache.take(key, entry.rev, &entry.value);
    }
    Ok(rev)
}

/// Applies what changes, until aborted. Apps are never deleted.
pub(super) async fn follow(cache: Arc<Cache>, meta: Arc<dyn MetaStore>, mut since: Rev) {
    loop {
        let mut changes = meta.changes(record::APPS.into(), since);
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    if let Some(value) = &change.value {
                        cache.take(&change.key, change.rev, value);
                    }
                    // Not `change.rev`: keys of one commit share it, and some may still be to come.
                    since = change.rev - 1;
                }
                Err(Error::Compacted { .. }) => {
                    since = load(&cache, &*meta).await.unwrap_or(since);
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
