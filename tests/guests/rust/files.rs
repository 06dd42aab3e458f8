//! Reads what is mounted, and tries what it must not do. No export is named `read`: a function of the C library is.

use std::fs;
use std::io::Read;

wit_bindgen::generate!({
    inline: r#"
        package test:files;

        world reads-files {
            export read-text: func(path: string) -> result<string, string>;
            /// Names below a directory, sorted.
            export list-names: func(path: string) -> result<list<string>, string>;
            /// Each way to change something below a directory, and what came of it.
            export spoil: func(path: string) -> list<string>;
            /// Opens a file so often, and keeps it open.
            export hold: func(path: string, count: u32) -> u32;
        }
    "#,
});

struct Files;

export!(Files);

fn told<T>(what: &str, result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => format!("{what}: done"),
        Err(error) => format!("{what}: {:?}", error.kind()),
    }
}

impl Guest for Files {
    fn read_text(path: String) -> Result<String, String> {
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn list_names(path: String) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(path).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    fn spoil(path: String) -> Vec<String> {
        let at = |name: &str| format!("{path}/{name}");
        let append = fs::OpenOptions::new().append(true).open(at("a.txt"));
        vec![
            told("write", fs::write(at("a.txt"), "changed")),
            told("append", append),
            told("create", fs::write(at("new.txt"), "new")),
            told("remove", fs::remove_file(at("a.txt"))),
            told("rename", fs::rename(at("a.txt"), at("b.txt"))),
            told("mkdir", fs::create_dir(at("new"))),
            told("escape", fs::read(at("../../etc/passwd"))),
        ]
    }

    fn hold(path: String, count: u32) -> u32 {
        let files: Vec<fs::File> = (0..count)
            .map_while(|_| fs::File::open(&path).ok())
            .collect();
        files.len() as u32
    }
}
