//! Any bytes against any type: all walks agree, and what decodes is the one encoding of its value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_fuzz::{LIMITS, type_and_rest};
use lydian_value::{json, wave};

fuzz_target!(|data: &[u8]| {
    let Some((ty, wire)) = type_and_rest(data) else {
        return;
    };
    let checked = ty.check(wire, &LIMITS);
    let json = json::to_string(&ty, wire, &LIMITS);
    let wave = wave::to_string(&ty, wire, &LIMITS);
    assert_eq!(json.is_ok(), checked.is_ok());
    assert_eq!(wave.is_ok(), checked.is_ok());
    match ty.decode(wire, &LIMITS) {
        Ok(value) => {
            assert_eq!(
                ty.encode(&value, &LIMITS).expect("a decoded value encodes"),
                wire
            );
            let (json, wave) = (json.expect("checked"), wave.expect("checked"));
            assert_eq!(
                json::from_str(&ty, &json, &LIMITS).expect("printed JSON is read"),
                value,
                "{json}"
            );
            assert_eq!(
                wave::parse(&ty, &wave, &LIMITS).expect("printed WAVE is read"),
                value,
                "{wave}"
            );
        }
        Err(error) => assert!(
            checked.is_err() || error.code() == "too-many-values",
            "{error}"
        ),
    }
});
