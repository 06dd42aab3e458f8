//! The catalog: environments, apps and their immutable versions, as typed records over [`MetaStore`].
//!
//! Reads are answered from memory: every call looks an app up, and no call may wait for a database. The
//! cache holds each app with its current version; it is changed with every commit of this process before
//! the commit is answered, and follows the change feed for commits made elsewhere. Writes are decided
//! on what the database says, never on the cache, and guarded by the app record's revision.

use std::sync::Arc;

use bytes::Bytes;
use lydian_value::Digest;
use tokio::task::AbortHandle;

use crate::{
    Clock, Conflict, Entry, Error, Guard, Key, LiveSet, MetaStore, Range, Result, Rev, Write,
};

mod cache;
mod record;

use cache::Cache;
pub use record::check_name;
use record::{AppRecord, VersionRecord};

/// The environment used when none is named; it always exists.
pub const DEFAULT_ENVIRONMENT: &str = "main";

/// Records read at a time: some 500 KB.
const PAGE: u32 = 512;

/// An app as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub environment: String,
    pub name: String,
    pub state: AppState,
    pub current: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppState {
    Deployed,
    /// Takes no new calls until it is deployed or started again.
    Stopped,
}

/// One deployed state of an app; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// From 1, without gaps.
    pub number: u64,
    pub component: Digest,
    /// JSON, byte for byte as deployed; may be empty.
    pub manifest: Bytes,
    pub manifest_digest: Digest,
    /// Milliseconds since 1970.
    pub deployed_at_ms: u64,
    /// A line for the history.
    pub message: String,
    /// Source commit, `*` appended when the tree was dirty.
    pub commit: String,
    /// Name and version of the deploying client.
    pub client: String,
    /// The version whose content this one took again.
    pub rolled_back_to: Option<u64>,
}

/// What to deploy.
#[derive(Debug, Clone)]
pub struct NewVersion {
    pub environment: String,
    pub app: String,
    /// Must be in the blob store already.
    pub component: Digest,
    /// JSON, or empty.
    pub manifest: Bytes,
    pub message: String,
    pub commit: String,
    pub client: String,
}

/// The answer to a deploy or a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The version that is now current.
    pub version: Version,
    /// The current version already had this component and manifest: no new one was made.
    pub unchanged: bool,
}

/// The catalog's handle; clones share one cache.
#[derive(Clone)]
pub struct Catalog(Arc<Inner>);

