//! What the fuzz targets share: a random type, drawn from the input's front.
//!
//! `cargo +nightly fuzz run wire -- -max_total_time=60`, and the same for `json`, `wave`, `inspect` and `type-json`;
//! `scan` needs `--features engine`.
//! `inspect` goes further from a real component: `cargo +nightly fuzz run inspect fuzz/corpus/inspect fuzz/seeds/inspect`.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use lydian_value::{Limits, Type};

/// Bounds small enough that each of them is met.
pub const LIMITS: Limits = Limits {
    depth: 16,
    bytes: 4096,
    values: 1024,
};

/// Names that WAVE reads as something else are among them.
const NAMES: [&str; 8] = ["a", "b-c", "none", "err", "true", "inf", "X1", "some"];

/// A type of at most this many levels; record and case names are distinct.
pub fn any_type(u: &mut Unstructured<'_>, depth: u32) -> Result<Type> {
    let simple = [
        Type::Bool,
        Type::S8,
        Type::U8,
        Type::S16,
        Type::U16,
        Type::S32,
        Type::U32,
        Type::S64,
        Type::U64,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::String,
        Type::Own("r".into()),
        Type::Borrow("r".into()),
        Type::ErrorContext,
    ];
    if depth == 0 {
        return u.choose(&simple).cloned();
    }
    let mut inner = |u: &mut Unstructured<'_>| any_type(u, depth - 1);
    Ok(match u.int_in_range(0..=13)? {
        0 => Type::list(inner(u)?),
        1 => {
            let len = u.int_in_range(1..=5)?;
            Type::fixed_list(inner(u)?, len)
        }
        2 => Type::map(any_type(u, 0)?, inner(u)?),
        3 => Type::option(inner(u)?),
        4 => Type::result(optional(u, &mut inner)?, optional(u, &mut inner)?),
        5 => {
            let count = u.int_in_range(1..=3)?;
            Type::tuple((0..count).map(|_| inner(u)).collect::<Result<Vec<_>>>()?)
        }
        6 => {
            let count = u.int_in_range(1..=NAMES.len())?;
            let fields = NAMES[..count].iter().map(|name| Ok((*name, inner(u)?)));
            Type::record("r", fields.collect::<Result<Vec<_>>>()?)
        }
        7 => {
            let count = u.int_in_range(1..=NAMES.len())?;
            let cases = NAMES[..count]
                .iter()
                .map(|name| Ok((*name, optional(u, &mut inner)?)));
            Type::variant("v", cases.collect::<Result<Vec<_>>>()?)
        }
        8 => Type::enumeration("e", names(u)?),
        9 => Type::flags("f", names(u)?),
        10 => Type::Stream(optional(u, &mut inner)?.map(Into::into)),
        _ => u.choose(&simple).cloned()?,
    })
}

fn optional(
    u: &mut Unstructured<'_>,
    inner: &mut impl FnMut(&mut Unstructured<'_>) -> Result<Type>,
) -> Result<Option<Type>> {
    if u.arbitrary()? {
        inner(u).map(Some)
    } else {
        Ok(None)
    }
}

fn names(u: &mut Unstructured<'_>) -> Result<Vec<String>> {
    let count = u.int_in_range(1..=200)?;
    Ok((0..count)
        .map(|index| {
            NAMES
                .get(index)
                .map_or_else(|| format!("n{index}"), |name| (*name).to_owned())
        })
        .collect())
}

/// Splits the input into a type and the rest, as bytes and as text.
pub fn type_and_rest(data: &[u8]) -> Option<(Type, &[u8])> {
    let mut u = Unstructured::new(data);
    let ty = any_type(&mut u, 4).ok()?;
    Some((ty, u.take_rest()))
}
