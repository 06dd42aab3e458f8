//! Keys this release does not know: those a later one brings, each with its sentence, and mistakes.

use super::Problem;
use crate::error::nearest;

/// What later releases bring, by every spelling a manifest may use.
const LATER: &[(&[&str], &str)] = &[
    (&["volumes", "volume"], "volumes"),
    (&["secrets", "secret"], "secrets"),
    (&["gpu", "gpus"], "GPUs"),
    (&["schedule", "schedules", "cron", "period"], "schedules"),
    (&["endpoint", "endpoints", "web"], "web endpoints"),
    (&["retries", "retry", "backoff", "dead-letter"], "retries"),
    (
        &["build", "image", "layers"],
        "image layers and build steps",
    ),
    (&["snapshot"], "snapshots of classes"),
    (&["warm"], "functions on warm sandboxes that are no classes"),
    (
        &["concurrency", "max-inputs", "rate", "requests-per-second"],
        "per-function rates and concurrency",
    ),
    (
        &["scaling", "min-instances", "max-instances", "keep-warm"],
        "scaling bounds",
    ),
    (&["queues", "queue"], "queues"),
    (&["dicts", "dict"], "dicts"),
    (&["cache"], "cached results"),
    (&["params", "parameters"], "class parameters"),
    (&["placement", "region", "nodes"], "placement"),
    (&["durable"], "durable maps"),
];

/// Why `key` is refused.
pub(super) fn problem(key: &str, known: &[&str]) -> Problem {
    if let Some((_, what)) = LATER.iter().find(|(keys, _)| keys.contains(&key)) {
        return Problem::new(format!(
            "is not supported by this release: {what} come with a later one"
        ))
        .hint(format!("remove `{key}` to deploy without it"));
    }
    let problem = Problem::new("is not a key of the manifest");
    match nearest(key, known.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint(format!("the keys are {}", quoted(known))),
    }
}

/// Why a function of this kind is refused.
pub(super) fn kind(kind: &str) -> Problem {
    match kind {
        "class" | "endpoint" | "schedule" | "build" | "stream" => Problem::new(format!(
            "is `{kind}`, which this release does not run; it comes with a later one"
        ))
        .hint("deploy the functions alone"),
        other => Problem::new(format!("is `{other}`, not `function`")),
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
