//! Single calls, sessions, logs, and asking about calls.

use crate::guests::{MATH, SLEEP, printing};
use crate::harness::{TestNode, expect_kind, refusal, request};
use bytes::Bytes;
use futures::StreamExt;
use lydian_api::v1::call_info::{Kind as CallKind, State};
use lydian_api::v1::failure::Kind;
use lydian_api::v1::run_event::Event;
use lydian_api::v1::{self, session_request, session_response, usage};
use tonic::Code;

const MINUTE: u64 = 60_000_000_000;

#[tokio::test]
async fn every_call_has_a_fresh_sandbox() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    for _ in 0..3 {
        assert_eq!(
            node.invoke("math", "bump", &[]).await.unwrap(),
            &1u32.to_le_bytes()[..]
        );
    }
    node.is_idle().await;
}

#[tokio::test]
async fn a_trap_is_an_outcome_and_says_where() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let failure = expect_kind(node.invoke("math", "trap", &[]).await, Kind::Trap);
    assert!(failure.message.contains("`trap`"), "{failure:?}");
}

/// A caller may lower what the deployment set; raising it would make the deployment's word worth nothing.
#[tokio::test]
async fn a_caller_lowers_limits_and_never_raises_them() {
    let node = TestNode::start().await;
    node.deploy_with(
        "math",
        MATH,
        r#"{"timeout": "300ms", "cpu": "10s", "memory": "1MiB"}"#,
    )
    .await
    .unwrap();
    let timed = |timeout_ms| v1::InvokeRequest {
        limits: Some(v1::Limits {
            timeout_ms,
            memory_bytes: 1 << 30,
            ..Default::default()
        }),
        ..request("math", "spin", &[])
    };
    for (asked, expected) in [(60_000, 300), (100, 100)] {
        let response = node.try_invoke(timed(asked)).await.unwrap();
        let failure = expect_kind(response.outcome.unwrap().into_result(), Kind::Timeout);
        assert!(
            failure.message.contains(&format!("{expected}ms")),
            "{failure:?}"
        );
        let explained = node
            .calls()
            .explain(v1::ExplainRequest {
                call: response.call,
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(explained.limits.unwrap().timeout_ms, expected);
        assert_eq!(explained.limits.unwrap().memory_bytes, 1 << 20);
    }
    let raised = v1::InvokeRequest {
        limits: Some(v1::Limits {
            memory_bytes: 1 << 30,
            ..Default::default()
        }),
        ..request("math", "grow", &[])
    };
    assert!(
        node.try_invoke(raised)
            .await
            .unwrap()
            .outcome
            .unwrap()
            .into_result()
            .is_err()
    );
}

#[tokio::test]
async fn calls_nest_sixteen_deep_and_no_deeper() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let at = |depth| v1::InvokeRequest {
        depth,
        ..request("math", "noop", &[])
    };
    assert!(
        node.try_invoke(at(16))
            .await
            .unwrap()
            .outcome
            .unwrap()
            .into_result()
            .is_ok()
    );
    let outcome = node.try_invoke(at(17)).await.unwrap().outcome.unwrap();
    expect_kind(outcome.into_result(), Kind::Depth);
}

#[tokio::test]
async fn output_comes_with_the_answer_when_wanted() {
    let node = TestNode::start().await;
    node.deploy("print", &printing()).await;
    let wanted = v1::InvokeRequest {
        want_output: true,
        ..request("print", "hello", &[])
    };
    let response = node.try_invoke(wanted).await.unwrap();
    assert_eq!(response.stdout, "hello\n");
    let response = node
        .try_invoke(request("print", "hello", &[]))
        .await
        .unwrap();
    assert_eq!(response.stdout, "");
}

#[tokio::test]
async fn a_run_tells_its_start_its_output_as_it_happens_and_its_outcome() {
    let node = TestNode::start().await;
    node.deploy("print", &printing()).await;
    let limits = Some(v1::Limits {
        timeout_ms: 500,
        ..Default::default()
    });
    let request = v1::InvokeRequest {
        limits,
        ..request("print", "hello-and-spin", &[])
    };
    let mut events = node.calls().run(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event.unwrap().event.unwrap());
    }
    assert!(
        matches!(&seen[0], Event::Started(started) if started.call.starts_with('c')),
        "{seen:?}"
    );
    assert!(
        matches!(&seen[1], Event::Log(chunk) if chunk.data == "hello\n"),
        "{seen:?}"
    );
    let Some(Event::Outcome(outcome)) = seen.pop() else {
        panic!("no outcome: {seen:?}")
    };
    expect_kind(outcome.into_result(), Kind::Timeout);
}

