//! The shell on a terminal, where lines are edited.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lydian_tests::guests;

use crate::support::Cli;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// A command on a pseudo-terminal, which util-linux's `script` makes.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(cli: &Cli, args: &[&str]) -> Self {
        let mut command = cli.command(args);
        let mut line = command.get_program().to_string_lossy().into_owned();
        for arg in args {
            line += &format!(" {arg}");
        }
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.current_dir(command.get_current_dir().unwrap());
        script.env("TERM", "xterm");
        command = script;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, screen) = channel();
        let mut stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut piece) {
                if sender.send(piece[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            screen,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until this is shown, after what was waited for before.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(piece) => self.seen += &String::from_utf8_lossy(&piece),
                Err(_) => panic!("`{text}` was not shown; {:?}", self.seen),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_completed_remembered_and_calls_can_be_stopped() {
    let cli = Cli::with_own_home();
    cli.file("spin.wasm", guests::SPIN.bytes());
    let mut shell = Terminal::start(&cli, &["shell", "spin.wasm"]);
    shell.shows("spin.wasm> ");
    shell.press("fi\t 3\r");
    shell.shows("> fine");
    shell.shows("\n3");
    shell.shows("spin.wasm> ");
    // A bracket that is open goes on in the next line.
    shell.press("fine(\r4)\r");
    shell.shows("\n4");
    shell.shows("spin.wasm> ");
    shell.press("spin\r");
    shell.shows("running spin");
    shell.press(CTRL_C);
    shell.shows("stopped `spin`");
    shell.shows("spin.wasm> ");
    shell.press("half a line");
    shell.shows("half a line");
    shell.press(CTRL_C);
    shell.shows("spin.wasm> ");
    shell.press(CTRL_D);
    assert!(shell.child.wait().unwrap().success());
    let history = std::fs::read_to_string(cli.home().join("shell-history")).unwrap();
    assert!(history.contains("fine 3\n"), "{history}");
    // The next shell has the lines of this one.
    let mut shell = Terminal::start(&cli, &["shell", "spin.wasm"]);
    shell.shows("spin.wasm> ");
    // Up, twice.
    shell.press("\x1b[A\x1b[A\r");
    shell.shows("\n4\r\n");
}
