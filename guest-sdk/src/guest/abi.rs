//! Values in a component's own memory: the layout and the flat form of the canonical ABI.
//!
//! Numbers and lists of numbers are taken as they are, without a copy; a list of anything else is built item by item.
//! Structs and enums get their implementation from the macros in `derive.rs`.
//!
//! Flat values, which the ABI spreads over core parameters, are read from an array of 64-bit slots: each core value is
//! widened without change of its bits, which is also how the ABI joins the cases of a variant.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::mem::ManuallyDrop;

/// A Rust type with a place in the canonical ABI.
///
/// # Safety
/// `SIZE`, `ALIGN` and `FLAT` are those of the WIT type the app's world gives it, and [`store`](Abi::store) writes
/// exactly what [`load`](Abi::load) reads: the host reads and writes by the same rules.
pub unsafe trait Abi: Sized {
    /// Bytes in memory.
    const SIZE: usize;
    /// Alignment in memory.
    const ALIGN: usize;
    /// Core values when it is flat.
    const FLAT: usize;
    /// Whether Rust's own layout is the ABI's, so that a list of it needs no conversion.
    const SAME: bool = false;

    /// Writes it to memory; what it owned belongs to the memory now.
    ///
    /// # Safety
    /// `to` is valid for `SIZE` bytes and aligned to `ALIGN`.
    unsafe fn store(self, to: *mut u8);

    /// Takes it from memory, with everything it owns.
    ///
    /// # Safety
    /// `from` holds a value that the host or [`store`](Abi::store) wrote, and that nobody takes a second time.
    unsafe fn load(from: *const u8) -> Self;

    /// Takes it from core values.
    ///
    /// # Safety
    /// The slots at `from` hold such a value, which nobody takes a second time.
    unsafe fn lift(from: &mut Flat<'_>) -> Self;

    /// Makes core values of it.
    fn lower(self, to: &mut Lowered<'_>);
}

/// Core values that are read one after another.
#[derive(Debug)]
pub struct Flat<'a> {
    slots: &'a [u64],
    at: usize,
}

impl<'a> Flat<'a> {
    pub(crate) fn new(slots: &'a [u64]) -> Self {
        Self { slots, at: 0 }
    }

    fn next(&mut self) -> u64 {
        let slot = self.slots[self.at];
        self.at += 1;
        slot
    }

    /// Skips to the end of a variant, `flat` slots after its discriminant at `begin`.
    pub fn end(&mut self, begin: usize, flat: usize) {
        self.at = begin + flat;
    }

    /// Where the next value is read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The case of a variant.
    pub fn case(&mut self) -> u32 {
        self.next() as u32
    }
}

/// Core values that are written one after another.
#[derive(Debug)]
pub struct Lowered<'a> {
    slots: &'a mut [u64],
    at: usize,
}

impl<'a> Lowered<'a> {
    pub(crate) fn new(slots: &'a mut [u64]) -> Self {
        Self { slots, at: 0 }
    }

    fn push(&mut self, slot: u64) {
        self.slots[self.at] = slot;
        self.at += 1;
    }

    /// The case of a variant.
    pub fn case(&mut self, index: u32) {
        self.push(u64::from(index));
    }

    /// Where the next value is written.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Skips to the end of a variant; what it does not use is zero already.
    pub fn end(&mut self, begin: usize, flat: usize) {
        self.at = begin + flat;
    }
}

/// `at`, rounded up to a multiple of `align`.
pub const fn align_up(at: usize, align: usize) -> usize {
    at.next_multiple_of(align)
}

/// The larger one.
pub const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Bytes of the discriminant of a variant with so many cases.
pub const fn discriminant(cases: usize) -> usize {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// # Safety
/// `to` is valid for `size` bytes and aligned to them.
pub unsafe fn store_case(to: *mut u8, size: usize, index: u32) {
    // SAFETY: the caller's.
    unsafe {
        match size {
            1 => to.write(index as u8),
            2 => to.cast::<u16>().write(index as u16),
            _ => to.cast::<u32>().write(index),
        }
    }
}

/// # Safety
/// `from` holds a discriminant of `size` bytes.
pub unsafe fn load_case(from: *const u8, size: usize) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        match size {
            1 => u32::from(from.read()),
            2 => u32::from(from.cast::<u16>().read()),
            _ => from.cast::<u32>().read(),
        }
    }
}

/// The host checks every discriminant it passes on.
#[cold]
pub fn no_such_case() -> ! {
    std::process::abort()
}

