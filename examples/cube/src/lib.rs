//! The other half of the pair that `examples/square` opens: it calls the app `square`.
//!
//! ```sh
//! lydian deploy examples/square
//! lydian deploy examples/cube
//! lydian run cube::cube 12
//! ```
//!
//! The call stays on the node. It has the deadline and the trace of the call that led to it, and nothing of what
//! `cube` is allowed: `square` has the grants of its own deployment.

#[lydian::app]
pub mod app {
    use lydian::Function;

    /// x³, or a sentence when it does not fit.
    #[lydian::function]
    pub async fn cube(x: u64) -> Result<u64, String> {
        let square = Function::lookup("square", "square");
        let squared: Result<u64, String> = square.remote((x,)).await?;
        squared?
            .checked_mul(x)
            .ok_or_else(|| format!("{x} cubed does not fit in 64 bits"))
    }
}
