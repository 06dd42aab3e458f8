//! Where calls go: a node, a node inside this process, or threads of it.

use super::runtime;
use super::threads::{App, Threads};
use crate::{Error, ErrorKind, Result};
use lydian_client::{Client, Function};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

/// Names the back end when no code does: a URL, `native:` or `embedded:`.
const URL: &str = "LYDIAN_URL";
/// Names the app, where it is not deployed under its own name.
const APP: &str = "LYDIAN_APP";

/// Where the functions of this program run. Cheap to clone.
///
/// Chosen by code ([`set_backend`], [`with_backend`]) or else by the environment:
///
/// | `LYDIAN_URL` | |
/// | --- | --- |
/// | `http://host:port` | a node; see [`Backend::connect`] |
/// | `native:` | threads of this process; see [`Backend::native`] |
/// | `embedded:` | a node inside this process, with the feature `embedded` |
/// | not set | `embedded:` with that feature, else `http://127.0.0.1:7070` |
///
/// `LYDIAN_ENV` names the environment, `LYDIAN_APP` the app if it goes by another name than its own, as an ephemeral
/// one does.
#[derive(Debug, Clone)]
pub struct Backend(pub(super) Inner);

#[derive(Debug, Clone)]
pub(super) enum Inner {
    Node(Node),
    Threads(Arc<Threads>),
}

/// A client, and the functions it has found.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) client: Client,
    found: Arc<RwLock<HashMap<String, HashMap<String, Function>>>>,
    app: Option<Arc<str>>,
}

impl Node {
    /// The function, looked up once.
    pub(super) async fn function(&self, name: &crate::name::Name) -> Result<Function> {
        let app = match (name.other_app(), &self.app) {
            (None, Some(own)) if stands_for(own, name.app()) => own,
            _ => name.app(),
        };
        let known = self
            .found
            .read()
            .get(app)
            .and_then(|functions| functions.get(name.function()))
            .cloned();
        if let Some(function) = known {
            return Ok(function);
        }
        let function = self.client.function(app, name.function()).await?;
        let mut found = self.found.write();
        found
            .entry(app.to_owned())
            .or_default()
            .insert(name.function().to_owned(), function.clone());
        Ok(function)
    }
}

/// Whether an app's given name is another name of this one. An ephemeral app is called after its own name, `sweep~7f3a2c`,
/// so that it takes the place of no other app the same program calls; any other name is taken for every own app.
fn stands_for(given: &str, own: &str) -> bool {
    given.split_once('~').is_none_or(|(base, _)| base == own)
}

