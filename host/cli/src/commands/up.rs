//! `lydian up`: a node on this machine, until it is told to stop.
//!
//! The first Ctrl-C (or SIGTERM) drains: no new calls, those in flight finish or go back to the queue. A
//! second one ends the process at once; what was recorded is still there.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use lydian_client::Client;
use lydian_node::Node;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind};

use super::Ctx;
use super::connect::cannot_start;
use super::nodes::NodeFile;
use crate::args::node::UpArgs;
use crate::env;
use crate::exit::Exit;
use crate::log;
use crate::node_config;
use crate::output::error::CliError;
use crate::output::tree::Tree;
use crate::signals;
use crate::units;

/// Reached from this machine only.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);
/// Longer than most calls, shorter than the patience of whoever stops a node.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

pub(super) async fn run(ctx: &Ctx, args: UpArgs) -> Result<Exit, CliError> {
    let started = Instant::now();
    log::start(ctx.output.err.is_enabled());
    let args = node_config::with_file(args)?;
    let data_dir = env::data_dir(args.data_dir.clone())?;
    let listen = args.listen.unwrap_or(DEFAULT_LISTEN);
    let options = node_config::options(&args, listen, &data_dir)?;
    let asks_for_token = options.token.is_some();
    raise_open_files();
    // The port first: a node that cannot listen should not open the store of one that does.
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| cannot_listen(listen, &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_listen(listen, &error))?;
    // Before anything is served: a signal must not find the default handler, which kills.
    let mut stop = Stop::new()?;
    let node = Node::start(options)
        .await
        .map_err(|error| cannot_start(&data_dir, &error))?;
    // Without it commands look at the default port only.
    let _named = NodeFile::write(&data_dir, &url(address)).ok();
    let mut serving = tokio::spawn({
        let node = node.clone();
        async move { node.serve_on(listener).await }
    });
    tell_ready(ctx, &node, address, &data_dir, started).await?;
    if !address.ip().is_loopback() && !asks_for_token {
        ctx.output.note(&format!(
            "everybody who reaches `{address}` can run code here: nobody is asked for a token"
        ));
    }
    tokio::select! {
        () = stop.asked() => {}
        served = &mut serving => {
            let why = match served {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(())) => "the listener was closed".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(CliError::failed("not-serving", format!("`{address}` is not served any more: {why}")));
        }
    }
    drain(ctx, &node, &mut stop, args.grace.unwrap_or(DEFAULT_GRACE)).await
}

/// The soft limit on descriptors is low for programs that use `select`; this one does not. What it is sized by comes next.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // With the lower one a node is smaller, and its checks say so.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: signals::listen(SignalKind::interrupt())?,
            terminate: signals::listen(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn drain(ctx: &Ctx, node: &Node, stop: &mut Stop, grace: Duration) -> Result<Exit, CliError> {
    ctx.output.note(&format!(
        "stopping; calls in flight have {} to finish, Ctrl-C again ends at once",
        units::duration(grace)
    ));
    tokio::select! {
        () = node.shutdown(grace) => {
            ctx.output.note("stopped");
            Ok(Exit::Ok)
        }
        () = stop.asked() => {
            ctx.output.note("ended at once; recorded calls run again when a node starts on this data directory");
            // Its last clone would wait for guests that do not end.
            std::mem::forget(node.clone());
            Ok(Exit::Interrupted)
        }
    }
}

/// Says that the node answers, through the same API its users have.
async fn tell_ready(
    ctx: &Ctx,
    node: &Node,
    address: SocketAddr,
    data_dir: &Path,
    started: Instant,
) -> Result<(), CliError> {
    let url = url(address);
    let info = Client::from_service(node.routes()).node_info().await?;
    if ctx.output.json {
        let ready = json!({
            "event": "ready",
            "url": url,
            "data_dir": data_dir,
            "sandboxes_max": info.sandboxes_max,
            "version": info.version,
            "engine": info.engine,
        });
        // One line, also on a terminal: whoever starts a node reads lines.
        return ctx.output.print(&format!("{ready}\n"));
    }
    let style = ctx.output.err;
    let took = units::duration(started.elapsed());
    let mut tree = Tree::new(format!(
        "{} node ready at {} in {took}",
        style.green("✓"),
        style.bold(&url)
    ));
    tree.add(format!("data in {}", data_dir.display()));
    tree.add(format!(
        "up to {} sandboxes at once, {}",
        units::count(info.sandboxes_max.into()),
        info.engine
    ));
    tree.add("Ctrl-C stops it");
    ctx.output.say(&tree.render(style));
    Ok(())
}

/// A node that listens everywhere is reached here through loopback.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
        _ => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> CliError {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => {
            let next = SocketAddr::new(address.ip(), port.checked_add(1).unwrap_or(7070));
            CliError::failed(
                "port-in-use",
                format!("port {port} of `{}` is in use", address.ip()),
            )
            .hint(format!(
                "a node may run there already: `lydian doctor --url {}`",
                url(address)
            ))
            .hint(format!("use another port: `lydian up --listen {next}`"))
        }
        ErrorKind::PermissionDenied => CliError::not_found(
            "port-not-allowed",
            format!("this user may not listen on port {port}"),
        )
        .hint("ports under 1024 are the administrator's; use `--listen 127.0.0.1:7070`"),
        ErrorKind::AddrNotAvailable => CliError::usage(
            "no-such-address",
            format!("this machine has no address `{}`", address.ip()),
        )
        .hint("`127.0.0.1` is this machine alone, `0.0.0.0` all its addresses"),
        _ => CliError::failed(
            "cannot-listen",
            format!("cannot listen on `{address}`: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_an_address_that_can_be_reached() {
        assert_eq!(
            url(SocketAddr::from(([127, 0, 0, 1], 7070))),
            "http://127.0.0.1:7070"
        );
        assert_eq!(
            url(SocketAddr::from(([0, 0, 0, 0], 80))),
            "http://127.0.0.1:80"
        );
        assert_eq!(
            url(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 80))),
            "http://[::1]:80"
        );
    }
}
