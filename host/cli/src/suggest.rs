//! "Did you mean …?"

/// The name among `known` that is most like a mistyped one, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below, a suggestion is rather noise than help: `cube` and `tube` are 0.83 alike.
    const LIKENESS: f64 = 0.8;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_met_and_strangers_are_not() {
        let known = ["square", "cube", "thumbnail"];
        assert_eq!(nearest("sqare", known), Some("square"));
        assert_eq!(nearest("thumnail", known), Some("thumbnail"));
        assert_eq!(nearest("deploy", known), None);
        assert_eq!(nearest("x", []), None);
    }
}
