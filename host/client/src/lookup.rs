//! What names stand for: the functions of an app or a component, remembered for a moment.
//!
//! A call names the version whose types its arguments were encoded for, so a deploy in between can never
//! make bytes of one type be read as another. Which version is current is asked again at most once per
//! [`FRESH`], by the first call that finds its knowledge older than that; a deploy through this client
//! is seen at once. A component's functions never change, so they are asked for once.

use crate::apps::{Description, FunctionInfo};
use crate::blobs::to_bytes;
use crate::client::Client;
use crate::error::{Error, Refusal, Result};
use lydian_api::v1;
use lydian_value::{Digest, FuncType, Interface, Limits, NoFunction, Type};
use parking_lot::Mutex;
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the current version of an app is taken for granted.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// How many apps are remembered before those nobody uses are forgotten.
const REMEMBERED: usize = 256;
/// How many functions an error lists.
const SHOWN_HINTS: usize = 12;

/// Where functions are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    App {
        environment: Arc<str>,
        app: Arc<str>,
        /// Zero: whichever is current.
        version: u64,
    },
    Component {
        digest: Digest,
        /// Where the apps are that it may call.
        environment: Arc<str>,
    },
}

impl Place {
    /// What errors call it.
    fn describe(&self) -> String {
        match self {
            Self::App {
                app, version: 0, ..
            } => format!("app `{app}`"),
            Self::App { app, version, .. } => format!("app `{app}` version {version}"),
            Self::Component { digest, .. } => format!("component `{}`", digest.short()),
        }
    }

    fn never_changes(&self) -> bool {
        !matches!(self, Self::App { version: 0, .. })
    }
}

/// The functions of one version, by name.
#[derive(Debug)]
pub(crate) struct Functions {
    place: Place,
    version: u64,
    functions: HashMap<String, Arc<Bound>>,
    /// The same functions in the component's order; knows which parts of a name are enough.
    interface: Interface,
}

/// A function of one version: all a call needs to know.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) info: FunctionInfo,
    /// Names the version, so that the types hold.
    pub(crate) target: v1::Target,
    /// The pairs of Rust types that were found to match.
    matched: Mutex<Vec<(TypeId, TypeId)>>,
}

impl Bound {
    pub(crate) fn ty(&self) -> &FuncType {
        &self.info.ty
    }

    /// Bounds on arguments and result.
    pub(crate) fn value_limits(&self) -> Limits {
        let defaults = Limits::default();
        let bytes = self.info.limits.payload_bytes;
        Limits {
            bytes: bytes.map_or(defaults.bytes, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }),
            ..defaults
        }
    }

    /// Runs `check` the first time it sees this pair of types: comparing types walks both, a call
    /// should not pay for it again and again.
    pub(crate) fn matched_once<A: 'static, R: 'static>(
        &self,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let pair = (TypeId::of::<A>(), TypeId::of::<R>());
        if self.matched.lock().contains(&pair) {
            return Ok(());
        }
        check()?;
        self.matched.lock().push(pair);
        Ok(())
    }

    /// Refuses what only a session can do: handles mean nothing outside of one.
    pub(crate) fn needs_no_session(&self) -> Result<()> {
        let ty = self.ty();
        let params = ty.params.iter().map(|param| &param.ty);
        if params.chain(&ty.result).any(|ty| mentions(ty, is_handle)) {
            let name = &self.info.name;
            return Err(Error::InvalidArgument(
                Refusal::new(
                    "needs-session",
                    format!("function `{name}` takes or gives resources, which live in a session"),
                )
                .about(name)
                .hint("open one with `client.session(…)` and call it there"),
            ));
        }
        Ok(())
    }

    /// Refuses a result that goes on after the call has returned.
    pub(crate) fn returns_at_once(&self) -> Result<()> {
        if self
            .ty()
            .result
            .as_ref()
            .is_some_and(|ty| mentions(ty, is_stream))
        {
            let name = &self.info.name;
            return Err(Error::InvalidArgument(
                Refusal::new(
                    "returns-stream",
                    format!("function `{name}` returns a stream, whose items follow the result"),
                )
                .about(name)
                .hint("read it with `function.stream(…)` or `function.run(…)`"),
            ));
        }
        Ok(())
    }
}

