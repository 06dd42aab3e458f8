//! `#[lydian::local_entrypoint]`: a `main` whose parameters are typed, on the caller's machine.

use super::runtime;
use lydian_value::{Args, FuncType, Limits};
use std::fmt::Display;
use std::process::ExitCode;

/// What the attribute knows about the function.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What is written about it.
    pub docs: &'static str,
    /// Its parameters, in kebab-case.
    pub params: &'static [&'static str],
}

/// What a local entrypoint may return.
pub trait Outcome {
    /// The message of a failure.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<T: Outcome, E: Display> Outcome for Result<T, E> {
    fn failure(self) -> Option<String> {
        match self {
            Ok(value) => value.failure(),
            // An error of ours brings its hints along.
            Err(error) => Some(format!("{error:#}")),
        }
    }
}

/// Wrong usage, as of the command line.
const USAGE: u8 = 2;

impl Entry {
    /// Reads the arguments of this process, runs `main` on threads of ours, and says how it went: 0; 1 for an error
    /// that was returned, which goes to stderr; 2 for wrong arguments.
    pub fn run<A: Args, F, O>(&self, main: impl FnOnce(A) -> F) -> ExitCode
    where
        F: Future<Output = O>,
        O: Outcome,
    {
        let given: Vec<String> = std::env::args().skip(1).collect();
        // What follows `--` are values, whatever they look like.
        let mut names = given.iter().take_while(|arg| *arg != "--");
        if names.any(|arg| arg == "--help" || arg == "-h") {
            println!("{}", self.help::<A>());
            return ExitCode::SUCCESS;
        }
        let args = match self.read::<A>(&given) {
            Ok(args) => args,
            Err(problem) => {
                eprintln!("error: {problem}\n\n{}", self.usage::<A>());
                return ExitCode::from(USAGE);
            }
        };
        let Some(handle) = runtime::handle() else {
            eprintln!("error: no thread can be started");
            return ExitCode::FAILURE;
        };
        match handle.block_on(main(args)).failure() {
            None => ExitCode::SUCCESS,
            Some(message) => {
                eprintln!("error: {message}");
                ExitCode::FAILURE
            }
        }
    }

    fn ty<A: Args>(&self) -> FuncType {
        let types = match A::ty() {
            lydian_value::Type::Tuple(types) => types.to_vec(),
            other => vec![other],
        };
        FuncType::new(self.name, self.params.iter().copied().zip(types), None)
    }

    /// Arguments in order or as `--name value`, typed by the signature.
    fn read<A: Args>(&self, given: &[String]) -> Result<A, String> {
        let ty = self.ty::<A>();
        let limits = Limits::default();
        let mut named: Vec<(String, String)> = Vec::new();
        let mut positional = Vec::new();
        let mut rest = given.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                positional.extend(rest.by_ref().cloned());
                break;
            }
            let names = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic());
            let Some(option) = arg.strip_prefix("--").filter(names) else {
                positional.push(arg.clone());
                continue;
            };
            match option.split_once('=') {
                Some((name, value)) => named.push((name.to_owned(), value.to_owned())),
                None => {
                    let value = rest
                        .next()
                        .ok_or_else(|| format!("`--{option}` needs a value"))?;
                    named.push((option.to_owned(), value.clone()));
                }
            }
        }
        let values = if named.is_empty() {
            ty.args_from_wave(&positional, &limits)
        } else {
            let free = self.params.iter().filter(|param| {
                !named
                    .iter()
                    .any(|(name, _)| lydian_value::names::means(name, param))
            });
            let mut free: Vec<String> = free.map(|param| (*param).to_owned()).collect();
            if positional.len() > free.len() {
                return Err(format!(
                    "too many arguments: `{}` takes {}",
                    self.name,
                    self.params.len()
                ));
            }
            named.extend(
                free.drain(..positional.len())
                    .zip(positional)
                    .collect::<Vec<_>>(),
            );
            ty.args_from_named(&named, &limits)
        };
        let bytes = values
            .and_then(|values| ty.encode_args(&values, &limits))
            .map_err(|error| told(&error))?;
        lydian_value::from_wire(&bytes, &limits).map_err(|error| told(&error))
    }

    fn usage<A: Args>(&self) -> String {
        let ty = self.ty::<A>();
        let params = ty.params.iter().map(|param| format!(" <{}>", param.name));
        format!("Usage: {}{}", self.name, params.collect::<String>())
    }

    fn help<A: Args>(&self) -> String {
        let ty = self.ty::<A>();
        let mut text = String::new();
        if !self.docs.is_empty() {
            text = format!("{}\n\n", self.docs);
        }
        text += &self.usage::<A>();
        for param in &ty.params {
            text += &format!("\n  <{}>  {}", param.name, param.ty);
        }
        text + "\n\nArguments are given in order or by name, `--name value`."
    }
}

/// What is wrong with an argument, and what to write.
fn told(error: &lydian_value::Error) -> String {
    let hints = error.hints();
    let hints = hints.iter().map(|hint| format!("\nhint: {hint}"));
    format!("{error}{}", hints.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWEEP: Entry = Entry {
        name: "sweep",
        docs: "Sweeps.",
        params: &["first-try", "rate"],
    };

    fn read(given: &[&str]) -> Result<(u32, Option<f64>), String> {
        let given: Vec<String> = given.iter().map(|arg| (*arg).to_owned()).collect();
        SWEEP.read(&given)
    }

    #[test]
    fn arguments_come_in_order_or_by_name() {
        assert_eq!(read(&["3"]), Ok((3, None)));
        assert_eq!(read(&["3", "0.5"]), Ok((3, Some(0.5))));
        assert_eq!(read(&["--rate", "0.5", "3"]), Ok((3, Some(0.5))));
        assert_eq!(read(&["--first_try=3"]), Ok((3, None)));
    }

    #[test]
    fn what_follows_two_dashes_is_a_value() {
        assert_eq!(read(&["--rate", "0.5", "--", "3"]), Ok((3, Some(0.5))));
        let error = read(&["--", "--rate"]).unwrap_err();
        assert!(error.contains("first-try: expected u32"), "{error}");
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert!(read(&["three"]).unwrap_err().contains("first-try"));
        assert!(read(&["--rat", "1"]).unwrap_err().contains("rate"));
        assert!(read(&["--rate"]).unwrap_err().contains("needs a value"));
        assert!(read(&["1", "2", "3"]).is_err());
        assert!(
            read(&["--rate", "1", "2", "3"])
                .unwrap_err()
                .contains("too many")
        );
    }

    /// What is shown for `--help` is what is written about the function, and its types.
    #[test]
    fn help_is_made_of_docs_and_types() {
        let help = SWEEP.help::<(u32, Option<f64>)>();
        assert!(
            help.starts_with("Sweeps.\n\nUsage: sweep <first-try> <rate>"),
            "{help}"
        );
        assert!(help.contains("option<f64>"), "{help}");
    }
}
