//! `lydian shell`, its lines from a pipe.

use lydian_tests::guests;

use crate::support::{Cli, Ran};

fn typed(cli: &Cli, target: &str, lines: &str) -> Ran {
    cli.run_with_stdin(&["shell", target], lines)
}

#[test]
fn calls_are_written_like_code_or_like_a_command() {
    let lines =
        "square(4)\nsquare 5\nsquare --x 6\nsquare(x: 7)\n// nothing\n\ndivide(y: 3, x: 12)\n";
    typed(&Cli::new(), guests::MATH.path, lines).is(0, "16\n25\n36\n49\n4\n", "");
}

#[test]
fn results_have_names() {
    let lines = "let x = square(4)\nx\nsquare(x)\nlet y = x\ndivide(_, y)\nsquare x\n";
    typed(&Cli::new(), guests::MATH.path, lines).is(0, "16\n256\n1\n256\n", "");
}

/// The resource is one thing between the calls, or the sums would be those of new ones.
#[test]
fn resources_live_between_lines() {
    let lines = "\
let c = counter.new(1)
c.increment(2)
c.increment 4
let d = make(10)
counter.sum([c, d])
live()
let e = counter.merge(c, d)
e.value()
live()
.values
";
    let ran = typed(&Cli::new(), guests::COUNTER.path, lines);
    // A merged counter takes the two it was made of, and their names.
    ran.is(0, "3\n7\n17\n2\n17\n1\n_: u32 = 1\ne: counter = 2\n", "");
}

/// What no name stands for can never be used again, so it must not be kept.
#[test]
fn a_resource_without_a_name_is_dropped() {
    let lines = "make(1)\nmake(2)\nlive()\nlet kept = make(3)\nlive()\nlive()\n";
    let ran = typed(&Cli::new(), guests::COUNTER.path, lines);
    ran.exits(0);
    assert_eq!(
        ran.stdout
            .lines()
            .filter(|line| line.starts_with("counter "))
            .count(),
        2
    );
    let live: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with("counter "))
        .collect();
    assert_eq!(live, ["1", "1", "1"]);
}

#[test]
fn mistakes_are_told_and_the_next_line_runs() {
    let lines =
        "sqare(4)\nsquare(four)\nsquare(4\nlet 1 = square(4)\n.hepl\nsquare(2)\ndivide(1, 0)\n";
    let ran = typed(&Cli::new(), guests::MATH.path, lines);
    // The last line that failed decides, as in a script of a system's shell.
    ran.exits(1);
    assert_eq!(ran.stdout, "4\n");
    for said in [
        "error: no function `sqare`\nhint: did you mean `square`?",
        "error: wrong argument for `square`: x: expected u64",
        "error: `(4` does not end with its `)`",
        "error: `1` is no name",
        "error: `.hepl` is no command of the shell\nhint: did you mean `.help`?",
        "error: function `divide` panicked at ",
    ] {
        assert!(ran.stderr.contains(said), "{said}\n{}", ran.stderr);
    }
}