fn is_handle(ty: &Type) -> bool {
    matches!(ty, Type::Own(_) | Type::Borrow(_))
}

fn is_stream(ty: &Type) -> bool {
    matches!(ty, Type::Stream(_) | Type::Future(_))
}

/// Whether `what` holds for the type or any type in it. Types nest at most as deep as values may.
fn mentions(ty: &Type, what: fn(&Type) -> bool) -> bool {
    what(ty)
        || match ty {
            Type::List(item) | Type::FixedList(item, _) | Type::Option(item) => {
                mentions(item, what)
            }
            Type::Stream(Some(item)) | Type::Future(Some(item)) => mentions(item, what),
            Type::Map(key, value) => mentions(key, what) || mentions(value, what),
            Type::Record(record) => record.fields.iter().any(|field| mentions(&field.ty, what)),
            Type::Tuple(items) => items.iter().any(|item| mentions(item, what)),
            Type::Variant(variant) => {
                let mut payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
                payloads.any(|ty| mentions(ty, what))
            }
            Type::Result(result) => {
                let mut payloads = result.ok.iter().chain(&result.err);
                payloads.any(|ty| mentions(ty, what))
            }
            _ => false,
        }
}

impl Functions {
    fn new(place: &Place, description: Description) -> Arc<Self> {
        let version = description.app.as_ref().map_or(0, |app| app.version);
        let bind = |info: FunctionInfo| {
            let target = target(place, version, &info.name);
            let bound = Bound {
                info,
                target,
                matched: Mutex::default(),
            };
            (bound.info.name.clone(), Arc::new(bound))
        };
        let types = description.functions.iter().map(|info| (*info.ty).clone());
        Arc::new(Self {
            place: place.clone(),
            version,
            interface: Interface {
                functions: types.collect(),
                ..Interface::default()
            },
            functions: description.functions.into_iter().map(bind).collect(),
        })
    }

    /// The function of this name, or of which it is a part that only one has; the only one for an empty
    /// name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Bound>> {
        if let Some(bound) = self.functions.get(name) {
            return Ok(bound.clone());
        }
        let found = self.interface.function(name).map(|ty| &ty.name);
        match found.map(|full| self.functions.get(full)) {
            Ok(Some(bound)) => Ok(bound.clone()),
            Ok(None) => Err(Error::broken(format!(
                "function `{name}` is not what it is named"
            ))),
            Err(none) => Err(self.not_found(none)),
        }
    }

    fn not_found(&self, none: NoFunction) -> Error {
        let not_named = none.name.is_empty() && !none.candidates.is_empty();
        let code = if not_named {
            "function-not-named"
        } else {
            "function-not-found"
        };
        let refusal = Refusal::new(code, format!("{}: {none}", self.place.describe()));
        let hints = none.hints().into_iter().take(SHOWN_HINTS);
        let refusal = hints.fold(refusal.about(&none.name), Refusal::hint);
        if not_named {
            Error::InvalidArgument(refusal)
        } else {
            Error::NotFound(refusal)
        }
    }

    /// All functions, in the component's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Bound>> {
        let names = self.interface.functions.iter().map(|ty| &ty.name);
        names.filter_map(|name| self.functions.get(name))
    }

    /// What to call the session or map that uses these functions.
    pub(crate) fn any_target(&self) -> v1::Target {
        target(&self.place, self.version, "")
    }
}

fn target(place: &Place, version: u64, function: &str) -> v1::Target {
    match place {
        Place::App {
            environment, app, ..
        } => v1::Target {
            code: Some(v1::target::Code::App(v1::AppRef {
                environment: environment.to_string(),
                app: app.to_string(),
                version,
            })),
            function: function.to_owned(),
            ..v1::Target::default()
        },
        Place::Component {
            digest,
            environment,
        } => v1::Target {
            environment: environment.to_string(),
            ..v1::Target::component(to_bytes(digest), function)
        },
    }
}

/// A lookup's answer and when it was given. The async lock makes those who ask at the same time wait for
/// one answer.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Arc<Functions>)>>>;

/// What was looked up; one per connection.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    slots: Mutex<HashMap<Place, Slot>>,
    /// Counts deploys and the like through this client, after which nothing is taken for granted.
    changes: AtomicU64,
}

