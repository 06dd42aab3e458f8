//! The catalog, over every engine.

use std::time::Duration;

use bytes::Bytes;
use lydian_store::{AppState, Error, LiveSet, NewVersion, Store, Write};
use lydian_value::Digest;

use crate::bed::{START_MS, conformance, job};

fn version(app: &str, content: &str) -> NewVersion {
    NewVersion {
        environment: "main".into(),
        app: app.into(),
        component: Digest::of(content.as_bytes()),
        manifest: Bytes::from(format!(r#"{{ "of": "{content}" }}"#)),
        message: format!("deploy {content}"),
        commit: "abc123*".into(),
        client: "lydian 0.1.0".into(),
    }
}

async fn deploy(store: &Store, app: &str, content: &str) -> u64 {
    store
        .catalog()
        .deploy(version(app, content), None)
        .await
        .unwrap()
        .version
        .number
}

async fn history(store: &Store, app: &str) -> Vec<(u64, Option<u64>)> {
    let versions = store.catalog().versions("main", app).await.unwrap();
    versions
        .iter()
        .map(|version| (version.number, version.rolled_back_to))
        .collect()
}

conformance! { StoreBed:
    async fn a_deployed_app_is_found_with_all_that_was_said(bed) {
        let store = bed.open().await;
        let deployed = store.catalog().deploy(version("demo", "one"), None).await.unwrap();
        assert!(!deployed.unchanged);
        let app = store.catalog().app("main", "demo").unwrap().unwrap();
        assert_eq!((app.environment.as_str(), app.name.as_str()), ("main", "demo"));
        assert_eq!((app.state, &app.current), (AppState::Deployed, &deployed.version));
        let version = deployed.version;
        assert_eq!((version.number, version.component), (1, Digest::of(b"one")));
        assert_eq!(version.manifest, r#"{ "of": "one" }"#);
        assert_eq!(version.manifest_digest, Digest::of(&version.manifest));
        assert_eq!((version.deployed_at_ms, version.rolled_back_to), (START_MS, None));
        assert_eq!((version.message.as_str(), version.commit.as_str()), ("deploy one", "abc123*"));
        assert_eq!(version.client, "lydian 0.1.0");
        assert_eq!(store.catalog().app("main", "other").unwrap(), None);
        assert_eq!(store.catalog().app("dev", "demo").unwrap(), None);
    }

    async fn the_same_content_makes_no_new_version(bed) {
        let store = bed.open().await;
        deploy(&store, "demo", "one").await;
        let again = NewVersion { message: "other words".into(), ..version("demo", "one") };
        let again = store.catalog().deploy(again, None).await.unwrap();
        assert!(again.unchanged);
        assert_eq!((again.version.number, again.version.message.as_str()), (1, "deploy one"));
        let manifest = NewVersion { manifest: "{}".into(), ..version("demo", "one") };
        assert_eq!(store.catalog().deploy(manifest, None).await.unwrap().version.number, 2);
        assert_eq!(deploy(&store, "demo", "one").await, 3);
    }

    async fn history_is_kept_newest_first_and_never_changes(bed) {
        let store = bed.open().await;
        for content in ["one", "two", "three"] {
            deploy(&store, "demo", content).await;
        }
        let versions = store.catalog().versions("main", "demo").await.unwrap();
        let contents: Vec<_> = versions.iter().map(|version| (version.number, version.component)).collect();
        let expected = [(3, "three"), (2, "two"), (1, "one")];
        assert_eq!(contents, expected.map(|(number, content)| (number, Digest::of(content.as_bytes()))));
        for version in versions {
            assert_eq!(store.catalog().version("main", "demo", version.number).await.unwrap(), version);
        }
        let missing = store.catalog().version("main", "demo", 4).await.unwrap_err();
        assert!(matches!(missing, Error::VersionNotFound { version: 4, .. }));
        let missing = store.catalog().versions("main", "other").await.unwrap_err();
        assert!(matches!(missing, Error::AppNotFound { .. }));
    }

    /// Keys sort as text: the tenth version must not come before the second.
    async fn more_than_nine_versions_stay_in_order(bed) {
        let store = bed.open().await;
        for n in 1..=12 {
            assert_eq!(deploy(&store, "demo", &format!("content {n}")).await, n);
        }
        let numbers: Vec<_> = history(&store, "demo").await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=12).rev().collect::<Vec<_>>());
    }

    async fn if_version_refuses_a_deploy_over_somebody_elses(bed) {
        let store = bed.open().await;
        let catalog = store.catalog();
        let error = catalog.deploy(version("demo", "one"), Some(1)).await.unwrap_err();
        assert!(matches!(error, Error::VersionChanged { expected: 1, current: 0, .. }));
        catalog.deploy(version("demo", "one"), Some(0)).await.unwrap();
        catalog.deploy(version("demo", "two"), Some(1)).await.unwrap();
        let error = catalog.deploy(version("demo", "three"), Some(1)).await.unwrap_err();
        assert!(matches!(error, Error::VersionChanged { expected: 1, current: 2, .. }));
        assert_eq!(history(&store, "demo").await.len(), 2);
    }

    async fn a_rollback_is_a_new_version_with_the_old_content(bed) {
        let store = bed.open().await;
        for content in ["one", "two", "three"] {
            deploy(&store, "demo", content).await;
        }
        let back = store.catalog().rollback("main", "demo", Some(1), "me").await.unwrap();
        assert!(!back.unchanged);
        assert_eq!((back.version.number, back.version.rolled_back_to), (4, Some(1)));
        assert_eq!(back.version.component, Digest::of(b"one"));
        assert_eq!((back.version.commit.as_str(), back.version.client.as_str()), ("abc123*", "me"));
        let error = store.catalog().rollback("main", "demo", Some(9), "me").await.unwrap_err();
        assert!(matches!(error, Error::VersionNotFound { version: 9, .. }));
        let error = store.catalog().rollback("main", "other", None, "me").await.unwrap_err();
        assert!(matches!(error, Error::AppNotFound { .. }));
    }

    /// "Back" once more means one further back, not to and fro.
    async fn rolling_back_twice_goes_back_two_versions(bed) {
        let store = bed.open().await;
        for content in ["one", "two", "three"] {
            deploy(&store, "demo", content).await;
        }
        for _ in 0..2 {
            store.catalog().rollback("main", "demo", None, "me").await.unwrap();
        }
        let expected = [(5, Some(1)), (4, Some(2)), (3, None), (2, None), (1, None)];
        assert_eq!(history(&store, "demo").await, expected);
        let error = store.catalog().rollback("main", "demo", None, "me").await.unwrap_err();
        assert!(matches!(error, Error::NoEarlierVersion { version: 5, origin: 1, .. }));
        assert!(error.to_string().contains("version 5, which is version 1 again"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("lydian app rollback APP VERSION")));
    }

    /// What was rolled back from was bad; going back further must not bring it up again.
    async fn rolling_back_never_returns_to_what_was_rolled_back_from(bed) {
        let store = bed.open().await;
        let back = || store.catalog().rollback("main", "demo", None, "me");
        for content in ["one", "two", "bad"] {
            deploy(&store, "demo", content).await;
        }
        assert_eq!(back().await.unwrap().version.rolled_back_to, Some(2));
        deploy(&store, "demo", "bad as well").await;
        assert_eq!(back().await.unwrap().version.rolled_back_to, Some(4));
        assert_eq!(back().await.unwrap().version.rolled_back_to, Some(1));
        let error = back().await.unwrap_err();
        assert!(matches!(error, Error::NoEarlierVersion { version: 7, origin: 1, .. }));
    }

    async fn a_stopped_app_is_started_by_start_or_deploy(bed) {
        let store = bed.open().await;
        let catalog = store.catalog();
        let state = || catalog.app("main", "demo").unwrap().unwrap().state;
        assert!(matches!(catalog.stop("main", "demo").await, Err(Error::AppNotFound { .. })));
        deploy(&store, "demo", "one").await;
        assert_eq!(catalog.stop("main", "demo").await.unwrap().state, AppState::Stopped);
        assert_eq!(catalog.stop("main", "demo").await.unwrap().state, AppState::Stopped);
        assert_eq!(state(), AppState::Stopped);
        catalog.start("main", "demo").await.unwrap();
        assert_eq!(state(), AppState::Deployed);
        catalog.stop("main", "demo").await.unwrap();
        assert!(catalog.deploy(version("demo", "one"), None).await.unwrap().unchanged);
        assert_eq!(state(), AppState::Deployed);
        catalog.stop("main", "demo").await.unwrap();
        deploy(&store, "demo", "two").await;
        assert_eq!(state(), AppState::Deployed);
    }

    async fn environments_separate_apps(bed) {
        let store = bed.open().await;
        let catalog = store.catalog();
        assert_eq!(catalog.environments(), ["main"]);
        for (environment, app) in [("prod", "b"), ("dev", "a"), ("prod", "a")] {
            let new = NewVersion { environment: environment.into(), ..version(app, environment) };
            catalog.deploy(new, None).await.unwrap();
        }
        assert_eq!(catalog.environments(), ["dev", "main", "prod"]);
        let names = |environment| {
            let apps = catalog.apps(environment);
            apps.iter().map(|app| format!("{}/{}", app.environment, app.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("prod")), ["prod/a", "prod/b"]);
        assert_eq!(names(Some("main")), Vec::<String>::new());
        assert_eq!(names(None), ["dev/a", "prod/a", "prod/b"]);
    }

    async fn names_and_manifests_are_checked(bed) {
        let store = bed.open().await;
        let long = "a".repeat(65);
        for name in ["", "-a", ".a", "a/b", "a b", "ä", "a\n", &long] {
            let error = store.catalog().deploy(version(name, "one"), None).await.unwrap_err();
            assert!(matches!(error, Error::InvalidName { what: "app", .. }), "{name}: {error}");
            let new = NewVersion { environment: name.into(), ..version("demo", "one") };
            let error = store.catalog().deploy(new, None).await.unwrap_err();
            assert!(matches!(error, Error::InvalidName { what: "environment", .. }), "{name}: {error}");
        }
        for name in ["a", "0", "A-b_c.d", &long[..64]] {
            deploy(&store, name, "one").await;
        }
        for manifest in [&b"{"[..], b"\xff", b"{} {}"] {
            let new = NewVersion { manifest: Bytes::from_static(manifest), ..version("demo", "one") };
            let error = store.catalog().deploy(new, None).await.unwrap_err();
            assert!(matches!(error, Error::InvalidManifest { .. }));
        }
        let none = NewVersion { manifest: Bytes::new(), ..version("demo", "one") };
        assert_eq!(store.catalog().deploy(none, None).await.unwrap().version.manifest, "");
    }

    async fn racing_deploys_all_get_a_version_of_their_own(bed) {
        let store = bed.open().await;
        let racers: Vec<_> = (0..12).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { deploy(&store, "demo", &format!("content {n}")).await })
        }).collect();
        let mut numbers = Vec::new();
        for racer in racers {
            numbers.push(racer.await.unwrap());
        }
        numbers.sort();
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
        let newest = store.catalog().versions("main", "demo").await.unwrap().remove(0);
        assert_eq!(store.catalog().app("main", "demo").unwrap().unwrap().current, newest);
    }

    /// Someone who may not destroy what a version needs: the collector.
    async fn collection_spares_versions_and_jobs(bed) {
        let store = bed.open().await;
        let blob = |text: &'static str| store.blobs().put(Bytes::from_static(text.as_bytes()));
        let (old, new) = (blob("one").await.unwrap(), blob("two").await.unwrap());
        let (of_job, named) = (blob("three").await.unwrap(), blob("four").await.unwrap());
        let unused = blob("five").await.unwrap();
        deploy(&store, "demo", "one").await;
        deploy(&store, "demo", "two").await;
        store.jobs().enqueue(vec![lydian_store::NewJob { blobs: vec![of_job], ..job("j") }]).await.unwrap();
        let swept = store.collect(LiveSet::from([named]), Duration::ZERO).await.unwrap();
        assert_eq!(swept.blobs, 1);
        let missing = store.blobs().missing(&[old, new, of_job, named, unused]).await.unwrap();
        assert_eq!(missing, [unused]);
    }

    /// A record damaged in the database costs that app, until it is deployed again.
    async fn an_unreadable_app_is_named_and_mended_by_a_deploy(bed) {
        let store = bed.open().await;
        for (app, content) in [("demo", "one"), ("demo", "two"), ("other", "one")] {
            deploy(&store, app, content).await;
        }
        let damage = Write::Put("app/main/demo".into(), "{\"stopped".into());
        store.meta().commit(vec![], vec![damage]).await.unwrap();
        let error = loop {
            // The cache hears of it through the change feed.
            match store.catalog().app("main", "demo") {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::CorruptRecord { key, .. } if key.to_string() == "app/main/demo"));
        assert!(error.hint().is_some());
        assert_eq!(store.catalog().apps(None).len(), 1);
        assert_eq!(deploy(&store, "other", "two").await, 2);
        assert_eq!(deploy(&store, "demo", "three").await, 3);
        assert_eq!(history(&store, "demo").await.len(), 3);
        assert_eq!(store.catalog().apps(None).len(), 2);
    }
}

