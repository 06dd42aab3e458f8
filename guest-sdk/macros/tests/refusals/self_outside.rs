//! `self` where there is no class.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod app {
    struct Model;

    impl Model {
        #[lydian::function]
        pub fn predict(&self) {}
    }
}

#[lydian::app]
mod methods {
    #[lydian::method]
    pub fn predict(x: u32) {}
}

fn main() {}
