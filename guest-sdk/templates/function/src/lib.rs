//! One function.
//!
//! ```sh
//! lydian run {{name}}::greet World
//! lydian deploy {{name}}
//! ```

#[lydian::app]
pub mod app {
    /// Greets someone.
    #[lydian::function]
    pub fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[cfg(test)]
mod tests {
    use super::app;

    #[test]
    fn greets_by_name() {
        assert_eq!(app::greet("World".into()), "Hello, World!");
    }
}
