//! Input made to harm: nesting without end, lengths without items, work without bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use lydian_value::{Error, FuncType, Limits, Reader, Type, Value, from_wire, json, wave};

fn limits() -> Limits {
    Limits::default()
}

/// A type that nests `depth` levels, each wrapped by `wrap`.
fn nested(depth: usize, wrap: impl Fn(Type) -> Type) -> Type {
    (0..depth).fold(Type::U8, |ty, _| wrap(ty))
}

type Wrap = fn(Type) -> Type;

fn wrappers() -> Vec<(&'static str, Wrap)> {
    vec![
        ("list", Type::list),
        ("option", Type::option),
        ("tuple", |ty| Type::tuple([ty])),
        ("record", |ty| Type::record("r", [("a", ty)])),
        ("variant", |ty| Type::variant("v", [("a", Some(ty))])),
        ("result", |ty| Type::result(Some(ty), None)),
        ("map", |ty| Type::map(Type::String, ty)),
        ("fixed list", |ty| Type::fixed_list(ty, 1)),
    ]
}

/// The wire bytes of a value that nests as deep as its type, whatever wraps it.
fn nested_wire(name: &str, depth: usize) -> Vec<u8> {
    let level: &[u8] = match name {
        "list" | "option" => &[1],
        "variant" | "result" => &[0],
        "map" => &[1, 0],
        _ => &[],
    };
    let mut wire = level.repeat(depth);
    wire.push(7);
    wire
}

/// The depth limit is one number for every spelling: 64 levels pass, 65 do not.
#[test]
fn values_nest_to_the_limit_and_no_deeper() {
    for (name, wrap) in wrappers() {
        // The innermost list is packed and takes no level of its own.
        let packed = usize::from(name.ends_with("list"));
        let (fits, deeper) = (nested(64 + packed, wrap), nested(65 + packed, wrap));
        let (fits_wire, deeper_wire) = (
            nested_wire(name, 64 + packed),
            nested_wire(name, 65 + packed),
        );
        let value = fits
            .decode(&fits_wire, &limits())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fits.check(&fits_wire, &limits()), Ok(()), "{name}");
        assert_eq!(fits.encode(&value, &limits()).unwrap(), fits_wire, "{name}");
        let json = json::to_string(&fits, &fits_wire, &limits()).unwrap();
        assert_eq!(
            json::from_str(&fits, &json, &limits()).as_ref(),
            Ok(&value),
            "{name}"
        );
        let text = wave::to_string(&fits, &fits_wire, &limits()).unwrap();
        assert_eq!(
            wave::parse(&fits, &text, &limits()).as_ref(),
            Ok(&value),
            "{name}"
        );

        let too_deep = |result: Result<(), Error>| {
            assert_eq!(result.unwrap_err().code(), "too-deep", "{name}")
        };
        let roomy = Limits {
            depth: 100,
            ..limits()
        };
        let value = deeper.decode(&deeper_wire, &roomy).unwrap();
        too_deep(deeper.check(&deeper_wire, &limits()));
        too_deep(deeper.decode(&deeper_wire, &limits()).map(drop));
        too_deep(deeper.encode(&value, &limits()).map(drop));
        let json = json::to_string(&deeper, &deeper_wire, &roomy).unwrap();
        too_deep(json::to_string(&deeper, &deeper_wire, &limits()).map(drop));
        too_deep(json::from_str(&deeper, &json, &limits()).map(drop));
        let text = wave::to_string(&deeper, &deeper_wire, &roomy).unwrap();
        too_deep(wave::to_string(&deeper, &deeper_wire, &limits()).map(drop));
        too_deep(wave::parse(&deeper, &text, &limits()).map(drop));
    }
}

/// Arguments are one level, so that a call and the tuple of its arguments are bounded alike.
#[test]
fn arguments_count_as_a_level() {
    let func = |depth| FuncType::new("f", [("x", nested(depth, Type::option))], None);
    assert_eq!(
        func(63).check_args(&nested_wire("option", 63), &limits()),
        Ok(())
    );
    let error = func(64)
        .check_args(&nested_wire("option", 64), &limits())
        .unwrap_err();
    assert_eq!((error.path(), error.code()), ("x", "too-deep"));
}

