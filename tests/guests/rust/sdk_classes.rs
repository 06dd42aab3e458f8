//! An app on the SDK whose state outlives a call. The tests take the same file as their client.

#[lydian::app(name = "sdk-classes")]
pub mod app {
    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        pub x: f64,
        pub y: f64,
    }

    #[derive(Debug, Clone, PartialEq)]
    pub enum Shape {
        Empty,
        Line(Point, Point),
    }

    /// A class whose instances cannot be made.
    #[lydian::class]
    pub struct Broken {}

    impl Broken {
        #[lydian::enter]
        async fn load() -> Result<Self, String> {
            Err("there is no model".to_owned())
        }

        #[lydian::method]
        fn get(&self) -> u32 {
            0
        }
    }

    /// Adds up, through the class's own methods, called from outside.
    #[lydian::function]
    pub async fn through_the_class(by: u64) -> Result<u64, String> {
        Ok(tally::add::remote(by).await?)
    }

    /// A second class of the same app.
    #[lydian::class]
    pub struct Tally {
        least: u64,
    }

    impl Tally {
        #[lydian::enter]
        async fn load() -> Self {
            Self { least: 10 }
        }

        #[lydian::method]
        async fn add(&self, by: u64) -> u64 {
            self.least + by
        }

        #[lydian::method]
        fn place(&self, shape: Shape) -> Vec<Point> {
            match shape {
                Shape::Line(from, to) => vec![from, to],
                _ => Vec::new(),
            }
        }
    }

    /// Counts from ten.
    #[lydian::class(max_idle = "60s", max_calls = 1000)]
    pub struct Counter {
        count: u64,
    }

    impl Counter {
        #[lydian::enter]
        fn load() -> Result<Self, String> {
            Ok(Self { count: 10 })
        }

        /// Adds and answers the sum.
        #[lydian::method]
        fn add(&mut self, by: u64) -> u64 {
            self.count += by;
            self.count
        }

        #[lydian::method]
        async fn peek(&self) -> u64 {
            self.count
        }

        #[lydian::exit]
        fn leave(self) {
            eprintln!("left at {}", self.count);
        }
    }
}