impl Backend {
    /// A node at `http://host:port`, in the environment `LYDIAN_ENV`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): not such a URL. [`Unavailable`](ErrorKind::Unavailable): no node
    /// answers there.
    ///
    /// ```no_run
    /// # async fn example() -> lydian::Result<()> {
    /// lydian::set_backend(lydian::Backend::connect("http://127.0.0.1:7070").await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<Self> {
        let url = url.to_owned();
        let client = on_own_threads(async move { Client::connect(&url).await }).await?;
        Ok(Self::client(match variable("LYDIAN_ENV")? {
            Some(environment) => client.in_environment(&environment),
            None => client,
        }))
    }

    /// Whatever a client of the host SDK is connected to.
    pub fn client(client: Client) -> Self {
        Self(Inner::Node(Node {
            client,
            found: Arc::default(),
            app: std::env::var(APP)
                .ok()
                .filter(|app| !app.is_empty())
                .map(Arc::from),
        }))
    }

    /// A node inside this process, with its state where `options` say.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable): its directory cannot be used.
    #[cfg(feature = "embedded")]
    pub async fn embedded(options: lydian_client::Options) -> Result<Self> {
        let client = on_own_threads(Client::embedded(options)).await?;
        Ok(Self::client(client))
    }

    /// Threads of this process: each call is the plain function, in a thread, with a debugger, breakpoints and all of
    /// the machine within reach. No sandbox, no limits, no grants, and no mounts (paths are those of this machine): for finding mistakes. A panic is a failed call, as a
    /// trap is. Another app is found when it was [added](Backend::with_app).
    ///
    /// ```
    /// #[lydian::app]
    /// mod app {
    ///     #[lydian::function]
    ///     pub fn square(x: u64) -> u64 {
    ///         x * x
    ///     }
    /// }
    ///
    /// # fn main() -> lydian::Result<()> {
    /// lydian::set_backend(lydian::Backend::native());
    /// assert_eq!(app::square::remote_blocking(4)?, 16);
    /// assert_eq!(app::square::map(0..4).blocking()?, [0, 1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn native() -> Self {
        Self(Inner::Threads(Arc::default()))
    }

    /// The same threads, where [`Function::lookup`](crate::Function::lookup) finds `app`, too: the `APP` of its module.
    /// Has no effect on a node, which knows its apps itself.
    #[must_use]
    pub fn with_app(self, app: App) -> Self {
        if let Inner::Threads(threads) = &self.0 {
            threads.add(app);
        }
        self
    }

    /// The client underneath; none for threads.
    pub fn as_client(&self) -> Option<&Client> {
        match &self.0 {
            Inner::Node(node) => Some(&node.client),
            Inner::Threads(_) => None,
        }
    }

    /// The one that the environment names.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): what it names is none. [`Unavailable`](ErrorKind::Unavailable):
    /// it does not answer.
    pub async fn from_env() -> Result<Self> {
        match variable(URL)?.as_deref() {
            Some("native:" | "native") => Ok(Self::native()),
            Some("embedded:" | "embedded") => Self::in_process().await,
            Some(url) => Self::connect(url).await,
            None if cfg!(feature = "embedded") => Self::in_process().await,
            None => Self::connect(lydian_client::DEFAULT_URL).await,
        }
    }

    #[cfg(feature = "embedded")]
    async fn in_process() -> Result<Self> {
        Self::embedded(lydian_client::Options::default()).await
    }

    #[cfg(not(feature = "embedded"))]
    async fn in_process() -> Result<Self> {
        Err(Error::with_hints(
            ErrorKind::InvalidArgument,
            "this program cannot run a node in its process",
            vec!["build it with the feature `embedded` of `lydian`, or set `LYDIAN_URL` to a node's URL or to `native:`".into()],
        ))
    }

    /// The one of the scope this runs in.
    pub(super) fn scoped() -> Option<Self> {
        SCOPED.try_with(Self::clone).ok()
    }

    /// The one for this call: of the scope, of the program, of the environment.
    pub(super) async fn current() -> Result<Self> {
        if let Some(scoped) = Self::scoped() {
            return Ok(scoped);
        }
        if let Some(set) = SET.read().clone() {
            return Ok(set);
        }
        let found = Self::from_env().await?;
        // Two that come at once may both connect; one stays.
        Ok(SET.write().get_or_insert(found).clone())
    }
}

static SET: RwLock<Option<Backend>> = RwLock::new(None);

tokio::task_local! {
    static SCOPED: Backend;
}

/// Sets where the functions of this program run, from the next call on.
pub fn set_backend(backend: Backend) {
    *SET.write() = Some(backend);
}

/// Has `work` use a back end of its own, such as one test of many.
///
/// ```
/// # #[lydian::app] mod app {
/// #     #[lydian::function] pub fn square(x: u64) -> u64 { x * x }
/// # }
/// # fn main() -> lydian::Result<()> {
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let threads = lydian::Backend::native();
/// let sixteen = lydian::with_backend(threads, app::square::remote(4)).await?;
/// # assert_eq!(sixteen, 16);
/// # Ok(()) })
/// # }
/// ```
pub async fn with_backend<T>(backend: Backend, work: impl Future<Output = T>) -> T {
    SCOPED.scope(backend, work).await
}

/// Runs plain code in the scope its caller was in; a thread of its own has none.
pub(super) fn in_scope<T>(scoped: Option<Backend>, work: impl FnOnce() -> T) -> T {
    match scoped {
        Some(backend) => SCOPED.sync_scope(backend, work),
        None => work(),
    }
}

/// Opens a connection where it can stay open, whatever becomes of the caller's own runtime.
async fn on_own_threads(
    work: impl Future<Output = lydian_client::Result<Client>> + Send + 'static,
) -> Result<Client> {
    let Some(handle) = runtime::handle() else {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "no thread can be started",
        ));
    };
    match handle.spawn(work).await {
        Ok(client) => Ok(client?),
        Err(_) => Err(Error::new(
            ErrorKind::Unavailable,
            "the connection was given up",
        )),
    }
}

/// An environment variable; an empty one is not set.
fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{name}` is not text"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that calls its own ephemeral app and a deployed one must not mistake one for the other.
    #[test]
    fn an_ephemeral_name_stands_for_its_own_app_only() {
        assert!(stands_for("sweep~7f3a2c", "sweep"));
        assert!(!stands_for("sweep~7f3a2c", "square"));
        assert!(stands_for("renamed", "sweep"));
    }
}
