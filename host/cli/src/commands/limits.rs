//! The limits of one call: the options as the client takes them, and what a hint about one should name.
//!
//! A node names a limit by its key in the manifest. Who reads the hint sits at a command line: where the
//! option is what holds, the hint names the option, and elsewhere it says where the key stands.

use std::time::Duration;

use lydian_client::{Error, Limits};
use serde_json::{Value as Json, json};

use crate::args::limits::LimitArgs;
use crate::output::error::CliError;

/// The limits as the client takes them.
pub(super) fn of(args: &LimitArgs) -> Limits {
    let mut limits = Limits::new();
    limits.timeout = args.timeout;
    limits.cpu = args.cpu;
    limits.memory_bytes = args.memory.map(|size| size.0);
    limits.payload_bytes = args.payload.map(|size| size.0);
    limits.host_call_bytes = args.host_call_bytes.map(|size| size.0);
    limits.handles = args.handles;
    limits.open_files = args.open_files;
    limits.output_bytes = args.output.map(|size| size.0);
    limits.output_bytes_per_second = args.output_rate.map(|size| size.0);
    limits
}

/// The limits as a manifest: what the options set for an app of the command's own.
pub(super) fn manifest(args: &LimitArgs) -> Json {
    let limits = of(args);
    let time = |time: Option<Duration>| time.map(|time| json!(format!("{}ms", time.as_millis())));
    let entries = [
        ("timeout", time(limits.timeout)),
        ("cpu", time(limits.cpu)),
        ("memory", limits.memory_bytes.map(Json::from)),
        ("payload", limits.payload_bytes.map(Json::from)),
        ("host-call-bytes", limits.host_call_bytes.map(Json::from)),
        ("handles", limits.handles.map(Json::from)),
        ("open-files", limits.open_files.map(Json::from)),
        ("output", limits.output_bytes.map(Json::from)),
        (
            "output-rate",
            limits.output_bytes_per_second.map(Json::from),
        ),
    ];
    let set = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Json::Object(set.collect())
}

/// Who decides each limit of a call.
pub(super) struct Setters {
    /// Nobody deployed it, so the options set all of them.
    bare: bool,
    given: Limits,
    /// In force when no option is given.
    deployed: Limits,
}

impl Setters {
    pub(super) fn new(args: &LimitArgs, deployed: &Limits, bare: bool) -> Self {
        Self {
            bare,
            given: of(args),
            deployed: deployed.clone(),
        }
    }

    /// The error of a call, with its hints about limits in the caller's words.
    pub(super) fn explain(&self, error: CliError) -> CliError {
        let mut error = error;
        for hint in &mut error.hints {
            *hint = self.reworded(hint);
        }
        error
    }

    pub(super) fn error(&self, error: Error) -> CliError {
        self.explain(error.into())
    }

    fn reworded(&self, hint: &str) -> String {
        let mut text = hint.to_owned();
        let amounts = amounts(&self.given)
            .into_iter()
            .zip(amounts(&self.deployed));
        for ((key, given), (_, deployed)) in amounts {
            let quoted = format!("`{key}`");
            // An option above what the deployment set changes nothing, so raising it would not either.
            let by_option =
                self.bare || given.is_some_and(|given| deployed.is_none_or(|d| given < d));
            let named = if by_option {
                format!("`--{key}`")
            } else {
                format!("`{key}` in lydian.toml")
            };
            text = text.replace(&quoted, &named);
        }
        text
    }
}

/// Every limit by its key, which is its option's name too, as a number that compares.
fn amounts(limits: &Limits) -> [(&'static str, Option<u128>); 9] {
    let count = |n: Option<u32>| n.map(u128::from);
    let size = |n: Option<u64>| n.map(u128::from);
    [
        ("timeout", limits.timeout.map(|time| time.as_nanos())),
        ("cpu", limits.cpu.map(|time| time.as_nanos())),
        ("memory", size(limits.memory_bytes)),
        ("payload", size(limits.payload_bytes)),
        ("host-call-bytes", size(limits.host_call_bytes)),
        ("handles", count(limits.handles)),
        ("open-files", count(limits.open_files)),
        ("output", size(limits.output_bytes)),
        ("output-rate", size(limits.output_bytes_per_second)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::units::Bytes;

    /// A limit that does not arrive is one that nobody enforces.
    #[test]
    fn every_limit_option_arrives() {
        let size = |n| Some(Bytes(n));
        let args = LimitArgs {
            timeout: Some(Duration::from_millis(1)),
            cpu: Some(Duration::from_millis(2)),
            memory: size(3),
            payload: size(4),
            host_call_bytes: size(5),
            handles: Some(6),
            open_files: Some(7),
            output: size(8),
            output_rate: size(9),
        };
        let expected = Limits::new()
            .timeout(Duration::from_millis(1))
            .cpu(Duration::from_millis(2))
            .memory_bytes(3)
            .payload_bytes(4)
            .host_call_bytes(5)
            .handles(6)
            .open_files(7)
            .output_bytes(8)
            .output_bytes_per_second(9);
        assert_eq!(of(&args), expected);
        assert!(amounts(&of(&args)).iter().all(|(_, set)| set.is_some()));
        let manifest = manifest(&args);
        for (key, _) in amounts(&expected) {
            assert!(manifest.get(key).is_some(), "{key}");
        }
        assert_eq!(manifest["timeout"], "1ms");
    }

    /// A hint that names an option there is not would be worse than none.
    #[test]
    fn keys_are_options() {
        let command = crate::args::Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for (key, _) in amounts(&Limits::new()) {
            assert!(
                run.get_arguments().any(|arg| arg.get_long() == Some(key)),
                "{key}"
            );
        }
    }

    #[test]
    fn hints_name_what_the_caller_can_change() {
        let hint = "give it more time with `timeout`";
        let deployed = Limits::new().timeout(Duration::from_secs(5));
        let given = |seconds| LimitArgs {
            timeout: Some(Duration::from_secs(seconds)),
            ..LimitArgs::default()
        };
        let by_option = "give it more time with `--timeout`";
        let by_file = "give it more time with `timeout` in lydian.toml";
        for (args, bare, expected) in [
            (LimitArgs::default(), true, by_option),
            (LimitArgs::default(), false, by_file),
            (given(1), false, by_option),
            (given(60), false, by_file),
        ] {
            let setters = Setters::new(&args, &deployed, bare);
            assert_eq!(setters.reworded(hint), expected, "{args:?} {bare}");
        }
    }
}
