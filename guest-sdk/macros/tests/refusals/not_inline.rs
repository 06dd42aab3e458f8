//! A module whose text is not there.
#![allow(dead_code, non_snake_case, unused_variables)]
use lydian_macros as lydian;

#[lydian::app]
mod elsewhere;

fn main() {}
