//! A class: what is loaded once serves many calls.
//!
//! ```sh
//! lydian run {{name}}::score '[0.5, 2.0]'
//! lydian deploy {{name}}
//! ```

#[lydian::app]
pub mod app {
    /// A linear model.
    #[lydian::class(max_idle = "60s")]
    pub struct Model {
        weights: Vec<f64>,
    }

    impl Model {
        /// Once per instance, before its first call: the place for what takes long.
        #[lydian::enter]
        fn load() -> Self {
            Self {
                weights: vec![0.25, 1.5],
            }
        }

        /// The weighted sum of a point's coordinates.
        #[lydian::method]
        fn score(&self, point: Vec<f64>) -> Result<f64, String> {
            if point.len() != self.weights.len() {
                return Err(format!("a point has {} coordinates", self.weights.len()));
            }
            Ok(self.weights.iter().zip(&point).map(|(weight, x)| weight * x).sum())
        }
    }
}
