//! The threads that drive connections, and waiting for futures from plain code.

use super::backend::{Backend, with_backend};
use std::future::Future;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle, Runtime};

/// One for the process: a connection must outlive the runtime of whoever opened it, such as that of one test.
static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();

/// Where connections live and blocking calls wait.
pub(crate) fn handle() -> Option<Handle> {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lydian")
            .enable_all()
            .build()
            .ok()
    });
    runtime.as_ref().map(|runtime| runtime.handle().clone())
}

/// Waits on the calling thread. Inside `async` code that would stop everything else there, so another thread waits then,
/// and this one for it. The back end of the caller's scope goes along.
#[allow(clippy::panic, reason = "without threads nothing can be said or done")]
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let Some(handle) = handle() else {
        panic!("no thread can be started");
    };
    if Handle::try_current().is_err() {
        return handle.block_on(future);
    }
    let scoped = Backend::scoped();
    let future = async move {
        match scoped {
            Some(backend) => with_backend(backend, future).await,
            None => future.await,
        }
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| handle.block_on(future));
        match waiting.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits for a future that stays on this thread, which may be one for blocking work of any runtime.
#[allow(clippy::panic, reason = "without threads nothing can be said or done")]
pub fn block_here<T>(future: impl Future<Output = T>) -> T {
    let Some(handle) = Handle::try_current().ok().or_else(handle) else {
        panic!("no thread can be started");
    };
    handle.block_on(future)
}