/// A limit that a deployment set absurdly high must not cost the stack.
#[test]
fn no_depth_limit_reaches_the_end_of_the_stack() {
    let unlimited = Limits {
        depth: u32::MAX,
        ..limits()
    };
    for (name, wrap) in wrappers() {
        let ty = nested(2_000, wrap);
        let wire = nested_wire(name, 2_000);
        assert_eq!(
            ty.decode(&wire, &unlimited).unwrap_err().code(),
            "too-deep",
            "{name}"
        );
        assert_eq!(
            ty.check(&wire, &unlimited).unwrap_err().code(),
            "too-deep",
            "{name}"
        );
    }
}

/// A million brackets are an error where the type has no place for them, and where it does.
#[test]
fn a_million_brackets_are_an_error() {
    let mut types: Vec<Type> = wrappers()
        .into_iter()
        .map(|(_, wrap)| nested(300, wrap))
        .collect();
    types.extend([
        Type::U8,
        Type::String,
        Type::list(Type::U8),
        Type::flags("f", ["a"]),
    ]);
    let deep = [
        "[", "{", "(", "some(", "ok(", "{a:", "{\"a\":", "a(", "[[\"\",", "((\"\",", "//",
        "\"\"\"", "\\", "{\"ok\":",
    ];
    for ty in &types {
        for open in deep {
            let text = open.repeat(1_000_000);
            assert!(
                wave::parse(
                    ty,
                    &text,
                    &Limits {
                        depth: u32::MAX,
                        ..limits()
                    }
                )
                .is_err()
            );
            assert!(
                json::from_str(
                    ty,
                    &text,
                    &Limits {
                        depth: u32::MAX,
                        ..limits()
                    }
                )
                .is_err()
            );
        }
    }
}

/// A list that claims four billion items must fail when they are not there, and reserve nothing for them.
#[test]
fn a_claimed_length_reserves_no_memory() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let items = [
        Type::U8,
        Type::F64,
        Type::Bool,
        Type::String,
        Type::list(Type::U8),
        Type::tuple([Type::U64, Type::U64]),
    ];
    for item in items {
        for ty in [
            Type::list(item.clone()),
            Type::map(Type::U8, item.clone()),
            Type::fixed_list(item.clone(), u32::MAX),
        ] {
            assert!(ty.decode(&huge, &limits()).is_err(), "{ty}");
            assert!(ty.check(&huge, &limits()).is_err(), "{ty}");
            assert!(json::to_string(&ty, &huge, &limits()).is_err(), "{ty}");
            assert!(wave::to_string(&ty, &huge, &limits()).is_err(), "{ty}");
        }
    }
    assert!(from_wire::<Vec<(u64, String)>>(&huge, &limits()).is_err());
    assert!(from_wire::<String>(&huge, &limits()).is_err());
}

/// Five bytes that claim four billion items of no bytes must not keep a processor busy.
#[test]
fn items_without_bytes_are_bounded_in_all() {
    let limits = Limits {
        bytes: 1000,
        ..Limits::default()
    };
    let empty = Type::list(Type::tuple([]));
    assert_eq!(
        empty.check(&[0xe8, 0x07], &limits),
        Ok(()),
        "1000 items are within the limit"
    );
    assert_eq!(
        empty.check(&[0xe9, 0x07], &limits).unwrap_err().code(),
        "too-many-bytes"
    );
    assert_eq!(
        empty.decode(&[0xe9, 0x07], &limits).unwrap_err().code(),
        "too-many-bytes"
    );
    // Many lists share the one budget.
    let lists = Type::list(empty);
    assert!(lists.check(&[2, 0xf4, 0x03, 0xf4, 0x03], &limits).is_ok());
    assert_eq!(
        lists
            .check(&[2, 0xe8, 0x07, 1], &limits)
            .unwrap_err()
            .code(),
        "too-many-bytes"
    );
    assert!(from_wire::<Vec<()>>(&[0xe9, 0x07], &limits).is_err());
    let value = Value::List(vec![Value::Tuple(vec![]); 1001]);
    assert_eq!(
        Type::list(Type::tuple([]))
            .encode(&value, &limits)
            .unwrap_err()
            .code(),
        "too-many-bytes"
    );
}

