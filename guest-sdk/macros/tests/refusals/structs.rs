//! Structs and enums that are no records and no variants.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod app {
    pub struct Tuple(u32, u32);
    pub struct Unit;
    pub struct Empty {}
    pub struct Generic<T> {
        x: T,
    }
    pub struct Borrowing<'a> {
        x: &'a str,
    }
    pub struct Tree {
        children: Vec<Tree>,
    }
    pub struct Same {
        max_depth: u32,
        maxDepth: u32,
    }
    pub enum Nothing {}
    pub enum Odd {
        Empty(),
    }
    pub enum AlsoOdd {
        Empty {},
    }
    pub struct Inner {
        x: usize,
    }
    pub struct HTTPError {
        x: u32,
    }
    pub struct HttpError {
        x: u32,
    }

    #[lydian::function]
    pub fn tuple(x: Tuple) {}
    #[lydian::function]
    pub fn unit(x: Unit) {}
    #[lydian::function]
    pub fn empty(x: Empty) {}
    #[lydian::function]
    pub fn generic(x: Generic<u32>) {}
    #[lydian::function]
    pub fn borrowing(x: Borrowing<'static>) {}
    #[lydian::function]
    pub fn tree(x: Tree) {}
    #[lydian::function]
    pub fn same(x: Same) {}
    #[lydian::function]
    pub fn nothing(x: Nothing) {}
    #[lydian::function]
    pub fn odd(x: Odd) {}
    #[lydian::function]
    pub fn also_odd(x: AlsoOdd) {}
    #[lydian::function]
    pub fn inner(x: Inner) {}
    #[lydian::function]
    pub fn errors(x: HTTPError, y: HttpError) {}
}

fn main() {}
