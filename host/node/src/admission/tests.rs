//! Order, bounds and ends of the lines.

use super::*;
use std::sync::atomic::AtomicU64;

const A: Tenant = Tenant(1);
const B: Tenant = Tenant(2);

fn admission(sandboxes: usize, waiting: usize, wait_ms: u64) -> Admission {
    Admission::new(Bounds {
        concurrent: false,
        sandboxes,
        stacks: sandboxes,
        ledger: Ledger::new(1 << 30, 1 << 30),
        waiting,
        wait: Duration::from_millis(wait_ms),
    })
}

/// A call of its own.
fn a_call() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One sandbox that makes no calls.
fn of(tenant: Tenant) -> Need {
    Need {
        tenant,
        call: a_call(),
        sandboxes: 1,
        stacks: 0,
        memory: 0,
        depth: 0,
        concurrent: false,
        calls: false,
        nested: false,
    }
}

/// What a function calls that runs here.
fn nested() -> Need {
    Need {
        depth: 1,
        nested: true,
        ..of(A)
    }
}

/// One sandbox that makes calls, `depth` deep.
fn caller(depth: u32) -> Need {
    Need {
        depth,
        calls: true,
        ..of(A)
    }
}

/// Runs until the line has this length.
async fn in_line(admission: &Admission, count: usize) {
    while admission.0.waiting.load(Ordering::Relaxed) != count {
        tokio::task::yield_now().await;
    }
}

/// A tenant with a long line must not keep another's only call waiting behind it.
#[tokio::test]
async fn slots_go_round_the_tenants() {
    let admission = admission(1, 100, 60_000);
    let held = admission.slot(of(A)).await.unwrap();
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for tenant in [A, A, A, B] {
        let (admission, served) = (admission.clone(), served.clone());
        let before = admission.0.waiting.load(Ordering::Relaxed);
        let waiter = admission.clone();
        tokio::spawn(async move {
            let slot = waiter.slot(of(tenant)).await.unwrap();
            served.send(tenant).unwrap();
            drop(slot);
        });
        in_line(&admission, before + 1).await;
    }
    drop(held);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(order.recv().await.unwrap());
    }
    assert_eq!(seen, [A, B, A, A]);
    assert_eq!(admission.taken(), 0);
}

/// Both bounds answer at once or in time, with what to do.
#[tokio::test]
async fn full_line_and_long_wait_are_refused() {
    let admission = admission(1, 1, 20);
    let held = admission.slot(of(A)).await.unwrap();
    let waiter = tokio::spawn({
        let admission = admission.clone();
        async move { admission.slot(of(A)).await.map(drop) }
    });
    in_line(&admission, 1).await;
    assert!(matches!(
        admission.slot(of(B)).await,
        Err(Error::QueueFull { waiting: 1 })
    ));
    assert!(matches!(
        waiter.await.unwrap(),
        Err(Error::NoSandbox { .. })
    ));
    drop(held);
    // The one who gave up is still in line; the slot must pass him by.
    assert_eq!(admission.taken(), 0);
    assert!(admission.slot(of(B)).await.is_ok());
}

/// A caller that goes away while in line loses nothing for the others.
#[tokio::test]
async fn abandoned_waiters_leak_no_slot() {
    let admission = admission(2, 1_000, 60_000);
    let held = (
        admission.slot(of(A)).await.unwrap(),
        admission.slot(of(A)).await.unwrap(),
    );
    let waiters: Vec<_> = (0..100)
        .map(|n| {
            let admission = admission.clone();
            tokio::spawn(async move { admission.slot(of(Tenant(n % 7))).await.map(drop) })
        })
        .collect();
    in_line(&admission, 100).await;
    waiters.iter().for_each(|waiter| waiter.abort());
    for waiter in waiters {
        assert!(waiter.await.unwrap_err().is_cancelled());
    }
    drop(held);
    assert_eq!(admission.taken(), 0);
}

