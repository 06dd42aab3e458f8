//! Reading the interface of components: what there is to call, under which name, and of what type.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use lydian_value::{FuncType, InspectError, Interface, Type, inspect};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

const WIT: &str = r#"
package acme:img@1.2.0;

/// Pictures.
interface resize {
    /// How far.
    record options {
        /// In pixels.
        width: u32,
        fit: option<fit>,
    }
    enum fit { cover, contain }
    flags channels { red, green, blue }
    variant source { empty, bytes(list<u8>), url(string) }

    resource image {
        constructor(source: source);
        /// Scales it.
        scale: func(options: options) -> result<image, string>;
        make: static func(tint: list<f32>) -> image;
        render: async func() -> stream<u8>;
    }
    thumbnail: func(image: borrow<image>, channels: channels) -> tuple<u32, char>;
    later: async func(names: map<string, s64>) -> future<string>;
}

world converter {
    import wasi:logging/log@0.1.0;
    import now: func() -> u64;
    export resize;
    export square: func(x: u64) -> u64;
    export local: interface { go: func(); }
}
"#;

const LOGGING: &str = "package wasi:logging@0.1.0; interface log { write: func(line: string); }";

fn component() -> Vec<u8> {
    let mut resolve = Resolve {
        all_features: true,
        ..Resolve::default()
    };
    resolve.push_str("logging.wit", LOGGING).unwrap();
    let package = resolve.push_str("img.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], Some("converter")).unwrap();
    let abi = ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync);
    let mut module = dummy_module(&resolve, world, abi);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

fn interface() -> Interface {
    inspect(&component()).unwrap()
}

fn signature(interface: &Interface, name: &str) -> String {
    interface
        .function(name)
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.hints()))
        .signature()
}

/// Names are what people type after `::`.
#[test]
fn every_export_has_a_friendly_name() {
    let interface = interface();
    let mut names: Vec<&str> = interface
        .functions
        .iter()
        .map(|function| &*function.name)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "acme:img/resize@1.2.0#image.make",
            "acme:img/resize@1.2.0#image.new",
            "acme:img/resize@1.2.0#image.render",
            "acme:img/resize@1.2.0#image.scale",
            "acme:img/resize@1.2.0#later",
            "acme:img/resize@1.2.0#thumbnail",
            "local#go",
            "square",
        ]
    );
}

/// The engine finds the export by its own name.
#[test]
fn the_export_path_is_the_component_s_own() {
    let interface = interface();
    let scale = &interface.function("image.scale").unwrap().export;
    assert_eq!(
        (scale.interface.as_deref(), &*scale.raw),
        (Some("acme:img/resize@1.2.0"), "[method]image.scale")
    );
    let new = &interface.function("image.new").unwrap().export;
    assert_eq!(new.raw, "[constructor]image");
    let square = &interface.function("square").unwrap().export;
    assert_eq!(
        (square.interface.as_deref(), &*square.raw),
        (None, "square")
    );
    let go = &interface.function("go").unwrap().export;
    assert_eq!((go.interface.as_deref(), &*go.raw), (Some("local"), "go"));
}

/// Every kind of type arrives whole.
#[test]
fn signatures_are_those_of_the_wit() {
    let interface = interface();
    let signature = |name| signature(&interface, name);
    assert_eq!(signature("square"), "func(x: u64) -> u64");
    assert_eq!(signature("image.new"), "func(source: source) -> image");
    assert_eq!(
        signature("image.scale"),
        "func(self: borrow<image>, options: options) -> result<image, string>"
    );
    assert_eq!(signature("image.make"), "func(tint: list<f32>) -> image");
    assert_eq!(
        signature("image.render"),
        "async func(self: borrow<image>) -> stream<u8>"
    );
    assert_eq!(
        signature("thumbnail"),
        "func(image: borrow<image>, channels: channels) -> tuple<u32, char>"
    );
    assert_eq!(
        signature("later"),
        "async func(names: map<string, s64>) -> future<string>"
    );
    let options = &interface.function("image.scale").unwrap().params[1].ty;
    assert_eq!(
        options.shape().to_string(),
        "record { width: u32, fit: option<fit> }"
    );
    let source = &interface.function("image.new").unwrap().params[0].ty;
    assert_eq!(
        source.shape().to_string(),
        "variant { empty, bytes(list<u8>), url(string) }"
    );
    let channels = &interface.function("thumbnail").unwrap().params[1].ty;
    assert_eq!(*channels, Type::flags("channels", ["red", "green", "blue"]));
}