/// What a guest prints must not move the cursor of whoever reads it.
#[tokio::test]
async fn logs_of_an_app_are_kept_escaped_and_by_function() {
    let node = TestNode::start().await;
    node.deploy("print", &printing()).await;
    for function in ["hello", "escapes", "hello"] {
        node.invoke("print", function, &[]).await.unwrap();
    }
    let logs = |function: &str, tail_lines| v1::AppLogsRequest {
        app: Some(v1::AppRef {
            app: "print".into(),
            ..Default::default()
        }),
        function: function.into(),
        tail_lines,
        follow: false,
    };
    let read = |request| async {
        let chunks: Vec<_> = node
            .apps()
            .logs(request)
            .await
            .unwrap()
            .into_inner()
            .collect()
            .await;
        chunks
            .into_iter()
            .map(|chunk| String::from_utf8(chunk.unwrap().data.to_vec()).unwrap())
            .collect::<String>()
    };
    let escaped = read(logs("escapes", 0)).await;
    assert!(
        !escaped.contains('\u{1b}') && escaped.contains("red"),
        "{escaped:?}"
    );
    assert_eq!(read(logs("hello", 0)).await, "hello\nhello\n");
    assert_eq!(read(logs("", 1)).await, "hello\n");
}

#[tokio::test]
async fn a_followed_log_ends_with_its_call() {
    let node = TestNode::start().await;
    node.deploy("print", &printing()).await;
    let limits = Some(v1::Limits {
        timeout_ms: 1_000,
        ..Default::default()
    });
    let request = v1::InvokeRequest {
        limits,
        ..request("print", "hello-and-spin", &[])
    };
    let call = tokio::spawn({
        let mut calls = node.calls();
        async move { calls.invoke(request).await }
    });
    let running = node.wait_for(1, State::Running).await;
    let follow = v1::CallLogsRequest {
        call: running[0].call.clone(),
        follow: true,
    };
    let chunks: Vec<_> = node
        .calls()
        .logs(follow)
        .await
        .unwrap()
        .into_inner()
        .collect()
        .await;
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].as_ref().unwrap().data, "hello\n");
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn explain_says_where_the_time_went() {
    let node = TestNode::start().await;
    let digest = node.put(MATH).await;
    let target = v1::Target::component(crate::harness::raw(&digest), "square");
    let request = v1::InvokeRequest {
        target: Some(target),
        args: Bytes::copy_from_slice(&3u64.to_le_bytes()),
        ..Default::default()
    };
    let mut starts = Vec::new();
    for _ in 0..2 {
        let call = node.try_invoke(request.clone()).await.unwrap().call;
        let told = node
            .calls()
            .explain(v1::ExplainRequest { call })
            .await
            .unwrap()
            .into_inner();
        let (info, usage) = (told.info.unwrap(), told.usage.unwrap());
        assert_eq!(
            (info.state(), info.kind()),
            (State::Succeeded, CallKind::Invoke)
        );
        assert_eq!(info.result_signature, "u64");
        assert_eq!((usage.bytes_in, usage.bytes_out), (8, 8));
        assert!(
            usage.run_nanos > 0 && usage.peak_memory_bytes >= 1 << 16,
            "{usage:?}"
        );
        starts.push((usage.start(), usage.compile_micros > 0, told.start_reason));
    }
    assert_eq!(
        (starts[0].0, starts[0].1),
        (usage::Start::ColdCompile, true)
    );
    assert!(starts[0].2.contains("compiled for this call"));
    assert_eq!((starts[1].0, starts[1].1), (usage::Start::Fresh, false));
}

/// The list is bounded: the newest calls are remembered, the others are not.
#[tokio::test]
async fn only_the_newest_calls_are_remembered() {
    let node = TestNode::with(|options| options.kept_calls = 4).await;
    node.deploy("math", MATH).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(
            node.try_invoke(request("math", "noop", &[]))
                .await
                .unwrap()
                .call,
        );
    }
    let list = node
        .calls()
        .list(v1::ListCallsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .calls;
    let listed: Vec<_> = list.iter().map(|call| call.call.clone()).collect();
    ids.reverse();
    assert_eq!(listed, ids[..4]);
    let error = node
        .calls()
        .explain(v1::ExplainRequest {
            call: ids[5].clone(),
        })
        .await
        .unwrap_err();
    assert_eq!(
        (refusal(&error).0, refusal(&error).1.as_str()),
        (Code::NotFound, "call-not-found")
    );
}

