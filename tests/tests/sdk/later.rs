//! What can be written with the SDK and is not there yet: a deploy says so, and by which key.

use crate::backends::{block_on, client};
use lydian_client::{Client, Deploy, Error};
use lydian_tests::guests;
use serde_json::{Value, json};

/// The manifest that the attributes made.
fn manifest() -> Value {
    let bytes = guests::SDK_LATER.bytes();
    let mut payloads = wasmparser::Parser::new(0).parse_all(&bytes);
    payloads
        .find_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(section) if section.name() == "lydian:manifest" => {
                Some(serde_json::from_slice(section.data()).unwrap())
            }
            _ => None,
        })
        .unwrap()
}

async fn refusal(client: &Client, deploy: Deploy) -> Error {
    client.deploy(deploy).await.unwrap_err()
}

/// A key that was taken and ignored would be a promise nobody keeps, and this release keeps none of these.
#[test]
fn a_deploy_refuses_each_attribute_of_a_later_release_by_its_key() {
    block_on(async {
        let client = client().await;
        let whole = refusal(&client, Deploy::new("later", guests::SDK_LATER.bytes())).await;
        assert!(
            whole
                .to_string()
                .contains("is not supported by this release"),
            "{whole}"
        );
        let manifest = manifest();
        let mut refused = 0;
        for kind in ["functions", "classes"] {
            for (key, table) in manifest[kind].as_object().unwrap() {
                let one = json!({ kind: { key: table } });
                let deploy = Deploy::new("later", guests::HELLO.bytes()).manifest(&one);
                let error = refusal(&client, deploy).await;
                let expected =
                    format!("manifest: `{kind}.{key}.{key}` is not supported by this release: ");
                assert!(error.to_string().starts_with(&expected), "{error}");
                assert_eq!(
                    error.hints(),
                    [format!("remove `{key}` to deploy without it")]
                );
                refused += 1;
            }
        }
        assert_eq!(refused, 11);
        Ok(())
    });
}
