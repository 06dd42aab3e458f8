//! What people read when a value is wrong: the place, what was expected, and a way out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use lydian_value::{FuncType, Limits, Type, Value, json, wave};

fn limits() -> Limits {
    Limits::default()
}

fn config() -> Type {
    let layer = Type::record(
        "layer",
        [
            ("units", Type::U16),
            ("kind", Type::enumeration("kind", ["dense", "sparse"])),
        ],
    );
    Type::record(
        "config",
        [
            ("rate", Type::F64),
            ("layers", Type::list(layer)),
            (
                "shape",
                Type::option(Type::variant(
                    "shape",
                    [("square", None), ("circle", Some(Type::F32))],
                )),
            ),
            ("mode", Type::option(Type::flags("mode", ["fast", "exact"]))),
        ],
    )
}

fn json_error(text: &str) -> (String, Vec<String>) {
    let error = json::from_str(&config(), text, &limits()).unwrap_err();
    (error.to_string(), error.hints())
}

fn wave_error(text: &str) -> (String, Vec<String>) {
    let error = wave::parse(&config(), text, &limits()).unwrap_err();
    (error.to_string(), error.hints())
}

/// The path leads to the place, whatever spelling the value is in.
#[test]
fn an_error_names_the_place_in_the_value() {
    assert_eq!(
        json_error(r#"{"rate": "x", "layers": []}"#).0,
        "rate: expected f64, found string"
    );
    assert_eq!(
        wave_error(r#"{rate: "x", layers: []}"#).0,
        "rate: expected f64, found string"
    );
    assert_eq!(
        json_error(r#"{"rate": 1, "layers": [{"units": 1, "kind": "dense"}, {"units": 70000, "kind": "dense"}]}"#).0,
        "layers[1].units: 70000 is out of range for u16"
    );
    assert_eq!(
        wave_error("{rate: 1, layers: [{units: 1.5, kind: dense}]}").0,
        "layers[0].units: expected u16, found number 1.5"
    );
    assert_eq!(
        json_error(r#"{"rate": 1, "layers": [], "shape": {"circle": null}}"#).0,
        "shape.circle: expected f32, found null"
    );
    let layer = Value::Record(vec![Value::U16(1), Value::Bool(true)]);
    let value = Value::Record(vec![
        Value::F64(1.0),
        Value::List(vec![layer]),
        Value::Option(None),
        Value::Option(None),
    ]);
    let func = FuncType::new("train", [("config", config())], None);
    let error = func.encode_args(&[value], &limits()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.layers[0].kind: expected kind, found bool"
    );
    assert_eq!(error.path(), "config.layers[0].kind");
}

/// Typing errors in names are the commonest; the nearest name is usually the one.
#[test]
fn an_unknown_name_brings_the_nearest() {
    let (text, hints) = json_error(r#"{"rat": 1, "layers": []}"#);
    assert_eq!(
        (&*text, &*hints[0]),
        ("no field `rat`", "did you mean `rate`?")
    );
    let (text, hints) = wave_error("{rate: 1, layers: [{units: 1, kind: dnse}]}");
    assert_eq!(
        (&*text, &*hints[0]),
        ("layers[0].kind: no case `dnse`", "did you mean `dense`?")
    );
    let (text, hints) = json_error(r#"{"rate": 1, "layers": [], "shape": "zzz"}"#);
    assert_eq!(
        (&*text, &*hints[0]),
        ("shape: no case `zzz`", "there are `square`, `circle`")
    );
    let (text, hints) = wave_error("{rate: 1, layers: [], mode: {fats}}");
    assert_eq!(
        (&*text, &*hints[0]),
        ("mode: no flag `fats`", "did you mean `fast`?")
    );
}

/// A record is whole, and says what is missing.
#[test]
fn missing_and_repeated_fields_are_named() {
    assert_eq!(json_error(r#"{"rate": 1}"#).0, "missing field `layers`");
    assert_eq!(wave_error("{layers: []}").0, "missing field `rate`");
    assert_eq!(
        json_error(r#"{"rate": 1, "rate": 2}"#).0,
        "rate: given twice"
    );
    assert_eq!(wave_error("{rate: 1, rate: 2}").0, "rate: given twice");
    assert_eq!(
        json_error(r#"{"rate": 1, "layers": [], "mode": ["fast", "fast"]}"#).0,
        "mode.fast: given twice"
    );
    assert_eq!(
        wave_error("{rate: 1, layers: [], shape: circle}").0,
        "shape: case `circle` needs a payload of type f32"
    );
    assert_eq!(
        wave_error("{rate: 1, layers: [], shape: square(1)}").0,
        "shape: case `square` has no payload"
    );
}

/// Broken text says where it broke.
#[test]
fn malformed_text_says_where() {
    assert_eq!(
        json_error(r#"{"rate": 1, "layers": [}"#).0,
        "layers[0]: malformed text at byte 23: expected layer, found `}`"
    );
    assert_eq!(
        json_error(r#"{"rate": 1"#).0,
        "malformed text at byte 10: expected `,` or `}`, found the end"
    );
    assert_eq!(
        wave_error("{rate: 1, layers: []} x").0,
        "malformed text at byte 22: expected the end, found `x`"
    );
    assert_eq!(
        json_error("{\"rate\": 01}").0,
        "malformed text at byte 10: expected `,` or `}`, found `1`"
    );
}

/// Input from anyone is shown to someone else: no control characters, no pages of it.
#[test]
fn what_an_error_quotes_is_short_and_printable() {
    let hostile = format!("{{\"{}\\u001b[31m\": 1}}", "x".repeat(1000));
    let (text, _) = json_error(&hostile);
    assert!(text.len() < 100 && !text.contains('\u{1b}'), "{text}");
    let error = json::from_str(&Type::U8, &"9".repeat(10_000), &limits()).unwrap_err();
    assert!(error.to_string().len() < 120, "{error}");
}

/// Bytes as base64 cannot be told from hex or text, so they are not guessed.
#[test]
fn bytes_as_a_string_are_refused_with_the_form_that_works() {
    let error = json::from_str(&Type::list(Type::U8), "\"aGk=\"", &limits()).unwrap_err();
    assert_eq!(error.to_string(), "expected list<u8>, found string");
    assert_eq!(
        error.hints(),
        ["bytes are written as a list of numbers, `[104, 105]`"]
    );
}

/// Numbers lose nothing on their way through JSON, and what cannot be held is refused.
#[test]
fn json_numbers_are_exact_or_refused() {
    let read = |ty: Type, text: &str| json::from_str(&ty, text, &limits());
    assert_eq!(
        read(Type::U64, "18446744073709551615"),
        Ok(Value::U64(u64::MAX))
    );
    assert_eq!(
        read(Type::U64, "\"18446744073709551615\""),
        Ok(Value::U64(u64::MAX))
    );
    assert_eq!(
        read(Type::S64, "-9223372036854775808"),
        Ok(Value::S64(i64::MIN))
    );
    assert_eq!(read(Type::U8, "2.0"), Ok(Value::U8(2)));
    assert_eq!(read(Type::U32, "1e3"), Ok(Value::U32(1000)));
    assert_eq!(
        read(Type::F32, "\"-Infinity\""),
        Ok(Value::F32(f32::NEG_INFINITY))
    );
    assert_eq!(read(Type::F64, "\"NaN\""), Ok(Value::F64(f64::NAN)));
    for (ty, text) in [
        (Type::U64, "18446744073709551616"),
        (Type::U8, "256"),
        (Type::S8, "-129"),
        (Type::F32, "1e39"),
        (Type::F64, "1e309"),
    ] {
        assert_eq!(read(ty, text).unwrap_err().code(), "out-of-range", "{text}");
    }
    for (ty, text) in [
        (Type::U8, "\"1\""),
        (Type::U64, "\"1.0\""),
        (Type::U64, "\"NaN\""),
        (Type::F64, "\"inf\""),
    ] {
        assert_eq!(read(ty, text).unwrap_err().code(), "wrong-type", "{text}");
    }
    assert_eq!(
        json::print(&Type::F32, &Value::F32(0.1), &limits()),
        Ok("0.1".to_owned())
    );
    assert_eq!(
        json::print(&Type::F64, &Value::F64(1e300), &limits()),
        Ok("1e300".to_owned())
    );
}

/// null is none only where that is the only thing it can be.
#[test]
fn nested_options_keep_their_levels_in_json() {
    let ty = Type::option(Type::option(Type::U8));
    let some = |value| Value::Option(Some(Box::new(value)));
    for (text, value) in [
        ("null", Value::Option(None)),
        ("{\"some\":null}", some(Value::Option(None))),
        ("{\"some\":5}", some(some(Value::U8(5)))),
    ] {
        assert_eq!(json::from_str(&ty, text, &limits()).as_ref(), Ok(&value));
        assert_eq!(json::print(&ty, &value, &limits()).as_deref(), Ok(text));
    }
}

/// An object is how people write a map of names. No spelling has a key twice.
#[test]
fn maps_of_strings_are_objects() {
    let ty = Type::map(Type::String, Type::U8);
    let map = |entries: &[(&str, u8)]| {
        Value::Map(
            entries
                .iter()
                .map(|(key, n)| ((*key).into(), Value::U8(*n)))
                .collect(),
        )
    };
    assert_eq!(
        json::print(&ty, &map(&[("b", 1), ("a", 2)]), &limits()).as_deref(),
        Ok(r#"{"a":2,"b":1}"#)
    );
    assert_eq!(
        json::print(&ty, &map(&[("a", 1), ("a", 2)]), &limits())
            .unwrap_err()
            .to_string(),
        "[1].key: given twice"
    );
    assert_eq!(
        json::from_str(&ty, r#"{"a": 1, "a": 2}"#, &limits())
            .unwrap_err()
            .to_string(),
        "a: given twice"
    );
    let numbers = Type::map(Type::U8, Type::Bool);
    assert!(json::from_str(&numbers, "[[1, true]]", &limits()).is_ok());
}

/// Indented output is for reading: numbers in rows, not in columns.
#[test]
fn pretty_json_keeps_numbers_on_a_line() {
    let ty = Type::record(
        "r",
        [
            ("a", Type::list(Type::U8)),
            ("b", Type::list(Type::String)),
            ("c", Type::list(Type::Bool)),
        ],
    );
    let value = Value::Record(vec![
        Value::Bytes(vec![1, 2].into()),
        Value::List(vec!["x".into()]),
        Value::List(vec![]),
    ]);
    let wire = ty.encode(&value, &limits()).unwrap();
    let text = json::to_string_pretty(&ty, &wire, &limits()).unwrap();
    assert_eq!(
        text,
        "{\n  \"a\": [1, 2],\n  \"b\": [\n    \"x\"\n  ],\n  \"c\": []\n}"
    );
}

/// Nobody outside can make a stream: no example may lead to the next refusal, whatever was given.
#[test]
fn a_stream_is_refused_in_one_sentence_however_it_is_given() {
    let sum = FuncType::new(
        "sum",
        [("numbers", Type::Stream(Some(Type::U32.into())))],
        Some(Type::U64),
    );
    let errors = [
        sum.args_from_wave(&["[1, 2, 3]"], &limits()),
        sum.args_from_wave(&["1"], &limits()),
        sum.args_from_wave::<&str>(&[], &limits()),
        sum.args_from_named(&[("numbers", "1")], &limits()),
        sum.args_from_json("[1, 2, 3]", &limits()),
        sum.args_from_json("1", &limits()),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "numbers: stream<u32> cannot be an argument, only a result"
        );
        let hints = error.hints();
        assert!(
            matches!(&hints[..], [hint] if hint.contains("a list instead")),
            "{hints:?}"
        );
    }
    let maybe = FuncType::new("f", [("x", Type::option(Type::Future(None)))], None);
    assert!(maybe.args_from_wave::<&str>(&[], &limits()).is_ok());
}
