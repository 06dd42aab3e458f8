//! Apps that live as long as whoever opened them: in memory only, called like any other.
//!
//! One stream is one app. Its first message opens, later ones replace what the app runs: new calls run on the
//! newest version from the moment it is in the map, calls in flight hold the version they began on. A client that
//! fell silent, or whose stream ended a while ago, takes its app with it, unless it was detached. Until then it can go
//! on with the app over another stream, which takes the place of the one before, broken or not.
//!
//! Clients name versions in their calls, so earlier versions stay for a while: see [`KEPT_VERSIONS`].
//!
//! Always true: an ephemeral name holds a `~`, which no deployed one may, so neither hides the other; what an
//! ephemeral app runs is kept from collection.

use crate::clock::now_ms;
use crate::core::Core;
use crate::deploy::Candidate;
use crate::error::Error;
use crate::resolve::environment;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use lydian_api::v1::open_request::Part as Asked;
use lydian_api::v1::open_response::Part as Said;
use lydian_api::v1::{
    self, AppCode, Closed, Detached, OpenApp, OpenRequest, OpenResponse, OpenedApp, RefusedCode,
};
use lydian_store::{App, AppState, Version};
use lydian_value::Digest;
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What tells an ephemeral name from a deployed one.
const MARK: char = '~';
/// Ephemeral apps of a node: a client that opens and forgets must not fill it.
const MAX_APPS: usize = 1_000;
/// Earlier versions that can still be called, at most; what they name is kept on disk.
const KEPT_VERSIONS: usize = 1_024;
/// Earlier versions that can still be called, however old.
const KEPT_ANYWAY: usize = 16;
/// How long other earlier versions can be called; clients ask for the newest every second.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Of a suggested name, what becomes part of the app's.
const MAX_NAME_BYTES: usize = 48;
/// Answers made ahead of a slow reader.
const ANSWERS_AHEAD: usize = 4;

/// The ephemeral apps of a node. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ephemerals(Arc<RwLock<HashMap<String, Kept>>>);

struct Kept {
    app: Arc<App>,
    /// Newest last, without the current one; each with when it was replaced.
    earlier: VecDeque<(Version, Instant)>,
    detached: bool,
    /// Of the stream that keeps it; cancelled when another takes its place.
    stream: CancellationToken,
}

/// Whether a name can only be an ephemeral app's.
pub(crate) fn is_ephemeral(name: &str) -> bool {
    name.contains(MARK)
}

impl Ephemerals {
    /// One app.
    pub(crate) fn app(&self, environment: &str, name: &str) -> Option<Arc<App>> {
        let apps = self.0.read();
        let kept = apps.get(name)?;
        (kept.app.environment == environment).then(|| kept.app.clone())
    }

    /// Those of one environment, or all; sorted. Each with whether it is detached.
    pub(crate) fn apps(&self, environment: Option<&str>) -> Vec<(Arc<App>, bool)> {
        let mut apps: Vec<_> = self
            .0
            .read()
            .values()
            .filter(|kept| environment.is_none_or(|wanted| wanted == kept.app.environment))
            .map(|kept| (kept.app.clone(), kept.detached))
            .collect();
        apps.sort_unstable_by(|a, b| key(&a.0).cmp(&key(&b.0)));
        apps
    }

    /// Whether an app outlives its opener.
    pub(crate) fn is_detached(&self, name: &str) -> bool {
        self.0.read().get(name).is_some_and(|kept| kept.detached)
    }

    /// All versions there still are, newest first.
    pub(crate) fn versions(&self, name: &str) -> Vec<Version> {
        let apps = self.0.read();
        let Some(kept) = apps.get(name) else {
            return Vec::new();
        };
        let earlier = kept.earlier.iter().rev().map(|(version, _)| version);
        std::iter::once(&kept.app.current)
            .chain(earlier)
            .cloned()
            .collect()
    }

    /// One version that there still is.
    ///
    /// # Errors
    /// [`lydian_store::Error::VersionNotFound`].
    pub(crate) fn version(&self, app: &App, number: u64) -> Result<Version, Error> {
        let found = self.0.read().get(&app.name).and_then(|kept| {
            let earlier = kept.earlier.iter().map(|(version, _)| version);
            std::iter::once(&kept.app.current)
                .chain(earlier)
                .find(|version| version.number == number)
                .cloned()
        });
        found.ok_or_else(|| {
            let (environment, app) = (app.environment.clone(), app.name.clone());
            lydian_store::Error::VersionNotFound {
                environment,
                app,
                version: number,
            }
            .into()
        })
    }

