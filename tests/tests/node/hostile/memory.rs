//! Guests that want all there is: memories, tables, stack, handles, descriptors; and what lay there before.

use std::time::Duration;

use lydian_client::{FailureKind, Limits};
use lydian_tests::{Guest, guests};

use crate::support::{Ended, TestNode, timeout};

const LIMIT_BYTES: u64 = 64 << 20;
const LIMIT_PAGES: u64 = LIMIT_BYTES / 65536;

fn limits() -> Limits {
    timeout(Duration::from_secs(30)).memory_bytes(LIMIT_BYTES)
}

async fn fails(
    node: &TestNode,
    guest: Guest,
    function: &str,
    arguments: &[&str],
    kinds: &[FailureKind],
) {
    let ended = node
        .beside_others(node.call(guest, function, arguments, limits()))
        .await;
    let kind = ended.kind();
    assert!(
        kind.is_some_and(|kind| kinds.contains(&kind)),
        "{}::{function}: {ended:?}",
        guest.name
    );
}

/// Nobody has deployed a bare component, so whoever runs it says what it may take.
#[tokio::test(flavor = "multi_thread")]
async fn the_caller_of_a_bare_component_may_give_it_more_than_the_default() {
    let node = TestNode::start().await;
    let roomy = limits().memory_bytes(512 << 20);
    let ended = node
        .call(guests::MEMORY, "fill", &["314572800"], roomy)
        .await;
    assert_eq!(ended.kind(), None, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_bomb_is_stopped_at_its_limit() {
    let node = TestNode::start().await;
    fails(&node, guests::MEMORY, "bomb", &[], &[FailureKind::Memory]).await;
    fails(
        &node,
        guests::MEMORY,
        "fill",
        &["1000000000"],
        &[FailureKind::Memory],
    )
    .await;
    let held = node
        .call(guests::MEMORY, "fill", &["16777216"], limits())
        .await;
    assert_eq!(held, Ended::Value("16777216".into()));
}

/// What all memories of a sandbox hold is one number: a guest with many gets no more than a guest with one.
#[tokio::test(flavor = "multi_thread")]
async fn many_memories_share_one_limit() {
    let node = TestNode::start().await;
    let pages = LIMIT_PAGES / 4;
    let ended = node
        .call(
            guests::MANY_MEMORIES,
            "grow",
            &[&pages.to_string()],
            limits(),
        )
        .await;
    // A quarter each, and what the memories had at first: the fourth is too much.
    assert_eq!(ended, Ended::Value("3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_bomb_is_stopped_like_a_memory_bomb() {
    let node = TestNode::start().await;
    let ended = node
        .beside_others(node.call(guests::TABLE_BOMB, "grow", &["100000000"], limits()))
        .await;
    assert_eq!(ended, Ended::Value("false".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_exhausts_its_own_stack_alone() {
    let node = TestNode::start().await;
    fails(&node, guests::STACK, "overflow", &[], &[FailureKind::Stack]).await;
    // The guest's own stack in memory ends before the machine's does.
    fails(
        &node,
        guests::STACK,
        "overflow-shadow",
        &[],
        &[FailureKind::Stack, FailureKind::Trap],
    )
    .await;
    let fine = node
        .call(guests::STACK, "recurse", &["1000"], limits())
        .await;
    assert_eq!(fine, Ended::Value("1000".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaked_handles_end_at_their_limit() {
    let node = TestNode::start().await;
    for function in ["leak-pollables", "leak-streams", "leak-fields"] {
        fails(
            &node,
            guests::HANDLES,
            function,
            &["1000000"],
            &[FailureKind::Handles],
        )
        .await;
    }
    // As many as one likes, as long as they are given back.
    let churned = node
        .call(guests::HANDLES, "churn", &["20000"], limits())
        .await;
    assert_eq!(churned, Ended::Value("20000".into()));
}

/// A slot that another sandbox used is zero, or the component's own image, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_earlier_sandbox_is_left_in_memory() {
    let node = TestNode::start().await;
    let (seed, key) = (0x5eed_c0de_cafe_f00d_u64, 0x0123_4567_89ab_cdef_u64);
    let pattern = seed ^ key;
    let plant = node.function(guests::LEFTOVERS, "plant").await;
    let find = node.function(guests::LEFTOVERS, "find").await;
    let not_zero = node.function(guests::LEFTOVERS, "not-zero").await;
    for _ in 0..20 {
        let planted: Vec<u64> = plant.map((0..8).map(|_| (pattern, 64u32))).await.unwrap();
        assert!(planted.iter().all(|&words| words > 0));
        let found: Vec<u64> = find.map((0..8).map(|_| (seed, key, 64u32))).await.unwrap();
        assert_eq!(found, [0; 8]);
        let left: Vec<u64> = not_zero.map((0..8).map(|_| (64u32,))).await.unwrap();
        assert_eq!(left, [0; 8]);
    }
}
