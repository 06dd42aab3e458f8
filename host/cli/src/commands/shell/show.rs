//! What a shell tells about itself and its functions: the commands that begin with a dot.

use lydian_client::{FunctionInfo, Tail};
use serde_json::json;

use super::super::{app, logs};
use super::Shell;
use crate::output::error::CliError;
use crate::output::signature;

/// Every command, and what it does.
const COMMANDS: [(&str, &str); 12] = [
    (".help [FUNCTION]", "this, or what a function takes"),
    (
        ".functions [TEXT]",
        "functions whose name holds TEXT, or all",
    ),
    (".types", "named types and what they are"),
    (".values", "what `let` has kept, and `_`, the last result"),
    (".describe", "everything about the app"),
    (".limits [FUNCTION]", "limits in force"),
    (".grants [FUNCTION]", "what functions may use"),
    (".mounts", "directories shipped with the app"),
    (
        ".logs [LINES]",
        "the newest lines any call of the app wrote",
    ),
    (".wit", "the WIT"),
    (".restart", "a new sandbox; resources are gone"),
    (".quit", "leave; so does Ctrl-D"),
];

/// The commands' names, with their dots.
pub(super) fn commands() -> impl Iterator<Item = String> {
    let names = COMMANDS
        .iter()
        .filter_map(|(command, _)| command.split(' ').next());
    names.map(str::to_owned)
}

const HELP: &str = "\
square(4)                 call a function; `square(x: 4)`, `square 4` and `square --x 4` do the same
let c = counter.new(1)    keep a result
c.increment(2)            call a method of a resource that was kept
sum([c, found[0]])        use what was kept, or a part of it; `pair.1`, `config.depth`
c                         show it
Tab completes names; Up brings back lines of this shell and earlier ones; open brackets go on in the next line
";

impl Shell<'_> {
    /// Does what a line that begins with a dot says.
    pub(super) async fn command(&mut self, name: &str, rest: &str) -> Result<(), CliError> {
        match name {
            "help" | "h" | "?" if rest.is_empty() => self.help(),
            "help" | "h" | "?" => self.function_help(rest),
            "functions" | "f" => self.functions(rest),
            "types" => self.types(),
            "values" | "vars" => self.list_values(),
            "describe" => self.describe(),
            "limits" => self.limits_of(rest),
            "grants" => self.grants_of(rest),
            "mounts" => self.mounts(),
            "logs" => self.logs(rest).await,
            "wit" => {
                let wit = self.description.wit.trim_end();
                self.print(|| json!({ "wit": wit }), &format!("{wit}\n"))
            }
            "restart" => {
                self.restart();
                Ok(())
            }
            unknown => Err(no_command(unknown)),
        }
    }

    fn help(&self) -> Result<(), CliError> {
        let mut text = HELP.to_owned() + "\n";
        for (command, what) in COMMANDS {
            text += &format!("{command:24}  {what}\n");
        }
        self.ctx.output.print(&text)
    }

    /// The functions whose name a text means: one that it names, else all that hold it.
    fn named(&self, text: &str) -> Vec<&FunctionInfo> {
        let functions = &self.description.functions;
        if !text.is_empty()
            && let Ok(found) = self.interface.function(text)
        {
            return functions
                .iter()
                .filter(|known| known.name == found.name)
                .collect();
        }
        functions
            .iter()
            .filter(|known| known.name.contains(text))
            .collect()
    }

    fn chosen(&self, text: &str) -> Result<Vec<&FunctionInfo>, CliError> {
        let found = self.named(text);
        if found.is_empty() && !text.is_empty() {
            let message = format!("no function's name holds `{text}`");
            return Err(CliError::not_found("function-not-found", message)
                .hint("`.functions` lists them all"));
        }
        Ok(found)
    }

    fn function_help(&self, name: &str) -> Result<(), CliError> {
        for function in self.chosen(name)? {
            let target = format!("{}::{}", self.opened.shown, function.name);
            let help = signature::help(&function.ty, &function.docs, &target, self.ctx.output.out);
            self.print(|| app::function_json(function), &help)?;
        }
        Ok(())
    }

    fn functions(&self, text: &str) -> Result<(), CliError> {
        let style = self.ctx.output.out;
        for function in self.chosen(text)? {
            let mut text = format!("{}: {}\n", style.bold(&function.name), function.signature);
            if let Some(docs) = function.docs.trim().lines().next() {
                text += &format!("  {}\n", style.dim(docs));
            }
            self.print(|| app::function_json(function), &text)?;
        }
        Ok(())
    }

    fn types(&self) -> Result<(), CliError> {
        let functions = self.description.functions.iter();
        let types = signature::named_types(functions.map(|function| &*function.ty));
        let lines: Vec<String> = types.into_iter().map(signature::definition).collect();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.print(|| json!(lines), &text)
    }

    fn describe(&self) -> Result<(), CliError> {
        let text = app::describe_tree(self.ctx, &self.opened.shown, &self.description) + "\n";
        self.print(|| app::description_json(&self.description), &text)
    }

    fn limits_of(&self, name: &str) -> Result<(), CliError> {
        for function in self.chosen(name)? {
            let mut text = format!("{}\n", self.ctx.output.out.bold(&function.name));
            for line in app::limit_lines(&function.limits) {
                text += &format!("  {line}\n");
            }
            let json =
                || json!({ "name": function.name, "limits": app::limits_json(&function.limits) });
            self.print(json, &text)?;
        }
        Ok(())
    }

    fn grants_of(&self, name: &str) -> Result<(), CliError> {
        for function in self.chosen(name)? {
            let grants = match function.grants.join(", ") {
                none if none.is_empty() => "nothing".to_owned(),
                grants => grants,
            };
            let text = format!("{}: {grants}\n", self.ctx.output.out.bold(&function.name));
            self.print(
                || json!({ "name": function.name, "grants": function.grants }),
                &text,
            )?;
        }
        Ok(())
    }

    fn mounts(&self) -> Result<(), CliError> {
        let lines: String = self
            .description
            .mounts
            .iter()
            .map(|mount| app::mount_line(mount) + "\n")
            .collect();
        let mounts = self.description.mounts.iter().map(app::mount_json);
        self.print(|| mounts.collect(), &lines)
    }

    async fn logs(&self, rest: &str) -> Result<(), CliError> {
        let lines = match rest {
            "" => 100,
            text => text.parse().map_err(|_| {
                CliError::usage("bad-line", format!("`{text}` is not a number of lines"))
            })?,
        };
        let Some((app, _)) = self.opened.app() else {
            let message = "a component that is not deployed keeps no logs; what its calls write is shown as it comes";
            self.ctx.output.note(message);
            return Ok(());
        };
        let stream = self.opened.client.app_logs(app, Tail::lines(lines)).await?;
        logs::print(self.ctx, stream, true).await.map(|_| ())
    }
}

fn no_command(name: &str) -> CliError {
    let error = CliError::usage("bad-line", format!("`.{name}` is no command of the shell"));
    let known = COMMANDS
        .iter()
        .filter_map(|(command, _)| command[1..].split(' ').next());
    match crate::suggest::nearest(name, known) {
        Some(near) => error.hint(format!("did you mean `.{near}`?")),
        None => error.hint("`.help` lists them"),
    }
}
