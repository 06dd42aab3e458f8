//! A disk with no room: what needs it is told so, what does not goes on.
//!
//! The disk is a small one in memory, in a mount namespace of its own, so this needs root; CI is root.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use lydian_tests::guests;

use crate::support::{Cli, Ran};

/// `None`, aloud, where this cannot be tested.
fn small_disk(cli: &Cli, script: &str) -> Option<Ran> {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let namespaces = Command::new("unshare").args(["--mount", "true"]).status();
    if !root || !namespaces.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        eprintln!("SKIPPED: a small disk needs root and `unshare`");
        return None;
    }
    std::fs::create_dir_all(cli.home()).unwrap();
    let template = cli.command(&[]);
    let mut command = Command::new("unshare");
    let mount = "mount -t tmpfs -o size=3m,mode=0700 tmpfs \"$LYDIAN_HOME\"";
    command.args(["--mount", "sh", "-ec", &format!("{mount}\n{script}")]);
    for (name, value) in template.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("LYDIAN", env!("CARGO_BIN_EXE_lydian"))
        .current_dir(cli.dir.path());
    Some(cli.ran(command.output().unwrap()))
}

fn cli() -> Cli {
    let cli = Cli::with_own_home();
    cli.file("math.wasm", guests::MATH.bytes());
    // A component that is larger than what is left.
    cli.file("large.wasm", lydian_tests::generate::large_data(4 << 20));
    cli
}

#[test]
fn a_deploy_that_does_not_fit_is_told_and_leaves_the_room_to_others() {
    let cli = cli();
    let script = "\"$LYDIAN\" deploy large.wasm && exit 9\n\"$LYDIAN\" deploy math.wasm >&2\n\"$LYDIAN\" run math::square 4";
    let Some(ran) = small_disk(&cli, script) else {
        return;
    };
    ran.exits(0);
    assert_eq!(ran.stdout, "16\n");
    assert!(ran.stderr.contains("disk is full"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: free space"), "{}", ran.stderr);
    // The first is a number that says nothing, the second a command that is not there.
    for not_said in ["for 0 bytes", "collect"] {
        assert!(!ran.stderr.contains(not_said), "{}", ran.stderr);
    }
}

/// The node as a whole: it goes on answering, says what is wrong when it is asked, and takes what fits.
#[test]
fn a_node_on_a_full_disk_goes_on() {
    let cli = cli();
    let script = r#"
        "$LYDIAN" up --json --listen 127.0.0.1:0 > "$LYDIAN_HOME/ready" &
        node=$!
        for i in $(seq 200); do [ -s "$LYDIAN_HOME/ready" ] && break; sleep 0.05; done
        LYDIAN_URL=$(cat "$LYDIAN_HOME"/nodes/*); export LYDIAN_URL
        "$LYDIAN" run math.wasm::square 3
        "$LYDIAN" run large.wasm::run && exit 9
        head -c 3000000 /dev/zero > "$LYDIAN_HOME/filler" || true
        "$LYDIAN" run math.wasm::square 4
        "$LYDIAN" spawn math.wasm::square 5 && exit 9
        "$LYDIAN" doctor >&2 || true
        rm "$LYDIAN_HOME/filler"
        "$LYDIAN" calls get "$("$LYDIAN" spawn -q math.wasm::square 6)"
        kill -TERM $node; wait $node"#;
    let Some(ran) = small_disk(&cli, script) else {
        return;
    };
    ran.exits(0);
    assert_eq!(ran.stdout, "9\n16\n36\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("disk is full"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("free for components and results"),
        "{}",
        ran.stderr
    );
}
