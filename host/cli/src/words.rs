//! Lines of WAVE cut into arguments: `(1, "a, b")` at its commas, `1 "a b" {c: 2}` at its spaces. Pure.
//!
//! Only where one text ends and the next begins is decided here; whether it is a value is
//! [`lydian_value`]'s to say. Quotes and brackets keep together what is inside them.

/// The texts between the commas of a whole parenthesised list; none when `text` is not one.
pub(crate) fn in_parentheses(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('(')?;
    let mut scan = Scan::default();
    let end = inner
        .char_indices()
        .find(|(_, c)| scan.depth == 0 && !scan.in_quotes() && *c == ')' || scan.step(*c))?
        .0;
    if !inner.get(end + 1..)?.is_empty() {
        return None;
    }
    let inner = &inner[..end];
    Some(match inner.trim() {
        "" => Vec::new(),
        _ => cut(inner, |c| c == ',').map(str::trim).collect(),
    })
}

/// The texts between white space.
pub(crate) fn between_spaces(text: &str) -> Vec<&str> {
    cut(text, char::is_whitespace)
        .filter(|word| !word.is_empty())
        .collect()
}

/// Whether a bracket or a quote waits for its end.
pub(crate) fn is_open(text: &str) -> bool {
    let mut scan = Scan::default();
    text.chars().for_each(|c| {
        scan.step(c);
    });
    scan.in_quotes() || scan.depth > 0
}

/// The parts of `text` between separators that are in no quotes and no brackets.
fn cut(text: &str, separates: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut scan = Scan::default();
    text.split(move |c| {
        let apart = scan.depth == 0 && !scan.in_quotes() && separates(c);
        scan.step(c);
        apart
    })
}

/// Where a reader of WAVE is: how deep in brackets, in which quotes.
#[derive(Default)]
struct Scan {
    depth: usize,
    quote: Option<char>,
    escaped: bool,
}

impl Scan {
    fn in_quotes(&self) -> bool {
        self.quote.is_some()
    }

    /// Takes one character; always false, so that it can stand in a condition.
    fn step(&mut self, c: char) -> bool {
        match self.quote {
            Some(_) if self.escaped => self.escaped = false,
            Some(_) if c == '\\' => self.escaped = true,
            Some(quote) if c == quote => self.quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => self.quote = Some(c),
            None if matches!(c, '(' | '[' | '{') => self.depth += 1,
            None if matches!(c, ')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
            None => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_at_their_own_commas() {
        assert_eq!(
            in_parentheses(r#"(1, "a, )b", [2, 3], {c: (4, 5)}, 'x')"#).unwrap(),
            ["1", r#""a, )b""#, "[2, 3]", "{c: (4, 5)}", "'x'"]
        );
        assert_eq!(in_parentheses("( )").unwrap(), [""; 0]);
        assert_eq!(in_parentheses(r#"("\")")"#).unwrap(), [r#""\")""#]);
        for text in ["1", "(1", "(1) 2", "((1)"] {
            assert_eq!(in_parentheses(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_open_goes_on() {
        for text in ["f(1,", "f {a: [1", "f \"x", "f(\")\""] {
            assert!(is_open(text), "{text}");
        }
        for text in ["f(1)", "f \"(\"", "", "f)"] {
            assert!(!is_open(text), "{text}");
        }
    }

    #[test]
    fn words_are_cut_at_spaces() {
        assert_eq!(
            between_spaces(" square  4 \"a b\" {c: 2, d: [1, 2]} --x=1 "),
            ["square", "4", "\"a b\"", "{c: 2, d: [1, 2]}", "--x=1"]
        );
        assert_eq!(between_spaces("  "), [""; 0]);
    }
}
