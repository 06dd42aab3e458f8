//! The guests themselves: each is what its file says, before any host runs it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests end where they fail"
)]

use std::fs;
use std::path::Path;

use lydian_tests::{generate, guests};

/// A guest that was left out of the build would make its tests vanish without a word.
#[test]
fn every_guest_is_built_and_is_webassembly() {
    assert!(
        guests::ALL.len() > 30,
        "only {} guests were built",
        guests::ALL.len()
    );
    for guest in guests::ALL {
        assert!(
            guest.bytes().starts_with(b"\0asm"),
            "guest `{}` is not WebAssembly",
            guest.name
        );
    }
}

/// A hostile guest that is refused for a slip in its text would prove nothing about the limit it is meant for.
#[test]
fn every_guest_is_valid_where_all_proposals_are_on() {
    for guest in guests::ALL {
        let mut validator =
            wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
        if let Err(error) = validator.validate_all(&guest.bytes()) {
            panic!("guest `{}`: {error}", guest.name);
        }
    }
}

/// A guest that no test of the host calls proves nothing, and rots.
#[test]
fn every_guest_has_a_test_of_the_host() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["tests/tests", "host"] {
        read_sources(&root.join(folder), &mut sources);
    }
    for guest in guests::ALL {
        let constant = format!("guests::{}", guest.name.to_uppercase().replace('-', "_"));
        assert!(sources.contains(&constant), "no test uses `{constant}`");
    }
}

fn read_sources(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Small guests start fast; one that grew tenfold has taken something in that it should not.
#[test]
fn the_smallest_guest_in_rust_stays_under_100_kb() {
    assert!(guests::HELLO.bytes().len() < 100_000);
}

/// The generators write text, so a slip shows only when it is assembled.
#[test]
fn generated_components_validate_at_small_and_larger_sizes() {
    for size in [1, 60] {
        for bytes in [
            generate::many_instances(size),
            generate::many_memories(size),
            generate::many_tables(size),
            generate::many_functions(size),
            generate::nested_blocks(size),
            generate::many_locals(size),
            generate::large_data(size),
            generate::nested_lists(size),
            generate::nested_options(size),
            generate::nested_components(size),
            generate::many_exports(size),
            generate::answer(size as u32),
        ] {
            let mut validator =
                wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
            validator.validate_all(&bytes).unwrap();
        }
    }
}
