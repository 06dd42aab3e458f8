//! From a target to what runs: app and version or bare component, function, limits, grants.
//!
//! A call asks the catalog for the app, in memory, and finds everything else attached to that very record:
//! [`Ready`] is made once per version and stays valid exactly as long as the catalog answers with the same
//! record, so there is nothing to invalidate. A version that is no longer current, as a durable call may
//! name it, is looked up in the database once and remembered.
//!
//! A bare component has no deployment: node's limits, no grants, and of its own manifest only the classes.
//!
//! Components themselves are asked of the engine for every call, a look into a map: the engine decides what
//! stays in memory, and a function is remembered here only as long as it keeps the component.
//!
//! Not here: admission, and what the caller may lower.

mod ready;

use crate::admission::Tenant;
use crate::calls::spawn::payload::Payload;
use crate::ephemeral::{Ephemerals, is_ephemeral};
use crate::error::{Error, known_names};
use crate::manifest::Manifest;
use crate::mounts::Mounts;
use crate::prepare;
use bytes::Bytes;
use lru::LruCache;
use lydian_api::v1::{AppRef, Target, target};
use lydian_engine::{Component, Engine};
use lydian_store::{App, AppState, DEFAULT_ENVIRONMENT, Store, Version};
use lydian_value::Digest;
use parking_lot::{Mutex, RwLock};
pub(crate) use ready::{Live, Place, Ready, Resolved};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Versions that are not current, and bare components, kept ready.
const MAX_SIDE_ENTRIES: usize = 256;

/// Turns targets into functions. Clones share what is ready.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Inner>);

struct Inner {
    store: Store,
    ephemerals: Ephemerals,
    mounts: Mounts,
    engine: Engine,
    /// By environment, then app: both lookups borrow, so a call allocates nothing here.
    apps: RwLock<HashMap<String, HashMap<String, Entry>>>,
    side: Mutex<LruCache<SideKey, Arc<Ready>>>,
    /// Of bare components: they have no app to keep it.
    bare: Arc<Live>,
    hasher: RandomState,
    app_log_bytes: usize,
}

