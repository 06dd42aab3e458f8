//! Components that cannot be run, and functions that are not there.

use crate::support::{call, component, engine, failure, prepare};
use lydian_engine::{Error, FailureKind, Start};

#[tokio::test]
async fn unknown_functions_list_what_there_is() {
    let component = component(
        r#"(component
          (core module $m (func (export "f")))
          (core instance $i (instantiate $m))
          (func (export "square") (canon lift (core func $i "f")))
          (func (export "cube") (canon lift (core func $i "f"))))"#,
    )
    .await;
    let error = component.function("sqare").unwrap_err();
    assert!(matches!(error, Error::NoFunction(_)));
    assert!(
        error.hints()[0].contains("did you mean `square`?"),
        "{:?}",
        error.hints()
    );
    assert!(component.function("").is_err());
}

#[tokio::test]
async fn functions_of_interfaces_are_found_by_name() {
    let component = component(
        r#"(component
          (core module $m (func (export "f") (result i32) (i32.const 7)))
          (core instance $i (instantiate $m))
          (func $f (result u32) (canon lift (core func $i "f")))
          (instance $api (export "thumbnail" (func $f)))
          (export "acme:img/resize@1.0.0" (instance $api)))"#,
    )
    .await;
    for name in [
        "acme:img/resize@1.0.0#thumbnail",
        "acme:img/resize#thumbnail",
        "thumbnail",
        "",
    ] {
        let function = component.function(name).unwrap();
        assert_eq!(
            call(&function, &[]).await.result.unwrap()[..],
            [7, 0, 0, 0],
            "{name}"
        );
    }
}

/// What is not a component is said to be what it is.
#[tokio::test]
async fn other_files_are_refused_as_what_they_are() {
    for bytes in [
        b"".to_vec(),
        b"\x7fELF\x02\x01\x01".to_vec(),
        wat::parse_str("(module)").unwrap(),
        b"\0asm\x0d\0\x01\0\xff".to_vec(),
    ] {
        let error = prepare(&engine(), bytes).await.unwrap_err();
        assert!(matches!(error, Error::Compile(_)), "{error:?}");
    }
}

#[tokio::test]
async fn traps_come_with_named_frames() {
    let component = component(
        r#"(component
          (core module $shop
            (func $_ZN4shop8checkout17h0123456789abcdefE unreachable)
            (func $outer (export "f") (call $_ZN4shop8checkout17h0123456789abcdefE)))
          (core instance $i (instantiate $shop))
          (func (export "buy") (canon lift (core func $i "f"))))"#,
    )
    .await;
    let failure = failure(call(&component.function("buy").unwrap(), &[]).await);
    assert_eq!(failure.kind, FailureKind::Trap);
    assert_eq!(
        failure.message,
        "function `buy` trapped: wasm `unreachable` instruction executed"
    );
    assert!(
        failure.backtrace.contains("0: shop!shop::checkout"),
        "{}",
        failure.backtrace
    );
    assert!(
        failure.backtrace.contains("1: shop!outer"),
        "{}",
        failure.backtrace
    );
}

/// The second time is free, and says so; so is the first time of a new process that finds the artifact.
#[tokio::test]
async fn components_are_compiled_once() {
    let wat = r#"(component
      (core module $m (func (export "only-here")))
      (core instance $i (instantiate $m))
      (func (export "only-here") (canon lift (core func $i "only-here"))))"#;
    let wasm = wat::parse_str(wat).unwrap();
    let (directory, engine) = crate::support::engine_with(|_| ());
    let first = prepare(&engine, wasm.clone()).await.unwrap();
    assert_eq!(first.prepared().start, Start::ColdCompile);
    assert!(first.prepared().compile > std::time::Duration::ZERO);
    let second = prepare(&engine, wasm.clone()).await.unwrap();
    assert_eq!(second.prepared().start, Start::Fresh);
    let mut options = lydian_engine::Options::new(directory.path());
    options.pool = lydian_engine::PoolOptions::sized(1);
    let restarted = lydian_engine::Engine::new(options).unwrap();
    let digest = lydian_value::Digest::of(&wasm);
    // Neither compiled nor described anew, so nobody asks for the bytes.
    let found = restarted
        .prepare(digest, || {
            Box::pin(async { Err::<bytes::Bytes, _>(std::io::Error::other("asked for bytes")) })
        })
        .await
        .unwrap();
    assert_eq!(found.prepared().start, Start::ColdLoad);
    assert_eq!(found.function("").unwrap().name(), "only-here");
}

/// Twelve callers of a new component share one compilation.
#[tokio::test]
async fn preparing_at_once_is_one_flight() {
    let wasm = wat::parse_str(
        r#"(component (core module $m (func (export "shared"))) (core instance $i (instantiate $m))
      (func (export "shared") (canon lift (core func $i "shared"))))"#,
    )
    .unwrap();
    let engine = engine();
    let calls = (0..12).map(|_| prepare(&engine, wasm.clone()));
    let ready = futures::future::join_all(calls).await;
    let mut compiled: Vec<_> = ready
        .into_iter()
        .map(|component| component.unwrap().prepared().compile)
        .collect();
    compiled.dedup();
    assert_eq!(compiled.len(), 1, "{compiled:?}");
}

/// A pool that the machine cannot give is an error with a way out, never a slower engine.
#[test]
fn a_pool_too_large_for_the_machine_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = lydian_engine::Options::new(directory.path());
    options.pool = lydian_engine::PoolOptions::sized(1_000_000);
    let error = lydian_engine::Engine::new(options).err().unwrap();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(
        error.to_string().contains("a pool of 1000000 sandboxes"),
        "{error}"
    );
    assert!(
        error.hints()[0].contains("vm.max_map_count"),
        "{:?}",
        error.hints()
    );
}

/// `lydian doctor` shows these; one that vanished would be missed by nobody until it was needed.
#[test]
fn the_engine_says_what_the_machine_offers() {
    let checks = engine().checks();
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    for name in [
        "pagemap-scan",
        "swap",
        "max-map-count",
        "pool",
        "open-files",
        "compile-jail",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}
