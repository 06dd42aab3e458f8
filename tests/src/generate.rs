//! Components whose harm is a number. Each is valid unless its comment says otherwise.

use std::fmt::Write as _;

/// `count` instances of one module, each with a memory of one page, in a single component; exports `run`.
pub fn many_instances(count: usize) -> Vec<u8> {
    let mut text = String::from("(component (core module $m (memory 1) (func (export \"run\")))\n");
    for at in 0..count {
        line(
            &mut text,
            format_args!("(core instance $i{at} (instantiate $m))"),
        );
    }
    assemble(&format!(
        "{text}(func (export \"run\") (canon lift (core func $i0 \"run\"))))"
    ))
}

/// A module with `count` memories of one page, and a function `run`.
pub fn many_memories(count: usize) -> Vec<u8> {
    around_module(&"(memory 1)".repeat(count))
}

/// A module with `count` tables of one entry, and a function `run`.
pub fn many_tables(count: usize) -> Vec<u8> {
    around_module(&"(table 1 funcref)".repeat(count))
}

/// A module with `count` functions beside `run`, each of some 30 instructions.
pub fn many_functions(count: usize) -> Vec<u8> {
    let body = "local.get 0 i32.const 3 i32.mul local.get 0 i32.xor ".repeat(6);
    let one =
        format!("(func (param i32) (result i32) {body} i32.add i32.add i32.add i32.add i32.add)");
    around_module(&one.repeat(count))
}

/// One function of `blocks` nested blocks with a jump to each of them: slow to compile for its size.
pub fn nested_blocks(blocks: usize) -> Vec<u8> {
    let mut body = "block ".repeat(blocks);
    body.push_str("local.get 0 br_table");
    for at in 0..blocks {
        // A write into memory cannot fail.
        let _ = write!(body, " {at}");
    }
    body.push_str(" 0 ");
    body.push_str(&"end local.get 0 i32.const 1 i32.add local.set 0 ".repeat(blocks));
    around_module(&format!("(func (export \"nested\") (param i32) {body})"))
}

/// One function that takes minutes to compile: jumps that all of thousands of locals live across.
pub fn many_jumps() -> Vec<u8> {
    const LOCALS: u32 = 4_000;
    const BLOCKS: u32 = 60_000;
    let mut body = format!("(local{})", " i64".repeat(LOCALS as usize));
    for block in 0..BLOCKS {
        let (from, to) = (block % LOCALS + 1, block.wrapping_mul(7_919) % LOCALS + 1);
        line(
            &mut body,
            format_args!(
                "block local.get 0 br_if 0 local.get {from} i64.const {block} i64.add local.set {to} end"
            ),
        );
    }
    body.push_str("i64.const 0 ");
    for local in 1..=LOCALS {
        line(&mut body, format_args!("local.get {local} i64.xor"));
    }
    around_module(&format!(
        "(func (export \"jumps\") (param i32) (result i64) {body})"
    ))
}

/// One function of `locals` locals that all live to the end: much work for a register allocator.
pub fn many_locals(locals: usize) -> Vec<u8> {
    let mut body = String::new();
    for at in 1..=locals {
        line(
            &mut body,
            format_args!(
                "local.get {} i64.const {at} i64.mul i64.popcnt local.set {at}",
                at - 1
            ),
        );
    }
    for at in 1..=locals {
        line(
            &mut body,
            format_args!("local.get 0 local.get {at} i64.rotl local.set 0"),
        );
    }
    let declared = "(local i64)".repeat(locals);
    around_module(&format!(
        "(func (export \"mix\") (param i64) (result i64) {declared} {body} local.get 0)"
    ))
}

/// A data segment of `bytes` zero bytes: a large file that compresses well.
pub fn large_data(bytes: usize) -> Vec<u8> {
    let pages = bytes.div_ceil(65536).max(1);
    let data = "\\00".repeat(bytes);
    around_module(&format!("(memory {pages}) (data (i32.const 0) \"{data}\")"))
}

/// Exports `take: func(x: list<list<…u8>>)` with `depth` lists inside each other.
pub fn nested_lists(depth: usize) -> Vec<u8> {
    nested_type(depth, "list")
}

/// Exports `take: func(x: option<option<…u8>>)` with `depth` options inside each other, as a type so deep that
/// its flat form would not fit: the parameter comes as a list of it.
pub fn nested_options(depth: usize) -> Vec<u8> {
    nested_type(depth, "option")
}

fn nested_type(depth: usize, kind: &str) -> Vec<u8> {
    let mut types = String::from("(type $t0 (list u8))\n");
    for at in 1..depth {
        line(
            &mut types,
            format_args!("(type $t{at} ({kind} $t{}))", at - 1),
        );
    }
    let last = depth.saturating_sub(1);
    assemble(&format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "take") (param i32 i32) (result i32) (local.get 1)))
            (core instance $i (instantiate $m))
            {types}
            (type $x (list $t{last}))
            (func (export "take") (param "x" $x) (result u32)
                (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    ))
}

/// `depth` components inside each other; the innermost does nothing.
pub fn nested_components(depth: usize) -> Vec<u8> {
    assemble(&format!(
        "{}{}",
        "(component ".repeat(depth),
        ")".repeat(depth)
    ))
}

/// `count` exported functions `f0`, `f1`, …, which all answer their own number.
pub fn many_exports(count: usize) -> Vec<u8> {
    let mut module = String::new();
    let mut exports = String::new();
    for at in 0..count {
        line(
            &mut module,
            format_args!("(func (export \"f{at}\") (result i32) (i32.const {at}))"),
        );
        line(
            &mut exports,
            format_args!(
                "(func (export \"f{at}\") (result u32) (canon lift (core func $i \"f{at}\")))"
            ),
        );
    }
    assemble(&format!(
        "(component (core module $m {module}) (core instance $i (instantiate $m)) {exports})"
    ))
}

/// Answers `number` from `run`: components that differ in nothing but one constant, for tests that need many.
pub fn answer(number: u32) -> Vec<u8> {
    assemble(&format!(
        r#"(component
            (core module $m (func (export "run") (result i32) (i32.const {number})))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    ))
}

/// A component around one module that holds `items` and a function `run`.
fn around_module(items: &str) -> Vec<u8> {
    assemble(&format!(
        r#"(component
            (core module $m (func (export "run")) {items})
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#
    ))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A write into memory cannot fail.
    let _ = writeln!(text, "{line}");
}

#[expect(clippy::panic, reason = "only tests call this, and the text is ours")]
fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text)
        .unwrap_or_else(|error| panic!("a generated component does not assemble: {error}"))
}
