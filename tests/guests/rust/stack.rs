//! Recursion: as deep as asked, or without end.

use std::hint::black_box;

wit_bindgen::generate!({
    inline: r#"
        package test:stack;

        world stack {
            /// Recurses `depth` times with a small frame and returns `depth`.
            export recurse: func(depth: u32) -> u32;
            /// Recurses until the stack is full.
            export overflow: func() -> u32;
            /// The same with large frames on the guest's own stack in memory.
            export overflow-shadow: func() -> u32;
        }
    "#,
});

struct Stack;

export!(Stack);

#[inline(never)]
fn down(depth: u32) -> u32 {
    if depth == 0 {
        0
    } else {
        black_box(down(black_box(depth - 1))) + 1
    }
}

#[inline(never)]
fn down_shadow(depth: u32) -> u32 {
    let frame = black_box([depth; 1024]);
    if frame[0] == u32::MAX {
        return 0;
    }
    down_shadow(frame[0].wrapping_add(1)) + black_box(frame)[1023]
}

impl Guest for Stack {
    fn recurse(depth: u32) -> u32 {
        down(depth)
    }

    fn overflow() -> u32 {
        down(u32::MAX)
    }

    fn overflow_shadow() -> u32 {
        down_shadow(0)
    }
}
