//! `lydian run`: one call, its output as it happens, its result.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lydian_client::{Event, Finished, Function, Items, LogChunk, LogSource, Start, Usage, Wire};
use lydian_value::Type;

use super::connect::{Place, Work};
use super::load::{self, Loaded};
use super::opened::{Opened, Wanted};
use super::program;
use super::source::Source;
use super::{Ctx, limits, logs};
use crate::args::run::Args;
use crate::arguments;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::guest::Decoder;
use crate::output::progress::{Progress, Source as Writer};
use crate::output::result::{self, Part, Spelling};
use crate::output::signature;
use crate::units;

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    let started = Instant::now();
    let progress = ctx.output.progress();
    let wanted = Wanted {
        settings: limits::manifest(&args.limits),
        app: args.detach,
        // A node in this process would take the app with it.
        files: if args.detach {
            Place::Catalog
        } else {
            Place::Anywhere
        },
        ..Wanted::calls(Work::One)
    };
    let target = load::parse_target(&args.target)?;
    let wanted_function = target.function.as_deref();
    let opened = match Source::of(&target.code) {
        Some(source) => {
            let ready = source.ready(&progress)?;
            if let Some(entry) = program::chosen(&ready, wanted_function)? {
                return program::run(ctx, &source, &ready, &entry, args, &progress).await;
            }
            Opened::of(ctx, &source, &ready, wanted, &progress).await?
        }
        None => Opened::new(ctx, &target.code, wanted, &progress).await?,
    };
    let mut loaded = Loaded::of(opened, wanted_function.unwrap_or_default()).await?;
    if ctx.tail.wants_help {
        return help(ctx, &progress, &loaded);
    }
    loaded.check_callable()?;
    if args.detach {
        let name = loaded.opened.detach(ctx).await?;
        ctx.output
            .note(&format!("`{name}` stays until `lydian app stop {name}`"));
    }
    let setters = loaded.setters(&args.limits);
    let encoded = encode_args(ctx, &loaded.function, &args.args);
    let encoded = encoded.map_err(|error| setters.explain(error))?;
    let function = loaded.function.with_limits(limits::of(&args.limits));
    progress.step(format!("starting {}", function.name()));
    let mut call = Running::new(ctx, &progress, &function);
    let exit = tokio::select! {
        exit = call.follow(Wire(encoded)) => exit.map_err(|error| setters.explain(error)),
        _ = tokio::signal::ctrl_c() => {
            progress.finish();
            ctx.output.note(&format!("stopped `{}`", function.name()));
            Ok(Exit::Interrupted)
        }
    };
    if let Some(usage) = call.usage.filter(|_| exit.is_ok()) {
        progress.done(&summary(function.name(), &usage, started.elapsed()));
    }
    loaded.opened.close().await;
    exit
}

pub(super) fn help(ctx: &Ctx, progress: &Progress, loaded: &Loaded) -> Result<Exit, CliError> {
    progress.finish();
    let info = loaded.info();
    if ctx.output.json {
        ctx.output.print_json(&super::app::function_json(&info))?;
    } else {
        let help = signature::help(&info.ty, &info.docs, &loaded.shown, ctx.output.out);
        ctx.output.print(&help)?;
    }
    Ok(Exit::Ok)
}

/// The arguments behind the TARGET, checked and encoded.
pub(super) fn encode_args(
    ctx: &Ctx,
    function: &Function,
    tokens: &[String],
) -> Result<bytes::Bytes, CliError> {
    let ty = function.ty();
    let values = arguments::bind(&ty, tokens, &ctx.tail)?;
    ty.encode_args(&values, &limits::payload(&function.info().limits))
        .map_err(|error| arguments::wrong_argument(&ty, &error))
}

/// One call being followed.
pub(super) struct Running<'a> {
    ctx: &'a Ctx,
    progress: &'a Progress,
    function: &'a Function,
    spelling: Spelling,
    /// Open streams of the result.
    streams: HashMap<u32, Part>,
    /// A future of the result came to an `err`.
    err: bool,
    /// Bytes of a `stream<u8>` shown on a terminal.
    text: Decoder,
    usage: Option<Usage>,
    /// The result is printed as it comes.
    pub(super) shows_result: bool,
    /// The result's bytes, once it is there.
    pub(super) result: Option<bytes::Bytes>,
}

impl<'a> Running<'a> {
    pub(super) fn new(ctx: &'a Ctx, progress: &'a Progress, function: &'a Function) -> Self {
        let spelling = if ctx.output.json {
            Spelling::Json
        } else {
            Spelling::Wave
        };
        Self {
            ctx,
            progress,
            function,
            spelling,
            streams: HashMap::new(),
            err: false,
            text: Decoder::default(),
            usage: None,
            shows_result: true,
            result: None,
        }
    }

    /// Follows the call to its end.
    pub(super) async fn follow(&mut self, args: Wire) -> Result<Exit, CliError> {
        let mut run = self.function.run::<Wire, Wire>(args).await?;
        let mut exit = Exit::Ok;
        while let Some(event) = run.next().await? {
            match event {
                Event::Started { start, .. } => self.narrate(start),
                Event::Log(chunk) => show_output(self.progress, &chunk),
                Event::Finished(finished) => exit = self.finished(finished)?,
                Event::Items(items) => self.items(&items)?,
                _ => {}
            }
        }
        Ok(if self.err { Exit::Failed } else { exit })
    }

