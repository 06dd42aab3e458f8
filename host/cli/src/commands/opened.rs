//! What a TARGET names, on a node and ready for calls.
//!
//! | target | called as |
//! | --- | --- |
//! | `app[@version]` | that app |
//! | a file or crate that says nothing about itself | its bytes, by digest: nothing is kept anywhere |
//! | one with a manifest, or that calls other functions | an app of its own, which goes when the command ends |

use std::path::PathBuf;

use lydian_client::{
    Client, Description, Digest, EphemeralApp, Function, FunctionInfo, Limits, Session,
};
use lydian_value::Interface;
use serde_json::Value as Json;

use super::Ctx;
use super::connect::{self, Place, Work};
use super::limits::Whose;
use super::load::{self, named};
use super::ship;
use super::source::{Ready, Source};
use crate::docs::Documented;
use crate::manifest;
use crate::output::error::CliError;
use crate::output::progress::Progress;
use crate::output::signature;
use crate::target::{self, Code};

/// How many functions an error lists: about a screen.
const LISTED: usize = 40;

/// What a command wants of the code it opens.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Where the node must be when the code comes from here.
    pub(super) files: Place,
    pub(super) work: Work,
    /// Make an app of it whatever it says: one that can be described, replaced or kept.
    pub(super) app: bool,
    /// What the options of the command set for all functions, as a manifest.
    pub(super) settings: Json,
}

impl Wanted {
    /// Calls, as many as `work` says.
    pub(super) fn calls(work: Work) -> Self {
        Self {
            files: Place::Anywhere,
            work,
            app: false,
            settings: manifest::empty(),
        }
    }
}

/// Code that can be called.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) kind: Kind,
    /// As the user named it.
    pub(super) shown: String,
    /// The directory of the crate it was built from.
    crate_dir: Option<PathBuf>,
}

pub(super) enum Kind {
    App {
        name: String,
        /// Zero: the current one.
        version: u64,
    },
    Bare(Component),
    /// Lives as long as this value, unless it is detached.
    Own(Box<EphemeralApp>, Component),
}

/// A component, as the node and as the user know it.
pub(super) struct Component {
    digest: Digest,
    file: PathBuf,
}

impl Opened {
    /// Builds, sends and opens what `code` names.
    ///
    /// # Errors
    /// Exit 1: the crate does not build. Exit 2: not a component, or its manifest is refused. Exit 3: not there.
    pub(super) async fn new(
        ctx: &Ctx,
        code: &Code,
        wanted: Wanted,
        progress: &Progress,
    ) -> Result<Self, CliError> {
        if let Code::App { name, version } = code {
            let shown = version.map_or(name.clone(), |version| format!("{name}@{version}"));
            return Ok(Self {
                client: connect::connect(ctx, Place::Catalog, wanted.work).await?,
                kind: Kind::App {
                    name: name.clone(),
                    version: version.unwrap_or(0),
                },
                shown,
                crate_dir: None,
            });
        }
        let Some(source) = Source::of(code) else {
            return Err(CliError::usage("bad-target", "the target names no code"));
        };
        let ready = source.ready(progress)?;
        Self::of(ctx, &source, &ready, wanted, progress).await
    }

    /// Sends and opens what was built.
    pub(super) async fn of(
        ctx: &Ctx,
        source: &Source,
        ready: &Ready,
        wanted: Wanted,
        progress: &Progress,
    ) -> Result<Self, CliError> {
        let own = wanted.app || ready.needs_app();
        // Whoever calls others needs them, and room for them beside itself.
        let (files, work) = if ready.inside.calls {
            (Place::Catalog, Work::Many)
        } else {
            (wanted.files, wanted.work)
        };
        let client = connect::connect(ctx, files, work).await?;
        let manifest = match own {
            true => Some(ship::manifest(&client, source, ready, wanted.settings, progress).await?),
            false => None,
        };
        Self::on(client, source, ready, manifest.as_ref(), progress).await
    }

    /// Sends and opens what was built, on this node: as an app with this manifest, or by digest.
    pub(super) async fn on(
        client: Client,
        source: &Source,
        ready: &Ready,
        manifest: Option<&Json>,
        progress: &Progress,
    ) -> Result<Self, CliError> {
        progress.step(format!("preparing {}", target::short_name(&ready.file)));
        let component = Component {
            digest: ready.digest,
            file: ready.file.clone(),
        };
        let kind = if manifest.is_some() {
            let name = source.default_name(ready)?;
            let app = client.open_app(ready.bytes.clone(), manifest, &name).await;
            let app = app.map_err(|error| named(error, ready.digest, &ready.file))?;
            Kind::Own(Box::new(app), component)
        } else {
            client.put(ready.bytes.clone()).await?;
            Kind::Bare(component)
        };
        Ok(Self {
            client,
            kind,
            shown: source.shown(),
            crate_dir: source.crate_dir().map(Into::into),
        })
    }

    /// Whose the limits of its functions are.
    pub(super) fn limits_are(&self) -> Whose {
        match self.kind {
            Kind::App { .. } => Whose::Deployments,
            Kind::Own(..) => Whose::Own,
            Kind::Bare(_) => Whose::Callers,
        }
    }

