//! What manifests are taken and which are refused, and with which words.

use super::*;
use lydian_value::FuncType;
use std::time::Duration;

fn parse(json: &str) -> Result<Manifest, Error> {
    Manifest::parse(json.as_bytes())
}

fn refusal(json: &str) -> (String, String) {
    let error = parse(json).unwrap_err();
    (error.to_string(), error.detail().hints.join("; "))
}

#[test]
fn function_settings_win_over_the_apps() {
    let manifest = parse(
        r#"{"name": "sweep", "timeout": "30s", "memory": "128MiB", "env": {"A": "1", "B": "1"},
            "network": ["example.org:443"], "args": ["x"],
            "functions": {"train": {"timeout": "1m30s", "env": {"B": "2"}, "network": [], "docs": "Trains."}}}"#,
    )
    .unwrap();
    let (train, other) = (manifest.limits("train"), manifest.limits("other"));
    assert_eq!(
        (train.timeout, train.memory_bytes),
        (Duration::from_secs(90), 128 << 20)
    );
    assert_eq!(other.timeout, Duration::from_secs(30));
    let grants = manifest.grants("train");
    assert_eq!(
        grants.env,
        [("A".into(), "1".into()), ("B".into(), "2".into())]
    );
    assert!(grants.network.is_empty());
    assert_eq!(grants.args, ["x"]);
    assert_eq!(manifest.grants("other").network.len(), 1);
    assert_eq!(manifest.docs("train"), "Trains.");
}

