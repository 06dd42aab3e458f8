//! Returns its argument: one function per WIT type, so that every type crosses in both directions.
//!
//! Interface `shapes` holds the named types, the world the anonymous ones.
#![allow(
    clippy::too_many_arguments,
    reason = "generated for the function with seventeen parameters"
)]

wit_bindgen::generate!({
    inline: r#"
        package test:echo;

        /// Every named kind of type.
        interface shapes {
            /// A point in the plane.
            record point {
                /// Metres to the right.
                x: s32,
                /// Metres upwards.
                y: s32,
            }
            record empty-text { text: string }
            /// A record of everything.
            record everything {
                flag: bool,
                small: u8,
                signed: s8,
                short: s16,
                wide: u64,
                ratio: f64,
                single: f32,
                letter: char,
                text: string,
                bytes: list<u8>,
                weights: list<f32>,
                where: point,
                colour: colour,
                shape: shape,
                rights: rights,
                maybe: option<string>,
                outcome: result<u32, string>,
                pair: tuple<u8, string>,
                nested: list<list<option<point>>>,
            }
            enum colour { red, green, blue }
            /// A shape, each case with another payload.
            variant shape {
                /// Nothing at all.
                nothing,
                circle(f64),
                square(u32),
                polygon(list<point>),
                named(tuple<string, colour>),
                wrapped(option<result<string, u8>>),
            }
            flags rights { read, write, execute }
            flags many {
                f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
            }

            echo-point: func(x: point) -> point;
            echo-everything: func(x: everything) -> everything;
            echo-everythings: func(x: list<everything>) -> list<everything>;
            echo-colour: func(x: colour) -> colour;
            echo-shape: func(x: shape) -> shape;
            echo-shapes: func(x: list<shape>) -> list<shape>;
            echo-rights: func(x: rights) -> rights;
            echo-many: func(x: many) -> many;
            echo-points: func(x: list<point>) -> list<point>;
            echo-colours: func(x: list<colour>) -> list<colour>;
        }

        world echo {
            export shapes;
            export echo-bool: func(x: bool) -> bool;
            export echo-s8: func(x: s8) -> s8;
            export echo-u8: func(x: u8) -> u8;
            export echo-s16: func(x: s16) -> s16;
            export echo-u16: func(x: u16) -> u16;
            export echo-s32: func(x: s32) -> s32;
            export echo-u32: func(x: u32) -> u32;
            export echo-s64: func(x: s64) -> s64;
            export echo-u64: func(x: u64) -> u64;
            export echo-f32: func(x: f32) -> f32;
            export echo-f64: func(x: f64) -> f64;
            export echo-char: func(x: char) -> char;
            export echo-string: func(x: string) -> string;
            export echo-strings: func(x: list<string>) -> list<string>;
            /// Bulk bytes.
            export echo-bytes: func(x: list<u8>) -> list<u8>;
            export echo-s16s: func(x: list<s16>) -> list<s16>;
            export echo-u32s: func(x: list<u32>) -> list<u32>;
            export echo-u64s: func(x: list<u64>) -> list<u64>;
            /// Bulk numbers.
            export echo-f32s: func(x: list<f32>) -> list<f32>;
            export echo-f64s: func(x: list<f64>) -> list<f64>;
            export echo-bools: func(x: list<bool>) -> list<bool>;
            export echo-chars: func(x: list<char>) -> list<char>;
            export echo-pairs: func(x: list<tuple<string, u64>>) -> list<tuple<string, u64>>;
            export echo-tuple: func(x: tuple<u8, string, f32>) -> tuple<u8, string, f32>;
            export echo-option: func(x: option<string>) -> option<string>;
            export echo-nested-option: func(x: option<option<u8>>) -> option<option<u8>>;
            export echo-result: func(x: result<string, u32>) -> result<string, u32>;
            export echo-bare-result: func(x: result) -> result;
            export echo-nested: func(x: list<list<list<u16>>>) -> list<list<list<u16>>>;
            /// Seventeen parameters: more than fit in core parameters.
            export echo-wide: func(
                a: u8, b: u16, c: u32, d: u64, e: s8, f: s16, g: s32, h: s64, i: f32, j: f64, k: bool,
                l: char, m: string, n: list<u8>, o: option<u32>, p: tuple<u8, u8>, q: result<u8, u8>,
            ) -> string;
            export nothing: func();
            export no-result: func(x: string);
            export no-argument: func() -> string;
        }
    "#,
});

use exports::test::echo::shapes;

struct Echo;

export!(Echo);

/// One function that returns its argument, for each name and type.
macro_rules! echo {
    ($($name:ident: $ty:ty,)*) => { $(fn $name(x: $ty) -> $ty { x })* };
}

impl shapes::Guest for Echo {
    echo! {
        echo_point: shapes::Point,
        echo_everything: shapes::Everything,
        echo_everythings: Vec<shapes::Everything>,
        echo_colour: shapes::Colour,
        echo_shape: shapes::Shape,
        echo_shapes: Vec<shapes::Shape>,
        echo_rights: shapes::Rights,
        echo_many: shapes::Many,
        echo_points: Vec<shapes::Point>,
        echo_colours: Vec<shapes::Colour>,
    }
}

impl Guest for Echo {
    echo! {
        echo_bool: bool,
        echo_s8: i8,
        echo_u8: u8,
        echo_s16: i16,
        echo_u16: u16,
        echo_s32: i32,
        echo_u32: u32,
        echo_s64: i64,
        echo_u64: u64,
        echo_f32: f32,
        echo_f64: f64,
        echo_char: char,
        echo_string: String,
        echo_strings: Vec<String>,
        echo_bytes: Vec<u8>,
        echo_s16s: Vec<i16>,
        echo_u32s: Vec<u32>,
        echo_u64s: Vec<u64>,
        echo_f32s: Vec<f32>,
        echo_f64s: Vec<f64>,
        echo_bools: Vec<bool>,
        echo_chars: Vec<char>,
        echo_pairs: Vec<(String, u64)>,
        echo_tuple: (u8, String, f32),
        echo_option: Option<String>,
        echo_nested_option: Option<Option<u8>>,
        echo_result: Result<String, u32>,
        echo_bare_result: Result<(), ()>,
        echo_nested: Vec<Vec<Vec<u16>>>,
    }

    #[rustfmt::skip]
    fn echo_wide(
        a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64, i: f32, j: f64, k: bool,
        l: char, m: String, n: Vec<u8>, o: Option<u32>, p: (u8, u8), q: Result<u8, u8>,
    ) -> String {
        format!("{a} {b} {c} {d} {e} {f} {g} {h} {i} {j} {k} {l} {m} {n:?} {o:?} {p:?} {q:?}")
    }

    fn nothing() {}

    fn no_result(x: String) {
        println!("{x}");
    }

    fn no_argument() -> String {
        "nothing in".into()
    }
}
