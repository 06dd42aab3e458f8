//! W3C trace context: `00-<trace id>-<span id>-<flags>`.

/// Of a context in the only version there is.
const LENGTH: usize = 55;

/// The context of a call that a call with this context makes: the same trace, a span of its own. One that is missing or
/// cannot be read begins a trace.
pub(crate) fn child(traceparent: &str) -> String {
    let (trace, flags) = parse(traceparent)
        .map(|(trace, flags)| (trace.to_owned(), flags.to_owned()))
        .unwrap_or_else(|| (format!("{:032x}", random() | 1), "00".to_owned()));
    // A span id of zeros means none.
    let span = random() as u64 | 1;
    format!("00-{trace}-{span:016x}-{flags}")
}

/// The context a client gives, or nothing where it is none: it is remembered with the call, and
/// must not be any text of any length.
pub(crate) fn valid(traceparent: String) -> String {
    match traceparent.len() == LENGTH && parse(&traceparent).is_some() {
        true => traceparent,
        false => String::new(),
    }
}

fn parse(traceparent: &str) -> Option<(&str, &str)> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let hex = |part: &str, digits| {
        part.len() == digits
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let whole =
        hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (whole && trace.bytes().any(|byte| byte != b'0')).then_some((trace, flags))
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without random bytes spans share an id, which costs a trace its shape and nothing else.
    let _ = getrandom::fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client traces must show the calls its function makes as part of the same trace.
    #[test]
    fn a_child_keeps_the_trace_and_has_a_span_of_its_own() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (one, two) = (child(parent), child(parent));
        assert!(one.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(one.ends_with("-01"));
        assert_eq!(one.len(), parent.len());
        assert!(one != parent && one != two);
    }

    /// 600 calls with a context of 4 MiB each kept 2.4 GB.
    #[test]
    fn a_context_is_55_characters_or_ignored() {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(valid(context.to_owned()), context);
        for odd in [
            String::new(),
            format!("{context}-{}", "x".repeat(1 << 20)),
            context.to_uppercase(),
            "x".repeat(55),
        ] {
            assert_eq!(valid(odd), "");
        }
    }

    #[test]
    fn what_is_no_context_begins_a_trace() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for odd in ["", "00-abc-def-01", zeros, "not a context at all"] {
            let begun = child(odd);
            assert!(parse(&begun).is_some(), "{begun}");
        }
    }
}
