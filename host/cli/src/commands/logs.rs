//! Logs, printed as they come: the guest's bytes on stdout, since here they are the result.

use futures::StreamExt as _;
use lydian_client::{LogChunk, LogSource, LogStream};
use serde_json::json;

use super::Ctx;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::guest::escape;
use crate::signals::Interrupt;
use crate::units;

/// Prints a stream of logs until it ends or Ctrl-C, which is how a user ends `--follow`.
///
/// `prefixed` puts time and function before each line: for logs of several calls.
pub(super) async fn print(
    ctx: &Ctx,
    mut stream: LogStream,
    prefixed: bool,
) -> Result<Exit, CliError> {
    let mut at_line_start = true;
    // Also what is pressed while a terminal takes its time with the chunk before.
    let mut interrupt = Interrupt::listen()?;
    loop {
        let chunk = tokio::select! {
            chunk = stream.next() => chunk,
            () = interrupt.pressed() => return Ok(Exit::Interrupted),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk?;
        let text = if ctx.output.json {
            json_line(&chunk)
        } else {
            plain(ctx, &chunk, prefixed, &mut at_line_start)
        };
        ctx.output.print(&text)?;
    }
    if !at_line_start && ctx.output.stdout_is_terminal {
        ctx.output.print("\n")?;
    }
    Ok(Exit::Ok)
}

fn json_line(chunk: &LogChunk) -> String {
    let source = match chunk.source {
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
        _ => "system",
    };
    let line = json!({
        "at_ms": units::unix_ms(chunk.at),
        "call": chunk.call,
        "function": chunk.function,
        "source": source,
        "text": chunk.text(),
        "truncated": chunk.truncated,
        "missed_bytes": chunk.missed_bytes,
    });
    format!("{line}\n")
}

/// What to say of the output before a chunk; what the node says of a limit that was reached is a chunk of its own.
pub(super) fn missing(chunk: &LogChunk) -> Option<String> {
    (chunk.missed_bytes > 0).then(|| {
        let bytes = units::bytes(chunk.missed_bytes);
        format!("{bytes} of output before this are not kept")
    })
}

fn plain(ctx: &Ctx, chunk: &LogChunk, prefixed: bool, at_line_start: &mut bool) -> String {
    let style = ctx.output.out;
    let mut text = String::new();
    if let Some(missing) = missing(chunk) {
        text += &style.dim(format!(
            "{}[{missing}]\n",
            if *at_line_start { "" } else { "\n" }
        ));
        *at_line_start = true;
    }
    let data = escape(&chunk.text(), ctx.output.stdout_is_terminal);
    for line in data.split_inclusive('\n') {
        if prefixed && *at_line_start {
            text += &style.dim(format!(
                "{} {}  ",
                units::timestamp(chunk.at),
                chunk.function
            ));
        }
        text += &match chunk.source {
            LogSource::Stdout => line.to_owned(),
            LogSource::Stderr => style.yellow(line),
            _ => style.dim(line),
        };
        *at_line_start = line.ends_with('\n');
    }
    text
}