/// An app's current version, and what outlives its versions.
#[derive(Clone)]
struct Entry {
    app: Arc<App>,
    ready: Arc<Ready>,
    live: Arc<Live>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum SideKey {
    Version(String, String, u64),
    Component(Digest),
}

impl Resolver {
    pub(crate) fn new(
        store: Store,
        ephemerals: Ephemerals,
        mounts: Mounts,
        engine: Engine,
        app_log_bytes: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            ephemerals,
            mounts,
            engine,
            apps: RwLock::default(),
            side: Mutex::new(LruCache::new(
                NonZeroUsize::new(MAX_SIDE_ENTRIES).unwrap_or(NonZeroUsize::MIN),
            )),
            bare: Arc::new(Live::new(app_log_bytes)),
            hasher: RandomState::new(),
            app_log_bytes,
        }))
    }

    /// The function a target names. Waits only for what is not ready yet.
    ///
    /// # Errors
    /// [`Error::AppNotFound`], [`Error::AppStopped`], [`Error::FunctionNotFound`],
    /// [`Error::ComponentNotFound`], [`Error::VersionDamaged`], and what keeps a component from being made ready.
    pub(crate) async fn function(&self, target: Option<&Target>) -> Result<Arc<Resolved>, Error> {
        let target = target.ok_or_else(|| Error::invalid("target", "is missing"))?;
        let (ready, component) = self.ready(target).await?;
        ready.function(&component, &target.function)
    }

    /// As [`Resolver::function`], for a call that was recorded before: its app may have been
    /// stopped since, deployed through another node of which this one has not heard yet, or gone
    /// from memory.
    ///
    /// # Errors
    /// As of [`Resolver::function`]; what is not found is not in the store either.
    pub(crate) async fn recorded(&self, recorded: &Payload) -> Result<Arc<Resolved>, Error> {
        let (environment, app) = (&recorded.environment, &recorded.app);
        if app.is_empty() {
            let digest = digest_of("component", &recorded.component)?;
            let (ready, component) = self.bare_component(digest).await?;
            return ready.function(&component, &recorded.function);
        }
        let ready = match recorded.whole && is_ephemeral(app) {
            true => self.recorded_ephemeral(recorded)?,
            false => {
                // Reads the store when the catalog's copy lacks it.
                self.0.store.catalog().find(environment, app).await?;
                let reference = AppRef {
                    environment: environment.clone(),
                    app: app.clone(),
                    version: recorded.version,
                };
                self.app(&reference, true).await?
            }
        };
        let component = self.component(&ready).await?;
        ready.function(&component, &recorded.function)
    }

    /// A version of an ephemeral app that may be gone, as a call of it has it.
    fn recorded_ephemeral(&self, recorded: &Payload) -> Result<Arc<Ready>, Error> {
        let (environment, name) = (&recorded.environment, &recorded.app);
        let key = SideKey::Version(environment.clone(), name.clone(), recorded.version);
        if let Some(ready) = self.0.side.lock().get(&key) {
            return Ok(ready.clone());
        }
        let component = digest_of("component", &recorded.component)?;
        let place = Place {
            environment: environment.clone(),
            app: name.clone(),
            version: recorded.version,
        };
        let manifest = Manifest::parse(&recorded.manifest)?;
        let live = match self.0.ephemerals.app(environment, name) {
            Some(app) => self.live(&app),
            None => Arc::new(Live::new(self.0.app_log_bytes)),
        };
        let tenant = Tenant(self.0.hasher.hash_one((environment, name)));
        let ready = Ready::new(place, component, manifest, tenant, live);
        self.0.side.lock().put(key, ready.clone());
        Ok(ready)
    }

    /// The manifest of a version of an ephemeral app, byte for byte.
    pub(crate) async fn manifest_of(&self, target: &Resolved) -> Result<Bytes, Error> {
        let Place {
            environment,
            app,
            version,
        } = &target.place;
        let app = self.existing(environment, app)?;
        Ok(self.version_of(&app, *version).await?.manifest)
    }

    /// Another function of the version that `of` is of, current or not.
    ///
    /// # Errors
    /// [`Error::FunctionNotFound`].
    pub(crate) fn sibling(&self, of: &Resolved, name: &str) -> Result<Arc<Resolved>, Error> {
        of.ready().sibling(of, name)
    }

    /// The version or bare component a target names, for callers that want no particular function.
    pub(crate) async fn ready(
        &self,
        target: &Target,
    ) -> Result<(Arc<Ready>, Arc<Component>), Error> {
        match &target.code {
            Some(target::Code::App(app)) => {
                let ready = self.app(app, false).await?;
                let component = self.component(&ready).await?;
                Ok((ready, component))
            }
            Some(target::Code::Component(digest)) => {
                self.bare_component(digest_of("target", digest)?).await
            }
            None => Err(Error::invalid(
                "target",
                "names neither an app nor a component",
            )),
        }
    }

    /// The component and its directories, made ready when they are not.
    async fn component(&self, ready: &Ready) -> Result<Arc<Component>, Error> {
        if !ready.manifest.mounts().is_empty() {
            let make = || self.0.mounts.make(ready.manifest.mounts());
            ready.mounts.get_or_try_init(make).await?;
        }
        let tenant = || prepare::tenant(&ready.place.environment, &ready.place.app);
        let component =
            prepare::component(&self.0.engine, &self.0.store, ready.digest, tenant).await;
        component.map_err(|error| {
            let Place {
                environment,
                app,
                version,
            } = &ready.place;
            error.of_version(environment, app, *version)
        })
    }

    /// An app that is there, deployed or stopped.
    ///
    /// # Errors
    /// [`Error::AppNotFound`], with a likely name.
    pub(crate) fn existing(&self, environment: &str, name: &str) -> Result<Arc<App>, Error> {
        let catalog = self.0.store.catalog();
        if is_ephemeral(name) {
            return self
                .0
                .ephemerals
                .app(environment, name)
                .ok_or_else(|| Error::AppNotFound {
                    environment: environment.to_owned(),
                    app: name.to_owned(),
                    hint: "it was ephemeral and went with the program that opened it".into(),
                });
        }
        if let Some(app) = catalog.app(environment, name)? {
            return Ok(app);
        }
        let apps = catalog.apps(Some(environment));
        let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        Err(Error::AppNotFound {
            environment: environment.to_owned(),
            app: name.to_owned(),
            hint: match names.is_empty() {
                true => format!(
                    "environment `{environment}` has no apps; deploy one with `lydian deploy`"
                ),
                false => known_names("deployed are", name, &names),
            },
        })
    }

    /// One version of an app, the current one or an earlier.
    pub(crate) async fn version_of(&self, app: &App, number: u64) -> Result<Version, Error> {
        if number == app.current.number {
            return Ok(app.current.clone());
        }
        if is_ephemeral(&app.name) {
            return self.0.ephemerals.version(app, number);
        }
        let catalog = self.0.store.catalog();
        Ok(catalog.version(&app.environment, &app.name, number).await?)
    }

    /// Lets go of what was attached to an app that is gone.
    pub(crate) fn forget(&self, app: &App) {
        let mut apps = self.0.apps.write();
        if let Some(environment) = apps.get_mut(&app.environment) {
            environment.remove(&app.name);
        }
        drop(apps);
        let of_app = |key: &SideKey| matches!(key, SideKey::Version(environment, name, _) if *environment == app.environment && *name == app.name);
        let mut side = self.0.side.lock();
        let keys: Vec<_> = side
            .iter()
            .filter(|(key, _)| of_app(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            side.pop(&key);
        }
    }

    /// What the app has as long as the node runs.
    pub(crate) fn live(&self, app: &Arc<App>) -> Arc<Live> {
        self.entry(app).map_or_else(
            |_| Arc::new(Live::new(self.0.app_log_bytes)),
            |entry| entry.live,
        )
    }

    async fn app(&self, reference: &AppRef, stopped_too: bool) -> Result<Arc<Ready>, Error> {
        let environment = environment(&reference.environment);
        let app = self.existing(environment, &reference.app)?;
        if app.state == AppState::Stopped && !stopped_too {
            return Err(Error::AppStopped {
                environment: environment.to_owned(),
                app: app.name.clone(),
            });
        }
        let entry = self.entry(&app)?;
        if matches!(reference.version, 0) || reference.version == app.current.number {
            return Ok(entry.ready);
        }
        let key = SideKey::Version(environment.to_owned(), app.name.clone(), reference.version);
        if let Some(ready) = self.0.side.lock().get(&key) {
            return Ok(ready.clone());
        }
        let version = self.version_of(&app, reference.version).await?;
        let ready = self.version(&app, &version, entry.live)?;
        self.0.side.lock().put(key, ready.clone());
        Ok(ready)
    }

    async fn bare_component(&self, digest: Digest) -> Result<(Arc<Ready>, Arc<Component>), Error> {
        let known = self.0.side.lock().get(&SideKey::Component(digest)).cloned();
        if let Some(ready) = known {
            let component = self.component(&ready).await?;
            return Ok((ready, component));
        }
        // Without this any digest would leave an entry, and a missing one be told only when it is prepared.
        if !self
            .0
            .store
            .blobs()
            .has_many(&[digest])
            .await?
            .contains(&true)
        {
            return Err(Error::ComponentNotFound { digest });
        }
        let place = Place {
            environment: String::new(),
            app: String::new(),
            version: 0,
        };
        let Inner { engine, store, .. } = &*self.0;
        let caller = || prepare::tenant("", "");
        let component = prepare::component(engine, store, digest, caller).await?;
        let manifest = prepare::bare_manifest(store, &component).await?;
        let tenant = Tenant(self.0.hasher.hash_one(digest));
        let ready = Ready::new(place, digest, manifest, tenant, self.0.bare.clone());
        self.0
            .side
            .lock()
            .put(SideKey::Component(digest), ready.clone());
        Ok((ready, component))
    }

    /// What is attached to the app's record; made anew when the record is another than last time.
    fn entry(&self, app: &Arc<App>) -> Result<Entry, Error> {
        let known = {
            let apps = self.0.apps.read();
            apps.get(&app.environment)
                .and_then(|apps| apps.get(&app.name))
                .cloned()
        };
        let live = match known {
            Some(entry) if Arc::ptr_eq(&entry.app, app) => return Ok(entry),
            Some(entry) => entry.live,
            None => Arc::new(Live::new(self.0.app_log_bytes)),
        };
        let ready = self.version(app, &app.current, live.clone())?;
        let entry = Entry {
            app: app.clone(),
            ready,
            live,
        };
        let mut apps = self.0.apps.write();
        apps.entry(app.environment.clone())
            .or_default()
            .insert(app.name.clone(), entry.clone());
        Ok(entry)
    }

    fn version(&self, app: &App, version: &Version, live: Arc<Live>) -> Result<Arc<Ready>, Error> {
        let place = Place {
            environment: app.environment.clone(),
            app: app.name.clone(),
            version: version.number,
        };
        let manifest = Manifest::parse(&version.manifest)?;
        let tenant = Tenant(self.0.hasher.hash_one((&app.environment, &app.name)));
        Ok(Ready::new(place, version.component, manifest, tenant, live))
    }

    /// Forgets functions of components that the engine has let go, so that their memory is given back.
    pub(crate) fn tidy(&self) {
        self.forget_gone();
        let mut ready: Vec<Arc<Ready>> = self
            .0
            .side
            .lock()
            .iter()
            .map(|(_, ready)| ready.clone())
            .collect();
        ready.extend(
            self.0
                .apps
                .read()
                .values()
                .flat_map(HashMap::values)
                .map(|entry| entry.ready.clone()),
        );
        for ready in ready {
            ready.let_go();
        }
    }

    /// A call that found an ephemeral app just before it went may have attached something to it again.
    fn forget_gone(&self) {
        let ephemerals = &self.0.ephemerals;
        let mut apps = self.0.apps.write();
        for (environment, apps) in apps.iter_mut() {
            apps.retain(|name, _| {
                !is_ephemeral(name) || ephemerals.app(environment, name).is_some()
            });
        }
        apps.retain(|_, apps| !apps.is_empty());
    }
}

/// The environment meant by a field: the default one when it is empty.
pub(crate) fn environment(field: &str) -> &str {
    if field.is_empty() {
        DEFAULT_ENVIRONMENT
    } else {
        field
    }
}

/// Reads a digest field.
pub(crate) fn digest_of(field: &'static str, raw: &[u8]) -> Result<Digest, Error> {
    Digest::try_from(raw).map_err(|error| Error::invalid(field, error.to_string()))
}