impl Lookups {
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn slot(&self, place: &Place) -> Slot {
        let mut slots = self.slots.lock();
        if slots.len() >= REMEMBERED && !slots.contains_key(place) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            // All in use at this moment: start over rather than grow.
            if slots.len() >= REMEMBERED {
                slots.clear();
            }
        }
        slots.entry(place.clone()).or_default().clone()
    }

    fn forget(&self, environment: &str, name: &str) {
        self.slots.lock().retain(|place, _| match place {
            Place::App {
                environment: its,
                app,
                version: 0,
            } => **its != *environment || **app != *name,
            _ => true,
        });
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Client {
    /// A component that is not deployed, seen from this client's environment.
    pub(crate) fn component_place(&self, digest: Digest) -> Place {
        Place::Component {
            digest,
            environment: self.environment().into(),
        }
    }

    /// The functions at a place, asked for when they are not known or not fresh.
    pub(crate) async fn lookup(&self, place: &Place) -> Result<Arc<Functions>> {
        let slot = self.lookups().slot(place);
        let mut slot = slot.lock().await;
        if let Some((at, functions)) = &*slot
            && (place.never_changes() || at.elapsed() < FRESH)
        {
            return Ok(functions.clone());
        }
        let description = self.describe_target(describe_place(place)).await?;
        let version = description.app.as_ref().map_or(0, |app| app.version);
        let functions = match slot.take() {
            // The same version has the same functions: what was checked against them stays checked.
            Some((_, known)) if known.version == version => known,
            _ => Functions::new(place, description),
        };
        *slot = Some((Instant::now(), functions.clone()));
        Ok(functions)
    }

    /// Something of this app has changed: the next call asks again.
    pub(crate) fn forget_app(&self, app: &str) {
        self.lookups().forget(self.environment(), app);
    }
}

fn describe_place(place: &Place) -> v1::describe_request::Of {
    match place {
        Place::App {
            environment,
            app,
            version,
        } => v1::describe_request::Of::App(v1::AppRef {
            environment: environment.to_string(),
            app: app.to_string(),
            version: *version,
        }),
        Place::Component { digest, .. } => v1::describe_request::Of::Component(to_bytes(digest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(names: &[&str]) -> Arc<Functions> {
        let info = |name: &&str| FunctionInfo {
            ty: Arc::new(FuncType::new(name, [("x", Type::U64)], None)),
            ..FunctionInfo::for_tests(name)
        };
        let place = Place::App {
            environment: "main".into(),
            app: "math".into(),
            version: 0,
        };
        let description = Description::for_tests(names.iter().map(info).collect());
        Functions::new(&place, description)
    }

    /// A mistyped name is the commonest mistake of all.
    #[test]
    fn a_wrong_name_is_answered_with_the_app_and_the_near_one() {
        let functions = functions(&["square", "acme:img/resize#thumbnail"]);
        let error = functions.find("sqare").expect_err("mistyped");
        assert!(matches!(error, Error::NotFound(_)));
        assert_eq!(error.to_string(), "app `math`: no function `sqare`");
        assert_eq!(error.hints()[0], "did you mean `square`?");
        let part = functions.find("thumbnail").map(|b| b.info.name.clone());
        assert_eq!(part.ok().as_deref(), Some("acme:img/resize#thumbnail"));
    }

    /// One function needs no name; of several, each is shown with its signature.
    #[test]
    fn an_empty_name_is_the_only_function_or_a_list() {
        let only = functions(&["square"]).find("").map(|b| b.info.name.clone());
        assert_eq!(only.ok().as_deref(), Some("square"));
        let error = functions(&["cube", "square"])
            .find("")
            .expect_err("ambiguous");
        assert_eq!(error.code(), "function-not-named");
        assert_eq!(error.hints().len(), 2);
        let error = functions(&[]).find("").expect_err("none");
        assert_eq!(error.code(), "function-not-found");
    }

    /// Many apps through one long-lived client must not grow its memory without end.
    #[test]
    fn lookups_are_bounded() {
        let lookups = Lookups::default();
        for index in 0..10 * REMEMBERED {
            lookups.slot(&Place::App {
                environment: "main".into(),
                app: index.to_string().into(),
                version: 0,
            });
        }
        assert!(lookups.slots.lock().len() <= REMEMBERED);
    }
}
