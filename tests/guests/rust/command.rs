//! A program, `wasi:cli/run`: prints its arguments and leaves with the status the first one names.

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("arguments: {}", arguments.join(" "));
    let status = arguments
        .first()
        .and_then(|first| first.parse().ok())
        .unwrap_or(0);
    std::process::exit(status);
}