/// A storm of cancelled calls must not leave a full line behind.
#[tokio::test]
async fn abandoned_waiters_do_not_fill_the_line() {
    let admission = admission(1, 2, 60_000);
    let held = admission.slot(of(A)).await.unwrap();
    for tenant in [A, B] {
        let mut gone = Box::pin(admission.slot(of(tenant)));
        assert!(futures::poll!(&mut gone).is_pending());
    }
    let mut waiting = Box::pin(admission.slot(of(B)));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(held);
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn draining_refuses_those_in_line_and_later_ones() {
    let admission = admission(1, 10, 60_000);
    let held = admission.slot(of(A)).await.unwrap();
    let waiter = tokio::spawn({
        let admission = admission.clone();
        async move { admission.slot(of(A)).await.map(drop) }
    });
    in_line(&admission, 1).await;
    admission.drain();
    assert!(matches!(waiter.await.unwrap(), Err(Error::Draining)));
    assert!(matches!(admission.slot(of(A)).await, Err(Error::Draining)));
    drop(held);
    admission.idle().await;
    assert_eq!(admission.taken(), 0);
}

/// A pool full of functions that wait for functions would wait for ever.
#[tokio::test]
async fn callers_leave_room_for_those_they_call() {
    let admission = admission(4, 10, 60_000);
    assert_eq!(admission.levels(), 3);
    let mut held = Vec::new();
    // However callers crowd in at one level, the next one has room.
    for depth in 0..=3 {
        held.push(admission.slot(caller(depth)).await.unwrap());
        if depth < 3 {
            let mut more = Box::pin(admission.slot(caller(depth)));
            assert!(futures::poll!(&mut more).is_pending(), "{depth}");
        }
    }
    assert_eq!(admission.taken(), 4);
    drop(held);
    // What makes no calls waits for nobody, so it may take everything.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(admission.slot(of(A)).await.unwrap());
    }
    drop(held);
    assert_eq!(admission.taken(), 0);
}

/// Others wait for the deepest call, so it goes first; one that may not run keeps nobody waiting.
#[tokio::test]
async fn the_deepest_in_line_is_served_first() {
    let admission = admission(2, 10, 60_000);
    let parent = admission.slot(caller(0)).await.unwrap();
    let leaf = admission.slot(of(A)).await.unwrap();
    let mut root = Box::pin(admission.slot(caller(0)));
    let mut plain = Box::pin(admission.slot(of(A)));
    let mut child = Box::pin(admission.slot(nested()));
    assert!(futures::poll!(&mut root).is_pending());
    assert!(futures::poll!(&mut plain).is_pending());
    assert!(futures::poll!(&mut child).is_pending());
    drop(leaf);
    let child = child.await.unwrap();
    assert!(futures::poll!(&mut plain).is_pending());
    drop(child);
    // The second caller may not take the room that is kept for what the first one calls.
    let plain = plain.await.unwrap();
    assert!(futures::poll!(&mut root).is_pending());
    drop(parent);
    let root = root.await.unwrap();
    drop((plain, root));
    assert_eq!(admission.taken(), 0);
}

/// Components of several memories take as many of the engine's slots.
#[tokio::test]
async fn large_components_count_for_what_they_take() {
    let admission = admission(4, 10, 60_000);
    let large = Need {
        sandboxes: 3,
        ..of(A)
    };
    let first = admission.slot(large).await.unwrap();
    let mut second = Box::pin(admission.slot(large));
    assert!(futures::poll!(&mut second).is_pending());
    assert!(admission.slot(of(B)).await.is_ok());
    drop(first);
    drop(second.await.unwrap());
    // More than there is runs alone.
    let all = Need {
        sandboxes: 100,
        ..of(A)
    };
    drop(admission.slot(all).await.unwrap());
    assert_eq!(admission.taken(), 0);
}

