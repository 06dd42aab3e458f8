//! Why a node refuses a request, and what it says to the client.
//!
//! A function that ran and failed is not an error here but an [`lydian_engine::Outcome`]. [`Error::code`]
//! and [`Error::detail`] are the only places that map refusals to gRPC. Texts for clients hold no paths and
//! nothing of the machine; what the node's operator needs besides is logged where it happens.

use crate::ephemeral::is_ephemeral;
use lydian_api::v1::ErrorDetail;
use lydian_value::{Digest, NoFunction};
use std::time::Duration;
use tonic::{Code, Status};

/// A refused request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the request is missing or malformed.
    #[error("{field}: {reason}")]
    InvalidRequest { field: &'static str, reason: String },
    #[error("app `{app}` is not in environment `{environment}`")]
    AppNotFound {
        environment: String,
        app: String,
        hint: String,
    },
    #[error("app `{app}` in environment `{environment}` is stopped")]
    AppStopped { environment: String, app: String },
    /// No such function; or none was named, or too little of its name, although there are several.
    #[error("{of}: {error}")]
    FunctionNotFound { of: String, error: NoFunction },
    #[error("component `{digest}` is not on this node")]
    ComponentNotFound { digest: Digest },
    /// What is stored is not what was stored.
    #[error("component `{digest}` is damaged in the store")]
    ComponentDamaged { digest: Digest },
    /// As [`Error::ComponentDamaged`], or they are gone: what was deployed was there.
    #[error(
        "the stored component of app `{app}` version {version} in environment `{environment}` is damaged"
    )]
    VersionDamaged {
        environment: String,
        app: String,
        version: u64,
    },
    /// The bytes are no component this node can run.
    #[error("component `{}` cannot be run: {reason}", .digest.short())]
    ComponentRefused {
        digest: Digest,
        code: &'static str,
        reason: String,
        hints: Vec<String>,
    },
    /// The node could not make the component ready, through no fault of it.
    #[error("component `{}` could not be made ready: {reason}", .digest.short())]
    NotPrepared {
        digest: Digest,
        code: &'static str,
        reason: String,
        hints: Vec<String>,
    },
    #[error("manifest: {}{reason}", path_of(.path))]
    Manifest {
        path: String,
        reason: String,
        hint: Option<String>,
    },
    /// The arguments are not of the function's type.
    #[error("{error}")]
    Arguments {
        error: lydian_value::Error,
        signature: String,
    },
    #[error("the arguments take {bytes} bytes, over the payload limit of {limit} bytes")]
    ArgumentsTooLarge { bytes: u64, limit: u64 },
    #[error("call `{call}` is not known to this node")]
    CallNotFound { call: String },
    /// A synchronous call's value goes to its caller and nowhere else.
    #[error("the result of call `{call}` went to its caller and was not kept")]
    ResultNotKept { call: String },
    #[error("{waiting} calls wait for a sandbox already")]
    QueueFull { waiting: usize },
    #[error("{waiting} compilations of this app or caller wait already")]
    TooManyCompilations { waiting: usize },
    #[error("none of the {max} sandboxes came free within {waited:?}")]
    NoSandbox { waited: Duration, max: usize },
    #[error(
        "the node is full: {bytes} of its {limit} bytes of guest memory did not come free within {waited:?}"
    )]
    NoMemory {
        waited: Duration,
        bytes: u64,
        limit: u64,
    },
    #[error("the `{limit}` limit of {asked} is above this node's maximum of {most}")]
    AboveCeiling {
        limit: &'static str,
        asked: String,
        most: String,
    },
    #[error(
        "no room for {bytes} bytes of arguments: calls in flight hold the node's {limit} bytes"
    )]
    PayloadBudget { bytes: u64, limit: u64 },
    #[error("the node has {max} ephemeral apps already")]
    TooManyEphemeral { max: usize },
    #[error("the node is shutting down")]
    Draining,
    #[error("this node asks for a token")]
    NoToken,
    #[error("this node has another token than the one given")]
    WrongToken,
    /// On loopback, by a name that is not of loopback: a page of another site may be behind it.
    #[error("this node does not answer to the host name `{host}`")]
    HostNotAllowed { host: String },
    /// The catalog, the blobs or the durable calls.
    #[error("{}", store_text(.0))]
    Store(#[from] lydian_store::Error),
    /// A mistake of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

fn path_of(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("`{path}` ")
    }
}

