//! Any bytes as a component: an interface or an error, and an interface survives its JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_value::FuncType;

fuzz_target!(|data: &[u8]| {
    let Ok(interface) = lydian_value::inspect(data) else {
        return;
    };
    for function in &interface.functions {
        let _ = (
            function.signature(),
            function
                .params
                .iter()
                .map(|param| param.ty.example())
                .collect::<Vec<_>>(),
        );
        let read = FuncType::from_json(&function.to_json());
        assert_eq!(read.as_ref(), Ok(function));
    }
});
