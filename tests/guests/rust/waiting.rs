//! Waits: for a time, for ever, for very many things at once.

use wasip2::clocks::monotonic_clock::{now, subscribe_duration};
use wasip2::io::poll::{Pollable, poll};

wit_bindgen::generate!({
    inline: r#"
        package test:waiting;

        world waiting {
            /// Sleeps in the host; returns the nanoseconds that passed.
            export sleep-for: func(millis: u64) -> u64;
            /// Sleeps for ever.
            export sleep-for-ever: func();
            /// Waits for ever for input.
            export read-for-ever: func() -> u64;
            /// Polls `n` timers at once that never fire, `rounds` times with one that does.
            export poll-storm: func(n: u32, rounds: u32) -> u32;
            /// Polls the same timer, listed `n` times.
            export poll-same: func(n: u32) -> u32;
            /// Makes and awaits timers of no length, for ever.
            export zero-timers: func();
            /// The same with async waits, `n` at a time.
            export zero-timers-async: async func(n: u32);
            /// Polls nothing at all, which traps.
            export poll-nothing: func();
            /// An async sleep.
            export sleep-async: async func(millis: u64);
            /// The clock's steps, in nanoseconds, seen over many readings: the smallest that is not zero.
            export clock-step: func() -> u64;
        }
    "#,
});

struct Waiting;

export!(Waiting);

impl Guest for Waiting {
    fn sleep_for(millis: u64) -> u64 {
        let start = now();
        subscribe_duration(millis * 1_000_000).block();
        now() - start
    }

    fn sleep_for_ever() {
        subscribe_duration(u64::MAX).block();
    }

    fn read_for_ever() -> u64 {
        let input = wasip2::cli::stdin::get_stdin();
        input.blocking_read(1).map_or(0, |bytes| bytes.len() as u64)
    }

    fn poll_storm(n: u32, rounds: u32) -> u32 {
        let mut timers: Vec<Pollable> = (1..n).map(|_| subscribe_duration(u64::MAX)).collect();
        let mut fired = 0;
        for _ in 0..rounds {
            timers.push(subscribe_duration(0));
            fired += poll(&timers.iter().collect::<Vec<_>>()).len() as u32;
            timers.pop();
        }
        fired
    }

    fn poll_same(n: u32) -> u32 {
        let timer = subscribe_duration(0);
        poll(&vec![&timer; n as usize]).len() as u32
    }

    fn zero_timers() {
        loop {
            subscribe_duration(0).block();
        }
    }

    async fn zero_timers_async(n: u32) {
        for _ in 0..n {
            wit_bindgen::spawn_local(async {
                loop {
                    wasip3::clocks::monotonic_clock::wait_for(0).await;
                }
            });
        }
        wasip3::clocks::monotonic_clock::wait_for(u64::MAX).await;
    }

    fn poll_nothing() {
        poll(&[]);
    }

    async fn sleep_async(millis: u64) {
        wasip3::clocks::monotonic_clock::wait_for(millis * 1_000_000).await;
    }

    fn clock_step() -> u64 {
        let mut last = now();
        let steps = (0..100_000).filter_map(|_| {
            let step = now() - std::mem::replace(&mut last, now());
            (step > 0).then_some(step)
        });
        steps.min().unwrap_or(0)
    }
}
