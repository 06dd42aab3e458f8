//! `lydian run`, with no node anywhere.

use lydian_tests::guests;
use regex::Regex;

use crate::support::Cli;

#[test]
fn the_result_goes_to_stdout_in_wave() {
    let target = format!("{}::square", guests::MATH.path);
    Cli::new().run(&["run", &target, "4"]).is(0, "16\n", "");
}

#[test]
fn arguments_go_by_name_as_well() {
    let target = format!("{}::divide", guests::MATH.path);
    let cli = Cli::new();
    cli.run(&["run", &target, "--y", "3", "--x=12"])
        .is(0, "4\n", "");
    cli.run(&["run", &target, "12", "--y", "3"])
        .is(0, "4\n", "");
}

#[test]
fn bare_words_are_strings_and_json_is_json() {
    let cli = Cli::new();
    cli.run(&["run", guests::HELLO.path, "World"])
        .is(0, "\"Hello, World!\"\n", "");
    cli.run(&["run", guests::HELLO.path, "World", "--json"])
        .is(0, "\"Hello, World!\"\n", "");
    let even = format!("{}::even", guests::MATH.path);
    cli.run(&["--json", "run", &even, "4"])
        .is(0, "{\"ok\":4}\n", "");
}

/// An `err` is an answer, not an error of ours; scripts still want to branch on it.
#[test]
fn a_functions_own_err_is_printed_like_any_result() {
    let target = format!("{}::even", guests::MATH.path);
    Cli::new()
        .run(&["run", &target, "3"])
        .is(1, "err(\"3 is odd\")\n", "");
}

#[test]
fn what_the_guest_writes_goes_to_stderr() {
    let target = format!("{}::print", guests::OUTPUT.path);
    let cli = Cli::new();
    cli.run(&["run", &target, "hi there\n", "false"])
        .is(0, "", "hi there\n");
    cli.run(&["run", "-q", &target, "hi there\n", "--to-stderr"])
        .is(0, "", "hi there\n");
}

#[test]
fn a_trap_is_an_error_that_names_the_function() {
    let target = format!("{}::trap", guests::ENDING.path);
    let ran = Cli::new().run(&["run", &target]);
    ran.exits(1);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("error: function `trap` trapped: "),
        "{}",
        ran.stderr
    );
}

/// Its message, where it was, and how it came there: what a native panic tells.
#[test]
fn a_panic_is_told_with_its_message_and_frames() {
    let target = format!("{}::panic-deep", guests::ENDING.path);
    let ran = Cli::new().run(&["run", &target]);
    ran.exits(1);
    let (_, error) = ran.stderr.split_once("error: ").unwrap();
    let place = Regex::new(r"ending\.rs:\d+:\d+")
        .unwrap()
        .replace(error, "[PLACE]");
    assert_eq!(
        place,
        "function `panic-deep` panicked at rust/[PLACE]: three frames down\n  \
         at ending::inner_frame\n     ending::middle_frame\n     ending::outer_frame\n     panic-deep\n"
    );
    let ran = Cli::new().run(&["run", "--json", &target]);
    let json: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(json["error"]["code"], "trap");
    assert!(
        json["error"]["message"]
            .as_str()
            .unwrap()
            .ends_with("three frames down")
    );
}