    /// Components and manifests of everything that can be called.
    pub(crate) fn code(&self) -> Vec<(Digest, Bytes)> {
        let apps = self.0.read();
        let code = |version: &Version| (version.component, version.manifest.clone());
        apps.values()
            .flat_map(|kept| {
                let earlier = kept.earlier.iter().map(|(version, _)| version);
                std::iter::once(&kept.app.current).chain(earlier).map(code)
            })
            .collect()
    }

    /// Gives an app to another stream.
    fn resume(&self, app: &App) -> Option<(Arc<App>, CancellationToken)> {
        let mut apps = self.0.write();
        let kept = apps.get_mut(&app.name)?;
        kept.stream.cancel();
        kept.stream = CancellationToken::new();
        Some((kept.app.clone(), kept.stream.clone()))
    }

    /// Whether the app goes with the stream: no other has taken its place, and it was not detached.
    fn goes_with(&self, name: &str, stream: &CancellationToken) -> bool {
        let apps = self.0.read();
        !stream.is_cancelled() && apps.get(name).is_some_and(|kept| !kept.detached)
    }

    /// Takes an app away; calls in flight finish.
    fn remove(&self, name: &str) -> Option<Arc<App>> {
        self.0.write().remove(name).map(|kept| kept.app)
    }

    /// Adds an app under a name that nobody has.
    fn add(
        &self,
        environment: &str,
        name: &str,
        version: Version,
    ) -> Result<(Arc<App>, CancellationToken), Error> {
        let mut apps = self.0.write();
        if apps.len() >= MAX_APPS {
            return Err(Error::TooManyEphemeral { max: MAX_APPS });
        }
        let name = loop {
            let name = format!("{name}{MARK}{}", random_suffix()?);
            if !apps.contains_key(&name) {
                break name;
            }
        };
        let app = Arc::new(App {
            environment: environment.to_owned(),
            name: name.clone(),
            state: AppState::Deployed,
            current: version,
        });
        let kept = Kept {
            app: app.clone(),
            earlier: VecDeque::new(),
            detached: false,
            stream: CancellationToken::new(),
        };
        let stream = kept.stream.clone();
        apps.insert(name, kept);
        Ok((app, stream))
    }

    /// Makes `version` the current one, with the next number; `None` when the app is gone.
    fn replace(&self, name: &str, mut version: Version) -> Option<Arc<App>> {
        let mut apps = self.0.write();
        let kept = apps.get_mut(name)?;
        version.number = kept.app.current.number + 1;
        kept.earlier
            .push_back((kept.app.current.clone(), Instant::now()));
        while kept.earlier.len() > KEPT_VERSIONS
            || kept.earlier.len() > KEPT_ANYWAY
                && kept
                    .earlier
                    .front()
                    .is_some_and(|(_, replaced)| replaced.elapsed() > KEPT_FOR)
        {
            kept.earlier.pop_front();
        }
        kept.app = Arc::new(App {
            current: version,
            ..App::clone(&kept.app)
        });
        Some(kept.app.clone())
    }

    fn detach(&self, name: &str) -> bool {
        let mut apps = self.0.write();
        let Some(kept) = apps.get_mut(name) else {
            return false;
        };
        kept.detached = true;
        true
    }
}

fn key(app: &App) -> (&str, &str) {
    (&app.environment, &app.name)
}

