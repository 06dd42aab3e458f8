//! Arithmetic: what fan-out tests call many times.

use std::hint::black_box;

wit_bindgen::generate!({
    inline: r#"
        package test:math;

        world math {
            /// x²; traps when it overflows.
            export square: func(x: u64) -> u64;
            /// x³; traps when it overflows.
            export cube: func(x: u64) -> u64;
            /// x after `rounds` of arithmetic: CPU time in proportion, some 1 ns each.
            export slow: func(x: u64, rounds: u64) -> u64;
            /// x, or an error when it is odd.
            export even: func(x: u64) -> result<u64, string>;
            /// x / y; traps when y is zero.
            export divide: func(x: u64, y: u64) -> u64;
        }
    "#,
});

struct Math;

export!(Math);

impl Guest for Math {
    fn square(x: u64) -> u64 {
        x.checked_mul(x).expect("the square does not fit u64")
    }

    fn cube(x: u64) -> u64 {
        Self::square(x)
            .checked_mul(x)
            .expect("the cube does not fit u64")
    }

    fn slow(x: u64, rounds: u64) -> u64 {
        (0..rounds).fold(x, |sum, round| black_box(sum.rotate_left(1) ^ round))
    }

    fn even(x: u64) -> Result<u64, String> {
        if x.is_multiple_of(2) {
            Ok(x)
        } else {
            Err(format!("{x} is odd"))
        }
    }

    fn divide(x: u64, y: u64) -> u64 {
        x / y
    }
}
