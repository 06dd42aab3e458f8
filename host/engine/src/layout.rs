//! How large and how deep the types of a component are, found from its interface before any of it
//! is compiled or laid out.
//!
//! The canonical ABI computes sizes in 32 bits, which a few fixed-length lists inside one another
//! pass. So every exported function's types are measured here in 64 bits, and a component is
//! refused for them in words, at deployment.

use crate::codec::{MAX_DEPTH, MAX_VALUE_BYTES};
use lydian_value::{FuncType, Interface, Type};

/// Why the first function that cannot be called cannot.
pub(crate) fn refusal(interface: &Interface) -> Option<String> {
    interface.functions.iter().find_map(|function| {
        let name = &function.name;
        if types(function).any(|ty| deeper_than(ty, MAX_DEPTH)) {
            return Some(format!(
                "a type of function `{name}` nests deeper than {MAX_DEPTH}"
            ));
        }
        let params = function.params.iter().map(|param| measure(&param.ty));
        let params = side_by_side(params);
        let result = function.result.as_ref().map(measure).unwrap_or_default();
        let large = |what, measure: Measure| {
            (measure.bytes.max(measure.carried) > MAX_VALUE_BYTES).then(|| {
                format!(
                    "{what} of function `{name}` are larger than {} MiB in memory: use `list` in place of fixed-length lists",
                    MAX_VALUE_BYTES >> 20
                )
            })
        };
        large("the parameters", params).or_else(|| large("the values in the result", result))
    })
}

fn types(function: &FuncType) -> impl Iterator<Item = &Type> {
    let params = function.params.iter().map(|param| &param.ty);
    params.chain(&function.result)
}

/// Whether a type nests more than `levels` deep, what it carries included. Looks no deeper than
/// that.
fn deeper_than(ty: &Type, levels: usize) -> bool {
    let carried = match ty {
        Type::Stream(Some(item)) | Type::Future(Some(item)) => Some(&**item),
        _ => None,
    };
    levels == 0
        || parts(ty)
            .into_iter()
            .chain(carried)
            .any(|part| deeper_than(part, levels - 1))
}

/// The types that a type is made of. What a stream carries is not a part of the result that names
/// it.
pub(crate) fn parts(ty: &Type) -> Vec<&Type> {
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
        Type::Result(result) => result.ok.iter().chain(&result.err).collect(),
        _ => Vec::new(),
    }
}

/// One value in memory; sums saturate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measure {
    bytes: u64,
    align: u64,
    /// Of the largest value that it points to or carries: an item of a list or of a stream.
    carried: u64,
}

impl Default for Measure {
    fn default() -> Measure {
        scalar(0, 1)
    }
}

fn scalar(bytes: u64, align: u64) -> Measure {
    Measure {
        bytes,
        align,
        carried: 0,
    }
}

/// What the canonical ABI says of a type ("Alignment", "Element Size"), in 64 bits.
fn measure(ty: &Type) -> Measure {
    match ty {
        Type::Bool | Type::U8 | Type::S8 => scalar(1, 1),
        Type::U16 | Type::S16 => scalar(2, 2),
        Type::U64 | Type::S64 | Type::F64 => scalar(8, 8),
        Type::String => scalar(8, 4),
        Type::List(item) => pointing(scalar(8, 4), measure(item)),
        Type::Map(key, value) => {
            let entry = side_by_side([measure(key), measure(value)].into_iter());
            pointing(scalar(8, 4), entry)
        }
        Type::FixedList(item, len) => {
            let item = measure(item);
            Measure {
                bytes: item.bytes.saturating_mul(u64::from(*len)),
                ..item
            }
        }
        Type::Record(record) => side_by_side(record.fields.iter().map(|field| measure(&field.ty))),
        Type::Tuple(items) => side_by_side(items.iter().map(measure)),
        Type::Variant(variant) => {
            let payloads = variant.cases.iter().filter_map(|case| case.ty.as_ref());
            one_of(variant.cases.len(), payloads)
        }
        Type::Enum(cases) => one_of(cases.cases.len(), std::iter::empty()),
        Type::Option(payload) => one_of(2, std::iter::once(&**payload)),
        Type::Result(result) => one_of(2, result.ok.iter().chain(&result.err)),
        Type::Flags(flags) => match flags.flags.len() as u64 {
            0 => scalar(0, 1),
            1..=8 => scalar(1, 1),
            9..=16 => scalar(2, 2),
            more => scalar(more.div_ceil(32).saturating_mul(4), 4),
        },
        Type::Stream(Some(item)) | Type::Future(Some(item)) => {
            pointing(scalar(4, 4), measure(item))
        }
        _ => scalar(4, 4),
    }
}

