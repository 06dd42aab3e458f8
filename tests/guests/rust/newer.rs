//! Types that came to WIT later: maps, lists of fixed length.

use std::collections::BTreeMap;

// What is generated for a map at the world's level expects it in scope.
use wit_bindgen::rt::WitMap;

wit_bindgen::generate!({
    inline: r#"
        package test:newer;

        world newer {
            export echo-map: func(x: map<string, u32>) -> map<string, u32>;
            export echo-fixed: func(x: list<u8, 4>) -> list<u8, 4>;
            export echo-matrix: func(x: list<list<f32, 2>, 2>) -> list<list<f32, 2>, 2>;
        }
    "#,
});

struct Newer;

export!(Newer);

impl Guest for Newer {
    fn echo_map(x: BTreeMap<String, u32>) -> BTreeMap<String, u32> {
        x
    }

    fn echo_fixed(x: [u8; 4]) -> [u8; 4] {
        x
    }

    fn echo_matrix(x: [[f32; 2]; 2]) -> [[f32; 2]; 2] {
        x
    }
}
