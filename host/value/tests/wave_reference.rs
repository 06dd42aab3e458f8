//! Our WAVE against the `wasm-wave` crate's: what it writes we read, what we write it reads, and what it refuses as
//! malformed we refuse.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod common;

use common::typed_values;
use lydian_value::{Limits, Type, Value, wave};
use proptest::prelude::*;
use wasm_wave::value::{Type as RefType, Value as RefValue};

/// The reference's type; none for what it has no word for.
fn reference_type(ty: &Type) -> Option<RefType> {
    Some(match ty {
        Type::Bool => RefType::BOOL,
        Type::S8 => RefType::S8,
        Type::U8 => RefType::U8,
        Type::S16 => RefType::S16,
        Type::U16 => RefType::U16,
        Type::S32 => RefType::S32,
        Type::U32 => RefType::U32,
        Type::S64 => RefType::S64,
        Type::U64 => RefType::U64,
        Type::F32 => RefType::F32,
        Type::F64 => RefType::F64,
        Type::Char => RefType::CHAR,
        Type::String => RefType::STRING,
        Type::List(item) => RefType::list(reference_type(item)?),
        Type::Tuple(items) => RefType::tuple(
            items
                .iter()
                .map(reference_type)
                .collect::<Option<Vec<_>>>()?,
        )?,
        Type::Record(record) => {
            let fields = record
                .fields
                .iter()
                .map(|field| Some((field.name.clone(), reference_type(&field.ty)?)));
            RefType::record(fields.collect::<Option<Vec<_>>>()?)?
        }
        Type::Variant(variant) => {
            let cases = variant
                .cases
                .iter()
                .map(|case| Some((case.name.clone(), optional(case.ty.as_ref())?)));
            RefType::variant(cases.collect::<Option<Vec<_>>>()?)?
        }
        Type::Enum(cases) => RefType::enum_ty(cases.cases.iter().map(|case| case.name.clone()))?,
        Type::Option(payload) => RefType::option(reference_type(payload)?),
        Type::Result(result) => RefType::result(
            optional(result.ok.as_ref())?,
            optional(result.err.as_ref())?,
        ),
        Type::Flags(flags) => RefType::flags(flags.flags.iter().map(|flag| flag.name.clone()))?,
        _ => return None,
    })
}

fn optional(ty: Option<&Type>) -> Option<Option<RefType>> {
    match ty {
        Some(ty) => reference_type(ty).map(Some),
        None => Some(None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Guests' tools and ours show one value in one notation.
    #[test]
    fn each_reads_what_the_other_writes((ty, value) in typed_values()) {
        let Some(reference) = reference_type(&ty) else { return Ok(()) };
        let limits = Limits::default();
        let ours = wave::print(&ty, &value, &limits).unwrap();
        let theirs: RefValue = wasm_wave::from_str(&reference, &ours)
            .map_err(|error| TestCaseError::fail(format!("{ours}: {error}")))?;
        let printed = wasm_wave::to_string(&theirs).unwrap();
        let read = wave::parse(&ty, &printed, &limits)
            .map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
        prop_assert_eq!(read, value, "{} / {}", ours, printed);
    }

    /// Anything the reference takes we take, and as the same value.
    #[test]
    fn what_the_reference_reads_we_read_alike(
        ty in common::types(),
        text in "[\\[\\](){}:,\"'%a-c0-2.e+\\- \n]{0,12}|\"{3}\r?\n[a-b \\\\n\n\"]{0,8}\n *\"{3}|'[^a]{1,2}'|(some|ok|err|none|true|inf|-inf|nan|//x\n| |,|\\(|\\)){1,4}",
    ) {
        let Some(reference) = reference_type(&ty) else { return Ok(()) };
        if let Ok(theirs) = wasm_wave::from_str::<RefValue>(&reference, &text) {
            let ours = wave::parse(&ty, &text, &Limits::default());
            let ours = ours.map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
            let printed = wasm_wave::to_string(&theirs).unwrap();
            prop_assert_eq!(wave::parse(&ty, &printed, &Limits::default()).unwrap(), ours, "{:?}", text);
        }
    }
}

/// The examples of the reference's own documentation.
#[test]
fn the_documented_examples_are_read() {
    let read = |ty: &Type, text: &str| {
        wave::parse(ty, text, &Limits::default()).unwrap_or_else(|e| panic!("{text}: {e}"))
    };
    assert_eq!(read(&Type::F64, "6.022e+23"), Value::F64(6.022e23));
    assert_eq!(read(&Type::Char, "'☃'"), Value::Char('☃'));
    assert_eq!(read(&Type::Char, r"'\u{0}'"), Value::Char('\0'));
    assert_eq!(read(&Type::Char, r"'\''"), Value::Char('\''));
    let lines = "\"\"\"\n    Indentation determined\n      by ending delimiter\n  \"\"\"";
    assert_eq!(
        read(&Type::String, lines),
        "  Indentation determined\n    by ending delimiter".into()
    );
    let escapes = "\"\"\"\n  end of line: \\r\n  \"\"\\\"\"\n  \"\"\"";
    assert_eq!(
        read(&Type::String, escapes),
        "end of line: \r\n\"\"\"\"".into()
    );
    let all_optional = Type::record("r", [("optional", Type::option(Type::U8))]);
    assert_eq!(
        read(&all_optional, "{:}"),
        Value::Record(vec![Value::Option(None)])
    );
    assert_eq!(
        read(&Type::tuple([Type::U8, Type::String]), "(123, \"abc\",)").to_owned(),
        Value::Tuple(vec![Value::U8(123), "abc".into()])
    );
    let status = Type::enumeration("status", ["ok", "not-found"]);
    assert_eq!(read(&status, "%ok"), Value::Enum(0));
    assert!(wave::parse(&status, "ok", &Limits::default()).is_err());
    let flat = Type::result(Some(Type::String), Some(Type::String));
    assert_eq!(read(&flat, "\"flat ok\""), read(&flat, "ok(\"flat ok\")"));
    assert_eq!(
        read(&Type::list(Type::U8), "[1, // one\n 2]"),
        Value::Bytes(vec![1, 2].into())
    );
}
