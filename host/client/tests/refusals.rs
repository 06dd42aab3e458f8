//! What the macros refuse, and where they point: one golden file each.
//!
//! `TRYBUILD=overwrite cargo test -p lydian-client --test refusals` writes the `.stderr` files anew.

/// A refusal that points nowhere, or says nothing of a way out, is as bad as none.
#[test]
fn refusals_point_at_their_cause() {
    trybuild::TestCases::new().compile_fail("tests/refusals/*.rs");
}
