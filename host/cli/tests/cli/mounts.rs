//! Directories that `mounts` names: shipped by each command that opens or deploys.

use lydian_tests::{examples, guests};

use crate::support::{Cli, NodeProcess};

const MOUNTS: &str = "mounts = { \"./assets\" = \"/assets\" }\n";

/// A component with a directory beside it.
fn with_assets(cli: &Cli) {
    cli.file("files.wasm", guests::FILES.bytes());
    cli.file("lydian.toml", MOUNTS);
    cli.file("assets/a.txt", "first");
    cli.file("assets/deep/b.txt", "second");
}

#[test]
fn a_file_runs_with_the_directory_beside_it() {
    let cli = Cli::new();
    with_assets(&cli);
    let read = ["run", "files.wasm::read-text", "/assets/deep/b.txt"];
    cli.run(&read).is(0, "ok(\"second\")\n", "");
    cli.file("assets/deep/b.txt", "changed");
    cli.run(&read).is(0, "ok(\"changed\")\n", "");
}

#[test]
fn a_deploy_ships_and_a_plan_says_what_would_change() {
    let cli = Cli::with_own_home();
    with_assets(&cli);
    cli.run(&["deploy", "files.wasm"]).exits(0);
    cli.run(&["run", "files::read-text", "/assets/a.txt"])
        .is(0, "ok(\"first\")\n", "");
    let again = cli.run(&["deploy", "files.wasm"]);
    assert!(again.stdout.contains("is unchanged, still v1"), "{again:?}");
    cli.file("assets/a.txt", "other");
    let plan = cli.run(&["deploy", "files.wasm", "--plan"]);
    assert!(plan.stdout.contains("~ mount /assets"), "{plan:?}");
    // What was deployed is not touched by what is saved later.
    cli.run(&["run", "files::read-text", "/assets/a.txt"])
        .is(0, "ok(\"first\")\n", "");
}

/// What the SDK wrote into the component is enough: mounts, which a file beside it may place elsewhere, and comments.
#[test]
fn a_component_says_itself_what_it_mounts_and_what_it_is() {
    let cli = Cli::with_own_home();
    let node = NodeProcess::start(&cli);
    let cli = cli.on(&node);
    cli.file("model.wasm", examples::MODEL.bytes());
    cli.file("reviews/good.txt", "a joy");
    cli.file("reviews/bad.txt", "a bore");
    cli.run(&["deploy", "model.wasm"]).exits(0);
    let ran = cli.run(&["run", "model::model#predict", "joy"]);
    assert!(ran.stdout.starts_with("good("), "{ran:?}");
    // So are its comments.
    let wit = cli.run(&["app", "wit", "model"]).stdout;
    let class = "  /// Tells praise from blame, by what its words stood for in the reviews it has read.\n  export model: interface {";
    assert!(wit.contains(class), "{wit}");
    let documented = "    /// Judges a text.\n    predict: func(text: string)";
    assert!(wit.contains(documented), "{wit}");
    let help = cli.run(&["run", "model::model#predict", "--help"]).stdout;
    assert!(help.contains("Judges a text."), "{help}");
    cli.file("others/good.txt", "a bore");
    cli.file("others/bad.txt", "a joy");
    cli.file("lydian.toml", "mounts = { \"others\" = \"/reviews\" }\n");
    let ran = cli.run(&["run", "model.wasm::model#predict", "joy"]);
    assert!(ran.stdout.starts_with("bad("), "{ran:?}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let cli = Cli::with_own_home();
    cli.file("files.wasm", guests::FILES.bytes());
    cli.file("lydian.toml", MOUNTS);
    for command in ["deploy", "serve"] {
        cli.run(&[command, "files.wasm"]).is(
            2,
            "",
            "error: cannot ship `./assets`: No such file or directory (os error 2)\n\
             hint: `mounts` names `./assets`, which is looked for in `.`\n",
        );
    }
    cli.file("lydian.toml", "mounts = { \"./assets\" = \"assets\" }\n");
    cli.file("assets/a.txt", "first");
    cli.run(&["deploy", "files.wasm"]).is(
        2,
        "",
        "error: manifest: `mounts.assets` is no path to mount at\n\
         hint: write it as \"/assets\": absolute, without `.`, `..` and a final `/`\n",
    );
}
