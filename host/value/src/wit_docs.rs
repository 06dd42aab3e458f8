//! Comments put back into the WIT of a component, whose binary form has none.
//!
//! The text is read line by line, as it was printed: one item a line, blocks that open and close at the end of theirs.

/// What a block of WIT is, as far as the names in it go.
enum Block {
    World,
    /// `a:b@1.0.0`
    Package(String),
    /// What stands before the names in it: `a:b/c@1.0.0#`, or `a:b/c@1.0.0#counter.` in a resource.
    Functions(String),
    /// A record, variant, enum or flags: what stands before its fields or cases, `a:b/c@1.0.0#point.`.
    Type(String),
    Other,
}

/// `wit` with what `functions` says of each exported function, by the name it is called by, as comments above it, and what
/// `types` says of each type, field and case: `point`, `point.x`, `a:b/c@1.0.0#point.x`; and of an interface: `a:b/c@1.0.0#`.
/// What has a comment keeps it.
pub fn with_docs<'a>(
    wit: &str,
    functions: impl Fn(&str) -> Option<&'a str>,
    types: impl Fn(&str) -> Option<&'a str>,
) -> String {
    let mut out = String::with_capacity(wit.len());
    let mut blocks: Vec<Block> = Vec::new();
    let mut commented = false;
    for line in wit.lines() {
        let text = line.trim_start();
        let within = blocks.last();
        let mut about = match part(within, text) {
            Some(part) => types(&part),
            None => within
                .and_then(|block| function(block, text))
                .and_then(|name| functions(&name)),
        };
        if text == "}" {
            blocks.pop();
        } else if let Some(head) = text.strip_suffix('{') {
            let opened = block(within, head.trim_end());
            if let Block::Functions(prefix) = &opened
                && prefix.ends_with('#')
            {
                about = types(prefix);
            }
            blocks.push(opened);
        }
        if let Some(about) = about.filter(|_| !commented) {
            let indent = &line[..line.len() - text.len()];
            for comment in about.trim().lines() {
                out.push_str(format!("{indent}/// {comment}").trim_end());
                out.push('\n');
            }
        }
        commented = text.starts_with("///") || commented && text.starts_with('@');
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The name of the type, field or case that a line declares.
fn part(within: Option<&Block>, text: &str) -> Option<String> {
    if let Some(Block::Type(prefix)) = within {
        let end = text.find([':', '(', ','])?;
        return Some(format!("{prefix}{}", plain(&text[..end])));
    }
    let (keyword, rest) = text.split_once(' ')?;
    let name = rest.trim_end_matches([' ', '{']);
    let is_type = matches!(keyword, "record" | "variant" | "enum" | "flags");
    let prefix = is_type.then(|| prefix(within)).flatten()?;
    Some(format!("{prefix}{}", plain(name)))
}

/// What stands before the names of types in a block.
fn prefix(within: Option<&Block>) -> Option<&str> {
    match within? {
        Block::World => Some(""),
        Block::Functions(prefix) => Some(prefix),
        _ => None,
    }
}

fn block(within: Option<&Block>, head: &str) -> Block {
    let head = head.strip_prefix("export ").unwrap_or(head);
    if let Some(name) = part(within, head) {
        return Block::Type(format!("{name}."));
    }
    match (within, head.split_once(' ')) {
        (None, Some(("package", name))) => Block::Package(name.to_owned()),
        (None, Some(("world", _))) => Block::World,
        (Some(Block::Package(package)), Some(("interface", name))) => {
            let (package, version) = match package.split_once('@') {
                Some((package, version)) => (package, format!("@{version}")),
                None => (package.as_str(), String::new()),
            };
            Block::Functions(format!("{package}/{}{version}#", plain(name)))
        }
        // `export model: interface {` in a world.
        (Some(Block::World), Some((name, "interface"))) => {
            Block::Functions(format!("{}#", plain(name.trim_end_matches(':'))))
        }
        (Some(Block::Functions(prefix)), Some(("resource", name))) => {
            Block::Functions(format!("{prefix}{}.", plain(name)))
        }
        _ => Block::Other,
    }
}

/// The name of the function that a line declares.
fn function(block: &Block, text: &str) -> Option<String> {
    let (prefix, text) = match block {
        Block::World => ("", text.strip_prefix("export ")?),
        Block::Functions(prefix) if text.starts_with("constructor(") => {
            return Some(format!("{prefix}new"));
        }
        Block::Functions(prefix) => (prefix.as_str(), text),
        Block::Package(_) | Block::Type(_) | Block::Other => return None,
    };
    let (name, ty) = text.split_once(": ")?;
    let ty = ty.strip_prefix("static ").unwrap_or(ty);
    let ty = ty.strip_prefix("async ").unwrap_or(ty);
    ty.starts_with("func(")
        .then(|| format!("{prefix}{}", plain(name)))
}

/// Without the sign that makes a keyword a name.
fn plain(name: &str) -> &str {
    name.strip_prefix('%').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIT: &str = "package root:component;

world root {
  import wasi:cli/exit@0.2.6;

  record pair {
    square: u32,
  }

  export square: func(x: u64) -> u64;
  export %from: async func();
  export a:b/c@1.0.0;
  export model: interface {
    predict: func(text: string);
  }
}
package a:b@1.0.0 {
  interface c {
    resource counter {
      constructor(start: u64);
      add: func(by: u64);
      /// Kept.
      @since(version = 1.0.0)
      sum: static func(all: list<borrow<counter>>) -> u64;
    }
    live: func() -> u32;
  }
}
";

    #[test]
    fn every_function_has_its_comment_above_it() {
        let names = [
            "square",
            "from",
            "model#predict",
            "a:b/c@1.0.0#counter.new",
            "a:b/c@1.0.0#counter.add",
            "a:b/c@1.0.0#counter.sum",
            "a:b/c@1.0.0#live",
        ];
        let documented = with_docs(
            WIT,
            |name| names.iter().find(|known| **known == name).copied(),
            |_| None,
        );
        let lines: Vec<&str> = documented.lines().collect();
        for (name, line) in [
            ("square", "  export square: func(x: u64) -> u64;"),
            ("from", "  export %from: async func();"),
            ("model#predict", "    predict: func(text: string);"),
            ("a:b/c@1.0.0#counter.new", "      constructor(start: u64);"),
            ("a:b/c@1.0.0#counter.add", "      add: func(by: u64);"),
            ("a:b/c@1.0.0#live", "    live: func() -> u32;"),
        ] {
            let at = lines.iter().position(|found| *found == line).unwrap();
            let indent = line.len() - line.trim_start().len();
            assert_eq!(lines[at - 1], format!("{}/// {name}", " ".repeat(indent)));
        }
        assert!(!documented.contains("counter.sum"), "{documented}");
        assert_eq!(documented.lines().count(), WIT.lines().count() + 6);
    }

    #[test]
    fn what_nobody_documents_stays_as_it_is() {
        assert_eq!(with_docs(WIT, |_| None, |_| None), WIT);
        let square = |name: &str| (name == "square").then_some(" One.\n\nTwo.\n");
        let two = with_docs(WIT, square, |_| None);
        assert!(two.contains("  /// One.\n  ///\n  /// Two.\n  export square"));
    }

    #[test]
    fn types_have_theirs_and_so_has_each_field_and_case() {
        let wit = "world root {\n  record pair {\n    square: u32,\n  }\n  variant %enum {\n    none,\n    %use(pair),\n  }\n  export model: interface {\n    enum colour {\n      red,\n    }\n    f: func() -> colour;\n  }\n}\n";
        let names = [
            "pair",
            "pair.square",
            "enum",
            "enum.none",
            "enum.use",
            "model#",
            "model#colour",
            "model#colour.red",
        ];
        let documented = with_docs(
            wit,
            |_| None,
            |name| names.iter().find(|known| **known == name).copied(),
        );
        assert_eq!(
            documented,
            "world root {\n  /// pair\n  record pair {\n    /// pair.square\n    square: u32,\n  }\n  /// enum\n  variant %enum {\n    /// enum.none\n    none,\n    /// enum.use\n    %use(pair),\n  }\n  /// model#\n  export model: interface {\n    /// model#colour\n    enum colour {\n      /// model#colour.red\n      red,\n    }\n    f: func() -> colour;\n  }\n}\n"
        );
    }
}
