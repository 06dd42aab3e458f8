//! Which node a command talks to.
//!
//! | given | file and crate targets | apps, deploys, calls |
//! | --- | --- | --- |
//! | `--url` or `LYDIAN_URL` | that node | that node |
//! | nothing | a node in this process, in memory | the node of the data directory or on the default port when one answers, else one in this process on the data directory |
//! | `embedded` | a node in this process, in memory | one in this process on the data directory |
//!
//! A node in this process has no listener. For a file it opens no database either: all it shares with
//! other processes is the cache of compiled artifacts.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lydian_client::{Client, DEFAULT_URL};
use lydian_node::{Node, Options, StartError};

use super::Ctx;
use crate::env;
use crate::log;
use crate::output::error::CliError;

/// What a command needs to find at its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: the code comes with the command.
    Anywhere,
    /// The deployed apps and the recorded calls.
    Catalog,
}

/// How much a node in this process must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// One call at most.
    One,
    /// As much as the machine carries.
    Many,
}

/// `--url embedded`: no other node, whatever runs.
pub(super) const EMBEDDED: &str = "embedded";
/// A file in the data directory that tells where its node listens.
const NODE_FILE: &str = "node.url";
/// A node on this machine answers at once or not at all.
const PROBE: Duration = Duration::from_millis(250);

/// The client a command uses, with its environment and token.
///
/// # Errors
/// Exit 3: the node that was asked for does not answer. Exit 1: no node can be started here.
pub(super) async fn connect(ctx: &Ctx, place: Place, work: Work) -> Result<Client, CliError> {
    let remote = match (&ctx.global.url, place) {
        (None, Place::Anywhere) => None,
        _ => running_node(ctx).await?,
    };
    let client = match remote {
        Some(client) => client,
        None => embedded(ctx, place, work).await?,
    };
    Ok(match &ctx.global.environment {
        Some(environment) => client.in_environment(environment),
        None => client,
    })
}

/// The node that runs elsewhere: the one asked for, else one on this machine, else none.
///
/// # Errors
/// Exit 3: the one asked for does not answer.
pub(super) async fn running_node(ctx: &Ctx) -> Result<Option<Client>, CliError> {
    let client = match ctx.global.url.as_deref() {
        Some(EMBEDDED) => return Ok(None),
        Some(url) => remote(url).await?,
        None => match local_node().await {
            Some(client) => client,
            None => return Ok(None),
        },
    };
    Ok(Some(client))
}

/// The node at `url`, told who is asking.
async fn remote(url: &str) -> Result<Client, lydian_client::Error> {
    let client = Client::connect(url).await?;
    match env::read(&env::TOKEN) {
        Some(token) => client.with_token(&token),
        None => Ok(client),
    }
}

/// The node of the data directory, else whichever listens where `lydian up` does by default.
async fn local_node() -> Option<Client> {
    let own = env::data_dir(None)
        .ok()
        .and_then(|dir| std::fs::read_to_string(node_file(&dir)).ok());
    for url in own
        .as_deref()
        .map(str::trim)
        .into_iter()
        .chain([DEFAULT_URL])
    {
        let address = url
            .strip_prefix("http://")
            .unwrap_or(url)
            .parse::<SocketAddr>()
            .ok();
        if address.is_none_or(|address| TcpStream::connect_timeout(&address, PROBE).is_err()) {
            continue;
        }
        // Something else may listen there: only a node counts.
        if let Ok(client) = remote(url).await
            && let Ok(answer) = tokio::time::timeout(PROBE * 4, client.node_info()).await
            // One that asks for another token is a node too; a command must not go on without it as if there were none.
            && matches!(answer, Ok(_) | Err(lydian_client::Error::NotAllowed(_)))
        {
            return Some(client);
        }
    }
    None
}

/// Where the node of a data directory says where it listens.
pub(super) fn node_file(data_dir: &Path) -> PathBuf {
    data_dir.join(NODE_FILE)
}

/// A node in this process; it lives as long as `ctx`.
async fn embedded(ctx: &Ctx, place: Place, work: Work) -> Result<Client, CliError> {
    log::start_if_asked(ctx.output.err.is_enabled());
    let data_dir = env::data_dir(None)?;
    let mut options = match place {
        Place::Catalog => Options::embedded(&data_dir),
        Place::Anywhere => {
            let mut options = Options::memory();
            options.artifacts = Some(data_dir.clone());
            options
        }
    };
    if work == Work::One {
        // Reserving room for thousands of sandboxes takes longer than a short call.
        options.max_sandboxes = Some(1);
        options.sandbox_threads = Some(1);
    }
    let node = Node::start(options)
        .await
        .map_err(|error| cannot_start(&data_dir, &error))?;
    let client = Client::from_service(node.routes());
    ctx.own_node.set(node, place == Place::Catalog);
    Ok(client)
}

/// A node that other processes reach as well, and its URL: one that runs, else one in this process that listens
/// on `address`.
///
/// # Errors
/// As of [`connect`]; exit 1 when the address cannot be listened on.
pub(super) async fn listening(
    ctx: &Ctx,
    address: SocketAddr,
) -> Result<(Client, String), CliError> {
    let (client, url) = match running_node(ctx).await? {
        Some(client) => (client.clone(), client.url().to_owned()),
        None => listen(ctx, address).await?,
    };
    Ok(match &ctx.global.environment {
        Some(environment) => (client.in_environment(environment), url),
        None => (client, url),
    })
}

async fn listen(ctx: &Ctx, address: SocketAddr) -> Result<(Client, String), CliError> {
    log::start_if_asked(ctx.output.err.is_enabled());
    let data_dir = env::data_dir(None)?;
    let options = Options::embedded(&data_dir);
    // Its callers are other processes, so it does not share this command's one thread.
    let runtime = super::serving()?;
    let started = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let node = Node::start(options).await;
        if let Ok(node) = &node {
            let node = node.clone();
            tokio::spawn(async move { node.serve_on(listener).await });
        }
        Ok((node, address))
    });
    let started = started
        .await
        .map_err(|error| not_listening(address, &error))?;
    // It lives as long as the process.
    std::mem::forget(runtime);
    let (node, address) =
        started.map_err(|error: std::io::Error| not_listening(address, &error))?;
    let node = node.map_err(|error| cannot_start(&data_dir, &error))?;
    let client = Client::from_service(node.routes());
    ctx.own_node.set(node, true);
    Ok((client, format!("http://{address}")))
}

fn not_listening(address: SocketAddr, error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(
        "cannot-listen",
        format!("cannot listen on `{address}`: {error}"),
    )
    .hint("choose another address with `--listen`, or start a node with `lydian up`")
}

/// Why no node can run here.
pub(super) fn cannot_start(data_dir: &Path, error: &StartError) -> CliError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // Transparent errors say the same as their cause.
        let text = error.to_string();
        if !message.ends_with(&text) {
            message += &format!(": {text}");
        }
        cause = error.source();
    }
    let shown = data_dir.display();
    let mut refused = CliError::failed(
        "cannot-start",
        format!("no node can run on `{shown}`: {message}"),
    );
    refused.hints = error.hints();
    refused.hint("`lydian doctor` says what else is missing")
}
