//! Any bytes as an upload: refused with a reason, or counted; what passes can be read by the recursive readers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lydian_engine::scan::{Caps, scan};

fuzz_target!(|data: &[u8]| {
    // Bytes after a component's header get past the first question at once.
    let headed = [b"\0asm\x0d\0\x01\0", data].concat();
    for bytes in [data, &headed] {
        match scan(bytes, &Caps::default()) {
            Ok(totals) => assert!(totals.core_instances <= Caps::default().core_instances),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if scan(&headed, &Caps::default()).is_ok() {
        let _ = lydian_value::inspect(&headed);
    }
});