/// A client gets types as JSON and must call with exactly those.
#[test]
fn functions_survive_their_json() {
    for function in interface().functions {
        assert_eq!(
            FuncType::from_json(&function.to_json()).as_ref(),
            Ok(&function)
        );
    }
}

/// What a component needs is listed; what it is, printed, without the platform's packages in between.
#[test]
fn imports_are_listed_and_the_component_s_own_wit_is_printed() {
    let interface = interface();
    assert_eq!(interface.imports, ["wasi:logging/log@0.1.0", "now"]);
    for own in [
        "resource image",
        "record options",
        "export square: func(x: u64) -> u64;",
        "import wasi:logging/log@0.1.0;",
    ] {
        assert!(interface.wit.contains(own), "{own} in\n{}", interface.wit);
    }
    assert!(!interface.wit.contains("write: func"), "{}", interface.wit);
}

/// Each wrong file is told from the others, with the way to a right one.
#[test]
fn what_is_not_a_component_is_named() {
    assert_eq!(inspect(b""), Err(InspectError::NotWasm));
    assert_eq!(
        inspect(b"\x7fELF\x02\x01\x01\x00"),
        Err(InspectError::NotWasm)
    );
    let module = wat::parse_str("(module (func (export \"f\")))").unwrap();
    assert_eq!(inspect(&module), Err(InspectError::CoreModule));
    assert!(InspectError::CoreModule.hints()[0].contains("wasm32-wasip2"));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("logging.wit", LOGGING).unwrap();
    let wit = wit_component::encode(&resolve, package).unwrap();
    assert_eq!(inspect(&wit), Err(InspectError::WitPackage));
    assert!(
        inspect(&wat::parse_str("(component)").unwrap())
            .unwrap()
            .functions
            .is_empty()
    );
}