#[test]
fn a_call_past_its_time_exits_with_4() {
    let target = format!("{}::spin", guests::SPIN.path);
    let ran = Cli::new().run(&["run", &target, "--timeout", "200ms"]);
    ran.exits(4);
    assert!(
        ran.stderr
            .starts_with("error: function `spin` ran past its limit of 200ms"),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_other_limit_stops_a_call_too() {
    let cli = Cli::new();
    let cases = [
        (guests::SPIN.path, "spin", vec![], "--cpu", "100ms", "cpu"),
        (
            guests::MEMORY.path,
            "fill",
            vec!["50000000"],
            "--memory",
            "8MiB",
            "memory",
        ),
    ];
    for (path, function, args, option, value, code) in cases {
        let target = format!("{path}::{function}");
        let mut line = vec!["run", "--json", option, value, &target];
        line.extend(args);
        let ran = cli.run(&line);
        ran.exits(4);
        let last = ran.stderr.lines().last().unwrap_or_default();
        let error: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
        assert_eq!(error["error"]["code"], code, "{option}");
    }
}

#[test]
fn stream_items_are_lines_as_they_come() {
    let cli = Cli::new();
    let count = format!("{}::count", guests::STREAMS.path);
    cli.run(&["run", &count, "3"]).is(0, "0\n1\n2\n", "");
    let promise = format!("{}::promise", guests::STREAMS.path);
    cli.run(&["run", &promise, "7", "1"]).is(0, "7\n", "");
    let both = format!("{}::both", guests::STREAMS.path);
    let ran = cli.run(&["run", &both, "2"]);
    ran.exits(0);
    assert!(
        ran.stdout.contains("stream 2: ") && ran.stdout.contains("stream 1: "),
        "{ran:?}"
    );
}

#[test]
fn a_stream_that_breaks_keeps_what_came_before() {
    let target = format!("{}::trap-after", guests::STREAMS.path);
    let ran = Cli::new().run(&["run", &target, "2"]);
    ran.exits(1);
    assert_eq!(ran.stdout, "0\n1\n");
}

/// What carries nothing is told too, and never by the number of a handle.
#[test]
fn units_are_items() {
    let cli = Cli::new();
    let of = |name: &str| format!("{}::{name}", guests::STREAMS.path);
    cli.run(&["run", &of("ticks"), "3"])
        .is(0, "()\n()\n()\n", "");
    cli.run(&["run", "--json", &of("ticks"), "2"])
        .is(0, "null\nnull\n", "");
    cli.run(&["run", &of("done")])
        .is(0, "(42, future 1)\nfuture 1: ()\n", "");
}

/// A result fails the command, whenever it comes.
#[test]
fn a_future_that_comes_to_err_fails() {
    let cli = Cli::new();
    let of = |name: &str| format!("{}::{name}", guests::STREAMS.path);
    cli.run(&["run", &of("verdict"), "true"])
        .is(0, "ok(7)\n", "");
    cli.run(&["run", &of("verdict"), "false"])
        .is(1, "err(\"no\")\n", "");
    cli.run(&["run", &of("perhaps"), "0"])
        .is(1, "err(\"none\")\n", "");
    cli.run(&["run", &of("perhaps"), "2"])
        .is(0, "ok(stream 1)\nstream 1: 0\nstream 1: 1\n", "");
}

/// However much it looks like an option of ours, or a name of a parameter.
#[test]
fn what_follows_two_dashes_is_the_functions_alone() {
    let cli = Cli::new();
    let target = format!("{}::at-once", guests::STREAMS.path);
    for text in ["--help", "--x", "--timeout=5s", "-q", "--", "---"] {
        let shown = format!("\"{text}\"\n");
        cli.run(&["run", &target, "--", text]).is(0, &shown, "");
        cli.run(&["run", "--", &target, text]).is(0, &shown, "");
    }
    cli.run_with_stdin(&["shell", guests::STREAMS.path], "at-once -- --x\n")
        .is(0, "\"--x\"\n", "");
}

#[test]
fn the_function_explains_itself() {
    let target = format!("{}::even", guests::MATH.path);
    let ran = Cli::new().run(&["run", &target, "--help"]);
    ran.exits(0);
    let expected = "\
even: func(x: u64) -> result<u64, string>

Parameters:
  --x  u64

Example:
  lydian run ";
    assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    assert!(
        ran.stdout.ends_with("math.wasm::even 1\n"),
        "{}",
        ran.stdout
    );
}

/// The examples name crates; this is the smallest there is, without dependencies.
#[test]
fn a_crate_that_does_not_build_shows_cargos_own_words() {
    let cli = Cli::new();
    let manifest = "[package]\nname = \"broken\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    cli.file("broken/Cargo.toml", manifest);
    cli.file("broken/src/lib.rs", "fn");
    let ran = cli.run(&["run", "broken::f"]);
    ran.exits(1);
    assert!(
        ran.stderr.contains("error: expected identifier"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .ends_with("error: crate `broken` does not build\n"),
        "{}",
        ran.stderr
    );
}

/// Two that start at once must neither wait for each other nor break each other's artifacts.
#[test]
fn commands_share_a_data_directory() {
    let cli = Cli::with_own_home();
    let target = format!("{}::square", guests::MATH.path);
    let children: Vec<_> = (0..4)
        .map(|x| {
            let mut command = cli.command(&["run", &target, &x.to_string()]);
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (x, child) in children.into_iter().enumerate() {
        cli.ran(child.wait_with_output().unwrap())
            .is(0, &format!("{}\n", x * x), "");
    }
}

/// Hints name what whoever reads them can type.
#[test]
fn a_limit_is_named_by_its_option() {
    let cli = Cli::new();
    let fill = format!("{}::fill", guests::MEMORY.path);
    let spin = format!("{}::spin", guests::SPIN.path);
    for (args, hint) in [
        (
            vec![spin.as_str(), "--timeout", "100ms"],
            "hint: give it more time with `--timeout`\n",
        ),
        (
            vec![spin.as_str(), "--cpu", "100ms"],
            "hint: give it more with `--cpu`\n",
        ),
        (
            vec![fill.as_str(), "50000000", "--memory", "8MiB"],
            "hint: give it more with `--memory`\n",
        ),
    ] {
        let mut line = vec!["run"];
        line.extend(args);
        let ran = cli.run(&line);
        ran.exits(4);
        assert!(ran.stderr.ends_with(hint), "{}", ran.stderr);
    }
}

#[test]
fn recursion_is_told_once() {
    let target = format!("{}::overflow", guests::STACK.path);
    let ran = Cli::new().run(&["run", &target]);
    ran.exits(4);
    assert_eq!(
        ran.stderr.matches("stack::down").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(" times)"), "{}", ran.stderr);
}

#[test]
fn a_function_of_resources_is_sent_to_the_shell() {
    let target = format!("{}::make", guests::COUNTER.path);
    let cli = Cli::new();
    let ran = cli.run(&["run", &target, "3"]);
    ran.exits(2);
    assert!(
        ran.stderr.contains("hint: call it in `lydian shell ")
            && ran.stderr.contains("counter.wasm`"),
        "{}",
        ran.stderr
    );
    cli.run(&["run", &target, "--help"]).exits(0);
}

const MATH_WIT: &str = "\
package test:math;
world math {
  /// The square of `x`.
  ///
  /// Wraps around.
  export square: func(x: u64) -> u64;
}
";

/// Tools that make components drop the comments; people wrote them to be read.
#[test]
fn comments_of_the_wit_explain_a_crates_functions() {
    let cli = Cli::with_own_home();
    let cargo = cli.built_crate("math", guests::MATH.path);
    cli.file("math/wit/world.wit", MATH_WIT);
    let ran = cargo.run(&cli, &["run", "math::square", "--help"]);
    ran.exits(0);
    let expected = "square: func(x: u64) -> u64\n  The square of `x`.\n\n  Wraps around.\n";
    assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    let ran = cargo.run(&cli, &["app", "describe", "./math"]);
    ran.exits(0);
    assert!(ran.stdout.contains("The square of `x`."), "{}", ran.stdout);
    cargo
        .run(&cli, &["deploy", "math", "--name", "sums"])
        .exits(0);
    let described = cli.run(&["app", "describe", "sums"]);
    assert!(
        described.stdout.contains("The square of `x`."),
        "{}",
        described.stdout
    );
    let help = cli.run(&["run", "sums::square", "--help"]);
    assert!(help.stdout.starts_with(expected), "{}", help.stdout);
}

/// What stands beside a component holds for it before it is deployed, too.
#[test]
fn the_manifest_beside_a_file_holds() {
    let cli = Cli::new();
    cli.file("spin.wasm", guests::SPIN.bytes());
    cli.file("lydian.toml", "timeout = \"200ms\"\n");
    let ran = cli.run(&["run", "spin.wasm::spin"]);
    ran.exits(4);
    assert!(
        ran.stderr
            .starts_with("error: function `spin` ran past its limit of 200ms"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .ends_with("hint: give it more time with `--timeout` or `timeout` in lydian.toml\n"),
        "{}",
        ran.stderr
    );
    // The command line is nearer to the call than the file.
    let ran = cli.run(&["run", "spin.wasm::spin", "--timeout", "300ms"]);
    assert!(ran.stderr.contains("its limit of 300ms"), "{}", ran.stderr);
}

#[test]
fn grants_beside_a_file_hold() {
    let cli = Cli::new();
    cli.file("env.wasm", guests::ENV.bytes());
    let run = || cli.run(&["run", "env.wasm::variable", "GREETING"]);
    run().is(0, "none\n", "");
    cli.file("lydian.toml", "env = { GREETING = \"hi\" }\n");
    run().is(0, "some(\"hi\")\n", "");
    let described = cli.run(&["app", "describe", "./env.wasm"]);
    described.exits(0);
    assert!(
        described.stdout.starts_with("./env.wasm, not deployed\n"),
        "{}",
        described.stdout
    );
    assert!(
        described.stdout.contains("grants: env GREETING"),
        "{}",
        described.stdout
    );
    cli.file("lydian.toml", "evn = { GREETING = \"hi\" }\n");
    let refused = run();
    refused.exits(2);
    assert!(refused.stderr.contains("evn"), "{}", refused.stderr);
}

/// A durable call outlives the command, and with it an app of the command's own.
#[test]
fn a_durable_call_of_a_file_with_a_manifest_wants_a_deployment() {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.file("lydian.toml", "timeout = \"5s\"\n");
    let ran = cli.run(&["spawn", "math.wasm::square", "4"]);
    ran.exits(2);
    assert!(
        ran.stderr
            .contains("hint: deploy it first: `lydian deploy math.wasm`"),
        "{}",
        ran.stderr
    );
}
