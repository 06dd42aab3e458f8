//! Half of a pair: two apps, deployed apart, one of which calls the other (the other half is `examples/cube`).
//!
//! ```sh
//! lydian deploy examples/square
//! lydian deploy examples/cube
//! lydian run square::square 12
//! seq 0 999 | lydian map square::square --inputs -
//! ```
//!
//! Each app has its own versions: a new `cube` leaves `square` as it is. An `Err` is a result like any other:
//! it is printed, and the exit status is 1.

#[lydian::app]
pub mod app {
    /// x², or a sentence when it does not fit.
    #[lydian::function(timeout = "10s")]
    pub fn square(x: u64) -> Result<u64, String> {
        x.checked_pow(2)
            .ok_or_else(|| format!("{x} squared does not fit in 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::app::square;

    #[test]
    fn squares_what_fits_and_says_what_does_not() {
        assert_eq!(square::local(12), Ok(144));
        assert!(square(1 << 32).unwrap_err().contains("does not fit"));
    }
}
