//! Classes: entered once, called often.

use crate::backends::{block_on, client, on_each_backend};
use crate::sdk_classes::app::{self, Point, Shape};
use lydian::ErrorKind;
use lydian_client::Start;
use lydian_tests::guests;

on_each_backend! {
    state_is_kept_between_calls,
    values_cross_into_methods,
    a_class_that_cannot_be_entered_says_why,
    a_function_calls_a_class,
}

/// An instance that is there is used again. No other test calls this class, whose state they would see.
async fn state_is_kept_between_calls() -> lydian::Result<()> {
    let first = app::counter::add::remote(1).await?;
    let second = app::counter::add::remote(1).await?;
    assert_eq!((first, second), (11, 12));
    assert_eq!(app::counter::peek::remote().await?, 12);
    Ok(())
}

async fn values_cross_into_methods() -> lydian::Result<()> {
    let (from, to) = (Point { x: 1.0, y: 2.0 }, Point { x: 3.0, y: 4.0 });
    let line = Shape::Line(from.clone(), to.clone());
    assert_eq!(app::tally::place::remote(line).await?, [from, to]);
    assert!(app::tally::place::remote(Shape::Empty).await?.is_empty());
    let many = app::tally::place::map(vec![Shape::Empty; 20]).await?;
    assert_eq!(many.len(), 20);
    Ok(())
}

async fn a_class_that_cannot_be_entered_says_why() -> lydian::Result<()> {
    let error = app::broken::get::remote().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(error.message().contains("there is no model"), "{error}");
    Ok(())
}

async fn a_function_calls_a_class() -> lydian::Result<()> {
    let sum = app::through_the_class::remote(5).await?;
    assert_eq!(sum, Ok(15));
    Ok(())
}

/// Where nobody deployed it, a class is one all the same: entered once, kept, and its life the platform's.
#[test]
fn a_class_of_a_bare_component_is_entered_and_kept() {
    block_on(async {
        let client = client().await;
        let digest = client.put(guests::SDK_CLASSES.bytes()).await?;
        let add = client.component_function(digest, "counter#add").await?;
        let first = add.invoke::<_, u64>((1u64,)).await?;
        let second = add.invoke::<_, u64>((1u64,)).await?;
        assert_ne!(first.usage.start, Start::Warm);
        assert_eq!(second.usage.start, Start::Warm);
        assert_eq!((first.result.unwrap(), second.result.unwrap()), (11, 12));
        let entered = client.component_function(digest, "broken#get").await?;
        let error = entered.call::<_, u32>(()).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("class `broken` could not be entered: there is no model"),
            "{error}"
        );
        let hidden = client
            .component_function(digest, "counter#lydian-enter")
            .await;
        assert!(hidden.unwrap_err().to_string().contains("lydian-enter"));
        Ok(())
    });
}
