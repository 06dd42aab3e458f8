//! Hints name what their reader can type, wherever the limit or function is.

use lydian_tests::guests;

use crate::support::{Cli, Ran};

const DEPLOY: &str = "in lydian.toml or the function's attribute, and deploy again\n";

#[track_caller]
fn hints(ran: &Ran, hint: &str) {
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
}

/// What is told of a spawned call that failed.
fn told(cli: &Cli, spawn: &[&str]) -> Ran {
    let output = cli.command(&[&["spawn", "-q"], spawn].concat()).output();
    let id = String::from_utf8(output.unwrap().stdout).unwrap();
    let ran = cli.run(&["calls", "get", id.trim()]);
    ran.exits(4);
    let explained = cli.run(&["calls", "explain", "--json", id.trim()]).json();
    let hint = explained["failure"]["hints"][0].as_str().unwrap();
    assert!(ran.stderr.contains(hint), "{hint}: {}", ran.stderr);
    ran
}

/// `calls get` has a `--timeout` too, which is how long to wait: not the one that is meant.
#[test]
fn a_recorded_call_names_who_set_its_limit() {
    let cli = Cli::with_own_home();
    cli.file("spin.wasm", guests::SPIN.bytes());
    let more = "hint: give it more time with `";
    let bare = told(&cli, &["spin.wasm::spin", "--timeout", "100ms"]);
    hints(&bare, &format!("{more}--timeout` of `lydian spawn`\n"));
    cli.file("lydian.toml", "timeout = \"200ms\"\n");
    cli.run(&["deploy", "spin.wasm"]).exits(0);
    let deployed = told(&cli, &["spin::spin"]);
    hints(&deployed, &format!("{more}timeout` {DEPLOY}"));
    let lowered = told(&cli, &["spin::spin", "--timeout", "100ms"]);
    hints(&lowered, &format!("{more}--timeout` of `lydian spawn`\n"));
}

#[test]
fn a_failure_that_is_a_result_names_the_option() {
    let cli = Cli::new();
    cli.file("spin.wasm", guests::SPIN.bytes());
    let map = [
        "map",
        "spin.wasm::spin",
        "--inputs",
        "-",
        "--timeout",
        "100ms",
    ];
    let options = ["--return-errors", "--json", "-q"];
    let ran = cli.run_with_stdin(&[&map[..], &options].concat(), "[]\n");
    ran.exits(1);
    assert_eq!(
        ran.json()["error"]["hints"][0],
        "give it more time with `--timeout`"
    );
}

#[test]
fn a_stream_is_for_run() {
    let cli = Cli::with_own_home();
    cli.file("streams.wasm", guests::STREAMS.bytes());
    let hint = "hint: `lydian run` shows its items as they come\n";
    let spawned = cli.run(&["spawn", "streams.wasm::count", "5"]);
    spawned.exits(2);
    hints(&spawned, hint);
    let map = ["map", "streams.wasm::count", "--inputs", "-"];
    hints(&cli.run_with_stdin(&map, "5\n"), hint);
}

#[test]
fn a_payload_is_raised_where_it_was_set() {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    for command in ["run", "spawn"] {
        let ran = cli.run(&[command, "--payload", "1", "math.wasm::square", "4"]);
        assert!(ran.stderr.contains("`--payload`"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("deploy"), "{}", ran.stderr);
    }
    cli.file("lydian.toml", "payload = 1\n");
    cli.run(&["deploy", "math.wasm"]).exits(0);
    let hint = "raise `payload` in lydian.toml or the function's attribute, and deploy again, or send less\n";
    for command in ["run", "spawn"] {
        hints(&cli.run(&[command, "math::square", "4"]), hint);
    }
    let map = ["map", "math::square", "--inputs", "-"];
    hints(&cli.run_with_stdin(&map, "4\n"), hint);
}
