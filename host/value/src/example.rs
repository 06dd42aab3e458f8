//! An example of a value of each type, in WAVE: what an error shows beside the type.

use crate::{Type, wave};

impl Type {
    /// A value of the type as WAVE, `{depth: 42, rate: 1.5}`; cut short where the type is large.
    pub fn example(&self) -> String {
        /// About a line on a terminal.
        const MAX_CHARS: usize = 160;
        let mut out = String::new();
        self.write_example(&mut out, 0);
        if out.chars().count() > MAX_CHARS {
            out = out.chars().take(MAX_CHARS).chain(['…']).collect();
        }
        out
    }

    fn write_example(&self, out: &mut String, depth: usize) {
        /// Enough to see the shape; beyond, and after a line's worth, the rest is left out.
        const MAX_DEPTH: usize = 6;
        const ENOUGH_BYTES: usize = 400;
        if depth > MAX_DEPTH || out.len() > ENOUGH_BYTES {
            return out.push('…');
        }
        let part = |out: &mut String, ty: &Type| ty.write_example(out, depth + 1);
        match self {
            Type::Bool => out.push_str("true"),
            Type::S8
            | Type::U8
            | Type::S16
            | Type::U16
            | Type::S32
            | Type::U32
            | Type::S64
            | Type::U64 => {
                out.push_str("42");
            }
            Type::F32 | Type::F64 => out.push_str("1.5"),
            Type::Char => out.push_str("'x'"),
            Type::String => out.push_str("\"text\""),
            Type::Own(_)
            | Type::Borrow(_)
            | Type::Stream(_)
            | Type::Future(_)
            | Type::ErrorContext => out.push('1'),
            Type::List(item) => {
                sequence(out, ["[", "]"], [item, item], |out, item| part(out, item))
            }
            Type::FixedList(item, len) => {
                sequence(out, ["[", "]"], (0..*len).take(ENOUGH_BYTES), |out, _| {
                    part(out, item)
                });
            }
            Type::Map(key, value) => sequence(out, ["[", "]"], [()], |out, ()| {
                sequence(out, ["(", ")"], [key, value], |out, ty| part(out, ty));
            }),
            Type::Record(record) => sequence(out, ["{", "}"], &record.fields, |out, field| {
                out.push_str(&field.name);
                out.push_str(": ");
                part(out, &field.ty);
            }),
            Type::Tuple(items) => {
                sequence(out, ["(", ")"], items.iter(), |out, item| part(out, item))
            }
            Type::Variant(variant) => {
                let Some(case) = variant.cases.first() else {
                    return;
                };
                out.push_str(&wave::case(&case.name));
                sequence_if(out, case.ty.as_ref(), part);
            }
            Type::Enum(cases) => {
                let case = cases.cases.first();
                out.push_str(&case.map(|case| wave::case(&case.name)).unwrap_or_default());
            }
            Type::Option(payload) => {
                out.push_str("some");
                sequence_if(out, Some(payload), part);
            }
            Type::Result(result) => {
                out.push_str("ok");
                sequence_if(out, result.ok.as_ref(), part);
            }
            Type::Flags(flags) => {
                sequence(out, ["{", "}"], flags.flags.iter().take(2), |out, flag| {
                    out.push_str(&wave::case(&flag.name))
                });
            }
        }
    }
}

fn sequence<T>(
    out: &mut String,
    [open, close]: [&str; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push_str(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
    out.push_str(close);
}

fn sequence_if(
    out: &mut String,
    payload: Option<&Type>,
    mut write: impl FnMut(&mut String, &Type),
) {
    if let Some(ty) = payload {
        sequence(out, ["(", ")"], [ty], |out, ty| write(out, ty));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    /// An example that does not parse would send people the wrong way.
    #[test]
    fn an_example_is_a_value_of_its_type() {
        let shape = Type::variant("shape", [("circle", Some(Type::F32)), ("none", None)]);
        let types = [
            Type::list(Type::tuple([Type::U8, Type::Char])),
            Type::fixed_list(Type::Bool, 3),
            Type::map(Type::String, shape),
            Type::record(
                "r",
                [
                    ("a", Type::option(Type::S8)),
                    ("b", Type::result(None, Some(Type::U8))),
                ],
            ),
            Type::flags("f", ["read", "write"]),
            Type::enumeration("e", ["red"]),
            Type::enumeration("e", ["ok", "red"]),
            Type::variant("v", [("some", Some(Type::U8)), ("red", None)]),
            Type::flags("f", ["none", "all"]),
        ];
        for ty in types {
            let example = ty.example();
            assert!(
                wave::parse(&ty, &example, &Limits::default()).is_ok(),
                "{ty}: {example}"
            );
        }
    }

    /// Types can be as large as a component's author likes; a hint stays a line.
    #[test]
    fn a_large_type_has_a_short_example() {
        let mut ty = Type::U8;
        for _ in 0..60 {
            ty = Type::tuple([ty.clone(), ty]);
        }
        assert!(ty.example().chars().count() <= 161);
        assert!(
            Type::fixed_list(Type::U8, u32::MAX)
                .example()
                .chars()
                .count()
                <= 161
        );
    }
}
