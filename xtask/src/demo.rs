//! `cargo xtask demo`: the main job from nothing, through the `lydian` command as a user has it.
//!
//! A node on a free port with an empty data folder; the digits example deployed to it; a sweep over learners, one
//! sandbox for each configuration; every digit read once, one sandbox for each; then the ranking, where the
//! time went, and how many fresh sandboxes a second that was.

mod node;
mod sweep;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::run::{cargo, run, say};
use crate::{guests, setup};
use node::Node;
use sweep::Entry;

/// Digits in the example's table.
const DIGITS: usize = 1797;

/// Lines of the ranking.
const RANKS: usize = 10;

pub(crate) fn run_all() -> Result<()> {
    setup::targets()?;
    let lydian = build()?;
    let work = tempfile::tempdir().context("cannot make a folder for the demo")?;
    let mut node = Node::start(&lydian, work.path())?;
    let outcome = tour(&node, work.path());
    let stopped = node.stop();
    outcome.and(stopped)
}

/// The command, in release, and the example.
fn build() -> Result<std::path::PathBuf> {
    say("demo: building the lydian command in release; the first time takes some minutes");
    run(cargo()?.args(["build", "--locked", "--release", "--package", "lydian-cli"]))?;
    guests::compile("examples")?;
    Ok(crate::cache::target()?.join("release/lydian"))
}

fn tour(node: &Node, work: &Path) -> Result<()> {
    let component = guests::example("digits")?;
    heading("The example becomes an app: checked, compiled once, addressed by its content");
    node.show(&["deploy", &component.to_string_lossy(), "--name", "digits"])?;

    let configs = sweep::grid(&node.read(&["run", "digits::grid", "--json"])?)?;
    let inputs = work.join("configs.jsonl");
    std::fs::write(&inputs, sweep::lines(&configs))?;
    heading(&format!(
        "{} configurations, each judged by cross-validation in a sandbox of its own",
        configs.len()
    ));
    let (scores, took) = timed(|| node.map("digits::evaluate", &inputs))?;
    let ranking = sweep::ranking(&configs, &scores)?;

    heading("The ranking");
    print!("{}", sweep::table(&ranking[..RANKS.min(ranking.len())]));

    heading("Where the time of the sweep went, summed over its sandboxes");
    node.show(&["calls", "explain", &node.newest_map("evaluate")?])?;

    heading(&format!(
        "Each of the {DIGITS} digits read from all the others, in a sandbox of its own"
    ));
    let digits = work.join("digits.jsonl");
    std::fs::write(
        &digits,
        (0..DIGITS)
            .map(|digit| format!("[{digit}, 3]\n"))
            .collect::<String>(),
    )?;
    let (read, read_took) = timed(|| node.map("digits::leave-one-out", &digits))?;
    let right = sweep::read_right(&read)?;
    ensure!(
        read.len() == DIGITS,
        "{} of {DIGITS} digits were answered",
        read.len()
    );
    summary(&ranking, took, right, read_took);
    Ok(())
}

fn summary(ranking: &[Entry], took: Duration, right: usize, read_took: Duration) {
    heading("Summary");
    if let Some(best) = ranking.first() {
        println!(
            "best learner        {} ({:.2} %)",
            best.learner,
            best.accuracy * 100.0
        );
    }
    println!(
        "one digit left out  {right} of {DIGITS} read right ({:.2} %)",
        100.0 * right as f64 / DIGITS as f64
    );
    rate("the sweep", ranking.len(), took);
    rate("digit by digit", DIGITS, read_took);
}

/// From the first byte of the inputs to the last result, the command's own start included.
fn rate(what: &str, sandboxes: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    let per_second = sandboxes as f64 / seconds;
    println!(
        "{what:<19} {sandboxes} fresh sandboxes in {seconds:.2} s: {per_second:.0} a second, their work included"
    );
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn timed<T>(action: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = action()?;
    Ok((value, start.elapsed()))
}
