//! How a node is set up.

use crate::serve::token::Token;
use lydian_engine::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Calls in line for a sandbox, all apps together: a second of work for the fastest guests.
const DEFAULT_MAX_WAITING: usize = 10_000;
/// Longest wait in line. A caller that waited half a minute is better told than kept.
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(30);
/// Ended calls that `explain` and `list` remember: at about 1 KiB each, 4 MiB.
const DEFAULT_KEPT_CALLS: usize = 4_096;
/// What is kept of one call's output.
const DEFAULT_CALL_LOG_BYTES: usize = 256 << 10;
/// What is kept of an app's output.
const DEFAULT_APP_LOG_BYTES: usize = 1 << 20;
/// What is kept of the output of calls that ended, all together.
const DEFAULT_KEPT_LOG_BYTES: usize = 64 << 20;
/// Arguments a map may have on the node beyond those done with.
const DEFAULT_MAP_WINDOW_BYTES: u64 = 16 << 20;
/// Time for a request's head, and for a connection to begin speaking: longer than any network takes.
const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is pinged, and how long it may take to answer: a caller that vanished is noticed within a minute.
const DEFAULT_PING_EVERY: Duration = Duration::from_secs(30);
const DEFAULT_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the rest of a request may stay away once it has begun. A network that is slower has
/// lost the connection.
const DEFAULT_RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer waits for its reader; one that is streamed, five times as long.
const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Durable calls in hand: those in line for a sandbox hold small arguments in memory.
const DEFAULT_MAX_SPAWNED_IN_HAND: usize = 1_024;
/// How often what has expired is removed.
const DEFAULT_COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a blob that nothing uses is kept: longer than any deploy takes from upload to commit.
const DEFAULT_BLOB_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls one client's call may lead to, all levels together: a fan-out of a hundred thousand is work, one of ten million
/// is a mistake or a bomb.
const DEFAULT_MAX_NESTED_CALLS: u64 = 100_000;
/// How long an opener of an ephemeral app may be silent: two of its beats, every 10 s, may be lost.
const DEFAULT_EPHEMERAL_SILENCE: Duration = Duration::from_secs(30);
/// How long an ephemeral app outlives its opener's stream: what the opener began may have a call to make yet.
const DEFAULT_EPHEMERAL_GRACE: Duration = Duration::from_secs(10);

/// Two payloads of the default limit at once, however small the machine.
const MIN_PAYLOAD_BUDGET_BYTES: u64 = 128 << 20;

/// Where a node keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In this directory.
    Directory(PathBuf),
    /// Nowhere: apps and calls are gone with the node. Compiled components go to a temporary directory.
    Memory,
}

/// How a node is set up. Start from [`Options::new`] or [`Options::memory`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    pub data: Data,
    /// Where compiled components are kept; `None`: with the rest. A node that keeps nothing else need not compile again
    /// what an earlier one did.
    pub artifacts: Option<PathBuf>,
    /// Where to listen; `None` for a node that is used in process only.
    pub listen: Option<SocketAddr>,
    /// Shown by every gRPC request that comes over the network, health checks apart; `None`: nobody is asked.
    pub token: Option<Token>,
    /// Host names that requests to a loopback address may name besides those of loopback, `*.example.org` for all
    /// below one.
    pub allow_hosts: Vec<String>,
    /// Connections at once; `None`: as many as half of the process's descriptors.
    pub max_connections: Option<usize>,
    /// How long a connection may take to begin, and a request's head to come.
    pub head_timeout: Duration,
    /// How often an HTTP/2 connection is asked whether its other side is there.
    pub ping_every: Duration,
    /// How long it may take to answer before the connection is closed and its calls are cancelled.
    pub ping_timeout: Duration,
    /// How long a message may stop arriving before its request is ended.
    pub receive_timeout: Duration,
    /// How long an answer waits for its reader before it is given up; one that is streamed, five
    /// times as long.
    pub send_timeout: Duration,
    /// Limits in force where neither deployment nor caller sets any.
    pub limits: Limits,
    /// The most that any call may be given; what is not set has a built-in ceiling.
    pub limits_max: Limits,
    /// Bytes of all sandboxes together, with what is held for them and for callers; `None`: six
    /// tenths of the machine's memory.
    pub guest_memory_bytes: Option<u64>,
    /// Sandboxes at once; `None`: as many as the machine carries.
    pub max_sandboxes: Option<u32>,
    /// Threads that run guests; `None`: one per processor.
    pub sandbox_threads: Option<usize>,
    /// Sockets and connections that all functions together have open; `None`: a quarter of the process's descriptors.
    pub guest_sockets: Option<usize>,
    /// Components compiled at once; `None`: one per processor.
    pub compile_workers: Option<usize>,
    /// Memory of one compilation; `None`: what the machine can spare.
    pub compile_memory_bytes: Option<u64>,
    /// How far compiling stands back for calls, as `nice` counts. In a program that embeds a node,
    /// whose user waits for what is compiled, not at all.
    pub compile_niceness: u8,
    /// Compiled components kept on disk; `None`: the engine's own default.
    pub artifact_cache_bytes: Option<u64>,
    /// Calls in line for a sandbox before others are refused.
    pub max_waiting: usize,
    /// How long one call waits in line.
    pub max_wait: Duration,
    /// Bytes of requests held at once; `None`: an eighth of the machine's memory.
    pub payload_budget_bytes: Option<u64>,
    /// Ended calls that are remembered.
    pub kept_calls: usize,
    pub call_log_bytes: usize,
    pub app_log_bytes: usize,
    pub kept_log_bytes: usize,
    pub map_window_bytes: u64,
    /// Whether to run durable calls that other processes recorded. A node does; a program that embeds one for a
    /// moment runs its own alone.
    pub resume_spawned: bool,
    /// Durable calls claimed and not ended, those apart that functions wait for, and again of those at each depth.
    pub max_spawned_in_hand: usize,
    /// How long results of durable calls are kept.
    pub result_retention: Duration,
    /// How often what has expired is removed, and blobs that nothing uses.
    pub collect_every: Duration,
    /// How long a blob that nothing uses is kept.
    pub blob_grace: Duration,
    /// Calls that one client's call may lead to, all levels together, where its function's deployment says nothing else.
    pub max_nested_calls: u64,
    /// How long an ephemeral app's opener may be silent before the app is gone.
    pub ephemeral_silence: Duration,
    /// How long an ephemeral app outlives its opener's stream.
    pub ephemeral_grace: Duration,
}

