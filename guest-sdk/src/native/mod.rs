//! Outside of sandboxes: the typed client of the same functions.

mod backend;
mod class;
pub(crate) mod entry;
mod remote;
mod runtime;
mod threads;

pub use backend::{Backend, set_backend, with_backend};
pub use class::{Class, Entering};
pub use remote::stream;
pub(crate) use remote::{BoxFuture, Handle, Local, Running, call, cancel, get, local, map, spawn};
pub use runtime::{block_here as wait, block_on};
pub use threads::{App, erased};
