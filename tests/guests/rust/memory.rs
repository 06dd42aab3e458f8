//! Takes memory: by growing, by touching, all at once or a little at a time.

use std::hint::black_box;

wit_bindgen::generate!({
    inline: r#"
        package test:memory;

        world memory {
            /// Allocates and touches `bytes`; returns how many it holds. Traps when they are refused.
            export fill: func(bytes: u64) -> u64;
            /// Asks for `pages` of 64 KiB at once; returns whether the host granted them.
            export grow: func(pages: u32) -> bool;
            /// Grows page by page until refused; returns the pages it holds then.
            export grow-until-refused: func() -> u32;
            /// Allocates until it traps.
            export bomb: func();
        }
    "#,
});

struct Memory;

export!(Memory);

fn grow(pages: usize) -> Option<usize> {
    let before = core::arch::wasm32::memory_grow::<0>(pages);
    (before != usize::MAX).then_some(before)
}

impl Guest for Memory {
    fn fill(bytes: u64) -> u64 {
        let block = vec![0xa5u8; bytes as usize];
        black_box(&block).len() as u64
    }

    fn grow(pages: u32) -> bool {
        grow(pages as usize).is_some()
    }

    fn grow_until_refused() -> u32 {
        while grow(1).is_some() {}
        core::arch::wasm32::memory_size::<0>() as u32
    }

    fn bomb() {
        let mut kept = Vec::new();
        loop {
            kept.push(vec![0xa5u8; 1 << 20]);
            black_box(&kept);
        }
    }
}