/// A trap ends the sandbox: the shell goes on with a new one, and says what was lost.
#[test]
fn a_trap_ends_the_shared_sandbox_and_not_the_shell() {
    let lines = "let c = make(1)\nc.nothing()\n.restart\nc.value()\nlet d = make(2)\nd.value()\n";
    let ran = typed(&Cli::new(), guests::COUNTER.path, lines);
    assert_eq!(ran.stdout, "2\n", "{}", ran.stderr);
    assert!(
        ran.stderr.contains("`counter` has no method `nothing`"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("note: the sandbox is gone, and with it `c`"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("error: no function `c.value`"),
        "{}",
        ran.stderr
    );
}

/// A mistyped call is told, and nothing that lives in the session is lost.
#[test]
fn a_wrong_handle_ends_nothing() {
    let lines = "\
let c = make(5)
counter.value(77)
peek(99)
c.value(1)
counter.merge(c, c)
c.value()
";
    let ran = typed(&Cli::new(), guests::COUNTER.path, lines);
    assert_eq!(ran.stdout, "5\n", "{}", ran.stderr);
    for said in [
        "handle 77 is not open",
        "handle 99 is not open",
        "given away and cannot be used twice",
    ] {
        assert!(ran.stderr.contains(said), "{said}\n{}", ran.stderr);
    }
    assert!(
        !ran.stderr.contains("the sandbox is gone"),
        "{}",
        ran.stderr
    );
}

/// What gives a resource may give it in a list, or none at all.
#[test]
fn resources_are_reached_inside_other_values() {
    let lines = "\
let cs = many(2)
cs[1].increment(4)
cs[1].value()
peek(cs[0])
cs
let m = maybe(7)
m.value()
let n = maybe(none)
maybe(3)
_.value()
consume(cs[0])
cs[1].value()
cs[7].value()
m.value()
";
    let ran = typed(&Cli::new(), guests::COUNTER.path, lines);
    let mut shown = ran.stdout.lines();
    assert_eq!(shown.next(), Some("5"));
    assert_eq!(shown.next(), Some("5"));
    assert_eq!(shown.next(), Some("0"));
    assert_eq!(shown.next(), Some("[counter 1, counter 2]"));
    assert_eq!(shown.next(), Some("7"));
    assert!(
        shown.next().unwrap().starts_with("some(counter "),
        "{ran:?}"
    );
    assert_eq!(shown.collect::<Vec<_>>(), ["3", "0", "5", "7"], "{ran:?}");
    assert!(
        ran.stderr.contains("maybe` returned none"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("no value at `cs[7]`"), "{}", ran.stderr);
}

#[test]
fn a_constructor_may_fail() {
    let lines = "\
let e = even.new(4)
e.value()
even.new(3)
let f = even.new(5)
let g = even.new(6)
g.value()
f
";
    let ran = typed(&Cli::new(), guests::FALLIBLE.path, lines);
    assert_eq!(ran.stdout, "4\nerr(\"odd number\")\n6\n", "{}", ran.stderr);
    assert!(
        ran.stderr.contains("returned err(\"odd number\")"),
        "{}",
        ran.stderr
    );
}

/// Some editors put one in front of a script.
#[test]
fn a_byte_order_mark_is_skipped() {
    typed(
        &Cli::new(),
        guests::MATH.path,
        "\u{feff}square(2)\nsquare(3)\n",
    )
    .is(0, "4\n9\n", "");
}

#[test]
fn the_app_explains_itself() {
    let cli = Cli::with_own_home();
    cli.file("env.wasm", guests::ENV.bytes());
    cli.file(
        "lydian.toml",
        "timeout = \"5s\"\nenv = { GREETING = \"hi\" }\n",
    );
    cli.run(&["deploy", "env.wasm"]).exits(0);
    let ran = typed(
        &cli,
        "env",
        ".functions vari\n.limits variable\n.grants variable\n.types\n.wit\n.mounts\nvariable GREETING\n.quit\nvariable X\n",
    );
    ran.exits(0);
    for said in [
        "variables: func() -> list<tuple<string, string>>\n",
        "variable: func(name: string) -> option<string>\n",
        "variable\n  timeout [TIME]",
        "variable: env GREETING\n",
        "package ",
    ] {
        assert!(ran.stdout.contains(said), "{said}\n{}", ran.stdout);
    }
    assert!(ran.stdout.ends_with("some(\"hi\")\n"), "{}", ran.stdout);
}

#[test]
fn what_calls_write_is_shown_and_kept() {
    let cli = Cli::with_own_home();
    cli.file("output.wasm", guests::OUTPUT.bytes());
    cli.run(&["deploy", "output.wasm", "--name", "talk"])
        .exits(0);
    let ran = typed(&cli, "talk", "print(\"hello\\n\", false)\n.logs\n");
    ran.is(0, "[DATE] print  hello\n", "hello\n");
}

#[test]
fn results_are_json_when_asked() {
    let lines = "even(4)\nlet x = even(3)\nx\n";
    Cli::new()
        .run_with_stdin(&["shell", "--json", guests::MATH.path], lines)
        .is(0, "{\"ok\":4}\n{\"err\":\"3 is odd\"}\n", "");
}

#[test]
fn a_function_is_no_target_of_a_shell() {
    let ran = typed(&Cli::new(), "math.wasm::square", "");
    ran.exits(2);
    assert!(ran.stderr.contains("hint: leave `::`"), "{}", ran.stderr);
}

#[test]
fn streams_are_read_to_their_end() {
    typed(&Cli::new(), guests::STREAMS.path, "count(3)\n").is(0, "0\n1\n2\n", "");
}
