//! Leaves a pattern in its memory, and looks for one that another sandbox left.

wit_bindgen::generate!({
    inline: r#"
        package test:leftovers;

        world leftovers {
            /// Writes the pattern over `pages` fresh pages of memory, and over much of its stack.
            export plant: func(pattern: u64, pages: u32) -> u64;
            /// How often the pattern is found in all memory, `pages` fresh ones included, without the
            /// argument's own copies: `seed ^ key` is the pattern, so that it is never stored.
            export find: func(seed: u64, key: u64, pages: u32) -> u64;
            /// How many bytes of `pages` fresh pages are not zero.
            export not-zero: func(pages: u32) -> u64;
        }
    "#,
});

use std::hint::black_box;

const PAGE_BYTES: usize = 65536;

struct Leftovers;

export!(Leftovers);

/// The first address of fresh pages, or a trap when they are refused.
fn grow(pages: u32) -> usize {
    let before = core::arch::wasm32::memory_grow::<0>(pages as usize);
    assert_ne!(before, usize::MAX, "{pages} pages were refused");
    before * PAGE_BYTES
}

fn words(from: usize, to: usize) -> impl Iterator<Item = *mut u64> {
    (from.max(8)..to).step_by(8).map(|at| at as *mut u64)
}

fn memory_end() -> usize {
    core::arch::wasm32::memory_size::<0>() * PAGE_BYTES
}

#[inline(never)]
fn plant_on_stack(pattern: u64) {
    black_box([pattern; 4096]);
}

impl Guest for Leftovers {
    fn plant(pattern: u64, pages: u32) -> u64 {
        let start = grow(pages);
        for word in words(start, memory_end()) {
            // SAFETY: the pages were just granted, and nothing else lies in them.
            unsafe { word.write_volatile(pattern) };
        }
        plant_on_stack(pattern);
        u64::from(pages) * (PAGE_BYTES as u64 / 8)
    }

    fn find(seed: u64, key: u64, pages: u32) -> u64 {
        grow(pages);
        // SAFETY: every word lies inside the memory; reads are volatile, as other code may own them.
        words(8, memory_end())
            .filter(|word| unsafe { word.read_volatile() } ^ key == seed)
            .count() as u64
    }

    fn not_zero(pages: u32) -> u64 {
        let start = grow(pages);
        // SAFETY: the pages were just granted.
        words(start, memory_end())
            .map(|word| unsafe { word.read_volatile() })
            .filter(|word| *word != 0)
            .count() as u64
    }
}