/// Six hexadecimal digits: to tell apps apart, not to keep them secret.
fn random_suffix() -> Result<String, Error> {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal(format!("the machine gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a suggested name gives to the app's: it is a hint from a file's name, so it is made to fit, not refused.
fn fitting(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(MAX_NAME_BYTES)
        .collect();
    match name.as_str() {
        "" => "app".to_owned(),
        _ => name,
    }
}

/// An app and the stream that keeps it.
struct Open {
    core: Arc<Core>,
    app: Arc<App>,
    client: String,
    /// Cancelled when another stream has taken its place.
    stream: CancellationToken,
    answers: mpsc::Sender<Result<OpenResponse, Status>>,
}

/// Why a stream is done with its app.
enum End {
    /// It went, or shall go, at once.
    Gone,
    /// The client's side ended: it may have more to do yet.
    Left,
    Detached,
    /// Another stream keeps it now.
    Replaced,
}

impl Core {
    /// `Apps.Open`, from its first message on. `requests` are the messages that follow it.
    pub(crate) async fn open_app<R>(
        self: &Arc<Self>,
        open: OpenApp,
        requests: R,
    ) -> Result<mpsc::Receiver<Result<OpenResponse, Status>>, Error>
    where
        R: Stream<Item = Result<OpenRequest, Status>> + Send + Unpin + 'static,
    {
        let arrived = Instant::now();
        if self.admission.draining() {
            return Err(Error::Draining);
        }
        let environment = environment(&open.environment);
        lydian_store::check_name("environment", environment)?;
        let (app, stream, candidate) = match open.resume.as_str() {
            "" => {
                let code = open
                    .code
                    .ok_or_else(|| Error::invalid("open.code", "is missing"))?;
                let candidate = self.code(&code).await?;
                let first = version(&candidate, &open.client);
                let name = fitting(&open.name);
                let (app, stream) = self.ephemerals.add(environment, &name, first)?;
                tracing::info!(environment, app = app.name, "opened an ephemeral app");
                (app, stream, candidate)
            }
            name => self.resume_app(environment, name).await?,
        };
        let swap = arrived.elapsed();
        let unchanged = !open.resume.is_empty();
        let deployed = self.deployed(&app, None, &candidate, unchanged).await;
        let (answers, reader) = mpsc::channel(ANSWERS_AHEAD);
        // The channel is empty, so there is room.
        let _ = answers.try_send(Ok(opened(&app, deployed, swap).into()));
        let open = Open {
            core: self.clone(),
            app,
            client: open.client,
            stream,
            answers,
        };
        tokio::spawn(open.serve(requests));
        Ok(reader)
    }

    /// An app whose stream broke, for another stream, with what it runs.
    async fn resume_app(
        &self,
        environment: &str,
        name: &str,
    ) -> Result<(Arc<App>, CancellationToken, Candidate), Error> {
        let app = self.resolver.existing(environment, name)?;
        if !is_ephemeral(name) {
            return Err(Error::invalid(
                "open.resume",
                "is no app that was opened like this",
            ));
        }
        let runs = AppCode {
            component: Bytes::copy_from_slice(app.current.component.as_bytes()),
            manifest: app.current.manifest.clone(),
        };
        let candidate = self.code(&runs).await?;
        // Gone in between: as if it had been before.
        let Some((app, stream)) = self.ephemerals.resume(&app) else {
            return self
                .resolver
                .existing(environment, name)
                .and(Err(Error::Internal(format!("app `{name}` came and went"))));
        };
        tracing::info!(environment, app = app.name, "resumed an ephemeral app");
        Ok((app, stream, candidate))
    }

    async fn code(&self, code: &AppCode) -> Result<Candidate, Error> {
        let digest = crate::resolve::digest_of("code.component", &code.component)?;
        // Its own only once it is open, so the caller's.
        let tenant = || crate::prepare::tenant("", "");
        self.candidate(digest, &code.manifest, tenant).await
    }

    /// Takes an ephemeral app away. Answers how many of its calls still run.
    pub(crate) fn close_app(&self, app: &Arc<App>) -> u64 {
        let running = self.resolver.live(app).running.load(Ordering::Relaxed);
        if self.ephemerals.remove(&app.name).is_some() {
            self.resolver.forget(app);
            self.warm.retire_old(&app.environment, &app.name, None);
            tracing::info!(
                environment = app.environment,
                app = app.name,
                "an ephemeral app is gone"
            );
        }
        running
    }
}

impl Open {
    async fn serve<R>(mut self, mut requests: R)
    where
        R: Stream<Item = Result<OpenRequest, Status>> + Send + Unpin,
    {
        let stream = self.stream.clone();
        let end = tokio::select! {
            // First, so that what comes late over an old stream changes nothing.
            biased;
            () = stream.cancelled() => End::Replaced,
            end = self.listen(&mut requests) => end,
        };
        match end {
            End::Detached | End::Replaced => return,
            End::Gone => {}
            End::Left => {
                // Ends the stream for the client.
                let (closed, _) = mpsc::channel(1);
                self.answers = closed;
                let grace = tokio::time::sleep(self.core.options.ephemeral_grace);
                tokio::select! {
                    () = self.stream.cancelled() => return,
                    () = grace => {}
                }
            }
        }
        if self.core.ephemerals.goes_with(&self.app.name, &self.stream) {
            self.core.close_app(&self.app);
        }
    }

    async fn listen<R>(&mut self, requests: &mut R) -> End
    where
        R: Stream<Item = Result<OpenRequest, Status>> + Send + Unpin,
    {
        let silence = self.core.options.ephemeral_silence;
        loop {
            let request = match tokio::time::timeout(silence, requests.next()).await {
                Ok(Some(Ok(request))) => request,
                Ok(None | Some(Err(_))) => return End::Left,
                Err(_) => {
                    let text = format!("nothing was heard for {} s", silence.as_secs_f32());
                    let _ = self.answers.try_send(Err(Status::deadline_exceeded(text)));
                    return End::Gone;
                }
            };
            // Stopped by somebody else.
            if self
                .core
                .ephemerals
                .app(&self.app.environment, &self.app.name)
                .is_none()
            {
                let text = format!("app `{}` was stopped", self.app.name);
                let _ = self.answers.try_send(Err(Status::aborted(text)));
                return End::Gone;
            }
            let (said, end) = match request.part {
                Some(Asked::Heartbeat(_)) => continue,
                Some(Asked::Code(code)) => (self.swap(code).await, None),
                Some(Asked::Detach(_)) => {
                    self.core.ephemerals.detach(&self.app.name);
                    (Said::Detached(Detached {}), Some(End::Detached))
                }
                Some(Asked::Close(_)) => {
                    let calls_running = self.core.close_app(&self.app);
                    (Said::Closed(Closed { calls_running }), Some(End::Gone))
                }
                Some(Asked::Open(_)) | None => {
                    let error = Error::invalid(
                        "part",
                        "is neither `code`, `heartbeat`, `detach` nor `close`",
                    );
                    let _ = self.answers.try_send(Err(error.into()));
                    return End::Left;
                }
            };
            // A client that does not read its answers is as good as one that does not beat.
            let sent = self.answers.send_timeout(Ok(said.into()), silence).await;
            match end {
                Some(end) => return end,
                None if sent.is_err() => return End::Left,
                None => {}
            }
        }
    }

    /// Runs other code from now on; what cannot run changes nothing.
    async fn swap(&mut self, code: AppCode) -> Said {
        let arrived = Instant::now();
        let candidate = match self.core.code(&code).await {
            Ok(candidate) => candidate,
            Err(error) => return refused(error),
        };
        let before = self.app.clone();
        let unchanged = candidate.is(&before.current);
        if !unchanged {
            let next = version(&candidate, &self.client);
            match self.core.ephemerals.replace(&before.name, next) {
                Some(app) => {
                    let current = Some(app.current.number);
                    let warm = &self.core.warm;
                    warm.retire_old(&app.environment, &app.name, current);
                    self.app = app;
                }
                None => {
                    return refused(Error::invalid(
                        "code",
                        "comes too late: the app was stopped",
                    ));
                }
            }
        }
        let swap = arrived.elapsed();
        let deployed = self
            .core
            .deployed(&self.app, Some(&before), &candidate, unchanged)
            .await;
        opened(&self.app, deployed, swap)
    }
}

fn version(candidate: &Candidate, client: &str) -> Version {
    Version {
        number: 1,
        component: candidate.component.digest(),
        manifest_digest: Digest::of(&candidate.manifest_json),
        manifest: candidate.manifest_json.clone(),
        deployed_at_ms: now_ms(),
        message: String::new(),
        commit: String::new(),
        client: client.to_owned(),
        rolled_back_to: None,
    }
}

fn opened(app: &App, deployed: v1::DeployResponse, swap: Duration) -> Said {
    Said::Opened(OpenedApp {
        environment: app.environment.clone(),
        name: app.name.clone(),
        deployed: Some(deployed),
        swap_micros: crate::convert::micros(swap),
    })
}

fn refused(error: Error) -> Said {
    Said::Refused(RefusedCode {
        code: error.code() as u32,
        message: error.to_string(),
        detail: Some(error.detail()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name comes from a file or a crate; whatever it is, the app gets one that can be called.
    #[test]
    fn any_suggested_name_becomes_a_fitting_one() {
        for (suggested, fits) in [
            ("hello", "hello"),
            ("my app.wasm", "my-app.wasm"),
            ("../~x", "x"),
            ("", "app"),
            ("☃", "app"),
        ] {
            assert_eq!(fitting(suggested), fits);
        }
        assert_eq!(fitting(&"n".repeat(100)).len(), MAX_NAME_BYTES);
    }
}