/// The node opens what the last one left.
#[tokio::test]
async fn a_reopened_catalog_is_the_same() {
    let bed = crate::bed::StoreBed::disk();
    let store = bed.open().await;
    for content in ["one", "two"] {
        deploy(&store, "demo", content).await;
    }
    store.catalog().stop("main", "demo").await.unwrap();
    let before = (store.catalog().apps(None), history(&store, "demo").await);
    drop(store);
    let store = bed.open().await;
    assert_eq!(
        (store.catalog().apps(None), history(&store, "demo").await),
        before
    );
}

/// A command beside a running node deploys; the node's calls find the app without being told.
#[tokio::test]
async fn another_process_deploying_is_seen() {
    let bed = crate::bed::StoreBed::disk();
    let (node, command) = (bed.open().await, bed.open().await);
    deploy(&command, "demo", "one").await;
    while node.catalog().app("main", "demo").unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its own next deploy builds on that, even if its cache did not.
    deploy(&command, "demo", "two").await;
    assert_eq!(deploy(&node, "demo", "three").await, 3);
}

/// Ten thousand apps are listed and looked up from memory.
#[tokio::test]
async fn ten_thousand_apps_are_all_listed() {
    let bed = crate::bed::StoreBed::memory();
    let store = bed.open().await;
    for n in 0..10_000 {
        deploy(&store, &format!("app-{n:05}"), "one").await;
    }
    let apps = store.catalog().apps(Some("main"));
    assert_eq!(apps.len(), 10_000);
    assert!(apps.is_sorted_by(|a, b| a.name < b.name));
    assert!(store.catalog().app("main", "app-09999").unwrap().is_some());
    assert_eq!(store.catalog().live_blobs().await.unwrap().len(), 1);
}
