//! What the attributes refuse: where, and with which words. One golden file for each kind of mistake.
//!
//! `TRYBUILD=overwrite cargo test -p lydian-macros --test refusals` writes them anew; read the difference.

#[test]
fn each_mistake_is_pointed_at_and_says_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/refusals/*.rs");
}
