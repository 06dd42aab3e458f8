//! WIT as it is printed of a component, made to stand alone.
//!
//! Such a world names the interfaces it imports, and may export some, of packages that the text does not hold: the platform's
//! and the standard's. A client calls exports only, so those lines say nothing to it, and resolving them would fail.

use std::collections::HashSet;
use std::ops::Range;

/// The texts of one package, each without the lines that import or export an interface of a package in none of them. Places
/// stay as they are, for messages.
pub(super) fn alone(texts: &mut [String]) {
    let packages: HashSet<String> = texts
        .iter()
        .flat_map(|text| {
            statements(text)
                .into_iter()
                .map(|at| without_comments(&text[at]))
        })
        .filter_map(|statement| Some(statement.strip_prefix("package ")?.trim().to_owned()))
        .collect();
    for text in texts {
        for at in statements(text).into_iter().rev() {
            let missing = package(&without_comments(&text[at.clone()]))
                .is_some_and(|package| !packages.contains(&package));
            // The rest of the world's own package is named without it.
            if missing && text[at.end..].starts_with(';') {
                let blank: String = text[at.start..=at.end]
                    .chars()
                    .map(|letter| if letter == '\n' { '\n' } else { ' ' })
                    .collect();
                text.replace_range(at.start..=at.end, &blank);
            }
        }
    }
}

/// `a:b@1.0.0` of a line `import a:b/c@1.0.0`, with what gates it.
fn package(statement: &str) -> Option<String> {
    let mut words = statement.split_whitespace().rev();
    let (interface, keyword) = (words.next()?, words.next()?);
    if !matches!(keyword, "import" | "export") {
        return None;
    }
    let (package, name) = interface.split_once('/')?;
    let version = name.split_once('@').map(|(_, version)| version);
    Some(version.map_or(package.to_owned(), |version| format!("{package}@{version}")))
}

/// Where statements and the heads of blocks stand, each up to its `;`, `{` or `}`.
fn statements(text: &str) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(next) = text[at..].chars().next() {
        at += match next {
            '/' => comment(&text[at..]).max(1),
            ';' | '{' | '}' => {
                all.push(begin..at);
                begin = at + 1;
                1
            }
            other => other.len_utf8(),
        };
    }
    all
}

/// How long the comment is that begins here.
fn comment(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    text.find("*/").map_or(text.len(), |end| end + 2)
}

fn without_comments(statement: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(next) = statement[at..].chars().next() {
        let skipped = comment(&statement[at..]);
        if skipped == 0 {
            out.push(next);
        }
        at += skipped.max(next.len_utf8());
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_packages_elsewhere_goes_and_all_else_stays() {
        let mut texts = [
            "package root:component;\n// import a:b/gone;\nworld root {\n  import wasi:io/error@0.2.6;\n  @since(version = 0.2.0)\n  import wasi:io/poll@0.2.6;\n  import a:b/c@1.0.0; import own;\n  import f: func(x: u64);\n  export wasi:cli/run@0.2.6;\n  /// Größe; {\n  export a:b/c@1.0.0;\n  export square: func(x: u64) -> u64;\n}\npackage a:b@1.0.0 {\n  interface c { g: func(); }\n}\n".to_owned(),
            "interface own {}\n".to_owned(),
        ];
        let lines = texts[0].lines().count();
        alone(&mut texts);
        for gone in ["wasi:", "@since"] {
            assert!(!texts[0].contains(gone), "{}", texts[0]);
        }
        for kept in [
            "// import a:b/gone;",
            "  import a:b/c@1.0.0; import own;",
            "  import f: func(x: u64);",
            "  /// Größe; {\n  export a:b/c@1.0.0;",
            "  export square: func(x: u64) -> u64;",
        ] {
            assert!(texts[0].contains(kept), "{}", texts[0]);
        }
        assert_eq!(texts[0].lines().count(), lines);
    }
}
