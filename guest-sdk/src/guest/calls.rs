//! The imports of `lydian:calls/invoke`, as `wit/calls` has them.
//!
//! They are linked only into components that call others: nothing refers to them otherwise.

use super::abi::Abi;
use crate::{Error, ErrorKind};
use std::mem::MaybeUninit;

/// A handle of `pending` or `mapping`.
pub(super) type RawHandle = u32;

struct Failure {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

crate::__record_abi!(Failure { kind: Kind, message: String, hints: Vec<String> });

/// `error-kind`, in its order.
enum Kind {
    NotFound,
    NotAllowed,
    InvalidArgument,
    Failed,
    Timeout,
    Cancelled,
    Depth,
    Budget,
    Interrupted,
    Unavailable,
}

crate::__variant_abi!(Kind {
    0, (Self::NotFound), (), ();
    1, (Self::NotAllowed), (), ();
    2, (Self::InvalidArgument), (), ();
    3, (Self::Failed), (), ();
    4, (Self::Timeout), (), ();
    5, (Self::Cancelled), (), ();
    6, (Self::Depth), (), ();
    7, (Self::Budget), (), ();
    8, (Self::Interrupted), (), ();
    9, (Self::Unavailable), (), ();
});

/// `map-item`.
pub(super) struct MapItem {
    pub(super) index: u64,
    outcome: Result<Vec<u8>, Failure>,
}

crate::__record_abi!(MapItem { index: u64, outcome: Result<Vec<u8>, Failure> });

impl MapItem {
    pub(super) fn outcome(self) -> Result<Vec<u8>, Error> {
        self.outcome.map_err(Error::from)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            Kind::NotFound => ErrorKind::NotFound,
            Kind::NotAllowed => ErrorKind::NotAllowed,
            Kind::InvalidArgument => ErrorKind::InvalidArgument,
            Kind::Failed => ErrorKind::Failed,
            Kind::Timeout => ErrorKind::Timeout,
            Kind::Cancelled => ErrorKind::Cancelled,
            Kind::Depth => ErrorKind::Depth,
            Kind::Budget => ErrorKind::Budget,
            Kind::Interrupted => ErrorKind::Interrupted,
            Kind::Unavailable => ErrorKind::Unavailable,
        };
        Self::with_hints(kind, failure.message, failure.hints)
    }
}

#[link(wasm_import_module = "lydian:calls/invoke@0.1.0")]
unsafe extern "C" {
    #[link_name = "type-of"]
    fn raw_type_of(
        has_app: i32,
        app: *const u8,
        app_len: usize,
        name: *const u8,
        name_len: usize,
        out: *mut u8,
    );
    #[link_name = "start"]
    fn raw_start(
        has_app: i32,
        app: *const u8,
        app_len: usize,
        name: *const u8,
        name_len: usize,
        args: *const u8,
        args_len: usize,
        out: *mut u8,
    );
    #[link_name = "[method]pending.get"]
    fn raw_pending_get(pending: RawHandle, out: *mut u8);
    #[link_name = "[resource-drop]pending"]
    fn raw_pending_drop(pending: RawHandle);
    #[link_name = "spawn"]
    fn raw_spawn(
        has_app: i32,
        app: *const u8,
        app_len: usize,
        name: *const u8,
        name_len: usize,
        args: *const u8,
        args_len: usize,
        out: *mut u8,
    );
    #[link_name = "get"]
    fn raw_get(call: *const u8, call_len: usize, timeout_ms: u64, out: *mut u8);
    #[link_name = "cancel"]
    fn raw_cancel(call: *const u8, call_len: usize, out: *mut u8);
    #[link_name = "map"]
    fn raw_map(
        has_app: i32,
        app: *const u8,
        app_len: usize,
        name: *const u8,
        name_len: usize,
        ordered: i32,
        return_errors: i32,
        max_parallel: u32,
        out: *mut u8,
    );
    #[link_name = "[method]mapping.push"]
    fn raw_mapping_push(mapping: RawHandle, inputs: *const u8, inputs_len: usize, out: *mut u8);
    #[link_name = "[method]mapping.finish"]
    fn raw_mapping_finish(mapping: RawHandle);
    #[link_name = "[method]mapping.next"]
    fn raw_mapping_next(mapping: RawHandle, max: u32, out: *mut u8);
    #[link_name = "[resource-drop]mapping"]
    fn raw_mapping_drop(mapping: RawHandle);
}

/// A function, by name; none is the caller's own app.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) function: &'a str,
}

