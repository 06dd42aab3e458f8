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

use crate::admission::Tenant;
use crate::calls::log::LogRing;
use crate::ephemeral::{Ephemerals, is_ephemeral};
use crate::error::{Error, known_names};
use crate::manifest::{Class, Manifest};
use crate::mounts::Mounts;
use crate::prepare;
use crate::warm::Terms;
use lru::LruCache;
use lydian_api::v1::{AppRef, Target, target};
use lydian_engine::{Component, Directory, Engine, Function, Grants, Limits, Mount, Start};
use lydian_store::{App, AppState, DEFAULT_ENVIRONMENT, Store, Version};
use lydian_value::{Digest, FuncType, Interface};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use tokio::sync::OnceCell;

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

/// What an app has as long as the node runs, whatever its version.
pub(crate) struct Live {
    /// The newest output of any of its functions.
    pub(crate) log: Arc<LogRing>,
    /// Calls that have not ended.
    pub(crate) running: AtomicU64,
}

/// One version, or one bare component, with what its calls need.
pub(crate) struct Ready {
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    pub(crate) manifest: Arc<Manifest>,
    classes: Arc<[Arc<Terms>]>,
    /// Its directories, once they were made.
    mounts: OnceCell<Vec<Mount>>,
    known: RwLock<Known>,
    tenant: Tenant,
    live: Arc<Live>,
}

/// Functions of a component that the engine keeps.
#[derive(Default)]
struct Known {
    /// Weak, so that the engine can let go of it.
    component: Weak<Component>,
    functions: HashMap<String, Arc<Resolved>>,
}

/// Where a function was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) environment: String,
    /// Empty for a bare component.
    pub(crate) app: String,
    /// 0 for a bare component.
    pub(crate) version: u64,
}

/// A function with everything its calls have in common.
pub(crate) struct Resolved {
    pub(crate) place: Place,
    pub(crate) digest: Digest,
    pub(crate) function: Function,
    /// What the deployment sets; the rest is the node's.
    pub(crate) limits: Limits,
    pub(crate) grants: Arc<Grants>,
    /// Weak, for ended calls remember their function and must not keep its directories.
    mounts: Vec<(String, Weak<dyn Directory>)>,
    /// Calls that one call of it may lead to; 0: the node's default.
    pub(crate) fan_out: u64,
    pub(crate) tenant: Tenant,
    pub(crate) live: Arc<Live>,
    /// The class it is a method of.
    pub(crate) class: Option<Arc<Terms>>,
    manifest: Arc<Manifest>,
    classes: Arc<[Arc<Terms>]>,
    /// Weak, for it remembers this; gone when the version is not current any more.
    ready: Weak<Ready>,
    /// How the component came to be ready for whoever resolved this.
    pub(crate) start: Start,
}

impl Resolved {
    pub(crate) fn ty(&self) -> &FuncType {
        self.function.ty()
    }

    pub(crate) fn name(&self) -> &str {
        &self.ty().name
    }
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
    /// [`Error::ComponentNotFound`], and what keeps a component from being made ready.
    pub(crate) async fn function(&self, target: Option<&Target>) -> Result<Arc<Resolved>, Error> {
        let target = target.ok_or_else(|| Error::invalid("target", "is missing"))?;
        let (ready, component) = self.ready(target).await?;
        ready.function(&component, &target.function)
    }

    /// As [`Resolver::function`], for a call that was accepted before: its app may have been stopped since.
    pub(crate) async fn accepted_function(&self, target: &Target) -> Result<Arc<Resolved>, Error> {
        let Some(target::Code::App(app)) = &target.code else {
            return self.function(Some(target)).await;
        };
        let ready = self.app(app, true).await?;
        let component = self.component(&ready).await?;
        ready.function(&component, &target.function)
    }

