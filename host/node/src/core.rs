//! What a node consists of, shared by its services.

use crate::admission::{Bounds, Pools};
use crate::budget::{self, ByteBudget};
use crate::calls::id::CallIds;
use crate::calls::nested::lineage::Roots;
use crate::calls::recent::Recent;
use crate::calls::spawn::Spawner;
use crate::checks;
use crate::clock::now_ms;
use crate::ephemeral::Ephemerals;
use crate::manifest::Manifest;
use crate::mounts::Mounts;
use crate::node::StartError;
use crate::options::Options;
use crate::prepare;
use crate::resolve::Resolver;
use crate::serve::connections::Connections;
use crate::warm::Warm;
use lru::LruCache;
use lydian_engine::{Check, Engine};
use lydian_store::{App, LiveSet, Store};
use lydian_value::{Digest, Interface};
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Components whose number of functions is remembered; a listing of more apps reads some of them again.
const COUNTED_COMPONENTS: usize = 16_384;

/// How long the machine is taken to stay as it was checked: a check starts a process.
const CHECKS_VALID: Duration = Duration::from_secs(30);

/// The node without its network side.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) resolver: Resolver,
    pub(crate) ephemerals: Ephemerals,
    pub(crate) mounts: Mounts,
    pub(crate) admission: Pools,
    pub(crate) warm: Warm,
    pub(crate) budget: ByteBudget,
    pub(crate) recent: Recent,
    pub(crate) ids: CallIds,
    pub(crate) spawner: Spawner,
    pub(crate) roots: Roots,
    pub(crate) connections: Connections,
    pub(crate) started_at_ms: u64,
    function_counts: Mutex<LruCache<Digest, u32>>,
    checks: tokio::sync::Mutex<Option<(Instant, Vec<Check>)>>,
}

impl Core {
    /// Directories of apps are made below `directory`.
    pub(crate) fn new(
        options: Options,
        store: Store,
        engine: Engine,
        directory: &Path,
    ) -> Result<Self, StartError> {
        let stats = engine.stats();
        let plain = Bounds {
            concurrent: false,
            sandboxes: stats.sandboxes_max,
            // One sandbox of this pool takes one.
            stacks: stats.sandboxes_max,
            ledger: engine.ledger().clone(),
            waiting: options.max_waiting,
            wait: options.max_wait,
        };
        let concurrent = Bounds {
            concurrent: true,
            sandboxes: stats.concurrent_max,
            stacks: stats.stacks_max,
            ..plain.clone()
        };
        let admission = Pools::new(plain, concurrent);
        let ephemerals = Ephemerals::default();
        let failed = |source| StartError::Directory {
            path: directory.to_owned(),
            source,
        };
        let mounts = Mounts::open(store.clone(), directory).map_err(failed)?;
        Ok(Self {
            resolver: Resolver::new(
                store.clone(),
                ephemerals.clone(),
                mounts.clone(),
                engine.clone(),
                options.app_log_bytes,
            ),
            ephemerals,
            mounts,
            warm: Warm::new(engine.clone(), admission.clone()),
            admission,
            budget: ByteBudget::new(
                options.payload_budget(),
                budget::MAX_WAIT,
                engine.ledger().clone(),
            ),
            recent: Recent::new(options.kept_calls, options.kept_log_bytes),
            ids: CallIds::new().map_err(|_| StartError::Random)?,
            roots: Roots::default(),
            spawner: Spawner::new(&options.data, options.resume_spawned)?,
            connections: Connections::new(&options),
            started_at_ms: now_ms(),
            function_counts: Mutex::new(LruCache::new(
                NonZeroUsize::new(COUNTED_COMPONENTS).unwrap_or(NonZeroUsize::MIN),
            )),
            checks: tokio::sync::Mutex::new(None),
            options,
            store,
            engine,
        })
    }

    /// How many functions of an app can be called now; 0 when its component cannot be read, which is logged.
    /// Compiles nothing.
    pub(crate) async fn functions_of(&self, app: &App) -> u32 {
        let version = &app.current;
        let exported = match self.exports_of(version.component).await {
            Ok(exported) => exported,
            Err(error) => {
                let error = prepare::unreadable(version.component, error);
                let error = error.of_version(&app.environment, &app.name, version.number);
                tracing::warn!(%error, "cannot count functions");
                return 0;
            }
        };
        let hidden = Manifest::parse(&version.manifest).map_or(0, |manifest| manifest.hidden());
        exported.saturating_sub(hidden)
    }

    async fn exports_of(&self, digest: Digest) -> Result<u32, lydian_store::Error> {
        if let Some(count) = self.function_counts.lock().get(&digest) {
            return Ok(*count);
        }
        let engine = self.engine.clone();
        let known = tokio::task::spawn_blocking(move || engine.interface(&digest)).await;
        let interface = match known {
            Ok(Some(known)) => Ok(Some(known)),
            // Only now, for the bytes may be gone or damaged where all else of a component is well.
            _ => self.inspected(digest).await,
        }?;
        let functions = interface.map_or(0, |interface| interface.functions.len());
        let count = u32::try_from(functions).unwrap_or(u32::MAX);
        self.function_counts.lock().put(digest, count);
        Ok(count)
    }

    /// None when its bytes are no component.
    async fn inspected(&self, digest: Digest) -> Result<Option<Interface>, lydian_store::Error> {
        let bytes = self.store.blobs().get(&digest).await?;
        let bytes = async { Ok::<_, lydian_store::Error>(bytes) };
        Ok(self.engine.describe("", digest, bytes).await.ok())
    }

    /// What is used and the store does not know of: the code of ephemeral apps, and the directories of all.
    ///
    /// # Errors
    /// It cannot be known what is used.
    pub(crate) async fn live_blobs(&self) -> Result<LiveSet, lydian_store::Error> {
        let mut code = self.ephemerals.code();
        let mut live: LiveSet = code.iter().map(|(component, _)| *component).collect();
        code.extend(self.store.catalog().code().await?);
        let manifests = code.iter().map(|(_, manifest)| Manifest::parse(manifest));
        // One that this release does not read is of no version that it runs.
        let points = manifests
            .flatten()
            .flat_map(|manifest| manifest.mounts().to_vec());
        let trees = points.map(|point| point.tree).collect();
        live.extend(self.mounts.live(trees).await?);
        Ok(live)
    }

    /// What the machine offers, as of the last half minute, and what the node uses of it now.
    pub(crate) async fn checks(&self) -> Vec<Check> {
        let mut checks = self.machine_checks().await;
        checks.push(self.connections.check());
        checks
    }

    async fn machine_checks(&self) -> Vec<Check> {
        let mut known = self.checks.lock().await;
        if let Some((at, checks)) = &*known
            && at.elapsed() < CHECKS_VALID
        {
            return checks.clone();
        }
        let engine = self.engine.clone();
        let data = self.options.data.clone();
        let look = move || {
            let mut checks = engine.checks();
            checks.extend(checks::disk(&data));
            checks.extend(checks::private(&data));
            checks
        };
        let checks = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        *known = Some((Instant::now(), checks.clone()));
        checks
    }
}
