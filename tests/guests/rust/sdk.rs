//! An app on the SDK that has every form of function and type. The tests take the same file as their client.

#[lydian::app(name = "sdk")]
pub mod app {
    use std::collections::{BTreeMap, HashMap};

    /// x².
    ///
    /// Wraps where it does not fit.
    #[lydian::function(timeout = "10s")]
    pub fn square(x: u64) -> u64 {
        x.wrapping_mul(x)
    }

    #[lydian::function]
    pub fn divide(a: u32, b: u32) -> Result<u32, String> {
        a.checked_div(b).ok_or_else(|| "by zero".to_owned())
    }

    /// `Err` without a word, and `Ok` without a value.
    #[lydian::function]
    #[allow(clippy::result_unit_err, reason = "the form is what is tested")]
    pub fn check(x: i8) -> Result<(), ()> {
        if x < 0 { Err(()) } else { Ok(()) }
    }

    #[lydian::function]
    pub async fn later(x: u64) -> u64 {
        x + 1
    }

    #[lydian::function]
    pub fn nothing() {}

    /// A parameter may have the function's own name.
    #[lydian::function]
    pub fn name(name: String) -> String {
        name
    }

    /// Of one whose export is asynchronous, too.
    #[lydian::function]
    pub async fn echoed(echoed: String) -> String {
        echoed
    }

    #[lydian::function]
    pub fn shout(text: String) -> String {
        text.to_uppercase()
    }

    /// Fails from 2 on.
    #[lydian::function]
    pub fn broken(x: u32) -> u32 {
        assert!(x < 2, "too large: {x}");
        x
    }

    /// What is drawn.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Shape {
        Empty,
        Circle(f64),
        Line(Point, Point),
        /// Somewhere.
        Text {
            at: Point,
            text: String,
            tags: Vec<String>,
        },
    }

    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        /// To the right.
        pub x: f64,
        pub y: f64,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Colour {
        Red,
        DarkBlue,
    }

    pub type Drawing = Vec<(Shape, Option<Colour>)>;

    #[lydian::function]
    pub fn echo(shape: Shape, colour: Option<Colour>) -> (Shape, Option<Colour>) {
        (shape, colour)
    }

    #[lydian::function]
    pub async fn echo_all(drawing: Drawing) -> Drawing {
        drawing
    }

    /// Every number, and what else is flat.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Flat {
        pub a: u8,
        pub b: i8,
        pub c: u16,
        pub d: i16,
        pub e: u32,
        pub f: i32,
        pub g: u64,
        pub h: i64,
        pub i: f32,
        pub j: f64,
        pub k: bool,
        pub l: char,
        pub m: Option<u8>,
        pub n: Result<f32, u64>,
        pub o: (i16, Option<f64>),
    }

    /// More flat values than a core function has parameters.
    #[lydian::function]
    pub fn echo_flat(flat: Flat, more: Vec<Flat>) -> (Flat, Vec<Flat>) {
        (flat, more)
    }

    #[lydian::function]
    pub async fn echo_flat_later(flat: Flat) -> Flat {
        flat
    }

    /// Nine parameters, each in its own core value.
    #[lydian::function]
    #[allow(clippy::too_many_arguments)]
    pub fn mixed(
        a: u8,
        b: i64,
        c: f32,
        d: f64,
        e: char,
        f: bool,
        g: Option<i32>,
        h: Result<f32, i64>,
        i: Colour,
    ) -> String {
        format!("{a} {b} {c} {d} {e} {f} {g:?} {h:?} {i:?}")
    }

    #[lydian::function]
    pub fn bytes(data: Vec<u8>) -> Vec<u8> {
        data
    }

    #[lydian::function]
    pub fn count(words: Vec<String>) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        for word in words {
            *counts.entry(word).or_default() += 1;
        }
        counts
    }

    #[lydian::function]
    pub fn sorted(map: BTreeMap<u32, char>, corners: [Point; 2]) -> (Vec<(u32, char)>, [Point; 2]) {
        (map.into_iter().collect(), corners)
    }

    #[lydian::function]
    pub fn numbers(n: u32) -> lydian::Stream<u32> {
        lydian::Stream::from_iter(0..n)
    }

    #[lydian::function]
    pub fn lines(n: u32) -> impl Iterator<Item = String> {
        (0..n).map(|n| format!("line {n}"))
    }

    /// Numbers without end from a source that does not wait but works, so many milliseconds for each: not as many as are
    /// written at once are made in its time.
    #[lydian::function(timeout = "10s")]
    pub fn slow(millis: u64) -> impl Iterator<Item = u32> {
        (0..).inspect(move |_| std::thread::sleep(std::time::Duration::from_millis(millis)))
    }

    /// Breaks at a number.
    #[lydian::function]
    pub fn breaks(at: u32, millis: u64) -> lydian::Stream<u32> {
        lydian::Stream::from_iter((0..).inspect(move |x| {
            std::thread::sleep(std::time::Duration::from_millis(millis));
            assert!(*x < at, "broken at {x}");
        }))
    }

    #[lydian::function]
    pub async fn countdown(from: u32) -> lydian::Stream<Point> {
        let mut left = from;
        lydian::Stream::unfold(async move || {
            left = left.checked_sub(1)?;
            Some(Point {
                x: f64::from(left),
                y: 0.0,
            })
        })
    }
}
