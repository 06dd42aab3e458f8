//! The options of `lydian up`, as callers of the node notice them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lydian_tests::guests;

use crate::support::{Cli, NodeProcess, Ran};

const TOKEN: &str = "a-token-of-enough-characters";

/// A node with options, and commands that use it.
fn node(options: &[&str]) -> (Cli, NodeProcess) {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.file("spin.wasm", guests::SPIN.bytes());
    cli.file("memory.wasm", guests::MEMORY.bytes());
    let listening = ["--listen", "127.0.0.1:0"];
    let node = NodeProcess::with(&cli, &[&listening, options].concat());
    (cli.on(&node), node)
}

fn with_token(cli: &Cli, token: &str, args: &[&str]) -> Ran {
    let mut command = cli.command(args);
    cli.ran(command.env("LYDIAN_TOKEN", token).output().unwrap())
}

#[test]
fn a_node_with_a_token_asks_for_it() {
    let cli = Cli::with_own_home();
    let file = cli.file("token", format!("{TOKEN}\n"));
    let (cli, _node) = node(&["--token-file", file.to_str().unwrap()]);
    let run = ["run", "math.wasm::square", "4"];
    with_token(&cli, TOKEN, &run).is(0, "16\n", "");
    for (ran, said) in [
        (cli.run(&run), "this node asks for a token"),
        (
            with_token(&cli, "another-token-of-that-size", &run),
            "this node has another token than the one given",
        ),
    ] {
        ran.exits(3);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(ran.stderr.contains("set `LYDIAN_TOKEN`"), "{}", ran.stderr);
    }
    // Found by its data directory, and not passed over for a node in the command's own process.
    let mut command = cli.command(&["app", "list"]);
    let ran = cli.ran(command.env_remove("LYDIAN_URL").output().unwrap());
    ran.exits(3);
    assert!(
        ran.stderr.contains("this node asks for a token"),
        "{}",
        ran.stderr
    );
}

/// Nobody's code runs here by mistake.
#[test]
fn a_node_for_other_machines_needs_a_token() {
    let cli = Cli::with_own_home();
    let refused = cli.run(&["up", "--listen", "0.0.0.0:0"]);
    refused.is(
        2,
        "",
        "error: `0.0.0.0:0` can be reached from other machines, and whoever reaches it could run code here\n\
         hint: ask callers for a token: `--token-file FILE`, or set `LYDIAN_TOKEN`\n\
         hint: or say `--insecure` if something else keeps others out\n",
    );
    // Nothing was opened or made.
    assert!(!cli.home().exists());
    let node = NodeProcess::with(&cli, &["--listen", "0.0.0.0:0", "--insecure"]);
    cli.on(&node).run(&["app", "list"]).exits(0);
}

#[test]
fn a_token_that_could_be_guessed_is_refused() {
    let ran = Cli::with_own_home().run(&["up", "--token", "secret"]);
    ran.is(
        2,
        "",
        "error: the token of `--token` cannot be used: it has 6 characters, 16 are the least\n\
         hint: make one with `openssl rand -hex 32`\n",
    );
}

#[test]
fn a_config_file_sets_what_the_command_line_does_not() {
    let cli = Cli::with_own_home();
    let config = "max-sandboxes = 17\nallow-host = [\"node.example\"]\n\
                  [limits]\ntimeout = \"300ms\"\nmemory = \"2MiB\"\n";
    let file = cli.file("node.toml", config);
    let (cli, node) = node(&["--config", file.to_str().unwrap(), "--memory", "3MiB"]);
    let doctor = cli.run(&["doctor"]);
    assert!(
        doctor.stdout.contains("of 17 sandboxes in use"),
        "{}",
        doctor.stdout
    );
    let slow = cli.run(&["run", "spin.wasm::spin"]);
    slow.exits(4);
    assert!(
        slow.stderr.contains("ran past its limit of 300ms"),
        "{}",
        slow.stderr
    );
    // 32 pages are 2 MiB, which the command line has raised; 64 are not.
    cli.run(&["run", "memory.wasm::grow", "16"])
        .is(0, "true\n", "");
    let large = cli.run(&["run", "memory.wasm::grow", "64"]);
    large.is(0, "false\n", "");
    assert!(status(&node, "node.example").starts_with("HTTP/1.1 200"));
    assert!(status(&node, "other.example").starts_with("HTTP/1.1 421"));
}

fn status(node: &NodeProcess, host: &str) -> String {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_unknown_key_of_the_config_file_is_named() {
    let cli = Cli::with_own_home();
    cli.file("node.toml", "max-sandbox = 1\n");
    cli.run(&["up", "--config", "node.toml"]).is(
        2,
        "",
        "error: `node.toml`: `max-sandbox` is not known\nhint: did you mean `max-sandboxes`?\n",
    );
    let missing = cli.run(&["up", "--config", "none.toml"]);
    missing.exits(3);
    assert!(missing.stderr.contains("none.toml"), "{}", missing.stderr);
}

/// A budget of one byte keeps what was compiled last, and nothing else.
#[test]
fn the_artifact_cache_keeps_to_its_budget() {
    let (cli, _node) = node(&["--artifact-cache", "1"]);
    for target in ["math.wasm::square", "memory.wasm::grow"] {
        cli.run(&["run", target, "2"]).exits(0);
    }
    let artifacts = std::fs::read_dir(cli.home().join("artifacts")).unwrap();
    let large = artifacts
        .filter(|entry| entry.as_ref().unwrap().metadata().unwrap().len() > 10_000)
        .count();
    assert_eq!(large, 1);
}

#[test]
fn compilation_keeps_to_its_memory() {
    let (cli, _node) = node(&["--compile-memory", "1MiB", "--compile-workers", "1"]);
    let ran = cli.run(&["run", "math.wasm::square", "4"]);
    ran.exits(2);
    assert!(ran.stderr.contains("memory"), "{}", ran.stderr);
}
