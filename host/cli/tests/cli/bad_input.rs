//! Everything a user can get wrong: each error names the thing and the way out.

use lydian_tests::guests;

use crate::support::Cli;

#[track_caller]
fn refused(args: &[&str], code: i32, stderr: &str) {
    Cli::new().run(args).is(code, "", stderr);
}

#[test]
fn a_file_that_is_not_there() {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    cli.run(&["run", "maths.wasm::square", "4"]).is(
        3,
        "",
        "error: no file `maths.wasm`\nhint: did you mean `math.wasm`?\n",
    );
    cli.run(&["run", "./nowhere", "4"])
        .is(3, "", "error: no file or directory `./nowhere`\n");
    cli.run(&["run", ".", "4"]).is(
        3,
        "",
        "error: directory `.` has no `Cargo.toml`\nhint: name a `.wasm` file or the directory of a crate\n",
    );
}

#[test]
fn bytes_that_are_no_component() {
    let cli = Cli::new();
    let build =
        "hint: build one with `cargo build --target wasm32-wasip2` or name the crate's directory\n";
    cli.file("text.wasm", "hello");
    cli.run(&["run", "text.wasm"]).is(
        2,
        "",
        &format!("error: `text.wasm` is not WebAssembly, not a component\n{build}"),
    );
    cli.file("empty.wasm", "");
    cli.run(&["run", "empty.wasm"]).is(
        2,
        "",
        &format!("error: `empty.wasm` is empty, not a component\n{build}"),
    );
    cli.file("native.wasm", b"\x7fELF\x02\x01\x01");
    cli.run(&["run", "native.wasm"]).is(
        2,
        "",
        &format!("error: `native.wasm` is native code, not a component\n{build}"),
    );
    cli.file("core.wasm", guests::CORE_MODULE.bytes());
    cli.run(&["run", "core.wasm"]).is(
        2,
        "",
        "error: `core.wasm` is a core module, not a component\n\
         hint: make it a component: build for wasm32-wasip2, or `wasm-tools component new`\n",
    );
}

#[test]
fn a_component_that_was_cut_off() {
    let cli = Cli::new();
    let bytes = guests::MATH.bytes();
    cli.file("cut.wasm", &bytes[..bytes.len() / 2]);
    let ran = cli.run(&["run", "cut.wasm::square", "4"]);
    ran.exits(2);
    assert!(
        ran.stderr.starts_with("error: `cut.wasm` "),
        "{}",
        ran.stderr
    );
    cli.file("shorter.wasm", &bytes[..5]);
    cli.run(&["run", "shorter.wasm"]).exits(2);
}

/// A device has no end, and nothing beside it that says anything about it.
#[test]
fn a_file_that_is_named_like_a_directory() {
    let cli = Cli::new();
    cli.file("math", b"hello");
    for (path, what) in [
        ("/dev/null", "empty"),
        ("/dev/zero", "not WebAssembly"),
        ("./math", "not WebAssembly"),
    ] {
        for command in ["run", "deploy"] {
            let ran = cli.run(&[command, path]);
            ran.exits(2);
            let error = format!("error: `{path}` is {what}, not a component\n");
            assert!(ran.stderr.starts_with(&error), "{}", ran.stderr);
        }
    }
    cli.run(&["run", "math/x.wasm"]).exits(3);
}

#[test]
fn an_import_that_nobody_provides() {
    let ran = Cli::new().run(&["run", guests::MISSING_IMPORT.path]);
    ran.exits(2);
    assert!(ran.stderr.contains("import"), "{}", ran.stderr);
}

