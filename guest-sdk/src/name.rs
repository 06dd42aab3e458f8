//! The name of a function, and what is known about it.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// A function of the own app or of another.
#[derive(Debug, Clone)]
pub struct Name {
    app: App,
    function: Cow<'static, str>,
}

#[derive(Debug, Clone)]
enum App {
    /// The app this code belongs to, and what it is called unless somebody says otherwise.
    Own(&'static str),
    Other(Cow<'static, str>, Checked),
}

/// The Rust types that were compared with the function's.
type Checked = Arc<Mutex<Vec<TypeId>>>;

impl Name {
    pub(crate) const fn own(app: &'static str, function: &'static str) -> Self {
        Self {
            app: App::Own(app),
            function: Cow::Borrowed(function),
        }
    }

    pub(crate) fn other(app: String, function: String) -> Self {
        Self {
            app: App::Other(Cow::Owned(app), Checked::default()),
            function: Cow::Owned(function),
        }
    }

    pub(crate) fn function(&self) -> &str {
        &self.function
    }

    /// The other app; none for the own.
    pub(crate) fn other_app(&self) -> Option<&str> {
        match &self.app {
            App::Own(_) => None,
            App::Other(app, _) => Some(app),
        }
    }

    /// The app as its author named it.
    pub(crate) fn app(&self) -> &str {
        match &self.app {
            App::Own(app) => app,
            App::Other(app, _) => app,
        }
    }

    #[cfg_attr(
        not(target_family = "wasm"),
        expect(dead_code, reason = "the client remembers by itself")
    )]
    pub(crate) fn is_checked<A: 'static, R: 'static>(&self) -> bool {
        match &self.app {
            App::Own(_) => true,
            App::Other(_, checked) => {
                let checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
                checked.contains(&TypeId::of::<fn(A) -> R>())
            }
        }
    }

    #[cfg_attr(
        not(target_family = "wasm"),
        expect(dead_code, reason = "the client remembers by itself")
    )]
    pub(crate) fn checked<A: 'static, R: 'static>(&self) {
        if let App::Other(_, checked) = &self.app {
            let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
            checked.push(TypeId::of::<fn(A) -> R>());
        }
    }
}