/// The SDK keeps there what a component cannot.
#[test]
fn types_are_explained() {
    let manifest =
        parse(r#"{"types": {"point": "A place.", "point.x": "To the right."}}"#).unwrap();
    assert_eq!(manifest.type_docs("point.x"), Some("To the right."));
    assert_eq!(manifest.type_docs("point.y"), None);
    assert!(refusal(r#"{"types": []}"#).0.contains("types"));
    assert!(
        refusal(r#"{"types": {"point": 1}}"#)
            .0
            .contains("types.point")
    );
}

/// Every limit has a key; a key that set nothing would be a promise nobody keeps.
#[test]
fn every_limit_can_be_set() {
    let manifest = parse(
        r#"{"timeout": "5s", "cpu": "2s", "memory": "1MiB", "payload": "2MiB", "host-call-bytes": "3MiB",
            "output": "4MiB", "output-rate": "5MiB", "handles": 6, "open-files": 7}"#,
    )
    .unwrap();
    let expected = Limits {
        timeout: Duration::from_secs(5),
        cpu: Duration::from_secs(2),
        memory_bytes: 1 << 20,
        payload_bytes: 2 << 20,
        host_call_bytes: 3 << 20,
        output_bytes: 4 << 20,
        output_bytes_per_second: 5 << 20,
        handles: 6,
        open_files: 7,
    };
    assert_eq!(manifest.limits("any"), expected);
}

#[test]
fn nothing_said_sets_nothing() {
    let manifest = parse("").unwrap();
    assert_eq!(manifest.limits("any"), Limits::UNSET);
    assert_eq!(manifest.grants("any"), Grants::default());
}

/// A typing mistake must not become a limit that is silently not there.
#[test]
fn unknown_keys_are_refused_by_name() {
    let (error, hint) = refusal(r#"{"functions": {"train": {"memry": "1MiB"}}}"#);
    assert_eq!(
        error,
        "manifest: `functions.train.memry` is not a key of the manifest"
    );
    assert_eq!(hint, "did you mean `memory`?");
    assert!(refusal(r#"{"docs": "of the app"}"#).0.contains("`docs`"));
}

/// What the node would not do is never accepted and ignored, wherever the SDK or a file may write it.
#[test]
fn what_comes_later_is_refused_with_a_sentence() {
    let anywhere = [
        ("volumes", r#"{"/data": "digits:ro"}"#),
        ("secrets", r#"["hub"]"#),
        ("gpu", r#""any""#),
        ("retries", "3"),
        ("scaling", r#"{"min-instances": 1}"#),
        ("cache", "true"),
        ("endpoint", r#"{"method": "POST"}"#),
        ("schedule", r#"{"cron": "0 6 * * *"}"#),
        ("build", "{}"),
        ("snapshot", "true"),
        ("parameters", r#"["size"]"#),
        ("concurrency", "1"),
        ("queues", "[]"),
        ("placement", "{}"),
    ];
    for (key, value) in anywhere {
        for (place, json) in [
            (key.to_owned(), format!(r#"{{"{key}": {value}}}"#)),
            (
                format!("functions.f.{key}"),
                format!(r#"{{"functions": {{"f": {{"{key}": {value}}}}}}}"#),
            ),
            (
                format!("classes.c.{key}"),
                format!(r#"{{"classes": {{"c": {{"{key}": {value}}}}}}}"#),
            ),
        ] {
            let (error, hint) = refusal(&json);
            let start = format!("manifest: `{place}` is not supported by this release: ");
            assert!(error.starts_with(&start), "{error}");
            assert!(error.ends_with(" come with a later one"), "{error}");
            assert_eq!(hint, format!("remove `{key}` to deploy without it"));
        }
    }
    assert!(
        refusal(r#"{"functions": {"m": {"kind": "class"}}}"#)
            .0
            .contains("later")
    );
}

#[test]
fn wrong_values_say_how_to_write_them() {
    for (json, word) in [
        (r#"{"timeout": 5}"#, "is not a duration"),
        (r#"{"timeout": "5"}"#, "is not a duration"),
        (r#"{"timeout": "0s"}"#, "is not between"),
        (r#"{"timeout": "5 parsecs"}"#, "is not a duration"),
        (r#"{"memory": "lots"}"#, "is not a size"),
        (r#"{"memory": 0}"#, "is not between"),
        (r#"{"payload": "65MiB"}"#, "is over 64MiB"),
        (r#"{"handles": 0}"#, "is not a whole number"),
        (r#"{"network": ["example.org"]}"#, "is not a host and port"),
        (r#"{"env": {"A=B": "c"}}"#, "is no name"),
        (r#"{"args": "x"}"#, "is not a list"),
        (r#"{"functions": []}"#, "is not a table"),
        (r#"{"version": 2}"#, "newer than 1"),
        ("[]", "is not a table"),
        ("{", "is not JSON"),
    ] {
        let (error, _) = refusal(json);
        assert!(error.contains(word), "{json}: {error}");
    }
}

#[test]
fn settings_for_a_missing_function_are_refused() {
    let interface = Interface {
        functions: vec![FuncType::new("train", [], None)],
        ..Interface::default()
    };
    let manifest = parse(r#"{"functions": {"trian": {}}}"#).unwrap();
    let error = manifest.check_functions(&interface).unwrap_err();
    assert!(error.to_string().contains("`functions.trian`"), "{error}");
    assert!(error.detail().hints[0].contains("`train`"));
    assert!(
        parse(r#"{"functions": {"train": {}}}"#)
            .unwrap()
            .check_functions(&interface)
            .is_ok()
    );
}

/// The file beside the component changes what the SDK wrote, key by key.
#[test]
fn the_file_wins_over_the_component() {
    let own = serde_json::json!({"version": 1, "timeout": "5s",
        "functions": {"a": {"memory": "1MiB", "network": ["x.org:1"]}, "b": {"cpu": "1s"}}});
    let file = br#"{"functions": {"a": {"network": [], "timeout": "9s"}}}"#;
    let manifest = Manifest::parse(&merged(Some(own.clone()), file).unwrap()).unwrap();
    assert_eq!(manifest.limits("a").timeout, Duration::from_secs(9));
    assert_eq!(manifest.limits("a").memory_bytes, 1 << 20);
    assert!(manifest.grants("a").network.is_empty());
    assert_eq!(manifest.limits("b").cpu, Duration::from_secs(1));
    assert_eq!(merged(None, b"").unwrap(), b"");
    assert_eq!(
        merged(Some(own.clone()), b"").unwrap(),
        own.to_string().as_bytes()
    );
}

/// Several app modules of one crate leave several texts in one section.
#[test]
fn sections_are_found_in_nested_modules_and_joined() {
    let component = wat::parse_str(
        r#"(component
            (core module (@custom "lydian:manifest" "{\"functions\":{\"a\":{\"cpu\":\"1s\"}}}{\"functions\":{\"b\":{\"cpu\":\"2s\"}}}"))
            (core module (@custom "other" "x")))"#,
    )
    .unwrap();
    let own = section::find(&component).unwrap();
    let manifest = Manifest::parse(&merged(own, b"").unwrap()).unwrap();
    assert_eq!(manifest.limits("a").cpu, Duration::from_secs(1));
    assert_eq!(manifest.limits("b").cpu, Duration::from_secs(2));
    assert_eq!(section::find(b"not wasm").unwrap(), None);
}

/// Whoever calls a component by its digest agreed to none of its wishes; that a class is one is not a wish.
#[test]
fn of_a_bare_components_manifest_its_classes_hold() {
    let interface = Interface {
        functions: vec![
            FuncType::new("model#lydian-enter", [], None),
            FuncType::new("model#predict", [], None),
        ],
        ..Interface::default()
    };
    assert!(bare::has_classes(&interface));
    assert!(!bare::has_classes(&Interface::default()));
    let own = serde_json::json!({"network": ["x.org:1"], "retries": 3, "functions": {"f": {"cpu": "1s"}},
        "classes": {"model": {"enter": true, "max-calls": 5, "memory": "1MiB", "env": {"A": "1"}, "docs": "Knows."}}});
    let manifest = Manifest::of_bare(Some(own), &interface).unwrap();
    let class = manifest.class_of("model#predict").unwrap();
    assert_eq!((class.max_calls, class.docs()), (5, "Knows."));
    assert!(!manifest.is_callable("model#lydian-enter"));
    assert_eq!(manifest.limits("model#predict"), Limits::UNSET);
    assert_eq!(manifest.grants("model#predict"), Grants::default());
    let own = serde_json::json!({"classes": {"model": {"enter": true, "snapshot": true}}});
    let error = Manifest::of_bare(Some(own), &interface).unwrap_err();
    assert!(
        error.to_string().contains("`classes.model.snapshot`"),
        "{error}"
    );
}