#[test]
fn wrong_arguments() {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    for (args, said) in [
        (vec!["four"], "x: "),
        (vec!["-1"], "x: "),
        (vec!["18446744073709551616"], "x: "),
        (vec![], "missing argument `x`"),
        (vec!["1", "2"], "expected 1 argument, found 2"),
    ] {
        let mut line = vec!["run", "math.wasm::square"];
        line.extend(args);
        let ran = cli.run(&line);
        ran.exits(2);
        assert!(
            ran.stderr
                .starts_with("error: wrong argument for `square`: "),
            "{line:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(said), "{line:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("func(x: u64) -> u64"),
            "{line:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn an_argument_of_no_parameter() {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    let ran = cli.run(&["run", "math.wasm::slow", "--x", "1", "--round", "2"]);
    ran.is(
        2,
        "",
        "error: no parameter `round` in `slow: func(x: u64, rounds: u64) -> u64`\nhint: did you mean `--rounds`?\n",
    );
}

/// Behind the target an option of lydian's that is mistyped looks like a parameter.
#[test]
fn a_mistyped_option_behind_the_target() {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    for (typed, meant) in [
        (&["--timout", "3s"][..], "--timeout"),
        (&["--tiemout", "3s"], "--timeout"),
        (&["--jsn"], "--json"),
    ] {
        let ran = cli.run(&[&["run", "math.wasm::square", "4"], typed].concat());
        ran.exits(2);
        let hint = format!("hint: did you mean `{meant}`?\n");
        assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    }
}

#[test]
fn a_node_that_does_not_answer() {
    // Port 9 is the discard service, which nobody runs.
    let ran = Cli::new().run(&["app", "list", "--url", "http://127.0.0.1:9"]);
    ran.exits(3);
    assert!(
        ran.stderr
            .starts_with("error: cannot reach the node at `http://[ADDRESS]`"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: start a node with `lydian up`"),
        "{}",
        ran.stderr
    );
    Cli::new()
        .run(&["app", "list", "--url", "https://x y"])
        .exits(2);
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Cli::with_own_home().run(&["up", "--listen", &address]);
    ran.exits(1);
    assert!(ran.stderr.contains("is in use\n"), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("hint: use another port: `lydian up --listen [ADDRESS]`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn limits_that_are_none() {
    refused(
        &["run", "x.wasm", "--timeout", "5"],
        2,
        "error: invalid value `5` for `--timeout <DURATION>`: `5` has no unit; write `5s` or `5ms`\n",
    );
    refused(
        &["run", "--memory", "0", "x.wasm"],
        2,
        "error: invalid value `0` for `--memory <SIZE>`: `0` is too small; the least is one byte\n",
    );
    refused(
        &["run", "x.wasm", "--timeout", "0"],
        2,
        "error: invalid value `0` for `--timeout <DURATION>`: `0` is too short; the least is 1ms\n",
    );
}

/// `-5s` looks like an option, and `-- -5s` would be no help.
#[test]
fn negative_limits_are_told_so() {
    for (option, value, what) in [
        ("--timeout", "-5s", "a duration"),
        ("--memory", "-1MiB", "a size"),
        ("--handles", "-1", "a count"),
    ] {
        for args in [
            ["run", "x.wasm", option, value],
            ["run", option, value, "x.wasm"],
        ] {
            let ran = Cli::new().run(&args);
            ran.exits(2);
            let told = format!("`{value}` is negative, which {what} cannot be\n");
            assert!(ran.stderr.contains(&told), "{}", ran.stderr);
        }
    }
}

/// No app is found in an environment that cannot be, which would look like none were deployed.
#[test]
fn an_environment_that_cannot_be() {
    let cli = Cli::with_own_home();
    let in_variable = |name: &str, args: &[&str]| {
        let mut command = cli.command(args);
        cli.ran(command.env("LYDIAN_ENV", name).output().unwrap())
    };
    let hint = "hint: use 1 to 64 letters, digits, `-`, `_` or `.`, the first a letter or digit\n";
    let said = "which no environment can be called";
    in_variable("b d", &["app", "list"]).is(
        2,
        "",
        &format!("error: `LYDIAN_ENV` is `b d`, {said}\n{hint}"),
    );
    cli.run(&["app", "list", "--env", "-x"]).exits(2);
    cli.run(&["app", "list", "--env=-x"]).is(
        2,
        "",
        &format!("error: `--env` is `-x`, {said}\n{hint}"),
    );
    // Empty is not set; and what is let through here, a deploy takes.
    in_variable("", &["app", "list"]).exits(0);
    cli.file("math.wasm", guests::MATH.bytes());
    for name in ["a".repeat(64).as_str(), "0.a-b_C"] {
        in_variable(name, &["deploy", "math.wasm"]).exits(0);
    }
    in_variable(&"a".repeat(65), &["deploy", "math.wasm"]).exits(2);
}

/// Machines read errors too.
#[test]
fn errors_are_json_when_asked() {
    let ran = Cli::new().run(&["run", "nowhere.wasm::f", "--json"]);
    ran.is(3, "", "{\"error\":{\"code\":\"file-not-found\",\"hints\":[],\"message\":\"no file `nowhere.wasm`\"}}\n");
    let ran = Cli::new().run(&["deploy", "--json", "--plam", "x"]);
    ran.exits(2);
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["code"], "usage");
    assert_eq!(
        error["error"]["hints"][0],
        "a similar argument exists: `--plan`"
    );
}

#[test]
fn an_app_that_is_not_deployed() {
    let ran = Cli::with_own_home().run(&["run", "nothing::here"]);
    ran.exits(3);
    assert!(
        ran.stderr.starts_with("error: app `nothing` "),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_function_that_is_not_there_or_not_named() {
    let cli = Cli::new();
    cli.file("math.wasm", guests::MATH.bytes());
    let ran = cli.run(&["run", "math.wasm::sqare", "4"]);
    ran.exits(3);
    assert!(
        ran.stderr.starts_with("error: `math.wasm`"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("hint: did you mean `square`?"),
        "{}",
        ran.stderr
    );
    let ran = cli.run(&["run", "math.wasm", "4"]);
    ran.exits(2);
    assert!(
        ran.stderr.contains("hint: cube: func(x: u64) -> u64"),
        "{}",
        ran.stderr
    );
}

/// Whoever sees only some of the functions looks in vain for the others.
#[test]
fn all_functions_are_listed_or_counted() {
    let cli = Cli::new();
    cli.file("some.wasm", lydian_tests::generate::many_exports(23));
    cli.file("many.wasm", lydian_tests::generate::many_exports(50));
    let listed = |ran: &crate::support::Ran| ran.stderr.matches(": func(").count();
    for (target, code) in [("some.wasm", 2), ("some.wasm::nothing-like-it", 3)] {
        let ran = cli.run(&["run", target]);
        ran.exits(code);
        assert_eq!(listed(&ran), 23, "{}", ran.stderr);
    }
    let ran = cli.run(&["run", "many.wasm"]);
    assert_eq!(listed(&ran), 40, "{}", ran.stderr);
    assert!(
        ran.stderr
            .ends_with("hint: and 10 more: `lydian app describe many.wasm` lists them\n"),
        "{}",
        ran.stderr
    );
}

/// A component that carries this manifest.
fn with_manifest(cli: &Cli, manifest: &str) {
    let mut section = vec![b"lydian:manifest".len() as u8];
    section.extend(b"lydian:manifest");
    section.extend(manifest.as_bytes());
    let mut bytes = guests::MATH.bytes().to_vec();
    bytes.extend([0, section.len() as u8]);
    bytes.extend(section);
    cli.file("math.wasm", bytes);
}

#[test]
fn a_manifest_of_a_newer_sdk() {
    let cli = Cli::with_own_home();
    with_manifest(&cli, r#"{"version":2}"#);
    for args in [
        &["run", "math.wasm::square", "4"][..],
        &["deploy", "math.wasm"],
    ] {
        let ran = cli.run(args);
        ran.exits(2);
        assert!(
            ran.stderr
                .contains("is 2, newer than 1, the newest this node reads"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("hint: upgrade the node"),
            "{}",
            ran.stderr
        );
    }
}

/// What would be promised and not done is refused: nobody finds an empty directory in place of a volume.
#[test]
fn a_grant_that_nothing_provides() {
    let cli = Cli::with_own_home();
    with_manifest(
        &cli,
        r#"{"functions":{"square":{"volumes":{"/data":"digits"}}}}"#,
    );
    for args in [
        &["run", "math.wasm::square", "4"][..],
        &["deploy", "math.wasm"],
    ] {
        let ran = cli.run(args);
        ran.exits(2);
        assert!(
            ran.stderr.contains("functions.square.volumes"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("volumes come with a later one"),
            "{}",
            ran.stderr
        );
    }
}
