//! WASI 0.3: async exports, `stream<T>` and `future<T>` as results, and what goes wrong in the middle of them.

use std::time::Duration;

use wit_bindgen::{FutureReader, StreamReader, StreamResult};

wit_bindgen::generate!({
    inline: r#"
        package test:streams;

        world streams {
            /// An async function with a plain result, after `millis` of waiting.
            export later: async func(x: u64, millis: u64) -> u64;
            /// Async, but done at once.
            export at-once: async func(x: string) -> string;
            /// The numbers from 0 to `n`, without it.
            export count: async func(n: u32) -> stream<u32>;
            /// `n` bytes, in chunks.
            export bytes: async func(n: u64, chunk: u32) -> stream<u8>;
            /// One line after another, `millis` apart.
            export lines: async func(n: u32, millis: u64) -> stream<string>;
            /// A value that comes after `millis`.
            export promise: async func(x: u64, millis: u64) -> future<u64>;
            /// Two streams and a number.
            export both: async func(n: u32) -> tuple<stream<u32>, stream<string>, u32>;
            /// Traps after `n` items.
            export trap-after: async func(n: u32) -> stream<u32>;
            /// Traps after waiting `millis`.
            export trap-later: async func(millis: u64);
            /// Never finishes.
            export never: async func();
            /// Waits for a future that only it could write.
            export deadlock: async func() -> u64;
            /// A future that is never written.
            export broken-promise: async func() -> future<u64>;
            /// A stream that never ends and never waits.
            export endless: async func() -> stream<u8>;
            /// A stream whose items carry nothing.
            export ticks: async func(n: u32) -> stream;
            /// A future that is done, and no more.
            export done: async func() -> tuple<u32, future>;
            /// A result that comes later.
            export verdict: async func(good: bool) -> future<result<u32, string>>;
            /// A stream, unless there is none.
            export perhaps: async func(n: u32) -> result<stream<u32>, string>;
            /// The sum of a stream from the caller.
            export sum: async func(numbers: stream<u32>) -> u64;
        }
    "#,
});

struct Streams;

export!(Streams);

/// Waits on the host's clock: a task that waits on nothing at all is a trap at once.
async fn for_ever() {
    wasip3::clocks::monotonic_clock::wait_for(u64::MAX).await;
}

async fn sleep(millis: u64) {
    let nanos = Duration::from_millis(millis).as_nanos() as u64;
    wasip3::clocks::monotonic_clock::wait_for(nanos).await;
}

/// Feeds the stream from a task of its own, so that the reader gets it before the first item.
fn numbers(n: u32, then_trap: bool) -> StreamReader<u32> {
    let (mut writer, reader) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        for number in 0..n {
            if writer.write_one(number).await.is_some() {
                return; // The reader is gone.
            }
        }
        assert!(!then_trap, "the stream broke after {n} items");
    });
    reader
}

fn words(n: u32, millis: u64) -> StreamReader<String> {
    let (mut writer, reader) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        for number in 0..n {
            if number > 0 {
                sleep(millis).await;
            }
            if writer.write_one(format!("line {number}")).await.is_some() {
                return;
            }
        }
    });
    reader
}

/// Chunks of bytes that count upwards, so that a lost or doubled one shows. `None` never ends.
fn chunks(total: Option<u64>, chunk: usize) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        let mut sent = 0u64;
        while total.is_none_or(|total| sent < total) {
            let left = total.map_or(u64::MAX, |total| total - sent);
            let size = (chunk as u64).min(left);
            let bytes = (sent..sent + size).map(|at| at as u8).collect();
            if !writer.write_all(bytes).await.is_empty() {
                return;
            }
            sent += size;
        }
    });
    reader
}

fn promise(x: u64, millis: u64) -> FutureReader<u64> {
    let (writer, reader) = wit_future::new(|| 0);
    wit_bindgen::spawn_local(async move {
        sleep(millis).await;
        // A reader that went away is no concern of the writer's.
        let _ = writer.write(x).await;
    });
    reader
}

impl Guest for Streams {
    async fn later(x: u64, millis: u64) -> u64 {
        sleep(millis).await;
        x
    }

    async fn at_once(x: String) -> String {
        x
    }

    async fn count(n: u32) -> StreamReader<u32> {
        numbers(n, false)
    }

    async fn bytes(n: u64, chunk: u32) -> StreamReader<u8> {
        chunks(Some(n), chunk.max(1) as usize)
    }

    async fn lines(n: u32, millis: u64) -> StreamReader<String> {
        words(n, millis)
    }

    async fn promise(x: u64, millis: u64) -> FutureReader<u64> {
        promise(x, millis)
    }

    async fn both(n: u32) -> (StreamReader<u32>, StreamReader<String>, u32) {
        (numbers(n, false), words(n, 0), n)
    }

    async fn trap_after(n: u32) -> StreamReader<u32> {
        numbers(n, true)
    }

    async fn trap_later(millis: u64) {
        sleep(millis).await;
        panic!("trapped after {millis} ms");
    }

    async fn never() {
        for_ever().await;
    }

    async fn deadlock() -> u64 {
        let (writer, reader) = wit_future::new(|| 0);
        let value = reader.await;
        drop(writer);
        value
    }

    async fn broken_promise() -> FutureReader<u64> {
        let (writer, reader) = wit_future::new(|| 0);
        wit_bindgen::spawn_local(async move {
            for_ever().await;
            drop(writer);
        });
        reader
    }

    async fn endless() -> StreamReader<u8> {
        chunks(None, 64 * 1024)
    }

    async fn ticks(n: u32) -> StreamReader<()> {
        let (mut writer, reader) = wit_stream::new();
        wit_bindgen::spawn_local(async move {
            for _ in 0..n {
                if writer.write_one(()).await.is_some() {
                    return;
                }
            }
        });
        reader
    }

    async fn done() -> (u32, FutureReader<()>) {
        let (writer, reader) = wit_future::new(|| ());
        wit_bindgen::spawn_local(async move {
            let _ = writer.write(()).await;
        });
        (42, reader)
    }

    async fn verdict(good: bool) -> FutureReader<Result<u32, String>> {
        let (writer, reader) = wit_future::new(|| Err("never".to_owned()));
        wit_bindgen::spawn_local(async move {
            let verdict = if good { Ok(7) } else { Err("no".to_owned()) };
            let _ = writer.write(verdict).await;
        });
        reader
    }

    async fn perhaps(n: u32) -> Result<StreamReader<u32>, String> {
        match n {
            0 => Err("none".to_owned()),
            n => Ok(numbers(n, false)),
        }
    }

    async fn sum(mut numbers: StreamReader<u32>) -> u64 {
        let mut sum = 0;
        loop {
            let (result, read) = numbers.read(Vec::with_capacity(1024)).await;
            sum += read.iter().copied().map(u64::from).sum::<u64>();
            if !matches!(result, StreamResult::Complete(_)) {
                return sum;
            }
        }
    }
}
