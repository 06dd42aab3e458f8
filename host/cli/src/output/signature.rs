//! A function explained: docs, parameters with the types behind their names, and an example that runs.

use std::fmt::Write as _;

use lydian_value::{FuncType, Type, wave};

use super::style::Style;

/// The help of one function; `target` is how the user named it, the function included.
pub(crate) fn help(function: &FuncType, docs: &str, target: &str, style: Style) -> String {
    let mut text = format!("{}: {}\n", style.bold(&function.name), function.signature());
    for line in docs.trim().lines() {
        let _ = writeln!(text, "{}", format!("  {line}").trim_end());
    }
    if !function.params.is_empty() {
        let _ = write!(text, "\n{}\n", style.bold("Parameters:"));
        let width = function
            .params
            .iter()
            .map(|param| param.name.len())
            .max()
            .unwrap_or(0);
        for param in &function.params {
            let _ = writeln!(text, "  --{:width$}  {}", param.name, param.ty);
        }
    }
    let types = named_types([function]);
    if !types.is_empty() {
        let _ = write!(text, "\n{}\n", style.bold("Types:"));
        for ty in types {
            let _ = writeln!(text, "  {}", definition(ty));
            for line in about(ty) {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
        }
    }
    let _ = write!(
        text,
        "\n{}\n  {}\n",
        style.bold("Example:"),
        example(function, target)
    );
    text
}

/// A command line that calls `function`.
pub(crate) fn example(function: &FuncType, target: &str) -> String {
    let mut line = format!("lydian run {}", quote(target));
    for param in &function.params {
        line.push(' ');
        line += &quote(&sample(&param.ty));
    }
    line
}

/// `config = record { depth: u32 }`
pub(crate) fn definition(ty: &Type) -> String {
    format!("{} = {}", ty.name().unwrap_or_default(), ty.shape())
}

/// What is said of a named type, and of each of its parts.
fn about(ty: &Type) -> Vec<String> {
    let part = |name: &str, docs: &str| {
        let lines: Vec<&str> = docs.trim().lines().map(str::trim).collect();
        (!lines.is_empty()).then(|| format!("{name}: {}", lines.join(" ")))
    };
    let (docs, parts): (&str, Vec<Option<String>>) = match ty {
        Type::Record(it) => {
            let fields = it.fields.iter();
            (
                &it.docs,
                fields.map(|field| part(&field.name, &field.docs)).collect(),
            )
        }
        Type::Variant(it) => {
            let cases = it.cases.iter();
            (
                &it.docs,
                cases.map(|case| part(&case.name, &case.docs)).collect(),
            )
        }
        Type::Enum(it) => {
            let cases = it.cases.iter();
            (
                &it.docs,
                cases.map(|case| part(&case.name, &case.docs)).collect(),
            )
        }
        Type::Flags(it) => {
            let flags = it.flags.iter();
            (
                &it.docs,
                flags.map(|flag| part(&flag.name, &flag.docs)).collect(),
            )
        }
        _ => return Vec::new(),
    };
    let own = docs.trim().lines().map(str::to_owned);
    own.chain(parts.into_iter().flatten()).collect()
}

/// The first use of each named type, outer before inner.
pub(crate) fn named_types<'a>(functions: impl IntoIterator<Item = &'a FuncType>) -> Vec<&'a Type> {
    fn visit<'a>(ty: &'a Type, found: &mut Vec<&'a Type>) {
        if let Some(name) = ty.name() {
            if found.iter().any(|before| before.name() == Some(name)) {
                return;
            }
            found.push(ty);
        }
        children(ty)
            .into_iter()
            .for_each(|child| visit(child, found));
    }
    let mut found = Vec::new();
    for function in functions {
        let params = function.params.iter().map(|param| &param.ty);
        params
            .chain(&function.result)
            .for_each(|ty| visit(ty, &mut found));
    }
    found
}

/// Whether values of the type are, or hold, resources.
pub(crate) fn has_resource(ty: &Type) -> bool {
    matches!(ty, Type::Own(_) | Type::Borrow(_)) || children(ty).into_iter().any(has_resource)
}

