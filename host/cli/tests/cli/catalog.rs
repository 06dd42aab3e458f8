//! Deploying and what follows, without a node: the store in the data directory.

use lydian_tests::guests;

use crate::support::Cli;

fn deployed() -> Cli {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.run(&["deploy", "math.wasm", "--message", "first"])
        .exits(0);
    cli
}

#[test]
fn a_deployed_app_runs_from_another_process() {
    let cli = deployed();
    cli.run(&["run", "math::square", "4"]).is(0, "16\n", "");
    cli.run(&["run", "math@1::cube", "3"]).is(0, "27\n", "");
    let ran = cli.run_with_stdin(&["map", "-q", "math::square", "--inputs", "-"], "1\n2\n");
    ran.is(0, "1\n4\n", "");
}

#[test]
fn a_deploy_shows_what_changed_and_says_when_nothing_did() {
    let cli = deployed();
    let again = cli.run(&["deploy", "math.wasm"]);
    again.exits(0);
    assert!(
        again
            .stdout
            .starts_with("✓ math in main is unchanged, still v1 ([TIME])\n"),
        "{}",
        again.stdout
    );
    cli.file("lydian.toml", "[functions.square]\ntimeout = \"5s\"\n");
    let plan = cli.run(&["deploy", "math.wasm", "--plan"]);
    plan.exits(0);
    assert!(
        plan.stdout
            .starts_with("math in main would become v2; nothing was changed\n"),
        "{}",
        plan.stdout
    );
    assert!(
        plan.stdout.contains("limit square.timeout"),
        "{}",
        plan.stdout
    );
    let changed = cli.run(&["deploy", "math.wasm"]);
    assert!(
        changed
            .stdout
            .starts_with("✓ deployed math in main as v2 in [TIME]\n"),
        "{}",
        changed.stdout
    );
}

#[test]
fn a_manifest_with_an_unknown_key_is_refused_by_name() {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.file("lydian.toml", "tiemout = \"5s\"\n");
    let ran = cli.run(&["deploy", "math.wasm"]);
    ran.exits(2);
    assert!(ran.stderr.contains("tiemout"), "{}", ran.stderr);
    cli.file("lydian.toml", "timeout = \n");
    let ran = cli.run(&["deploy", "math.wasm"]);
    ran.exits(2);
    assert!(
        ran.stderr
            .starts_with("error: `lydian.toml` is not a manifest: "),
        "{}",
        ran.stderr
    );
}

/// What a deployment limits holds for whoever runs it.
#[test]
fn limits_in_the_manifest_hold() {
    let cli = Cli::with_own_home();
    cli.file("spin.wasm", guests::SPIN.bytes());
    cli.file("lydian.toml", "name = \"busy\"\ntimeout = \"200ms\"\n");
    cli.run(&["deploy", "spin.wasm"]).exits(0);
    cli.run(&["run", "busy::spin"]).exits(4);
    cli.run(&["run", "busy::spin", "--timeout", "1h"]).exits(4);
}

#[test]
fn apps_are_listed_described_and_rolled_back() {
    let cli = deployed();
    let list = cli.run(&["app", "list"]);
    list.exits(0);
    assert!(
        list.stdout
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("math  main         deployed  v1       5"),
        "{}",
        list.stdout
    );
    let described = cli.run(&["app", "describe", "math"]);
    described.exits(0);
    assert!(
        described.stdout.contains("square: func(x: u64) -> u64"),
        "{}",
        described.stdout
    );
    let wit = cli.run(&["app", "wit", "math"]);
    assert!(
        wit.stdout.contains("export square: func(x: u64) -> u64;"),
        "{}",
        wit.stdout
    );
    cli.file("lydian.toml", "timeout = \"5s\"\n");
    cli.run(&["deploy", "math.wasm", "-m", "second"]).exits(0);
    let back = cli.run(&["app", "rollback", "math"]);
    back.exits(0);
    assert!(
        back.stdout.starts_with("math is now v3\n"),
        "{}",
        back.stdout
    );
    let history = cli.run(&["app", "history", "math"]);
    let messages: Vec<&str> = history
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split("  ").last())
        .map(str::trim)
        .collect();
    assert_eq!(
        messages,
        ["rollback to v1", "second", "first"],
        "{}",
        history.stdout
    );
    let json = cli.run(&["app", "history", "math", "--json"]).json();
    assert_eq!(json[0]["current"], true);
    assert_eq!(json[2]["message"], "first");
}

#[test]
fn a_stopped_app_refuses_calls_until_it_is_deployed_again() {
    let cli = deployed();
    cli.run(&["app", "stop", "math"])
        .is(0, "math is stopped\n", "");
    let ran = cli.run(&["run", "math::square", "4"]);
    assert!(ran.stderr.contains("is stopped"), "{}", ran.stderr);
    ran.exits(1);
    cli.run(&["deploy", "math.wasm"]).exits(0);
    cli.run(&["run", "math::square", "4"]).is(0, "16\n", "");
}

