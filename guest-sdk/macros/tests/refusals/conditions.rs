//! `cfg` on what the WIT is derived from. On the app's module, and on what is not the app's, it means what it always means.
#![allow(dead_code, unexpected_cfgs, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod app {
    #[lydian::function]
    #[cfg(feature = "square")]
    pub fn square(x: u64) -> u64 {
        x * x
    }

    #[cfg(test)]
    mod tests {}

    #[cfg(test)]
    fn helper() {}
}

#[lydian::app]
mod types {
    #[lydian::function]
    pub fn parameter(#[cfg(feature = "square")] x: u64) {}

    pub struct Size {
        wide: u32,
        #[cfg(not(feature = "low"))]
        high: u32,
    }

    #[lydian::function]
    pub fn field(size: Size) {}

    #[cfg(not(feature = "low"))]
    pub struct High {
        high: u32,
    }

    #[lydian::function]
    pub fn structure(high: High) {}

    pub enum Colour {
        Red,
        #[cfg(not(feature = "red"))]
        Green,
    }

    #[lydian::function]
    pub fn case(colour: Colour) {}

    #[cfg(not(feature = "red"))]
    pub enum Green {
        Light,
    }

    #[lydian::function]
    pub fn enumeration(green: Green) {}
}

#[lydian::app]
mod classes {
    #[lydian::class]
    #[cfg(feature = "model")]
    pub struct Model {}

    #[lydian::class]
    pub struct Counter {}

    impl Counter {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        #[cfg(feature = "get")]
        fn get(&self) {}
    }
}

#[cfg(feature = "left-out")]
#[lydian::app]
mod left_out {}

fn main() {}
