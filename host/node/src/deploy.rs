//! Deploying: a stored component and a manifest become an app's newest version.
//!
//! What can be found wrong is found here, before a version exists: the component is scanned, compiled and linked,
//! its imports are provided, the manifest is understood and names functions that are there. A call finds all of it
//! done.

mod changes;

use self::changes::{Changes, Described};
use crate::convert;
use crate::core::Core;
use crate::ephemeral::is_ephemeral;
use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::prepare;
use crate::resolve::{digest_of, environment};
use bytes::Bytes;
use lydian_api::v1;
use lydian_engine::{Component, Grants, Limits, Start};
use lydian_store::{App, NewVersion, Version};
use lydian_value::{Digest, FuncType, Interface};
use std::borrow::Cow;
use std::sync::Arc;

/// A component with the manifest that would be in force.
pub(crate) struct Candidate {
    pub(crate) component: Arc<Component>,
    component_bytes: u64,
    pub(crate) manifest_json: Bytes,
    pub(crate) manifest: Manifest,
}

impl Candidate {
    /// Whether a version is of this very content.
    pub(crate) fn is(&self, version: &Version) -> bool {
        version.component == self.component.digest() && version.manifest == self.manifest_json
    }
}

impl Core {
    /// `Apps.Deploy`.
    pub(crate) async fn deploy(
        &self,
        request: v1::DeployRequest,
    ) -> Result<v1::DeployResponse, Error> {
        if request.app.is_empty() {
            return Err(Error::invalid("app", "is empty: an app needs a name"));
        }
        let environment = environment(&request.environment);
        lydian_store::check_name("environment", environment)?;
        lydian_store::check_name("app", &request.app)?;
        // Before anything is compiled for it.
        Manifest::parse(&request.manifest)?;
        let digest = digest_of("component", &request.component)?;
        let tenant = || prepare::tenant(environment, &request.app);
        let candidate = self.candidate(digest, &request.manifest, tenant).await?;
        let current = self
            .store
            .catalog()
            .app(environment, &request.app)
            .ok()
            .flatten();
        let mut response = v1::DeployResponse {
            version: current.as_ref().map_or(0, |app| app.current.number),
            unchanged: current
                .as_ref()
                .is_some_and(|app| candidate.is(&app.current)),
            changes: self.changes(current.as_deref(), &candidate).await,
            functions: self.functions_in(&candidate),
            compile: Some(compile_info(&candidate)),
        };
        if request.dry_run {
            return Ok(response);
        }
        let deployed_app = request.app.clone();
        let version = NewVersion {
            environment: environment.to_owned(),
            app: request.app,
            component: digest,
            manifest: candidate.manifest_json,
            message: request.message,
            commit: request.commit,
            client: request.client,
        };
        let if_version = Some(request.if_version).filter(|version| *version != 0);
        let deployed = self.store.catalog().deploy(version, if_version).await?;
        let app = deployed_app.as_str();
        self.warm
            .retire_old(environment, app, Some(deployed.version.number));
        response.version = deployed.version.number;
        response.unchanged = deployed.unchanged;
        Ok(response)
    }

    /// `Apps.Rollback`.
    pub(crate) async fn rollback(
        &self,
        request: v1::RollbackRequest,
    ) -> Result<v1::DeployResponse, Error> {
        let environment = environment(&request.environment);
        let before = self.resolver.existing(environment, &request.app)?;
        if is_ephemeral(&request.app) {
            let reason = "is ephemeral: give its opener the earlier component instead";
            return Err(Error::invalid("app", reason));
        }
        let to = Some(request.version).filter(|version| *version != 0);
        let catalog = self.store.catalog();
        let to = match to {
            Some(to) => to,
            None => catalog.version_before(environment, &request.app).await?,
        };
        // A version whose component is gone or damaged must not become the current one.
        let version = catalog.version(environment, &request.app, to).await?;
        let tenant = || prepare::tenant(environment, &request.app);
        let candidate = self
            .candidate(version.component, &version.manifest, tenant)
            .await
            .map_err(|error| error.of_version(environment, &request.app, to))?;
        let changes = self.changes(Some(&before), &candidate).await;
        let client = concat!("lydian-node ", env!("CARGO_PKG_VERSION"));
        let deployed = catalog
            .rollback(environment, &request.app, Some(to), client)
            .await?;
        let current = deployed.version.number;
        self.warm
            .retire_old(environment, &request.app, Some(current));
        Ok(v1::DeployResponse {
            version: deployed.version.number,
            unchanged: deployed.unchanged,
            changes,
            functions: self.functions_in(&candidate),
            compile: Some(compile_info(&candidate)),
        })
    }

    /// What is said of a candidate that is `app`'s current version now.
    pub(crate) async fn deployed(
        &self,
        app: &App,
        before: Option<&App>,
        candidate: &Candidate,
        unchanged: bool,
    ) -> v1::DeployResponse {
        v1::DeployResponse {
            version: app.current.number,
            unchanged,
            changes: self.changes(before, candidate).await,
            functions: self.functions_in(candidate),
            compile: Some(compile_info(candidate)),
        }
    }

