//! Any text as WAVE of any type, and as a command line argument: what is read prints as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_fuzz::{LIMITS, type_and_rest};
use lydian_value::{FuncType, wave};

fuzz_target!(|data: &[u8]| {
    let Some((ty, rest)) = type_and_rest(data) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let func = FuncType::new("f", [("x", ty.clone())], None);
    if let Err(error) = func.args_from_wave(&[text], &LIMITS) {
        let _ = (error.to_string(), error.hints());
    }
    let Ok(value) = wave::parse(&ty, text, &LIMITS) else {
        return;
    };
    let Ok(wire) = ty.encode(&value, &LIMITS) else {
        return;
    };
    let printed = wave::to_string(&ty, &wire, &LIMITS).expect("an encoded value prints");
    assert_eq!(
        wave::parse(&ty, &printed, &LIMITS).expect("printed WAVE is read"),
        value,
        "{printed}"
    );
});
