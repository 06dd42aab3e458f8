//! `Apps`: names in an environment whose versions are immutable.

use super::{Streamed, log_stream};
use crate::calls::log;
use crate::core::Core;
use crate::deploy;
use crate::ephemeral::is_ephemeral;
use crate::error::Error;
use crate::manifest::{Class, Manifest};
use crate::prepare;
use crate::resolve::{digest_of, environment};
use bytes::Bytes;
use futures::StreamExt;
use lydian_api::v1::apps_server::Apps;
use lydian_api::v1::describe_request::Of;
use lydian_api::v1::{self, app};
use lydian_store::{App, AppState, Version};
use lydian_value::{Digest, Interface};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct AppsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Apps for AppsService {
    async fn deploy(
        &self,
        request: Request<v1::DeployRequest>,
    ) -> Result<Response<v1::DeployResponse>, Status> {
        Ok(Response::new(self.0.deploy(request.into_inner()).await?))
    }

    async fn list(
        &self,
        request: Request<v1::ListAppsRequest>,
    ) -> Result<Response<v1::ListAppsResponse>, Status> {
        let wanted = request.into_inner().environment;
        let wanted = Some(wanted.as_str()).filter(|name| !name.is_empty());
        let mut apps = Vec::new();
        for app in self.0.store.catalog().apps(wanted) {
            apps.push(self.app(&app).await);
        }
        for (app, _) in self.0.ephemerals.apps(wanted) {
            apps.push(self.app(&app).await);
        }
        Ok(Response::new(v1::ListAppsResponse { apps }))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let described = match request.into_inner().of {
            Some(Of::App(reference)) => self.describe_app(&reference).await,
            Some(Of::Component(raw)) => match digest_of("component", &raw) {
                Ok(digest) => self.describe_component(digest, &Bytes::new(), None).await,
                Err(error) => Err(error),
            },
            None => Err(Error::invalid("of", "names neither an app nor a component")),
        };
        Ok(Response::new(described?))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let request = request.into_inner();
        let environment = environment(&request.environment);
        let app = self.0.resolver.existing(environment, &request.app)?;
        let versions = match is_ephemeral(&app.name) {
            true => self.0.ephemerals.versions(&app.name),
            false => self
                .0
                .store
                .catalog()
                .versions(environment, &request.app)
                .await
                .map_err(Error::from)?,
        };
        let versions = versions
            .iter()
            .map(|one| version(one, one.number == app.current.number))
            .collect();
        Ok(Response::new(v1::HistoryResponse { versions }))
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackRequest>,
    ) -> Result<Response<v1::DeployResponse>, Status> {
        Ok(Response::new(self.0.rollback(request.into_inner()).await?))
    }

    async fn stop(
        &self,
        request: Request<v1::StopRequest>,
    ) -> Result<Response<v1::StopResponse>, Status> {
        let request = request.into_inner();
        let environment = environment(&request.environment);
        let app = self.0.resolver.existing(environment, &request.app)?;
        if is_ephemeral(&app.name) {
            let calls_running = self.0.close_app(&app);
            return Ok(Response::new(v1::StopResponse { calls_running }));
        }
        let live = self.0.resolver.live(&app);
        self.0
            .store
            .catalog()
            .stop(environment, &request.app)
            .await
            .map_err(Error::from)?;
        self.0.warm.retire_old(environment, &request.app, None);
        Ok(Response::new(v1::StopResponse {
            calls_running: live.running.load(Ordering::Relaxed),
        }))
    }

    type LogsStream = Streamed<v1::LogChunk>;

    async fn logs(
        &self,
        request: Request<v1::AppLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let reference = request
            .app
            .ok_or_else(|| Error::invalid("app", "is missing"))?;
        let app = self
            .0
            .resolver
            .existing(environment(&reference.environment), &reference.app)?;
        let log = self.0.resolver.live(&app).log.clone();
        let function = request.function;
        let keep = move |chunk: &v1::LogChunk| function.is_empty() || chunk.function == function;
        let mut follower = log.follow();
        let mut first: Vec<_> = follower
            .ready()
            .unwrap_or_default()
            .into_iter()
            .filter(&keep)
            .collect();
        if request.tail_lines > 0 {
            first = log::tail(first, request.tail_lines as usize);
        }
        Ok(Response::new(
            log_stream(request.follow.then_some(follower), first, keep).boxed(),
        ))
    }

    async fn environments(
        &self,
        _: Request<v1::EnvironmentsRequest>,
    ) -> Result<Response<v1::EnvironmentsResponse>, Status> {
        let mut environments = self.0.store.catalog().environments();
        let ephemeral = self.0.ephemerals.apps(None);
        environments.extend(ephemeral.iter().map(|(app, _)| app.environment.clone()));
        environments.sort_unstable();
        environments.dedup();
        Ok(Response::new(v1::EnvironmentsResponse { environments }))
    }

    type OpenStream = Streamed<v1::OpenResponse>;

    async fn open(
        &self,
        request: Request<Streaming<v1::OpenRequest>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut requests = request.into_inner();
        let Some(v1::OpenRequest {
            part: Some(v1::open_request::Part::Open(open)),
        }) = requests.message().await?
        else {
            return Err(
                Error::invalid("part", "is not `open`: the first message opens the app").into(),
            );
        };
        let answers = self.0.open_app(open, requests).await?;
        Ok(Response::new(ReceiverStream::new(answers).boxed()))
    }
}

