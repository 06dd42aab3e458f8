//! One app on threads of this process: every form of call, typed.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests end where they fail; an app's functions are public"
)]

use lydian::{Backend, ErrorKind, with_backend};
use std::time::Duration;

#[lydian::app(name = "shapes")]
mod app {
    use std::collections::{BTreeMap, HashMap};

    /// x².
    #[lydian::function(timeout = "10s")]
    pub fn square(x: u64) -> u64 {
        x * x
    }

    #[lydian::function]
    pub fn divide(a: u32, b: u32) -> Result<u32, String> {
        a.checked_div(b).ok_or_else(|| "by zero".to_owned())
    }

    #[lydian::function]
    pub async fn later(x: u64) -> u64 {
        x + 1
    }

    #[lydian::function]
    pub fn nothing() {}

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
        Text {
            at: Point,
            text: String,
            tags: Vec<String>,
        },
    }

    #[derive(Debug, Clone, PartialEq)]
    pub struct Point {
        pub x: f64,
        pub y: f64,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Colour {
        Red,
        DarkBlue,
    }

    #[lydian::function]
    pub fn echo(shape: Shape, colour: Option<Colour>) -> (Shape, Option<Colour>) {
        (shape, colour)
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
    pub fn sorted(map: BTreeMap<u32, char>, corners: [Point; 2]) -> Vec<(u32, char)> {
        let _ = corners;
        map.into_iter().collect()
    }

    #[lydian::function]
    pub fn numbers(n: u32) -> lydian::Stream<u32> {
        lydian::Stream::from_iter(0..n)
    }

    #[lydian::function]
    pub fn lines(n: u32) -> impl Iterator<Item = String> {
        (0..n).map(|n| format!("line {n}"))
    }

    #[lydian::class(max_idle = "60s")]
    pub struct Counter {
        count: u64,
    }

    impl Counter {
        #[lydian::enter]
        fn load() -> Result<Self, String> {
            Ok(Self { count: 10 })
        }

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
        fn leave(self) {}
    }
}

use app::{Colour, Point, Shape};

async fn on_threads<T>(work: impl Future<Output = lydian::Result<T>>) -> T {
    with_backend(Backend::native(), work).await.unwrap()
}

#[tokio::test]
async fn one_call_in_each_form() {
    on_threads(async {
        assert_eq!(app::square(4), 16);
        assert_eq!(app::square::local(4), 16);
        assert_eq!(app::square::remote(4).await?, 16);
        assert_eq!(app::later::local(1).await, 2);
        assert_eq!(app::later::remote(1).await?, 2);
        assert_eq!(app::divide::remote(6, 3).await?, Ok(2));
        assert_eq!(app::divide::remote(1, 0).await?, Err("by zero".to_owned()));
        app::nothing::remote().await?;
        let text = Shape::Text {
            at: Point { x: 1.0, y: 2.0 },
            text: "hi".into(),
            tags: vec!["a".into()],
        };
        let echoed = app::echo::remote(text.clone(), Some(Colour::DarkBlue)).await?;
        assert_eq!(echoed, (text, Some(Colour::DarkBlue)));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn maps_are_ordered_unless_told_otherwise() {
    on_threads(async {
        let squares = app::square::map(0..50).await?;
        assert_eq!(squares[49], 49 * 49);
        let mut squares = app::square::map(0..50).unordered().await?;
        squares.sort_unstable();
        assert_eq!(squares[1], 1);
        let quotients = app::divide::starmap([(4, 2), (1, 0)]).await?;
        assert_eq!(quotients, [Ok(2), Err("by zero".to_owned())]);
        assert_eq!(app::square::for_each(0..5).await?, 5);
        assert!(app::square::map(Vec::new()).await?.is_empty());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_failure_ends_a_map_or_is_among_its_results() {
    on_threads(async {
        let error = app::broken::map(0..4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.message().contains("too large: 2"), "{error}");
        let outcomes = app::broken::map(0..4).return_errors().await?;
        let good: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, true, false, false]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_recorded_call_is_found_by_its_id() {
    on_threads(async {
        let call = app::square::spawn(5).await?;
        assert_eq!(call.get(Duration::from_secs(5)).await?, 25);
        let again = lydian::Call::<u64>::from_id(call.id()).await?;
        assert_eq!(again.poll().await?, Some(25));
        let nobodys = lydian::Call::<u64>::from_id("nobody's").await?;
        assert_eq!(
            nobodys.get(None).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn streams_come_item_by_item() {
    on_threads(async {
        let mut numbers = app::numbers::remote(3).await?;
        let mut all = Vec::new();
        while let Some(number) = numbers.next().await {
            all.push(number?);
        }
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(app::lines::local(2).next().await, Some("line 0".to_owned()));
        Ok(())
    })
    .await;
}

/// An instance keeps its state between calls, and one that panicked is never used again.
#[tokio::test]
async fn a_class_keeps_its_state() {
    on_threads(async {
        let first = app::counter::add::remote(1).await?;
        let second = app::counter::add::remote(1).await?;
        assert_eq!((first, second), (11, 12));
        assert_eq!(app::counter::peek::remote().await?, 12);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn other_apps_are_found_once_they_are_added() {
    let threads = Backend::native().with_app(app::APP);
    with_backend(threads, async {
        let square = lydian::Function::lookup("shapes", "square");
        assert_eq!(square.remote::<_, u64>((4u64,)).await.unwrap(), 16);
        let add = lydian::Function::lookup("shapes", "nobody");
        let error = add.remote::<_, u64>((4u64,)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hints()[0].contains("square"), "{error:#}");
    })
    .await;
    let error = with_backend(Backend::native(), async {
        lydian::Function::lookup("shapes", "square")
            .remote::<_, u64>((4u64,))
            .await
            .unwrap_err()
    })
    .await;
    assert!(error.hints()[0].contains("with_app"), "{error:#}");
}

/// The same calls without `async`; inside it, too, where they hold up their own thread only.
#[test]
fn blocking_forms_need_no_runtime() {
    lydian::set_backend(Backend::native());
    assert_eq!(app::square::remote_blocking(4).unwrap(), 16);
    assert_eq!(app::square::map(0..3).blocking().unwrap(), [0, 1, 4]);
    let call = app::square::spawn_blocking(3).unwrap();
    assert_eq!(call.get_blocking(None).unwrap(), 9);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(
        runtime.block_on(async { app::square::remote_blocking(5).unwrap() }),
        25
    );
}
