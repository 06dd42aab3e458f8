//! Writes to stdout and stderr: little, much, and what a terminal should not be sent.

use std::io::Write;

wit_bindgen::generate!({
    inline: r#"
        package test:output;

        world output {
            /// Writes a text as it is.
            export print: func(text: string, to-stderr: bool);
            /// Writes any bytes as they are.
            export print-bytes: func(bytes: list<u8>, to-stderr: bool);
            /// `n` numbered lines.
            export lines: func(n: u32);
            /// Lines without end on stdout.
            export flood: func();
            /// Lines without end on stderr.
            export flood-stderr: func();
            /// One line of `bytes` bytes that never ends.
            export one-line: func(bytes: u64);
            /// Clears the screen, moves the cursor, sets the title, rings.
            export escapes: func();
            /// Bytes that are not UTF-8, some of them cut in the middle of a character.
            export invalid-utf8: func();
            /// A line on each, and then a trap.
            export last-words: func();
        }
    "#,
});

struct Output;

export!(Output);

fn write(bytes: &[u8], to_stderr: bool) {
    // A refused write is the host's way to stop a flood; the guest goes on to see what then happens.
    let _ = if to_stderr {
        std::io::stderr().write_all(bytes)
    } else {
        raw_stdout(bytes)
    };
}

/// Past the line buffer of the standard library, which would hold back what has no line end.
fn raw_stdout(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

impl Guest for Output {
    fn print(text: String, to_stderr: bool) {
        write(text.as_bytes(), to_stderr);
    }

    fn print_bytes(bytes: Vec<u8>, to_stderr: bool) {
        write(&bytes, to_stderr);
    }

    fn lines(n: u32) {
        for line in 0..n {
            write(format!("line {line}\n").as_bytes(), false);
        }
    }

    fn flood() {
        loop {
            write(b"the same line again and again\n", false);
        }
    }

    fn flood_stderr() {
        loop {
            write(b"the same line again and again\n", true);
        }
    }

    fn one_line(bytes: u64) {
        let block = [b'x'; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let size = left.min(block.len() as u64);
            write(&block[..size as usize], false);
            left -= size;
        }
    }

    fn escapes() {
        write(
            b"before\x1b[2J\x1b[H\x1b]0;title\x07\x1b[31mred\x1b[0m\x08\x08\rafter\x9b31m\n",
            false,
        );
    }

    fn invalid_utf8() {
        write(b"good \xff\xfe bad \xc3", false);
        write(b"\xa9 cut \xe2\x82", false);
        write(b"\xac end \xed\xa0\x80\n", false);
    }

    fn last_words() {
        println!("last words");
        eprintln!("and last complaint");
        panic!("it was too much");
    }
}
