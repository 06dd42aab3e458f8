//! `lydian shell`: functions called line by line.
//!
//! [`line`] reads what a line says, [`values`] keeps what has a name, [`calls`] calls, [`show`] lists.
//! Each call has a sandbox of its own, unless the component has resources, which live as long as theirs:
//! then all calls share one, until one of them traps or `.restart` is typed.

mod calls;
mod complete;
mod editor;
mod input;
mod line;
mod show;
mod values;

use std::sync::{Arc, PoisonError};

use lydian_client::{Description, Limits, Session};
use lydian_value::Interface;
use serde_json::json;

use self::complete::Scope;
use self::editor::Shared;
use self::input::{Input, Typed};
use self::line::Line;
use self::values::Values;
use super::connect::Work;
use super::limits::Setters;
use super::opened::{Opened, Wanted};
use super::{Ctx, limits, load};
use crate::args::limits::LimitArgs;
use crate::args::shell::Args;
use crate::exit::Exit;
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::output::signature;
use crate::signals::Interrupt;
use crate::units;

pub(super) async fn run(ctx: &Ctx, args: Args) -> Result<Exit, CliError> {
    if args.target.contains("::") {
        let message = format!(
            "`{}` names a function; a shell calls any of them",
            args.target
        );
        return Err(
            CliError::usage("bad-target", message).hint("leave `::` and what follows it out")
        );
    }
    let code = load::parse_code(&args.target)?;
    let progress = Arc::new(ctx.output.progress());
    let wanted = Wanted {
        settings: limits::manifest(&args.limits),
        ..Wanted::calls(Work::Many)
    };
    let opened = Opened::new(ctx, &code, wanted, &progress).await?;
    let description = opened.describe().await?;
    progress.finish();
    let mut shell = Shell::new(ctx, &opened, description, progress, args.limits)?;
    let exit = shell.serve().await;
    drop(shell);
    opened.close().await;
    exit
}

/// One shell.
struct Shell<'a> {
    ctx: &'a Ctx,
    opened: &'a Opened,
    description: Description,
    /// The same functions, found by what people call them.
    interface: Interface,
    progress: Arc<Progress>,
    limits: LimitArgs,
    interrupt: Interrupt,
    values: Values,
    /// The sandbox that calls share, once there is one.
    session: Option<Session>,
    /// Calls share a sandbox.
    shares: bool,
}

/// What a line came to.
enum Next {
    Go,
    Leave,
}

impl<'a> Shell<'a> {
    fn new(
        ctx: &'a Ctx,
        opened: &'a Opened,
        description: Description,
        progress: Arc<Progress>,
        limits: LimitArgs,
    ) -> Result<Self, CliError> {
        let functions = description.functions.iter();
        let functions: Vec<_> = functions.map(|function| (*function.ty).clone()).collect();
        let shares = functions.iter().any(|function| {
            let params = function.params.iter().map(|param| &param.ty);
            params.chain(&function.result).any(signature::has_resource)
        });
        Ok(Self {
            ctx,
            opened,
            description,
            interface: Interface {
                functions,
                ..Interface::default()
            },
            progress,
            limits,
            interrupt: Interrupt::listen()?,
            values: Values::default(),
            session: None,
            shares,
        })
    }

    /// Reads and does, until the end of the input.
    async fn serve(&mut self) -> Result<Exit, CliError> {
        let scope = Shared::default();
        let mut input = Input::new(&self.ctx.output, &self.opened.shown, scope.clone())?;
        if input.is_prompt() {
            self.greet();
        }
        let mut exit = Exit::Ok;
        loop {
            if input.is_prompt() {
                *scope.lock().unwrap_or_else(PoisonError::into_inner) = self.scope();
            }
            let line = match input.next(&mut self.interrupt).await {
                Typed::Line(line) => line,
                Typed::Abandoned => continue,
                Typed::End => break,
            };
            match self.obey(&line).await {
                Ok(Next::Go) => {}
                Ok(Next::Leave) => break,
                Err(error) => {
                    self.progress.finish();
                    let ended = error.show(&self.ctx.output);
                    if ended == Exit::Ok {
                        // Nobody reads what is printed any more.
                        return Ok(exit);
                    }
                    exit = ended;
                }
            }
        }
        // Who types sees what failed; a script sees how its last failing line ended.
        Ok(if input.is_prompt() { Exit::Ok } else { exit })
    }

    /// What Tab completes with now.
    fn scope(&self) -> Scope {
        let values = self.values.named().map(|(name, kept)| {
            let resource = kept.resource().map(str::to_owned);
            (name.to_owned(), resource)
        });
        Scope {
            functions: self.interface.functions.clone(),
            values: values.collect(),
            commands: show::commands().collect(),
        }
    }

    fn greet(&self) {
        let count = units::plural(self.interface.functions.len() as u64, "function");
        let shared = if self.shares { ", in one sandbox" } else { "" };
        let name = self.ctx.output.err.bold(&self.opened.shown);
        self.ctx.output.say(&format!(
            "{name}: {count}{shared}; .help tells what can be typed"
        ));
    }

    async fn obey(&mut self, line: &str) -> Result<Next, CliError> {
        let read = line::read(line).map_err(|message| CliError::usage("bad-line", message))?;
        match read {
            Line::Nothing => {}
            Line::Command("quit" | "exit" | "q", _) => return Ok(Next::Leave),
            Line::Command(name, rest) => self.command(name, rest).await?,
            Line::Say(phrase) => self.say(None, &phrase).await?,
            Line::Let(name, phrase) => self.say(Some(name), &phrase).await?,
        }
        Ok(Next::Go)
    }

    /// The limits the options of the command set.
    fn limits(&self) -> Limits {
        limits::of(&self.limits)
    }

    /// Who decides the limits of a call.
    fn setters(&self, deployed: &Limits) -> Setters {
        Setters::new(&self.limits, deployed, self.opened.limits_are())
    }

    /// A new sandbox at the next call. What lived in the old one has no names any more.
    fn restart(&mut self) {
        let lost = self.values.forget_resources();
        if self.session.take().is_some() && !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(|name| format!("`{name}`")).collect();
            let text = format!("the sandbox is gone, and with it {}", lost.join(", "));
            self.ctx.output.note(&text);
        }
    }

    /// Prints one JSON document, or the text.
    fn print(&self, json: impl FnOnce() -> serde_json::Value, text: &str) -> Result<(), CliError> {
        if self.ctx.output.json {
            self.ctx.output.print_json(&json())
        } else {
            self.ctx.output.print(text)
        }
    }

    /// What has a name, one per line.
    fn list_values(&self) -> Result<(), CliError> {
        let mut text = String::new();
        let mut all = serde_json::Map::new();
        for (name, kept) in self.values.named() {
            text += &format!("{name}: {} = {}\n", kept.ty, kept.text);
            all.insert(
                name.to_owned(),
                json!({ "type": kept.ty.to_string(), "value": kept.text }),
            );
        }
        self.print(|| all.into(), &text)
    }
}