pub(crate) fn children(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::List(item) | Type::FixedList(item, _) | Type::Option(item) => vec![item],
        Type::Map(key, value) => vec![key, value],
        Type::Record(record) => record.fields.iter().map(|field| &field.ty).collect(),
        Type::Tuple(items) => items.iter().collect(),
        Type::Variant(variant) => variant
            .cases
            .iter()
            .filter_map(|case| case.ty.as_ref())
            .collect(),
        Type::Result(result) => [&result.ok, &result.err].into_iter().flatten().collect(),
        Type::Stream(item) | Type::Future(item) => item.as_deref().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A value of the type, in WAVE.
pub(crate) fn sample(ty: &Type) -> String {
    let payload = |ty: Option<&Type>| ty.map(|ty| format!("({})", sample(ty))).unwrap_or_default();
    let list =
        |items: Vec<String>, open: &str, close: &str| format!("{open}{}{close}", items.join(", "));
    match ty {
        Type::Bool => "true".to_owned(),
        Type::F32 | Type::F64 => "0.5".to_owned(),
        Type::Char => "'a'".to_owned(),
        Type::String => "\"text\"".to_owned(),
        Type::List(item) => list(vec![sample(item)], "[", "]"),
        Type::FixedList(item, len) => list(vec![sample(item); *len as usize], "[", "]"),
        Type::Map(key, value) => format!("[({}, {})]", sample(key), sample(value)),
        Type::Record(record) => {
            let fields = record
                .fields
                .iter()
                .map(|field| format!("{}: {}", field.name, sample(&field.ty)));
            list(fields.collect(), "{", "}")
        }
        Type::Tuple(items) => list(items.iter().map(sample).collect(), "(", ")"),
        Type::Variant(variant) => {
            let case = variant.cases.first();
            case.map(|case| format!("{}{}", wave::case(&case.name), payload(case.ty.as_ref())))
                .unwrap_or_default()
        }
        Type::Enum(cases) => cases
            .cases
            .first()
            .map(|case| wave::case(&case.name).into_owned())
            .unwrap_or_default(),
        Type::Option(payload) => format!("some({})", sample(payload)),
        Type::Result(result) => format!("ok{}", payload(result.ok.as_ref())),
        Type::Flags(flags) => list(
            flags
                .flags
                .iter()
                .take(1)
                .map(|flag| wave::case(&flag.name).into_owned())
                .collect(),
            "{",
            "}",
        ),
        // Integers; handles and streams are numbers too, though only a session has any to pass.
        _ => "1".to_owned(),
    }
}

/// A word the shell passes on as it is.
pub(crate) fn quote(text: &str) -> String {
    // A tilde means a home directory at the start of a word only.
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,~".contains(c);
    if !text.is_empty() && !text.starts_with('~') && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> FuncType {
        let rule = Type::variant("rule", [("fixed", Some(Type::F64)), ("adaptive", None)]);
        let config = Type::record("config", [("depth", Type::U32), ("rule", rule)]);
        FuncType::new(
            "train",
            [("config", config), ("note", Type::String)],
            Some(Type::result(Some(Type::F64), Some(Type::String))),
        )
    }

    #[test]
    fn help_shows_docs_parameters_types_and_an_example() {
        let expected = "\
train: func(config: config, note: string) -> result<f64, string>
  Trains once.

Parameters:
  --config  config
  --note    string

Types:
  config = record { depth: u32, rule: rule }
  rule = variant { fixed(f64), adaptive }

Example:
  lydian run m.wasm::train '{depth: 1, rule: fixed(0.5)}' '\"text\"'
";
        assert_eq!(
            help(&train(), "Trains once.", "m.wasm::train", Style::PLAIN),
            expected
        );
    }

    #[test]
    fn help_shows_what_is_said_of_types_and_their_parts() {
        let docs = |name: &str| match name {
            "config" => Some("How it trains.\n\nAt length."),
            "config.depth" => Some("Splits in a row,\nat most."),
            "rule.adaptive" => Some("Finds its own."),
            _ => None,
        };
        let function = train().with_type_docs(docs);
        let expected = "
Types:
  config = record { depth: u32, rule: rule }
    How it trains.

    At length.
    depth: Splits in a row, at most.
  rule = variant { fixed(f64), adaptive }
    adaptive: Finds its own.
";
        let help = help(&function, "", "m.wasm::train", Style::PLAIN);
        assert!(help.contains(expected), "{help}");
    }

    /// Cases may have the names of WAVE's own words.
    #[test]
    fn examples_of_cases_with_odd_names_are_values_of_their_type() {
        let ty = Type::tuple([
            Type::enumeration("answer", ["ok", "late"]),
            Type::variant("found", [("none", None), ("all", Some(Type::U8))]),
            Type::flags("set", ["true"]),
            Type::map(Type::String, Type::list(Type::U8)),
        ]);
        let limits = lydian_value::Limits::default();
        let sample = sample(&ty);
        assert!(wave::parse(&ty, &sample, &limits).is_ok(), "{sample}");
    }

    /// An example that does not run is worse than none.
    #[test]
    fn examples_are_values_of_their_type() {
        let function = train();
        let texts: Vec<String> = function
            .params
            .iter()
            .map(|param| sample(&param.ty))
            .collect();
        assert!(
            function
                .args_from_wave(&texts, &lydian_value::Limits::default())
                .is_ok()
        );
    }

    #[test]
    fn quoting_keeps_the_word_whole() {
        assert_eq!(quote("a.wasm::acme:img/resize"), "a.wasm::acme:img/resize");
        assert_eq!(quote("hello~7f3a2c::greet"), "hello~7f3a2c::greet");
        assert_eq!(quote("~a"), "'~a'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