impl Options {
    /// A node that keeps its state in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::with(Data::Directory(directory.into()), true)
    }

    /// A node that keeps nothing.
    pub fn memory() -> Self {
        Self::with(Data::Memory, true)
    }

    /// A node inside another program, over the state in `directory`, which others may use at the same time.
    pub fn embedded(directory: impl Into<PathBuf>) -> Self {
        Self::with(Data::Directory(directory.into()), false)
    }

    fn with(data: Data, resume_spawned: bool) -> Self {
        let compile_niceness = match resume_spawned {
            true => lydian_engine::compile::Options::default().niceness,
            false => 0,
        };
        Self {
            data,
            artifacts: None,
            listen: None,
            token: None,
            allow_hosts: Vec::new(),
            max_connections: None,
            head_timeout: DEFAULT_HEAD_TIMEOUT,
            ping_every: DEFAULT_PING_EVERY,
            ping_timeout: DEFAULT_PING_TIMEOUT,
            receive_timeout: DEFAULT_RECEIVE_TIMEOUT,
            send_timeout: DEFAULT_SEND_TIMEOUT,
            limits: Limits::default(),
            limits_max: Limits::UNSET,
            guest_memory_bytes: None,
            max_sandboxes: None,
            sandbox_threads: None,
            guest_sockets: None,
            compile_workers: None,
            compile_memory_bytes: None,
            compile_niceness,
            artifact_cache_bytes: None,
            max_waiting: DEFAULT_MAX_WAITING,
            max_wait: DEFAULT_MAX_WAIT,
            payload_budget_bytes: None,
            kept_calls: DEFAULT_KEPT_CALLS,
            call_log_bytes: DEFAULT_CALL_LOG_BYTES,
            app_log_bytes: DEFAULT_APP_LOG_BYTES,
            kept_log_bytes: DEFAULT_KEPT_LOG_BYTES,
            map_window_bytes: DEFAULT_MAP_WINDOW_BYTES,
            resume_spawned,
            max_spawned_in_hand: DEFAULT_MAX_SPAWNED_IN_HAND,
            result_retention: lydian_store::DEFAULT_RETENTION,
            collect_every: DEFAULT_COLLECT_EVERY,
            blob_grace: DEFAULT_BLOB_GRACE,
            max_nested_calls: DEFAULT_MAX_NESTED_CALLS,
            ephemeral_silence: DEFAULT_EPHEMERAL_SILENCE,
            ephemeral_grace: DEFAULT_EPHEMERAL_GRACE,
        }
    }

    /// Bytes of requests held at once.
    pub(crate) fn payload_budget(&self) -> u64 {
        self.payload_budget_bytes
            .unwrap_or_else(|| (memory_bytes() / 8).max(MIN_PAYLOAD_BUDGET_BYTES))
    }
}

/// Memory of the machine; that of a small one when it does not say.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(1 << 30, |kib| kib << 10)
}
