//! Instances of a class on threads of this process, one call at a time each.

use parking_lot::Mutex;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;

/// A class on its way to an instance.
pub type Entering<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// A class's instances: as many as were ever called at once.
pub struct Class<T> {
    idle: Mutex<Vec<T>>,
    enter: fn() -> Entering<T>,
}

/// An instance, for the time of one call. A call that panics takes its instance with it, as a trap does.
pub struct Guard<'a, T> {
    class: &'a Class<T>,
    instance: Option<T>,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take()
            && !std::thread::panicking()
        {
            self.class.idle.lock().push(instance);
        }
    }
}

#[allow(
    clippy::expect_used,
    reason = "the instance is there until the guard is dropped"
)]
impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.instance.as_ref().expect("the guard is alive")
    }
}

#[allow(
    clippy::expect_used,
    reason = "the instance is there until the guard is dropped"
)]
impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.instance.as_mut().expect("the guard is alive")
    }
}

impl<T: Send> Class<T> {
    /// A class that nobody has entered.
    pub const fn new(enter: fn() -> Entering<T>) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            enter,
        }
    }

    /// An idle instance, or a new one.
    #[allow(clippy::panic, reason = "as in a sandbox, where this is a trap")]
    pub async fn enter_async(&'static self) -> Guard<'static, T> {
        let idle = self.idle.lock().pop();
        let instance = match idle {
            Some(instance) => instance,
            None => match (self.enter)().await {
                Ok(instance) => instance,
                Err(error) => panic!("the class could not be entered: {error}"),
            },
        };
        Guard {
            class: self,
            instance: Some(instance),
        }
    }

    /// Calls a method.
    pub fn with<R>(&'static self, call: impl FnOnce(&mut T) -> R) -> R {
        call(&mut super::block_on(self.enter_async()))
    }
}
