//! One app, several services: a module for each, a component for all.
//!
//! ```sh
//! lydian run examples/services --help                    # the functions of all modules
//! lydian run examples/services::report "$(cat README.md)"
//! ```
//!
//! What the services share (here [`text`]) is plain Rust. Each service has its own `#[lydian::app]` and may set limits
//! of its own; they are deployed, versioned and called together. `report` calls its neighbours on the node, each in a
//! sandbox of its own.

mod count;
mod report;
mod spell;
mod text;

pub use count::app as counting;
pub use report::app as reporting;
pub use spell::app as spelling;

#[cfg(test)]
mod tests {
    use super::{counting, spelling};

    #[test]
    fn services_are_tested_like_any_code() {
        assert_eq!(
            counting::words::local("one two one".into())[0],
            ("one".to_owned(), 2)
        );
        assert_eq!(spelling::doubled("it it is".into()), ["it"]);
    }
}