/// The payload limit holds for bytes read and bytes written.
#[test]
fn bytes_are_bounded_both_ways() {
    let limits = Limits {
        bytes: 10,
        ..Limits::default()
    };
    let ty = Type::list(Type::U8);
    let value = |len| Value::Bytes(vec![0; len].into());
    assert_eq!(ty.encode(&value(9), &limits).unwrap().len(), 10);
    assert_eq!(
        ty.encode(&value(10), &limits).unwrap_err().code(),
        "too-many-bytes"
    );
    assert_eq!(
        ty.check(&[&[10][..], &[0; 10]].concat(), &limits)
            .unwrap_err()
            .code(),
        "too-many-bytes"
    );
    let strings = Type::list(Type::String);
    let error = strings
        .encode(&Value::List(vec!["12345".into(), "12345".into()]), &limits)
        .unwrap_err();
    assert_eq!(error.to_string(), "[1]: takes more than 10 bytes");
    let floats = Type::tuple([Type::F64, Type::F32]);
    assert!(
        floats
            .encode(
                &Value::Tuple(vec![Value::F64(0.0), Value::F32(0.0)]),
                &limits
            )
            .is_err()
    );
    assert!(lydian_value::to_wire(&"1234567890".to_owned(), &limits).is_err());
}

/// A bool is one byte on the wire and forty as a value: a tree is refused before it fills the memory.
#[test]
fn values_built_are_bounded() {
    let limits = Limits {
        values: 100,
        ..Limits::default()
    };
    let ty = Type::list(Type::Bool);
    let wire = |len: u8| [&[len][..], &vec![0; len as usize]].concat();
    assert!(ty.decode(&wire(99), &limits).is_ok());
    assert_eq!(
        ty.decode(&wire(100), &limits).unwrap_err().code(),
        "too-many-values"
    );
    assert_eq!(ty.check(&wire(100), &limits), Ok(()), "nothing is built");
    assert!(
        json::to_string(&ty, &wire(100), &limits).is_ok(),
        "nothing is built"
    );
    let text = format!("[{}]", vec!["true"; 100].join(","));
    assert_eq!(
        json::from_str(&ty, &text, &limits).unwrap_err().code(),
        "too-many-values"
    );
    assert_eq!(
        wave::parse(&ty, &text, &limits).unwrap_err().code(),
        "too-many-values"
    );
    let numbers = format!("[{}]", vec!["1"; 1000].join(","));
    assert!(
        json::from_str(&Type::list(Type::U8), &numbers, &limits).is_ok(),
        "packed numbers count as one"
    );
}

/// Two encodings of one value would hash differently.
#[test]
fn only_the_shortest_and_canonical_encoding_is_taken() {
    let refused = |ty: Type, wire: &[u8]| {
        let error = ty.check(wire, &limits()).unwrap_err();
        assert_eq!(error.code(), "malformed-encoding", "{ty}");
        assert_eq!(ty.decode(wire, &limits()), Err(error));
    };
    refused(Type::String, &[0x81, 0x00, b'a']);
    refused(Type::String, &[0x80, 0x80, 0x80, 0x80, 0x10]);
    refused(Type::String, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]);
    refused(Type::Bool, &[2]);
    refused(Type::option(Type::U8), &[2, 0]);
    refused(Type::U8, &[1, 1]);
    refused(Type::U16, &[1]);
    refused(Type::Char, &0xd800u32.to_le_bytes());
    refused(Type::String, &[1, 0xff]);
    refused(Type::F32, &0x7fc0_0001u32.to_le_bytes());
    refused(Type::F64, &0xfff8_0000_0000_0000u64.to_le_bytes());
    refused(
        Type::list(Type::F32),
        &[&[1][..], &0xffc0_0000u32.to_le_bytes()].concat(),
    );
    refused(
        Type::list(Type::F64),
        &[&[1][..], &0x7ff0_0000_0000_0001u64.to_le_bytes()].concat(),
    );
    refused(Type::flags("f", ["a", "b", "c"]), &[0b1000]);
    refused(Type::enumeration("e", ["a"]), &[1]);
    refused(Type::variant("v", [("a", None::<Type>)]), &[1]);
}

