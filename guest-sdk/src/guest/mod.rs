//! Inside a guest: values in its memory, what its exports share, classes, and calls to other functions.

mod abi;
mod calls;
mod class;
mod derive;
mod feed;
mod remote;

pub use abi::{
    Abi, Flat, Lowered, align_up, discriminant, load_case, max, no_such_case, store_case,
};
pub use class::{Class, Entering};
pub use feed::feed;
pub use remote::{
    BoxFuture, Handle, Local, Running, block_on, call, cancel, get, local, map, spawn,
};
pub use wit_bindgen::rt::async_support::{
    StreamVtable, TaskCancelOnDrop as Cancel, callback, start_task,
};

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use wit_bindgen::rt::async_support::{StreamReader, StreamWriter, stream_new};

/// What every export does first.
pub fn start() {
    wit_bindgen::rt::maybe_link_cabi_realloc();
    wit_bindgen::rt::run_ctors_once();
}

/// The parameters, from core values.
///
/// # Safety
/// The slots are what the host passed for a function with these parameters.
pub unsafe fn lift_args<A: Abi>(slots: &[u64]) -> A {
    // SAFETY: the caller's.
    unsafe { A::lift(&mut Flat::new(slots)) }
}

/// The parameters, from memory that the host had allocated for them.
///
/// # Safety
/// `at` is what the host passed for a function with these parameters.
pub unsafe fn load_args<A: Abi>(at: *mut u8) -> A {
    // SAFETY: the caller's; the memory was allocated by `cabi_realloc` with this layout and is not read again.
    unsafe {
        let args = A::load(at);
        abi::release(at, A::SIZE, A::ALIGN);
        args
    }
}

/// Where a result lies until the host has read it. A guest runs one call at a time, save for async exports, which do not
/// use it.
#[repr(C, align(8))]
pub struct Area<const WORDS: usize>(UnsafeCell<MaybeUninit<[u64; WORDS]>>);

// SAFETY: components have one thread.
unsafe impl<const WORDS: usize> Sync for Area<WORDS> {}

impl<const WORDS: usize> Area<WORDS> {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "only statics are made of it")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Stores a result and says where.
    pub fn store<R: Abi>(&'static self, result: R) -> *mut u8 {
        let at = self.0.get().cast::<u8>();
        // SAFETY: the area has `words::<R>()` words and the strictest alignment there is.
        unsafe { result.store(at) };
        at
    }
}

/// Words that hold a value.
pub const fn words<R: Abi>() -> usize {
    R::SIZE.div_ceil(8)
}

/// Frees what a stored value owns.
///
/// # Safety
/// `at` holds such a value, which is not used after.
pub unsafe fn free<R: Abi>(at: *mut u8) {
    // SAFETY: the caller's.
    drop(unsafe { R::load(at) });
}

/// A result of one core value.
pub fn lower_one<R: Abi>(result: R) -> u64 {
    let mut slot = [0];
    result.lower(&mut Lowered::new(&mut slot));
    slot[0]
}

/// Shows a result as core values, then frees what it owned.
///
/// # Safety
/// `N` is the number of core values of `R`.
pub unsafe fn with_lowered<R: Abi, const N: usize>(result: R, show: impl FnOnce(&[u64; N])) {
    let mut slots = [0; N];
    result.lower(&mut Lowered::new(&mut slots));
    show(&slots);
    // SAFETY: just lowered, and nobody else takes it: the host copies.
    drop(unsafe { R::lift(&mut Flat::new(&slots)) });
}

/// Shows where a result is stored, then frees it.
///
/// # Safety
/// `show` does not keep the pointer.
pub unsafe fn with_stored<R: Abi>(result: R, show: impl FnOnce(*mut u8)) {
    // A result is no larger than a few dozen words; the heap gives it the alignment.
    let mut area = vec![0u64; words::<R>()];
    let at = area.as_mut_ptr().cast::<u8>();
    // SAFETY: the area has the room and the alignment; the value is taken back once.
    unsafe {
        result.store(at);
        show(at);
        free::<R>(at);
    }
}

/// The layout of a stream's items.
pub const fn layout<T: Abi>() -> Layout {
    match Layout::from_size_align(T::SIZE, T::ALIGN) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<u64>(),
    }
}

/// How items get into memory; none when they are there as they are.
pub const fn lowering<T: Abi>() -> Option<unsafe fn(T, *mut u8)> {
    if T::SAME { None } else { Some(store::<T>) }
}

/// How they get out of it.
pub const fn lifting<T: Abi>() -> Option<unsafe fn(*mut u8) -> T> {
    if T::SAME { None } else { Some(load::<T>) }
}

/// How what they own is freed once they are sent.
pub const fn freeing<T: Abi>() -> Option<unsafe fn(*mut u8)> {
    if T::SAME { None } else { Some(free::<T>) }
}

unsafe fn store<T: Abi>(item: T, to: *mut u8) {
    // SAFETY: the caller's.
    unsafe { item.store(to) }
}

unsafe fn load<T: Abi>(from: *mut u8) -> T {
    // SAFETY: the caller's.
    unsafe { T::load(from) }
}

/// A new stream: the end that is fed, and the handle that is returned.
///
/// # Safety
/// The functions of `vtable` are the intrinsics of a stream of `T`.
pub unsafe fn new_stream<T: 'static>(vtable: &'static StreamVtable<T>) -> (StreamWriter<T>, u32) {
    // SAFETY: the caller's.
    let (writer, reader): (_, StreamReader<T>) = unsafe { stream_new(vtable) };
    (writer, reader.take_handle())
}