/// The store's texts name paths and are for the operator; these are for clients.
fn store_text(error: &lydian_store::Error) -> String {
    use lydian_store::Error as Store;
    match error {
        Store::CorruptEntry { digest, .. } => format!("blob `{digest}` is damaged in the store"),
        Store::CorruptRecord { .. } => "a record of the catalog is damaged".into(),
        Store::DiskFull { bytes: 0, .. } => "the node's disk is full".into(),
        Store::DiskFull { bytes, .. } => {
            format!("the node's disk is full: no room for {bytes} bytes")
        }
        Store::Io { .. } | Store::Database { .. } | Store::CorruptDatabase { .. } => {
            "the node's storage failed".into()
        }
        other => other.to_string(),
    }
}

impl Error {
    pub(crate) fn above_ceiling((limit, asked, most): (&'static str, String, String)) -> Self {
        Self::AboveCeiling { limit, asked, most }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidRequest {
            field,
            reason: reason.into(),
        }
    }

    /// What a component's damage means to the version of an app that is made of it. The empty app is none.
    pub(crate) fn of_version(self, environment: &str, app: &str, version: u64) -> Self {
        match self {
            Self::ComponentNotFound { .. } | Self::ComponentDamaged { .. } if !app.is_empty() => {
                Self::VersionDamaged {
                    environment: environment.to_owned(),
                    app: app.to_owned(),
                    version,
                }
            }
            other => other,
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        use lydian_store::Error as Store;
        match self {
            Self::InvalidRequest { .. }
            | Self::ComponentRefused { .. }
            | Self::AboveCeiling { .. }
            | Self::Manifest { .. }
            | Self::Arguments { .. }
            | Self::ArgumentsTooLarge { .. } => Code::InvalidArgument,
            // Leaving out the name of one of several functions is a wrong request, not a missing thing.
            Self::FunctionNotFound { error, .. } if error.name.is_empty() => Code::InvalidArgument,
            Self::AppNotFound { .. }
            | Self::FunctionNotFound { .. }
            | Self::ComponentNotFound { .. }
            | Self::CallNotFound { .. } => Code::NotFound,
            Self::AppStopped { .. } | Self::ResultNotKept { .. } => Code::FailedPrecondition,
            Self::ComponentDamaged { .. } | Self::VersionDamaged { .. } => Code::DataLoss,
            Self::QueueFull { .. }
            | Self::NoSandbox { .. }
            | Self::NoMemory { .. }
            | Self::TooManyCompilations { .. }
            | Self::PayloadBudget { .. }
            | Self::TooManyEphemeral { .. } => Code::ResourceExhausted,
            Self::Draining | Self::NotPrepared { .. } => Code::Unavailable,
            Self::NoToken | Self::WrongToken => Code::Unauthenticated,
            Self::HostNotAllowed { .. } => Code::PermissionDenied,
            Self::Internal(_) => Code::Internal,
            Self::Store(error) => match error {
                Store::CorruptEntry { .. }
                | Store::CorruptRecord { .. }
                | Store::CorruptDatabase { .. } => Code::DataLoss,
                Store::DiskFull { .. } => Code::ResourceExhausted,
                Store::BlobNotFound { .. }
                | Store::JobNotFound { .. }
                | Store::AppNotFound { .. }
                | Store::VersionNotFound { .. } => Code::NotFound,
                Store::NoEarlierVersion { .. }
                | Store::VersionChanged { .. }
                | Store::Conflict(_) => Code::FailedPrecondition,
                Store::DigestMismatch { .. }
                | Store::SizeMismatch { .. }
                | Store::BlobTooLarge { .. }
                | Store::InvalidName { .. }
                | Store::InvalidManifest { .. } => Code::InvalidArgument,
                Store::Closed => Code::Unavailable,
                _ => Code::Internal,
            },
        }
    }

    /// The stable code, the subject and the hints.
    pub fn detail(&self) -> ErrorDetail {
        let detail = |code: &str, subject: &str| ErrorDetail::new(code, subject);
        match self {
            Self::InvalidRequest { field, .. } => detail("invalid-request", field),
            Self::AppNotFound { app, hint, .. } => detail("app-not-found", app).hint(hint),
            Self::AppStopped { app, .. } => {
                detail("app-stopped", app).hint("deploy it again to start it")
            }
            Self::FunctionNotFound { error, .. } => {
                let code = if error.name.is_empty() { "function-not-named" } else { "function-not-found" };
                error.hints().into_iter().fold(detail(code, &error.name), ErrorDetail::hint)
            }
            Self::ComponentNotFound { digest } => detail("component-not-found", &digest.to_string())
                .hint("upload it first: `lydian deploy` sends it, as `Client::put` does from a program"),
            Self::ComponentDamaged { digest } => detail("component-damaged", &digest.to_string())
                .hint("deploy the same component again: its entry is then whole"),
            Self::VersionDamaged { app, .. } => detail("version-damaged", app).hint(restoring(app)),
            Self::ComponentRefused { digest, code, hints, .. } | Self::NotPrepared { digest, code, hints, .. } => {
                hints.iter().fold(detail(code, &digest.to_string()), ErrorDetail::hint)
            }
            Self::Manifest { path, hint, .. } => {
                hint.iter().fold(detail("invalid-manifest", path), ErrorDetail::hint)
            }
            Self::Arguments { error, signature } => arguments_detail(error, signature),
            Self::ArgumentsTooLarge { limit, .. } => detail("arguments-too-large", "payload")
                .hint(format!("send at most {limit} bytes, or deploy with a larger `payload`")),
            Self::CallNotFound { call } => detail("call-not-found", call)
                .hint("synchronous calls are remembered for a while only; spawned ones for 7 days after their end"),
            Self::ResultNotKept { call } => {
                detail("result-not-kept", call).hint("spawn the call to have its result kept")
            }
            Self::QueueFull { .. } => detail("queue-full", "sandboxes")
                .hint("try again in a moment, send less at once, or add a node"),
            Self::TooManyCompilations { .. } => detail("too-many-compilations", "component")
                .hint("try again in a moment, and deploy fewer components at once"),
            Self::NoSandbox { .. } => detail("no-sandbox", "sandboxes")
                .hint("try again in a moment; `lydian calls list` shows what is running"),
            Self::NoMemory { .. } => detail("node-full", "memory").hint(
                "try again in a moment, run smaller functions, or give the node more with `--guest-memory`",
            ),
            Self::AboveCeiling { limit, .. } => detail("limit-too-high", limit).hint(
                "ask for less, or raise the node's maximum: `[limits.max]` in the `--config` file of `lydian up`",
            ),
            Self::PayloadBudget { .. } => detail("payload-budget", "payload")
                .hint("try again in a moment, or send fewer large arguments at once"),
            Self::TooManyEphemeral { .. } => detail("too-many-ephemeral-apps", "apps")
                .hint("`lydian app list` shows them; stop those that were detached and forgotten"),
            Self::Draining => {
                detail("draining", "node").hint("try again: another node, or this one once it is back")
            }
            Self::NoToken => {
                detail("no-token", "authorization").hint("set `LYDIAN_TOKEN` to the token the node was started with")
            }
            Self::WrongToken => detail("wrong-token", "authorization")
                .hint("set `LYDIAN_TOKEN` to the token the node was started with; it may have been changed"),
            Self::HostNotAllowed { host } => detail("host-not-allowed", host)
                .hint("use `localhost` or `127.0.0.1`, or allow the name: `lydian up --allow-host NAME`"),
            Self::Store(error) => {
                error.hint().into_iter().fold(detail(store_code(error), &store_subject(error)), ErrorDetail::hint)
            }
            Self::Internal(_) => detail("internal", "").hint("the node's log has more"),
        }
    }
}

/// How the component of an app comes back: by its content, which makes no new version.
fn restoring(app: &str) -> String {
    match is_ephemeral(app) {
        true => "start what opened the app again: its component is then sent once more".to_owned(),
        false => format!(
            "deploy the same component again, which restores it: `lydian deploy PATH --name {app}`"
        ),
    }
}

fn arguments_detail(error: &lydian_value::Error, signature: &str) -> ErrorDetail {
    let mut detail = ErrorDetail::new("wrong-argument-type", error.path());
    detail.hints = error.hints();
    let signature = format!("the function is `{signature}`");
    if !detail.hints.contains(&signature) {
        detail.hints.push(signature);
    }
    detail
}

fn store_code(error: &lydian_store::Error) -> &'static str {
    use lydian_store::Error as Store;
    match error {
        Store::CorruptEntry { .. } => "blob-damaged",
        Store::CorruptRecord { .. } | Store::CorruptDatabase { .. } => "catalog-damaged",
        Store::DiskFull { .. } => "disk-full",
        Store::BlobNotFound { .. } => "blob-not-found",
        Store::JobNotFound { .. } => "call-not-found",
        Store::AppNotFound { .. } => "app-not-found",
        Store::VersionNotFound { .. } => "version-not-found",
        Store::NoEarlierVersion { .. } => "no-earlier-version",
        Store::VersionChanged { .. } | Store::Conflict(_) => "version-changed",
        Store::DigestMismatch { .. } => "digest-mismatch",
        Store::SizeMismatch { .. } => "size-mismatch",
        Store::BlobTooLarge { .. } => "blob-too-large",
        Store::InvalidName { .. } => "invalid-name",
        Store::InvalidManifest { .. } => "invalid-manifest",
        Store::Closed => "draining",
        _ => "storage",
    }
}

fn store_subject(error: &lydian_store::Error) -> String {
    use lydian_store::Error as Store;
    match error {
        Store::CorruptEntry { digest, .. }
        | Store::BlobNotFound { digest }
        | Store::SizeMismatch { digest, .. }
        | Store::BlobTooLarge { digest, .. } => digest.to_string(),
        Store::DigestMismatch { expected, .. } => expected.to_string(),
        Store::JobNotFound { id } => id.to_string(),
        Store::AppNotFound { app, .. }
        | Store::VersionNotFound { app, .. }
        | Store::NoEarlierVersion { app, .. }
        | Store::VersionChanged { app, .. } => app.clone(),
        Store::InvalidName { name, .. } => name.clone(),
        _ => String::new(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = error.code();
        if matches!(code, Code::Internal | Code::DataLoss) {
            // The one place where the operator learns what the client must not.
            tracing::warn!(error = &error as &dyn std::error::Error, "request failed");
        }
        lydian_api::error::status(code, error.to_string(), &error.detail())
    }
}

/// The name most like a mistyped one, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `rate`?``, or the names there are.
pub(crate) fn known_names(there: &str, name: &str, known: &[&str]) -> String {
    const SHOWN: usize = 12;
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let shown: Vec<String> = known
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    match known.len() {
        0 => format!("{there} nothing"),
        1..=SHOWN => format!("{there} {}", shown.join(", ")),
        more => format!("{there} {} and {} more", shown.join(", "), more - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the store says it, without its path.
    #[test]
    fn a_full_disk_is_told_without_a_number_that_means_nothing() {
        let full = |bytes| {
            let path = "/data".into();
            Error::from(lydian_store::Error::DiskFull { path, bytes }).to_string()
        };
        assert_eq!(full(0), "the node's disk is full");
        assert_eq!(full(7), "the node's disk is full: no room for 7 bytes");
    }
}
