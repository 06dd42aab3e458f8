//! Properties of the spellings over random types and values: each reads back as the same value, and none takes what
//! another refuses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod common;

use common::{typed_values, types};
use lydian_value::{FuncType, Limits, Type, Value, json, wave};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits::default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The wire encoding loses nothing, and check takes what encode wrote.
    #[test]
    fn wire_bytes_decode_to_the_value_they_encode((ty, value) in typed_values()) {
        let wire = ty.encode(&value, &limits()).unwrap();
        prop_assert_eq!(ty.check(&wire, &limits()), Ok(()));
        let decoded = ty.decode(&wire, &limits()).unwrap();
        prop_assert_eq!(&decoded, &value);
        prop_assert_eq!(ty.encode(&decoded, &limits()).unwrap(), wire);
    }

    /// Results leave a node as JSON and come back as arguments.
    #[test]
    fn json_reads_back_as_the_same_bytes((ty, value) in typed_values()) {
        let wire = ty.encode(&value, &limits()).unwrap();
        for text in [
            json::to_string(&ty, &wire, &limits()).unwrap(),
            json::to_string_pretty(&ty, &wire, &limits()).unwrap(),
        ] {
            let read = json::from_str(&ty, &text, &limits()).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(ty.encode(&read, &limits()).unwrap(), &wire, "{}", text);
        }
        let tree = json::to_json(&ty, &wire, &limits()).unwrap();
        let read = json::from_json(&ty, &tree, &limits()).unwrap();
        prop_assert_eq!(read, value);
    }

    /// A result printed on a terminal can be pasted as an argument.
    #[test]
    fn wave_reads_back_as_the_same_bytes((ty, value) in typed_values()) {
        let wire = ty.encode(&value, &limits()).unwrap();
        let text = wave::to_string(&ty, &wire, &limits()).unwrap();
        let read = wave::parse(&ty, &text, &limits()).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(ty.encode(&read, &limits()).unwrap(), wire, "{}", text);
        prop_assert!(!text.contains(|ch: char| ch.is_control()), "{}", text);
    }

    /// A component's types are sent to clients as JSON.
    #[test]
    fn types_read_back_from_their_json(ty in types()) {
        prop_assert_eq!(Type::from_json(&ty.to_json()).unwrap(), ty);
    }

    /// Equal bytes mean equal values only if nothing else is taken: whatever decodes must encode to itself.
    #[test]
    fn any_bytes_that_decode_are_the_encoding_of_their_value(
        (ty, value) in typed_values(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        edit in 0..3,
    ) {
        let mut wire = ty.encode(&value, &limits()).unwrap().to_vec();
        match (edit, wire.is_empty()) {
            (0, false) => {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
            (1, false) => wire.truncate(at.index(wire.len())),
            _ => wire.insert(at.index(wire.len() + 1), byte),
        }
        let decoded = ty.decode(&wire, &limits());
        prop_assert_eq!(decoded.is_ok(), ty.check(&wire, &limits()).is_ok(), "check and decode disagree");
        prop_assert_eq!(decoded.is_ok(), json::to_string(&ty, &wire, &limits()).is_ok(), "JSON and decode disagree");
        prop_assert_eq!(decoded.is_ok(), wave::to_string(&ty, &wire, &limits()).is_ok(), "WAVE and decode disagree");
        if let Ok(value) = decoded {
            prop_assert_eq!(ty.encode(&value, &limits()).unwrap(), wire);
        }
    }

    /// Encoding is the type check before a call: a value of one type is refused by another, or is a value of both.
    #[test]
    fn a_value_of_another_type_never_encodes_to_bytes_that_do_not_decode((_, value) in typed_values(), ty in types()) {
        if let Ok(wire) = ty.encode(&value, &limits()) {
            let decoded = ty.decode(&wire, &limits()).unwrap();
            prop_assert_eq!(ty.encode(&decoded, &limits()).unwrap(), wire);
        }
    }

    /// Arguments are the tuple of the parameters, whichever way they are given.
    #[test]
    fn arguments_are_the_tuple_of_their_values(args in prop::collection::vec(typed_values(), 0..4)) {
        let names: Vec<String> = (0..args.len()).map(|index| format!("p{index}")).collect();
        let func = FuncType::new("f", names.iter().zip(&args).map(|(name, (ty, _))| (&**name, ty.clone())), None);
        let values: Vec<Value> = args.iter().map(|(_, value)| value.clone()).collect();
        let wire = func.encode_args(&values, &limits()).unwrap();
        let tuple = Type::tuple(args.iter().map(|(ty, _)| ty.clone()));
        prop_assert_eq!(&wire, &tuple.encode(&Value::Tuple(values.clone()), &limits()).unwrap());
        prop_assert_eq!(func.check_args(&wire, &limits()), Ok(()));
        prop_assert_eq!(&func.decode_args(&wire, &limits()).unwrap(), &values);
        let named: Vec<(&String, String)> =
            names.iter().zip(&args).rev().map(|(name, (ty, value))| (name, wave::print(ty, value, &limits()).unwrap())).collect();
        prop_assert_eq!(func.args_from_named(&named, &limits()).unwrap(), values.clone());
        let json: Vec<String> =
            args.iter().map(|(ty, value)| json::print(ty, value, &limits()).unwrap()).collect();
        prop_assert_eq!(func.args_from_json(&format!("[{}]", json.join(",")), &limits()).unwrap(), values);
    }

    /// Text from anyone must not panic a node.
    #[test]
    fn no_text_panics_a_reader(ty in types(), text in "[\\[\\](){}:,\"'%\\\\a-f0-3.eE+\\- \n]{0,40}|\\PC{0,20}") {
        let _ = wave::parse(&ty, &text, &limits());
        let _ = json::from_str(&ty, &text, &limits());
        let _ = Type::from_json(&text);
        let func = FuncType::new("f", [("x", ty)], None);
        let _ = func.args_from_wave(&[&text], &limits());
        let _ = func.args_from_json(&text, &limits());
    }

    /// What we take as JSON is JSON.
    #[test]
    fn json_that_is_read_is_json(ty in types(), text in "[\\[\\]{}:,\"\\\\a-f0-3.eEu+\\- \n]{0,24}") {
        if json::from_str(&ty, &text, &limits()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