/// Streams come out of a call, never go in: there is nobody to write them.
#[test]
fn streams_are_results_only() {
    for ty in [
        Type::Stream(Some(Type::U8.into())),
        Type::Future(None),
        Type::ErrorContext,
    ] {
        let func = FuncType::new("f", [("x", Type::option(ty.clone()))], Some(ty.clone()));
        let wire = [1, 7, 0, 0, 0];
        let error = func.check_args(&wire, &limits()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("x: {ty} cannot be an argument, only a result")
        );
        assert_eq!(func.decode_args(&wire, &limits()), Err(error.clone()));
        let value = Value::Option(Some(Box::new(Value::Stream(7))));
        assert_eq!(func.encode_args(&[value], &limits()), Err(error));
        assert_eq!(
            func.decode_result(&wire[1..], &limits()),
            Ok(Some(Value::Stream(7)))
        );
        assert_eq!(
            func.check_args(&[0], &limits()),
            Ok(()),
            "an absent one is no stream"
        );
    }
}

/// Checking a list of integers reads its length, so a megabyte costs as much as a byte.
#[test]
fn a_check_does_not_read_packed_integers() {
    let wire = [&[0x80, 0x80, 0x40][..], &vec![0; 1 << 20]].concat();
    let limits = limits();
    let mut reader = Reader::new(&wire, &limits).unwrap();
    reader.skip(&Type::list(Type::U8)).unwrap();
    assert_eq!(reader.remaining(), 0);
}

/// A record of 5,000 options is two bytes of text and 5,000 values: what is left out is paid for
/// like what is written.
#[test]
fn absent_options_are_values() {
    let fields = (0..5_000).map(|n| (format!("f{n}"), Type::option(Type::U8)));
    let ty = Type::list(Type::record("r", fields));
    let text = |count: usize, one: &str| format!("[{}]", vec![one; count].join(","));
    // 1,000 records would be 5,000,000 values.
    for error in [
        json::from_str(&ty, &text(1_000, "{}"), &limits()).unwrap_err(),
        wave::parse(&ty, &text(1_000, "{:}"), &limits()).unwrap_err(),
    ] {
        assert_eq!(error.code(), "too-many-values", "{error}");
    }
    assert!(json::from_str(&ty, &text(800, "{}"), &limits()).is_ok());
    let func = FuncType::new("f", [("x", ty)], None);
    let argument = format!("[{}]", text(1_000, "{}"));
    let error = func.args_from_json(&argument, &limits()).unwrap_err();
    assert_eq!(error.code(), "too-many-values", "{error}");
}

/// A digit of text may be eight bytes of a value.
#[test]
fn packed_numbers_and_strings_are_bounded_in_bytes() {
    let limits = Limits {
        bytes: 1_000,
        ..limits()
    };
    let numbers = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let ty = Type::list(Type::U64);
    assert!(json::from_str(&ty, &numbers(125), &limits).is_ok());
    let long = format!("\"{}\"", "a".repeat(1_001));
    for error in [
        json::from_str(&ty, &numbers(126), &limits).unwrap_err(),
        wave::parse(&ty, &numbers(126), &limits).unwrap_err(),
        json::from_str(&Type::String, &long, &limits).unwrap_err(),
        wave::parse(&Type::String, &long, &limits).unwrap_err(),
    ] {
        assert_eq!(error.code(), "too-many-bytes", "{error}");
    }
}

