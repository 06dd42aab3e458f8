//! Functions that call functions: the same code natively and inside sandboxes.

use crate::backends::on_each_backend;
use crate::sdk_calls::app;

on_each_backend! {
    one_calls_another,
    one_maps_another,
    failures_are_seen_from_inside,
    one_spawns_another,
    one_finds_another_by_name,
    calls_nest,
    imports_are_typed,
    typed_and_dynamic_calls_are_the_same,
}

async fn one_calls_another() -> lydian::Result<()> {
    assert_eq!(app::cube::remote(3).await?, Ok(27));
    Ok(())
}

/// More inputs than may be under way at once.
async fn one_maps_another() -> lydian::Result<()> {
    let sum = (0..700u64).map(|x| x * x).sum();
    assert_eq!(app::sum_of_squares::remote(700).await?, Ok(sum));
    assert_eq!(app::sum_of_squares::remote(0).await?, Ok(0));
    Ok(())
}

async fn failures_are_seen_from_inside() -> lydian::Result<()> {
    assert_eq!(app::failures::remote(5).await?, Ok(3));
    Ok(())
}

async fn one_spawns_another() -> lydian::Result<()> {
    assert_eq!(app::spawned::remote(5).await?, Ok(25));
    Ok(())
}

async fn one_finds_another_by_name() -> lydian::Result<()> {
    let through =
        |app: &str, function: &str| app::through::remote(app.into(), function.into(), "hi".into());
    assert_eq!(through("sdk", "shout").await?, Ok("HI".to_owned()));
    let missing = through("sdk", "whisper").await?.unwrap_err();
    assert!(missing.contains("whisper"), "{missing}");
    let unknown = through("nobody", "shout").await?.unwrap_err();
    assert!(unknown.contains("nobody"), "{unknown}");
    // Found, and of another type; threads compare nothing before the bytes do.
    assert!(through("sdk", "square").await?.is_err());
    Ok(())
}

async fn calls_nest() -> lydian::Result<()> {
    assert_eq!(app::deeper::remote(8).await?, Ok(8));
    Ok(())
}

/// The same client of another app, outside of sandboxes and inside one.
async fn imports_are_typed() -> lydian::Result<()> {
    use crate::sdk_calls::other::{self, Colour, Point, Shape, ShapeText};
    let text = ShapeText {
        at: Point { x: 1.0, y: 2.0 },
        text: "hi".into(),
        tags: vec!["a".into()],
    };
    for shape in [
        Shape::Empty,
        Shape::Line((text.at.clone(), text.at.clone())),
        Shape::Text(text),
    ] {
        let echoed = other::echo::remote(shape.clone(), Some(Colour::DarkBlue)).await?;
        assert_eq!(echoed, (shape, Some(Colour::DarkBlue)));
    }
    assert_eq!(
        app::imported::remote("hi".into()).await?,
        Ok("HI HI".to_owned())
    );
    let error = other::nothing::remote(1).await.unwrap_err();
    assert_eq!(error.kind(), lydian::ErrorKind::InvalidArgument, "{error}");
    Ok(())
}

/// What the bench of their overhead calls.
async fn typed_and_dynamic_calls_are_the_same() -> lydian::Result<()> {
    let typed = app::shouts_typed::remote(3).await?;
    assert_eq!(typed, Ok("HELLO".to_owned()));
    assert_eq!(app::shouts_dynamic::remote(3).await?, typed);
    Ok(())
}
