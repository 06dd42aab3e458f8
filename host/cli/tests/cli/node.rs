//! `lydian up` and commands that talk to it.

use std::time::Duration;

use lydian_tests::guests;

use crate::support::{Cli, NodeProcess};

struct Setup {
    cli: Cli,
    node: NodeProcess,
}

fn setup() -> Setup {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    cli.file("math.wasm", guests::MATH.bytes());
    Setup { cli, node }
}

/// The id a spawn printed, unfiltered.
fn spawn(cli: &Cli, target: &str, args: &[&str]) -> String {
    let mut line = vec!["spawn", "-q", target];
    line.extend(args);
    let output = cli.command(&line).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_same_commands_work_on_a_node() {
    let Setup { cli, node: _node } = setup();
    cli.run(&["run", "math.wasm::square", "4"])
        .is(0, "16\n", "");
    cli.run(&["deploy", "math.wasm"]).exits(0);
    cli.run(&["run", "math::square", "4"]).is(0, "16\n", "");
    cli.run_with_stdin(&["map", "-q", "math::square", "--inputs", "-"], "1\n2\n")
        .is(0, "1\n4\n", "");
}

#[test]
fn calls_are_spawned_found_and_explained() {
    let Setup { cli, node: _node } = setup();
    cli.run(&["deploy", "math.wasm"]).exits(0);
    let id = spawn(&cli, "math::square", &["7"]);
    cli.run(&["calls", "get", &id]).is(0, "49\n", "");
    cli.run(&["run", "math.wasm::cube", "2"]).exits(0);
    let list = cli.run(&["calls", "list", "--json"]).json();
    let bare = |call: &serde_json::Value| call["app"] == "" && call["function"] == "cube";
    assert!(list.as_array().unwrap().iter().any(bare), "{list}");
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .any(|call| call["function"] == "square" && call["state"] == "succeeded")
    );
    let explained = cli.run(&["calls", "explain", &id]);
    explained.exits(0);
    for stage in ["queue", "instantiate", "run", "total", "memory"] {
        assert!(explained.stdout.contains(stage), "{}", explained.stdout);
    }
    let unknown = cli.run(&["calls", "get", "c-nothing"]);
    assert!(
        matches!(unknown.stderr.as_str(), text if text.starts_with("error: call ")),
        "{}",
        unknown.stderr
    );
}

#[test]
fn the_same_idempotency_key_is_the_same_call() {
    let Setup { cli, node: _node } = setup();
    let first = spawn(&cli, "math.wasm::square", &["7", "--idempotency-key", "k"]);
    let second = spawn(&cli, "math.wasm::square", &["7", "--idempotency-key", "k"]);
    assert_eq!(first, second);
}

#[test]
fn a_running_call_is_waited_for_and_cancelled() {
    let Setup { cli, node: _node } = setup();
    cli.file("spin.wasm", guests::SPIN.bytes());
    let id = spawn(&cli, "spin.wasm::spin", &[]);
    let ran = cli.run(&["calls", "get", &id, "--timeout", "0"]);
    ran.is(
        4,
        "",
        "error: call `[CALL]` is not done yet\nhint: it goes on; wait for it with `lydian calls get [CALL]`\n",
    );
    let explained = cli.run(&["calls", "explain", &id]);
    let told = explained.stdout.contains("running for") || explained.stdout.contains("queued for");
    assert!(told, "{}", explained.stdout);
    // Bare components belong to no environment; whoever looks for a call wants to see it.
    let list = cli.run(&["calls", "list", "--json"]).json();
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .any(|call| call["function"] == "spin"),
        "{list}"
    );
    let cancelled = cli.run(&["calls", "cancel", &id, "--json"]);
    assert_eq!(cancelled.json()["was_running"], true);
    cli.run(&["calls", "get", &id]).exits(1);
    let again = cli.run(&["calls", "cancel", &id, "--json"]);
    assert_eq!(again.json()["was_running"], false);
}

#[test]
fn logs_of_calls_and_apps_are_kept() {
    let Setup { cli, node: _node } = setup();
    cli.file("output.wasm", guests::OUTPUT.bytes());
    cli.run(&["deploy", "output.wasm", "--name", "talk"])
        .exits(0);
    let id = spawn(&cli, "talk::print", &["hello\n", "false"]);
    cli.run(&["calls", "get", &id]).exits(0);
    cli.run(&["calls", "logs", &id]).is(0, "hello\n", "");
    let logs = cli.run(&["app", "logs", "talk"]);
    assert_eq!(logs.stdout, "[DATE] print  hello\n");
    let followed = cli.run(&["calls", "logs", "-f", &id, "--json"]);
    assert_eq!(followed.json()["text"], "hello\n");
}

/// What `doctor` says of the node when no URL is given.
fn node_found(cli: &Cli) -> String {
    let mut command = cli.command(&["doctor", "--json"]);
    let output = command.env_remove("LYDIAN_URL").output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = findings.as_array().unwrap().iter();
    let found = findings.find(|finding| finding["name"] == "node").unwrap();
    found["detail"].as_str().unwrap().to_owned()
}

/// How many nodes say that they live on the data directory.
fn nodes_on(cli: &Cli) -> usize {
    std::fs::read_dir(cli.home().join("nodes")).unwrap().count()
}

/// Without a URL commands find the node of their data directory by themselves.
#[test]
fn the_node_of_the_data_directory_is_found() {
    let Setup { cli, node } = setup();
    let found = node_found(&cli);
    assert!(found.starts_with(&node.url), "{found}");
}