/// A node that stops lets finish what runs, and that may need to call.
#[tokio::test]
async fn functions_may_call_while_the_node_drains() {
    let admission = admission(2, 10, 60_000);
    let parent = admission.slot(caller(0)).await.unwrap();
    let leaf = admission.slot(of(A)).await.unwrap();
    let mut child = Box::pin(admission.slot(nested()));
    assert!(futures::poll!(&mut child).is_pending());
    admission.drain();
    drop(leaf);
    drop(child.await.unwrap());
    assert!(matches!(admission.slot(of(A)).await, Err(Error::Draining)));
    drop(parent);
    admission.idle().await;
}

/// Those that need less are always quicker to take what comes free; without something held back for
/// it, a large call waits for as long as there are small ones.
#[tokio::test]
async fn a_large_call_does_not_starve_beside_small_ones() {
    let admission = admission(4, 100, 60_000);
    let over = Arc::new(AtomicBool::new(false));
    let small: Vec<_> = (0..8)
        .map(|_| {
            let (admission, over) = (admission.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let slot = admission.slot(of(A)).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    drop(slot);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let large = Need {
        sandboxes: 4,
        ..of(B)
    };
    let slot = tokio::time::timeout(Duration::from_secs(20), admission.slot(large)).await;
    assert!(slot.is_ok_and(|slot| slot.is_ok()));
    over.store(true, Ordering::Relaxed);
    for task in small {
        task.await.unwrap();
    }
    assert_eq!(admission.taken(), 0);
}

/// A node that is out of memory lets calls wait, and lets them in when some comes free, whoever had
/// it.
#[tokio::test]
async fn calls_wait_for_memory() {
    const MIB: u64 = 1 << 20;
    let ledger = Ledger::new(80 * MIB, 80 * MIB);
    let admission = Admission::new(Bounds {
        concurrent: false,
        sandboxes: 100,
        stacks: 100,
        ledger: ledger.clone(),
        waiting: 100,
        wait: Duration::from_millis(200),
    });
    let big = |tenant| Need {
        memory: 30 * MIB,
        ..of(tenant)
    };
    let first = admission.slot(big(A)).await.unwrap();
    let grown = ledger.charge(30 * MIB).unwrap();
    let mut second = Box::pin(admission.slot(big(B)));
    assert!(futures::poll!(&mut second).is_pending());
    // Nothing here gives a slot back: the memory of something that runs is enough.
    drop(grown);
    let second = second.await.unwrap();
    assert!(matches!(
        admission.slot(big(A)).await,
        Err(Error::NoMemory { .. })
    ));
    // What a function calls may have the part that is kept back from clients.
    let child = Need {
        memory: 15 * MIB,
        ..nested()
    };
    assert!(
        admission
            .slot(Need {
                nested: false,
                ..child
            })
            .await
            .is_err()
    );
    assert!(admission.slot(child).await.is_ok());
    drop((first, second));
    assert_eq!((admission.taken(), ledger.used()), (0, 0));
}

/// What nested instances of one component may take is counted, or one sandbox takes every stack
/// there is.
#[tokio::test]
async fn stacks_are_counted() {
    let admission = admission(10, 10, 60_000);
    let many = Need { stacks: 7, ..of(A) };
    let first = admission.slot(many).await.unwrap();
    let mut second = Box::pin(admission.slot(Need {
        call: a_call(),
        ..many
    }));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    drop(second.await.unwrap());
}

/// A tree of calls, as functions make them.
enum Tree {
    /// Makes these calls one after the other and waits for each.
    Calls(Vec<(Way, Tree)>),
    /// Makes none, and cannot.
    Leaf,
}

/// How one function comes to wait for another.
#[derive(Clone, Copy)]
enum Way {
    /// It calls it.
    Nested,
    /// It waits for one that was recorded, with the depth of its own that it has by itself.
    Recorded,
}

fn tree(seed: &mut u64, depth: u32) -> Tree {
    let mut next = |below: u64| {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    };
    if depth == 0 || next(3) == 0 {
        return Tree::Leaf;
    }
    let count = next(3) + 1;
    let ways: Vec<Way> = (0..count)
        .map(|_| [Way::Nested, Way::Recorded][next(2) as usize])
        .collect();
    Tree::Calls(
        ways.into_iter()
            .map(|way| (way, tree(seed, depth - 1)))
            .collect(),
    )
}

/// Runs a tree whose root is `depth` deep.
fn run(
    admission: Admission,
    need: Need,
    tree: Arc<Tree>,
) -> futures::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        let slot = admission.slot(need).await.unwrap();
        tokio::task::yield_now().await;
        let Tree::Calls(calls) = &*tree else { return };
        for index in 0..calls.len() {
            let (way, child) = &calls[index];
            let calls = matches!(child, Tree::Calls(_));
            let call = a_call();
            let below = need.depth + 1;
            let own = Need {
                tenant: Tenant(call % 3),
                call,
                calls,
                ..need
            };
            let need = match way {
                Way::Nested => Need {
                    depth: below,
                    nested: true,
                    ..own
                },
                Way::Recorded => Need {
                    depth: 0,
                    nested: false,
                    ..own
                },
            };
            let child = Arc::new(clone(child));
            // A recorded one is in line before anybody waits for it; what it makes is deeper once
            // it has been raised.
            let ran = match way {
                Way::Nested => tokio::spawn(run(admission.clone(), need, child)),
                Way::Recorded => {
                    let (at, raised) = (
                        admission.clone(),
                        Need {
                            depth: below,
                            ..need
                        },
                    );
                    let queued = tokio::spawn(async move {
                        let slot = at.slot(need).await.unwrap();
                        rest(at, slot, raised, child).await;
                    });
                    tokio::task::yield_now().await;
                    admission.raise(call, below);
                    queued
                }
            };
            ran.await.unwrap();
        }
        drop(slot);
    })
}

