//! Which node a command talks to.
//!
//! | given | file and crate targets | apps, deploys, calls |
//! | --- | --- | --- |
//! | `--url` or `LYDIAN_URL` | that node | that node |
//! | nothing | a node in this process, in memory | a node of the data directory or on the default port when one answers, else one in this process on the data directory |
//! | `embedded` | a node in this process, in memory | one in this process on the data directory |
//!
//! A node in this process has no listener. For a file it opens no database either: all it shares with
//! other processes is the cache of compiled artifacts.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use lydian_client::{Client, DEFAULT_URL};
use lydian_node::{Node, Options, StartError};

use super::{Ctx, nodes};
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

/// A node of the data directory, else whichever listens where `lydian up` does by default.
async fn local_node() -> Option<Client> {
    let own = env::data_dir(None).map(|dir| nodes::living(&dir));
    let mut found = None;
    for url in own.unwrap_or_default() {
        match ask(&url).await {
            Some((client, Answer::Ready)) => return Some(client),
            // One of several that has work to take comes before one that has not.
            other => found = found.or(other),
        }
    }
    match found {
        Some((client, _)) => Some(client),
        None => ask(DEFAULT_URL).await.map(|(client, _)| client),
    }
}

/// Sandboxes for one call: the memories and tables of the largest component there may be take 16,
/// and each level of calls that functions make of one another takes some, with room to make several
/// at once.
const SANDBOXES_OF_ONE: u32 = 64;

/// How a node answers this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Ready,
    /// It is stopping, or asks for another token. A command must not go on without it as if there were none.
    Busy,
}

/// Asks what listens at `url`; none when it is no node.
async fn ask(url: &str) -> Option<(Client, Answer)> {
    let address = url.strip_prefix("http://").unwrap_or(url);
    let address = address.parse::<SocketAddr>().ok()?;
    TcpStream::connect_timeout(&address, PROBE).ok()?;
    let client = remote(url).await.ok()?;
    let answer = tokio::time::timeout(PROBE * 4, client.node_info()).await;
    let answer = match answer.ok()? {
        Ok(info) if !info.draining => Answer::Ready,
        Ok(_) | Err(lydian_client::Error::NotAllowed(_)) => Answer::Busy,
        // Something else listens there.
        Err(_) => return None,
    };
    Some((client, answer))
}

/// A node that lives on the data directory, whether it answers or not, and whatever `--url` says.
pub(super) fn node_beside() -> Option<String> {
    let dir = env::data_dir(None).ok()?;
    nodes::living(&dir).into_iter().next()
}

/// Whether the user asks for a node in this process.
pub(super) fn asks_embedded(ctx: &Ctx) -> bool {
    ctx.global.url.as_deref() == Some(EMBEDDED)
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
        options.max_sandboxes = Some(SANDBOXES_OF_ONE);
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
