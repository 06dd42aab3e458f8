//! Uploads of every wrong kind, and components that ask for too much.

use proptest::prelude::*;

use super::{Caps, Error, Totals, scan};

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}

fn default_scan(bytes: &[u8]) -> Result<Totals, Error> {
    scan(bytes, &Caps::default())
}

/// What the caps are compared with must be what an instance takes.
#[test]
fn totals_of_a_component_are_what_one_instance_takes() {
    let bytes = component(
        "(core module $m (memory 1) (table 3 funcref))
         (core instance (instantiate $m))
         (core instance (instantiate $m))",
    );
    let expected = Totals {
        core_instances: 2,
        component_instances: 0,
        memories: 2,
        tables: 2,
        concurrent: false,
    };
    assert_eq!(default_scan(&bytes), Ok(expected));
}

/// Uploaders take the wrong file; the answer must name the right one.
#[test]
fn other_files_are_named_as_what_they_are() {
    let module = wat::parse_str("(module)").unwrap();
    let cases: [(&[u8], Error); 12] = [
        (b"", Error::Empty),
        (&module, Error::CoreModule),
        (
            b"\x7fELF\x02\x01\x01\xc8",
            Error::NativeCode {
                format: "ELF, as in `.cwasm` files and Linux programs",
            },
        ),
        (
            b"MZ\x90\0",
            Error::NativeCode {
                format: "a Windows program",
            },
        ),
        (b"(component)", Error::Text),
        (b" \n;; a comment\n  (module)", Error::Text),
        (
            b"PK\x03\x04",
            Error::NotWasm {
                found: "a zip archive",
            },
        ),
        (
            b"\x1f\x8b\x08",
            Error::NotWasm {
                found: "a gzip archive",
            },
        ),
        (
            b"fn main() {}",
            Error::NotWasm {
                found: "some other kind of file",
            },
        ),
        (b"\0as", Error::Truncated { size: 3 }),
        (b"\0asm\x0d", Error::Truncated { size: 5 }),
        (
            b"\0asm\x0e\0\x02\0",
            Error::UnknownVersion {
                version: 14,
                layer: 2,
            },
        ),
    ];
    for (bytes, expected) in cases {
        let error = default_scan(bytes).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.hint().is_some(), "{error}");
    }
    let hint = Error::CoreModule.hint().unwrap();
    assert!(hint.contains("--target wasm32-wasip2") && hint.contains("wasm-tools component new"));
}

/// Compiled code of wasmtime itself is the one file that could pass for something the node runs.
#[test]
fn real_native_code_is_refused() {
    let engine = wasmtime::Engine::default();
    let cwasm = engine.precompile_component(&component("")).unwrap();
    assert!(matches!(
        default_scan(&cwasm),
        Err(Error::NativeCode { .. })
    ));
}

/// A connection breaks in the middle of an upload.
#[test]
fn cut_off_component_is_found_without_compiling_it() {
    let bytes = component("(core module (func (export \"run\")) (memory 1))");
    for size in HEADER.len() + 1..bytes.len() {
        assert_eq!(
            default_scan(&bytes[..size]),
            Err(Error::Truncated { size }),
            "{size}"
        );
    }
}

#[test]
fn component_larger_than_its_cap_is_refused_unread() {
    let caps = Caps {
        component_bytes: 10,
        ..Caps::default()
    };
    assert_eq!(
        scan(&[0; 11], &caps),
        Err(Error::TooLarge {
            size: 11,
            limit: 10
        })
    );
}