macro_rules! plain {
    ($($rust:ty, $size:literal, $slot:ident => $lift:expr, $value:ident => $lower:expr;)*) => {
        $(
            // SAFETY: a number's size and alignment in the ABI are its size, which is Rust's on wasm32.
            unsafe impl Abi for $rust {
                const SIZE: usize = $size;
                const ALIGN: usize = $size;
                const FLAT: usize = 1;
                const SAME: bool = true;

                #[inline]
                unsafe fn store(self, to: *mut u8) {
                    // SAFETY: the caller's.
                    unsafe { to.cast::<$rust>().write(self) }
                }

                #[inline]
                unsafe fn load(from: *const u8) -> Self {
                    // SAFETY: the caller's; the host writes only 0 and 1 for a bool and only scalar values for a char.
                    unsafe { from.cast::<$rust>().read() }
                }

                #[inline]
                unsafe fn lift(from: &mut Flat<'_>) -> Self {
                    let $slot = from.next();
                    $lift
                }

                #[inline]
                fn lower(self, to: &mut Lowered<'_>) {
                    let $value = self;
                    to.push($lower);
                }
            }
        )*
    };
}

plain! {
    bool, 1, slot => slot as u32 != 0, value => u64::from(value);
    u8, 1, slot => slot as u8, value => u64::from(value);
    i8, 1, slot => slot as i8, value => u64::from(i32::from(value) as u32);
    u16, 2, slot => slot as u16, value => u64::from(value);
    i16, 2, slot => slot as i16, value => u64::from(i32::from(value) as u32);
    u32, 4, slot => slot as u32, value => u64::from(value);
    i32, 4, slot => slot as i32, value => u64::from(value as u32);
    u64, 8, slot => slot, value => value;
    i64, 8, slot => slot as i64, value => value as u64;
    f32, 4, slot => f32::from_bits(slot as u32), value => u64::from(value.to_bits());
    f64, 8, slot => f64::from_bits(slot), value => value.to_bits();
    // The host passes scalar values only.
    char, 4, slot => char::from_u32(slot as u32).unwrap_or_default(), value => u64::from(u32::from(value));
}

/// A pointer and a length, as lists and strings have them.
const PAIR: usize = 8;

unsafe fn store_pair(to: *mut u8, (pointer, len): (*mut u8, usize)) {
    // SAFETY: the caller's `to` has room for two words.
    unsafe {
        to.cast::<*mut u8>().write(pointer);
        to.add(4).cast::<usize>().write(len);
    }
}

unsafe fn load_pair(from: *const u8) -> (*mut u8, usize) {
    // SAFETY: the caller's `from` holds two words.
    unsafe {
        let pointer = from.cast::<*mut u8>().read();
        (pointer, from.add(4).cast::<usize>().read())
    }
}

/// Gives a vector's memory away.
fn into_raw<T>(items: Vec<T>) -> (*mut u8, usize) {
    let items = ManuallyDrop::new(items.into_boxed_slice());
    (items.as_ptr().cast::<u8>().cast_mut(), items.len())
}

fn lower_list<T: Abi>(items: Vec<T>) -> (*mut u8, usize) {
    if T::SAME {
        return into_raw(items);
    }
    let len = items.len();
    let buffer = allocate(T::SIZE * len, T::ALIGN);
    for (index, item) in items.into_iter().enumerate() {
        // SAFETY: the buffer has `len` places of `SIZE` bytes, aligned.
        unsafe { item.store(buffer.add(index * T::SIZE)) };
    }
    (buffer, len)
}

unsafe fn lift_list<T: Abi>((pointer, len): (*mut u8, usize)) -> Vec<T> {
    if len == 0 {
        return Vec::new();
    }
    if T::SAME {
        // SAFETY: the host had it allocated by `cabi_realloc`, which is Rust's allocator, with the layout of `[T]`.
        return unsafe { Vec::from_raw_parts(pointer.cast(), len, len) };
    }
    let mut items = Vec::with_capacity(len);
    for index in 0..len {
        // SAFETY: the list has `len` items.
        items.push(unsafe { T::load(pointer.add(index * T::SIZE)) });
    }
    // SAFETY: as above; its items are taken.
    unsafe { release(pointer, T::SIZE * len, T::ALIGN) };
    items
}

/// Memory of the guest's; what needs none gets a pointer that is aligned and never read.
fn allocate(size: usize, align: usize) -> *mut u8 {
    if size == 0 {
        return std::ptr::without_provenance_mut(align);
    }
    // Sizes come from values that are in memory already, so they are no larger than memory.
    let Ok(layout) = Layout::from_size_align(size, align) else {
        no_such_case()
    };
    // SAFETY: the layout has a size.
    let buffer = unsafe { alloc(layout) };
    if buffer.is_null() {
        handle_alloc_error(layout);
    }
    buffer
}

/// # Safety
/// Allocated with this size and alignment by Rust's allocator, and not used after.
pub(crate) unsafe fn release(pointer: *mut u8, size: usize, align: usize) {
    if size > 0
        && let Ok(layout) = Layout::from_size_align(size, align)
    {
        // SAFETY: the caller's.
        unsafe { dealloc(pointer, layout) };
    }
}

