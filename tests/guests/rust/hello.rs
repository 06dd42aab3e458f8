//! The smallest useful guest: one function, a string in, a string out.

wit_bindgen::generate!({
    inline: r#"
        package test:hello;

        world hello {
            /// Greets someone.
            export hello: func(name: string) -> string;
        }
    "#,
});

struct Hello;

export!(Hello);

impl Guest for Hello {
    fn hello(name: String) -> String {
        format!("Hello, {name}!")
    }
}
