//! Reads what surrounds it: variables, arguments, input, files.

use std::io::Read;

wit_bindgen::generate!({
    inline: r#"
        package test:env;

        world env {
            /// All environment variables, by name.
            export variables: func() -> list<tuple<string, string>>;
            export variable: func(name: string) -> option<string>;
            export arguments: func() -> list<string>;
            export current-dir: func() -> result<string, string>;
            /// The folders it may see.
            export preopens: func() -> list<string>;
            export read-file: func(path: string) -> result<list<u8>, string>;
            export write-file: func(path: string, bytes: list<u8>) -> result<_, string>;
            export list-dir: func(path: string) -> result<list<string>, string>;
            export read-stdin: func() -> result<list<u8>, string>;
            /// Seconds since 1970.
            export wall-clock: func() -> u64;
        }
    "#,
});

struct Env;

export!(Env);

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

impl Guest for Env {
    fn variables() -> Vec<(String, String)> {
        let mut variables: Vec<_> = std::env::vars().collect();
        variables.sort();
        variables
    }

    fn variable(name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    fn arguments() -> Vec<String> {
        std::env::args().collect()
    }

    fn current_dir() -> Result<String, String> {
        std::env::current_dir()
            .map(|path| path.display().to_string())
            .map_err(text)
    }

    fn preopens() -> Vec<String> {
        wasip2::filesystem::preopens::get_directories()
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    }

    fn read_file(path: String) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(text)
    }

    fn write_file(path: String, bytes: Vec<u8>) -> Result<(), String> {
        std::fs::write(path, bytes).map_err(text)
    }

    fn list_dir(path: String) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(path).map_err(text)?;
        entries
            .map(|entry| {
                entry
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .map_err(text)
            })
            .collect()
    }

    fn read_stdin() -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(text)?;
        Ok(bytes)
    }

    fn wall_clock() -> u64 {
        wasip2::clocks::wall_clock::now().seconds
    }
}
