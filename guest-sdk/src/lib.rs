#![doc = include_str!("guide.md")]
#![warn(missing_docs)]

mod call;
mod error;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
mod map;
mod name;
#[cfg(not(target_family = "wasm"))]
mod native;
mod stream;
mod target;
mod unread;

#[cfg(target_family = "wasm")]
use guest as imp;
#[cfg(not(target_family = "wasm"))]
use native as imp;

pub use call::Call;
pub use error::{Error, ErrorKind, Result};
pub use lydian_macros::{
    app, build, class, endpoint, enter, exit, function, import, local_entrypoint, method, schedule,
};
pub use map::{Collect, Map, OnFailure, Raise};
#[cfg(not(target_family = "wasm"))]
pub use native::{App, Backend, set_backend, with_backend};
pub use stream::Stream;
pub use target::{Arguments, Function, Returned};

#[doc(hidden)]
pub mod __rt {
    //! For the code that the attributes make.
    #[cfg(target_family = "wasm")]
    pub use crate::guest;
    #[cfg(target_family = "wasm")]
    pub use crate::guest::block_on as wait;
    pub use crate::imp::{Class, Entering, block_on};
    pub use crate::name::Name;
    #[cfg(not(target_family = "wasm"))]
    pub use crate::native::{entry::Entry, erased, stream, wait};
    pub use crate::target::Target;
    pub use crate::unread::{ImportedStreams, StreamsInside};
    #[cfg(target_family = "wasm")]
    pub use crate::{__record_abi as record_abi, __variant_abi as variant_abi};

    /// A function of the own app.
    pub const fn name(app: &'static str, function: &'static str) -> Name {
        Name::own(app, function)
    }

    pub use lydian_value::{Error as ValueError, Reader, Type, Wit, len_prefix};
}
