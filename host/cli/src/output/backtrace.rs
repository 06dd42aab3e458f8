//! A guest's backtrace as a person reads it: from the guest's own code on, without the machinery.
//!
//! `--json` carries all frames as the engine told them.

/// Frames that are shown; deep recursion repeats itself.
const SHOWN: usize = 12;

/// Parts of the language's own runtime, which is on top of every panic.
const MACHINERY: [&str; 7] = [
    "std::",
    "core::",
    "alloc::",
    "__rustc::",
    "__rust_",
    "rust_",
    "wit_bindgen::rt::",
];

/// The frames worth reading, one per line. Nothing is hidden when all of it is machinery.
pub(crate) fn readable(backtrace: &str) -> String {
    let frames: Vec<String> = backtrace
        .lines()
        .map(name)
        .filter(|name| !name.is_empty())
        .collect();
    let own = frames
        .iter()
        .position(|frame| !is_machinery(frame))
        .unwrap_or(0);
    let mut frames = folded(&frames[own..]);
    // The glue between the component and the function says the function's name once more.
    if frames.len() > 1 {
        frames.retain(|(frame, _)| !is_glue(frame));
    }
    let mut lines: Vec<String> = Vec::new();
    for (index, (frame, times)) in frames.iter().take(SHOWN).enumerate() {
        let at = if index == 0 { "at" } else { "  " };
        let times = match times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        lines.push(format!("  {at} {frame}{times}"));
    }
    if frames.len() > SHOWN {
        lines.push(format!("     … and {} more", frames.len() - SHOWN));
    }
    lines.join("\n")
}

/// Runs of one frame as one, with how many there are: recursion repeats itself.
fn folded(frames: &[String]) -> Vec<(&str, usize)> {
    let runs = frames.chunk_by(|a, b| a == b);
    runs.filter_map(|run| Some((run.first()?.as_str(), run.len())))
        .collect()
}

/// What binding generators put between an export and the function behind it.
fn is_glue(frame: &str) -> bool {
    let last = frame.rsplit("::").next().unwrap_or(frame);
    last.starts_with("_export_") && last.ends_with("_cabi")
}

fn is_machinery(frame: &str) -> bool {
    frame == "abort" || MACHINERY.iter().any(|part| frame.starts_with(part))
}

/// `3: math-1f4a.wasm!math::divide::h9fb6de42952eb1fd (at 0x336f)` is `math::divide`.
fn name(frame: &str) -> String {
    let frame = frame.trim();
    let frame = frame
        .split_once(": ")
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .map_or(frame, |(_, rest)| rest);
    let frame = frame.split_once('!').map_or(frame, |(_, name)| name);
    let frame = frame.rsplit_once(" (at ").map_or(frame, |(name, _)| name);
    let frame = match frame.rsplit_once("::h") {
        Some((name, hash))
            if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            name
        }
        _ => frame,
    };
    without_disambiguators(frame)
}

/// `std[d123b7a1a2ed1472]::panicking` is `std::panicking`.
fn without_disambiguators(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        plain += before;
        match after.split_once(']') {
            Some((hash, after))
                if hash.len() >= 14 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                rest = after
            }
            _ => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_own_frames_are_what_is_left() {
        let backtrace = "\
   0: ending-26d2.wasm!abort (at 0x43cf)
   1: ending-26d2.wasm!std[d123b7a1a2ed1472]::sys::pal::wasi::helpers::abort_internal (at 0x30df)
   2: ending-26d2.wasm!core::panicking::panic_display::h677d7c4ad0bef913 (at 0x1069)
   3: ending-26d2.wasm!ending::inner_frame::h2351eeddfadd7fce (at 0x122b)
   4: ending-26d2.wasm![async-lift]at-once (at 0x16d5)";
        assert_eq!(
            readable(backtrace),
            "  at ending::inner_frame\n     [async-lift]at-once"
        );
    }

    /// Better the machinery than nothing.
    #[test]
    fn a_trace_of_machinery_alone_is_kept() {
        assert_eq!(readable("   0: a.wasm!abort (at 0x1)"), "  at abort");
        assert_eq!(readable(""), "");
    }

    #[test]
    fn recursion_is_folded_and_glue_left_out() {
        let deep: String = (0..40)
            .map(|i| format!("{i}: a.wasm!a::down (at 0x{i})\n"))
            .collect();
        let backtrace = deep + "40: a.wasm!a::_export_f_cabi\n41: a.wasm!f (at 0x1)";
        assert_eq!(readable(&backtrace), "  at a::down (40 times)\n     f");
    }

    #[test]
    fn a_long_trace_is_cut() {
        let backtrace: String = (0..40)
            .map(|i| format!("{i}: a.wasm!f{i} (at 0x{i})\n"))
            .collect();
        let readable = readable(&backtrace);
        assert_eq!(readable.lines().count(), SHOWN + 1);
        assert!(readable.ends_with("… and 28 more"), "{readable}");
    }
}
