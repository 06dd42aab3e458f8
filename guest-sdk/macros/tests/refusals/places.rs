//! Attributes where they mean nothing.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::function]
pub fn alone() {}

#[lydian::app]
fn not_a_module() {}

#[lydian::app]
mod empty {}

#[lydian::app]
mod nested {
    #[lydian::app]
    mod inner {}
}

#[lydian::app]
mod local {
    #[lydian::local_entrypoint]
    fn main() {}
}

#[lydian::app]
mod data {
    #[lydian::function]
    pub struct Config {
        x: u32,
    }
}

#[lydian::local_entrypoint]
fn generic<T>(x: T) {}

#[lydian::local_entrypoint]
fn borrowing(x: &str) {}

#[lydian::local_entrypoint]
struct NotAFunction;

#[lydian::app]
mod deep {
    #[lydian::function]
    pub fn here() {}

    mod inner {
        #[lydian::function]
        pub fn below() {}
    }
}

fn main() {}
