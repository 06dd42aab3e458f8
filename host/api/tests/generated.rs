//! The checked-in code is what the generator makes of the schema.

#![allow(clippy::expect_used, reason = "tests end where they fail")]

#[path = "../examples/generate.rs"]
#[allow(dead_code, reason = "the example's `main` is not called here")]
mod generate;

use std::path::Path;

/// A schema edited without running the generator would otherwise be noticed only by a client.
#[test]
fn checked_in_files_match_the_schema() {
    let made = tempfile::tempdir().expect("a temporary folder");
    generate::generate_into(made.path()).expect("the schema generates");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    for file in generate::FILES {
        let made = std::fs::read(made.path().join(file)).expect("a generated file");
        let kept = std::fs::read(kept.join(file)).unwrap_or_default();
        assert!(
            made == kept,
            "{file} is stale: run `cargo run -p lydian-api --example generate`"
        );
    }
}