/// The calls of one that has its slot.
fn rest(
    admission: Admission,
    slot: Slot,
    need: Need,
    tree: Arc<Tree>,
) -> futures::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        if let Tree::Calls(calls) = &*tree {
            for (_, child) in calls {
                let below = Need {
                    call: a_call(),
                    depth: need.depth + 1,
                    nested: true,
                    calls: matches!(child, Tree::Calls(_)),
                    ..need
                };
                run(admission.clone(), below, Arc::new(clone(child))).await;
            }
        }
        drop(slot);
    })
}

fn clone(tree: &Tree) -> Tree {
    match tree {
        Tree::Leaf => Tree::Leaf,
        Tree::Calls(calls) => Tree::Calls(
            calls
                .iter()
                .map(|(way, child)| (*way, clone(child)))
                .collect(),
        ),
    }
}

/// However functions call and wait for one another, and however small the pool: all of them end.
/// Many trees run in one pool at a time, so that each finds it full of the others.
#[tokio::test]
async fn no_set_of_waiting_functions_stops_itself() {
    let mut seed = 7;
    for round in 0..250 {
        let admission = admission(5 + round % 3, 100_000, 60_000);
        let trees: Vec<_> = (0..40).map(|_| Arc::new(tree(&mut seed, 3))).collect();
        let ran = trees.into_iter().map(|tree| {
            let need = Need {
                calls: matches!(*tree, Tree::Calls(_)),
                ..of(Tenant(round as u64 % 5))
            };
            tokio::spawn(run(admission.clone(), need, tree))
        });
        let all = futures::future::join_all(ran.collect::<Vec<_>>());
        let ended = tokio::time::timeout(Duration::from_secs(50), all).await;
        assert!(
            ended.is_ok(),
            "round {round}: {} sandboxes held for ever",
            admission.taken()
        );
        assert_eq!(admission.taken(), 0);
    }
}
