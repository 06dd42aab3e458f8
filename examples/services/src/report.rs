//! The service that asks the others.

#[lydian::app]
pub mod app {
    use crate::{counting, spelling};

    /// What there is to say about a text.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Report {
        /// Different words.
        pub vocabulary: u32,
        /// The word that is used most.
        pub favourite: Option<String>,
        /// Words that stand twice in a row.
        pub doubled: Vec<String>,
    }

    /// Asks both other services.
    #[lydian::function]
    pub async fn report(text: String) -> Result<Report, String> {
        let doubled = spelling::doubled::remote(text.clone()).await?;
        let words = counting::words::remote(text).await?;
        Ok(Report {
            vocabulary: words.len() as u32,
            favourite: words.into_iter().next().map(|(word, _)| word),
            doubled,
        })
    }
}
