//! The shortest function: a string in, a string out.
//!
//! ```sh
//! lydian run examples/hello World
//! lydian run examples/hello --help     # what is written about the function, and what it takes
//! ```

#[lydian::app]
pub mod app {
    /// Greets someone.
    #[lydian::function]
    pub fn hello(name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[cfg(test)]
mod tests {
    use super::app;

    /// A function is a function: its own tests need no sandbox.
    #[test]
    fn greets_by_name() {
        assert_eq!(app::hello("World".into()), "Hello, World!");
    }
}
