//! Each limit as an option and as a key of a manifest: the same guest within it, and stopped by it.

use std::time::{Duration, Instant};

use lydian_tests::guests;

use crate::support::{Cli, Ran};

fn cli() -> Cli {
    let cli = Cli::with_own_home();
    cli.file("handles.wasm", guests::HANDLES.bytes());
    cli.file("random.wasm", guests::RANDOM.bytes());
    cli.file("output.wasm", guests::OUTPUT.bytes());
    cli.file("sockets.wasm", guests::SOCKETS.bytes());
    cli
}

#[track_caller]
fn stopped(ran: &Ran, said: &str) {
    ran.exits(4);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

#[test]
fn handles_are_limited_by_the_option() {
    let cli = cli();
    let leak = |limit: &str, n: &str| {
        cli.run(&["run", "--handles", limit, "handles.wasm::leak-pollables", n])
    };
    leak("100", "50").is(0, "50\n", "");
    stopped(
        &leak("100", "200"),
        "holds more handles than its limit of 100",
    );
}

#[test]
fn host_calls_are_limited_by_the_option() {
    let cli = cli();
    let ask = |limit: &str| {
        cli.run(&[
            "run",
            "--host-call-bytes",
            limit,
            "random.wasm::bytes",
            "5000",
        ])
    };
    ask("64KiB").exits(0);
    let refused = ask("4KiB");
    assert!(!refused.stderr.is_empty(), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
}

/// A second's worth is free at once; four times as much takes three seconds more.
#[test]
fn output_is_slowed_down_by_the_option() {
    let cli = cli();
    let took = |rate: &str| {
        let since = Instant::now();
        let line = [
            "run",
            "--output-rate",
            rate,
            "output.wasm::one-line",
            "100000",
        ];
        cli.run(&line).exits(0);
        since.elapsed()
    };
    assert!(took("25KB") >= Duration::from_secs(3));
}

/// Keys of `lydian.toml`, which an app is deployed with and a caller cannot raise.
#[test]
fn manifests_limit_handles_sockets_and_host_calls() {
    let cli = cli();
    cli.file(
        "lydian.toml",
        "handles = 100\nopen-files = 3\nhost-call-bytes = \"4KiB\"\nnetwork = [\"127.0.0.1:1\"]\n",
    );
    for app in ["handles", "random", "sockets"] {
        cli.run(&["deploy", &format!("{app}.wasm")]).exits(0);
    }
    let leak = |n: &str| cli.run(&["run", "handles::leak-pollables", n]);
    leak("50").is(0, "50\n", "");
    stopped(&leak("200"), "holds more handles than its limit of 100");
    let raised = cli.run(&["run", "--handles", "1000", "handles::leak-pollables", "200"]);
    stopped(&raised, "holds more handles than its limit of 100");
    let open = |n: &str| cli.run(&["run", "sockets::udp", n]);
    open("3").is(0, "(3, none)\n", "");
    stopped(
        &open("4"),
        "has more open files and sockets than its limit of 3",
    );
    let lowered = cli.run(&["run", "--open-files", "2", "sockets::udp", "3"]);
    stopped(
        &lowered,
        "has more open files and sockets than its limit of 2",
    );
    let asked = cli.run(&["run", "random::bytes", "5000"]);
    assert!(
        asked.stdout.is_empty() && !asked.stderr.is_empty(),
        "{asked:?}"
    );
}
