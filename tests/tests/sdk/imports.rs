//! Apps imported by the WIT that `lydian app wit` prints of them.
//!
//! The texts beside this file are those, without what the standard library of the day imports. When the guests change, the test
//! says what they should be.

use crate::backends::{block_on, client, embedded};

lydian::import! {
    mod printed {
        app = "sdk",
        path = "tests/sdk/sdk.wit",
    }
}

lydian::import! {
    mod printed_classes {
        app = "sdk-classes",
        path = "tests/sdk/sdk_classes.wit",
    }
}

/// Without the lines that another release of the compiler may change.
fn lasting(wit: &str) -> String {
    let lasts = |line: &&str| {
        let import = line.trim_start().trim_start_matches("// ");
        !import.starts_with("import wasi:")
    };
    wit.lines()
        .filter(lasts)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Docs of functions, types, fields and cases among them, which a component does not keep by itself.
#[test]
fn what_is_imported_here_is_what_is_printed() {
    block_on(async {
        for (app, file) in [
            ("sdk", include_str!("sdk.wit")),
            ("sdk-classes", include_str!("sdk_classes.wit")),
        ] {
            let printed = client().await.describe(app).await?.wit;
            assert_eq!(lasting(&printed), lasting(file), "{app}:\n{printed}");
        }
        Ok(())
    });
}

#[test]
fn a_printed_wit_makes_a_client() {
    block_on(embedded(async {
        use printed::{Colour, Point, Shape};
        assert_eq!(printed::square::remote(4).await?, 16);
        let line = Shape::Line((Point { x: 0.5, y: 1.0 }, Point { x: 2.0, y: 3.0 }));
        let echoed = printed::echo::remote(line.clone(), Some(Colour::DarkBlue)).await?;
        assert_eq!(echoed, (line, Some(Colour::DarkBlue)));
        let point = printed_classes::Point { x: 1.0, y: 2.0 };
        let shape = printed_classes::Shape::Line((point.clone(), point.clone()));
        let placed = printed_classes::tally::place::remote(shape).await?;
        assert_eq!(placed, [point.clone(), point]);
        Ok(())
    }));
}
