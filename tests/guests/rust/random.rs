//! Asks for random numbers, some of them far too many.

wit_bindgen::generate!({
    inline: r#"
        package test:random;

        world random {
            /// `n` random bytes; returns how many came.
            export bytes: func(n: u64) -> u64;
            export insecure-bytes: func(n: u64) -> u64;
            /// Two numbers, which differ in every sandbox.
            export numbers: func() -> tuple<u64, u64>;
            /// The key of the standard library's hash maps, by the hash of nothing.
            export hash-seed: func() -> u64;
        }
    "#,
});

use std::hash::{BuildHasher, Hasher, RandomState};

use wasip2::random::{insecure, random};

struct Random;

export!(Random);

impl Guest for Random {
    fn bytes(n: u64) -> u64 {
        random::get_random_bytes(n).len() as u64
    }

    fn insecure_bytes(n: u64) -> u64 {
        insecure::get_insecure_random_bytes(n).len() as u64
    }

    fn numbers() -> (u64, u64) {
        (
            random::get_random_u64(),
            insecure::get_insecure_random_u64(),
        )
    }

    fn hash_seed() -> u64 {
        RandomState::new().build_hasher().finish()
    }
}
