//! Calls any import of WASI with any core arguments: handles that were never given, addresses outside the memory,
//! lengths of 4 GiB, enumerations beyond their last case. What the bindings of a language would never let pass.
//!
//! A host may trap the guest for it, and nothing else.

wit_bindgen::generate!({
    inline: r#"
        package test:raw;

        world raw {
            /// How many imports there are.
            export count: func() -> u32;
            /// `interface function` of an import, by its index.
            export name: func(index: u32) -> string;
            /// Calls an import; missing arguments are 0. Returns the core result, 0 when it has none.
            export call: func(index: u32, arguments: list<u64>) -> u64;
            /// Calls one import `calls` times with odd arguments drawn from `seed`; returns how many came back.
            export odd: func(index: u32, seed: u64, calls: u32) -> u32;
            /// Calls `calls` imports, all drawn from `seed`, so that handles which one gave reach another.
            export storm: func(seed: u64, calls: u32) -> u32;
        }
    "#,
});

struct Raw;

export!(Raw);

struct Import {
    module: &'static str,
    name: &'static str,
    call: fn(&mut dyn FnMut() -> u64) -> u64,
}

macro_rules! imports {
    ($($module:literal $name:literal ($($parameter:ty),*) $(-> $result:ty)?;)*) => {
        const IMPORTS: &[Import] = &[$(Import {
            module: $module,
            name: $name,
            call: {
                #[link(wasm_import_module = $module)]
                unsafe extern "C" {
                    #[link_name = $name]
                    fn import($(_: $parameter),*) $(-> $result)?;
                }
                #[allow(unused_variables, reason = "some imports take nothing")]
                fn call(next: &mut dyn FnMut() -> u64) -> u64 {
                    // SAFETY: none is claimed. The host is what is tested; it may write anywhere in this guest.
                    imports!(@value unsafe { import($(next() as $parameter),*) } $(, $result)?)
                }
                call
            },
        },)*];
    };
    (@value $call:expr, $result:ty) => { $call as u64 };
    (@value $call:expr) => {{ $call; 0 }};
}

include!("raw/imports.rs");

/// Memory that an import may read or fill: the address that most odd arguments name.
static mut ARENA: [u8; 4096] = [0; 4096];

/// Numbers that break off-by-one checks, mixed with small ones, which are likely handles, and good addresses.
fn odd_number(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let bits = *random >> 33;
    match bits % 8 {
        0..=3 => (bits >> 3) % 12,
        4 | 5 => (&raw const ARENA as usize as u64) + ((bits >> 3) % 64) * 8,
        6 => [
            u64::MAX,
            1 << 31,
            u64::from(u32::MAX),
            65_535,
            1 << 40,
            (1 << 32) - 8,
        ][(bits >> 3) as usize % 6],
        _ => bits >> 3,
    }
}

fn import(index: u32) -> &'static Import {
    &IMPORTS[index as usize % IMPORTS.len()]
}

impl Guest for Raw {
    fn count() -> u32 {
        IMPORTS.len() as u32
    }

    fn name(index: u32) -> String {
        let import = import(index);
        format!("{} {}", import.module, import.name)
    }

    fn call(index: u32, arguments: Vec<u64>) -> u64 {
        let mut arguments = arguments.into_iter();
        (import(index).call)(&mut || arguments.next().unwrap_or(0))
    }

    fn odd(index: u32, seed: u64, calls: u32) -> u32 {
        // The custom section that describes the imports comes with the crates' own code.
        if calls == u32::MAX {
            std::hint::black_box(wasip2::clocks::monotonic_clock::now());
            std::hint::black_box(wasip3::clocks::monotonic_clock::now());
        }
        let mut random = seed;
        for _ in 0..calls {
            (import(index).call)(&mut || odd_number(&mut random));
        }
        calls
    }

    fn storm(seed: u64, calls: u32) -> u32 {
        let mut random = seed;
        for _ in 0..calls {
            let index = odd_number(&mut random) as u32 ^ (random >> 40) as u32;
            (import(index).call)(&mut || odd_number(&mut random));
        }
        calls
    }
}
