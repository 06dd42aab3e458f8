//! Rust types against values: the direct path writes the bytes the general one does, and fits what it should.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use lydian_value::{Args, FuncType, Handle, Limits, Type, Value, Wit, from_wire, to_wire};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits::default()
}

/// Writes the same bytes as the value, and reads itself back.
fn same<T: Wit + PartialEq + std::fmt::Debug>(rust: T, value: Value) {
    let wire = to_wire(&rust, &limits()).unwrap();
    assert_eq!(
        T::ty().encode(&value, &limits()).unwrap(),
        wire,
        "{}",
        T::ty()
    );
    assert_eq!(from_wire::<T>(&wire, &limits()).unwrap(), rust);
}

fn some(value: impl Into<Value>) -> Value {
    Value::Option(Some(Box::new(value.into())))
}

/// One encoding, two ways to write it.
#[test]
fn rust_types_write_the_bytes_of_their_values() {
    same(true, Value::Bool(true));
    same(-5i8, Value::S8(-5));
    same(u64::MAX, Value::U64(u64::MAX));
    same('☃', Value::Char('☃'));
    same("text".to_owned(), "text".into());
    same(vec![1u8, 2], Value::Bytes(vec![1, 2].into()));
    same(
        Bytes::from_static(b"ab"),
        Value::Bytes(Bytes::from_static(b"ab")),
    );
    same(vec![1.5f32, -0.0], Value::F32s(vec![1.5, -0.0]));
    same(
        vec![true, false],
        Value::List(vec![Value::Bool(true), Value::Bool(false)]),
    );
    same([1u16, 2, 3], Value::U16s(vec![1, 2, 3]));
    same(Some(3u32), some(3u32));
    same(None::<Vec<String>>, Value::Option(None));
    same(
        Ok::<u8, String>(1),
        Value::Result(Ok(Some(Box::new(Value::U8(1))))),
    );
    same(
        Err::<(), String>("no".to_owned()),
        Value::Result(Err(Some(Box::new("no".into())))),
    );
    same(Ok::<(), ()>(()), Value::Result(Ok(None)));
    same(
        (1u8, "a".to_owned()),
        Value::Tuple(vec![Value::U8(1), "a".into()]),
    );
    same(Handle(7), Value::Handle(7));
    same(Box::new(2i64), Value::S64(2));
    let map = BTreeMap::from([("a".to_owned(), 1u8), ("b".to_owned(), 2)]);
    same(
        map,
        Value::Map(vec![("a".into(), Value::U8(1)), ("b".into(), Value::U8(2))]),
    );
}

/// NaN has many bit patterns in a machine and one on the wire.
#[test]
fn nans_from_rust_are_canonical() {
    let odd = f64::from_bits(0xfff8_0000_0000_1234);
    let wire = to_wire(
        &(odd, vec![odd, 1.0], Some(f32::from_bits(0xffff_ffff))),
        &limits(),
    )
    .unwrap();
    let ty = <(f64, Vec<f64>, Option<f32>)>::ty();
    assert_eq!(ty.check(&wire, &limits()), Ok(()));
}

/// A hash map's order changes from run to run; its bytes must not.
#[test]
fn equal_maps_have_equal_bytes() {
    let map: HashMap<String, u32> = (0..100).map(|n| (format!("key{n}"), n)).collect();
    let again: HashMap<String, u32> = map.clone().into_iter().collect();
    let wire = to_wire(&map, &limits()).unwrap();
    assert_eq!(to_wire(&again, &limits()).unwrap(), wire);
    assert_eq!(
        from_wire::<HashMap<String, u32>>(&wire, &limits()).unwrap(),
        map
    );
    let tree: BTreeMap<String, u32> = map.clone().into_iter().collect();
    assert_eq!(to_wire(&tree, &limits()).unwrap(), wire);
    let backwards = tree
        .iter()
        .rev()
        .map(|(key, n)| (key.as_str().into(), Value::U32(*n)));
    let ty = <HashMap<String, u32>>::ty();
    let value = Value::Map(backwards.collect());
    assert_eq!(ty.encode(&value, &limits()).unwrap(), wire);
    assert_eq!(ty.decode(&wire, &limits()).unwrap(), value);
    let twice = [2, 1, b'a', 1, 1, b'a', 2];
    let error = from_wire::<BTreeMap<String, u8>>(&twice, &limits()).unwrap_err();
    assert_eq!(error.to_string(), "[1].key: given twice");
}

