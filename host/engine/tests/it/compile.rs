//! Components that harm whoever compiles them: the others go on, and the engine is as it was.

use crate::support::{call, engine, engine_with, function, invocation, prepare, value};
use lydian_engine::{Engine, Error, Options, Start, compile};
use lydian_value::{Digest, Value};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Module, ModuleSection,
    TypeSection, ValType,
};

const ANSWER: &str = r#"(component
    (core module $m (func (export "answer") (result i32) i32.const 42))
    (core instance $i (instantiate $m))
    (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#;

/// One valid function with thousands of values alive across thousands of blocks: minutes and gigabytes of register allocation.
fn pathological() -> Vec<u8> {
    pathological_with(0)
}

/// The same as another component.
fn pathological_with(number: i64) -> Vec<u8> {
    const LOCALS: u32 = 4_000;
    const BLOCKS: u32 = 60_000;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I64]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut body = Function::new([(LOCALS, ValType::I64)]);
    let mut code = body.instructions();
    for block in 0..BLOCKS {
        code.block(BlockType::Empty).local_get(0).br_if(0);
        code.local_get(block % LOCALS + 1)
            .i64_const(i64::from(block));
        code.i64_add()
            .local_set(block.wrapping_mul(7919) % LOCALS + 1)
            .end();
    }
    code.i64_const(number);
    for local in 1..=LOCALS {
        code.local_get(local).i64_xor();
    }
    code.end();
    let mut bodies = CodeSection::new();
    bodies.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&bodies);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// Row 25: killed at its budget, its author told why, and calls and other deployments served all the while.
#[tokio::test]
async fn pathological_components_are_given_up_while_others_are_served() {
    let (_directory, engine) = engine_with(|options| {
        options.compile.timeout = Duration::from_secs(2);
        options.compile.workers = 2;
    });
    let answer = prepare(&engine, wat::parse_str(ANSWER).unwrap())
        .await
        .unwrap();
    let answer = answer.function("").unwrap();
    let hostile = prepare(&engine, pathological());
    let mut hostile = std::pin::pin!(hostile);
    let mut served = 0;
    let refused = loop {
        tokio::select! {
            biased;
            ended = &mut hostile => break ended.unwrap_err(),
            outcome = engine.invoke(invocation(&answer, &[])) => {
                assert_eq!(value(&answer, &outcome), Some(Value::U32(42)));
                served += 1;
            }
        }
        if served == 1 {
            let other = format!("(component (type (tuple {})))", "u8 ".repeat(100));
            let other = wat::parse_str(other).unwrap();
            prepare_for(&engine, "other", other).await.unwrap();
        }
    };
    assert!(
        matches!(refused, Error::Compile(compile::Error::OutOfTime { .. })),
        "{refused:?}"
    );
    assert!(!refused.hints().is_empty());
    assert!(served > 100, "served only {served} calls in two seconds");
}

/// Row 25: one tenant's slow compilations are served in turn with another's, and never have all the workers.
#[tokio::test]
async fn slow_compilations_of_one_tenant_do_not_hold_up_anothers() {
    let (_directory, engine) = engine_with(|options| {
        // Long enough for the test to fail by its neighbour's answer, not by these being given up.
        options.compile.timeout = Duration::from_secs(600);
        options.compile.workers = 2;
    });
    let slow: Vec<_> = (0..4)
        .map(|n| {
            let (engine, wasm) = (engine.clone(), pathological_with(n));
            tokio::spawn(async move { prepare_for(&engine, "hostile", wasm).await.map(drop) })
        })
        .collect();
    // All four are in line, as far as they can be before they are compiled.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let prompt = prepare_for(&engine, "other", wat::parse_str(ANSWER).unwrap());
    let prompt = tokio::time::timeout(Duration::from_secs(60), prompt).await;
    assert!(prompt.expect("its turn comes at once").is_ok());
    assert!(slow.iter().all(|slow| !slow.is_finished()));
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn prepare_for(
    engine: &Engine,
    tenant: &str,
    wasm: Vec<u8>,
) -> Result<Arc<lydian_engine::Component>, Error> {
    let digest = Digest::of(&wasm);
    let source = move || -> futures::future::BoxFuture<'static, Result<_, Infallible>> {
        Box::pin(async move { Ok(wasm.into()) })
    };
    engine
        .prepare_for(|| tenant.to_owned(), digest, source)
        .await
}

