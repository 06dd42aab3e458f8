//! `lydian calls …`.

use std::time::{Duration, SystemTime};

use lydian_client::{
    Call, CallFilter, CallInfo, CallState, Client, Error, Explanation, Usage, Wire,
};
use serde_json::{Value as Json, json};

use super::connect::{self, Place, Work};
use super::limits::Setters;
use super::{Ctx, logs};
use crate::args::calls::{Command, GetArgs, ListArgs, LogsArgs, State};
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::result::{self, Spelling};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::units;

pub(super) async fn run(ctx: &Ctx, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(ctx, args).await,
        Command::Get(args) => get(ctx, &args).await,
        Command::Cancel(args) => cancel(ctx, &args.call).await,
        Command::Logs(args) => call_logs(ctx, &args).await,
        Command::Explain(args) => explain(ctx, &args.call).await,
    }
}

async fn node(ctx: &Ctx) -> Result<Client, CliError> {
    connect::connect(ctx, Place::Catalog, Work::One).await
}

async fn list(ctx: &Ctx, args: ListArgs) -> Result<Exit, CliError> {
    // One more than is shown tells whether there are more.
    let mut filter = CallFilter::default().limit(args.limit.saturating_add(1));
    if let Some(app) = args.app {
        filter = filter.app(app);
    }
    if let Some(state) = args.state {
        filter = filter.state(call_state(state));
    }
    let mut calls = node(ctx).await?.calls(filter).await?;
    let shown = args.limit as usize;
    let is_cut = calls.len() > shown;
    calls.truncate(shown);
    if ctx.output.json {
        ctx.output
            .print_json(&calls.iter().map(info_json).collect())?;
        tell_cut(ctx, is_cut, args.limit);
        return Ok(Exit::Ok);
    }
    if calls.is_empty() {
        ctx.output.note("no such calls");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["Call", "State", "Kind", "Target", "Created", "Took"]);
    for call in &calls {
        table.row(vec![
            call.call.clone(),
            call.state.to_string(),
            call.kind.to_string(),
            target(call),
            units::timestamp(call.created_at),
            took(call).map(took_text).unwrap_or_default(),
        ]);
    }
    ctx.output.print(&table.render(ctx.output.out))?;
    tell_cut(ctx, is_cut, args.limit);
    Ok(Exit::Ok)
}

/// A list that ends early looks like all there is.
fn tell_cut(ctx: &Ctx, is_cut: bool, limit: u32) {
    if is_cut {
        let more = limit.saturating_mul(10);
        let newest = units::plural(u64::from(limit), "call");
        ctx.output.note(&format!(
            "the newest {newest}; there are more: `--limit {more}` shows them"
        ));
    }
}

fn call_state(state: State) -> CallState {
    match state {
        State::Queued => CallState::Queued,
        State::Running => CallState::Running,
        State::Succeeded => CallState::Succeeded,
        State::Failed => CallState::Failed,
        State::Cancelled => CallState::Cancelled,
    }
}

fn target(call: &CallInfo) -> String {
    match call.app.as_str() {
        "" => call.function.clone(),
        app => format!("{app}@{}::{}", call.version, call.function),
    }
}

fn took(call: &CallInfo) -> Option<Duration> {
    call.finished_at?.duration_since(call.started_at?).ok()
}

/// Calls are listed with a clock of milliseconds: no figure is finer, and none took no time at all.
fn took_text(took: Duration) -> String {
    match took {
        Duration::ZERO => "under 1 ms".to_owned(),
        took if took < Duration::from_millis(100) => format!("{} ms", took.as_millis()),
        took => units::duration(took),
    }
}

fn info_json(call: &CallInfo) -> Json {
    json!({
        "call": call.call,
        "environment": call.environment,
        "app": call.app,
        "version": call.version,
        "function": call.function,
        "state": call.state.to_string(),
        "kind": call.kind.to_string(),
        "created_at_ms": units::unix_ms(call.created_at),
        "started_at_ms": call.started_at.map(units::unix_ms),
        "finished_at_ms": call.finished_at.map(units::unix_ms),
        "attempt": call.attempt,
        "broken_starts": call.broken_starts,
        "waiting_reason": call.waiting_reason,
        "next_try_at_ms": call.next_try_at.map(units::unix_ms),
    })
}

