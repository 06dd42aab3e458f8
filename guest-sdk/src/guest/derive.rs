//! How structs and enums get their [`Abi`](super::Abi): two macros that the app attribute calls for each.

/// Implements [`Abi`] for a struct: a record of its fields, in their order.
#[doc(hidden)]
#[macro_export]
macro_rules! __record_abi {
    ($name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        // SAFETY: fields of a record stand one after another, each at its alignment.
        unsafe impl $crate::__rt::guest::Abi for $name {
            const ALIGN: usize = {
                let align = 1;
                $(let align = $crate::__rt::guest::max(align, <$ty as $crate::__rt::guest::Abi>::ALIGN);)*
                align
            };
            const SIZE: usize = {
                let at = 0;
                $(
                    let at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN)
                        + <$ty as $crate::__rt::guest::Abi>::SIZE;
                )*
                $crate::__rt::guest::align_up(at, <Self as $crate::__rt::guest::Abi>::ALIGN)
            };
            const FLAT: usize = 0 $(+ <$ty as $crate::__rt::guest::Abi>::FLAT)*;

            unsafe fn store(self, to: *mut u8) {
                let at = 0;
                $(
                    let at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN);
                    // SAFETY: the caller's; each part lies where the ABI puts it.
                    unsafe { $crate::__rt::guest::Abi::store(self.$field, to.add(at)) };
                    let at = at + <$ty as $crate::__rt::guest::Abi>::SIZE;
                )*
                let _ = at;
            }

            unsafe fn load(from: *const u8) -> Self {
                let mut at = 0;
                let value = Self { $($field: {
                    at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN);
                    // SAFETY: the caller's; each part lies where the ABI puts it.
                    let value = unsafe { <$ty as $crate::__rt::guest::Abi>::load(from.add(at)) };
                    at += <$ty as $crate::__rt::guest::Abi>::SIZE;
                    value
                }),* };
                let _ = at;
                value
            }

            unsafe fn lift(from: &mut $crate::__rt::guest::Flat<'_>) -> Self {
                // SAFETY: the caller's; each part lies where the ABI puts it.
                Self { $($field: unsafe { <$ty as $crate::__rt::guest::Abi>::lift(from) }),* }
            }

            fn lower(self, to: &mut $crate::__rt::guest::Lowered<'_>) {
                $($crate::__rt::guest::Abi::lower(self.$field, to);)*
            }
        }
    };
}

/// Implements [`Abi`] for an enum. Each case is its index, the case as pattern and expression, and the names and types of
/// what it carries.
#[doc(hidden)]
#[macro_export]
macro_rules! __variant_abi {
    ([$($generics:tt)*] $name:ty { $($index:literal, ($($case:tt)*), ($($bound:ident),*), ($($ty:ty),*);)* }) => {
        // SAFETY: a discriminant, then the largest payload at the strictest alignment.
        unsafe impl<$($generics)*> $crate::__rt::guest::Abi for $name {
            const ALIGN: usize = {
                let align = $crate::__rt::guest::discriminant([$($index as u32),*].len());
                $($(let align = $crate::__rt::guest::max(align, <$ty as $crate::__rt::guest::Abi>::ALIGN);)*)*
                align
            };
            const SIZE: usize = {
                let tag = $crate::__rt::guest::discriminant([$($index as u32),*].len());
                let align = 1;
                $($(let align = $crate::__rt::guest::max(align, <$ty as $crate::__rt::guest::Abi>::ALIGN);)*)*
                let begin = $crate::__rt::guest::align_up(tag, align);
                let most = 0;
                $(
                    let at = 0;
                    $(
                        let at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN)
                            + <$ty as $crate::__rt::guest::Abi>::SIZE;
                    )*
                    let most = $crate::__rt::guest::max(most, at);
                )*
                $crate::__rt::guest::align_up(begin + most, <Self as $crate::__rt::guest::Abi>::ALIGN)
            };
            const FLAT: usize = {
                let most = 0;
                $(let most = $crate::__rt::guest::max(most, 0 $(+ <$ty as $crate::__rt::guest::Abi>::FLAT)*);)*
                1 + most
            };

            unsafe fn store(self, to: *mut u8) {
                let tag = $crate::__rt::guest::discriminant([$($index as u32),*].len());
                let align = 1;
                $($(let align = $crate::__rt::guest::max(align, <$ty as $crate::__rt::guest::Abi>::ALIGN);)*)*
                // SAFETY: the caller's; each part lies where the ABI puts it.
                let payload = unsafe { to.add($crate::__rt::guest::align_up(tag, align)) };
                match self {
                    $($($case)* => {
                        // SAFETY: the caller's; each part lies where the ABI puts it.
                        unsafe { $crate::__rt::guest::store_case(to, tag, $index) };
                        let at = 0;
                        $(
                            let at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN);
                            // SAFETY: the caller's; each part lies where the ABI puts it.
                            unsafe { $crate::__rt::guest::Abi::store($bound, payload.add(at)) };
                            let at = at + <$ty as $crate::__rt::guest::Abi>::SIZE;
                        )*
                        let _ = (at, payload);
                    })*
                }
            }

            unsafe fn load(from: *const u8) -> Self {
                let tag = $crate::__rt::guest::discriminant([$($index as u32),*].len());
                let align = 1;
                $($(let align = $crate::__rt::guest::max(align, <$ty as $crate::__rt::guest::Abi>::ALIGN);)*)*
                // SAFETY: the caller's; each part lies where the ABI puts it.
                let payload = unsafe { from.add($crate::__rt::guest::align_up(tag, align)) };
                // SAFETY: the caller's; each part lies where the ABI puts it.
                match unsafe { $crate::__rt::guest::load_case(from, tag) } {
                    $($index => {
                        let at = 0;
                        $(
                            let at = $crate::__rt::guest::align_up(at, <$ty as $crate::__rt::guest::Abi>::ALIGN);
                            // SAFETY: the caller's; each part lies where the ABI puts it.
                            let $bound = unsafe { <$ty as $crate::__rt::guest::Abi>::load(payload.add(at)) };
                            let at = at + <$ty as $crate::__rt::guest::Abi>::SIZE;
                        )*
                        let _ = (at, payload);
                        $($case)*
                    })*
                    _ => $crate::__rt::guest::no_such_case(),
                }
            }

            unsafe fn lift(from: &mut $crate::__rt::guest::Flat<'_>) -> Self {
                let begin = from.position();
                let value = match from.case() {
                    $($index => {
                        // SAFETY: the caller's; each part lies where the ABI puts it.
                        $(let $bound = unsafe { <$ty as $crate::__rt::guest::Abi>::lift(from) };)*
                        $($case)*
                    })*
                    _ => $crate::__rt::guest::no_such_case(),
                };
                from.end(begin, <Self as $crate::__rt::guest::Abi>::FLAT);
                value
            }

            fn lower(self, to: &mut $crate::__rt::guest::Lowered<'_>) {
                let begin = to.position();
                match self {
                    $($($case)* => {
                        to.case($index);
                        $($crate::__rt::guest::Abi::lower($bound, to);)*
                    })*
                }
                to.end(begin, <Self as $crate::__rt::guest::Abi>::FLAT);
            }
        }
    };
    ($name:ident { $($cases:tt)* }) => {
        $crate::__variant_abi!([] $name { $($cases)* });
    };
}