/// Row 25: the memory budget is the worker's, not the node's.
#[tokio::test]
async fn components_that_take_gigabytes_to_compile_are_given_up() {
    let (_directory, engine) = engine_with(|options| options.compile.memory_bytes = 64 << 20);
    let refused = prepare(&engine, pathological()).await.unwrap_err();
    assert!(
        matches!(refused, Error::Compile(compile::Error::OutOfMemory { limit_bytes }) if limit_bytes == 64 << 20),
        "{refused:?}"
    );
    prepare(&engine, wat::parse_str(ANSWER).unwrap())
        .await
        .unwrap();
}

/// Row 24: whatever a byte becomes, there is an answer, and the next component compiles.
#[tokio::test]
async fn damaged_components_are_refused_or_run() {
    let whole = wat::parse_str(ANSWER).unwrap();
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x41;
        match prepare(&engine(), damaged).await {
            Ok(_)
            | Err(Error::Compile(compile::Error::Refused(_) | compile::Error::Invalid { .. })) => {}
            Err(Error::Interface { .. } | Error::Link { .. } | Error::MissingImports { .. }) => {}
            Err(error) => panic!("byte {place}: {error:?}"),
        }
    }
    let answer = function(ANSWER).await;
    assert_eq!(
        value(&answer, &call(&answer, &[]).await),
        Some(Value::U32(42))
    );
}

