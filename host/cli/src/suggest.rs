//! "Did you mean …?"

/// The name among `known` that is most like a mistyped one, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below, a suggestion is rather noise than help: `cube` and `tube` are 0.83 alike.
    const LIKENESS: f64 = 0.8;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, candidate)| *likeness > LIKENESS || is_one_slip(name, candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// One letter missing, too many, wrong, or two in each other's place. In a short name that is a large part, and yet the
/// same mistake: `rn` is `run`, `mpa` is `map`.
fn is_one_slip(name: &str, candidate: &str) -> bool {
    name.len() > 1 && candidate.len() > 1 && strsim::osa_distance(name, candidate) == 1
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
        let short = ["run", "map", "up"];
        assert_eq!(nearest("rn", short), Some("run"));
        assert_eq!(nearest("mpa", short), Some("map"));
        assert_eq!(nearest("n", ["x"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
