//! The shortest function: a string in, a string out.
//!
//! ```sh
//! lydian run examples/hello World
//! ```
//!
//! The contract is `wit/world.wit`; `lydian run examples/hello --help` shows what it asks for. The crate is an
//! ordinary library, built with `cargo build --target wasm32-wasip2`; it knows nothing of Lydian.

wit_bindgen::generate!();

struct Hello;

export!(Hello);

impl Guest for Hello {
    fn hello(name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[cfg(test)]
mod tests {
    use super::{Guest, Hello};

    /// A function of a component is a function: its own tests need no sandbox.
    #[test]
    fn greets_by_name() {
        assert_eq!(Hello::hello("World".into()), "Hello, World!");
    }
}
