//! The other half of the pair that `examples/square` opens.
//!
//! ```sh
//! lydian deploy examples/cube
//! lydian run cube::cube 12
//! ```

wit_bindgen::generate!();

struct Cube;

export!(Cube);

impl Guest for Cube {
    fn cube(x: u64) -> Result<u64, String> {
        x.checked_pow(3)
            .ok_or_else(|| format!("{x} cubed does not fit in 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cube, Guest};

    #[test]
    fn cubes_what_fits_and_says_what_does_not() {
        assert_eq!(Cube::cube(12), Ok(1728));
        assert!(Cube::cube(1 << 22).unwrap_err().contains("does not fit"));
    }
}
