//! Conformance of `Leases`.

use std::time::Duration;

use lydian_store::{Lease, LeaseName, NodeId};

use crate::bed::{START_MS, conformance};

const TTL: Duration = Duration::from_secs(10);

fn names() -> (LeaseName, NodeId, NodeId) {
    ("shard/001".into(), "n1".into(), "n2".into())
}

conformance! { Bed:
    async fn one_node_at_a_time_holds_a_lease(bed) {
        let (lease, n1, n2) = names();
        assert_eq!(bed.store.acquire(&lease, &n1, TTL).await.unwrap(), Some(1));
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), None);
        let holder = bed.store.holder(&lease).await.unwrap().unwrap();
        assert_eq!(holder, Lease { node: n1, epoch: 1, until_ms: START_MS + 10_000 });
        assert_eq!(bed.store.holder(&"shard/002".into()).await.unwrap(), None);
    }

    async fn a_lapsed_lease_is_taken_in_a_new_epoch(bed) {
        let (lease, n1, n2) = names();
        bed.store.acquire(&lease, &n1, TTL).await.unwrap();
        bed.clock.advance(TTL - Duration::from_millis(1));
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), None);
        bed.clock.advance(Duration::from_millis(1));
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), Some(2));
        assert_eq!(bed.store.renew_all(&n1).await.unwrap(), []);
    }

    async fn renewing_keeps_the_epoch(bed) {
        let (lease, n1, n2) = names();
        bed.store.acquire(&lease, &n1, TTL).await.unwrap();
        bed.store.acquire(&"shard/000".into(), &n1, TTL * 2).await.unwrap();
        bed.store.acquire(&"other".into(), &n2, TTL).await.unwrap();
        for _ in 0..5 {
            bed.clock.advance(TTL - Duration::from_millis(1));
            let held = bed.store.renew_all(&n1).await.unwrap();
            assert_eq!(held, [("shard/000".into(), 1), (lease.clone(), 1)]);
        }
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), None);
        let long = bed.store.holder(&"shard/000".into()).await.unwrap().unwrap();
        let short = bed.store.holder(&lease).await.unwrap().unwrap();
        assert_eq!(long.until_ms, short.until_ms + 10_000);
    }

    /// Nobody took it meanwhile, so nothing of the epoch can have been overtaken.
    async fn a_lapsed_lease_nobody_took_can_be_renewed(bed) {
        let (lease, n1, n2) = names();
        bed.store.acquire(&lease, &n1, TTL).await.unwrap();
        bed.clock.advance(TTL * 3);
        assert_eq!(bed.store.renew_all(&n1).await.unwrap(), [(lease.clone(), 1)]);
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), None);
    }

    /// A node that restarts must not take its earlier self's attempts for its own.
    async fn acquiring_ones_own_lease_is_a_new_epoch(bed) {
        let (lease, n1, _) = names();
        assert_eq!(bed.store.acquire(&lease, &n1, TTL).await.unwrap(), Some(1));
        assert_eq!(bed.store.acquire(&lease, &n1, TTL).await.unwrap(), Some(2));
    }

    async fn a_released_lease_is_free_at_once_and_its_epoch_is_not_reused(bed) {
        let (lease, n1, n2) = names();
        bed.store.acquire(&lease, &n1, TTL).await.unwrap();
        assert!(!bed.store.release(&lease, &n2, 1).await.unwrap());
        assert!(!bed.store.release(&lease, &n1, 2).await.unwrap());
        assert!(bed.store.release(&lease, &n1, 1).await.unwrap());
        assert!(!bed.store.release(&lease, &n1, 1).await.unwrap());
        assert_eq!(bed.store.holder(&lease).await.unwrap(), None);
        assert_eq!(bed.store.renew_all(&n1).await.unwrap(), []);
        assert_eq!(bed.store.acquire(&lease, &n2, TTL).await.unwrap(), Some(2));
    }

    /// Contenders at once: one winner per epoch.
    async fn a_race_has_one_winner(bed) {
        let (lease, ..) = names();
        let racers: Vec<_> = (0..16).map(|n| {
            let (store, lease) = (bed.store.clone(), lease.clone());
            tokio::spawn(async move {
                store.acquire(&lease, &format!("n{n}").into(), TTL).await.unwrap()
            })
        }).collect();
        let mut won = Vec::new();
        for racer in racers {
            won.extend(racer.await.unwrap());
        }
        assert_eq!(won, [1]);
    }
}
