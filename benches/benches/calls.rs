//! Calls through the node, each beside what it is made of, over loopback, on the same machine in the same run.
//!
//! | measured | beside |
//! | --- | --- |
//! | `Calls.Invoke` of a no-op, fresh sandbox each | an empty tonic unary call (the health service's) |
//! | the same with 10,000 apps deployed | with 10 |
//! | `Calls.Map` of 100,000 trivial inputs | the engine's own rate, all processors, no network |
//! | memory of client and node during a map of a million inputs | during one of ten thousand |
//!
//! Covered: client, network, node, sandbox. Not covered: compiling, deploying.
//! `cargo xtask bench calls [invoke|apps|map|memory]`

use bytes::Bytes;
use futures::StreamExt;
use lydian_api::size::MAX_MESSAGE_BYTES;
use lydian_api::v1::calls_client::CallsClient;
use lydian_api::v1::map_response::Part;
use lydian_api::v1::{self, MapInputs, MapOpen, MapRequest, Target, map_request};
use lydian_benches::{Error, median, raw, resident, runtime, start, wanted};
use lydian_client::{Client, Function};
use lydian_engine::{Engine, Invocation, Options as EngineOptions};
use lydian_node::Options;
use lydian_value::Digest;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

const CALLS: usize = 20_000;
const INPUTS: u64 = 100_000;
/// Sizes of maps whose memory is compared.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// A machine too slow for a size does without it.
const TIME_FOR_ONE: Duration = Duration::from_secs(120);
const GUEST: &str = r#"(component
  (core module $m (func (export "noop")) (func (export "id") (param i64) (result i64) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "noop") (canon lift (core func $i "noop")))
  (func (export "id") (param "x" u64) (result u64) (canon lift (core func $i "id"))))"#;

fn main() -> Result<(), Error> {
    let wants = wanted();
    // A runtime of its own for the client, as it would be in another process.
    let (server, client) = (runtime()?, runtime()?);
    let (node, address) = server.block_on(start(Options::memory()))?;
    let channel = client.block_on(connect(address))?;
    let digest = client.block_on(put(channel.clone()))?;
    client.block_on(deploy(channel.clone(), digest, 0..10))?;
    if wants("invoke") {
        let empty = client.block_on(unary(channel.clone()))?;
        let call = client.block_on(invoke(channel.clone(), 10))?;
        println!(
            "invoke: empty unary p50 {empty:?}, no-op call p50 {call:?}, {:.2} x",
            ratio(call, empty)
        );
    }
    // Before parts that leave memory behind.
    if wants("memory") {
        client.block_on(memory(address))?;
    }
    if wants("map") {
        let engine = engine_rate(digest)?;
        let map = client.block_on(map(channel.clone()))?;
        println!(
            "map: engine {engine:.0}/s, map {map:.0}/s, {:.0} %",
            100.0 * map / engine
        );
    }
    if wants("apps") {
        let few = client.block_on(invoke(channel.clone(), 10))?;
        client.block_on(deploy(channel.clone(), digest, 10..10_000))?;
        let many = client.block_on(invoke(channel, 10_000))?;
        println!(
            "apps: 10 apps p50 {few:?}, 10,000 apps p50 {many:?}, {:.2} x",
            ratio(many, few)
        );
    }
    server.block_on(node.shutdown(Duration::ZERO));
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<Channel, Error> {
    Ok(Channel::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect()
        .await?)
}

fn calls(channel: Channel) -> CallsClient<Channel> {
    CallsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

async fn put(channel: Channel) -> Result<Digest, Error> {
    let bytes = wat::parse_str(GUEST)?;
    let digest = Digest::of(&bytes);
    let start = v1::PutStart {
        digest: raw(digest),
        size_bytes: bytes.len() as u64,
        offset_bytes: 0,
    };
    let parts = [
        start.into(),
        v1::put_request::Part::Data(bytes.into()).into(),
    ];
    v1::blobs_client::BlobsClient::new(channel)
        .put(futures::stream::iter(parts))
        .await?;
    Ok(digest)
}

async fn deploy(channel: Channel, digest: Digest, apps: std::ops::Range<u32>) -> Result<(), Error> {
    let mut client = v1::apps_client::AppsClient::new(channel);
    for app in apps {
        let request = v1::DeployRequest {
            app: format!("app-{app}"),
            component: raw(digest),
            ..Default::default()
        };
        client.deploy(request).await?;
    }
    Ok(())
}

/// One after the other: latency, not throughput.
async fn unary(channel: Channel) -> Result<Duration, Error> {
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let since = Instant::now();
        health
            .check(tonic_health::pb::HealthCheckRequest {
                service: String::new(),
            })
            .await?;
        times.push(since.elapsed());
    }
    Ok(median(times))
}

async fn invoke(channel: Channel, apps: usize) -> Result<Duration, Error> {
    let mut client = calls(channel);
    let mut times = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let target = Target::app("", format!("app-{}", n % apps), "noop");
        let request = v1::InvokeRequest {
            target: Some(target),
            ..Default::default()
        };
        let since = Instant::now();
        client.invoke(request).await?;
        times.push(since.elapsed());
    }
    Ok(median(times))
}

