//! The guests that tests and benches run: components by name, and generators of ones that come in sizes.
//!
//! - [`guests`] holds one [`Guest`] per file in `guests/rust` and `guests/wat`; the build script builds them.
//! - [`examples`] holds one for each crate in the repository's `examples`.
//! - [`generate`] makes components whose harm is a number: how many instances, how deep a type, how large a
//!   function.
//!
//! The library knows nothing of the host, so any crate's tests can depend on it.

pub mod generate;

/// A component that was built with this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// Its file's name, without the ending.
    pub name: &'static str,
    /// Where the component lies.
    pub path: &'static str,
}

impl Guest {
    /// The component's bytes.
    ///
    /// # Panics
    /// When the file is gone; a test cannot go on without it.
    #[expect(clippy::panic, reason = "only tests call this")]
    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path)
            .unwrap_or_else(|error| panic!("guest `{}` at {}: {error}", self.name, self.path))
    }
}

/// One constant per guest, `HELLO` for `hello`.
pub mod guests {
    use super::Guest;

    include!(concat!(env!("OUT_DIR"), "/guests.rs"));
}

/// One constant per example, `HELLO` for `hello`.
pub mod examples {
    use super::Guest;

    include!(concat!(env!("OUT_DIR"), "/examples.rs"));
}