async fn get(ctx: &Ctx, args: &GetArgs) -> Result<Exit, CliError> {
    let progress = ctx.output.progress();
    let client = node(ctx).await?;
    let call = Call::from_id(&client, &args.call);
    progress.step(format!("waiting for {}", call.id()));
    let result = tokio::select! {
        result = call.get::<Wire>(args.timeout) => result,
        _ = tokio::signal::ctrl_c() => {
            progress.finish();
            ctx.output.note("stopped waiting; the call goes on");
            return Ok(Exit::Interrupted);
        }
    };
    let Wire(bytes) = match result {
        Ok(result) => result,
        Err(error) => return Err(no_result(error, &client, &call).await),
    };
    let ty = call.info().await?.result_type;
    let spelling = if ctx.output.json {
        Spelling::Json
    } else {
        Spelling::Wave
    };
    if let Some(text) = spelling.result(ty.as_ref(), &bytes)? {
        progress.print(&format!("{text}\n"))?;
    }
    Ok(if result::is_err(ty.as_ref(), &bytes) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

/// Why a call has no result, and what its caller can do about that.
async fn no_result(error: Error, client: &Client, call: &Call) -> CliError {
    if matches!(error, Error::Timeout { .. }) {
        let wait = format!("lydian calls get {}", call.id());
        return CliError::from(error).hint(format!("it goes on; wait for it with `{wait}`"));
    }
    match call.explain().await {
        Ok(explanation) => Setters::of_call(client, &explanation).await.error(error),
        Err(_) => error.into(),
    }
}

async fn cancel(ctx: &Ctx, id: &str) -> Result<Exit, CliError> {
    let was_running = Call::from_id(&node(ctx).await?, id).cancel().await?;
    if ctx.output.json {
        ctx.output
            .print_json(&json!({ "call": id, "was_running": was_running }))?;
    } else {
        let text = if was_running {
            "is cancelled"
        } else {
            "had finished already"
        };
        ctx.output.print(&format!("{id} {text}\n"))?;
    }
    Ok(Exit::Ok)
}

async fn call_logs(ctx: &Ctx, args: &LogsArgs) -> Result<Exit, CliError> {
    let stream = Call::from_id(&node(ctx).await?, &args.call)
        .logs(args.follow)
        .await?;
    logs::print(ctx, stream, false).await
}

async fn explain(ctx: &Ctx, id: &str) -> Result<Exit, CliError> {
    let client = node(ctx).await?;
    let mut explanation = Call::from_id(&client, id).explain().await?;
    if let Some(failure) = explanation.failure.take() {
        let setters = Setters::of_call(&client, &explanation).await;
        explanation.failure = Some(setters.failure(failure));
    }
    if ctx.output.json {
        ctx.output.print_json(&explanation_json(&explanation))?;
    } else {
        ctx.output.print(&drawn(&explanation, ctx.output.out))?;
    }
    Ok(Exit::Ok)
}

/// The stages of a call in the order they happen.
fn stages(usage: &Usage) -> [(&'static str, Duration); 5] {
    [
        ("queue", usage.queue),
        ("load", usage.load),
        ("compile", usage.compile),
        ("instantiate", usage.instantiate),
        ("run", usage.run),
    ]
}

/// Where the time went, one bar per stage.
fn drawn(explanation: &Explanation, style: Style) -> String {
    let Explanation { info, usage, .. } = explanation;
    let attempt = if info.attempt > 1 {
        format!(", attempt {}", info.attempt)
    } else {
        String::new()
    };
    let mut text = format!(
        "{} {} {}, {}{attempt}\n\n",
        style.bold(&info.call),
        target(info),
        info.state,
        info.kind
    );
    if matches!(info.state, CallState::Queued | CallState::Running) {
        let since = info.started_at.unwrap_or(info.created_at);
        let waited = SystemTime::now().duration_since(since).unwrap_or_default();
        text += &format!(
            "  {} for {}; where its time went is known when it ends\n\n",
            info.state,
            units::duration(waited)
        );
        if !info.waiting_reason.is_empty() {
            text += &format!("  it could not be started: {}", info.waiting_reason);
            let next = info
                .next_try_at
                .and_then(|at| at.duration_since(SystemTime::now()).ok());
            if let Some(next) = next {
                text += &format!("; tried again in {}", units::duration(next));
            }
            text += "\n\n";
        }
        return text + &facts_text(limit_facts(explanation), style);
    }
    let Some(usage) = usage else {
        text += "  where its time went is not known: it was cancelled before it could tell\n\n";
        let took = took(info).map(|took| ("took", took_text(took)));
        let facts = took.into_iter().chain(limit_facts(explanation));
        let failure = failure_fact(explanation, style);
        return text + &facts_text(facts.chain(failure).collect(), style);
    };
    let stages = stages(usage);
    let total: Duration = stages.iter().map(|(_, time)| *time).sum();
    for (name, time) in stages {
        let share = time.as_secs_f64() / total.as_secs_f64().max(1e-12);
        let bar = bar(share);
        let percent = format!("{:.0} %", share * 100.0);
        text += &format!(
            "  {name:<12}{}  {:>9}  {percent:>5}\n",
            style.blue(bar),
            units::duration(time)
        );
    }
    text += &format!(
        "  {:<12}{:BAR_WIDTH$}  {:>9}\n\n",
        "total",
        "",
        units::duration(total)
    );
    let mut facts = vec![(
        "started",
        sentence(&usage.start.to_string(), &explanation.start_reason),
    )];
    facts.push(("cpu", units::duration(usage.cpu)));
    facts.push((
        "memory",
        format!("{} at most", units::bytes(usage.peak_memory_bytes)),
    ));
    facts.push((
        "payload",
        format!(
            "{} in, {} out",
            units::bytes(usage.bytes_in),
            units::bytes(usage.bytes_out)
        ),
    ));
    facts.push(("output", units::bytes(usage.output_bytes)));
    facts.extend(limit_facts(explanation));
    facts.extend(failure_fact(explanation, style));
    text + &facts_text(facts, style)
}

fn failure_fact(explanation: &Explanation, style: Style) -> Option<(&'static str, String)> {
    let failure = explanation.failure.as_ref()?;
    Some(("failure", style.red(failure)))
}

fn limit_facts(explanation: &Explanation) -> Vec<(&'static str, String)> {
    let lines = super::app::limit_lines(&explanation.limits).into_iter();
    lines
        .enumerate()
        .map(|(index, line)| (if index == 0 { "limits" } else { "" }, line))
        .collect()
}

fn facts_text(facts: Vec<(&'static str, String)>, style: Style) -> String {
    let line = |(name, fact)| format!("  {}{fact}\n", style.dim(format!("{name:<12}")));
    facts.into_iter().map(line).collect()
}

/// The reason is a sentence that names the kind of start itself.
fn sentence(start: &str, reason: &str) -> String {
    if reason.is_empty() {
        start.to_owned()
    } else {
        reason.to_owned()
    }
}

/// Columns of a bar.
const BAR_WIDTH: usize = 24;

/// A bar in eighths of a column; something that took any time at all is seen.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let mut eighths = (share * (BAR_WIDTH * 8) as f64).round() as usize;
    if share > 0.0 {
        eighths = eighths.max(1);
    }
    let text = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{text:BAR_WIDTH$}")
}

fn explanation_json(explanation: &Explanation) -> Json {
    // What is not known is null, not zero.
    let usage = explanation.usage.as_ref();
    json!({
        "call": info_json(&explanation.info),
        "time": usage.map(times_json),
        "peak_memory_bytes": usage.map(|usage| usage.peak_memory_bytes),
        "bytes_in": usage.map(|usage| usage.bytes_in),
        "bytes_out": usage.map(|usage| usage.bytes_out),
        "output_bytes": usage.map(|usage| usage.output_bytes),
        "start": usage.map(|usage| usage.start.to_string()),
        "start_reason": explanation.start_reason,
        "limits": super::app::limits_json(&explanation.limits),
        "failure": explanation.failure.as_ref().map(|failure| json!({
            "code": failure.kind.code(),
            "message": failure.message,
            "hints": failure.hints,
            "backtrace": failure.backtrace,
        })),
    })
}

fn times_json(usage: &Usage) -> Json {
    let micros = |time: Duration| json!(time.as_nanos() as f64 / 1e3);
    let stages = stages(usage).into_iter();
    stages
        .chain([("cpu", usage.cpu)])
        .map(|(name, time)| (format!("{name}_us"), micros(time)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list's clock counts milliseconds; most calls take less.
    #[test]
    fn a_call_of_less_than_a_millisecond_took_some_time() {
        assert_eq!(took_text(Duration::ZERO), "under 1 ms");
        assert_eq!(took_text(Duration::from_millis(1)), "1 ms");
        assert_eq!(took_text(Duration::from_millis(1_500)), "1.50 s");
    }

    #[test]
    fn bars_show_every_share_in_the_same_width() {
        for share in [0.0, 1e-9, 0.3, 0.5, 1.0] {
            assert_eq!(bar(share).chars().count(), BAR_WIDTH, "{share}");
        }
        assert!(bar(1e-9).starts_with('▏'));
        assert_eq!(bar(0.0).trim(), "");
        assert_eq!(bar(0.5).trim().chars().count(), BAR_WIDTH / 2);
    }
}
