//! Runs the binary as a user would, and compares all it said.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;

use regex::Regex;
use tempfile::TempDir;

/// A data directory all tests may share: none of them changes what others see, and each component is compiled once.
static SHARED_HOME: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("home"));

/// What varies from run to run, and what stands for it.
static VARYING: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"\b\d+(\.\d+)? (ns|µs|ms|s|m \d\d s)\b", "[TIME]"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "[DATE]"),
        (r"\b[0-9,]+/s\b", "[RATE]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"\b[0-9a-f]{12}\*?\b", "[SHORT]"),
        (r"\b\d+(\.\d)? [KM]iB\b", "[SIZE]"),
        (r"127\.0\.0\.1:\d+", "[ADDRESS]"),
        (r"\bc0[0-9a-z]{20,}\b", "[CALL]"),
    ]
    .into_iter()
    .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    .collect()
});

/// The command with an environment of its own.
pub(crate) struct Cli {
    home: PathBuf,
    /// Where relative paths start.
    pub(crate) dir: TempDir,
    url: String,
}

impl Cli {
    /// Commands that run in their own process and change nothing.
    pub(crate) fn new() -> Self {
        Self::at(SHARED_HOME.clone())
    }

    /// Commands with a data directory of their own.
    pub(crate) fn with_own_home() -> Self {
        let mut cli = Self::at(PathBuf::new());
        cli.home = cli.dir.path().join("home");
        cli
    }

    fn at(home: PathBuf) -> Self {
        Self {
            home,
            dir: TempDir::new().unwrap(),
            url: "embedded".to_owned(),
        }
    }

    /// The same commands, sent to a node.
    pub(crate) fn on(mut self, node: &NodeProcess) -> Self {
        self.url = node.url.clone();
        self
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Puts a file into the working directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a crate of `dir` whose build gives `component` at once: how cargo is talked to is tested
    /// apart, and building takes seconds.
    pub(crate) fn built_crate(&self, dir: &str, component: &str) -> FakeCargo {
        let manifest = format!("[package]\nname = \"{dir}\"\nversion = \"0.1.0\"\n");
        let manifest = self.file(&format!("{dir}/Cargo.toml"), manifest);
        let message = serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": manifest,
            "target": { "kind": ["cdylib"] },
            "filenames": [component],
        });
        let script = self.file("cargo", format!("#!/bin/sh\ncat <<'end'\n{message}\nend\n"));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, executable).unwrap();
        FakeCargo(script)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lydian"));
        for variable in [
            "LYDIAN_ENV",
            "LYDIAN_TOKEN",
            "LYDIAN_LOG",
            "NO_COLOR",
            "XDG_DATA_HOME",
        ] {
            command.env_remove(variable);
        }
        command
            .env("LYDIAN_HOME", &self.home)
            .env("LYDIAN_URL", &self.url);
        command
            .current_dir(self.dir.path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ran(self.command(args).output().unwrap())
    }

    pub(crate) fn run_with_stdin(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments does not read what is left.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        self.ran(child.wait_with_output().unwrap())
    }

    pub(crate) fn ran(&self, output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            status: output.status,
            stdout: self.filter(text(output.stdout)),
            stderr: self.filter(text(output.stderr)),
        }
    }

    fn filter(&self, text: String) -> String {
        let paths = [(self.home.as_path(), "[HOME]"), (self.dir.path(), "[DIR]")];
        let mut text = paths.iter().fold(text, |text, (path, name)| {
            text.replace(path.to_str().unwrap(), name)
        });
        for (pattern, name) in &*VARYING {
            text = pattern.replace_all(&text, *name).into_owned();
        }
        text
    }
}

/// Stands in for cargo.
pub(crate) struct FakeCargo(PathBuf);

impl FakeCargo {
    pub(crate) fn run(&self, cli: &Cli, args: &[&str]) -> Ran {
        let mut command = cli.command(args);
        self.used_by(&mut command);
        cli.ran(command.output().unwrap())
    }

    pub(crate) fn used_by(&self, command: &mut Command) {
        command.env("CARGO", &self.0);
    }
}

/// How a command ended, and what it said, with [`VARYING`] parts replaced.
#[derive(Debug)]
pub(crate) struct Ran {
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!(
            (self.stdout.as_str(), self.stderr.as_str()),
            (stdout, stderr),
            "exit {:?}",
            self.status
        );
        self.exits(code);
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A `lydian up` on a free port, killed when dropped.
pub(crate) struct NodeProcess {
    child: Child,
    pub(crate) url: String,
}

impl NodeProcess {
    /// Starts a node on `cli`'s data directory and waits until it answers.
    pub(crate) fn start(cli: &Cli) -> Self {
        Self::with(cli, &["--listen", "127.0.0.1:0"])
    }

    /// The same with options.
    pub(crate) fn with(cli: &Cli, options: &[&str]) -> Self {
        let mut command = cli.command(&["up", "--json"]);
        command.args(options);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut stderr = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut stderr);
            panic!("the node did not start: {error}\n{stderr}")
        });
        Self {
            child,
            url: ready["url"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Sends a signal by name, as `kill` takes it.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end; what it said on stderr.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (status, stderr)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
