//! What the node says about apps, as plain data.

use crate::blobs::to_digest;
use crate::error::{Error, Result};
use crate::limits::Limits;
use bytes::Bytes;
use lydian_api::v1;
use lydian_value::{Digest, FuncType};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An app and its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct App {
    /// The environment it is in.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// Whether it takes calls.
    pub state: AppState,
    /// The current version's number, from 1.
    pub version: u64,
    /// The current version's component.
    pub component: Digest,
    /// When the current version was deployed.
    pub deployed_at: SystemTime,
    /// How many functions it exports.
    pub functions: u32,
    /// Calls in flight.
    pub calls_running: u64,
    /// Opened, not deployed: it goes with its opener.
    pub ephemeral: bool,
    /// Ephemeral, and kept until it is stopped.
    pub detached: bool,
}

/// Whether an app takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AppState {
    /// It does.
    Deployed,
    /// It refuses them until it is deployed again.
    Stopped,
}

impl fmt::Display for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployed => "deployed",
            Self::Stopped => "stopped",
        })
    }
}

impl TryFrom<v1::App> for App {
    type Error = Error;

    fn try_from(app: v1::App) -> Result<Self> {
        Ok(Self {
            state: match app.state() {
                v1::app::State::Stopped => AppState::Stopped,
                _ => AppState::Deployed,
            },
            component: to_digest(&app.component)?,
            deployed_at: time(app.deployed_at_ms),
            environment: app.environment,
            name: app.name,
            version: app.version,
            functions: app.functions,
            calls_running: app.calls_running,
            ephemeral: app.ephemeral,
            detached: app.detached,
        })
    }
}

/// A function as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// As a target names it: `square`, `acme:img/resize#thumbnail`, `acme:img/resize#image.scale`.
    pub name: String,
    /// WIT text: `func(x: u64) -> u64`.
    pub signature: String,
    /// What its author wrote about it.
    pub docs: String,
    /// Its parameters and result.
    pub ty: Arc<FuncType>,
    /// The limits in force.
    pub limits: Limits,
    /// What it may use, one line each.
    pub grants: Vec<String>,
    /// The class it is a method of; empty for a function.
    pub class: String,
}

impl TryFrom<v1::Function> for FunctionInfo {
    type Error = Error;

    fn try_from(function: v1::Function) -> Result<Self> {
        let ty = serde_json::from_slice(&function.type_json).map_err(|error| {
            Error::broken(format!(
                "cannot read the type of function `{}`: {error}",
                function.name
            ))
        })?;
        Ok(Self {
            name: function.name,
            signature: function.signature,
            docs: function.docs,
            ty: Arc::new(ty),
            limits: function.limits.map(Limits::from).unwrap_or_default(),
            grants: function.grants,
            class: function.class,
        })
    }
}

/// What a version or a component offers and needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The app; none for a component that is not deployed.
    pub app: Option<App>,
    /// What can be called.
    pub functions: Vec<FunctionInfo>,
    /// What it imports: `wasi:filesystem/types@0.2.6`.
    pub imports: Vec<String>,
    /// Its world as WIT.
    pub wit: String,
    /// The manifest in force, as JSON; may be empty.
    pub manifest: Bytes,
    /// Size of the component; 0 when it is not known, for its stored bytes are gone.
    pub component_bytes: u64,
    /// Classes, whose methods are among the functions.
    pub classes: Vec<ClassInfo>,
    /// Directories shipped with it.
    pub mounts: Vec<MountInfo>,
    /// Programs of its crate that run on their caller's machine.
    pub entrypoints: Vec<EntrypointInfo>,
}

/// Methods that share the state of an instance, which is kept between calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassInfo {
    /// `model`; its methods are the functions `model#predict`.
    pub name: String,
    /// What it may be called by, without the class's name.
    pub methods: Vec<String>,
    /// What its author wrote about it.
    pub docs: String,
    /// The function that runs once per instance, before any method; empty when there is none.
    pub enter: String,
    /// The one that runs before a kept instance goes; empty when there is none.
    pub exit: String,
    /// How long an idle instance is kept.
    pub max_idle: Duration,
    /// How many calls an instance serves.
    pub max_calls: u64,
    /// How old an instance gets; none when it does not matter.
    pub max_age: Option<Duration>,
}

/// A directory that is shipped with an app and mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MountInfo {
    /// As the guest sees it: `/assets`.
    pub path: String,
    /// As its author wrote it: `./assets`.
    pub from: String,
    /// The digest of its listing.
    pub tree: Digest,
    /// Files in it.
    pub files: u64,
    /// Their sizes, summed.
    pub bytes: u64,
}

/// A program of the crate that runs on its caller's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntrypointInfo {
    /// As a target names it.
    pub name: String,
    /// What its author wrote about it.
    pub docs: String,
    /// Names and types of its arguments, in order.
    pub args: Vec<(String, String)>,
}

impl From<v1::Class> for ClassInfo {
    fn from(class: v1::Class) -> Self {
        Self {
            name: class.name,
            methods: class.methods,
            docs: class.docs,
            enter: class.enter,
            exit: class.exit,
            max_idle: Duration::from_millis(class.max_idle_ms),
            max_calls: class.max_calls,
            max_age: Some(Duration::from_millis(class.max_age_ms)).filter(|age| !age.is_zero()),
        }
    }
}

impl TryFrom<v1::Mount> for MountInfo {
    type Error = Error;

    fn try_from(mount: v1::Mount) -> Result<Self> {
        Ok(Self {
            path: mount.path,
            from: mount.from,
            tree: to_digest(&mount.tree)?,
            files: mount.files,
            bytes: mount.bytes,
        })
    }
}

