//! Deploying, listing, history, rollback, stop.

use crate::guests::{MATH, ONE, wasm};
use crate::harness::{TestNode, raw, refusal, request, u64_of};
use lydian_api::v1::{self, app, change, describe_request::Of};
use lydian_value::{Digest, FuncType};
use tonic::Code;

#[tokio::test]
async fn a_deployed_function_is_called_by_name() {
    let node = TestNode::start().await;
    let deployed = node.deploy("math", MATH).await;
    assert_eq!((deployed.version, deployed.unchanged), (1, false));
    assert!(deployed.compile.unwrap().artifact_bytes > 0);
    assert_eq!(
        u64_of(
            &node
                .invoke("math", "square", &7u64.to_le_bytes())
                .await
                .unwrap()
        ),
        49
    );
    // The only function needs no name.
    node.deploy("one", ONE).await;
    assert_eq!(
        node.invoke("one", "", &[]).await.unwrap(),
        &1u32.to_le_bytes()[..]
    );
}

/// A deploy that changes nothing must not make history.
#[tokio::test]
async fn the_same_component_and_manifest_make_no_new_version() {
    let node = TestNode::start().await;
    node.deploy("math", MATH).await;
    let again = node.deploy("math", MATH).await;
    assert_eq!((again.version, again.unchanged), (1, true));
    assert!(again.changes.is_empty());
    let other = node
        .deploy_with("math", MATH, r#"{"timeout": "9s"}"#)
        .await
        .unwrap();
    assert_eq!((other.version, other.unchanged), (2, false));
}

#[tokio::test]
async fn a_plan_tells_the_difference_and_changes_nothing() {
    let node = TestNode::start().await;
    node.deploy_with("app", ONE, r#"{"timeout": "30s"}"#)
        .await
        .unwrap();
    let digest = node.put(MATH).await;
    let manifest =
        r#"{"timeout": "9s", "functions": {"square": {"network": ["example.org:443"]}}}"#;
    let request = v1::DeployRequest {
        app: "app".into(),
        component: raw(&digest),
        manifest: manifest.into(),
        dry_run: true,
        ..Default::default()
    };
    let plan = node.apps().deploy(request).await.unwrap().into_inner();
    let told: Vec<_> = plan
        .changes
        .iter()
        .map(|one| (one.kind(), one.what.as_str()))
        .collect();
    assert!(
        told.contains(&(change::Kind::Changed, "component")),
        "{told:?}"
    );
    assert!(
        told.contains(&(change::Kind::Removed, "function one")),
        "{told:?}"
    );
    assert!(
        told.contains(&(change::Kind::Added, "function square")),
        "{told:?}"
    );
    assert!(
        told.contains(&(change::Kind::Added, "grant square.network")),
        "{told:?}"
    );
    let history = v1::HistoryRequest {
        app: "app".into(),
        ..Default::default()
    };
    assert_eq!(
        node.apps()
            .history(history)
            .await
            .unwrap()
            .into_inner()
            .versions
            .len(),
        1
    );
}

#[tokio::test]
async fn a_changed_limit_is_told_with_both_values() {
    let node = TestNode::start().await;
    node.deploy_with("one", ONE, r#"{"memory": "64MiB"}"#)
        .await
        .unwrap();
    let deployed = node
        .deploy_with("one", ONE, r#"{"memory": "32MiB"}"#)
        .await
        .unwrap();
    let change = &deployed.changes[0];
    assert_eq!(
        (
            change.what.as_str(),
            change.before.as_str(),
            change.after.as_str()
        ),
        ("limit one.memory", "64MiB", "32MiB")
    );
    assert_eq!(deployed.functions[0].limits.unwrap().memory_bytes, 32 << 20);
}

/// Two who deploy at once must not overwrite each other unseen.
#[tokio::test]
async fn a_deploy_on_another_version_than_expected_is_refused() {
    let node = TestNode::start().await;
    node.deploy("one", ONE).await;
    let digest = node.put(MATH).await;
    let deploy = |if_version| v1::DeployRequest {
        app: "one".into(),
        component: raw(&digest),
        if_version,
        ..Default::default()
    };
    let error = node.apps().deploy(deploy(7)).await.unwrap_err();
    assert_eq!(refusal(&error).0, Code::FailedPrecondition);
    assert_eq!(refusal(&error).1, "version-changed");
    assert_eq!(
        node.apps()
            .deploy(deploy(1))
            .await
            .unwrap()
            .into_inner()
            .version,
        2
    );
}

#[tokio::test]
async fn rollback_makes_a_new_version_of_an_old_content() {
    let node = TestNode::start().await;
    node.deploy("app", ONE).await;
    node.deploy("app", MATH).await;
    let back = v1::RollbackRequest {
        app: "app".into(),
        ..Default::default()
    };
    let back = node.apps().rollback(back).await.unwrap().into_inner();
    assert_eq!(back.version, 3);
    assert!(node.invoke("app", "one", &[]).await.is_ok());
    let history = v1::HistoryRequest {
        app: "app".into(),
        ..Default::default()
    };
    let versions = node
        .apps()
        .history(history)
        .await
        .unwrap()
        .into_inner()
        .versions;
    assert_eq!(
        versions.iter().map(|one| one.version).collect::<Vec<_>>(),
        [3, 2, 1]
    );
    assert_eq!(
        (
            versions[0].rolled_back_to,
            versions[0].current,
            versions[1].current
        ),
        (1, true, false)
    );
}

#[tokio::test]
async fn an_earlier_version_can_be_called_by_number() {
    let node = TestNode::start().await;
    node.deploy("app", ONE).await;
    node.deploy("app", MATH).await;
    let mut request = request("app", "one", &[]);
    if let Some(v1::target::Code::App(app)) = request
        .target
        .as_mut()
        .and_then(|target| target.code.as_mut())
    {
        app.version = 1;
    }
    assert!(
        node.try_invoke(request.clone())
            .await
            .unwrap()
            .outcome
            .unwrap()
            .into_result()
            .is_ok()
    );
    if let Some(v1::target::Code::App(app)) = request
        .target
        .as_mut()
        .and_then(|target| target.code.as_mut())
    {
        app.version = 9;
    }
    assert_eq!(
        refusal(&node.try_invoke(request).await.unwrap_err()).1,
        "version-not-found"
    );
}

#[tokio::test]
async fn a_stopped_app_takes_no_calls_until_it_is_deployed_again() {
    let node = TestNode::start().await;
    node.deploy("one", ONE).await;
    node.apps()
        .stop(v1::StopRequest {
            app: "one".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let error = node.try_invoke(request("one", "", &[])).await.unwrap_err();
    assert_eq!(refusal(&error).1, "app-stopped");
    let list = node
        .apps()
        .list(v1::ListAppsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .apps;
    assert_eq!(list[0].state(), app::State::Stopped);
    node.deploy("one", ONE).await;
    assert!(node.invoke("one", "", &[]).await.is_ok());
}

#[tokio::test]
async fn description_has_functions_types_limits_imports_and_wit() {
    let node = TestNode::start().await;
    node.deploy_with(
        "math",
        MATH,
        r#"{"timeout": "7s", "env": {"KEY": "secret"}}"#,
    )
    .await
    .unwrap();
    let of = Of::App(v1::AppRef {
        app: "math".into(),
        ..Default::default()
    });
    let told = node
        .apps()
        .describe(v1::DescribeRequest { of: Some(of) })
        .await
        .unwrap()
        .into_inner();
    let square = told
        .functions
        .iter()
        .find(|function| function.name == "square")
        .unwrap();
    assert_eq!(square.signature, "func(x: u64) -> u64");
    assert_eq!(square.limits.unwrap().timeout_ms, 7_000);
    assert_eq!(square.grants, ["env KEY"]);
    let ty: FuncType = serde_json::from_slice(&square.type_json).unwrap();
    assert_eq!(ty.params.len(), 1);
    assert!(told.wit.contains("square"));
    assert_eq!(told.app.unwrap().functions, 7);

    let of = Of::Component(raw(&Digest::of(&wasm(MATH))));
    let bare = node
        .apps()
        .describe(v1::DescribeRequest { of: Some(of) })
        .await
        .unwrap()
        .into_inner();
    assert!(bare.app.is_none());
    assert_eq!(bare.functions.len(), 7);
    assert_eq!(bare.component_bytes, wasm(MATH).len() as u64);
}

#[tokio::test]
async fn apps_are_listed_by_environment() {
    let node = TestNode::start().await;
    let digest = node.put(ONE).await;
    for (environment, app) in [("", "a"), ("dev", "b")] {
        let request = v1::DeployRequest {
            environment: environment.into(),
            app: app.into(),
            component: raw(&digest),
            ..Default::default()
        };
        node.apps().deploy(request).await.unwrap();
    }
    let names = |apps: Vec<v1::App>| apps.into_iter().map(|app| app.name).collect::<Vec<_>>();
    let all = node
        .apps()
        .list(v1::ListAppsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .apps;
    assert_eq!(names(all), ["b", "a"]);
    let dev = v1::ListAppsRequest {
        environment: "dev".into(),
    };
    assert_eq!(
        names(node.apps().list(dev).await.unwrap().into_inner().apps),
        ["b"]
    );
    let environments = node
        .apps()
        .environments(v1::EnvironmentsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(environments.environments, ["dev", "main"]);
}

#[tokio::test]
async fn a_component_runs_without_being_deployed() {
    let node = TestNode::start().await;
    let digest = node.put(ONE).await;
    let target = v1::Target::component(raw(&digest), "one");
    let request = v1::InvokeRequest {
        target: Some(target),
        ..Default::default()
    };
    assert!(
        node.try_invoke(request)
            .await
            .unwrap()
            .outcome
            .unwrap()
            .into_result()
            .is_ok()
    );
    let missing = v1::Target::component(raw(&Digest::of(b"other")), "one");
    let request = v1::InvokeRequest {
        target: Some(missing),
        ..Default::default()
    };
    let error = node.try_invoke(request).await.unwrap_err();
    assert_eq!(
        (refusal(&error).0, refusal(&error).1.as_str()),
        (Code::NotFound, "component-not-found")
    );
}
