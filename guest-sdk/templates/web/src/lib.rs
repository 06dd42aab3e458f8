//! A function for a web service to call: a request in, an answer out, typed on both sides.
//!
//! ```sh
//! lydian run {{name}}::parse '{text: "3 apples, 4 pears"}'
//! lydian deploy {{name}}
//! ```
//!
//! A deployed function is called over gRPC by whatever serves the web: `lydian_client` in Rust, or any client
//! made from the API's schema.

#[lydian::app]
pub mod app {
    /// What a visitor sent.
    pub struct Request {
        /// A shopping list: amounts and things between commas.
        pub text: String,
    }

    /// One line of the list.
    pub struct Line {
        pub amount: u32,
        pub thing: String,
    }

    /// Reads a shopping list. What cannot be read is an answer too, for the visitor.
    #[lydian::function(timeout = "2s", memory = "64MiB")]
    pub fn parse(request: Request) -> Result<Vec<Line>, String> {
        let parts = request.text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(line).collect()
    }

    fn line(part: &str) -> Result<Line, String> {
        let unreadable = || format!("`{part}` is not an amount and a thing");
        let (amount, thing) = part.split_once(' ').ok_or_else(unreadable)?;
        Ok(Line {
            amount: amount.parse().map_err(|_| unreadable())?,
            thing: thing.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::app;

    fn parsed(text: &str) -> Result<usize, String> {
        app::parse(app::Request { text: text.into() }).map(|lines| lines.len())
    }

    #[test]
    fn lists_are_read_and_nonsense_is_told() {
        assert_eq!(parsed("3 apples, 4 pears"), Ok(2));
        assert_eq!(parsed("apples"), Err("`apples` is not an amount and a thing".into()));
    }
}