/// Row by row: the cap, a component that is one over it, and what the error calls it.
#[test]
fn every_cap_holds() {
    type Lower = fn(&mut Caps);
    let cases: [(Lower, &str, &str); 14] = [
        (
            |c| c.component_depth = 2,
            "(component (component))",
            "components inside one another",
        ),
        (
            |c| c.type_depth = 1,
            "(type (component (type (component))))",
            "types inside one another",
        ),
        (
            |c| c.core_instances = 1,
            "(core module $m) (core instance (instantiate $m)) (core instance (instantiate $m))",
            "core instances",
        ),
        (
            |c| c.component_instances = 1,
            "(component $c) (instance (instantiate $c)) (instance (instantiate $c))",
            "component instances",
        ),
        (|c| c.memories = 0, "(core module (memory 0))", "memories"),
        (
            |c| c.tables = 1,
            "(core module (table 0 funcref) (table 0 funcref))",
            "tables",
        ),
        (
            |c| c.table_elements = 5,
            "(core module (table 6 funcref))",
            "elements in one table",
        ),
        (
            |c| c.functions = 1,
            "(core module (func)) (core module (func))",
            "functions",
        ),
        (
            |c| c.element_segments = 0,
            "(core module (elem funcref))",
            "element segments",
        ),
        (
            |c| c.data_segments = 1,
            "(core module (data \"a\") (data \"b\"))",
            "data segments",
        ),
        (
            |c| c.globals = 0,
            "(core module (global i32 i32.const 0))",
            "globals",
        ),
        (
            |c| c.types = 2,
            "(core module (type (func))) (type string) (type (record (field \"a\" u8)))",
            "types",
        ),
        (
            |c| c.imports = 1,
            "(import \"a\" (func)) (core module (import \"\" \"\" (func)))",
            "imports",
        ),
        (
            |c| c.exports = 0,
            "(core module (memory 0) (export \"m\" (memory 0)))",
            "exports",
        ),
    ];
    for (lower, text, expected) in cases {
        let bytes = component(text);
        assert!(default_scan(&bytes).is_ok(), "{text}");
        let mut caps = Caps::default();
        lower(&mut caps);
        match scan(&bytes, &caps) {
            Err(Error::TooMany { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

/// Twenty-two lines that ask for ten thousand memories.
#[test]
fn nested_instances_are_multiplied_out() {
    let ten = |what: &str| format!("(instance (instantiate {what}))").repeat(10);
    let core = "(core instance (instantiate $m))".repeat(10);
    let bytes = component(&format!(
        "(component $a
           (component $b
             (component $c (core module $m (memory 1)) {core})
             {})
           {})
         {}",
        ten("$c"),
        ten("$b"),
        ten("$a"),
    ));
    let caps = Caps {
        core_instances: u64::MAX,
        component_instances: u64::MAX,
        memories: u64::MAX,
        ..Caps::default()
    };
    let totals = scan(&bytes, &caps).unwrap();
    assert_eq!((totals.core_instances, totals.memories), (10_000, 10_000));
    assert_eq!(totals.component_instances, 10 + 100 + 1_000);
    assert!(matches!(default_scan(&bytes), Err(Error::TooMany { .. })));
}

/// Definitions are found through the aliases that other components see them by.
#[test]
fn aliased_definitions_count_like_the_originals() {
    let bytes = component(
        "(core module $m (memory 1))
         (component $c
           (alias outer 1 $m (core module $inner))
           (core instance (instantiate $inner)))
         (component $d
           (alias outer 1 $c (component $inner))
           (instance (instantiate $inner)))
         (instance (instantiate $d))",
    );
    let expected = Totals {
        core_instances: 1,
        component_instances: 2,
        memories: 1,
        tables: 0,
        concurrent: false,
    };
    assert_eq!(default_scan(&bytes), Ok(expected));
}

/// Threads would share a memory between guests' calls; 64-bit memories do not fit into a slot of the pool.
#[test]
fn memories_of_other_kinds_are_refused() {
    let shared = default_scan(&component("(core module (memory 1 1 shared))")).unwrap_err();
    assert_eq!(
        shared,
        Error::Unsupported {
            feature: "shared memory (threads)"
        }
    );
    assert!(shared.hint().unwrap().contains("without threads"));
    let wide = default_scan(&component("(core module (memory i64 1))")).unwrap_err();
    assert_eq!(
        wide,
        Error::Unsupported {
            feature: "64-bit memory"
        }
    );
}

/// A million types inside one another fit into 3 MB; reading them recursively would overflow any stack.
#[test]
fn deep_types_are_refused_without_recursion() {
    for opening in [&[0x41, 1, 1][..], &[0x42, 1, 1]] {
        let mut section = vec![1];
        section.extend(opening.repeat(1_000_000));
        let bytes = with_section(7, &section);
        let caps = Caps::default();
        let expected = Error::TooMany {
            what: "types inside one another",
            found: 65,
            limit: 64,
        };
        assert_eq!(scan(&bytes, &caps), Err(expected));
        // Without the cap the walk itself must hold.
        let caps = Caps {
            type_depth: u64::MAX,
            types: u64::MAX,
            ..Caps::default()
        };
        assert!(matches!(scan(&bytes, &caps), Err(Error::Malformed { .. })));
    }
}

/// Components inside components, each with a right length, deeper than any stack.
#[test]
fn deep_components_are_refused_without_recursion() {
    let mut bytes = HEADER.to_vec();
    for _ in 0..2_000 {
        bytes = with_section(4, &bytes);
    }
    assert!(matches!(
        default_scan(&bytes),
        Err(Error::TooMany {
            what: "components inside one another",
            ..
        })
    ));
    let caps = Caps {
        component_depth: u64::MAX,
        ..Caps::default()
    };
    assert_eq!(scan(&bytes, &caps), Ok(Totals::default()));
}

fn with_section(id: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.push(id);
    let mut left = contents.len();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend(contents);
    bytes
}

proptest! {
    /// Whatever follows the header, the scan ends with an answer.
    #[test]
    fn random_sections_get_an_answer(sections in prop::collection::vec((0_u8..14, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
        let mut bytes = HEADER.to_vec();
        for (id, contents) in sections {
            bytes.push(id);
            bytes.push(contents.len() as u8);
            bytes.extend(contents);
        }
        let _ = default_scan(&bytes);
    }

    /// A damaged component is refused or counted, never a panic.
    #[test]
    fn damaged_component_gets_an_answer(place in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = component(
            "(core module $m (memory 1) (table 3 funcref) (func (export \"f\")))
             (core instance $i (instantiate $m))
             (type (component (type (instance (export \"t\" (type (sub resource)))))))
             (component $c (import \"f\" (func)))
             (func (export \"g\") (canon lift (core func $i \"f\")))",
        );
        let place = place.index(bytes.len());
        bytes[place] = value;
        let _ = default_scan(&bytes);
    }
}

/// What toolchains make is told apart without a second attempt at compiling it.
#[test]
fn what_uses_async_is_seen() {
    let plain = component(
        r#"(core module $m (func (export "f")))
           (core instance $i (instantiate $m))
           (func (export "f") (canon lift (core func $i "f")))"#,
    );
    let lifted = component(
        r#"(core module $m (func (export "f")))
           (core instance $i (instantiate $m))
           (core func $done (canon task.return))
           (func (export "f") async (canon lift (core func $i "f") async))"#,
    );
    let importing = component(r#"(import "wasi:clocks/types@0.3.0" (instance))"#);
    let nested = component(r#"(component (core func $done (canon task.return)))"#);
    let seen = |bytes: &[u8]| default_scan(bytes).map(|totals| totals.concurrent);
    assert_eq!(seen(&plain), Ok(false));
    assert_eq!(seen(&lifted), Ok(true));
    assert_eq!(seen(&importing), Ok(true));
    assert_eq!(seen(&nested), Ok(true));
}
