//! `lydian serve`: what is saved is what runs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lydian_client::blocking::Client;
use lydian_tests::guests;
use serde_json::Value as Json;

use crate::support::{Cli, NodeProcess};

/// A component that does the same as `bytes` and is another.
fn variant(bytes: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // A custom section named `v` with a number of four bytes in it.
    bytes.extend([0, 6, 1, b'v']);
    bytes.extend(number.to_le_bytes());
    bytes
}

/// A running `lydian serve --json`.
struct Serve {
    child: Child,
    lines: BufReader<ChildStdout>,
    app: String,
}

impl Serve {
    fn start(mut command: std::process::Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut serve = Self {
            child,
            lines,
            app: String::new(),
        };
        let opened = serve.event();
        assert_eq!(opened["event"], "open", "{opened}");
        serve.app = opened["app"].as_str().unwrap().to_owned();
        serve
    }

    fn event(&mut self) -> Json {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = self.child.kill();
            let mut said = String::new();
            let _ =
                std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said);
            panic!("{error}: {line}{said}")
        })
    }

    /// Presses Ctrl-C; how it ended and what it said.
    fn stop(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        std::process::Command::new("kill")
            .args(["-s", "INT", &id])
            .status()
            .unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A save must never be seen by a caller, other than by what the function does.
#[test]
fn versions_are_swapped_under_load_without_a_failed_call() {
    const SWAPS: u32 = 20;
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    let math = guests::MATH.bytes();
    cli.file("math.wasm", &math);
    let mut serve = Serve::start(cli.command(&["serve", "--json", "math.wasm"]));
    let client = Client::connect(&node.url).unwrap();
    let square = Arc::new(client.function(&serve.app, "square").unwrap());
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..4u64)
        .map(|x| {
            let (square, stop, done) = (square.clone(), stop.clone(), done.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(square.call::<_, u64>((x,)).unwrap(), x * x);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 0..SWAPS {
        cli.file("math.wasm", variant(&math, number));
        let swapped = serve.event();
        assert_eq!(swapped["event"], "swapped", "{swapped}");
        assert_eq!(swapped["version"], u64::from(number) + 2);
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    assert!(done.load(Ordering::Relaxed) > u64::from(SWAPS));
    assert_eq!(serve.stop().0, Some(0));
    assert_eq!(
        cli.run(&["app", "list", "--json"]).json(),
        serde_json::json!([])
    );
}

/// What is broken is not served; what was served before is.
#[test]
fn a_save_that_cannot_run_leaves_the_version_before() {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    cli.file("math.wasm", guests::MATH.bytes());
    let mut serve = Serve::start(cli.command(&["serve", "--json", "math.wasm"]));
    let target = format!("{}::square", serve.app);
    cli.file("math.wasm", "no component");
    cli.file("math.wasm", guests::MISSING_IMPORT.bytes());
    cli.run(&["run", &target, "4"]).is(0, "16\n", "");
    cli.file("math.wasm", variant(&guests::MATH.bytes(), 1));
    assert_eq!(serve.event()["version"], 2);
    cli.run(&["run", &target, "5"]).is(0, "25\n", "");
    let (code, said) = serve.stop();
    assert_eq!(code, Some(0));
    assert!(said.contains("which is not provided"), "{said}");
    assert!(said.contains("note: the version before goes on"), "{said}");
}

/// Nothing is served yet, and the next save may be the right one.
#[test]
fn a_first_save_that_cannot_run_is_waited_out() {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    cli.file("math.wasm", guests::MATH.bytes());
    cli.file("lydian.toml", "timeuot = \"5s\"\n");
    let mut command = cli.command(&["serve", "--json", "math.wasm"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut serve = Serve {
        lines: BufReader::new(child.stdout.take().unwrap()),
        child,
        app: String::new(),
    };
    let mut told = String::new();
    while !told.contains("note: waiting for a save") {
        assert_ne!(said.read_line(&mut told).unwrap(), 0, "{told}");
    }
    assert!(told.contains("did you mean `timeout`?"), "{told}");
    cli.file("lydian.toml", "timeout = \"5s\"\n");
    assert_eq!(serve.event()["event"], "open");
}

/// The manifest is part of what is saved, and so are the sources of a crate, which cargo is asked to build.
#[test]
fn a_crate_is_built_at_every_save() {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    let built = cli.file("out/env.wasm", guests::ENV.bytes());
    let cargo = cli.built_crate("env", built.to_str().unwrap());
    cli.file("env/src/lib.rs", "");
    let mut command = cli.command(&["serve", "--json", "env"]);
    cargo.used_by(&mut command);
    let mut serve = Serve::start(command);
    let target = format!("{}::variable", serve.app);
    cli.run(&["run", &target, "GREETING"]).is(0, "none\n", "");
    cli.file("env/lydian.toml", "env = { GREETING = \"hi\" }\n");
    assert_eq!(serve.event()["version"], 2);
    cli.run(&["run", &target, "GREETING"])
        .is(0, "some(\"hi\")\n", "");
    // The same component again: cargo was asked, and nothing is swapped.
    cli.file("env/src/lib.rs", "// a comment");
    cli.file("out/env.wasm", variant(&guests::ENV.bytes(), 1));
    cli.file("env/src/new/mod.rs", "// another");
    assert_eq!(serve.event()["version"], 3);
    assert_eq!(serve.stop().0, Some(0));
}

/// A file saved in a directory that is mounted is a save like any other.
#[test]
fn what_is_mounted_is_followed() {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    cli.file("out/files.wasm", guests::FILES.bytes());
    cli.file(
        "out/lydian.toml",
        "mounts = { \"../assets\" = \"/assets\" }",
    );
    cli.file("assets/deep/a.txt", "first");
    let mut serve = Serve::start(cli.command(&["serve", "--json", "out/files.wasm"]));
    let target = format!("{}::read-text", serve.app);
    let read = ["run", &target, "/assets/deep/a.txt"];
    cli.run(&read).is(0, "ok(\"first\")\n", "");
    cli.file("assets/deep/a.txt", "second");
    assert_eq!(serve.event()["version"], 2);
    cli.run(&read).is(0, "ok(\"second\")\n", "");
    assert_eq!(serve.stop().0, Some(0));
}

/// Nobody has to start a node first.
#[test]
fn without_a_node_the_command_is_one() {
    let cli = Cli::with_own_home();
    cli.file("output.wasm", guests::OUTPUT.bytes());
    let mut command = cli.command(&["serve", "--json", "--listen", "127.0.0.1:0", "output.wasm"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let opened: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let url = opened["url"].as_str().unwrap();
    let target = format!("{}::print", opened["app"].as_str().unwrap());
    let ran = cli.run(&["run", "--url", url, &target, "hello\n", "false"]);
    ran.is(0, "", "hello\n");
    let log: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(log["text"], "hello\n");
    let id = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-s", "INT", &id])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_not_there_is_not_served() {
    Cli::new()
        .run(&["serve", "nothing.wasm"])
        .is(3, "", "error: no file `nothing.wasm`\n");
    Cli::new().run(&["serve", "nothing"]).exits(3);
}