    /// The name of the app; none for a bare component.
    pub(super) fn app(&self) -> Option<(&str, u64)> {
        match &self.kind {
            Kind::App { name, version } => Some((name, *version)),
            Kind::Own(app, _) => Some((app.name(), 0)),
            Kind::Bare(_) => None,
        }
    }

    /// One of its functions; the empty name is the only one's.
    pub(super) async fn function(&self, name: &str) -> Result<Function, CliError> {
        match self.look_up(name).await {
            Err(error)
                if error.code == "function-not-found" || error.code == "function-not-named" =>
            {
                Err(self.with_candidates(error, name).await)
            }
            found => found,
        }
    }

    /// Adds what could have been meant: all of it, where the client names a dozen.
    async fn with_candidates(&self, mut error: CliError, name: &str) -> CliError {
        let Ok(description) = self.describe().await else {
            return error;
        };
        let functions = description.functions.iter();
        let interface = Interface {
            functions: functions.map(|function| (*function.ty).clone()).collect(),
            ..Interface::default()
        };
        if let Err(none) = interface.function(name) {
            error.hints = none.hints();
            let more = error.hints.len().saturating_sub(LISTED);
            if more > 0 {
                error.hints.truncate(LISTED);
                let describe = format!("lydian app describe {}", signature::quote(&self.shown));
                error
                    .hints
                    .push(format!("and {more} more: `{describe}` lists them"));
            }
        }
        error
    }

    async fn look_up(&self, name: &str) -> Result<Function, CliError> {
        match &self.kind {
            Kind::App { name: app, version } => {
                load::app_function(&self.client, app, *version, name).await
            }
            Kind::Bare(component) => {
                let function = self.client.component_function(component.digest, name).await;
                function.map_err(|error| component.named(error))
            }
            Kind::Own(app, component) => {
                let function = self.client.function(app.name(), name).await;
                let function = function.map_err(|error| component.named(error));
                // The user knows the file, not the name it goes by here.
                function.map_err(|error| renamed(error, app.name(), &self.shown))
            }
        }
    }

    /// What it offers, needs and may do.
    pub(super) async fn describe(&self) -> Result<Description, CliError> {
        let described = match &self.kind {
            Kind::App { name, version } => self.client.describe_version(name, *version).await,
            Kind::Bare(component) => self.client.describe_component(component.digest).await,
            Kind::Own(app, _) => self.client.describe(app.name()).await,
        };
        let mut description = match &self.kind {
            Kind::Bare(component) => described.map_err(|error| component.named(error))?,
            _ => described?,
        };
        let functions = description.functions.iter_mut();
        functions.for_each(|function| self.explain(function));
        Ok(description)
    }

    /// A sandbox that several calls share.
    pub(super) async fn session(&self, limits: Limits) -> Result<Session, CliError> {
        let session = match &self.kind {
            Kind::App { name, version } => self.client.session_at(name, *version, limits).await,
            Kind::Bare(component) => {
                self.client
                    .component_session(component.digest, limits)
                    .await
            }
            Kind::Own(app, _) => self.client.session_with(app.name(), limits).await,
        };
        Ok(session?)
    }

    /// Adds what the crate's WIT says about a function.
    pub(super) fn explain(&self, function: &mut FunctionInfo) {
        if let Some(dir) = &self.crate_dir {
            Documented::read(dir).explain(function);
        }
    }

    /// Leaves an app of our own where it is, to be called by the name that is answered.
    ///
    /// # Errors
    /// Exit 2: the target names an app that is deployed, or the node ends with this command.
    pub(super) async fn detach(&mut self, ctx: &Ctx) -> Result<String, CliError> {
        if ctx.own_node.get().is_some() {
            let message = if connect::asks_embedded(ctx) {
                "`embedded` asks for a node that ends with this command, so the app cannot stay"
            } else {
                "no node is running that the app could stay on"
            };
            return Err(CliError::usage("no-node", message)
                .hint("start one with `lydian up`, or name one with `--url`"));
        }
        let deployed = Kind::App {
            name: String::new(),
            version: 0,
        };
        match std::mem::replace(&mut self.kind, deployed) {
            Kind::Own(app, _) => {
                let name = app.detach().await?;
                self.kind = Kind::App {
                    name: name.clone(),
                    version: 0,
                };
                Ok(name)
            }
            kind => {
                self.kind = kind;
                let message = format!("`{}` is deployed, and stays by itself", self.shown);
                Err(CliError::usage("not-ours", message).hint("leave `--detach` out"))
            }
        }
    }

    /// Takes an app of our own away; what is deployed stays.
    pub(super) async fn close(self) {
        if let Kind::Own(app, _) = self.kind {
            // It goes by itself when this side is gone; to ask is only sooner.
            let _ = app.close().await;
        }
    }
}

impl Component {
    fn named(&self, error: lydian_client::Error) -> CliError {
        named(error, self.digest, &self.file)
    }
}

/// An error about an ephemeral app, with what the user called it in place of its name.
fn renamed(mut error: CliError, app: &str, shown: &str) -> CliError {
    error.message = error
        .message
        .replace(&format!("app `{app}`"), &format!("`{shown}`"));
    error
}
