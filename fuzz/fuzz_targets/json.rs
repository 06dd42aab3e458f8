//! Any text as JSON of any type: what is read is JSON, and prints as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_fuzz::{LIMITS, type_and_rest};
use lydian_value::{FuncType, json};

fuzz_target!(|data: &[u8]| {
    let Some((ty, rest)) = type_and_rest(data) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let func = FuncType::new("f", [("x", ty.clone())], None);
    let _ = func.args_from_json(text, &LIMITS);
    let Ok(value) = json::from_str(&ty, text, &LIMITS) else {
        return;
    };
    assert!(
        serde_json::from_str::<serde_json::Value>(text).is_ok(),
        "read what is no JSON: {text}"
    );
    let Ok(wire) = ty.encode(&value, &LIMITS) else {
        return;
    };
    let printed = json::to_string(&ty, &wire, &LIMITS).expect("an encoded value prints");
    assert_eq!(
        json::from_str(&ty, &printed, &LIMITS).expect("printed JSON is read"),
        value,
        "{printed}"
    );
});
