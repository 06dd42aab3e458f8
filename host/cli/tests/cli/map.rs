//! `lydian map`.

use lydian_tests::guests;

use crate::support::Cli;

fn square() -> String {
    format!("{}::square", guests::MATH.path)
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|number| format!("{number}\n")).collect()
}

#[test]
fn results_are_lines_in_the_order_of_the_inputs() {
    let ran = Cli::new().run_with_stdin(&["map", &square(), "--inputs", "-"], &lines(0..1000));
    ran.is(
        0,
        &lines((0..1000).map(|x| x * x)),
        "✓ 1,000 results in [TIME], [RATE]\n",
    );
}

#[test]
fn inputs_come_from_a_file_in_json_or_wave() {
    let cli = Cli::new();
    let divide = format!("{}::divide", guests::MATH.path);
    cli.file("in", "[12, 3]\n{\"x\": 10, \"y\": 5}\n(9, 3)\n\n");
    cli.run(&["map", "-q", &divide, "--inputs", "in"])
        .is(0, "4\n2\n3\n", "");
    cli.file("wave", "(9, 3)\n");
    cli.run(&["map", "-q", "--wave", &divide, "--inputs", "wave", "--json"])
        .is(0, "3\n", "");
}

/// The line is the value of the only parameter, and text needs no quotes where `run` wants none.
#[test]
fn a_line_is_the_only_argument_itself() {
    let cli = Cli::new();
    let echo = format!("{}::at-once", guests::STREAMS.path);
    let input = "World\nhello world\n5\n\"in quotes\"\n";
    cli.run_with_stdin(&["map", "-q", &echo, "--inputs", "-"], input)
        .is(0, "\"World\"\n\"hello world\"\n\"5\"\n\"in quotes\"\n", "");
    let ran = cli.run_with_stdin(&["map", "-q", &echo, "--inputs", "-"], "[\"a\"]\n");
    ran.exits(2);
    assert!(
        ran.stderr
            .contains("`x` is the only parameter, so each line is its value alone"),
        "{ran:?}"
    );
    let divide = format!("{}::divide", guests::MATH.path);
    let ran = cli.run_with_stdin(&["map", "-q", &divide, "--inputs", "-"], "12\n");
    ran.exits(2);
    assert!(
        ran.stderr.contains("each line holds all arguments"),
        "{ran:?}"
    );
}

/// Some editors and spreadsheets put one in front of a text.
#[test]
fn a_byte_order_mark_in_front_of_the_inputs_is_skipped() {
    let ran =
        Cli::new().run_with_stdin(&["map", "-q", &square(), "--inputs", "-"], "\u{feff}2\n3\n");
    ran.is(0, "4\n9\n", "");
}

#[test]
fn no_inputs_are_no_results() {
    Cli::new()
        .run_with_stdin(&["map", &square(), "--inputs", "-"], "")
        .is(0, "", "✓ 0 results in [TIME]\n");
}

#[test]
fn unordered_results_carry_their_index() {
    let ran = Cli::new().run_with_stdin(
        &["map", "-q", "--unordered", &square(), "--inputs", "-"],
        &lines(0..50),
    );
    ran.exits(0);
    let mut sorted: Vec<(u64, u64)> = ran
        .stdout
        .lines()
        .map(|line| {
            line.split_once('\t')
                .map(|(i, x)| (i.parse().unwrap(), x.parse().unwrap()))
                .unwrap()
        })
        .collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).map(|x| (x, x * x)).collect::<Vec<_>>());
}

#[test]
fn the_first_failure_ends_the_map_unless_errors_are_returned() {
    let divide = format!("{}::divide", guests::MATH.path);
    let input = "[4, 2]\n[1, 0]\n[9, 3]\n";
    let ran = Cli::new().run_with_stdin(&["map", &divide, "--inputs", "-"], input);
    ran.exits(1);
    assert_eq!(ran.stdout, "2\n");
    assert!(
        ran.stderr
            .contains("error: input 1: function `divide` panicked at "),
        "{}",
        ran.stderr
    );
    let ran = Cli::new().run_with_stdin(
        &["map", "--return-errors", "--json", &divide, "--inputs", "-"],
        input,
    );
    ran.exits(1);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&lines[0]["ok"], &lines[2]["ok"]), (&2.into(), &3.into()));
    assert_eq!(lines[1]["error"]["code"], "trap");
    assert!(
        ran.stderr
            .contains("! 3 results in [TIME], [RATE], 1 failed\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_line_that_is_no_input_is_named() {
    let ran = Cli::new().run_with_stdin(&["map", &square(), "--inputs", "-"], "1\nx\n3\n");
    ran.exits(2);
    assert_eq!(ran.stdout, "1\n");
    assert!(
        ran.stderr
            .contains("error: stdin, line 2: wrong argument for `square`: x: expected u64"),
        "{}",
        ran.stderr
    );
    Cli::new()
        .run(&["map", &square(), "--inputs", "nowhere"])
        .is(3, "", "error: no file `nowhere`\n");
}

#[test]
fn fewer_sandboxes_at_once_give_the_same_results() {
    let ran = Cli::new().run_with_stdin(
        &[
            "map",
            "-q",
            "--max-parallel",
            "1",
            &square(),
            "--inputs",
            "-",
        ],
        "2\n3\n",
    );
    ran.is(0, "4\n9\n", "");
}

#[test]
fn what_guests_write_goes_to_stderr() {
    let target = format!("{}::print", guests::OUTPUT.path);
    let ran = Cli::new().run_with_stdin(
        &["map", "-q", &target, "--inputs", "-"],
        "[\"hi\\n\", false]\n",
    );
    ran.is(0, "()\n", "hi\n");
}

/// A program that reads errors as lines of JSON must find one, whatever the guest was writing.
#[test]
fn an_error_begins_a_line_of_its_own() {
    let target = format!("{}::print", guests::OUTPUT.path);
    let ran = Cli::new().run_with_stdin(
        &["map", "-q", "--json", &target, "--inputs", "-"],
        "[\"half a line\", false]\nx\n",
    );
    ran.exits(2);
    assert!(ran.stderr.starts_with("half a line\n{"), "{}", ran.stderr);
}

/// What the guest said is all there is to find the mistake by, in whatever way it was called.
#[test]
fn a_panic_is_told_by_every_way_to_call() {
    let cli = Cli::with_own_home();
    cli.file("ending.wasm", guests::ENDING.bytes());
    cli.run(&["deploy", "ending.wasm"]).exits(0);
    let says = "function `panic-deep` panicked at rust/ending.rs:";
    let ran = cli.run_with_stdin(&["map", "ending::panic-deep", "--inputs", "-"], "[]\n");
    ran.exits(1);
    assert!(ran.stderr.contains(says), "{ran:?}");
    let spawned = cli
        .command(&["spawn", "ending::panic-deep"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&spawned.stderr).contains(says),
        "{spawned:?}"
    );
    let id = String::from_utf8_lossy(&spawned.stdout);
    for command in ["get", "explain"] {
        let ran = cli.run(&["calls", command, id.trim()]);
        let told = ran.stdout.clone() + &ran.stderr;
        assert!(told.contains(says), "{ran:?}");
    }
    let typed = cli.run_with_stdin(&["shell", "ending"], "panic-deep()\n");
    assert!(typed.stderr.contains(says), "{typed:?}");
}
