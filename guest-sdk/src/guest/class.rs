//! The instance of a class, in the sandbox it lives in.

use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;

/// A class on its way to an instance.
pub type Entering<T> = Pin<Box<dyn Future<Output = Result<T, String>>>>;

/// A class's one instance. The platform enters it before any method, and lets one call in at a time.
pub struct Class<T> {
    instance: RefCell<Option<T>>,
    enter: fn() -> Entering<T>,
}

// SAFETY: components have one thread.
unsafe impl<T> Sync for Class<T> {}

/// The instance, for the time of one call.
pub struct Guard<'a, T>(RefMut<'a, T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Class<T> {
    /// A class that nobody has entered.
    pub const fn new(enter: fn() -> Entering<T>) -> Self {
        Self {
            instance: RefCell::new(None),
            enter,
        }
    }

    /// Makes the instance, unless there is one.
    pub async fn try_enter_async(&'static self) -> Result<(), String> {
        if self.instance.borrow().is_none() {
            let instance = (self.enter)().await?;
            *self.instance.borrow_mut() = Some(instance);
        }
        Ok(())
    }

    /// As [`try_enter_async`](Self::try_enter_async), for a class that is entered without waiting.
    pub fn try_enter(&'static self) -> Result<(), String> {
        super::block_on(self.try_enter_async())
    }

    /// The instance; made now where nobody has entered it, as by a host that does not know classes.
    #[allow(
        clippy::panic,
        reason = "a trap is how a guest says that it cannot go on"
    )]
    pub async fn enter_async(&'static self) -> Guard<'static, T> {
        if let Err(error) = self.try_enter_async().await {
            panic!("the class could not be entered: {error}");
        }
        match RefMut::filter_map(self.instance.borrow_mut(), Option::as_mut) {
            Ok(instance) => Guard(instance),
            Err(_) => panic!("the class was left"),
        }
    }

    /// Calls a method.
    pub fn with<R>(&'static self, call: impl FnOnce(&mut T) -> R) -> R {
        call(&mut super::block_on(self.enter_async()))
    }

    /// Takes the instance away, when the class is left.
    pub fn take(&self) -> Option<T> {
        self.instance.borrow_mut().take()
    }
}
