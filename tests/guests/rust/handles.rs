//! Takes host resources and never gives them back.

use std::fs::File;

use wasip2::clocks::monotonic_clock::subscribe_duration;

wit_bindgen::generate!({
    inline: r#"
        package test:handles;

        world handles {
            /// Leaks `n` timers; returns how many it got. Traps when the table is full.
            export leak-pollables: func(n: u32) -> u32;
            /// Leaks `n` handles of stdout.
            export leak-streams: func(n: u32) -> u32;
            /// Leaks `n` open files of a path.
            export leak-files: func(path: string, n: u32) -> tuple<u32, option<string>>;
            /// Leaks stream and future pairs of its own, without the host.
            export leak-futures: func(n: u32) -> u32;
            /// Leaks header lists.
            export leak-fields: func(n: u32) -> u32;
            /// Takes and gives back `n` timers, one at a time: more than fit at once.
            export churn: func(n: u32) -> u32;
        }
    "#,
});

struct Handles;

export!(Handles);

/// Leaks what `take` returns up to `n` times, and tells at which it stopped and why.
fn leak<T, E: std::fmt::Debug>(n: u32, take: impl Fn() -> Result<T, E>) -> (u32, Option<String>) {
    for taken in 0..n {
        match take() {
            Ok(handle) => std::mem::forget(handle),
            Err(error) => return (taken, Some(format!("{error:?}"))),
        }
    }
    (n, None)
}

impl Guest for Handles {
    fn leak_pollables(n: u32) -> u32 {
        leak(n, || Ok::<_, ()>(subscribe_duration(u64::MAX))).0
    }

    fn leak_streams(n: u32) -> u32 {
        leak(n, || Ok::<_, ()>(wasip2::cli::stdout::get_stdout())).0
    }

    fn leak_files(path: String, n: u32) -> (u32, Option<String>) {
        leak(n, || File::open(&path))
    }

    fn leak_futures(n: u32) -> u32 {
        leak(n, || Ok::<_, ()>(wasip3::wit_stream::new::<u8>())).0
    }

    fn leak_fields(n: u32) -> u32 {
        leak(n, || Ok::<_, ()>(wasip2::http::types::Fields::new())).0
    }

    fn churn(n: u32) -> u32 {
        for _ in 0..n {
            drop(subscribe_duration(0));
        }
        n
    }
}
