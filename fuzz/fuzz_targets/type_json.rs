//! Any text as the JSON of a type or function: what is read prints as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_fuzz::LIMITS;
use lydian_value::{FuncType, Type};

fuzz_target!(|text: &str| {
    if let Ok(ty) = Type::from_json(text) {
        assert_eq!(Type::from_json(&ty.to_json()).as_ref(), Ok(&ty));
        let _ = (
            ty.to_string(),
            ty.shape().to_string(),
            ty.example(),
            ty.check(text.as_bytes(), &LIMITS),
        );
    }
    if let Ok(func) = FuncType::from_json(text) {
        assert_eq!(FuncType::from_json(&func.to_json()).as_ref(), Ok(&func));
        let _ = (
            func.signature(),
            func.args_from_wave(&[text], &LIMITS),
            func.check_args(text.as_bytes(), &LIMITS),
        );
    }
});
