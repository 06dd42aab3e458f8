//! Large arguments and results.

wit_bindgen::generate!({
    inline: r#"
        package test:payload;

        world payload {
            /// Takes bytes and returns how many there were.
            export take: func(bytes: list<u8>) -> u64;
            export take-strings: func(strings: list<string>) -> u64;
            /// Returns `bytes` bytes of 0x5a.
            export give: func(bytes: u64) -> list<u8>;
            /// Returns `n` strings of `bytes` bytes.
            export give-strings: func(n: u32, bytes: u32) -> list<string>;
            /// Returns `n` empty lists: many values, hardly a byte.
            export give-empties: func(n: u32) -> list<list<u8>>;
            /// Fails with `bytes` bytes of reason.
            export give-error: func(bytes: u32) -> result<u8, string>;
        }
    "#,
});

struct Payload;

export!(Payload);

impl Guest for Payload {
    fn take(bytes: Vec<u8>) -> u64 {
        bytes.len() as u64
    }

    fn take_strings(strings: Vec<String>) -> u64 {
        strings.iter().map(|string| string.len() as u64).sum()
    }

    fn give(bytes: u64) -> Vec<u8> {
        vec![0x5a; bytes as usize]
    }

    fn give_strings(n: u32, bytes: u32) -> Vec<String> {
        let one = "z".repeat(bytes as usize);
        vec![one; n as usize]
    }

    fn give_empties(n: u32) -> Vec<Vec<u8>> {
        vec![Vec::new(); n as usize]
    }

    fn give_error(bytes: u32) -> Result<u8, String> {
        Err("e".repeat(bytes as usize))
    }
}