/// The first version has none before it, however often its content came back; the way on is named.
#[test]
fn a_rollback_that_goes_no_further_names_the_way_on() {
    let cli = deployed();
    cli.file("lydian.toml", "timeout = \"5s\"\n");
    cli.run(&["deploy", "math.wasm"]).exits(0);
    cli.run(&["app", "rollback", "math"]).exits(0);
    let further = cli.run(&["app", "rollback", "math"]);
    further.exits(1);
    for said in [
        "version 3, which is version 1 again",
        "hint: name the version: `lydian app rollback APP VERSION`",
    ] {
        assert!(further.stderr.contains(said), "{}", further.stderr);
    }
    let named = cli.run(&["app", "rollback", "math", "v2"]);
    assert!(named.stdout.starts_with("math is now v4\n"), "{named:?}");
}

/// A disk that changes a few bytes must cost one app's next compilation, and be mended by the deploy that is advised.
#[test]
fn a_damaged_component_names_its_app_and_is_mended_by_a_deploy() {
    let cli = deployed();
    let digest = cli.command(&["app", "list", "--json"]).output().unwrap();
    let apps: serde_json::Value = serde_json::from_slice(&digest.stdout).unwrap();
    let digest = apps[0]["component"].as_str().unwrap();
    let blob = cli.home().join("blobs").join(&digest[..2]).join(digest);
    let damage = || {
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[1_000..1_004].fill(0xa5);
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, bytes).unwrap();
    };
    damage();
    cli.run(&["run", "math::square", "3"]).is(0, "9\n", "");
    std::fs::remove_dir_all(cli.home().join("artifacts")).unwrap();
    for _ in 0..2 {
        let ran = cli.run(&["run", "math::square", "3"]);
        ran.exits(1);
        for said in [
            "app `math` version 1",
            "damaged",
            "`lydian deploy PATH --name math`",
        ] {
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
        }
    }
    cli.run(&["deploy", "math.wasm"]).exits(0);
    cli.run(&["run", "math::square", "3"]).is(0, "9\n", "");
    // Also where nobody has noticed the damage before.
    damage();
    cli.run(&["deploy", "math.wasm"]).exits(0);
    assert_eq!(std::fs::read(&blob).unwrap(), guests::MATH.bytes());
}

#[test]
fn environments_keep_apps_apart() {
    let cli = deployed();
    cli.run(&["run", "math::square", "4", "--env", "prod"])
        .exits(3);
    cli.run(&["deploy", "math.wasm", "--env", "prod", "--name", "sums"])
        .exits(0);
    cli.run(&["--env", "prod", "run", "sums::square", "4"])
        .is(0, "16\n", "");
    let all = cli.run(&["app", "list", "--all", "--json"]).json();
    assert_eq!(all.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_component_is_described_without_being_deployed() {
    let cli = Cli::new();
    let ran = cli.run(&["app", "describe", guests::HELLO.path, "--json"]);
    ran.exits(0);
    assert_eq!(ran.json()["functions"][0]["name"], "hello");
    assert_eq!(ran.json()["app"], serde_json::Value::Null);
}

/// `lydian new math`, `lydian deploy math`: the folder is still there when the app is asked for.
#[test]
fn a_command_about_apps_means_the_app_before_the_folder() {
    let cli = deployed();
    cli.file("math/Cargo.toml", "[package]\nname = \"math\"\n");
    let ran = cli.run(&["app", "describe", "math", "--json"]);
    ran.exits(0);
    assert_eq!(ran.json()["app"]["version"], 1);
    // Not deployed: the folder, which is no crate that could be built.
    cli.file("other/Cargo.toml", "[package]\n");
    let ran = cli.run(&["app", "describe", "other"]);
    assert!(ran.stderr.contains("other/Cargo.toml"), "{ran:?}");
}

/// A call that was spawned must have its result, whether or not a node runs.
#[test]
fn a_call_spawned_without_a_node_runs_before_the_command_ends() {
    let cli = deployed();
    let spawned = cli.run(&["spawn", "math::square", "5", "--json"]);
    spawned.exits(0);
    let output = cli
        .command(&["spawn", "-q", "math::square", "5"])
        .output()
        .unwrap();
    let id = String::from_utf8(output.stdout).unwrap();
    cli.run(&["calls", "get", id.trim()]).is(0, "25\n", "");
    let explained = cli.run(&["calls", "explain", id.trim()]);
    explained.exits(0);
    assert!(
        explained.stdout.contains("succeeded"),
        "{}",
        explained.stdout
    );
}