fn pointing(at: Measure, item: Measure) -> Measure {
    Measure {
        carried: item.bytes.max(item.carried),
        ..at
    }
}

fn side_by_side(parts: impl Iterator<Item = Measure>) -> Measure {
    let sum = parts.fold(Measure::default(), |sum, part| Measure {
        bytes: aligned(sum.bytes, part.align).saturating_add(part.bytes),
        align: sum.align.max(part.align),
        carried: sum.carried.max(part.carried),
    });
    Measure {
        bytes: aligned(sum.bytes, sum.align),
        ..sum
    }
}

fn one_of<'a>(cases: usize, payloads: impl Iterator<Item = &'a Type>) -> Measure {
    let tag = match cases {
        0..=256 => 1,
        257..=65_536 => 2,
        _ => 4,
    };
    let widest = payloads
        .map(measure)
        .fold(scalar(0, tag), |most, payload| Measure {
            bytes: most.bytes.max(payload.bytes),
            align: most.align.max(payload.align),
            carried: most.carried.max(payload.carried),
        });
    let bytes = aligned(tag, widest.align).saturating_add(widest.bytes);
    Measure {
        bytes: aligned(bytes, widest.align),
        ..widest
    }
}

fn aligned(bytes: u64, align: u64) -> u64 {
    bytes.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lydian_value::ExportPath;

    fn interface(result: Type) -> Interface {
        Interface {
            functions: vec![FuncType {
                name: "f".into(),
                params: Vec::new(),
                result: Some(result),
                is_async: false,
                docs: String::new(),
                export: ExportPath {
                    interface: None,
                    raw: "f".into(),
                },
            }],
            ..Interface::default()
        }
    }

    fn refused(result: Type) -> bool {
        refusal(&interface(result)).is_some()
    }

    /// 2^30 bytes times 2^30 times 2^30 wrap 64 bits; 2^16 times 2^16 wrap 32; each level alone is
    /// a small number.
    #[test]
    fn sizes_are_computed_without_wrapping() {
        let huge = |item, levels| (0..levels).fold(item, |ty, _| Type::fixed_list(ty, 1 << 30));
        assert!(refused(huge(Type::U8, 3)));
        assert!(refused(Type::tuple([huge(Type::U8, 3), Type::U8])));
        let square = |side| Type::fixed_list(Type::fixed_list(Type::U8, side), side);
        assert!(refused(square(1 << 16)));
        assert!(!refused(square(1 << 13)));
        assert!(refused(Type::fixed_list(Type::option(Type::U64), 1 << 23)));
        // Nor where only a pointer to it is in the result.
        assert!(refused(Type::list(square(1 << 16))));
        assert!(refused(Type::Stream(Some(square(1 << 16).into()))));
        assert!(refused(Type::option(huge(Type::U8, 2))));
    }

    #[test]
    fn measures_are_the_canonical_abis() {
        let cases = [
            (Type::tuple([Type::U8, Type::U64, Type::U8]), (24, 8)),
            (Type::option(Type::U16), (4, 2)),
            (Type::result(None, Some(Type::F64)), (16, 8)),
            (
                Type::fixed_list(Type::tuple([Type::U32, Type::U8]), 3),
                (24, 4),
            ),
            (Type::list(Type::String), (8, 4)),
        ];
        for (ty, expected) in cases {
            let measure = measure(&ty);
            assert_eq!((measure.bytes, measure.align), expected, "{ty}");
        }
    }

    /// What a stream carries is laid out as well.
    #[test]
    fn depth_counts_what_is_carried() {
        let deep = |levels| (0..levels).fold(Type::U8, |ty, _| Type::option(ty));
        assert!(!refused(deep(MAX_DEPTH - 1)));
        assert!(refused(deep(MAX_DEPTH)));
        assert!(refused(Type::Stream(Some(deep(MAX_DEPTH).into()))));
    }
}
