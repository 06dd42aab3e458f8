//! A node of the demo's own, and the `lydian` command that talks to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run::{program, read, run};

/// A node without calls in flight stops at once.
const STOP_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Node {
    lydian: PathBuf,
    home: PathBuf,
    url: String,
    child: Child,
}

impl Node {
    /// Starts one on a free port, with a data folder inside `work`, and waits until it answers.
    pub(super) fn start(lydian: &Path, work: &Path) -> Result<Self> {
        let home = work.join("home");
        let mut up = program(lydian)?;
        up.args(["up", "--json", "--listen", "127.0.0.1:0"])
            .env("LYDIAN_HOME", &home)
            .env_remove("LYDIAN_URL");
        let mut child = up
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the node")?;
        match ready_url(&mut child) {
            Ok(url) => Ok(Self {
                lydian: lydian.into(),
                home,
                url,
                child,
            }),
            Err(error) => {
                // It may be gone already; either way nothing must outlive the demo.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// A command for this node.
    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = program(&self.lydian)?;
        command
            .args(words)
            .env("LYDIAN_HOME", &self.home)
            .env("LYDIAN_URL", &self.url);
        Ok(command)
    }

    /// Runs a command and lets it print.
    pub(super) fn show(&self, words: &[&str]) -> Result<()> {
        run(&mut self.command(words)?)
    }

    /// Runs a command and returns what it printed on stdout.
    pub(super) fn read(&self, words: &[&str]) -> Result<String> {
        read(&mut self.command(words)?)
    }

    /// Maps a function over a file of JSON lines; its progress is shown, its results are returned in order.
    pub(super) fn map(&self, target: &str, inputs: &Path) -> Result<Vec<Value>> {
        let mut command = self.command(&["map", target, "--json", "--inputs"])?;
        let output = command
            .arg(inputs)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start lydian")?;
        ensure!(
            output.status.success(),
            "`lydian map {target}` failed ({})",
            output.status
        );
        let lines = String::from_utf8(output.stdout)?;
        lines
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// The id of the newest map over a function.
    pub(super) fn newest_map(&self, function: &str) -> Result<String> {
        let calls: Value = serde_json::from_str(&self.read(&["calls", "list", "--json"])?)?;
        let is_it = |call: &&Value| call["kind"] == "map" && call["function"] == function;
        let newest = calls.as_array().and_then(|calls| calls.iter().find(is_it));
        let id = newest.and_then(|call| call["call"].as_str());
        Ok(id
            .with_context(|| format!("the node lists no map over `{function}`"))?
            .to_owned())
    }

    /// Asks the node to end, as Ctrl-C would, and waits for it.
    pub(super) fn stop(&mut self) -> Result<()> {
        let asked = program("kill")?
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(asked.success(), "the node was gone before it was stopped");
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the node ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("the node did not stop within {} s", STOP_LIMIT.as_secs())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill; after an error there is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the one line with which a node says where it listens.
fn ready_url(child: &mut Child) -> Result<String> {
    let stdout = child
        .stdout
        .take()
        .context("the node's output is not ours")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(!line.is_empty(), "the node ended before it was ready");
    let ready: Value =
        serde_json::from_str(&line).with_context(|| format!("the node said {line}"))?;
    Ok(ready["url"]
        .as_str()
        .context("the node named no address")?
        .to_owned())
}