#[tokio::test]
async fn cancel_stops_its_own_call_and_no_other() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let args = MINUTE.to_le_bytes();
    let sleepers: Vec<_> = (0..2)
        .map(|_| {
            let mut calls = node.calls();
            tokio::spawn(async move { calls.invoke(request("sleep", "", &args)).await })
        })
        .collect();
    let running = node.wait_for(2, State::Running).await;
    let cancel = v1::CancelRequest {
        call: running[0].call.clone(),
    };
    assert!(
        node.calls()
            .cancel(cancel.clone())
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    node.wait_for(1, State::Running).await;
    let cancelled = node.wait_for(1, State::Cancelled).await;
    assert_eq!(cancelled[0].call, cancel.call);
    assert!(
        !node
            .calls()
            .cancel(cancel)
            .await
            .unwrap()
            .into_inner()
            .was_running
    );
    let other = v1::CancelRequest {
        call: running[1].call.clone(),
    };
    node.calls().cancel(other).await.unwrap();
    for sleeper in sleepers {
        let outcome = sleeper
            .await
            .unwrap()
            .unwrap()
            .into_inner()
            .outcome
            .unwrap();
        expect_kind(outcome.into_result(), Kind::Cancelled);
    }
    node.is_idle().await;
}

#[tokio::test]
async fn a_call_in_line_can_be_cancelled() {
    let node = TestNode::with(|options| options.max_sandboxes = Some(16)).await;
    node.deploy("sleep", SLEEP).await;
    let args = MINUTE.to_le_bytes();
    let mut calls = Vec::new();
    for _ in 0..17 {
        let mut client = node.calls();
        calls.push(tokio::spawn(async move {
            client.invoke(request("sleep", "", &args)).await
        }));
    }
    let queued = node.wait_for(1, State::Queued).await;
    node.calls()
        .cancel(v1::CancelRequest {
            call: queued[0].call.clone(),
        })
        .await
        .unwrap();
    node.wait_for(1, State::Cancelled).await;
    node.wait_for(16, State::Running).await;
    calls.iter().for_each(|call| call.abort());
    node.is_idle().await;
}

/// A caller that goes away leaves no sandbox running for nobody.
#[tokio::test]
async fn a_dropped_call_is_cancelled() {
    let node = TestNode::start().await;
    node.deploy("sleep", SLEEP).await;
    let mut calls = node.calls();
    let args = MINUTE.to_le_bytes();
    let call = tokio::spawn(async move { calls.invoke(request("sleep", "", &args)).await });
    node.wait_for(1, State::Running).await;
    call.abort();
    node.wait_for(1, State::Cancelled).await;
    node.is_idle().await;
}

#[tokio::test]
async fn get_waits_for_a_call_and_says_that_its_value_was_not_kept() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let done = node
        .try_invoke(request("math", "noop", &[]))
        .await
        .unwrap()
        .call;
    let error = node
        .calls()
        .get(v1::GetCallRequest {
            call: done,
            timeout_ms: 0,
        })
        .await
        .unwrap_err();
    assert_eq!(refusal(&error).1, "result-not-kept");
    let failed = node
        .try_invoke(request("math", "trap", &[]))
        .await
        .unwrap()
        .call;
    let told = node
        .calls()
        .get(v1::GetCallRequest {
            call: failed,
            timeout_ms: 0,
        })
        .await
        .unwrap()
        .into_inner();
    expect_kind(told.outcome.unwrap().into_result(), Kind::Trap);
}

/// Several calls share one sandbox; one with wrong arguments does not end it.
#[tokio::test]
async fn a_session_keeps_its_sandbox_between_calls() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let open = v1::SessionOpen {
        target: Some(v1::Target::app("", "math", "")),
        limits: None,
        ..Default::default()
    };
    let call = |id, function: &str, args: &[u8]| {
        session_request::Part::Call(v1::SessionCall {
            id,
            function: function.into(),
            args: Bytes::copy_from_slice(args),
        })
    };
    let parts = [
        session_request::Part::Open(open),
        call(1, "bump", &[]),
        call(2, "square", &[1, 2, 3]),
        call(3, "nonesuch", &[]),
        call(4, "bump", &[]),
    ];
    let parts = parts.map(v1::SessionRequest::from);
    let answers = node
        .calls()
        .session(futures::stream::iter(parts))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers
        .map(|answer| answer.unwrap().part.unwrap())
        .collect()
        .await;
    assert!(matches!(&answers[0], session_response::Part::Opened(_)));
    let results: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            session_response::Part::Result(result) => {
                Some((result.id, result.outcome.unwrap().into_result()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(results.len(), 4, "{results:?}");
    assert_eq!(results[0].1.as_ref().unwrap(), &1u32.to_le_bytes()[..]);
    assert_eq!(results[1].1.as_ref().unwrap_err().kind(), Kind::Arguments);
    assert_eq!(results[2].1.as_ref().unwrap_err().kind(), Kind::Arguments);
    assert_eq!(results[3].1.as_ref().unwrap(), &2u32.to_le_bytes()[..]);
    node.is_idle().await;
    let ended = node.wait_for(1, State::Succeeded).await;
    assert_eq!(ended[0].kind(), CallKind::Session);
}
