//! Types that have no form in WIT.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod app {
    use std::collections::HashSet;
    use std::time::Duration;

    #[lydian::function]
    pub fn borrowed_text(text: &str) -> String {
        text.to_owned()
    }

    #[lydian::function]
    pub fn borrowed_list(list: &[u8]) {}

    #[lydian::function]
    pub fn borrowed_number(number: &u64) {}

    #[lydian::function]
    pub fn size(x: usize) {}

    #[lydian::function]
    pub fn signed_size() -> isize {
        0
    }

    #[lydian::function]
    pub fn wide(x: i128) {}

    #[lydian::function]
    pub fn unknown(x: Vec<Elsewhere>) {}

    #[lydian::function]
    pub fn function_pointer(f: fn(u32) -> u32) {}

    #[lydian::function]
    pub fn trait_object(x: Box<dyn Fn()>) {}

    #[lydian::function]
    pub fn plain_trait_object(x: Vec<Box<dyn Fn()>>) {}

    #[lydian::function]
    pub fn any_trait(x: impl Into<String>) {}

    #[lydian::function]
    pub fn boxed(x: Box<u8>) {}

    #[lydian::function]
    pub fn set(x: HashSet<String>) {}

    #[lydian::function]
    pub fn time(x: Duration) {}

    #[lydian::function]
    pub fn path(x: std::path::PathBuf) {}

    #[lydian::function]
    pub fn nothing(x: Option<()>) {}

    #[lydian::function]
    pub fn raw(x: *const u8) {}

    #[lydian::function]
    pub fn named_length(x: [u8; LENGTH]) {}

    const LENGTH: usize = 4;

    mod sdk {
        pub type Result<T> = std::result::Result<T, ()>;
        pub struct Stream<T>(T);
    }

    #[lydian::function]
    pub fn half_a_result() -> sdk::Result<u32> {
        unimplemented!()
    }

    #[lydian::function]
    pub fn inner_stream() -> Option<sdk::Stream<u32>> {
        None
    }

    #[lydian::function]
    pub fn perhaps_borrowed() -> std::borrow::Cow<'static, str> {
        "text".into()
    }

    #[lydian::function]
    pub fn any_error() -> std::result::Result<u32, Box<dyn std::error::Error>> {
        Ok(1)
    }

    #[lydian::function]
    pub fn io_error() -> std::result::Result<u32, std::io::Error> {
        Ok(1)
    }

    #[lydian::function]
    pub fn address(x: std::net::IpAddr) {}

    #[lydian::function]
    pub fn not_zero(x: std::num::NonZeroU32) {}

    #[lydian::function]
    pub fn boxed_iterator() -> Box<dyn Iterator<Item = u32>> {
        Box::new(0..3)
    }

    #[lydian::function]
    pub fn failing_stream() -> std::result::Result<sdk::Stream<u32>, String> {
        Err("none".to_owned())
    }

    type Result<T> = std::result::Result<T, String>;

    #[lydian::function]
    pub fn aliased() -> Result<u32> {
        Ok(1)
    }

    type Pair<T> = (T, T);

    #[lydian::function]
    pub fn pair(x: Pair<u32>) {}

    #[lydian::function]
    pub fn never() -> ! {
        loop {}
    }
}

fn main() {}