/// Names are looked up for each item: a type of many names must not make its values the product of
/// the two. Looked through, these would take minutes.
#[test]
fn many_names_are_found_quickly() {
    const NAMES: usize = 10_000;
    const ITEMS: usize = 200_000;
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    let cases = Type::list(Type::enumeration("e", &names));
    let last = format!("\"name-{}\"", NAMES - 1);
    let text = format!("[{}]", vec![&*last; ITEMS].join(","));
    let expected = Value::List(vec![Value::Enum(NAMES as u32 - 1); ITEMS]);
    assert_eq!(
        json::from_str(&cases, &text, &limits()),
        Ok(expected.clone())
    );
    assert_eq!(
        wave::parse(&cases, &text.replace('"', ""), &limits()),
        Ok(expected)
    );
    let record = Type::record("r", names.iter().map(|name| (name.as_str(), Type::Bool)));
    let backwards = names.iter().rev().map(|name| format!("\"{name}\":true"));
    let text = format!("{{{}}}", backwards.collect::<Vec<_>>().join(","));
    let text = format!("[{}]", vec![text; 20].join(","));
    assert!(json::from_str(&Type::list(record), &text, &limits()).is_ok());
    let unknown = json::from_str(&cases, r#"["name-x"]"#, &limits()).unwrap_err();
    assert_eq!(unknown.code(), "unknown-name");
}

/// What lists of a fixed length hold is multiplied without wrapping, and bounded.
#[test]
fn fixed_length_lists_are_bounded_by_what_they_hold() {
    let cube = (0..3).fold(Type::U8, |ty, _| Type::fixed_list(ty, 1 << 30));
    let wide = Type::fixed_list(Type::tuple([Type::U8, Type::U8]), 33 << 20);
    let inside = Type::list(Type::option(Type::fixed_list(Type::U8, 65 << 20)));
    for ty in [cube, wide, inside] {
        let error = Type::from_json(&ty.to_json()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed type: its fixed-length lists hold more than 67108864 elements"
        );
        let func = FuncType::new("f", [("x", ty.clone())], None);
        let error = FuncType::from_json(&func.to_json()).unwrap_err();
        assert_eq!(error.code(), "malformed-type");
        // A type that came another way still ends at the bytes there are.
        assert_eq!(
            ty.check(&[1, 1], &limits()).unwrap_err().code(),
            "malformed-encoding"
        );
        assert!(ty.decode(&[1, 1], &limits()).is_err());
    }
    let fits = Type::fixed_list(Type::fixed_list(Type::U8, 1 << 13), 1 << 13);
    assert_eq!(Type::from_json(&fits.to_json()), Ok(fits));
}

/// Two orders of one map would be two encodings of one value.
#[test]
fn a_map_is_taken_in_one_order_only() {
    let ty = Type::map(Type::String, Type::U8);
    assert_eq!(ty.check(&[2, 1, b'a', 1, 1, b'b', 2], &limits()), Ok(()));
    for (wire, code) in [
        ([2, 1, b'b', 1, 1, b'a', 2], "malformed-encoding"),
        ([2, 1, b'a', 1, 1, b'a', 2], "duplicate"),
    ] {
        assert_eq!(ty.check(&wire, &limits()).unwrap_err().code(), code);
        assert_eq!(ty.decode(&wire, &limits()).unwrap_err().code(), code);
        assert_eq!(
            json::to_string(&ty, &wire, &limits()).unwrap_err().code(),
            code
        );
        assert_eq!(
            wave::to_string(&ty, &wire, &limits()).unwrap_err().code(),
            code
        );
    }
    let twice = wave::parse(&ty, r#"[("a", 1), ("b", 2), ("a", 3)]"#, &limits()).unwrap();
    let error = ty.encode(&twice, &limits()).unwrap_err();
    assert_eq!(error.to_string(), "[2].key: given twice");
}

/// An error is read by a person: a type of any size is shown in a line or two.
#[test]
fn errors_show_the_beginning_of_a_large_type() {
    let items = vec![Type::enumeration(&"a".repeat(1_000), ["x"]); 1_000];
    let func = FuncType::new("f", [("x", Type::tuple(items))], None);
    let error = func.args_from_json("[true]", &limits()).unwrap_err();
    assert!(
        error.to_string().len() < 1_000,
        "{}",
        error.to_string().len()
    );
    assert!(error.hints().iter().all(|hint| hint.len() < 1_000));
}

/// A case is a byte on the wire and its name as text: printing must not take a thousand times the
/// result.
#[test]
fn text_is_bounded_by_the_bytes_it_stands_for() {
    let limits = Limits {
        bytes: 1 << 20,
        ..limits()
    };
    let ty = Type::list(Type::enumeration("e", ["a".repeat(1_000)]));
    let wire = |len: usize| {
        let mut wire = Vec::new();
        lydian_value::len_prefix(len, &mut wire);
        wire.resize(wire.len() + len, 0);
        wire
    };
    assert!(json::to_string(&ty, &wire(8_000), &limits).is_ok());
    for error in [
        json::to_string(&ty, &wire(1_000_000), &limits).unwrap_err(),
        wave::to_string(&ty, &wire(1_000_000), &limits).unwrap_err(),
    ] {
        assert_eq!(error.code(), "too-much-text", "{error}");
    }
    let numbers = Type::list(Type::S8);
    let wire = [wire(1_000_000 - 3)[..3].to_vec(), vec![0x80; 1_000_000 - 3]].concat();
    assert!(json::to_string(&numbers, &wire, &limits).is_ok());
}