struct Inner {
    meta: Arc<dyn MetaStore>,
    clock: Clock,
    cache: Arc<Cache>,
    /// Keeps the cache in step with commits made elsewhere.
    follower: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Catalog {
    /// Reads every app into memory and follows what changes. Must run inside a tokio runtime.
    pub async fn open(meta: Arc<dyn MetaStore>, clock: Clock) -> Result<Self> {
        let cache = Arc::new(Cache::default());
        let since = cache::load(&cache, &*meta).await?;
        let follower =
            tokio::spawn(cache::follow(cache.clone(), Arc::downgrade(&meta), since)).abort_handle();
        Ok(Self(Arc::new(Inner {
            meta,
            clock,
            cache,
            follower,
        })))
    }

    /// Every environment with an app, and the default one; sorted.
    pub fn environments(&self) -> Vec<String> {
        self.0.cache.environments()
    }

    /// The apps of one environment, or of all; sorted. An unreadable record is left out.
    pub fn apps(&self, environment: Option<&str>) -> Vec<Arc<App>> {
        self.0.cache.apps(environment)
    }

    /// One app. Answered from memory.
    ///
    /// # Errors
    /// [`Error::CorruptRecord`] when its record cannot be read.
    pub fn app(&self, environment: &str, name: &str) -> Result<Option<Arc<App>>> {
        self.0.cache.app(environment, name)
    }

    /// As [`Catalog::app`], asking the database when the copy in memory lacks it: another process
    /// may have deployed it a moment ago.
    pub async fn find(&self, environment: &str, name: &str) -> Result<Option<Arc<App>>> {
        if let Some(app) = self.app(environment, name)? {
            return Ok(Some(app));
        }
        let key = record::app_key(environment, name);
        if let Some(entry) = self.0.meta.get(&key).await? {
            self.0.cache.take(key, entry.rev, entry.value);
        }
        self.app(environment, name)
    }

    /// One version, the current one or an earlier.
    ///
    /// # Errors
    /// [`Error::AppNotFound`], [`Error::VersionNotFound`].
    pub async fn version(&self, environment: &str, name: &str, number: u64) -> Result<Version> {
        let app = self.existing(environment, name)?;
        if app.current.number == number {
            return Ok(app.current.clone());
        }
        let key = record::version_key(environment, name, number);
        match self.0.meta.get(&key).await? {
            Some(entry) => VersionRecord::read(&key, &entry.value),
            None => Err(Error::VersionNotFound {
                environment: environment.into(),
                app: name.into(),
                version: number,
            }),
        }
    }

    /// All versions, newest first.
    ///
    /// # Errors
    /// [`Error::AppNotFound`].
    pub async fn versions(&self, environment: &str, name: &str) -> Result<Vec<Version>> {
        self.existing(environment, name)?;
        let mut versions = Vec::new();
        let range = Range::prefix(&record::versions_prefix(environment, name));
        for (key, entry) in scan_all(&*self.0.meta, range).await?.0 {
            versions.push(VersionRecord::read(&key, &entry.value)?);
        }
        versions.reverse();
        Ok(versions)
    }

    /// Makes a new version and makes it current; starts a stopped app. The current component and
    /// manifest once more make no new version. Versions are immutable.
    ///
    /// # Errors
    /// [`Error::VersionChanged`] unless `if_version` is the current version (0: the app must be new);
    /// [`Error::InvalidName`], [`Error::InvalidManifest`].
    pub async fn deploy(&self, new: NewVersion, if_version: Option<u64>) -> Result<Deployed> {
        let NewVersion {
            environment,
            app,
            component,
            manifest,
            message,
            commit,
            client,
        } = new;
        record::check_name("environment", &environment)?;
        record::check_name("app", &app)?;
        record::check_manifest(&manifest)?;
        let version = Version {
            number: 0,
            component,
            manifest_digest: Digest::of(&manifest),
            manifest,
            deployed_at_ms: self.0.clock.now_ms(),
            message,
            commit,
            client,
            rolled_back_to: None,
        };
        self.publish(&environment, &app, if_version, version).await
    }

    /// The version before the one whose content is current: rolling back twice goes back two versions, and never
    /// to one that was rolled back from.
    ///
    /// # Errors
    /// [`Error::AppNotFound`], [`Error::NoEarlierVersion`].
    pub async fn version_before(&self, environment: &str, name: &str) -> Result<u64> {
        let current = self.existing(environment, name)?.current.clone();
        let version = current.number;
        let mut origin = current;
        // Each is of a smaller number, so this ends.
        while let Some(earlier) = origin.rolled_back_to.filter(|to| *to < origin.number) {
            origin = self.version(environment, name, earlier).await?;
        }
        match origin.number {
            0 | 1 => Err(Error::NoEarlierVersion {
                environment: environment.into(),
                app: name.into(),
                version,
                origin: origin.number,
            }),
            number => Ok(number - 1),
        }
    }

    /// Makes a new version with the content of an earlier one: of [`Catalog::version_before`] when none is named.
    ///
    /// # Errors
    /// [`Error::AppNotFound`], [`Error::VersionNotFound`], [`Error::NoEarlierVersion`].
    pub async fn rollback(
        &self,
        environment: &str,
        name: &str,
        to: Option<u64>,
        client: &str,
    ) -> Result<Deployed> {
        let current = self.existing(environment, name)?.current.clone();
        let to = match to {
            Some(to) => to,
            None => self.version_before(environment, name).await?,
        };
        let version = Version {
            deployed_at_ms: self.0.clock.now_ms(),
            message: format!("rolled back to version {to}"),
            client: client.into(),
            rolled_back_to: Some(to),
            ..self.version(environment, name, to).await?
        };
        self.publish(environment, name, Some(current.number), version)
            .await
    }

    /// Makes the app refuse new calls, until it is started or deployed again.
    ///
    /// # Errors
    /// [`Error::AppNotFound`].
    pub async fn stop(&self, environment: &str, name: &str) -> Result<Arc<App>> {
        self.set_state(environment, name, AppState::Stopped).await
    }

    /// Makes a stopped app take calls again.
    ///
    /// # Errors
    /// [`Error::AppNotFound`].
    pub async fn start(&self, environment: &str, name: &str) -> Result<Arc<App>> {
        self.set_state(environment, name, AppState::Deployed).await
    }

    /// The components of all versions of all apps: what collection must keep.
    pub async fn live_blobs(&self) -> Result<LiveSet> {
        let code = self.code().await?;
        Ok(code.into_iter().map(|(component, _)| component).collect())
    }

    /// Component and manifest of all versions of all apps.
    pub async fn code(&self) -> Result<Vec<(Digest, Bytes)>> {
        let (versions, _) =
            scan_all(&*self.0.meta, Range::prefix(&record::VERSIONS.into())).await?;
        let code = |(key, entry): &(Key, Entry)| {
            let version = VersionRecord::read(key, &entry.value)?;
            Ok((version.component, version.manifest))
        };
        versions.iter().map(code).collect()
    }

    /// Appends `version` to the app's history unless the current one is the same.
    async fn publish(
        &self,
        environment: &str,
        name: &str,
        if_version: Option<u64>,
        mut version: Version,
    ) -> Result<Deployed> {
        loop {
            let stored = self.stored(environment, name).await?;
            let current = stored.last_version;
            if let Some(expected) = if_version.filter(|expected| *expected != current) {
                let (environment, app) = (environment.into(), name.into());
                return Err(Error::VersionChanged {
                    environment,
                    app,
                    expected,
                    current,
                });
            }
            if let Some(app) = stored.same_content(&version) {
                let version = app.current.clone();
                if app.state == AppState::Stopped {
                    self.start(environment, name).await?;
                }
                return Ok(Deployed {
                    version,
                    unchanged: true,
                });
            }
            version.number = current + 1;
            let app = App {
                environment: environment.into(),
                name: name.into(),
                state: AppState::Deployed,
                current: version.clone(),
            };
            let write = Write::Put(
                record::version_key(environment, name, version.number),
                VersionRecord::bytes(&version),
            );
            if self.save(stored.guard, app, vec![write]).await?.is_some() {
                return Ok(Deployed {
                    version,
                    unchanged: false,
                });
            }
        }
    }

    async fn set_state(&self, environment: &str, name: &str, state: AppState) -> Result<Arc<App>> {
        loop {
            let stored = self.stored(environment, name).await?;
            let Some(app) = stored.app? else {
                return Err(Error::AppNotFound {
                    environment: environment.into(),
                    app: name.into(),
                });
            };
            if app.state == state {
                return Ok(Arc::new(app));
            }
            if let Some(app) = self
                .save(stored.guard, App { state, ..app }, Vec::new())
                .await?
            {
                return Ok(app);
            }
        }
    }

    /// Commits the app's record, with `more`, and shows it to readers. None: someone else was first.
    async fn save(&self, guard: Guard, app: App, mut more: Vec<Write>) -> Result<Option<Arc<App>>> {
        let key = record::app_key(&app.environment, &app.name);
        more.push(Write::Put(key, AppRecord::bytes(&app)));
        match self.0.meta.commit(vec![guard], more).await {
            Ok(committed) => {
                let app = Arc::new(app);
                self.0.cache.put(committed.rev, app.clone());
                Ok(Some(app))
            }
            Err(Error::Conflict(Conflict::Changed { .. } | Conflict::Exists { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The app as the database has it.
    async fn stored(&self, environment: &str, name: &str) -> Result<Stored> {
        let key = record::app_key(environment, name);
        let Some(entry) = self.0.meta.get(&key).await? else {
            return Ok(Stored {
                guard: Guard::Absent(key),
                app: Ok(None),
                last_version: 0,
            });
        };
        let app = AppRecord::read(&key, &entry.value).map(Some);
        let last_version = match &app {
            Ok(app) => app.as_ref().map_or(0, |app| app.current.number),
            // An unreadable record is rebuilt by the next deploy; its history says how far it got.
            Err(_) => self.last_version(environment, name).await?,
        };
        Ok(Stored {
            guard: Guard::RevIs(key, entry.rev),
            app,
            last_version,
        })
    }

    async fn last_version(&self, environment: &str, name: &str) -> Result<u64> {
        let range = Range::prefix(&record::versions_prefix(environment, name));
        let (versions, _) = scan_all(&*self.0.meta, range).await?;
        Ok(versions
            .last()
            .map_or(0, |(key, _)| record::version_number(key)))
    }

    fn existing(&self, environment: &str, name: &str) -> Result<Arc<App>> {
        self.app(environment, name)?
            .ok_or_else(|| Error::AppNotFound {
                environment: environment.into(),
                app: name.into(),
            })
    }
}

/// An app's record and what must still hold when it is replaced.
struct Stored {
    guard: Guard,
    app: Result<Option<App>>,
    last_version: u64,
}

impl Stored {
    /// The app, if deploying `version` would change nothing. A rollback always makes a version.
    fn same_content(&self, version: &Version) -> Option<&App> {
        let app = self.app.as_ref().ok()?.as_ref()?;
        let same = app.current.component == version.component
            && app.current.manifest_digest == version.manifest_digest
            && version.rolled_back_to.is_none();
        same.then_some(app)
    }
}

/// A whole range, and the revision to watch it from.
async fn scan_all(meta: &dyn MetaStore, range: Range) -> Result<(Vec<(Key, Entry)>, Rev)> {
    let mut page = meta.scan(range.clone(), PAGE).await?;
    let (mut items, rev) = (page.items, page.rev);
    while let Some(next) = page.next {
        page = meta.scan(range.clone().starting_at(next), PAGE).await?;
        items.append(&mut page.items);
    }
    Ok((items, rev))
}
