//! Who compiles next: a line for each tenant, served in turn.
//!
//! A compilation may take all of its two minutes, so first come, first served would let one tenant with many slow components
//! hold up everybody. Here a free worker goes to the tenants in rotation, one tenant never has all of them when there are
//! several, and a tenant's own line is bounded.
//!
//! A component that two tenants want waits in both lines and is compiled at the first turn of either.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use lydian_value::Digest;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Compilations of one tenant that wait. More is a mistake, or an attack: at a second each it is a minute's work.
pub(super) const MAX_WAITING: usize = 64;

/// The line. Clones are the same.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<State>>);

struct State {
    workers: usize,
    free: usize,
    tenants: HashMap<Arc<str>, Tenant>,
    /// Tenants that have somebody waiting, the next one in front.
    rotation: VecDeque<Arc<str>>,
    waiting: HashMap<Digest, Arc<Ticket>>,
}

#[derive(Default)]
struct Tenant {
    line: VecDeque<Arc<Ticket>>,
    running: usize,
}

/// One component that waits, perhaps in several lines.
struct Ticket {
    component: Digest,
    /// Taken by the first turn.
    turn: Mutex<Option<oneshot::Sender<Turn>>>,
}

/// A worker that may be started. Given back when dropped.
pub(super) struct Turn {
    line: Line,
    tenant: Arc<str>,
}

