//! The part of the suite that uses clients made by `bindgen!`.

use super::{failure, put};
use lydian_client::{Client, Error, FailureKind};
use lydian_tests::guests;

mod echo {
    lydian_client::bindgen!({
        inline: r#"
            package test:echo;
            /// Every named kind of type.
            interface shapes {
                record point { x: s32, y: s32 }
                record everything {
                    flag: bool, small: u8, signed: s8, short: s16, wide: u64, ratio: f64, single: f32,
                    letter: char, text: string, bytes: list<u8>, weights: list<f32>, where: point,
                    colour: colour, shape: shape, rights: rights, maybe: option<string>,
                    outcome: result<u32, string>, pair: tuple<u8, string>,
                    nested: list<list<option<point>>>,
                }
                enum colour { red, green, blue }
                variant shape {
                    nothing, circle(f64), square(u32), polygon(list<point>),
                    named(tuple<string, colour>), wrapped(option<result<string, u8>>),
                }
                flags rights { read, write, execute }
                flags many {
                    f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18,
                }
                echo-everything: func(x: everything) -> everything;
                echo-shapes: func(x: list<shape>) -> list<shape>;
                echo-rights: func(x: rights) -> rights;
                echo-many: func(x: many) -> many;
            }
            world echo {
                export shapes;
                export echo-nested-option: func(x: option<option<u8>>) -> option<option<u8>>;
                export echo-bare-result: func(x: result) -> result;
                export echo-tuple: func(x: tuple<u8, string, f32>) -> tuple<u8, string, f32>;
                export echo-wide: func(
                    a: u8, b: u16, c: u32, d: u64, e: s8, f: s16, g: s32, h: s64, i: f32, j: f64, k: bool,
                    l: char, m: string, n: list<u8>, o: option<u32>, p: tuple<u8, u8>, q: result<u8, u8>,
                ) -> string;
                export nothing: func();
            }
        "#,
    });
}

/// Every kind of type, out and back, through the generated client.
pub(super) async fn typed_clients_speak_every_type(client: Client) {
    use echo::shapes::{Colour, Everything, Many, Point, Rights, Shape};

    let digest = put(&client, guests::ECHO).await;
    let echo = echo::Echo::of_component(&client, digest).await;
    let echo = echo.expect("the types are those of the guest");
    let everything = Everything {
        flag: true,
        small: 1,
        signed: -1,
        short: -300,
        wide: u64::MAX,
        ratio: 0.1,
        single: 1.5,
        letter: '√',
        text: "text".into(),
        bytes: vec![0, 255],
        weights: vec![0.5; 3],
        r#where: Point { x: -1, y: 1 },
        colour: Colour::Green,
        shape: Shape::Named(("name".into(), Colour::Blue)),
        rights: Rights {
            write: true,
            ..Rights::default()
        },
        maybe: Some(String::new()),
        outcome: Err("err".into()),
        pair: (7, "pair".into()),
        nested: vec![vec![], vec![None, Some(Point { x: 2, y: 3 })]],
    };
    let back = echo.shapes.echo_everything(everything.clone()).await;
    assert_eq!(back.expect("works"), everything);
    let shapes = vec![
        Shape::Nothing,
        Shape::Circle(f64::INFINITY),
        Shape::Square(3),
        Shape::Polygon(vec![Point { x: 0, y: 0 }; 100]),
        Shape::Wrapped(Some(Err(9))),
    ];
    let back = echo.shapes.echo_shapes(shapes.clone()).await;
    assert_eq!(back.expect("works"), shapes);
    let rights = Rights {
        read: true,
        write: false,
        execute: true,
    };
    let back = echo.shapes.echo_rights(rights).await;
    assert_eq!(back.expect("works"), rights);
    let many = Many {
        f0: true,
        f8: true,
        f18: true,
        ..Many::default()
    };
    assert_eq!(echo.shapes.echo_many(many).await.expect("works"), many);
    let back = echo.echo_nested_option(Some(None)).await;
    assert_eq!(back.expect("works"), Some(None));
    let back = echo.echo_bare_result(Err(())).await;
    assert_eq!(back.expect("works"), Err(()));
    let tuple = (1, "two".to_owned(), 3.0);
    let back = echo.echo_tuple(tuple.clone()).await;
    assert_eq!(back.expect("works"), tuple);
    echo.nothing().await.expect("works");
    let (o, p, q) = (Some(15), (16, 16), Ok(17));
    let wide = echo.echo_wide(
        1,
        2,
        3,
        4,
        -5,
        -6,
        -7,
        -8,
        9.5,
        10.5,
        true,
        'l',
        "m".into(),
        vec![14],
        o,
        p,
        q,
    );
    let wide = wide.await.expect("works");
    assert!(wide.contains("10.5"), "{wide}");

    let inputs = [None, Some(None), Some(Some(1))];
    let back = echo.map_echo_nested_option(inputs).await;
    assert_eq!(back.expect("works"), inputs);
    let call = echo.spawn_echo_tuple(tuple.clone()).await.expect("spawns");
    let back = call.get::<(u8, String, f32)>(None).await;
    assert_eq!(back.expect("works"), tuple);
}

