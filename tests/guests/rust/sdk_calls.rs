//! An app on the SDK whose functions call functions. The tests take the same file as their client.

lydian::import! {
    /// A part of the app `sdk`, by its WIT.
    pub mod other {
        app = "sdk",
        wit = "
            package test:sdk;

            world sdk {
                record point { x: f64, y: f64 }
                record shape-text { at: point, text: string, tags: list<string> }
                variant shape { empty, circle(f64), line(tuple<point, point>), text(shape-text) }
                enum colour { red, dark-blue }

                export shout: func(text: string) -> string;
                export echo: func(shape: shape, colour: option<colour>) -> tuple<shape, option<colour>>;
                /// Has another type than the app's.
                export nothing: func(x: u32);
            }
        ",
    }
}

#[lydian::app(name = "sdk-calls")]
pub mod app {
    #[lydian::function]
    pub fn square(x: u64) -> u64 {
        x * x
    }

    /// Fails from 2 on.
    #[lydian::function]
    pub fn broken(x: u32) -> u32 {
        assert!(x < 2, "too large: {x}");
        x
    }

    /// Calls another function of this app.
    #[lydian::function]
    pub fn cube(x: u64) -> Result<u64, String> {
        Ok(square::remote_blocking(x)? * x)
    }

    /// Calls many at once, and adds up.
    #[lydian::function]
    pub async fn sum_of_squares(n: u64) -> Result<u64, String> {
        let squares = square::map(0..n).await?;
        Ok(squares.iter().sum())
    }

    /// How many of `0..n` fail.
    #[lydian::function]
    pub fn failures(n: u32) -> Result<u32, String> {
        let outcomes = broken::map(0..n).unordered().return_errors().blocking()?;
        let failed = outcomes.iter().filter(|outcome| outcome.is_err());
        Ok(failed.count() as u32)
    }

    /// Spawns a call and waits for it.
    #[lydian::function]
    pub async fn spawned(x: u64) -> Result<u64, String> {
        let call = square::spawn(x).await?;
        Ok(call.get(std::time::Duration::from_secs(30)).await?)
    }

    /// Calls a function that is found by name, with one text.
    #[lydian::function]
    pub async fn through(app: String, function: String, text: String) -> Result<String, String> {
        let found = lydian::Function::lookup(app, function);
        Ok(found.remote((text,)).await?)
    }

    /// Calls functions of another app by their WIT.
    #[lydian::function]
    pub async fn imported(text: String) -> Result<String, String> {
        use super::other::{Shape, echo, shout};
        let circle = Shape::Circle(1.5);
        let (echoed, _) = echo::remote(circle.clone(), None).await?;
        if echoed != circle {
            return Err(format!("{echoed:?} came back"));
        }
        let shouted = shout::map([text.clone(), text]).await?;
        Ok(shouted.join(" "))
    }

    /// Calls a function of another app so often, by its WIT.
    #[lydian::function]
    pub async fn shouts_typed(times: u32) -> Result<String, String> {
        let mut text = "hello".to_owned();
        for _ in 0..times {
            text = super::other::shout::remote(text).await?;
        }
        Ok(text)
    }

    /// Calls the same function so often, found by name.
    #[lydian::function]
    pub async fn shouts_dynamic(times: u32) -> Result<String, String> {
        let shout = lydian::Function::lookup("sdk", "shout");
        let mut text = "hello".to_owned();
        for _ in 0..times {
            text = shout.remote((text,)).await?;
        }
        Ok(text)
    }

    /// Calls itself until there is no more.
    #[lydian::function]
    pub fn deeper(times: u32) -> Result<u32, String> {
        if times == 0 {
            return Ok(0);
        }
        Ok(deeper::remote_blocking(times - 1)?? + 1)
    }
}
