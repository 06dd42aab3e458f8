//! Help, versions, completions, typos.

use crate::support::Cli;

#[test]
fn every_command_has_help() {
    let cli = Cli::new();
    let commands = [
        "new",
        "run",
        "map",
        "spawn",
        "shell",
        "serve",
        "calls",
        "calls list",
        "calls get",
        "calls cancel",
        "calls logs",
        "calls explain",
        "deploy",
        "app",
        "app list",
        "app describe",
        "app wit",
        "app history",
        "app rollback",
        "app stop",
        "app logs",
        "up",
        "doctor",
        "completions",
    ];
    for command in commands {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        let ran = cli.run(&args);
        ran.exits(0);
        assert!(
            ran.stdout.contains("Usage: lydian"),
            "{command}: {}",
            ran.stdout
        );
        assert!(ran.stdout.contains("--json"), "{command}: {}", ran.stdout);
    }
}

/// For programs that look after machines.
#[test]
fn the_version_is_json_when_asked() {
    let version = Cli::new().run(&["--version", "--json"]).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["wasmtime"].is_string(), "{version}");
}

#[test]
fn the_version_names_the_engine() {
    let ran = Cli::new().run(&["--version"]);
    ran.exits(0);
    assert!(
        ran.stdout.starts_with(concat!(
            "lydian ",
            env!("CARGO_PKG_VERSION"),
            " (wasmtime 48."
        )),
        "{}",
        ran.stdout
    );
}

#[test]
fn typos_are_met() {
    Cli::new().run(&["depoly"]).is(
        2,
        "",
        "error: unrecognized subcommand `depoly`\n\
         hint: a similar subcommand exists: `deploy`\n\
         hint: usage: `lydian [OPTIONS] <COMMAND>`\n",
    );
}

/// In a short name a slip is a large part.
#[test]
fn typos_in_short_names_are_met() {
    let cli = Cli::new();
    for (typed, meant) in [
        (&["rn", "x.wasm"][..], "run"),
        (&["mpa"], "map"),
        (&["calls", "gt", "x"], "get"),
        (&["app", "wti"], "wit"),
    ] {
        let ran = cli.run(typed);
        ran.exits(2);
        let hint = format!("hint: a similar subcommand exists: `{meant}`\n");
        assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    }
}

/// The variables are set for all commands; nobody has to repeat them.
#[test]
fn usage_leaves_out_what_a_variable_sets() {
    let cli = Cli::new();
    let mut command = cli.command(&["calls", "get"]);
    command
        .env("LYDIAN_URL", "http://127.0.0.1:9")
        .env("LYDIAN_ENV", "prod");
    let ran = cli.ran(command.output().unwrap());
    ran.exits(2);
    assert!(
        ran.stderr
            .contains("hint: usage: `lydian calls get <CALL>`\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = Cli::new().run(&["completions", shell]);
        ran.exits(0);
        assert!(
            ran.stdout.contains("deploy") && ran.stdout.contains("max-parallel"),
            "{shell}"
        );
    }
}

/// A default that help tells and nobody enforces misleads; the node's own figures are asked for.
#[test]
fn help_tells_the_limits_in_force() {
    let cli = Cli::new();
    let help = cli.command(&["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let described = cli.run(&["app", "describe", lydian_tests::guests::MATH.path, "--json"]);
    let limits = described.json()["functions"][0]["limits"].clone();
    let number = |name: &str| limits[name].as_u64().unwrap();
    let mib = |name: &str| format!("[default: {}MiB]", number(name) >> 20);
    for (option, default) in [
        (
            "--timeout",
            format!("[default: {}s]", number("timeout_ms") / 1000),
        ),
        ("--memory", mib("memory_bytes")),
        ("--payload", mib("payload_bytes")),
        ("--host-call-bytes", mib("host_call_bytes")),
        ("--handles", format!("[default: {}]", number("handles"))),
        (
            "--open-files",
            format!("[default: {}]", number("open_files")),
        ),
        ("--output", mib("output_bytes")),
        ("--output-rate", mib("output_bytes_per_second")),
    ] {
        let after = help.split(&format!("{option} <")).nth(1).unwrap();
        let own = after.split(" --").next().unwrap();
        assert!(own.contains(&default), "{option}: {own}");
    }
}