/// Each node answers for itself: the end of one, however it ends, says nothing about the others.
#[test]
fn a_node_is_found_when_others_on_its_data_directory_have_ended() {
    let Setup { cli, node } = setup();
    let mut stopped = NodeProcess::start(&cli);
    let killed = NodeProcess::start(&cli);
    stopped.signal("TERM");
    stopped.wait();
    let found = node_found(&cli);
    assert!(found.starts_with(&killed.url), "{found}");
    drop(killed);
    let found = node_found(&cli);
    assert!(found.starts_with(&node.url), "{found}");
    assert_eq!(nodes_on(&cli), 1);
    let mut command = cli.command(&["spawn", "math.wasm::square", "4"]);
    let spawned = cli.ran(command.env_remove("LYDIAN_URL").output().unwrap());
    spawned.exits(0);
    assert!(!spawned.stderr.contains("note:"), "{}", spawned.stderr);
}

/// Whoever runs a call is whom one looks to for its result.
#[test]
fn a_spawn_that_wants_no_node_says_who_runs_the_call() {
    let Setup { cli, node } = setup();
    let spawn = ["--url", "embedded", "spawn", "math.wasm::square", "4"];
    let asks = "note: `embedded` asks for a node in this process";
    let beside = cli.run(&spawn);
    beside.exits(0);
    let says = format!("{asks}; it runs the call, or the node at `http://[ADDRESS]`");
    assert!(beside.stderr.contains(&says), "{}", beside.stderr);
    drop(node);
    let alone = cli.run(&spawn);
    alone.exits(0);
    let says = format!("{asks}, which runs the call and ends with it");
    assert!(alone.stderr.contains(&says), "{}", alone.stderr);
}

#[test]
fn a_second_node_on_the_port_is_told_so() {
    let Setup { node, .. } = setup();
    let ran = Cli::with_own_home().run(&["up", "--listen", node.address()]);
    ran.exits(1);
    assert!(
        ran.stderr.contains("a node may run there already"),
        "{}",
        ran.stderr
    );
}

#[test]
fn signals_end_a_node_gracefully() {
    for name in ["INT", "TERM"] {
        let Setup { cli, mut node } = setup();
        cli.run(&["run", "math.wasm::square", "4"]).exits(0);
        node.signal(name);
        let (status, stderr) = node.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("note: stopping; calls in flight have 30.0 s to finish"),
            "{stderr}"
        );
        assert!(stderr.ends_with("note: stopped\n"), "{stderr}");
        assert_eq!(nodes_on(&cli), 0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Setup { cli, mut node } = setup();
    cli.file("spin.wasm", guests::SPIN.bytes());
    // It never ends by itself, so the node is still draining when the second signal comes.
    spawn(&cli, "spin.wasm::spin", &[]);
    std::thread::sleep(Duration::from_millis(500));
    node.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    node.signal("INT");
    let (status, stderr) = node.wait();
    assert_eq!(status.code(), Some(130), "{stderr}");
}

#[test]
fn doctor_says_what_it_finds() {
    let Setup { cli, node: _node } = setup();
    let ran = cli.run(&["doctor"]);
    for name in ["data-dir", "node", "pagemap-scan", "cargo", "wasm-target"] {
        assert!(ran.stdout.contains(name), "{name}: {}", ran.stdout);
    }
}

/// The manifest makes an app of a file, which nobody needs after its only caller has gone.
#[test]
fn an_app_of_a_command_goes_with_it_unless_it_is_detached() {
    let Setup { cli, node: _node } = setup();
    cli.file("lydian.toml", "timeout = \"5s\"\n");
    cli.run(&["run", "math.wasm::square", "4"])
        .is(0, "16\n", "");
    assert_eq!(
        cli.run(&["app", "list", "--json"]).json(),
        serde_json::json!([])
    );
    let ran = cli.run(&["run", "--detach", "math.wasm::square", "4"]);
    ran.exits(0);
    assert_eq!(ran.stdout, "16\n");
    let list = cli.run(&["app", "list", "--json"]).json();
    let name = list[0]["name"].as_str().unwrap();
    assert!(name.starts_with("math~"), "{list}");
    assert_eq!(
        ran.stderr,
        format!("note: `{name}` stays until `lydian app stop {name}`\n")
    );
    assert!(cli.run(&["app", "list"]).stdout.contains("detached"));
    cli.run(&["run", &format!("{name}::square"), "5"])
        .is(0, "25\n", "");
    cli.run(&["app", "stop", name]).exits(0);
    assert_eq!(
        cli.run(&["app", "list", "--json"]).json(),
        serde_json::json!([])
    );
    // A node in this process would not outlive the command.
    let alone = Cli::new();
    alone.file("math.wasm", guests::MATH.bytes());
    let ran = alone.run(&["run", "--detach", "math.wasm::square", "4"]);
    ran.exits(2);
    assert!(
        ran.stderr.contains("hint: start one with `lydian up`"),
        "{}",
        ran.stderr
    );
}

/// Whoever presses Ctrl-C is done with the app; its node is not to wait for a silence.
#[test]
fn ctrl_c_ends_the_app_of_a_command() {
    let Setup { cli, node: _node } = setup();
    cli.file("spin.wasm", guests::SPIN.bytes());
    cli.file("lydian.toml", "timeout = \"1h\"\n");
    let mut command = cli.command(&["run", "spin.wasm::spin"]);
    let child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let apps = || {
        cli.run(&["app", "list", "--json"])
            .json()
            .as_array()
            .unwrap()
            .clone()
    };
    while apps().is_empty() || apps()[0]["calls_running"] == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::process::Command::new("kill")
        .args(["-s", "INT", &child.id().to_string()])
        .status()
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!(apps(), Vec::<serde_json::Value>::new());
}