/// A tenant has [`MAX_WAITING`] compilations in line already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Line {
    pub(super) fn new(workers: usize) -> Line {
        let workers = workers.max(1);
        Line(Arc::new(Mutex::new(State {
            workers,
            free: workers,
            tenants: HashMap::new(),
            rotation: VecDeque::new(),
            waiting: HashMap::new(),
        })))
    }

    /// Waits for a turn of `tenant` to compile `component`. Dropping the future leaves the line.
    pub(super) async fn turn(&self, tenant: &str, component: Digest) -> Result<Turn, Crowded> {
        let (sender, turn) = oneshot::channel();
        let ticket = Arc::new(Ticket {
            component,
            turn: Mutex::new(Some(sender)),
        });
        self.0.lock().enqueue(tenant, ticket.clone())?;
        self.serve();
        let _leaving = Leaving {
            line: self,
            ticket: &ticket,
        };
        // The sender is in the ticket until it is used.
        turn.await.map_err(|_| Crowded)
    }

    /// Another tenant waits for a component too; nothing when it does not wait in line.
    pub(super) fn join(&self, tenant: &str, component: &Digest) {
        let mut state = self.0.lock();
        if let Some(ticket) = state.waiting.get(component).cloned() {
            // In a full line it just has no place of its own.
            let _ = state.enqueue(tenant, ticket);
        }
        drop(state);
        self.serve();
    }

    /// Workers that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.0.lock().free
    }

    /// Gives free workers to whoever is next.
    fn serve(&self) {
        loop {
            let Some((tenant, ticket)) = self.0.lock().next() else {
                return;
            };
            let turn = Turn {
                line: self.clone(),
                tenant,
            };
            // In another line it had its turn already, or nobody waits any more: then the turn is dropped, and given back.
            // The lock is let go of first: a turn that nobody takes is dropped here, and may come back to this ticket.
            let sender = ticket.turn.lock().take();
            if let Some(sender) = sender {
                let _ = sender.send(turn);
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, tenant: &str, ticket: Arc<Ticket>) -> Result<(), Crowded> {
        let name: Arc<str> = tenant.into();
        let its = self.tenants.entry(name.clone()).or_default();
        if its.line.len() >= MAX_WAITING {
            return Err(Crowded);
        }
        if its.line.iter().any(|other| Arc::ptr_eq(other, &ticket)) {
            return Ok(());
        }
        if its.line.is_empty() {
            self.rotation.push_back(name);
        }
        self.waiting.insert(ticket.component, ticket.clone());
        its.line.push_back(ticket);
        Ok(())
    }

    /// The next compilation that may start, which takes a worker.
    fn next(&mut self) -> Option<(Arc<str>, Arc<Ticket>)> {
        if self.free == 0 {
            return None;
        }
        // One worker is left to the others, if there is more than one.
        let most = (self.workers - 1).max(1);
        for _ in 0..self.rotation.len() {
            let name = self.rotation.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&name) else {
                continue;
            };
            if tenant.running >= most {
                self.rotation.push_back(name);
                continue;
            }
            let ticket = tenant.line.pop_front();
            if !tenant.line.is_empty() {
                self.rotation.push_back(name.clone());
            }
            if let Some(ticket) = ticket {
                tenant.running += 1;
                self.free -= 1;
                self.forget(&ticket);
                return Some((name, ticket));
            }
        }
        None
    }

    fn forget(&mut self, ticket: &Arc<Ticket>) {
        let waits = self.waiting.get(&ticket.component);
        if waits.is_some_and(|other| Arc::ptr_eq(other, ticket)) {
            self.waiting.remove(&ticket.component);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.line.0.lock();
        state.free += 1;
        if let Some(tenant) = state.tenants.get_mut(&self.tenant) {
            tenant.running -= 1;
            if tenant.running == 0 && tenant.line.is_empty() {
                state.tenants.remove(&self.tenant);
            }
        }
        drop(state);
        self.line.serve();
    }
}

/// Takes a ticket out of every line when its waiter is gone.
struct Leaving<'a> {
    line: &'a Line,
    ticket: &'a Arc<Ticket>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.line.0.lock();
        state.forget(self.ticket);
        for tenant in state.tenants.values_mut() {
            tenant.line.retain(|other| !Arc::ptr_eq(other, self.ticket));
        }
        let State {
            tenants, rotation, ..
        } = &mut *state;
        rotation.retain(|name| {
            tenants
                .get(name)
                .is_some_and(|tenant| !tenant.line.is_empty())
        });
        tenants.retain(|_, tenant| tenant.running > 0 || !tenant.line.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    type Waiting = BoxFuture<'static, Result<Turn, Crowded>>;

    fn wait(line: &Line, tenant: &'static str, component: u32) -> Waiting {
        let (line, component) = (line.clone(), Digest::of(&component.to_le_bytes()));
        async move { line.turn(tenant, component).await }.boxed()
    }

    /// Polled once, so that it is in line; its turn when that came.
    fn poll(waiting: &mut Waiting) -> Option<Turn> {
        waiting.now_or_never().map(|turn| turn.unwrap())
    }

    #[test]
    fn a_tenant_leaves_one_worker_to_the_others() {
        let line = Line::new(3);
        let mut many: Vec<_> = (0..5).map(|n| wait(&line, "a", n)).collect();
        let running: Vec<_> = many.iter_mut().filter_map(poll).collect();
        assert_eq!(running.len(), 2);
        let other = poll(&mut wait(&line, "b", 9));
        assert!(other.is_some());
        drop(running);
        let next: Vec<_> = many.iter_mut().skip(2).filter_map(poll).collect();
        assert_eq!(next.len(), 2);
    }

    /// One who leaves at the moment of its turn, and waits in two lines: the turn comes back while it is given.
    #[test]
    fn a_turn_that_nobody_takes_goes_on() {
        let line = Line::new(1);
        let running = poll(&mut wait(&line, "a", 0)).unwrap();
        let (sender, gone) = oneshot::channel();
        let ticket = Arc::new(Ticket {
            component: Digest::of(b"left"),
            turn: Mutex::new(Some(sender)),
        });
        for tenant in ["a", "b"] {
            line.0.lock().enqueue(tenant, ticket.clone()).unwrap();
        }
        let mut next = wait(&line, "c", 1);
        assert!(poll(&mut next).is_none());
        drop(gone);
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(running);
            let _ = tell.send(());
        });
        let done = told.recv_timeout(std::time::Duration::from_secs(60));
        done.expect("the line waits for itself");
        assert!(poll(&mut next).is_some());
    }

    /// With one worker: a, and then b before the rest of a's, however long a's line.
    #[test]
    fn a_free_worker_goes_to_the_tenants_in_turn() {
        let line = Line::new(1);
        let mut first = wait(&line, "a", 0);
        let running = poll(&mut first).unwrap();
        let mut waiting: Vec<_> = (1..20).map(|n| ("a", wait(&line, "a", n))).collect();
        waiting.extend((20..22).map(|n| ("b", wait(&line, "b", n))));
        waiting.push(("c", wait(&line, "c", 30)));
        for (_, waiting) in &mut waiting {
            assert!(poll(waiting).is_none());
        }
        let mut order = String::new();
        let mut turn = Some(running);
        while order.len() < 6 {
            drop(turn.take());
            let at = waiting.iter_mut().position(|(_, waiting)| {
                turn = poll(waiting);
                turn.is_some()
            });
            order += waiting.remove(at.unwrap()).0;
        }
        assert_eq!(order, "abcaba");
    }

    #[test]
    fn a_tenants_own_line_is_bounded() {
        let line = Line::new(1);
        let _running = poll(&mut wait(&line, "a", 0)).unwrap();
        let mut waiting: Vec<_> = (1..=64).map(|n| wait(&line, "a", n)).collect();
        assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_none()));
        let refused = wait(&line, "a", 100).now_or_never();
        assert_eq!(refused.map(|turn| turn.err()), Some(Some(Crowded)));
        assert!(poll(&mut wait(&line, "b", 101)).is_none());
        // Who leaves makes room.
        waiting.pop();
        assert!(poll(&mut wait(&line, "a", 102)).is_none());
    }

    #[test]
    fn those_who_left_get_no_turn() {
        let line = Line::new(1);
        let running = poll(&mut wait(&line, "a", 0)).unwrap();
        let mut gone = wait(&line, "a", 1);
        let mut patient = wait(&line, "a", 2);
        assert!(poll(&mut gone).is_none() && poll(&mut patient).is_none());
        drop(gone);
        drop(running);
        let running = poll(&mut patient);
        assert!(running.is_some());
        drop((running, patient));
        assert!(line.0.lock().tenants.is_empty());
        assert!(line.0.lock().rotation.is_empty() && line.0.lock().waiting.is_empty());
        assert_eq!(line.0.lock().free, 1);
    }

    /// A tenant that wants what another has far back in its line does not wait for that line.
    #[test]
    fn a_component_of_two_tenants_is_compiled_at_the_first_turn_of_either() {
        let line = Line::new(1);
        let running = poll(&mut wait(&line, "a", 0)).unwrap();
        let mut waiting: Vec<_> = (1..9).map(|n| wait(&line, "a", n)).collect();
        assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_none()));
        line.join("b", &Digest::of(&8u32.to_le_bytes()));
        drop(running);
        let first = poll(&mut waiting[0]);
        assert!(first.is_some());
        drop(first);
        let eighth = poll(&mut waiting[7]);
        assert!(eighth.is_some());
        drop(eighth);
        // It does not have a second one in the line it came from.
        waiting.truncate(7);
        for waiting in &mut waiting[1..] {
            drop(poll(waiting).unwrap());
        }
    }
}
