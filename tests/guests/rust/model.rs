//! A class: state that is made once per instance, methods that share it, and ways to spoil an instance.

use std::cell::RefCell;

use exports::model::Guest as Model;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::Pollable;

wit_bindgen::generate!({
    path: "../../wit/calls",
    generate_all,
    inline: r#"
        package test:model;

        world classes {
            import lydian:calls/invoke@0.1.0;

            export model: interface {
                lydian-enter: func() -> result<_, string>;
                lydian-exit: func();
                /// How many calls this instance has served, this one included; traps when it was not entered.
                count: func() -> u64;
                /// A number that each instance has for itself.
                identity: func() -> u64;
                /// Sleeps, and says which instance did.
                slow: func(millis: u64) -> u64;
                trap: func();
                spin: func();
                /// Keeps memory, or handles.
                leak-memory: func(bytes: u64) -> u64;
                leak-handles: func(count: u32) -> u64;
                say: func(text: string);
                /// Another method of the class, called from this one.
                nested: func() -> string;
            }
            /// No method: has no state.
            export plain: func() -> u64;
            /// A method, called from a function; a map over one.
            export through: func() -> string;
            export mapped: func(inputs: u64) -> u64;
        }
    "#,
});

use crate::lydian::calls::invoke::{self, MapOptions, Target};

struct Component;

export!(Component);

#[derive(Default)]
struct State {
    calls: u64,
    identity: u64,
    memory: Vec<Vec<u8>>,
    handles: Vec<Pollable>,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

fn with<T>(act: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(|state| {
        let state = state.as_mut().expect("the instance was not entered");
        state.calls += 1;
        act(state)
    })
}

fn call(function: &str) -> String {
    let target = Target {
        app: None,
        function: function.into(),
    };
    match invoke::start(&target, &[]).and_then(|pending| pending.get()) {
        Ok(bytes) => format!("ok {bytes:?}"),
        Err(error) => format!("{:?}: {}", error.kind, error.message),
    }
}

impl Model for Component {
    fn lydian_enter() -> Result<(), String> {
        println!("enter");
        match std::env::var("ENTER").as_deref() {
            Ok("fails") => return Err("the weights are not there".into()),
            Ok("traps") => panic!("trapped while it was entered"),
            Ok("spins") => loop {
                std::hint::black_box(0);
            },
            _ => {}
        }
        let identity = wasip2::random::random::get_random_u64();
        let state = State {
            identity,
            ..State::default()
        };
        match STATE.replace(Some(state)) {
            None => Ok(()),
            Some(_) => Err("entered twice".into()),
        }
    }

    fn lydian_exit() {
        let calls = STATE.with_borrow(|state| state.as_ref().map_or(0, |state| state.calls));
        println!("exit after {calls}");
    }

    fn count() -> u64 {
        with(|state| state.calls)
    }

    fn identity() -> u64 {
        with(|state| state.identity)
    }

    fn slow(millis: u64) -> u64 {
        with(|state| {
            subscribe_duration(millis * 1_000_000).block();
            state.identity
        })
    }

    fn trap() {
        with(|_| panic!("trapped as asked"))
    }

    fn spin() {
        with(|_| {
            loop {
                std::hint::black_box(0);
            }
        })
    }

    fn leak_memory(bytes: u64) -> u64 {
        with(|state| {
            state.memory.push(vec![1; bytes as usize]);
            state.calls
        })
    }

    fn leak_handles(count: u32) -> u64 {
        with(|state| {
            let timers = (0..count).map(|_| subscribe_duration(u64::MAX));
            state.handles.extend(timers);
            state.calls
        })
    }

    fn say(text: String) {
        with(|_| println!("{text}"));
    }

    fn nested() -> String {
        with(|_| call("model#identity"))
    }
}

impl Guest for Component {
    fn plain() -> u64 {
        7
    }

    fn through() -> String {
        call("model#count")
    }

    fn mapped(inputs: u64) -> u64 {
        let target = Target {
            app: None,
            function: "model#count".into(),
        };
        let options = MapOptions {
            ordered: true,
            return_errors: false,
            max_parallel: 1,
        };
        let mapping = invoke::map(&target, options).expect("the map begins");
        mapping
            .push(&vec![Vec::new(); inputs as usize])
            .expect("room");
        mapping.finish();
        let mut last = 0;
        loop {
            let items = mapping.next(16).expect("results");
            if items.is_empty() {
                return last;
            }
            for item in items {
                let bytes = item.outcome.expect("a count");
                last = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            }
        }
    }
}
