//! WASI 0.2 and 0.3, wired to a sandbox's limits and grants.
//!
//! One linker per engine, built once. WASI 0.3 is all async, so only the engine for concurrent
//! components has it. Nothing of the host is inherited: no environment, no arguments, no files, no
//! standard input. Two things differ from wasmtime's own wiring: names are looked up through
//! [`Egress`], and files and sockets count against `open_files`.

use crate::calls;
use crate::config::Concurrency;
use crate::egress::Egress;
use crate::files;
use crate::grants::Grants;
use crate::limits::Limits;
use crate::network;
use crate::sandbox::Ctx;
use crate::stdio::Printer;
use std::time::Duration;
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder};

/// wasmtime's own bound on a block of HTTP headers.
pub(crate) const MAX_HTTP_FIELD_BYTES: usize = 128 << 10;
/// Most random bytes given at once, where the limit on host calls is higher. Nobody needs a mebibyte of entropy.
const MAX_RANDOM_BYTES: u64 = 1 << 20;
/// Clocks tick no finer than this. What a guest could measure below it is mostly its neighbours.
const CLOCK_RESOLUTION: Duration = Duration::from_micros(1);

/// Links everything a guest may import. What it was not granted answers so when it is used.
pub(crate) fn link(engine: &wasmtime::Engine, concurrency: Concurrency) -> Result<Linker<Ctx>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if concurrency == Concurrency::On {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    linker.allow_shadowing(true);
    network::link(&mut linker, concurrency)?;
    files::link(&mut linker, concurrency)?;
    linker.allow_shadowing(false);
    calls::host::link(&mut linker)?;
    Ok(linker)
}

/// The WASI state of one sandbox.
pub(crate) fn context(
    limits: &Limits,
    grants: &Grants,
    egress: &Egress,
    stdout: Printer,
    stderr: Printer,
) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    let check = egress.clone();
    let network = egress.any();
    builder
        .stdout(stdout)
        .stderr(stderr)
        .envs(&grants.env)
        .args(&grants.args)
        .max_random_size(limits.host_call_bytes.min(MAX_RANDOM_BYTES))
        .wall_clock(WallClock)
        .monotonic_clock(MonotonicClock(std::time::Instant::now()))
        .allow_tcp(network)
        .allow_udp(network)
        .allow_ip_name_lookup(network)
        .socket_addr_check(move |address, purpose| {
            let allowed = check.allows(address, purpose);
            Box::pin(async move { allowed })
        });
    for mount in &grants.mounts {
        let path = mount.directory.path();
        if let Err(error) = builder.preopened_dir(path, &mount.at, FsPerms::ReadOnly) {
            // The guest finds nothing at the path, and says so better than anyone else could.
            tracing::warn!(at = mount.at, %error, "cannot open a mounted directory");
        } else {
            egress.files.mount();
        }
    }
    builder.build()
}

struct WallClock;

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        CLOCK_RESOLUTION
    }

    fn now(&self) -> Duration {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        coarse(now)
    }
}

struct MonotonicClock(std::time::Instant);

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        CLOCK_RESOLUTION.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        coarse(self.0.elapsed())
            .as_nanos()
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

fn coarse(time: Duration) -> Duration {
    let step = CLOCK_RESOLUTION.as_nanos() as u32;
    Duration::new(time.as_secs(), time.subsec_nanos() / step * step)
}
