//! Calls from outside, in every form.

use crate::backends::on_each_backend;
use crate::sdk::app::{self, Colour, Flat, Point, Shape};
use lydian::ErrorKind;
use std::collections::BTreeMap;
use std::time::Duration;

on_each_backend! {
    every_form_of_function,
    every_form_of_value,
    flat_values_keep_their_bits,
    maps_in_each_form,
    a_failure_ends_a_map_or_is_a_result,
    recorded_calls,
    streams,
    items_come_before_a_slow_source_makes_more,
    a_function_found_by_name,
}

async fn every_form_of_function() -> lydian::Result<()> {
    assert_eq!(app::square::remote(4).await?, app::square::local(4));
    assert_eq!(app::divide::remote(6, 3).await?, Ok(2));
    assert_eq!(app::divide::remote(1, 0).await?, Err("by zero".to_owned()));
    assert_eq!(app::check::remote(-1).await?, Err(()));
    assert_eq!(app::check::remote(1).await?, Ok(()));
    assert_eq!(app::later::remote(1).await?, 2);
    app::nothing::remote().await?;
    assert_eq!(app::name::remote("Ada".to_owned()).await?, "Ada");
    assert_eq!(app::echoed::remote("Ada".to_owned()).await?, "Ada");
    assert_eq!(app::square::remote_blocking(3)?, 9);
    Ok(())
}

fn drawing() -> Vec<(Shape, Option<Colour>)> {
    let point = |x, y| Point { x, y };
    let text = Shape::Text {
        at: point(0.5, -0.0),
        text: "größe".into(),
        tags: vec!["a".into(), String::new()],
    };
    vec![
        (Shape::Empty, None),
        (Shape::Circle(2.5), Some(Colour::Red)),
        (
            Shape::Line(point(1.0, 2.0), point(f64::INFINITY, 1e-300)),
            Some(Colour::DarkBlue),
        ),
        (text, None),
    ]
}

async fn every_form_of_value() -> lydian::Result<()> {
    for (shape, colour) in drawing() {
        assert_eq!(
            app::echo::remote(shape.clone(), colour).await?,
            (shape, colour)
        );
    }
    assert_eq!(app::echo_all::remote(drawing()).await?, drawing());
    assert_eq!(app::echo_all::remote(Vec::new()).await?, []);
    let bytes: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    assert_eq!(app::bytes::remote(bytes.clone()).await?, bytes);
    let words = ["a", "b", "a"].map(str::to_owned).to_vec();
    assert_eq!(
        app::count::remote(words).await?,
        [("a".to_owned(), 2), ("b".to_owned(), 1)].into()
    );
    let map: BTreeMap<u32, char> = [(2, 'ß'), (1, '𝄞')].into();
    let corners = [Point { x: 1.0, y: 2.0 }, Point { x: 3.0, y: 4.0 }];
    let sorted = app::sorted::remote(map, corners.clone()).await?;
    assert_eq!(sorted, (vec![(1, '𝄞'), (2, 'ß')], corners));
    Ok(())
}

fn flat(last: Result<f32, u64>) -> Flat {
    Flat {
        a: u8::MAX,
        b: i8::MIN,
        c: u16::MAX,
        d: i16::MIN,
        e: u32::MAX,
        f: i32::MIN,
        g: u64::MAX,
        h: i64::MIN,
        i: f32::MIN_POSITIVE,
        j: f64::MAX,
        k: true,
        l: '𝄞',
        m: Some(7),
        n: last,
        o: (-2, None),
    }
}

/// Values spread over core parameters share their places between cases: none must be cut or widened.
async fn flat_values_keep_their_bits() -> lydian::Result<()> {
    for last in [Ok(-0.5), Err(u64::MAX - 1)] {
        let more = vec![flat(Ok(1.5)), flat(Err(3))];
        let echoed = app::echo_flat::remote(flat(last), more.clone()).await?;
        assert_eq!(echoed, (flat(last), more));
        assert_eq!(app::echo_flat_later::remote(flat(last)).await?, flat(last));
        let args = (
            200,
            i64::MIN,
            0.1,
            -0.2,
            'é',
            true,
            Some(-3),
            last.map_err(|e| e as i64),
            Colour::DarkBlue,
        );
        let (a, b, c, d, e, f, g, h, i) = args;
        assert_eq!(
            app::mixed::remote(a, b, c, d, e, f, g, h, i).await?,
            app::mixed(a, b, c, d, e, f, g, h, i)
        );
    }
    Ok(())
}

async fn maps_in_each_form() -> lydian::Result<()> {
    let squares: Vec<u64> = app::square::map(0..100).await?;
    assert_eq!(squares, (0..100).map(app::square).collect::<Vec<_>>());
    let mut unordered = app::square::map(0..100).unordered().max_parallel(3);
    let mut seen = Vec::new();
    while let Some(item) = unordered.next_indexed().await {
        let (index, square) = item?;
        assert_eq!(square, index * index);
        seen.push(index);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    let quotients = app::divide::starmap([(4, 2), (1, 0)]).await?;
    assert_eq!(quotients, [Ok(2), Err("by zero".to_owned())]);
    assert_eq!(app::square::for_each(0..5).await?, 5);
    assert_eq!(app::square::map(0..3).blocking()?, [0, 1, 4]);
    assert!(app::square::map(std::iter::empty()).await?.is_empty());
    Ok(())
}

async fn a_failure_ends_a_map_or_is_a_result() -> lydian::Result<()> {
    let error = app::broken::remote(2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    let error = app::broken::map(0..4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    let outcomes = app::broken::map(0..4).return_errors().await?;
    let good: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, true, false, false]);
    Ok(())
}

async fn recorded_calls() -> lydian::Result<()> {
    let call = app::square::spawn(5).await?;
    assert_eq!(call.get(Duration::from_secs(60)).await?, 25);
    let again = lydian::Call::<u64>::from_id(call.id()).await?;
    assert_eq!(again.poll().await?, Some(25));
    let failed = app::broken::spawn(9).await?.get(None).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed);
    let nobodys = lydian::Call::<u64>::from_id("c-00000000000000000000000000").await?;
    assert_eq!(
        nobodys.poll().await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    Ok(())
}

async fn streams() -> lydian::Result<()> {
    let mut numbers = app::numbers::remote(5000).await?;
    let mut next = 0;
    while let Some(number) = numbers.next().await {
        assert_eq!(number?, next);
        next += 1;
    }
    assert_eq!(next, 5000);
    let mut lines = app::lines::remote(2).await?;
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        all.push(line?);
    }
    assert_eq!(all, ["line 0", "line 1"]);
    let mut countdown = app::countdown::remote(3).await?;
    let first = countdown.next().await.unwrap()?;
    assert_eq!(first, Point { x: 2.0, y: 0.0 });
    Ok(())
}

/// In the time of the call a batch would never be full.
async fn items_come_before_a_slow_source_makes_more() -> lydian::Result<()> {
    let mut numbers = app::slow::remote(20).await?;
    for expected in 0..5 {
        assert_eq!(numbers.next().await.unwrap()?, expected);
    }
    Ok(())
}

async fn a_function_found_by_name() -> lydian::Result<()> {
    let square = lydian::Function::lookup("sdk", "square");
    assert_eq!(square.remote::<_, u64>((4u64,)).await?, 16);
    let squares: Vec<u64> = square.map((0..3u64).map(|x| (x,))).await?;
    assert_eq!(squares, [0, 1, 4]);
    let missing = lydian::Function::lookup("sdk", "circle");
    let error = missing.remote::<_, u64>((4u64,)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    Ok(())
}
