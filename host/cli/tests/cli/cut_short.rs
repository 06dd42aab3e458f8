//! Commands that are cut short: by who reads their output, by a device that takes no more, by Ctrl-C.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lydian_tests::guests;

use crate::support::{Cli, Ran};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

fn cli() -> Cli {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.file("spin.wasm", guests::SPIN.bytes());
    cli.file("streams.wasm", guests::STREAMS.bytes());
    // More results than any pipe holds.
    let numbers: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    cli.file("numbers", numbers);
    cli.file("one", "[]\n");
    cli
}

const MAP: [&str; 4] = ["map", "math.wasm::square", "--inputs", "numbers"];

/// Reads one line of what a command prints, and then no more.
fn first_line(cli: &Cli, args: &[&str]) -> (String, Ran) {
    let mut command = cli.command(args);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    (line, cli.ran(child.wait_with_output().unwrap()))
}

/// `lydian … | head -1`: whoever has read enough has nothing to complain about.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cli = cli();
    let run = ["run", "streams.wasm::count", "100000"];
    for args in [&MAP[..], &run] {
        let (line, ran) = first_line(&cli, args);
        assert_eq!(line, "0\n");
        ran.exits(0);
        assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

/// Results that nobody has are not results that were written.
#[test]
fn a_device_that_is_full_is_told() {
    let cli = cli();
    let run = ["run", "math.wasm::square", "4"];
    let list = ["app", "describe", "math.wasm"];
    for args in [&MAP[..], &run, &list] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = cli.command(args);
        let ran = cli.ran(
            command
                .stdout(full)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
                .wait_with_output()
                .unwrap(),
        );
        ran.exits(1);
        let told = "error: cannot write to stdout: No space left on device";
        assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
    }
}

/// Waits until a process has a handler for SIGINT: before, Ctrl-C ends it by itself.
fn wait_for_handler(child: &Child) {
    /// SIGINT is the second signal.
    const INTERRUPT: u64 = 1 << 1;
    let since = Instant::now();
    let status = format!("/proc/{}/status", child.id());
    let caught = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    while caught() & INTERRUPT == 0 {
        assert!(since.elapsed() < PATIENCE, "no handler");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupted(cli: &Cli, args: &[&str]) -> Ran {
    let mut command = cli.command(args);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_handler(&child);
    let sent = Command::new("kill")
        .args(["-s", "INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    cli.ran(child.wait_with_output().unwrap())
}

/// The guest spins, and is not waited for.
#[test]
fn ctrl_c_ends_a_run_and_a_map() {
    let cli = cli();
    interrupted(&cli, &["run", "spin.wasm::spin"]).is(130, "", "note: stopped `spin`\n");
    interrupted(&cli, &["map", "spin.wasm::spin", "--inputs", "one"]).is(
        130,
        "",
        "stopped after 0 results in [TIME]\n",
    );
}