    fn functions_in(&self, candidate: &Candidate) -> Vec<v1::Function> {
        functions(
            candidate.component.interface(),
            &candidate.manifest,
            &self.limits(),
        )
    }

    /// Limits in force where nobody says anything.
    pub(crate) fn limits(&self) -> Limits {
        self.options.limits.or(&Limits::default())
    }

    /// Makes a component ready and reads its manifest, with `file` over it.
    pub(crate) async fn candidate(
        &self,
        digest: Digest,
        file: &[u8],
        tenant: impl FnOnce() -> String,
    ) -> Result<Candidate, Error> {
        // First, for it finds damage even where an artifact would do without the bytes.
        let bytes = self
            .store
            .blobs()
            .get(&digest)
            .await
            .map_err(|error| prepare::unreadable(digest, error))?;
        let component = prepare::component(&self.engine, &self.store, digest, tenant).await?;
        let manifest_json: Bytes = manifest::merged(manifest::section::find(&bytes)?, file)?.into();
        let manifest = Manifest::parse(&manifest_json)?;
        manifest.check_functions(component.interface())?;
        for function in &component.interface().functions {
            if let Some(above) = manifest
                .limits(&function.name)
                .above(self.engine.limits_max())
            {
                return Err(Error::above_ceiling(above));
            }
        }
        for mount in manifest.mounts() {
            self.mounts.check(mount).await?;
        }
        Ok(Candidate {
            component,
            component_bytes: bytes.len() as u64,
            manifest_json,
            manifest,
        })
    }

    /// What would be different from the current version. One that cannot be read any more is different as a
    /// whole: its repair is a deploy.
    async fn changes(&self, current: Option<&App>, candidate: &Candidate) -> Vec<v1::Change> {
        let mut changes = Changes::default();
        let limits = self.limits();
        let new = Described::of(
            candidate.component.interface(),
            &candidate.manifest,
            &limits,
        );
        let Some(current) = current else {
            changes.differ("component", "", &candidate.component.digest().short());
            changes.between(&Described::default(), &new, &limits);
            changes.mounts(&[], candidate.manifest.mounts());
            return changes.all();
        };
        let (before, after) = (current.current.component, candidate.component.digest());
        changes.differ("component", &before.short(), &after.short());
        let mounted_before = Manifest::parse(&current.current.manifest)
            .map(|manifest| manifest.mounts().to_vec())
            .unwrap_or_default();
        changes.mounts(&mounted_before, candidate.manifest.mounts());
        let tenant = || prepare::tenant(&current.environment, &current.name);
        let old = prepare::component(&self.engine, &self.store, before, tenant).await;
        let manifest = Manifest::parse(&current.current.manifest);
        let old = match (&old, &manifest) {
            (Ok(component), Ok(manifest)) => {
                Described::of(component.interface(), manifest, &limits)
            }
            _ => Described::default(),
        };
        changes.between(&old, &new, &limits);
        changes.all()
    }
}

fn compile_info(candidate: &Candidate) -> v1::CompileInfo {
    let prepared = candidate.component.prepared();
    v1::CompileInfo {
        compile_micros: convert::micros(prepared.compile),
        cached: prepared.start != Start::ColdCompile,
        component_bytes: candidate.component_bytes,
        artifact_bytes: prepared.artifact_bytes,
    }
}

/// The functions of an interface as the API tells them, with the limits in force.
pub(crate) fn functions(
    interface: &Interface,
    manifest: &Manifest,
    node: &Limits,
) -> Vec<v1::Function> {
    let one = |function: &FuncType| v1::Function {
        name: function.name.clone(),
        signature: function.signature(),
        docs: match manifest.docs(&function.name) {
            "" => function.docs.clone(),
            docs => docs.to_owned(),
        },
        // Types have no maps with odd keys, so this cannot fail.
        type_json: serde_json::to_vec(&explained(function, manifest))
            .unwrap_or_default()
            .into(),
        limits: Some(convert::limits(&manifest.limits(&function.name).or(node))),
        grants: grants(&manifest.grants(&function.name)),
        class: manifest
            .class_of(&function.name)
            .map_or_else(String::new, |class| class.name.clone()),
    };
    callable(interface, manifest).map(one).collect()
}

/// The function with what the manifest says of its types.
fn explained<'a>(function: &'a FuncType, manifest: &Manifest) -> Cow<'a, FuncType> {
    if manifest.has_type_docs() {
        Cow::Owned(function.with_type_docs(|name| manifest.type_docs(name)))
    } else {
        Cow::Borrowed(function)
    }
}

/// Without what only the platform calls.
fn callable<'a>(
    interface: &'a Interface,
    manifest: &'a Manifest,
) -> impl Iterator<Item = &'a FuncType> {
    let functions = interface.functions.iter();
    functions.filter(|function| manifest.is_callable(&function.name))
}

/// Grants as text. Values of environment variables stay with the manifest: a listing is not the place for them.
fn grants(grants: &Grants) -> Vec<String> {
    let network = grants.network.iter().map(|host| format!("network {host}"));
    let env = grants.env.iter().map(|(name, _)| format!("env {name}"));
    let args = (!grants.args.is_empty()).then(|| format!("args {}", grants.args.join(" ")));
    network.chain(env).chain(args).collect()
}