/// What is a pointer and a length in the ABI.
macro_rules! pair {
    ([$($generics:tt)*] $rust:ty, $value:ident => $into:expr, $pair:ident => $from:expr) => {
        // SAFETY: lists and strings are a pointer and a length, in memory and flat.
        unsafe impl<$($generics)*> Abi for $rust {
            const SIZE: usize = PAIR;
            const ALIGN: usize = 4;
            const FLAT: usize = 2;

            unsafe fn store(self, to: *mut u8) {
                let $value = self;
                // SAFETY: the caller's.
                unsafe { store_pair(to, $into) }
            }

            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller's.
                unsafe {
                    let $pair = load_pair(from);
                    $from
                }
            }

            unsafe fn lift(from: &mut Flat<'_>) -> Self {
                let pointer = std::ptr::with_exposed_provenance_mut(from.next() as usize);
                let $pair = (pointer, from.next() as usize);
                // SAFETY: the caller's.
                unsafe { $from }
            }

            fn lower(self, to: &mut Lowered<'_>) {
                let $value = self;
                let (pointer, len) = $into;
                to.push(pointer.expose_provenance() as u64);
                to.push(len as u64);
            }
        }
    };
}

pair!([T: Abi] Vec<T>, items => lower_list(items), pair => lift_list(pair));
// The host checks that strings are UTF-8.
pair!([] String, text => into_raw(text.into_bytes()), pair => String::from_utf8_unchecked(lift_list(pair)));
pair!([K: Abi + Ord, V: Abi] BTreeMap<K, V>,
    map => lower_list(map.into_iter().collect::<Vec<(K, V)>>()),
    pair => lift_list::<(K, V)>(pair).into_iter().collect());
pair!([K: Abi + Eq + Hash, V: Abi, S: BuildHasher + Default] HashMap<K, V, S>,
    map => lower_list(map.into_iter().collect::<Vec<(K, V)>>()),
    pair => lift_list::<(K, V)>(pair).into_iter().collect());

// SAFETY: a list of fixed length is its items, one after another.
unsafe impl<T: Abi, const N: usize> Abi for [T; N] {
    const SIZE: usize = T::SIZE * N;
    const ALIGN: usize = T::ALIGN;
    const FLAT: usize = T::FLAT * N;
    const SAME: bool = T::SAME;

    unsafe fn store(self, to: *mut u8) {
        for (index, item) in self.into_iter().enumerate() {
            // SAFETY: the caller's `to` has room for all.
            unsafe { item.store(to.add(index * T::SIZE)) };
        }
    }

    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's `from` holds all.
        std::array::from_fn(|index| unsafe { T::load(from.add(index * T::SIZE)) })
    }

    unsafe fn lift(from: &mut Flat<'_>) -> Self {
        // SAFETY: the caller's.
        std::array::from_fn(|_| unsafe { T::lift(from) })
    }

    fn lower(self, to: &mut Lowered<'_>) {
        self.into_iter().for_each(|item| item.lower(to));
    }
}

crate::__variant_abi!([T: Abi] Option<T> {
    0, (None), (), ();
    1, (Some(payload)), (payload), (T);
});
crate::__variant_abi!([T: Abi, E: Abi] Result<T, E> {
    0, (Ok(payload)), (payload), (T);
    1, (Err(payload)), (payload), (E);
});

macro_rules! tuples {
    ($($name:ident $index:tt),*) => {
        // SAFETY: a tuple is a record of its items.
        #[allow(unused_mut, unused_variables, unused_assignments, clippy::unused_unit, reason = "the empty tuple")]
        unsafe impl<$($name: Abi),*> Abi for ($($name,)*) {
            const ALIGN: usize = {
                let align = 1;
                $(let align = max(align, $name::ALIGN);)*
                align
            };
            const SIZE: usize = {
                let at = 0;
                $(let at = align_up(at, $name::ALIGN) + $name::SIZE;)*
                align_up(at, <Self as Abi>::ALIGN)
            };
            const FLAT: usize = 0 $(+ $name::FLAT)*;

            unsafe fn store(self, to: *mut u8) {
                let mut at = 0;
                $(
                    at = align_up(at, $name::ALIGN);
                    // SAFETY: the caller's `to` has room for all.
                    unsafe { self.$index.store(to.add(at)) };
                    at += $name::SIZE;
                )*
            }

            unsafe fn load(from: *const u8) -> Self {
                let mut at = 0;
                ($({
                    at = align_up(at, $name::ALIGN);
                    // SAFETY: the caller's `from` holds all.
                    let value = unsafe { $name::load(from.add(at)) };
                    at += $name::SIZE;
                    value
                },)*)
            }

            unsafe fn lift(from: &mut Flat<'_>) -> Self {
                // SAFETY: the caller's.
                ($(unsafe { $name::lift(from) },)*)
            }

            fn lower(self, to: &mut Lowered<'_>) {
                $(self.$index.lower(to);)*
            }
        }
    };
}

tuples!();
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
