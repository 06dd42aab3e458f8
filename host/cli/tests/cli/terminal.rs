//! The shell on a terminal, where lines are edited.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lydian_tests::guests;
use nix::fcntl::OFlag;
use nix::pty;

use crate::support::Cli;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// A command on a pseudo-terminal of its own.
struct Terminal {
    child: Child,
    /// Our side of the terminal.
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(cli: &Cli, args: &[&str]) -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let keys = pty::posix_openpt(flags).unwrap();
        pty::grantpt(&keys).unwrap();
        pty::unlockpt(&keys).unwrap();
        let path = pty::ptsname_r(&keys).unwrap();
        let theirs = || {
            let mut options = File::options();
            options.read(true).write(true);
            options.custom_flags(OFlag::O_NOCTTY.bits());
            options.open(&path).unwrap()
        };
        let command = cli.command(args);
        // util-linux's `setsid` makes stdin the controlling terminal, and then becomes the command.
        let mut in_session = std::process::Command::new("setsid");
        in_session.arg("--ctty").arg(command.get_program());
        in_session.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => in_session.env(name, value),
                None => in_session.env_remove(name),
            };
        }
        in_session.current_dir(command.get_current_dir().unwrap());
        in_session.env("TERM", "xterm");
        in_session.stdin(theirs()).stdout(theirs()).stderr(theirs());
        let child = in_session.spawn().unwrap();
        let keys = File::from(OwnedFd::from(keys));
        let mut output = keys.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error when the command is gone, and its side of the terminal with it.
            while let Ok(count @ 1..) = output.read(&mut piece) {
                if sender.send(piece[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            screen,
            seen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
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

impl Terminal {
    /// Waits until the command is over, and shows its last screen if it failed.
    #[track_caller]
    fn ends_well(&mut self) {
        let status = self.child.wait().unwrap();
        let rest: Vec<u8> = self.screen.iter().flatten().collect();
        self.seen += &String::from_utf8_lossy(&rest);
        assert!(status.success(), "{status}: {:?}", self.seen);
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
    shell.ends_well();
    let history = std::fs::read_to_string(cli.home().join("shell-history")).unwrap();
    assert!(history.contains("fine 3\n"), "{history}");
    // The next shell has the lines of this one.
    let mut shell = Terminal::start(&cli, &["shell", "spin.wasm"]);
    shell.shows("spin.wasm> ");
    // Up, twice.
    shell.press("\x1b[A\x1b[A\r");
    shell.shows("\n4\r\n");
}