impl Target<'_> {
    /// The core values it is passed as: whether there is an app, the app, the function.
    fn flat(&self) -> (i32, *const u8, usize, *const u8, usize) {
        let (has, app, len) = match self.app {
            Some(app) => (1, app.as_ptr(), app.len()),
            None => (0, std::ptr::null(), 0),
        };
        (has, app, len, self.function.as_ptr(), self.function.len())
    }
}

/// Has `call` write a result somewhere, and takes it from there.
///
/// # Safety
/// `call` writes a `Result<T, Failure>`, and no result of an import here is larger than 8 words.
unsafe fn returned<T: Abi>(call: impl FnOnce(*mut u8)) -> Result<T, Error> {
    let mut area = MaybeUninit::<[u64; 8]>::uninit();
    let at = area.as_mut_ptr().cast::<u8>();
    call(at);
    // SAFETY: the caller's.
    unsafe { Result::<T, Failure>::load(at) }.map_err(Error::from)
}

pub(super) fn type_of(target: Target<'_>) -> Result<String, Error> {
    let (has, app, app_len, name, len) = target.flat();
    // SAFETY: pointers and lengths are of living strings; the host writes what the WIT says.
    unsafe { returned(|out| raw_type_of(has, app, app_len, name, len, out)) }
}

pub(super) fn start(target: Target<'_>, args: &[u8]) -> Result<Pending, Error> {
    let (has, app, app_len, name, len) = target.flat();
    let (args, args_len) = (args.as_ptr(), args.len());
    // SAFETY: as above.
    unsafe { returned(|out| raw_start(has, app, app_len, name, len, args, args_len, out)) }
        .map(Pending)
}

/// A call that is under way.
pub(super) struct Pending(RawHandle);

impl Pending {
    pub(super) fn get(&self) -> Result<Vec<u8>, Error> {
        // SAFETY: the handle is alive; the host writes what the WIT says.
        unsafe { returned(|out| raw_pending_get(self.0, out)) }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: the handle is alive until here.
        unsafe { raw_pending_drop(self.0) }
    }
}

pub(super) fn spawn(target: Target<'_>, args: &[u8]) -> Result<String, Error> {
    let (has, app, app_len, name, len) = target.flat();
    let (args, args_len) = (args.as_ptr(), args.len());
    // SAFETY: as in `type_of`.
    unsafe { returned(|out| raw_spawn(has, app, app_len, name, len, args, args_len, out)) }
}

pub(super) fn get(call: &str, timeout_ms: u64) -> Result<Option<Vec<u8>>, Error> {
    // SAFETY: as in `type_of`.
    unsafe { returned(|out| raw_get(call.as_ptr(), call.len(), timeout_ms, out)) }
}

pub(super) fn cancel(call: &str) -> Result<(), Error> {
    // SAFETY: as in `type_of`.
    unsafe { returned(|out| raw_cancel(call.as_ptr(), call.len(), out)) }
}

/// A map that is under way.
pub(super) struct Mapping(RawHandle);

impl Mapping {
    pub(super) fn open(
        target: Target<'_>,
        ordered: bool,
        return_errors: bool,
        max_parallel: u32,
    ) -> Result<Self, Error> {
        let (has, app, app_len, name, len) = target.flat();
        let (ordered, errors) = (i32::from(ordered), i32::from(return_errors));
        // SAFETY: as in `type_of`.
        let handle = unsafe {
            returned(|out| {
                raw_map(
                    has,
                    app,
                    app_len,
                    name,
                    len,
                    ordered,
                    errors,
                    max_parallel,
                    out,
                )
            })
        };
        handle.map(Self)
    }

    pub(super) fn push(&self, inputs: &[Vec<u8>]) -> Result<(), Error> {
        let pairs: Vec<[usize; 2]> = inputs
            .iter()
            .map(|input| [input.as_ptr().expose_provenance(), input.len()])
            .collect();
        // SAFETY: two words are laid out as the ABI's list; the inputs live until the call is over.
        unsafe { returned(|out| raw_mapping_push(self.0, pairs.as_ptr().cast(), pairs.len(), out)) }
    }

    pub(super) fn finish(&self) {
        // SAFETY: the handle is alive.
        unsafe { raw_mapping_finish(self.0) }
    }

    pub(super) fn next(&self, max: u32) -> Result<Vec<MapItem>, Error> {
        // SAFETY: the handle is alive; the host writes what the WIT says.
        unsafe { returned(|out| raw_mapping_next(self.0, max, out)) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the handle is alive until here.
        unsafe { raw_mapping_drop(self.0) }
    }
}