/// Numbers are little-endian on the wire, so their order there is not the order of a tree.
#[test]
fn a_map_s_order_is_that_of_its_keys_bytes() {
    let map = BTreeMap::from([(1u16, true), (256, false)]);
    let wire = to_wire(&map, &limits()).unwrap();
    assert_eq!(*wire, [2, 0, 1, 0, 1, 0, 1]);
    let ty = <BTreeMap<u16, bool>>::ty();
    assert_eq!(ty.check(&wire, &limits()), Ok(()));
    for text in ["[(1, true), (256, false)]", "[(256, false), (1, true)]"] {
        let value = lydian_value::wave::parse(&ty, text, &limits()).unwrap();
        assert_eq!(ty.encode(&value, &limits()).unwrap(), wire, "{text}");
    }
    // A function may give its map as a list of pairs, in any order.
    let backwards = [2, 1, 0, 1, 0, 1, 0];
    assert_eq!(
        from_wire::<BTreeMap<u16, bool>>(&backwards, &limits()).unwrap(),
        map
    );
}

/// The check is made once per function, so it has to be right.
#[test]
fn a_function_takes_only_types_that_fit() {
    let config = Type::record("config", [("rate", Type::F64)]);
    let func = FuncType::new(
        "f",
        [("n", Type::U64), ("config", config)],
        Some(Type::list(Type::U8)),
    );
    let error = <(u64, String)>::matches(&func).unwrap_err();
    assert_eq!(error.to_string(), "config: expected config, found string");
    assert_eq!(
        <(u32, String)>::matches(&func).unwrap_err().to_string(),
        "n: expected u64, found u32"
    );
    assert_eq!(
        <(u64,)>::matches(&func).unwrap_err().to_string(),
        "expected 2 arguments, found 1"
    );
    assert_eq!(func.returns::<Vec<u8>>(), Ok(()));
    assert_eq!(func.returns::<Bytes>(), Ok(()));
    assert_eq!(
        func.returns::<Vec<u16>>().unwrap_err().to_string(),
        "result: expected u8, found u16"
    );
    assert_eq!(
        func.returns::<()>().unwrap_err().to_string(),
        "result: expected list<u8>, found tuple<>"
    );
    assert_eq!(FuncType::new("g", [], None).returns::<()>(), Ok(()));
    assert_eq!(<()>::matches(&FuncType::new("g", [], None)), Ok(()));
}

