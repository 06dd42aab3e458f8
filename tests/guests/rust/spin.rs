//! Loops for ever inside an export, in several manners.

use std::hint::black_box;

wit_bindgen::generate!({
    inline: r#"
        package test:spin;

        world spin {
            /// An empty loop.
            export spin: func();
            /// A loop that calls the host all the time.
            export spin-calling: func();
            /// A loop that allocates and frees.
            export spin-allocating: func();
            /// An async export that never gives way.
            export spin-async: async func();
            /// An async export that gives way and comes back at once.
            export spin-yielding: async func();
            /// Answers at once: the same component also does harmless work.
            export fine: func(x: u32) -> u32;
        }
    "#,
});

struct Spin;

export!(Spin);

impl Guest for Spin {
    fn spin() {
        loop {
            black_box(());
        }
    }

    fn spin_calling() {
        loop {
            black_box(wasip2::clocks::monotonic_clock::now());
        }
    }

    fn spin_allocating() {
        loop {
            black_box(vec![1u8; 4096]);
        }
    }

    async fn spin_async() {
        Self::spin();
    }

    async fn spin_yielding() {
        loop {
            wit_bindgen::yield_async().await;
        }
    }

    fn fine(x: u32) -> u32 {
        x
    }
}
