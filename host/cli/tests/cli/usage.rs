//! Help, versions, completions, typos.

use crate::support::Cli;

#[test]
fn every_command_has_help() {
    let cli = Cli::new();
    let commands = [
        "run",
        "map",
        "spawn",
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
