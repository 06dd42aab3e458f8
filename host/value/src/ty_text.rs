//! Types as WIT text: what signatures and error messages show.

use std::fmt::{self, Display, Formatter, Write};

use crate::{FuncType, Type};

impl Display for Type {
    /// A named type prints as its name; one without prints its whole shape.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::S8 => f.write_str("s8"),
            Type::U8 => f.write_str("u8"),
            Type::S16 => f.write_str("s16"),
            Type::U16 => f.write_str("u16"),
            Type::S32 => f.write_str("s32"),
            Type::U32 => f.write_str("u32"),
            Type::S64 => f.write_str("s64"),
            Type::U64 => f.write_str("u64"),
            Type::F32 => f.write_str("f32"),
            Type::F64 => f.write_str("f64"),
            Type::Char => f.write_str("char"),
            Type::String => f.write_str("string"),
            Type::List(item) => write!(f, "list<{item}>"),
            Type::FixedList(item, len) => write!(f, "list<{item}, {len}>"),
            Type::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Type::Tuple(items) => {
                f.write_str("tuple<")?;
                comma_separated(f, items.iter())?;
                f.write_char('>')
            }
            Type::Option(payload) => write!(f, "option<{payload}>"),
            Type::Result(result) => match (&result.ok, &result.err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
            Type::Own(name) => f.write_str(name),
            Type::Borrow(name) => write!(f, "borrow<{name}>"),
            Type::Stream(item) => one_parameter(f, "stream", item.as_deref()),
            Type::Future(value) => one_parameter(f, "future", value.as_deref()),
            Type::ErrorContext => f.write_str("error-context"),
            Type::Record(_) | Type::Variant(_) | Type::Enum(_) | Type::Flags(_) => {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => self.write_shape(f),
                }
            }
        }
    }
}

impl Type {
    /// The name of a record, variant, enum or flags type that has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Type::Record(record) => record.name.as_deref(),
            Type::Variant(variant) => variant.name.as_deref(),
            Type::Enum(cases) => cases.name.as_deref(),
            Type::Flags(flags) => flags.name.as_deref(),
            _ => None,
        }
    }

    fn write_shape(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Type::Record(record) => braced(
                f,
                "record",
                record
                    .fields
                    .iter()
                    .map(|field| format!("{}: {}", field.name, field.ty)),
            ),
            Type::Variant(variant) => braced(
                f,
                "variant",
                variant.cases.iter().map(|case| match &case.ty {
                    Some(ty) => format!("{}({ty})", case.name),
                    None => case.name.clone(),
                }),
            ),
            Type::Enum(cases) => {
                braced(f, "enum", cases.cases.iter().map(|case| case.name.clone()))
            }
            Type::Flags(flags) => {
                braced(f, "flags", flags.flags.iter().map(|flag| flag.name.clone()))
            }
            other => other.fmt(f),
        }
    }

    /// The shape of a named type, `record { depth: u32, rate: f64 }`; of any other, what it prints as.
    pub fn shape(&self) -> impl Display + '_ {
        fmt::from_fn(|f| self.write_shape(f))
    }
}

impl FuncType {
    /// `func(x: u64) -> u64`
    pub fn signature(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|param| format!("{}: {}", param.name, param.ty))
            .collect();
        let is_async = if self.is_async { "async " } else { "" };
        let result = self
            .result
            .as_ref()
            .map(|ty| format!(" -> {ty}"))
            .unwrap_or_default();
        format!("{is_async}func({}){result}", params.join(", "))
    }
}

fn one_parameter(f: &mut Formatter<'_>, name: &str, parameter: Option<&Type>) -> fmt::Result {
    match parameter {
        Some(ty) => write!(f, "{name}<{ty}>"),
        None => f.write_str(name),
    }
}

fn braced(
    f: &mut Formatter<'_>,
    keyword: &str,
    items: impl Iterator<Item = String>,
) -> fmt::Result {
    write!(f, "{keyword} {{ ")?;
    comma_separated(f, items)?;
    f.write_str(" }")
}

fn comma_separated<T: Display>(
    f: &mut Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
