//! Calls other functions, its own and those of other apps, through `lydian:calls`; says what came of it as text.

use self::lydian::calls::invoke::{self, Error, MapItem, MapOptions, Mapping, Pending, Target};
use wasip2::clocks::monotonic_clock::subscribe_duration;

wit_bindgen::generate!({
    path: "../../wit/calls",
    generate_all,
    inline: r#"
        package test:caller;

        world calls-others {
            import lydian:calls/invoke@0.1.0;

            export square: func(x: u64) -> u64;
            export sleep: func(millis: u64);
            export trap: func();
            export variable: func(name: string) -> string;
            /// Calls a function with encoded arguments; `ok <bytes>`, or the error.
            export call: func(app: option<string>, function: string, args: list<u8>) -> string;
            export type-of: func(app: option<string>, function: string) -> string;
            /// Calls itself `n` times, one inside the other: how deep it came, or the error on the way.
            export recurse: func(n: u32) -> string;
            /// The same, by turns in the apps `cycle-a` and `cycle-b`.
            export cycle: func(n: u32) -> string;
            /// Squares of 0 to `count`, summed: started one by one, or mapped.
            export sum-started: func(count: u64) -> string;
            export sum-mapped: func(count: u64, ordered: bool) -> string;
            /// A map of `width` over itself, `depth` deep: how many leaves there were.
            export tree: func(width: u32, depth: u32) -> u64;
            /// Maps until it is refused: how many inputs were taken, and the error.
            export bomb: func() -> string;
            /// Traps in the input `at`; how many results came before the error.
            export map-traps: func(count: u64, at: u64, return-errors: bool) -> string;
            export trap-at: func(x: u64, at: u64) -> u64;
            /// Begins calls of `sleep` and keeps them: how many there may be, and the error.
            export hoard: func() -> string;
            /// Begins a call of `sleep` and waits for it.
            export wait: func(millis: u64) -> string;
            /// Begins one and cancels it.
            export cancel: func() -> string;
            /// Begins one, looks after it once, and leaves.
            export leave: func() -> string;
            /// Records a call and waits for its result.
            export spawn-square: func(x: u64) -> string;
            export spawn-sleep: func(millis: u64) -> string;
            /// Asks for a recorded call's result, or cancels it.
            export get: func(call: string) -> string;
            export cancel-recorded: func(call: string) -> string;
            /// Records calls of itself without end, each of which does the same.
            export spawn-bomb: func() -> string;
        }
    "#,
});

struct Caller;

export!(Caller);

fn own(function: &str) -> Target {
    Target {
        app: None,
        function: function.into(),
    }
}

fn of(app: &str, function: &str) -> Target {
    Target {
        app: Some(app.into()),
        function: function.into(),
    }
}

fn told(error: Error) -> String {
    format!("{:?}: {}", error.kind, error.message)
}

fn wait_for(target: &Target, args: &[u8]) -> Result<Vec<u8>, Error> {
    invoke::start(target, args)?.get()
}

