//! Half of a pair: two apps, deployed apart, called one after the other (the other half is `examples/cube`).
//!
//! ```sh
//! lydian deploy examples/square
//! lydian deploy examples/cube
//! lydian run square::square 12
//! seq 0 999 | lydian map cube::cube --inputs -
//! ```
//!
//! Each app has its own versions: a new `cube` leaves `square` as it is. An `err` is a result like any other:
//! it is printed, and the exit status is 1.

wit_bindgen::generate!();

struct Square;

export!(Square);

impl Guest for Square {
    fn square(x: u64) -> Result<u64, String> {
        x.checked_pow(2)
            .ok_or_else(|| format!("{x} squared does not fit in 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Guest, Square};

    #[test]
    fn squares_what_fits_and_says_what_does_not() {
        assert_eq!(Square::square(12), Ok(144));
        assert!(
            Square::square(1 << 32)
                .unwrap_err()
                .contains("does not fit")
        );
    }
}
