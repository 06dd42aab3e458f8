//! Looking names up, for sockets and `wasi:http` alike.
//!
//! The system's resolver blocks a thread for as long as the name's servers take, which may be half
//! a minute and is theirs to choose. So these threads are none that anything else needs, and there
//! are few: so many for the node, of which one sandbox has so many. Who waits for one gives up by
//! dropping the future; a lookup that runs keeps its place until the resolver is done.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use tokio::sync::{Semaphore, oneshot};

/// Lookups at once in the process. Each is a thread and, for the resolver, a socket.
const NODE: usize = 32;
/// Lookups at once in one sandbox: browsers ask for six.
const SANDBOX: usize = 6;

static NODE_FREE: Semaphore = Semaphore::const_new(NODE);

/// The lookups of one sandbox.
pub(crate) struct Lookups {
    free: Arc<Semaphore>,
    resolve: Resolve,
}

/// What blocks.
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups {
            free: Arc::new(Semaphore::new(SANDBOX)),
            resolve: |name, port| Ok((name, port).to_socket_addrs()?.collect()),
        }
    }
}

impl Lookups {
    pub(crate) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let own = self.free.clone().acquire_owned().await;
        let places = (
            own.map_err(closed)?,
            NODE_FREE.acquire().await.map_err(closed)?,
        );
        let (answer, found) = oneshot::channel();
        let (name, resolve) = (name.to_owned(), self.resolve);
        let run = move || {
            // Whoever waited may have left by now.
            let _ = answer.send(resolve(&name, port));
            drop(places);
        };
        thread::Builder::new()
            .name("lydian-lookup".to_owned())
            .spawn(run)?;
        found.await.map_err(closed)?
    }
}

fn closed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::join_all;
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static STUCK: Mutex<()> = Mutex::new(());
    static RUNNING: AtomicUsize = AtomicUsize::new(0);

    /// Servers of names that never answer.
    fn stuck(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        drop(STUCK.lock());
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        Ok(Vec::new())
    }

    async fn until(running: usize) {
        while RUNNING.load(Ordering::SeqCst) != running {
            tokio::task::yield_now().await;
        }
    }

    /// One test, as the node's places are the process's.
    #[tokio::test]
    #[expect(
        clippy::await_holding_lock,
        reason = "it holds the lookups back, which run on threads of their own"
    )]
    async fn lookups_are_bounded_per_sandbox_and_for_the_node() {
        let sandbox = || Lookups {
            resolve: stuck,
            ..Lookups::default()
        };
        let held = STUCK.lock();
        let one = sandbox();
        let mut first = Box::pin(join_all((0..20).map(|_| one.look_up("a.example", 1))));
        assert!(first.as_mut().now_or_never().is_none());
        until(SANDBOX).await;
        // Giving up does not free the places of lookups that the resolver still has.
        drop(first);
        assert!(
            Box::pin(one.look_up("b.example", 1))
                .now_or_never()
                .is_none()
        );
        let others: Vec<Lookups> = (0..NODE).map(|_| sandbox()).collect();
        let asked = others.iter().map(|other| other.look_up("c.example", 1));
        let mut rest = Box::pin(join_all(asked));
        assert!(rest.as_mut().now_or_never().is_none());
        until(NODE).await;
        // Literals are nobody's to look up.
        let literal = sandbox();
        let literal = literal.look_up("127.0.0.1", 7).await.expect("an address");
        assert_eq!(literal, [SocketAddr::from(([127, 0, 0, 1], 7))]);
        drop(held);
        assert!(rest.await.iter().all(Result::is_ok));
        until(0).await;
    }
}