impl AppsService {
    async fn describe_app(&self, reference: &v1::AppRef) -> Result<v1::DescribeResponse, Error> {
        let environment = environment(&reference.environment);
        let app = self.0.resolver.existing(environment, &reference.app)?;
        let version = match reference.version {
            0 => app.current.clone(),
            number => self.0.resolver.version_of(&app, number).await?,
        };
        let mut shown = self.app(&app).await;
        // What is described is the version that was asked for, which callers then name in their calls.
        shown.version = version.number;
        shown.component = Bytes::copy_from_slice(version.component.as_bytes());
        self.describe_component(version.component, &version.manifest, Some(shown))
            .await
    }

    async fn describe_component(
        &self,
        digest: Digest,
        manifest: &Bytes,
        app: Option<v1::App>,
    ) -> Result<v1::DescribeResponse, Error> {
        let core = &self.0;
        let size = core.store.blobs().size(&digest).await?;
        // What was deployed may be described, and run, without its bytes.
        if size.is_none() && app.is_none() {
            return Err(Error::ComponentNotFound { digest });
        }
        let tenant = || match &app {
            Some(app) => prepare::tenant(&app.environment, &app.name),
            None => prepare::tenant("", ""),
        };
        let component = prepare::component(&core.engine, &core.store, digest, tenant)
            .await
            .map_err(|error| match &app {
                Some(app) => error.of_version(&app.environment, &app.name, app.version),
                None => error,
            })?;
        let interface = component.interface();
        let parsed = match &app {
            Some(_) => Manifest::parse(manifest)?,
            None => prepare::bare_manifest(&core.store, &component).await?,
        };
        let mut mounts = Vec::new();
        for point in parsed.mounts() {
            let tree = core.mounts.check(point).await?;
            mounts.push(v1::Mount {
                path: point.path.clone(),
                from: point.from.clone(),
                tree: Bytes::copy_from_slice(point.tree.as_bytes()),
                files: tree.files.len() as u64,
                bytes: tree.bytes(),
            });
        }
        let functions = deploy::functions(interface, &parsed, &core.limits());
        let told = functions
            .iter()
            .filter(|function| !function.docs.trim().is_empty());
        let docs: HashMap<&str, &str> = told
            .map(|function| (function.name.as_str(), function.docs.as_str()))
            .collect();
        let wit = lydian_value::with_docs(
            &interface.wit,
            |name| docs.get(name).copied(),
            |name| parsed.type_docs(name),
        );
        Ok(v1::DescribeResponse {
            app,
            wit,
            functions,
            imports: interface.imports.clone(),
            manifest: manifest.clone(),
            component_bytes: size.unwrap_or_default(),
            classes: parsed
                .classes()
                .iter()
                .map(|class| described(class, interface))
                .collect(),
            mounts,
            entrypoints: parsed.entrypoints().to_vec(),
        })
    }

    async fn app(&self, app: &Arc<App>) -> v1::App {
        v1::App {
            environment: app.environment.clone(),
            name: app.name.clone(),
            state: match app.state {
                AppState::Deployed => app::State::Deployed,
                AppState::Stopped => app::State::Stopped,
            }
            .into(),
            version: app.current.number,
            component: Bytes::copy_from_slice(app.current.component.as_bytes()),
            deployed_at_ms: app.current.deployed_at_ms,
            functions: self.0.functions_of(app).await,
            ephemeral: is_ephemeral(&app.name),
            detached: self.0.ephemerals.is_detached(&app.name),
            calls_running: self.0.resolver.live(app).running.load(Ordering::Relaxed),
        }
    }
}

fn described(class: &Class, interface: &Interface) -> v1::Class {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    v1::Class {
        name: class.name.clone(),
        methods: class.methods(interface).map(str::to_owned).collect(),
        docs: class.docs().to_owned(),
        enter: class.enter.clone().unwrap_or_default(),
        exit: class.exit.clone().unwrap_or_default(),
        max_idle_ms: millis(class.max_idle),
        max_calls: class.max_calls,
        max_age_ms: class.max_age.map_or(0, millis),
    }
}

fn version(version: &Version, current: bool) -> v1::Version {
    v1::Version {
        version: version.number,
        component: Bytes::copy_from_slice(version.component.as_bytes()),
        manifest_digest: Bytes::copy_from_slice(version.manifest_digest.as_bytes()),
        deployed_at_ms: version.deployed_at_ms,
        message: version.message.clone(),
        commit: version.commit.clone(),
        client: version.client.clone(),
        rolled_back_to: version.rolled_back_to.unwrap_or_default(),
        current,
    }
}
