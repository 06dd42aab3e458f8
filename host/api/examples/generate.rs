//! Makes the checked-in code of `src/gen` from `proto/`. Needs no system `protoc`.
//!
//! `cargo run -p lydian-api --example generate`
//!
//! `tests/generated.rs` runs the same functions and compares, so a schema change without this command
//! fails the tests.

use std::error::Error;
use std::path::Path;

/// The schema, relative to `proto/`.
const SCHEMA: &str = "lydian/v1/lydian.proto";

/// What the generator writes into its folder, in the order of [`generate_into`].
pub(crate) const FILES: [&str; 2] = ["lydian.v1.rs", "lydian.v1.fds"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    generate_into(&folder)?;
    println!("wrote {} to src/gen", FILES.join(" and "));
    Ok(())
}

/// Writes [`FILES`] into `folder`: the Rust code, and the descriptor set that reflection serves.
///
/// # Errors
/// The schema does not parse, or the folder cannot be written.
pub(crate) fn generate_into(folder: &Path) -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_source_info(true);
    compiler.open_file(SCHEMA)?;
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(folder)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    // Reflection clients have no use for comments, which are half of the bytes.
    compiler.include_source_info(false);
    std::fs::write(folder.join(FILES[1]), compiler.encode_file_descriptor_set())?;
    Ok(())
}
