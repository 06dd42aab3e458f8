//! A resource: constructor, methods, static functions, borrowed and owned handles, a destructor that counts.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use exports::test::counter::counters::{Counter, CounterBorrow, Guest, GuestCounter};

wit_bindgen::generate!({
    inline: r#"
        package test:counter;

        interface counters {
            /// Counts upwards.
            resource counter {
                constructor(start: u64);
                /// Adds `by` and returns the sum; traps when it overflows.
                increment: func(by: u64) -> u64;
                value: func() -> u64;
                /// The sum of some counters, which stay the caller's.
                sum: static func(counters: list<borrow<counter>>) -> u64;
                /// Turns two counters into one.
                merge: static func(a: counter, b: counter) -> counter;
            }
            /// A counter, by a function that is not its constructor.
            make: func(start: u64) -> counter;
            /// Several counters at once.
            many: func(count: u32) -> list<counter>;
            maybe: func(start: option<u64>) -> option<counter>;
            /// Reads a counter that stays the caller's.
            peek: func(counter: borrow<counter>) -> u64;
            /// Takes a counter and returns its last value.
            consume: func(counter: counter) -> u64;
            /// How many counters this instance holds.
            live: func() -> u32;
        }

        world counter-world {
            export counters;
        }
    "#,
});

struct Component;

export!(Component);

/// Counters made and not yet dropped in this instance.
static LIVE: AtomicU32 = AtomicU32::new(0);

struct Count(Cell<u64>);

impl Count {
    fn start(value: u64) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(Cell::new(value))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl GuestCounter for Count {
    fn new(start: u64) -> Self {
        Self::start(start)
    }

    fn increment(&self, by: u64) -> u64 {
        let sum = self.0.get().checked_add(by).expect("counter overflow");
        self.0.set(sum);
        sum
    }

    fn value(&self) -> u64 {
        self.0.get()
    }

    fn sum(counters: Vec<CounterBorrow<'_>>) -> u64 {
        counters.iter().map(|c| c.get::<Count>().value()).sum()
    }

    fn merge(a: Counter, b: Counter) -> Counter {
        Counter::new(Count::start(
            a.get::<Count>().value() + b.get::<Count>().value(),
        ))
    }
}

impl Guest for Component {
    type Counter = Count;

    fn make(start: u64) -> Counter {
        Counter::new(Count::start(start))
    }

    fn many(count: u32) -> Vec<Counter> {
        (0..u64::from(count)).map(Self::make).collect()
    }

    fn maybe(start: Option<u64>) -> Option<Counter> {
        start.map(Self::make)
    }

    fn peek(counter: CounterBorrow<'_>) -> u64 {
        counter.get::<Count>().value()
    }

    fn consume(counter: Counter) -> u64 {
        counter.get::<Count>().value()
    }

    fn live() -> u32 {
        LIVE.load(Ordering::Relaxed)
    }
}