/// It is a valid component, so "malformed" would send its reader the wrong way.
#[test]
fn a_type_at_the_root_is_named() {
    let wat = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (type $id u32)
        (export $id' "id" (type $id))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let error = inspect(&wat::parse_str(wat).unwrap()).unwrap_err();
    assert_eq!(
        error,
        InspectError::Export {
            what: "the type `id`".to_owned()
        }
    );
    assert!(error.hints()[0].contains("interface"), "{error}");
}

/// Uploads are cut short, and bits flip: an answer or an error, never a panic, which would read as a contradiction.
#[test]
fn a_damaged_component_is_read_or_refused() {
    let component = component();
    let sound = |bytes: &[u8]| match inspect(bytes) {
        Err(InspectError::Malformed { reason }) => !reason.contains("contradict"),
        _ => true,
    };
    for len in 0..component.len() {
        assert!(
            sound(&component[..len]),
            "cut at {len} of {}",
            component.len()
        );
    }
    for at in (8..component.len()).step_by(7) {
        let mut damaged = component.clone();
        damaged[at] ^= 0x41;
        assert!(sound(&damaged), "changed at {at}");
    }
}

/// Shared types written out in full can be a million times the component.
#[test]
fn types_that_explode_when_written_out_are_refused() {
    let mut text = String::from("(component (type $t0 (tuple u8 u8))");
    for level in 1..18 {
        text += &format!("(type $t{level} (tuple $t{} $t{}))", level - 1, level - 1);
    }
    text += r#"
        (core module $m (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (func (export "f") (param "x" $t17)
            (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;
    assert_eq!(
        inspect(&wat::parse_str(&text).unwrap()),
        Err(InspectError::TooManyTypes)
    );
}

/// The parser recurses over types, so their nesting is bounded before it does.
#[test]
fn types_that_nest_without_end_are_refused() {
    let mut text = String::from("(component (type $t0 (list u8))");
    for level in 1..100_000 {
        text += &format!("(type $t{level} (list $t{}))", level - 1);
    }
    text += ")";
    assert!(matches!(
        inspect(&wat::parse_str(&text).unwrap()),
        Err(InspectError::Malformed { .. })
    ));
}

/// A million component types inside one another fit into 3 MB. Reading them recursively ends the process.
#[test]
fn component_types_that_nest_without_end_are_refused() {
    for opening in [[0x41, 1, 1], [0x42, 1, 1]] {
        let mut section = vec![1];
        section.extend(opening.repeat(1_000_000));
        let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut left = section.len();
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend(section);
        let refused = InspectError::Malformed {
            reason: "types are nested deeper than 100".to_owned(),
        };
        assert_eq!(inspect(&bytes), Err(refused));
    }
}

/// A component that takes `uses` values of one type, whose name is `name`.
fn uses_of_a_name(name: &str, uses: usize) -> Vec<u8> {
    let uses = vec!["$x"; uses].join(" ");
    let text = format!(
        r#"(component
            (type $t (record (field "b" u8)))
            (import "{name}" (type $x (eq $t)))
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "p" (tuple {uses}))
                (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    );
    wat::parse_str(&text).unwrap()
}

/// A name is a byte where it is used and all of itself where it is written out: 100 kB could take
/// gigabytes.
#[test]
fn names_are_bounded_one_by_one_and_all_together() {
    let long = "a".repeat(90_000);
    assert_eq!(
        inspect(&uses_of_a_name(&long, 9_000)),
        Err(InspectError::NameTooLong { bytes: 90_000 })
    );
    let short = "a".repeat(1_000);
    let error = inspect(&uses_of_a_name(&short, 9_000)).unwrap_err();
    assert_eq!(error, InspectError::TooLarge);
    assert!(!error.hints().is_empty());
    assert!(inspect(&uses_of_a_name(&short, 1_000)).is_ok());
}

/// An instance type is written once and imported under many names; the parser makes a copy for
/// each.
#[test]
fn what_the_parser_copies_is_bounded_before_it_does() {
    let name = |kind: &str, n: usize| format!("{kind}{n}-{}", "a".repeat(900));
    let functions: String = (0..400)
        .map(|n| format!(r#"(export "{}" (func))"#, name("f", n)))
        .collect();
    let imports: String = (0..400)
        .map(|n| format!(r#"(import "{}" (instance (type $t)))"#, name("i", n)))
        .collect();
    let text = format!("(component (type $t (instance {functions})) {imports})");
    let bytes = wat::parse_str(&text).unwrap();
    assert!(bytes.len() < 1 << 20);
    assert_eq!(inspect(&bytes), Err(InspectError::TooLarge));
}

/// The types of imports are printed too, and no exported function counts them.
#[test]
fn the_printed_wit_is_bounded() {
    let params: String = (0..1_000)
        .map(|n| format!(r#"(param "p{n}-{}" u8)"#, "a".repeat(900)))
        .collect();
    let imports: String = (0..8)
        .map(|n| format!(r#"(import "f{n}" (func {params}))"#))
        .collect();
    let bytes = wat::parse_str(format!("(component {imports})")).unwrap();
    assert_eq!(inspect(&bytes), Err(InspectError::TooLarge));
}

/// 2^90 elements wrap in any machine's arithmetic.
#[test]
fn fixed_length_lists_beyond_any_memory_are_refused() {
    let component = |len: u32| {
        let text = format!(
            r#"(component
                (type $a (list u8 {len}))
                (type $b (list $a {len}))
                (type $c (list $b {len}))
                (core module $m (memory (export "memory") 1)
                    (func (export "f") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "f") (result (tuple $c u8))
                    (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#
        );
        inspect(&wat::parse_str(&text).unwrap())
    };
    let error = component(1 << 30).unwrap_err();
    assert_eq!(error, InspectError::FixedListTooLong);
    assert_eq!(
        error.to_string(),
        "fixed-length lists hold more than 67108864 elements"
    );
    assert!(component(4).is_ok());
}

/// A description that is written down must be read again, however deep its types are.
#[test]
fn an_interface_reads_back_from_its_json() {
    let interface = interface();
    assert_eq!(
        Interface::from_json(&interface.to_json()).as_ref(),
        Ok(&interface)
    );
    let deep = (0..90).fold(Type::U8, |ty, _| {
        Type::record("r", [("a", Type::option(ty))])
    });
    let deep = Interface {
        functions: vec![FuncType::new("f", [("x", deep)], None)],
        ..Interface::default()
    };
    assert_eq!(Interface::from_json(&deep.to_json()), Ok(deep));
}
