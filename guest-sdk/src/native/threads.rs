//! Calls on threads of this process.

use super::backend::{Backend, in_scope, with_backend};
use crate::{Error, ErrorKind, Result};
use lydian_value::{Args, Limits, Wit};
use parking_lot::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// An app for [`Backend::with_app`](crate::Backend::with_app): every app module has one, `APP`.
#[derive(Debug, Clone, Copy)]
pub struct App {
    name: &'static str,
    functions: &'static [(&'static str, Erased)],
}

/// A function over wire bytes.
pub(crate) type Erased = fn(&[u8]) -> Result<Vec<u8>>;

impl App {
    /// For the app attribute.
    #[doc(hidden)]
    pub const fn new(name: &'static str, functions: &'static [(&'static str, Erased)]) -> Self {
        Self { name, functions }
    }
}

/// Has a plain function take and give wire bytes.
pub fn erased<A: Args, R: Wit>(function: fn(A) -> R, args: &[u8]) -> Result<Vec<u8>> {
    let result = function(decode(args)?);
    let mut out = Vec::new();
    result.encode(&mut out);
    Ok(out)
}

/// The bytes of a value, as they would cross to a node.
pub(super) fn encode(value: &impl Wit) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

pub(super) fn decode<T: Wit>(bytes: &[u8]) -> Result<T> {
    let limits = Limits {
        bytes: usize::MAX,
        ..Limits::default()
    };
    lydian_value::from_wire(bytes, &limits)
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, error.to_string()))
}

/// What became of a recorded call; none while it runs.
type Outcome = Option<std::result::Result<Arc<[u8]>, (ErrorKind, String)>>;

/// The apps there are, and the calls that were recorded.
#[derive(Debug, Default)]
pub(super) struct Threads {
    apps: Mutex<HashMap<String, App>>,
    calls: Mutex<HashMap<String, Recorded>>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Recorded {
    outcome: watch::Receiver<Outcome>,
    cancel: tokio::task::AbortHandle,
}

impl Threads {
    pub(super) fn add(&self, app: App) {
        self.apps.lock().insert(app.name.to_owned(), app);
    }

    /// A function that was added with its app.
    pub(super) fn find(&self, app: &str, function: &str) -> Result<Erased> {
        let apps = self.apps.lock();
        let Some(found) = apps.get(app) else {
            return Err(Error::with_hints(
                ErrorKind::NotFound,
                format!("there is no app `{app}`"),
                vec!["on threads, add it with `Backend::native().with_app(…::APP)`".into()],
            ));
        };
        let function = found
            .functions
            .iter()
            .find(|(name, _)| *name == function)
            .ok_or_else(|| {
                let names: Vec<&str> = found.functions.iter().map(|(name, _)| *name).collect();
                Error::with_hints(
                    ErrorKind::NotFound,
                    format!("app `{app}` has no function `{function}`"),
                    vec![format!("it has {}", names.join(", "))],
                )
            })?;
        Ok(function.1)
    }

    /// Runs something recorded.
    pub(super) fn spawn(
        &self,
        work: impl Future<Output = Result<Vec<u8>>> + Send + 'static,
    ) -> String {
        let id = format!("native-{}", self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, outcome) = watch::channel(None);
        let scoped = Backend::scoped();
        let task = tokio::spawn(async move {
            let result = match scoped {
                Some(backend) => with_backend(backend, work).await,
                None => work.await,
            };
            let outcome = result
                .map(Arc::from)
                .map_err(|error| (error.kind(), error.message().to_owned()));
            sender.send_replace(Some(outcome));
        });
        let cancel = task.abort_handle();
        self.calls
            .lock()
            .insert(id.clone(), Recorded { outcome, cancel });
        id
    }

    fn outcome(&self, id: &str) -> Result<watch::Receiver<Outcome>> {
        let calls = self.calls.lock();
        calls
            .get(id)
            .map(|recorded| recorded.outcome.clone())
            .ok_or_else(|| no_call(id))
    }

    /// Waits for a recorded call.
    pub(super) async fn get(&self, id: &str) -> Result<Arc<[u8]>> {
        let mut outcome = self.outcome(id)?;
        let result = match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => (*outcome).clone(),
            // The sender went with the task.
            Err(_) => Some(Err((
                ErrorKind::Cancelled,
                format!("call `{id}` was cancelled"),
            ))),
        };
        match result {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err((kind, message))) => Err(Error::new(kind, message)),
            None => Err(no_call(id)),
        }
    }

    /// Forgets the call's result. A thread cannot be stopped, so what runs already runs to its end.
    pub(super) fn cancel(&self, id: &str) -> Result<()> {
        match self.calls.lock().get(id) {
            Some(recorded) => {
                recorded.cancel.abort();
                Ok(())
            }
            None => Err(no_call(id)),
        }
    }
}

fn no_call(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no call `{id}`"))
}

/// Runs a plain function on a thread for work that blocks; a panic is a failed call.
pub(super) async fn run<R: Send + 'static>(
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let scoped = Backend::scoped();
    let done = tokio::task::spawn_blocking(move || {
        catch_unwind(AssertUnwindSafe(|| in_scope(scoped, work))).unwrap_or_else(|panic| {
            Err(Error::new(
                ErrorKind::Failed,
                format!("the function panicked: {}", text(&*panic)),
            ))
        })
    });
    done.await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Interrupted, "the thread was lost")))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
