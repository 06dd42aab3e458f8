//! Several app modules of one component.

use crate::backends::on_each_backend;
use crate::sdk_modules::{left, right};

on_each_backend! {
    modules_have_types_of_the_same_name,
}

/// Each value is what its own module says.
async fn modules_have_types_of_the_same_name() -> lydian::Result<()> {
    let wide = left::widen::remote(left::Size { wide: 1, high: 2 }).await?;
    assert_eq!(wide, left::Size { wide: 2, high: 2 });
    let high = right::heighten::remote(vec![right::Size { wide: 1, high: 2 }]).await?;
    assert_eq!(high, [right::Size { wide: 1, high: 3 }]);
    let right_of = left::ruler::right_of::remote(left::Point { x: 0.25 }).await?;
    assert_eq!(right_of, left::Point { x: 0.75 });
    let named = |tags: &[&str]| right::Point {
        name: "a".into(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
    };
    assert_eq!(
        right::index::tagged::remote(named(&[])).await?,
        named(&["a"])
    );
    Ok(())
}
