//! What moves on stderr while a command works: a footer line, with everything else above it.
//!
//! On a terminal the footer is a spinner with a clock, or a bar with rate and remaining time. It appears
//! only when something takes longer than [`TICK`], so a fast command shows none. Finished steps, guest
//! output and results are printed above it and stay. Elsewhere there is no footer: [`Progress::say`] and
//! guest output are plain lines, the rest is left out.
//!
//! A guest's line that is not finished yet hides the footer: what it wrote is shown as it happens.

use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::CliError;
use super::guest::Decoder;
use super::{Output, width};
use crate::units;

/// How often the footer moves, and how long it waits before it first shows.
const TICK: Duration = Duration::from_millis(100);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Columns of the bar itself.
const BAR_WIDTH: usize = 28;

/// Which stream of a guest wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
    /// The node, about the guest.
    System,
}

/// Progress of one command. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    output: Output,
    shared: Arc<Shared>,
    /// Moves the footer; started with the first footer, on a terminal only.
    ticker: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    output: Output,
    footer: Footer,
    /// Since when the footer of this kind runs.
    since: Instant,
    frame: usize,
    /// The footer is on the screen, the cursor behind it.
    drawn: bool,
    /// The last line above the footer has no end yet.
    mid_line: bool,
    ended: bool,
    stdout: Decoder,
    stderr: Decoder,
}

#[derive(Debug, Clone, PartialEq)]
enum Footer {
    None,
    Spinner(String),
    Bar(Bar),
}

/// How far a fan-out is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// How many there will be, as far as that is known.
    pub(crate) total: Option<u64>,
    /// The total was counted, not estimated.
    pub(crate) exact: bool,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        let state = State {
            output,
            footer: Footer::None,
            since: Instant::now(),
            frame: 0,
            drawn: false,
            mid_line: false,
            ended: false,
            stdout: Decoder::default(),
            stderr: Decoder::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            ended: Condvar::new(),
        });
        Self {
            output,
            shared,
            ticker: Mutex::new(None),
        }
    }

    /// Shows what is going on now, with a running clock.
    pub(crate) fn step(&self, text: impl Into<String>) {
        self.set_footer(Footer::Spinner(text.into()), true);
    }

    /// The same clock, another text: for what a step is doing at the moment.
    pub(crate) fn detail(&self, text: impl Into<String>) {
        self.set_footer(Footer::Spinner(text.into()), false);
    }

    /// Shows how far a fan-out is.
    pub(crate) fn bar(&self, bar: Bar) {
        let first = !matches!(self.state().footer, Footer::Bar(_));
        self.set_footer(Footer::Bar(bar), first);
    }

    /// Leaves a finished step above the footer; on a terminal only.
    pub(crate) fn done(&self, text: &str) {
        if self.moves() {
            self.state()
                .above(&format!("{} {text}\n", self.output.err.green("✓")));
        }
    }

    /// Leaves lines above the footer, terminal or not.
    pub(crate) fn say(&self, text: &str) {
        if !self.output.quiet {
            self.state().above(&format!("{text}\n"));
        }
    }

    /// Prints to stdout without the footer in between.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        let mut state = self.state();
        if self.output.stdout_is_terminal {
            state.clear();
            state.end_line();
        }
        self.output.print(text)
    }

    /// Shows what a guest wrote, as it came.
    pub(crate) fn guest(&self, source: Source, bytes: &[u8]) {
        let mut state = self.state();
        if !self.output.stderr_is_terminal {
            super::eprint_guest(bytes);
            return;
        }
        let style = self.output.err;
        let text = match source {
            Source::Stdout => state.stdout.decode(bytes),
            Source::Stderr => style.yellow(state.stderr.decode(bytes)),
            Source::System => {
                style.dim(super::guest::escape(&String::from_utf8_lossy(bytes), true))
            }
        };
        state.above(&text);
    }

    /// Takes the footer away and ends a line the guest left open. Also done by drop.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.clear();
        state.footer = Footer::None;
        let rest = state.stdout.finish() + &state.stderr.finish();
        state.above(&rest);
        state.end_line();
    }

    /// Whether colours are shown on stderr.
    pub(crate) fn is_coloured(&self) -> bool {
        self.output.err.is_enabled()
    }

    fn moves(&self) -> bool {
        self.output.stderr_is_terminal && !self.output.quiet
    }

    fn set_footer(&self, footer: Footer, restart_clock: bool) {
        if !self.moves() {
            return;
        }
        let mut state = self.state();
        state.footer = footer;
        if restart_clock {
            state.since = Instant::now();
        }
        drop(state);
        let mut ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        if ticker.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without a thread the footer just does not move.
            *ticker = std::thread::Builder::new()
                .name("progress".into())
                .spawn(move || shared.tick())
                .ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
        self.state().ended = true;
        self.shared.ended.notify_all();
        let ticker = self
            .ticker
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ticker) = ticker {
            let _ = ticker.join();
        }
    }
}

