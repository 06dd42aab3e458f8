//! Two app modules of one component, with types of the same names: one that is the same type, and one that each module's
//! class has for itself. The tests take the same file as their client.

#[lydian::app(name = "sdk-modules")]
pub mod left {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Size {
        pub wide: u32,
        pub high: u32,
    }

    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        pub x: f64,
    }

    #[lydian::function]
    pub fn widen(size: Size) -> Size {
        Size {
            wide: size.wide + 1,
            ..size
        }
    }

    #[lydian::class]
    pub struct Ruler {}

    impl Ruler {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn right_of(&self, point: Point) -> Point {
            Point { x: point.x + 0.5 }
        }
    }
}

#[lydian::app(name = "sdk-modules")]
pub mod right {
    /// What `left` has, too.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Size {
        pub wide: u32,
        pub high: u32,
    }

    /// Not what `left` has.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        pub name: String,
        pub tags: Vec<String>,
    }

    #[lydian::function]
    pub fn heighten(sizes: Vec<Size>) -> Vec<Size> {
        let higher = |size: Size| Size {
            high: size.high + 1,
            ..size
        };
        sizes.into_iter().map(higher).collect()
    }

    #[lydian::class]
    pub struct Index {}

    impl Index {
        #[lydian::enter]
        fn load() -> Self {
            Self {}
        }

        #[lydian::method]
        fn tagged(&self, point: Point) -> Point {
            let tags = vec![point.name.clone()];
            Point { tags, ..point }
        }
    }
}