/// A string result: its length in LEB128, then UTF-8.
fn text(bytes: Vec<u8>) -> String {
    let start = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap_or(0) + 1;
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn sleeping() -> Result<Pending, Error> {
    invoke::start(&own("sleep"), &600_000u64.to_le_bytes())
}

const ALL: MapOptions = MapOptions {
    ordered: true,
    return_errors: false,
    max_parallel: 0,
};

/// All results of one map over what `inputs` gives.
fn all(mapping: &Mapping, inputs: Vec<Vec<u8>>) -> Result<Vec<MapItem>, Error> {
    let mut items = Vec::new();
    let mut inputs = inputs.into_iter().peekable();
    while inputs.peek().is_some() {
        let some: Vec<_> = inputs.by_ref().take(200).collect();
        let count = some.len();
        mapping.push(&some)?;
        let upto = items.len() + count;
        while items.len() < upto {
            items.extend(mapping.next(64)?);
        }
    }
    mapping.finish();
    loop {
        let more = mapping.next(64)?;
        if more.is_empty() {
            return Ok(items);
        }
        items.extend(more);
    }
}

impl Guest for Caller {
    fn square(x: u64) -> u64 {
        x * x
    }

    fn sleep(millis: u64) {
        subscribe_duration(millis * 1_000_000).block();
    }

    fn trap() {
        panic!("trapped as asked");
    }

    fn variable(name: String) -> String {
        std::env::var(name).unwrap_or_else(|_| "not set".into())
    }

    fn call(app: Option<String>, function: String, args: Vec<u8>) -> String {
        let target = Target { app, function };
        wait_for(&target, &args).map_or_else(told, |bytes| format!("ok {bytes:?}"))
    }

    fn type_of(app: Option<String>, function: String) -> String {
        invoke::type_of(&Target { app, function }).unwrap_or_else(told)
    }

    fn recurse(n: u32) -> String {
        if n == 0 {
            return "the bottom".into();
        }
        wait_for(&own("recurse"), &(n - 1).to_le_bytes()).map_or_else(told, text)
    }

    fn cycle(n: u32) -> String {
        let next = ["cycle-a", "cycle-b"][n as usize % 2];
        wait_for(&of(next, "cycle"), &(n + 1).to_le_bytes())
            .map_or_else(|error| format!("at {n} {}", told(error)), text)
    }

    fn sum_started(count: u64) -> String {
        let start = |x: u64| invoke::start(&own("square"), &x.to_le_bytes());
        let pending: Result<Vec<Pending>, Error> = (0..count).map(start).collect();
        let sum: Result<u64, Error> = pending.and_then(|pending| {
            pending
                .iter()
                .map(|pending| pending.get().map(|bytes| number(&bytes)))
                .sum()
        });
        sum.map_or_else(told, |sum| sum.to_string())
    }

    fn sum_mapped(count: u64, ordered: bool) -> String {
        let options = MapOptions { ordered, ..ALL };
        let inputs = (0..count).map(|x| x.to_le_bytes().to_vec()).collect();
        let items = invoke::map(&own("square"), options).and_then(|mapping| all(&mapping, inputs));
        let items = match items {
            Ok(items) => items,
            Err(error) => return told(error),
        };
        let in_order = items
            .iter()
            .zip(0..)
            .all(|(item, index)| item.index == index);
        if ordered && !in_order {
            return "out of order".into();
        }
        let values = items.into_iter().map(|item| item.outcome);
        let sum: Result<u64, Error> = values.map(|value| value.map(|bytes| number(&bytes))).sum();
        sum.map_or_else(told, |sum| sum.to_string())
    }

    fn tree(width: u32, depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let mut input = width.to_le_bytes().to_vec();
        input.extend((depth - 1).to_le_bytes());
        let mapping = invoke::map(&own("tree"), ALL).expect("the map begins");
        let items = all(&mapping, vec![input; width as usize]).expect("the map ends");
        items
            .into_iter()
            .map(|item| number(&item.outcome.expect("a leaf")))
            .sum()
    }

    fn bomb() -> String {
        let mapping = match invoke::map(&own("square"), ALL) {
            Ok(mapping) => mapping,
            Err(error) => return told(error),
        };
        let mut taken = 0u64;
        loop {
            let inputs: Vec<_> = (0..250u64).map(|x| x.to_le_bytes().to_vec()).collect();
            if let Err(error) = mapping.push(&inputs) {
                return format!("{taken} then {}", told(error));
            }
            let mut results = 0;
            while results < 250 {
                results += mapping.next(250).expect("results").len();
            }
            taken += 250;
        }
    }

    fn map_traps(count: u64, at: u64, return_errors: bool) -> String {
        let options = MapOptions {
            return_errors,
            ..ALL
        };
        let input = |x: u64| [x.to_le_bytes(), at.to_le_bytes()].concat();
        let mapping = match invoke::map(&own("trap-at"), options) {
            Ok(mapping) => mapping,
            Err(error) => return told(error),
        };
        mapping
            .push(&(0..count).map(input).collect::<Vec<_>>())
            .expect("room");
        mapping.finish();
        let (mut good, mut bad) = (0, String::new());
        loop {
            match mapping.next(16) {
                Ok(items) if items.is_empty() => return format!("{good} good{bad}"),
                Ok(items) => {
                    for item in items {
                        match item.outcome {
                            Ok(_) => good += 1,
                            Err(error) => bad = format!(", {} {:?}", item.index, error.kind),
                        }
                    }
                }
                Err(error) => return format!("{good} good, then {:?}", error.kind),
            }
        }
    }

    fn trap_at(x: u64, at: u64) -> u64 {
        assert_ne!(x, at);
        x
    }

    fn hoard() -> String {
        let mut kept = Vec::new();
        loop {
            match sleeping() {
                Ok(pending) => kept.push(pending),
                Err(error) => return format!("{} then {}", kept.len(), told(error)),
            }
        }
    }

    fn wait(millis: u64) -> String {
        wait_for(&own("sleep"), &millis.to_le_bytes()).map_or_else(told, |_| "slept".into())
    }

    fn cancel() -> String {
        match sleeping() {
            Ok(pending) => {
                pending.cancel();
                pending.get().map_or_else(told, |_| "slept".into())
            }
            Err(error) => told(error),
        }
    }

    fn leave() -> String {
        match sleeping() {
            Ok(pending) => match pending.poll(200) {
                Ok(None) => "under way".into(),
                Ok(Some(_)) => "slept".into(),
                Err(error) => told(error),
            },
            Err(error) => told(error),
        }
    }

    fn spawn_square(x: u64) -> String {
        let spawned = invoke::spawn(&own("square"), &x.to_le_bytes());
        match spawned.and_then(|call| invoke::get(&call, 20_000)) {
            Ok(Some(bytes)) => number(&bytes).to_string(),
            Ok(None) => "not done".into(),
            Err(error) => told(error),
        }
    }

    fn spawn_sleep(millis: u64) -> String {
        invoke::spawn(&own("sleep"), &millis.to_le_bytes()).unwrap_or_else(told)
    }

    fn get(call: String) -> String {
        match invoke::get(&call, 0) {
            Ok(None) => "not done".into(),
            Ok(Some(_)) => "done".into(),
            Err(error) => told(error),
        }
    }

    fn cancel_recorded(call: String) -> String {
        invoke::cancel(&call).map_or_else(told, |()| "cancelled".into())
    }

    fn spawn_bomb() -> String {
        let mut spawned = 0;
        loop {
            match invoke::spawn(&own("spawn-bomb"), &[]) {
                Ok(_) => spawned += 1,
                Err(error) => return format!("{spawned} then {}", told(error)),
            }
        }
    }
}
