//! Order, bounds and ends of the lines.

use super::*;

const A: Tenant = Tenant(1);
const B: Tenant = Tenant(2);

fn admission(sandboxes: usize, waiting: usize, wait_ms: u64) -> Admission {
    Admission::new(Bounds {
        concurrent: false,
        sandboxes,
        waiting,
        wait: Duration::from_millis(wait_ms),
    })
}

/// One sandbox that makes no calls.
fn of(tenant: Tenant) -> Need {
    Need {
        tenant,
        sandboxes: 1,
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
