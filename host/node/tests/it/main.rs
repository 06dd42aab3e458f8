//! A real node on port 0, driven through the generated client, with components written as text.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests end where they fail"
)]

mod apps;
mod bad_input;
mod blobs;
mod calls;
mod cancel;
mod damage;
mod durable;
mod ephemeral;
mod faulty;
mod front;
mod guests;
mod harness;
mod hostile;
mod lifecycle;
mod map;
mod spawn;
