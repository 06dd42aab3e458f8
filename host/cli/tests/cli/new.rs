//! `lydian new`: what it makes is built and run, for a template that does not is worse than none.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Cli, Ran};

/// Where the crates are built, so that the SDK is compiled once for all of them and for the next time.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A crate made from a template, with the versions this workspace is tested with. Each has a name of its own: they
/// are built side by side into one directory.
fn made(template: &str) -> (Cli, Ran) {
    let cli = Cli::with_own_home();
    let name = format!("my-{template}");
    let ran = cli.run(&["new", &name, "--template", template]);
    ran.exits(0);
    std::fs::copy(
        root().join("Cargo.lock"),
        cli.dir.path().join(name).join("Cargo.lock"),
    )
    .unwrap();
    (cli, ran)
}

fn in_offline_cargo(mut command: Command) -> Command {
    command
        .env("CARGO_TARGET_DIR", target_dir())
        .env("CARGO_NET_OFFLINE", "true");
    command
}

fn run(cli: &Cli, args: &[&str]) -> Ran {
    cli.ran(in_offline_cargo(cli.command(args)).output().unwrap())
}

/// The crate's own tests pass, too.
fn tests_of(cli: &Cli, name: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--quiet", "--lib"])
        .current_dir(cli.dir.path().join(name));
    let output = in_offline_cargo(cargo).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_function_template_runs_as_it_says() {
    let (cli, ran) = made("function");
    assert_eq!(
        ran.stdout,
        "✓ made my-function from template `function`\n\
         ├─ my-function/.gitignore\n├─ my-function/Cargo.toml\n└─ my-function/src/lib.rs\n"
    );
    assert_eq!(
        ran.stderr,
        "hint: `lydian run my-function::greet World`\nhint: `lydian deploy my-function`\n"
    );
    run(&cli, &["run", "my-function::greet", "World"]).is(0, "\"Hello, World!\"\n", "");
    let help = run(&cli, &["run", "my-function", "--help"]);
    assert!(help.stdout.contains("Greets someone."), "{}", help.stdout);
    run(&cli, &["deploy", "my-function"]).exits(0);
    cli.run(&["run", "--url", "embedded", "my-function@1::greet", "World"])
        .is(0, "\"Hello, World!\"\n", "");
}

#[test]
fn the_web_template_runs() {
    let (cli, _) = made("web");
    let request = "{text: \"3 apples, 4 pears\"}";
    let lines = "ok([{amount: 3, thing: \"apples\"}, {amount: 4, thing: \"pears\"}])\n";
    run(&cli, &["run", "my-web::parse", request]).is(0, lines, "");
    // What the crate says of its types, which the component itself does not carry.
    let help = run(&cli, &["run", "my-web::parse", "--help"]);
    let request = "\
  request = record { text: string }
    What a visitor sent.
    text: A shopping list: amounts and things between commas.
";
    assert!(help.stdout.contains(request), "{}", help.stdout);
}

#[test]
fn the_class_template_runs() {
    let (cli, _) = made("class");
    run(&cli, &["run", "my-class::score", "[2.0, 1.0]"]).is(0, "ok(2)\n", "");
}

/// Its program runs here, its parts in sandboxes.
#[test]
fn the_job_template_runs() {
    let (cli, _) = made("job");
    let ran = run(&cli, &["run", "my-job::main", "--below", "1000"]);
    ran.exits(0);
    assert!(
        ran.stdout.ends_with("\n168 primes below 1000\n"),
        "{ran:#?}"
    );
    assert_eq!(ran.stdout.matches("waiting for [CALL]").count(), 8);
    let help = run(&cli, &["run", "my-job::main", "--help"]);
    help.exits(0);
    let expected = "main(below: u64), run on this machine\n  Counts the primes below a number, in eight parts.\n";
    assert!(help.stdout.starts_with(expected), "{}", help.stdout);
    let wrong = run(&cli, &["run", "my-job::main", "many"]);
    wrong.exits(2);
    tests_of(&cli, "my-job");
    // What the app mounts is shipped for the program's calls too.
    let source = cli.dir.path().join("my-job/src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    let text = text
        .replace("::app]", "::app(mounts = { \"./more\" = \"/more\" })]")
        .replace(".count() as u64", ".count() as u64 + super::more()")
        + MORE;
    std::fs::write(&source, text).unwrap();
    cli.file("my-job/more/count.txt", "10");
    let ran = run(&cli, &["run", "my-job::main", "1000"]);
    ran.exits(0);
    assert!(
        ran.stdout.ends_with("\n248 primes below 1000\n"),
        "{ran:#?}"
    );
}

const MORE: &str = "
fn more() -> u64 {
    std::fs::read_to_string(\"/more/count.txt\").unwrap().parse().unwrap()
}
";

#[test]
fn what_is_there_is_not_written_over() {
    let cli = Cli::new();
    cli.file("taken/mine.txt", "mine");
    cli.run(&["new", "taken"]).is(
        2,
        "",
        "error: directory `taken` is there and not empty\nhint: choose another name, or empty it first\n",
    );
    std::fs::create_dir(cli.dir.path().join("empty")).unwrap();
    cli.run(&["new", "empty"]).exits(0);
    cli.run(&["new", "empty"]).exits(2);
    cli.file("file", "");
    cli.run(&["new", "file"])
        .is(2, "", "error: `file` is there and no directory\n");
}

#[test]
fn names_that_no_crate_can_have_are_refused() {
    let cli = Cli::new();
    cli.run(&["new", "My App"]).is(
        2,
        "",
        "error: `My App` is no name for a crate: it does not begin with a small letter\n\
         hint: write small letters, digits and `-`, a letter first: `my-app`\n",
    );
    cli.run(&["new", "../up"]).exits(2);
    cli.run(&["new", "std"]).exits(2);
    let ran = cli.run(&["new", "x", "--template", "clas"]);
    ran.exits(2);
    assert!(ran.stderr.contains("function"), "{}", ran.stderr);
    assert!(!cli.dir.path().join("x").exists());
    let ran = cli.run(&["new", "x", "--sdk", "nowhere"]);
    ran.is(
        3,
        "",
        "error: `nowhere` is not the `lydian` crate\nhint: it is the folder `guest-sdk` of a checkout of Lydian\n",
    );
}