impl From<v1::Entrypoint> for EntrypointInfo {
    fn from(entrypoint: v1::Entrypoint) -> Self {
        let args = entrypoint.args.into_iter();
        Self {
            name: entrypoint.name,
            docs: entrypoint.docs,
            args: args.map(|arg| (arg.name, arg.r#type)).collect(),
        }
    }
}

impl TryFrom<v1::DescribeResponse> for Description {
    type Error = Error;

    fn try_from(response: v1::DescribeResponse) -> Result<Self> {
        Ok(Self {
            app: response.app.map(App::try_from).transpose()?,
            functions: functions(response.functions)?,
            imports: response.imports,
            wit: response.wit,
            manifest: response.manifest,
            component_bytes: response.component_bytes,
            classes: response.classes.into_iter().map(ClassInfo::from).collect(),
            mounts: response
                .mounts
                .into_iter()
                .map(MountInfo::try_from)
                .collect::<Result<_>>()?,
            entrypoints: response
                .entrypoints
                .into_iter()
                .map(EntrypointInfo::from)
                .collect(),
        })
    }
}

fn functions(functions: Vec<v1::Function>) -> Result<Vec<FunctionInfo>> {
    functions.into_iter().map(FunctionInfo::try_from).collect()
}

/// What a deploy, a plan or a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployed {
    /// The version that is current now; for a plan, the one that is current still.
    pub version: u64,
    /// Component and manifest were those of the current version.
    pub unchanged: bool,
    /// What differs from the version before.
    pub changes: Vec<Change>,
    /// What can be called.
    pub functions: Vec<FunctionInfo>,
    /// What compiling took; none when the node did not say.
    pub compile: Option<CompileInfo>,
}

impl TryFrom<v1::DeployResponse> for Deployed {
    type Error = Error;

    fn try_from(response: v1::DeployResponse) -> Result<Self> {
        Ok(Self {
            version: response.version,
            unchanged: response.unchanged,
            changes: response.changes.into_iter().map(Change::from).collect(),
            functions: functions(response.functions)?,
            compile: response.compile.map(CompileInfo::from),
        })
    }
}

/// What compiling a component took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompileInfo {
    /// Time in the compiler; zero when `cached`.
    pub duration: Duration,
    /// An artifact was there already.
    pub cached: bool,
    /// Size of the component.
    pub component_bytes: u64,
    /// Size of the native code.
    pub artifact_bytes: u64,
}

impl From<v1::CompileInfo> for CompileInfo {
    fn from(info: v1::CompileInfo) -> Self {
        Self {
            duration: Duration::from_micros(info.compile_micros),
            cached: info.cached,
            component_bytes: info.component_bytes,
            artifact_bytes: info.artifact_bytes,
        }
    }
}

/// One difference between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// New, gone or different.
    pub kind: ChangeKind,
    /// `function square`, `limit square.timeout`, `grant train.network`, `component`.
    pub what: String,
    /// What it was; empty when new.
    pub before: String,
    /// What it is; empty when gone.
    pub after: String,
}

/// How two versions differ in one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Only the newer has it.
    Added,
    /// Only the older has it.
    Removed,
    /// Both have it, not alike.
    Changed,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

impl From<v1::Change> for Change {
    fn from(change: v1::Change) -> Self {
        Self {
            kind: match change.kind() {
                v1::change::Kind::Added => ChangeKind::Added,
                v1::change::Kind::Removed => ChangeKind::Removed,
                v1::change::Kind::Changed | v1::change::Kind::Unspecified => ChangeKind::Changed,
            },
            what: change.what,
            before: change.before,
            after: change.after,
        }
    }
}

/// One version of an app; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// From 1, without gaps.
    pub number: u64,
    /// Its component.
    pub component: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// When it was deployed.
    pub deployed_at: SystemTime,
    /// What whoever deployed it wrote.
    pub message: String,
    /// The source commit; `*` at its end when the tree was dirty.
    pub commit: String,
    /// Name and version of the deploying program.
    pub client: String,
    /// The version whose content this is, when it came from a rollback.
    pub rolled_back_to: Option<u64>,
    /// Whether it is the one that is called.
    pub current: bool,
}

impl TryFrom<v1::Version> for Version {
    type Error = Error;

    fn try_from(version: v1::Version) -> Result<Self> {
        Ok(Self {
            number: version.version,
            component: to_digest(&version.component)?,
            manifest: to_digest(&version.manifest_digest)?,
            deployed_at: time(version.deployed_at_ms),
            message: version.message,
            commit: version.commit,
            client: version.client,
            rolled_back_to: Some(version.rolled_back_to).filter(|number| *number > 0),
            current: version.current,
        })
    }
}

/// Unix milliseconds as a point in time.
pub(crate) fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms)
}

#[cfg(test)]
impl FunctionInfo {
    pub(crate) fn for_tests(name: &str) -> Self {
        let ty = FuncType::new(name, [("x", lydian_value::Type::U64)], None);
        Self {
            name: name.to_owned(),
            signature: ty.signature(),
            docs: String::new(),
            ty: Arc::new(ty),
            limits: Limits::default(),
            grants: Vec::new(),
            class: String::new(),
        }
    }
}

#[cfg(test)]
impl Description {
    pub(crate) fn for_tests(functions: Vec<FunctionInfo>) -> Self {
        Self {
            app: None,
            functions,
            imports: Vec::new(),
            wit: String::new(),
            manifest: Bytes::new(),
            component_bytes: 0,
            classes: Vec::new(),
            mounts: Vec::new(),
            entrypoints: Vec::new(),
        }
    }
}
