//! Work that takes a while: recorded when it is started, done whether or not anybody waits.
//!
//! ```sh
//! lydian run {{name}}::main 1000000     # src/main.rs, here; the counting runs in sandboxes
//! lydian deploy {{name}}
//! ```

#[lydian::app]
pub mod app {
    /// How many primes there are from `from` on and below `to`.
    #[lydian::function(timeout = "10m")]
    pub fn count(from: u64, to: u64) -> u64 {
        (from.max(2)..to).filter(|n| is_prime(*n)).count() as u64
    }

    fn is_prime(n: u64) -> bool {
        (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::app;

    #[test]
    fn primes_are_counted() {
        assert_eq!(app::count(0, 100), 25);
    }
}
