//! What a version of an app, or a bare component, is made ready as: its functions, found once.
//!
//! [`Resolved`] functions are remembered by the names that callers use, for as long as the engine keeps the component.

use crate::admission::Tenant;
use crate::calls::log::LogRing;
use crate::error::Error;
use crate::manifest::{Class, Manifest};
use crate::prepare;
use crate::warm::Terms;
use lydian_engine::{Component, Directory, Function, Grants, Limits, Mount, Start};
use lydian_value::{Digest, FuncType, Interface};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use tokio::sync::OnceCell;

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
    pub(super) mounts: OnceCell<Vec<Mount>>,
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

/// A command is told its own name first, as every program is; other functions have no name to be
/// told.
fn with_program(mut grants: Grants, function: &str, place: &Place) -> Grants {
    const COMMAND: &str = "wasi:cli/run@";
    if function.starts_with(COMMAND) {
        let name = match &*place.app {
            "" => "component",
            app => app,
        };
        grants.args.insert(0, name.to_owned());
    }
    grants
}

impl Ready {
    pub(super) fn new(
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

    pub(super) fn function(
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

    /// Another function of the component that `of` is of.
    pub(super) fn sibling(
        self: &Arc<Self>,
        of: &Resolved,
        name: &str,
    ) -> Result<Arc<Resolved>, Error> {
        if let Some(known) = self.known.read().functions.get(name) {
            return Ok(known.clone());
        }
        let full_name = self.name_of(of.function.interface(), name)?;
        let function = of
            .function
            .sibling(&full_name)
            .map_err(|error| no_function(&of.place, of.digest, error))?;
        let resolved = Arc::new(self.resolved(function, Start::Fresh));
        let mut known = self.known.write();
        // Else nobody would ever let go of it.
        if known.component.strong_count() > 0 {
            known.functions.insert(name.to_owned(), resolved.clone());
        }
        Ok(resolved)
    }

    /// Forgets functions of a component that the engine has let go.
    pub(super) fn let_go(&self) {
        let gone = self.known.read().component.strong_count() == 0;
        if gone {
            *self.known.write() = Known::default();
        }
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
            grants: Arc::new(with_program(self.manifest.grants(name), name, &self.place)),
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
    pub(super) fn ready(&self) -> Arc<Ready> {
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
    pub(super) fn new(log_bytes: usize) -> Self {
        Self {
            log: Arc::new(LogRing::new(log_bytes)),
            running: AtomicU64::new(0),
        }
    }
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