/// A component whose only function, `f`, returns this type by a pointer that means nothing.
fn returning(types: &str, result: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {types}
          (core module $m (memory (export "memory") 1)
            (func (export "f") (result i32) (i32.const 0)))
          (core instance $i (instantiate $m))
          (func (export "f") (result {result})
            (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Sizes that wrap 32 or 64 bits when they are computed in them.
#[tokio::test]
async fn types_larger_than_any_value_are_refused_in_words() {
    let nested = "(type $a (list u8 1073741824)) (type $b (list $a 1073741824)) (type $c (list $b 1073741824))";
    let square = "(type $a (list u8 65536)) (type $b (list $a 65536))";
    for (types, result) in [
        (nested, "(tuple $c u8)"),
        (nested, "$c"),
        (square, "(tuple $b u8)"),
        (square, "(list $b)"),
        (square, "(option $b)"),
        ("(type $a (list u64 536870912))", "(tuple $a u8)"),
        ("(type $a (list (option u64) 8388608))", "$a"),
    ] {
        let refused = prepare(&engine(), returning(types, result)).await;
        let Err(Error::Interface { reason, .. }) = refused else {
            panic!("{types} {result}: {refused:?}");
        };
        let said = [
            "`f` are larger than 64 MiB",
            "fixed-length lists hold more than",
        ];
        assert!(said.iter().any(|said| reason.contains(said)), "{reason}");
    }
    let fitting = prepare(&engine(), returning("(type $a (list u8 65536))", "$a")).await;
    let fitting = fitting.unwrap().function("").unwrap();
    let outcome = call(&fitting, &[]).await;
    assert_eq!(outcome.result.unwrap().len(), 65_536);
}

/// One long name, used often, is written out as often: by whoever describes the component, which is
/// not this process.
#[tokio::test]
async fn descriptions_out_of_proportion_are_refused() {
    let name = "a".repeat(20_000);
    let uses = "$x ".repeat(1_000);
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
    let refused = prepare(&engine(), wat::parse_str(text).unwrap()).await;
    assert!(
        matches!(&refused, Err(Error::Interface { .. })),
        "{refused:?}"
    );
}

/// A description that was lost is made again, without compiling; one that was kept is read.
#[tokio::test]
async fn descriptions_are_made_again() {
    let (directory, engine) = engine_with(|_| ());
    let wasm = wat::parse_str(ANSWER).unwrap();
    let digest = Digest::of(&wasm);
    let described = prepare(&engine, wasm.clone()).await.unwrap();
    drop(engine);
    std::fs::remove_dir_all(directory.path().join("interfaces")).unwrap();
    let engine = Engine::new(Options::new(directory.path())).unwrap();
    assert_eq!(engine.interface(&digest), None);
    let bytes = async { Ok::<_, Infallible>(wasm.clone().into()) };
    let again = engine.describe("", digest, bytes).await.unwrap();
    assert_eq!(&again, described.interface());
    let unasked = async { Err::<bytes::Bytes, _>(std::io::Error::other("asked")) };
    assert_eq!(engine.describe("", digest, unasked).await.unwrap(), again);
    assert_eq!(
        prepare(&engine, wasm).await.unwrap().prepared().start,
        Start::ColdLoad
    );
}

/// Records that nest as deep as types may are described, and known again after a restart.
#[tokio::test]
async fn deep_types_survive_a_restart() {
    let (directory, engine) = engine_with(|_| ());
    let record = |level: u32, inner: &str| {
        format!(
            r#"(type $r{level} (record (field "a" {inner}))) (import "t{level}" (type $t{level} (eq $r{level})))"#
        )
    };
    let first = record(0, "u8");
    let types: String = (1..60)
        .map(|level| record(level, &format!("$t{}", level - 1)))
        .collect();
    let wasm = returning(&format!("{first} {types}"), "$t59");
    let digest = Digest::of(&wasm);
    let before = prepare(&engine, wasm).await.unwrap();
    drop(engine);
    let engine = Engine::new(Options::new(directory.path())).unwrap();
    assert_eq!(engine.interface(&digest).as_ref(), Some(before.interface()));
}

/// Row 27: native code under a component's digest, even this engine's own, is an upload like any other.
#[tokio::test]
async fn native_code_is_never_loaded() {
    let native = wasmtime::Engine::default()
        .precompile_component(&wat::parse_str(ANSWER).unwrap())
        .unwrap();
    let refused = prepare(&engine(), native).await.unwrap_err();
    assert!(refused.to_string().contains("native code"), "{refused}");
}

/// Deploying and giving up, over and over, must leave no compilers behind.
#[tokio::test]
async fn deployments_given_up_leave_nothing_running() {
    let (_directory, engine) = engine_with(|options| options.compile.workers = 1);
    let hostile = pathological();
    for _ in 0..20 {
        let early = Duration::from_millis(15);
        let given_up = tokio::time::timeout(early, prepare(&engine, hostile.clone())).await;
        assert!(given_up.is_err());
    }
    // There is one worker: had one been left, this would wait two minutes.
    prepare(&engine, wat::parse_str(ANSWER).unwrap())
        .await
        .unwrap();
}

/// Valid, but WIT has no place for them: the reason and the way out are told.
#[tokio::test]
async fn types_exported_at_the_root_are_refused_with_the_reason() {
    for ty in [
        r#"(record (field "a" u32))"#,
        r#"(enum "a" "b")"#,
        "u32",
        "(resource (rep i32))",
    ] {
        let text = format!(
            r#"(component (type $t {ty}) (export "point" (type $t))
              (core module $m (func (export "f")))
              (core instance $i (instantiate $m))
              (func (export "f") (canon lift (core func $i "f"))))"#
        );
        let refused = prepare(&engine(), wat::parse_str(text).unwrap()).await;
        let refused = refused.unwrap_err();
        let said = "has an interface that cannot be used: the component exports the type `point` at its root";
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(refused.hints().len(), 1, "{refused:?}");
    }
    // Names are as long as their author likes; reasons are not.
    let long = "a".repeat(90_000);
    let text = format!(r#"(component (type $t u32) (export "{long}" (type $t)))"#);
    let refused = prepare(&engine(), wat::parse_str(text).unwrap()).await;
    assert!(refused.unwrap_err().to_string().len() < 5_000);
}
