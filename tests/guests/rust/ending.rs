//! Every way in which a call can end badly, or early.

wit_bindgen::generate!({
    inline: r#"
        package test:ending;

        world ending {
            /// Leaves with an exit status; 0 is success.
            export exit-with: func(status: u8);
            /// Panics with a message.
            export panic: func(message: string);
            /// Panics three named functions down, for the backtrace.
            export panic-deep: func();
            export trap: func();
            export abort-now: func();
            /// Reads outside its memory.
            export out-of-bounds: func() -> u8;
            export divide-by-zero: func(x: s32) -> s32;
            /// A result of the function's own.
            export err: func(message: string) -> result<string, string>;
            export ok: func(message: string) -> result<string, string>;
            /// How often this instance was called: 1 in a fresh sandbox.
            export calls: func() -> u32;
        }
    "#,
});

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

struct Ending;

export!(Ending);

#[inline(never)]
fn outer_frame(message: &str) {
    middle_frame(black_box(message));
}

#[inline(never)]
fn middle_frame(message: &str) {
    inner_frame(black_box(message));
}

#[inline(never)]
fn inner_frame(message: &str) {
    panic!("{}", black_box(message));
}

impl Guest for Ending {
    fn exit_with(status: u8) {
        wasip2::cli::exit::exit_with_code(status);
    }

    fn panic(message: String) {
        panic!("{message}");
    }

    fn panic_deep() {
        outer_frame("three frames down");
    }

    fn trap() {
        core::arch::wasm32::unreachable();
    }

    fn abort_now() {
        std::process::abort();
    }

    fn out_of_bounds() -> u8 {
        let far = black_box(usize::MAX - 8) as *const u8;
        // SAFETY: none; the read traps, which is what this function is for.
        unsafe { far.read_volatile() }
    }

    fn divide_by_zero(x: i32) -> i32 {
        black_box(x) / black_box(0)
    }

    fn err(message: String) -> Result<String, String> {
        Err(message)
    }

    fn ok(message: String) -> Result<String, String> {
        Ok(message)
    }

    fn calls() -> u32 {
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    }
}