/// As many loops on the sandbox threads as there are.
fn engine_rate(digest: Digest) -> Result<f64, Error> {
    let directory = tempfile::tempdir()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let engine = Engine::new(EngineOptions::new(directory.path()))?;
        let bytes: Bytes = wat::parse_str(GUEST)?.into();
        let source =
            move || -> futures::future::BoxFuture<'static, Result<Bytes, std::io::Error>> {
                Box::pin(std::future::ready(Ok(bytes)))
            };
        engine.prepare(digest, source.clone()).await?;
        let function = engine.prepare(digest, source).await?.function("id")?;
        let threads = std::thread::available_parallelism()?.get() as u64;
        let since = Instant::now();
        let loops: Vec<_> = (0..threads * 2)
            .filter_map(|_| {
                let (engine, function) = (engine.clone(), function.clone());
                engine.clone().spawn(async move {
                    for n in 0..INPUTS / (threads * 2) {
                        let args = Bytes::copy_from_slice(&n.to_le_bytes());
                        engine.invoke(Invocation::new(function.clone(), args)).await;
                    }
                })
            })
            .collect();
        for one in loops {
            one.await?;
        }
        Ok(INPUTS as f64 / since.elapsed().as_secs_f64())
    })
}

async fn map(channel: Channel) -> Result<f64, Error> {
    let (sender, requests) = tokio::sync::mpsc::channel::<MapRequest>(8);
    let open = MapOpen {
        target: Some(Target::app("", "app-0", "id")),
        ordered: true,
        ..Default::default()
    };
    sender.send(map_request::Part::Open(open).into()).await?;
    let since = Instant::now();
    let mut answers = calls(channel)
        .map(ReceiverStream::new(requests))
        .await?
        .into_inner();
    let (mut credit, mut sent, mut results) = (0, 0, 0);
    let mut sender = Some(sender);
    while let Some(answer) = answers.next().await {
        match answer?.part {
            Some(Part::Credit(more)) => credit += more.inputs,
            Some(Part::Results(more)) => results += more.results.len() as u64,
            _ => {}
        }
        while let Some(open) = sender.as_ref().filter(|_| credit > 0) {
            let count = credit.min(1_000).min(INPUTS - sent);
            let args = (sent..sent + count)
                .map(|n| Bytes::copy_from_slice(&n.to_le_bytes()))
                .collect();
            open.send(
                map_request::Part::Inputs(MapInputs {
                    first_index: sent,
                    args,
                })
                .into(),
            )
            .await?;
            (sent, credit) = (sent + count, credit - count);
            if sent == INPUTS {
                sender = None;
            }
        }
    }
    if results != INPUTS {
        return Err(format!("{results} results").into());
    }
    Ok(INPUTS as f64 / since.elapsed().as_secs_f64())
}

/// What this process, which is node and client, has in memory at the peak of each map.
async fn memory(address: SocketAddr) -> Result<(), Error> {
    let client = Client::connect(&format!("http://{address}")).await?;
    let function = client.function("app-0", "id").await?;
    // Its pools, buffers and connections belong to all maps.
    largest(&function, SIZES[0]).await?;
    let mut rate = f64::INFINITY;
    for inputs in SIZES {
        if inputs as f64 / rate > TIME_FOR_ONE.as_secs_f64() {
            println!("memory: {inputs} inputs left out, they would take over {TIME_FOR_ONE:?}");
            continue;
        }
        let since = Instant::now();
        let peak = largest(&function, inputs).await?;
        rate = inputs as f64 / since.elapsed().as_secs_f64();
        println!(
            "memory: {inputs} inputs, {:.1} MiB at most, {rate:.0}/s",
            peak as f64 / f64::from(1 << 20)
        );
    }
    Ok(())
}

/// The most memory this process is seen to have during one map.
async fn largest(function: &Function, inputs: u64) -> Result<u64, Error> {
    /// Results between two looks.
    const EVERY: u64 = 1_000;
    let all = futures::stream::iter((0..inputs).map(|n| (n,)));
    let mut results = function.map_stream::<_, u64, _>(all);
    let (mut seen, mut largest) = (0, 0);
    while let Some(result) = results.next().await {
        result?;
        seen += 1;
        if seen % EVERY == 0 {
            largest = largest.max(resident("self")?);
        }
    }
    if seen != inputs {
        return Err(format!("{seen} results").into());
    }
    Ok(largest)
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
