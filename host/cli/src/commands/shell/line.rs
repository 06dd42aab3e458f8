//! What a line of the shell says. Pure.
//!
//! ```text
//! .help square            a command of the shell
//! square(4)               a call, arguments between commas, or by name: `square(x: 4)`
//! square 4                the same as at the command line, `--x 4` included
//! let c = counter.new(1)  its result under a name
//! c.increment(2)          a method of a resource that has a name
//! c                       what the name stands for, `found[0]` and `pair.1` what is in it
//! ```

use crate::words;

/// One line, read.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// White space, or a `// comment`.
    Nothing,
    /// `.name rest`
    Command(&'a str, &'a str),
    /// A call, or a name alone.
    Say(Phrase<'a>),
    Let(&'a str, Phrase<'a>),
}

/// What is called, and with what.
#[derive(Debug, PartialEq)]
pub(super) struct Phrase<'a> {
    pub(super) head: &'a str,
    pub(super) args: Args<'a>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Args<'a> {
    /// Nothing follows the head: a call without arguments, or a name.
    None,
    /// `(a, b)`
    Listed(Vec<&'a str>),
    /// `a b --c d`
    Words(Vec<&'a str>),
}

/// Reads one line.
///
/// # Errors
/// A sentence for the user.
pub(super) fn read(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with("//") {
        return Ok(Line::Nothing);
    }
    if let Some(command) = line.strip_prefix('.') {
        let (name, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        return Ok(Line::Command(name, rest.trim()));
    }
    let Some(binding) = line.strip_prefix("let ") else {
        return phrase(line).map(Line::Say);
    };
    let wrong = || format!("`{line}` binds nothing; write `let name = function(arguments)`");
    let (name, value) = binding.split_once('=').ok_or_else(wrong)?;
    let name = name.trim();
    if !is_name(name) {
        return Err(format!(
            "`{name}` is no name; write letters, digits, `-` and `_`"
        ));
    }
    if WORDS.contains(&name) {
        return Err(format!("`{name}` is a value itself; use another name"));
    }
    if value.trim().is_empty() {
        return Err(wrong());
    }
    Ok(Line::Let(name, phrase(value.trim())?))
}

fn phrase(text: &str) -> Result<Phrase<'_>, String> {
    let end = text
        .find(|c: char| c == '(' || c.is_whitespace())
        .unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    if head.is_empty() {
        return Err(format!(
            "`{text}` calls nothing; write `function(arguments)`"
        ));
    }
    let args = if rest.starts_with('(') {
        let listed = words::in_parentheses(rest);
        Args::Listed(listed.ok_or_else(|| format!("`{rest}` does not end with its `)`"))?)
    } else {
        match words::between_spaces(rest) {
            words if words.is_empty() => Args::None,
            words => Args::Words(words),
        }
    };
    Ok(Phrase { head, args })
}

/// Words that are values, or begin one.
const WORDS: [&str; 8] = ["true", "false", "inf", "nan", "some", "none", "ok", "err"];

/// What `let` may bind.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// `text` with every bound name, and every path that begins with one (`pair.1`, `found[0]`),
/// replaced by its value's text. Names inside quotes, names of fields and cases with a payload are
/// left alone.
pub(super) fn filled(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let width = if quote.is_none() {
            name_length(rest)
        } else {
            0
        };
        if width > 0 {
            let is_label = |after: &str| after.trim_start().starts_with([':', '(']);
            let found = paths(rest, width).into_iter().rev().find_map(|width| {
                let (path, after) = rest.split_at(width);
                let value = value(path).filter(|_| !is_label(after))?;
                Some((value, after))
            });
            match found {
                Some((value, after)) => {
                    out += &value;
                    rest = after;
                }
                None => {
                    out += &rest[..width];
                    rest = &rest[width..];
                }
            }
            continue;
        }
        let mut width = c.len_utf8();
        match quote {
            Some(_) if c == '\\' => width += rest[width..].chars().next().map_or(0, char::len_utf8),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            // A keyword's escape, or a number: what follows is no name.
            None if c == '%' || c.is_ascii_digit() => {
                width += name_length_after(&rest[width..]);
            }
            None => {}
        }
        out += &rest[..width];
        rest = &rest[width..];
    }
    out
}

/// How long the name at the beginning is, and with each further step of a path: `.field`, `.1`,
/// `[0]`.
fn paths(text: &str, name: usize) -> Vec<usize> {
    let mut ends = vec![name];
    let mut end = name;
    loop {
        let rest = &text[end..];
        let step = if let Some(item) = rest.strip_prefix('[') {
            let digits = item
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(item.len());
            let closed = digits > 0 && item[digits..].starts_with(']');
            if closed { digits + 2 } else { 0 }
        } else if let Some(field) = rest.strip_prefix('.') {
            match name_length_after(field) {
                0 => 0,
                length => length + 1,
            }
        } else {
            0
        };
        if step == 0 {
            return ends;
        }
        end += step;
        ends.push(end);
    }
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name_length_after(text)
    } else {
        0
    }
}

fn name_length_after(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed<'a>(head: &'a str, args: &[&'a str]) -> Phrase<'a> {
        Phrase {
            head,
            args: Args::Listed(args.to_vec()),
        }
    }

    #[test]
    fn lines_are_commands_calls_and_bindings() {
        assert_eq!(read("  "), Ok(Line::Nothing));
        assert_eq!(read("// so"), Ok(Line::Nothing));
        assert_eq!(read(".help square"), Ok(Line::Command("help", "square")));
        assert_eq!(
            read("f(1, \"a, b\")"),
            Ok(Line::Say(listed("f", &["1", "\"a, b\""])))
        );
        assert_eq!(
            read("let c = a:b/c#d.new( 1 )"),
            Ok(Line::Let("c", listed("a:b/c#d.new", &["1"])))
        );
        let words = Phrase {
            head: "f",
            args: Args::Words(vec!["1", "--x", "{a: 2}"]),
        };
        assert_eq!(read("f 1 --x {a: 2}"), Ok(Line::Say(words)));
        assert_eq!(
            read("c"),
            Ok(Line::Say(Phrase {
                head: "c",
                args: Args::None
            }))
        );
    }

    #[test]
    fn broken_lines_say_what_to_write() {
        for line in [
            "let",
            "let x",
            "let 1x = f()",
            "let true = f()",
            "let none = f()",
            "let x =",
            "f(1",
            "(1)",
        ] {
            if line == "let" {
                // A function may have that name.
                assert!(read(line).is_ok());
                continue;
            }
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn names_are_filled_in_where_values_stand() {
        let value = |name: &str| {
            let value = match name {
                "x" => "4",
                "long-name" => "{a: 1}",
                "long-name.a" => "1",
                "xs" => "[5, 6]",
                "xs[1]" => "6",
                _ => return None,
            };
            Some(value.to_owned())
        };
        for (text, expected) in [
            ("x", "4"),
            ("[x, long-name, y]", "[4, {a: 1}, y]"),
            ("{x: x}", "{x: 4}"),
            ("\"x\" 'x' \"\\\"x\"", "\"x\" 'x' \"\\\"x\""),
            ("x(x)", "x(4)"),
            ("%x 0x", "%x 0x"),
            ("é x", "é 4"),
            ("[xs[1], long-name.a, xs]", "[6, 1, [5, 6]]"),
            ("xs[7] x.y", "[5, 6][7] 4.y"),
        ] {
            assert_eq!(filled(text, value), expected, "{text}");
        }
    }
}
