//! Functions that cannot be called from outside.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod generic {
    #[lydian::function]
    pub fn generic<T>(x: T) {}

    #[lydian::function]
    pub fn sized<const N: usize>(x: [u8; N]) {}

    #[lydian::function]
    pub fn borrowing<'a>(x: &'a str) {}

    #[lydian::function]
    pub unsafe fn risky() {}

    #[lydian::function]
    pub extern "C" fn foreign() {}

    #[lydian::function]
    pub fn pattern((a, b): (u32, u32)) {}

    #[lydian::function]
    pub fn twice(max_depth: u32, maxDepth: u32) {}

    #[lydian::function]
    pub fn größe() {}
}

#[lydian::app]
mod private {
    #[lydian::function]
    fn hidden() {}
}

#[lydian::app]
mod names {
    #[lydian::function]
    pub fn max_depth() {}

    #[lydian::function]
    pub fn maxDepth() {}
}

#[lydian::app]
mod many {
    #[lydian::function]
    pub fn thirteen(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8) {}
}

#[lydian::app]
mod hiding {
    #[lydian::function]
    pub fn char(x: u32) -> Option<char> {
        char::from_u32(x)
    }

    #[lydian::function]
    pub fn str(x: u32) {}

    #[lydian::function]
    pub fn u8(x: u8) {}
}

#[lydian::app]
mod hiding_classes {
    #[lydian::class]
    pub struct F32 {}

    impl F32 {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn get(&self) -> f32 {
            0.5
        }
    }
}

#[lydian::app]
mod app_of_its_own {
    const APP: &str = "mine";

    #[lydian::function]
    pub fn name() -> String {
        APP.to_owned()
    }
}

#[lydian::app]
mod digits {
    #[lydian::function]
    pub fn sha_256() {}

    #[lydian::function]
    pub fn sha256() {}
}

#[lydian::app]
mod acronyms {
    #[lydian::function]
    pub fn parse_XML() {}

    #[lydian::function]
    pub fn parse_xml() {}
}

fn main() {}