    fn narrate(&self, start: Start) {
        let name = self.function.name();
        let how = match start {
            Start::ColdCompile => ", just compiled",
            Start::ColdLoad => ", loaded from its artifact",
            _ => "",
        };
        self.progress.step(format!("running {name}{how}"));
    }

    fn finished(&mut self, finished: Finished<Wire>) -> Result<Exit, CliError> {
        self.usage = Some(finished.usage);
        let Wire(bytes) = finished.result.map_err(|failure| {
            self.progress.finish();
            CliError::failure(&failure)
        })?;
        let ty = self.function.ty();
        self.streams = result::streams(ty.result.as_ref(), &bytes)?;
        self.result = Some(bytes.clone());
        if self.shows_result && result::whole_stream(&ty).is_none() {
            let named = match &ty.result {
                Some(ty) if !self.streams.is_empty() && self.spelling == Spelling::Wave => {
                    result::with_names(ty, &result::decoded(ty, &bytes)?)
                }
                _ => None,
            };
            let text = match named {
                Some(text) => Some(text),
                None => self.spelling.result(ty.result.as_ref(), &bytes)?,
            };
            if let Some(text) = text {
                self.progress.print(&format!("{text}\n"))?;
            }
        }
        Ok(if result::is_err(ty.result.as_ref(), &bytes) {
            Exit::Failed
        } else {
            Exit::Ok
        })
    }

    /// Items one per line as they come; the bytes of a `stream<u8>` as they are.
    fn items(&mut self, items: &Items) -> Result<(), CliError> {
        if let Some(part) = self.streams.get(&items.stream).cloned()
            && !items.items.is_empty()
        {
            self.err |= part.is_err(&items.items);
            self.show_items(&part, items)?;
        }
        match &items.failure {
            None => Ok(()),
            Some(failure) => {
                self.progress.finish();
                Err(CliError::failure(failure))
            }
        }
    }

    fn show_items(&mut self, part: &Part, items: &Items) -> Result<(), CliError> {
        let whole = result::whole_stream(&self.function.ty()).is_some();
        let show = |lines: String| {
            self.progress.print(&match whole {
                true => lines,
                false => labelled(&lines, part, items.stream, self.spelling),
            })
        };
        match &part.item {
            Some(Type::U8) if whole && !part.is_future && self.spelling == Spelling::Wave => {
                self.raw(&result::bytes(&items.items)?)
            }
            Some(item) => show(self.spelling.items(item, &items.items)?),
            None => {
                // However many there are, they take a guest no memory.
                const AT_ONCE: u64 = 1 << 14;
                let mut left = result::units(&items.items);
                while left > 0 {
                    let now = left.min(AT_ONCE);
                    show(self.spelling.unit().repeat(now as usize))?;
                    left -= now;
                }
                Ok(())
            }
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        if self.ctx.output.stdout_is_terminal {
            let text = self.text.decode(bytes);
            return self.progress.print(&text);
        }
        self.ctx.output.print_bytes(bytes)
    }
}

/// Lines of a stream that is one of several parts of a result say which.
fn labelled(lines: &str, part: &Part, stream: u32, spelling: Spelling) -> String {
    let label = |line: &str| match spelling {
        Spelling::Wave => format!("{}: {line}\n", part.label(stream)),
        Spelling::Json => format!("{{\"stream\":{stream},\"item\":{line}}}\n"),
    };
    lines.lines().map(label).collect()
}

/// What a guest wrote, above the footer.
pub(super) fn show_output(progress: &Progress, chunk: &LogChunk) {
    if let Some(text) = logs::missing(chunk) {
        progress.guest(Writer::System, format!("[{text}]\n").as_bytes());
    }
    let source = match chunk.source {
        LogSource::Stdout => Writer::Stdout,
        LogSource::Stderr => Writer::Stderr,
        _ => Writer::System,
    };
    progress.guest(source, &chunk.data);
}

/// `square: 0.31 ms, sandbox 12.0 µs, compiled in 210 ms, 7.4 ms in all`
fn summary(name: &str, usage: &Usage, total: Duration) -> String {
    let mut text = format!(
        "{name}: {}, sandbox {}",
        units::duration(usage.run),
        units::duration(usage.instantiate)
    );
    if !usage.compile.is_zero() {
        text += &format!(", compiled in {}", units::duration(usage.compile));
    } else if !usage.load.is_zero() {
        text += &format!(", loaded in {}", units::duration(usage.load));
    }
    if usage.peak_memory_bytes > 0 {
        text += &format!(", {} memory", units::bytes(usage.peak_memory_bytes));
    }
    text + &format!(", {} in all", units::duration(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_result_are_labelled() {
        let part = |is_future| Part {
            item: Some(Type::U8),
            is_future,
        };
        assert_eq!(
            labelled("1\n2\n", &part(false), 3, Spelling::Wave),
            "stream 3: 1\nstream 3: 2\n"
        );
        assert_eq!(
            labelled("()\n", &part(true), 3, Spelling::Wave),
            "future 3: ()\n"
        );
        assert_eq!(
            labelled("1\n", &part(true), 3, Spelling::Json),
            "{\"stream\":3,\"item\":1}\n"
        );
    }
}