mod wrong {
    lydian_client::bindgen!({
        inline: "
            package test:math;
            world math {
                export cube: func(x: u64) -> u64;
                export square: func(x: u64) -> u32;
            }
        ",
    });
}

/// A client made from other WIT than what is deployed fails when it is bound, not in the middle of work.
pub(super) async fn a_typed_client_notices_another_type(client: Client) {
    let digest = put(&client, guests::MATH).await;
    let bound = wrong::Math::of_component(&client, digest).await;
    let error = bound.expect_err("square gives u64");
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    let text = error.to_string();
    assert_eq!(text, "function `square`: result: expected u64, found u32");
    let error = wrong::Math::of_app(&client, "no-such-app").await;
    assert!(matches!(error, Err(Error::NotFound(_))), "{error:?}");
}

mod counter {
    lydian_client::bindgen!({
        inline: "
            package test:counter;
            interface counters {
                resource counter {
                    constructor(start: u64);
                    increment: func(by: u64) -> u64;
                    value: func() -> u64;
                    sum: static func(counters: list<borrow<counter>>) -> u64;
                    merge: static func(a: counter, b: counter) -> counter;
                }
                make: func(start: u64) -> counter;
                many: func(count: u32) -> list<counter>;
                peek: func(counter: borrow<counter>) -> u64;
                consume: func(counter: counter) -> u64;
                live: func() -> u32;
            }
            world counter-world { export counters; }
        ",
    });
}

/// Resources keep their state between the calls of a session, and end with it.
pub(super) async fn resources_live_in_sessions(client: Client) {
    use counter::counters::{self, Counter};

    let digest = put(&client, guests::COUNTER).await;
    let world = counter::CounterWorld::of_component(&client, digest).await;
    let world = world.expect("fits");
    assert_eq!(world.counters.live().await.expect("works"), 0);
    let session = world.session().await.expect("opens");
    let live = async || counters::live(&session).await.expect("works");
    let one = Counter::new(&session, 10).await.expect("made");
    let two = counters::make(&session, 5).await.expect("made");
    assert_eq!(one.increment(1).await.expect("works"), 11);
    assert_eq!(two.value().await.expect("works"), 5);
    let peeked = counters::peek(&session, &two).await;
    assert_eq!(peeked.expect("works"), 5);
    let borrowed = vec![one.resource().handle(), two.resource().handle()];
    let sum = Counter::sum(&session, borrowed).await;
    assert_eq!(sum.expect("works"), 16);
    let merged = Counter::merge(&session, one, two).await.expect("works");
    assert_eq!(merged.value().await.expect("works"), 16);
    assert_eq!(live().await, 1);
    let handles = counters::many(&session, 3).await.expect("works");
    assert_eq!(live().await, 4);
    let interface = Some("test:counter/counters");
    let adopt = |handle| session.adopt(handle, interface, "counter").into();
    let many: Vec<Counter> = handles.into_iter().map(adopt).collect();
    assert_eq!(many[0].value().await.expect("works"), 0);
    drop(many);
    assert_eq!(live().await, 1, "dropped with their owners");
    let last = counters::consume(&session, merged).await;
    assert_eq!(last.expect("works"), 16);
    assert_eq!(live().await, 0);

    // A trap ends the sandbox, and everything that lived in it.
    let full = Counter::new(&session, u64::MAX).await.expect("made");
    let failed = failure(full.increment(1).await);
    assert_eq!(failed.kind, FailureKind::Trap);
    assert!(full.value().await.is_err(), "its sandbox is gone");
    let other = world.session().await.expect("opens");
    assert_eq!(counters::live(&other).await.expect("works"), 0);
}