/// Names and order of fields are what the bytes mean; names of types are not.
#[test]
fn types_fit_by_structure_and_names_of_parts() {
    let a = Type::record("a", [("x", Type::U8), ("y", Type::U8)]);
    assert_eq!(
        a.accepts(&Type::record("b", [("x", Type::U8), ("y", Type::U8)])),
        Ok(())
    );
    let swapped = a
        .accepts(&Type::record("a", [("y", Type::U8), ("x", Type::U8)]))
        .unwrap_err();
    assert_eq!(
        swapped.to_string(),
        "expected record { x: u8, y: u8 }, found record { y: u8, x: u8 }"
    );
    assert!(a.accepts(&Type::record("a", [("x", Type::U8)])).is_err());
    let deep = a
        .accepts(&Type::record("a", [("x", Type::U8), ("y", Type::U16)]))
        .unwrap_err();
    assert_eq!(deep.to_string(), "y: expected u8, found u16");
    let pairs = Type::list(Type::tuple([Type::String, Type::U8]));
    assert_eq!(pairs.accepts(&BTreeMap::<String, u8>::ty()), Ok(()));
    assert_eq!(BTreeMap::<String, u8>::ty().accepts(&pairs), Ok(()));
    assert_eq!(Type::Borrow("image".into()).accepts(&Handle::ty()), Ok(()));
    assert!(
        Type::Borrow("image".into())
            .accepts(&Type::Own("file".into()))
            .is_err()
    );
    assert_eq!(
        Type::result(None, Some(Type::U8)).accepts(&<Result<(), u8>>::ty()),
        Ok(())
    );
    let colors = Type::enumeration("color", ["red", "blue"]);
    assert!(
        colors
            .accepts(&Type::enumeration("color", ["blue", "red"]))
            .is_err()
    );
    assert!(
        Type::flags("f", ["a"])
            .accepts(&Type::flags("f", ["a", "b"]))
            .is_err()
    );
    assert!(
        Type::variant("v", [("a", None)])
            .accepts(&Type::variant("v", [("a", Some(Type::U8))]))
            .is_err()
    );
}

proptest! {
    /// Bulk data is copied in one piece; each width and sign must survive it.
    #[test]
    fn lists_of_numbers_survive(
        bytes in any::<Vec<u8>>(), shorts in any::<Vec<i16>>(), longs in any::<Vec<u64>>(), floats in any::<Vec<f32>>(),
    ) {
        let value = (bytes, shorts, longs, floats);
        let wire = to_wire(&value, &limits()).unwrap();
        prop_assert_eq!(from_wire::<(Vec<u8>, Vec<i16>, Vec<u64>, Vec<f32>)>(&wire, &limits()).unwrap(), value);
    }

    /// What a Rust type reads, the general path reads too, whatever the bytes.
    #[test]
    fn rust_types_take_what_values_take(wire in prop::collection::vec(0u8..4, 0..24)) {
        fn agree<T: Wit>(wire: &[u8]) -> Result<(), TestCaseError> {
            let rust = from_wire::<T>(wire, &limits());
            let checked = T::ty().check(wire, &limits());
            prop_assert_eq!(rust.is_ok(), checked.is_ok(), "{} {:?} {:?}", T::ty(), rust.err(), checked);
            if let Ok(value) = from_wire::<T>(wire, &limits()) {
                prop_assert_eq!(&*to_wire(&value, &limits()).unwrap(), wire);
            }
            Ok(())
        }
        agree::<Vec<(u8, Option<String>)>>(&wire)?;
        agree::<(Vec<u16>, [bool; 3])>(&wire)?;
        agree::<Result<Vec<Vec<u8>>, char>>(&wire)?;
        agree::<Option<Option<(f32, Bytes)>>>(&wire)?;
    }

    /// Equal maps have equal bytes, whatever made them and in whatever order.
    #[test]
    fn maps_have_one_encoding(entries in prop::collection::hash_map(any::<(u16, String)>(), any::<Option<u8>>(), 0..12)) {
        type Tree = BTreeMap<(u16, String), Option<u8>>;
        let tree: Tree = entries.clone().into_iter().collect();
        let wire = to_wire(&entries, &limits()).unwrap();
        prop_assert_eq!(&to_wire(&tree, &limits()).unwrap(), &wire);
        let ty = Tree::ty();
        prop_assert_eq!(ty.check(&wire, &limits()), Ok(()));
        let value = ty.decode(&wire, &limits()).unwrap();
        prop_assert_eq!(&ty.encode(&value, &limits()).unwrap(), &wire);
        let Value::Map(mut all) = value else { panic!("a map") };
        all.reverse();
        prop_assert_eq!(&ty.encode(&Value::Map(all), &limits()).unwrap(), &wire);
        prop_assert_eq!(from_wire::<Tree>(&wire, &limits()).unwrap(), tree);
    }
}