    /// Another function of the version that `of` is of, current or not.
    ///
    /// # Errors
    /// [`Error::FunctionNotFound`].
    pub(crate) fn sibling(&self, of: &Resolved, name: &str) -> Result<Arc<Resolved>, Error> {
        let ready = of.ready();
        if let Some(known) = ready.known.read().functions.get(name) {
            return Ok(known.clone());
        }
        let full_name = ready.name_of(of.function.interface(), name)?;
        let function = of
            .function
            .sibling(&full_name)
            .map_err(|error| no_function(&of.place, of.digest, error))?;
        let resolved = Arc::new(ready.resolved(function, Start::Fresh));
        let mut known = ready.known.write();
        // Else nobody would ever let go of it.
        if known.component.strong_count() > 0 {
            known.functions.insert(name.to_owned(), resolved.clone());
        }
        Ok(resolved)
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
        prepare::component(&self.0.engine, &self.0.store, ready.digest, tenant).await
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
            let gone = ready.known.read().component.strong_count() == 0;
            if gone {
                *ready.known.write() = Known::default();
            }
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

impl Ready {
    fn new(
        place: Place,
        digest: Digest,
        manifest: Manifest,
        tenant: Tenant,
        live: Arc<Live>,
    ) -> Arc<Self> {
        let terms =
            |class: &Class| Arc::new(Terms::new(place.clone(), class.clone(), live.clone()));
        Arc::new(Self {
            classes: manifest.classes().iter().map(terms).collect(),
            mounts: OnceCell::new(),
            place,
            digest,
            manifest: Arc::new(manifest),
            known: RwLock::default(),
            tenant,
            live,
        })
    }

    fn function(
        self: &Arc<Self>,
        component: &Arc<Component>,
        name: &str,
    ) -> Result<Arc<Resolved>, Error> {
        {
            let known = self.known.read();
            if std::ptr::eq(known.component.as_ptr(), Arc::as_ptr(component))
                && let Some(resolved) = known.functions.get(name)
            {
                return Ok(resolved.clone());
            }
        }
        let full_name = self.name_of(component.interface(), name)?;
        let function = component
            .function(&full_name)
            .map_err(|error| no_function(&self.place, self.digest, error))?;
        let start = component.prepared().start;
        let resolved = Arc::new(self.resolved(function, start));
        // The handle of whoever waited for the component says so in its usage; later calls start fresh.
        if component.prepared().start == Start::Fresh {
            self.known.write().remember(component, name, &resolved);
        }
        Ok(resolved)
    }

    /// The whole name of a function that callers may call. Those of a class's life are as if they were not there.
    fn name_of(&self, all: &Interface, name: &str) -> Result<String, Error> {
        let found = match self.is_callable(all, name) {
            // The common case, without a copy of the interface.
            Some(true) => return Ok(name.to_owned()),
            Some(false) | None => {
                let mut functions = all.functions.clone();
                functions.retain(|function| self.is_callable(all, &function.name) == Some(true));
                let interface = Interface {
                    functions,
                    ..Interface::default()
                };
                interface.function(name).map(|found| found.name.clone())
            }
        };
        found.map_err(|error| Error::FunctionNotFound {
            of: described(&self.place, self.digest),
            error,
        })
    }

    /// Whether callers may call the function of this whole name; none when there is none.
    fn is_callable(&self, all: &Interface, name: &str) -> Option<bool> {
        let mut functions = all.functions.iter();
        functions.find(|function| function.name == name)?;
        Some(self.manifest.is_callable(name))
    }

    fn resolved(self: &Arc<Self>, function: Function, start: Start) -> Resolved {
        let name = function.name();
        Resolved {
            limits: self.manifest.limits(name),
            grants: Arc::new(self.manifest.grants(name)),
            mounts: self.mounts.get().into_iter().flatten().map(weak).collect(),
            fan_out: self.manifest.fan_out(name),
            place: self.place.clone(),
            digest: self.digest,
            tenant: self.tenant,
            live: self.live.clone(),
            class: self.manifest.class_of(name).and_then(|class| {
                let mut classes = self.classes.iter();
                classes.find(|terms| terms.name() == class.name).cloned()
            }),
            manifest: self.manifest.clone(),
            classes: self.classes.clone(),
            ready: Arc::downgrade(self),
            start,
            function,
        }
    }
}

fn weak(mount: &Mount) -> (String, Weak<dyn Directory>) {
    (mount.at.clone(), Arc::downgrade(&mount.directory))
}

impl Resolved {
    /// The directories of its app, there as long as the answer is.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let strong = |(at, directory): &(String, Weak<dyn Directory>)| {
            Some(Mount {
                at: at.clone(),
                directory: directory.upgrade()?,
            })
        };
        self.mounts.iter().filter_map(strong).collect()
    }

    /// The version it is of, made again where it is not kept.
    fn ready(&self) -> Arc<Ready> {
        self.ready.upgrade().unwrap_or_else(|| {
            Arc::new(Ready {
                place: self.place.clone(),
                digest: self.digest,
                manifest: self.manifest.clone(),
                classes: self.classes.clone(),
                mounts: OnceCell::new_with(Some(self.mounts())),
                known: RwLock::default(),
                tenant: self.tenant,
                live: self.live.clone(),
            })
        })
    }
}

/// As errors name it.
fn described(place: &Place, digest: Digest) -> String {
    match place.app.as_str() {
        "" => format!("component `{}`", digest.short()),
        app => format!("app `{app}`"),
    }
}

impl Known {
    /// Only names that a component answers to get here, so the map is bounded by its exports.
    fn remember(&mut self, component: &Arc<Component>, name: &str, resolved: &Arc<Resolved>) {
        if !std::ptr::eq(self.component.as_ptr(), Arc::as_ptr(component)) {
            *self = Self {
                component: Arc::downgrade(component),
                functions: HashMap::new(),
            };
        }
        self.functions.insert(name.to_owned(), resolved.clone());
    }
}

impl Live {
    fn new(log_bytes: usize) -> Self {
        Self {
            log: Arc::new(LogRing::new(log_bytes)),
            running: AtomicU64::new(0),
        }
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

fn no_function(place: &Place, digest: Digest, error: lydian_engine::Error) -> Error {
    match error {
        lydian_engine::Error::NoFunction(error) => Error::FunctionNotFound {
            of: described(place, digest),
            error,
        },
        other => prepare::refusal(digest, other),
    }
}