impl Shared {
    /// A panic while printing leaves a state that still prints.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut state = self.state();
        while !state.ended {
            let waited = self
                .ended
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.since.elapsed() >= TICK {
                state.frame += 1;
                state.draw();
            }
        }
    }
}

impl State {
    /// Prints `text` where the footer is, which moves down.
    fn above(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let drawn = self.drawn;
        self.clear();
        if !self.output.stderr_is_terminal {
            return super::eprint_line(text.trim_end_matches('\n'));
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
        // Colour codes end a coloured line after its line break.
        self.mid_line = !text.trim_end_matches("\x1b[0m").ends_with('\n');
        if drawn {
            self.draw();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = io::stderr().lock().write_all(b"\r\x1b[2K");
        }
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.mid_line) && self.output.stderr_is_terminal {
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }

    fn draw(&mut self) {
        if self.mid_line || self.ended || self.footer == Footer::None {
            return;
        }
        let line = render(
            &self.footer,
            self.since.elapsed(),
            FRAMES[self.frame % FRAMES.len()],
        );
        // One column stays free: a full line would wrap and not be cleared.
        let line: String = line.chars().take(width().saturating_sub(1)).collect();
        let spinner = line.chars().next().map_or(0, char::len_utf8);
        let (head, rest) = line.split_at(spinner);
        let text = format!("\r\x1b[2K{}{rest}", self.output.err.blue(head));
        let mut stderr = io::stderr().lock();
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
        self.drawn = true;
    }
}

/// The footer as plain text; the first character is the spinner.
fn render(footer: &Footer, elapsed: Duration, frame: &str) -> String {
    match footer {
        Footer::None => String::new(),
        Footer::Spinner(text) => format!("{frame} {text}  {}", units::clock(elapsed)),
        Footer::Bar(bar) => bar.render(elapsed, frame),
    }
}

impl Bar {
    fn render(&self, elapsed: Duration, frame: &str) -> String {
        let rate = self.done as f64 / elapsed.as_secs_f64().max(1e-3);
        let mut line = format!("{frame} {}", self.label);
        match self.total.filter(|&total| total > 0) {
            Some(total) => {
                let fraction = (self.done as f64 / total as f64).min(1.0);
                let about = if self.exact { "" } else { "~" };
                line += &format!(
                    "  {}  {}/{about}{}",
                    drawn_bar(fraction),
                    units::count(self.done),
                    units::count(total)
                );
            }
            None => line += &format!("  {} done", units::count(self.done)),
        }
        line += &format!("  {}/s", units::count(rate.round() as u64));
        match self.total.filter(|&total| total > self.done && rate > 0.0) {
            Some(total) => {
                let left = Duration::try_from_secs_f64((total - self.done) as f64 / rate);
                line += &format!(
                    "  ETA {}",
                    left.map_or_else(|_| "?".to_owned(), units::clock)
                );
            }
            None => line += &format!("  {}", units::clock(elapsed)),
        }
        if self.failed > 0 {
            line += &format!("  {} failed", units::count(self.failed));
        }
        line
    }
}

fn drawn_bar(fraction: f64) -> String {
    let filled = (fraction * BAR_WIDTH as f64) as usize;
    format!("{}{}", "━".repeat(filled), "─".repeat(BAR_WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(done: u64, total: Option<u64>, exact: bool) -> String {
        let bar = Bar {
            label: "square".to_owned(),
            done,
            failed: 0,
            total,
            exact,
        };
        bar.render(Duration::from_secs(2), "*")
            .replace(['━', '─'], "-")
    }

    #[test]
    fn a_bar_tells_rate_and_remaining_time() {
        let line = "-".repeat(BAR_WIDTH);
        assert_eq!(
            bar(1_000, Some(4_000), true),
            format!("* square  {line}  1,000/4,000  500/s  ETA 0:06")
        );
        assert_eq!(
            bar(1_000, Some(4_000), false),
            format!("* square  {line}  1,000/~4,000  500/s  ETA 0:06")
        );
        assert_eq!(
            bar(4_000, Some(4_000), true),
            format!("* square  {line}  4,000/4,000  2,000/s  0:02")
        );
        assert_eq!(bar(10, None, false), "* square  10 done  5/s  0:02");
    }

    /// Nothing done yet, or a wrong estimate, must not divide by zero or overrun the bar.
    #[test]
    fn odd_totals_still_render() {
        assert!(bar(0, Some(10), true).ends_with("0/10  0/s  0:02"));
        assert!(bar(20, Some(10), false).contains("20/~10"));
        assert!(bar(0, Some(0), true).contains("0 done"));
        assert_eq!(
            drawn_bar(0.5).chars().filter(|&c| c == '━').count(),
            BAR_WIDTH / 2
        );
    }
}
