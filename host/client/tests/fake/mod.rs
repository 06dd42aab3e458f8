//! A node made of mirrors: answers as one would, and remembers what it was asked.
//!
//! One app, `math`, whose functions are computed here. What a real node does only under stress or by
//! accident is asked for through [`Script`]. Each of its services is a file of its own, maps and sessions,
//! which are conversations, too.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a helper that several tests share, each in part"
)]

mod apps;
mod blobs;
mod calls;
mod map;
mod session;

use bytes::Bytes;
use lydian_api::v1::apps_server::AppsServer;
use lydian_api::v1::blobs_server::BlobsServer;
use lydian_api::v1::calls_server::CallsServer;
use lydian_api::v1::{self, outcome};
use lydian_client::Client;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the node shall do, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Bytes after which uploads break, one entry per attempt.
    pub break_uploads_after: Mutex<Vec<usize>>,
    /// Nothing is kept of uploads that break.
    pub forget_uploads: AtomicBool,
    /// What is held of an upload is being sent by somebody else.
    pub others_upload: AtomicBool,
    /// The version of `math`; version 2 has other types.
    pub version: AtomicU64,
    /// Inputs a map may have in flight.
    pub map_window: AtomicU64,
    /// Questions for a call's result that are answered "not yet", by call.
    pub not_yet: Mutex<HashMap<String, u64>>,
    /// Spawns that are recorded, and whose answers are lost.
    pub lose_spawns: AtomicU64,
    pub asked: Asked,
}

/// What happened.
#[derive(Default)]
pub struct Asked {
    pub describes: AtomicU64,
    pub puts: AtomicU64,
    pub put_bytes: AtomicU64,
    pub maps: AtomicU64,
    pub map_inputs: AtomicU64,
    /// Inputs sent beyond the credit.
    pub overdrawn: AtomicU64,
    pub maps_dropped: AtomicU64,
    pub invokes: Mutex<Vec<v1::InvokeRequest>>,
    pub tokens: Mutex<Vec<Option<String>>>,
    pub spawns: Mutex<Vec<v1::SpawnRequest>>,
    pub gets: AtomicU64,
    pub handles_dropped: Mutex<Vec<u32>>,
}

#[derive(Clone, Default)]
pub struct Fake {
    pub script: Arc<Script>,
    blobs: Arc<Mutex<HashMap<Bytes, Vec<u8>>>>,
    partial: Arc<Mutex<HashMap<Bytes, Vec<u8>>>>,
}

impl Fake {
    pub fn new() -> Self {
        let fake = Self::default();
        fake.script.version.store(1, SeqCst);
        fake.script.map_window.store(64, SeqCst);
        fake
    }

    pub fn routes(&self) -> Routes {
        Routes::new(AppsServer::new(self.clone()))
            .add_service(BlobsServer::new(self.clone()))
            .add_service(CallsServer::new(self.clone()))
    }

    pub fn client(&self) -> Client {
        Client::from_service(self.routes())
    }

    pub fn asked(&self) -> &Asked {
        &self.script.asked
    }

    /// Holds the beginning of an upload.
    pub fn hold(&self, bytes: &[u8], length: usize) {
        let digest = Bytes::copy_from_slice(lydian_client::Digest::of(bytes).as_bytes());
        let mut partial = self.partial.lock().unwrap();
        partial.insert(digest, bytes[..length].to_vec());
    }

    pub fn blob(&self, digest: &lydian_client::Digest) -> Option<Vec<u8>> {
        self.blobs
            .lock()
            .unwrap()
            .get(&digest.as_bytes()[..])
            .cloned()
    }
}

/// Odd numbers trap, the rest are squared.
fn square(args: &[u8]) -> Result<Bytes, v1::Failure> {
    let x = u64::from_le_bytes(args.try_into().unwrap());
    if x % 2 == 1 {
        return Err(v1::Failure {
            kind: v1::failure::Kind::Trap.into(),
            message: format!("function `square` trapped at {x}"),
            ..v1::Failure::default()
        });
    }
    Ok((x * x).to_le_bytes().to_vec().into())
}

fn outcome_of(result: Result<Bytes, v1::Failure>) -> v1::Outcome {
    v1::Outcome {
        result: Some(outcome::Result::from(result)),
        usage: Some(v1::Usage::default()),
    }
}
