//! The limits of one call: the options as the client takes them, and what a hint about one should name.
//!
//! A node names a limit by its key in the manifest. Who reads the hint sits at a command line: where the
//! option is what holds, the hint names the option, and elsewhere it says where the key stands.

use std::time::Duration;

use lydian_client::{Client, Error, Explanation, Failure, Limits};
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

/// Bounds on the arguments of a call with these limits.
pub(super) fn payload(limits: &Limits) -> lydian_value::Limits {
    let most = lydian_value::Limits::default();
    let bytes = limits
        .payload_bytes
        .and_then(|bytes| usize::try_from(bytes).ok());
    lydian_value::Limits {
        bytes: bytes.map_or(most.bytes, |bytes| bytes.min(most.bytes)),
        ..most
    }
}

/// Whose the limits of a call are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The caller's: nobody deployed the component, so the options set all of them.
    Callers,
    /// An app's of the command's own, where an option goes before the manifest.
    Own,
    /// A deployment's, which the options can only lower.
    Deployments,
}

/// Who decides each limit of a call.
pub(super) struct Setters {
    whose: Whose,
    given: Limits,
    /// In force when no option is given.
    deployed: Limits,
    /// The call is over and recorded, and the options are those of the spawn.
    recorded: bool,
}

impl Setters {
    pub(super) fn new(args: &LimitArgs, deployed: &Limits, whose: Whose) -> Self {
        Self {
            whose,
            given: of(args),
            deployed: deployed.clone(),
            recorded: false,
        }
    }

    /// Of a recorded call.
    pub(super) async fn of_call(client: &Client, explanation: &Explanation) -> Self {
        let Explanation { info, limits, .. } = explanation;
        let mut setters = Self {
            whose: Whose::Callers,
            given: limits.clone(),
            deployed: Limits::new(),
            recorded: true,
        };
        if !info.app.is_empty() {
            setters.whose = Whose::Deployments;
            let client = client.in_environment(&info.environment);
            let found = client.function_at(&info.app, info.version, &info.function);
            match found.await {
                Ok(function) => setters.deployed = function.info().limits,
                // Gone since; what its deployment set is as good a guess as any.
                Err(_) => setters.given = Limits::new(),
            }
        }
        setters
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

    /// The same of a failure that is shown with others.
    pub(super) fn failure(&self, mut failure: Failure) -> Failure {
        for hint in &mut failure.hints {
            *hint = self.reworded(hint);
        }
        failure
    }

    fn reworded(&self, hint: &str) -> String {
        // Who runs a file deploys nothing, and who deploys sets no option there.
        let mut text = hint.replace("deploy with a larger `", "raise `");
        let amounts = amounts(&self.given)
            .into_iter()
            .zip(amounts(&self.deployed));
        for ((key, given), (_, deployed)) in amounts {
            // An option above what the deployment set changes nothing, so raising it would not either.
            let lowered = given.is_some_and(|given| deployed.is_none_or(|d| given < d));
            let place = self.place(key, given.is_some(), lowered);
            text = text.replace(&format!("`{key}`"), &place);
        }
        text
    }

    /// Where a limit is set.
    fn place(&self, key: &str, given: bool, lowered: bool) -> String {
        match self.whose {
            Whose::Own if !given => format!("`--{key}` or `{key}` in lydian.toml"),
            Whose::Deployments if !lowered => {
                format!("`{key}` in lydian.toml or the function's attribute, and deploy again")
            }
            _ if self.recorded => format!("`--{key}` of `lydian spawn`"),
            _ => format!("`--{key}`"),
        }
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
        let none = LimitArgs::default;
        let option = "`--timeout`";
        let own = "`--timeout` or `timeout` in lydian.toml";
        let deploy = "`timeout` in lydian.toml or the function's attribute, and deploy again";
        for (args, whose, place) in [
            (none(), Whose::Callers, option),
            (none(), Whose::Own, own),
            (given(5), Whose::Own, option),
            (none(), Whose::Deployments, deploy),
            (given(1), Whose::Deployments, option),
            (given(60), Whose::Deployments, deploy),
        ] {
            let setters = Setters::new(&args, &deployed, whose);
            let expected = format!("give it more time with {place}");
            assert_eq!(setters.reworded(hint), expected, "{args:?} {whose:?}");
        }
    }

    /// `lydian deploy` has no option for a limit, and nobody deploys the file they run.
    #[test]
    fn nobody_is_told_to_deploy_with_an_option() {
        let hint = "send at most 5 bytes, or deploy with a larger `payload`";
        let setters = |whose| Setters::new(&LimitArgs::default(), &Limits::new(), whose);
        assert_eq!(
            setters(Whose::Callers).reworded(hint),
            "send at most 5 bytes, or raise `--payload`"
        );
        assert_eq!(
            setters(Whose::Deployments).reworded(hint),
            "send at most 5 bytes, or raise `payload` in lydian.toml or the function's attribute, and deploy again"
        );
    }
}
