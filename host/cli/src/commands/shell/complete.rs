//! What Tab offers at the prompt. Pure.

use lydian_value::{FuncType, Type};

use crate::output::signature;

/// What there is to complete with.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) functions: Vec<FuncType>,
    /// Names, each with the resource it stands for, if it is one.
    pub(super) values: Vec<(String, Option<String>)>,
    pub(super) commands: Vec<String>,
}

/// Where the word at the end of `text` begins, and what it may become.
pub(super) fn complete(text: &str, scope: &Scope) -> (usize, Vec<String>) {
    let start = text.rfind(|c: char| !belongs(c)).map_or(0, |at| at + 1);
    let (before, word) = text.split_at(start);
    let mut found = if before.trim().is_empty() && word.starts_with('.') {
        scope.commands.clone()
    } else if is_head(before) {
        scope.heads(word)
    } else {
        scope.arguments(before, word)
    };
    found.retain(|name| name.starts_with(word));
    found.sort_unstable();
    found.dedup();
    (start, found)
}

/// Characters of names of functions, values, commands and options.
fn belongs(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:/#@%".contains(c)
}

/// Nothing, or only `let name =`, stands before the word.
fn is_head(before: &str) -> bool {
    let before = before.trim();
    before.is_empty() || before.starts_with("let ") && before.ends_with('=')
}

impl Scope {
    fn heads(&self, word: &str) -> Vec<String> {
        if let Some((name, _)) = word.split_once('.')
            && let Some((_, Some(resource))) = self.values.iter().find(|(known, _)| known == name)
        {
            return self.methods(name, resource);
        }
        let functions = self.functions.iter().flat_map(|function| {
            let local = function.name.rsplit('#').next().unwrap_or_default();
            [function.name.clone(), local.to_owned()]
        });
        let values = self.values.iter().map(|(name, _)| name.clone());
        functions.chain(values).chain(["let ".to_owned()]).collect()
    }

    fn methods(&self, name: &str, resource: &str) -> Vec<String> {
        let prefix = format!("{resource}.");
        let locals = self.functions.iter().filter_map(|function| {
            let local = function.name.rsplit('#').next()?;
            local
                .strip_prefix(&prefix)
                .filter(|method| *method != "new")
        });
        locals.map(|method| format!("{name}.{method}")).collect()
    }

    fn arguments(&self, before: &str, word: &str) -> Vec<String> {
        let mut found: Vec<String> = self.values.iter().map(|(name, _)| name.clone()).collect();
        let Some(function) = self.called(before) else {
            return found;
        };
        if word.starts_with("--") {
            return function
                .params
                .iter()
                .map(|param| format!("--{}", param.name))
                .collect();
        }
        let types = function.params.iter().map(|param| &param.ty);
        types.for_each(|ty| labels(ty, &mut found));
        found.extend(
            function
                .params
                .iter()
                .map(|param| format!("{}: ", param.name)),
        );
        found
    }

    /// The function whose arguments are being typed.
    fn called(&self, before: &str) -> Option<&FuncType> {
        let text = before.trim_start();
        let text = text
            .strip_prefix("let ")
            .and_then(|rest| Some(rest.split_once('=')?.1))
            .unwrap_or(text);
        let text = text.trim_start();
        let head = &text[..text.find(|c: char| !belongs(c)).unwrap_or(text.len())];
        let of_value = head.split_once('.').and_then(|(name, method)| {
            let (_, resource) = self.values.iter().find(|(known, _)| known == name)?;
            Some(format!("{}.{method}", resource.as_ref()?))
        });
        let name = of_value.as_deref().unwrap_or(head);
        self.functions.iter().find(|function| {
            function.name == name || function.name.rsplit('#').next() == Some(name)
        })
    }
}

/// The names that values of a type are written with.
fn labels(ty: &Type, found: &mut Vec<String>) {
    let text = |word: &str| word.to_owned();
    match ty {
        Type::Bool => found.extend([text("true"), text("false")]),
        Type::Record(record) => found.extend(
            record
                .fields
                .iter()
                .map(|field| format!("{}: ", field.name)),
        ),
        Type::Variant(variant) => found.extend(variant.cases.iter().map(|case| case.name.clone())),
        Type::Enum(cases) => found.extend(cases.cases.iter().map(|case| case.name.clone())),
        Type::Flags(flags) => found.extend(flags.flags.iter().map(|flag| flag.name.clone())),
        Type::Option(_) => found.extend([text("some("), text("none")]),
        Type::Result(_) => found.extend([text("ok("), text("err(")]),
        _ => {}
    }
    for child in signature::children(ty) {
        labels(child, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let rule = Type::enumeration("rule", ["fixed", "adaptive"]);
        let config = Type::record("config", [("depth", Type::U32), ("rule", rule)]);
        let counter = || Type::Borrow("counter".into());
        Scope {
            functions: vec![
                FuncType::new("train", [("config", config), ("seed", Type::U64)], None),
                FuncType::new("a:b/c#counter.new", [("start", Type::U64)], None),
                FuncType::new(
                    "a:b/c#counter.increment",
                    [("self", counter()), ("by", Type::U64)],
                    None,
                ),
            ],
            values: vec![
                ("c".to_owned(), Some("counter".to_owned())),
                ("n".to_owned(), None),
            ],
            commands: vec![".help".to_owned(), ".quit".to_owned()],
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(complete(text, &scope()).1, expected, "{text}");
    }

    #[test]
    fn heads_are_functions_values_and_commands() {
        check("tr", &["train"]);
        check("let x = cou", &["counter.increment", "counter.new"]);
        check("a:", &["a:b/c#counter.increment", "a:b/c#counter.new"]);
        check(".h", &[".help"]);
        check("c.", &["c.increment"]);
        assert_eq!(complete("let x = tr", &scope()).0, 8);
    }

    #[test]
    fn arguments_are_fields_cases_options_and_values() {
        check("train({de", &["depth: "]);
        check("train({depth: 3, rule: ad", &["adaptive"]);
        check("train --s", &["--seed"]);
        check("let y = train(co", &["config: "]);
        check("train(n", &["n"]);
        check("c.increment(b", &["by: "]);
    }
}
