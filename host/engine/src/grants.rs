//! What a sandbox may reach outside itself: nothing, unless it is listed here.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Capabilities of one sandbox. The default grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Where it may connect to.
    pub network: Vec<HostPort>,
    /// Environment variables. Nothing of the host's environment is ever inherited.
    pub env: Vec<(String, String)>,
    /// Command-line arguments, the program name first.
    pub args: Vec<String>,
    /// Directories that it may read.
    pub mounts: Vec<Mount>,
}

/// A directory of the host that a guest may read, and nothing else.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where the guest sees it: `/assets`.
    pub at: String,
    /// What it sees there.
    pub directory: Arc<dyn Directory>,
}

/// A directory that is there as long as this value is.
pub trait Directory: fmt::Debug + Send + Sync {
    /// Where it is.
    fn path(&self) -> &Path;
}

impl PartialEq for Mount {
    fn eq(&self, other: &Mount) -> bool {
        self.at == other.at && self.directory.path() == other.directory.path()
    }
}

impl Eq for Mount {}

/// A pattern of hosts and ports a guest may connect to: `api.example.org:443`, `*.example.org:443`,
/// `10.0.0.7:5432`, `[::1]:8080`, `example.org:*`.
///
/// A name never covers loopback, link-local, private or other special addresses it may resolve to: such an
/// address has to be granted as a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: Host,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// Lower case, without a final dot.
    Name(String),
    /// The suffix with its leading dot: `.example.org`.
    Subdomains(String),
}

impl HostPort {
    /// Whether a connection to the literal `address` is granted.
    pub(crate) fn covers_address(&self, address: IpAddr, port: u16) -> bool {
        self.covers_port(port) && matches!(self.host, Host::Address(granted) if granted == address)
    }

    /// Whether a connection to the name `host` is granted.
    pub(crate) fn covers_name(&self, host: &str, port: u16) -> bool {
        self.covers_port(port) && self.names(host)
    }

    /// Whether `host` may be looked up, whatever the port.
    pub(crate) fn names(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match &self.host {
            Host::Address(_) => false,
            Host::Name(name) => *name == host,
            Host::Subdomains(suffix) => {
                host.len() > suffix.len() && host.ends_with(suffix.as_str())
            }
        }
    }

    /// Whether `port` is granted.
    pub(crate) fn covers_port(&self, port: u16) -> bool {
        self.port.is_none_or(|granted| granted == port)
    }
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<HostPort, InvalidHostPort> {
        let invalid = || InvalidHostPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = match port {
            "*" => None,
            number => Some(
                number
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(invalid)?,
            ),
        };
        let host = parse_host(host).ok_or_else(invalid)?;
        Ok(HostPort { host, port })
    }
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner
            .parse()
            .ok()
            .map(|address| Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = text.parse() {
        return Some(Host::Address(IpAddr::V4(address)));
    }
    let (wild, name) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let name = name.to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A last label of digits alone would be one of the spellings of an IPv4 address that resolvers accept.
    let numeric = name
        .rsplit('.')
        .next()
        .is_none_or(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    if numeric || name.len() > 253 || !name.split('.').all(label) {
        return None;
    }
    Some(if wild {
        Host::Subdomains(format!(".{name}"))
    } else {
        Host::Name(name)
    })
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Subdomains(suffix) => write!(f, "*{suffix}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// The text is no host and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host and port: write `name:443`, `*.name:443`, `10.0.0.7:5432` or `name:*`"
)]
pub struct InvalidHostPort(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_print_as_they_were_written() {
        for text in [
            "api.example.org:443",
            "*.example.org:*",
            "10.0.0.7:5432",
            "[::1]:80",
        ] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    /// A wildcard stands for subdomains, not for names that merely end alike.
    #[test]
    fn wildcards_cover_subdomains_only() {
        let granted = pattern("*.example.org:443");
        assert!(granted.covers_name("a.b.Example.org.", 443));
        assert!(!granted.covers_name("example.org", 443));
        assert!(!granted.covers_name("badexample.org", 443));
        assert!(!granted.covers_name("a.example.org", 80));
    }

    /// `2130706433` and `0x7f.1` are spellings of 127.0.0.1 to a resolver.
    #[test]
    fn numeric_names_are_refused() {
        for text in [
            "2130706433:80",
            "0x7f.1:80",
            "127.1:80",
            "a..b:80",
            "name",
            "name:0",
            ":80",
            "*:80",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_do_not_cover_addresses() {
        assert!(!pattern("localhost:80").covers_address(IpAddr::from([127, 0, 0, 1]), 80));
        assert!(pattern("127.0.0.1:80").covers_address(IpAddr::from([127, 0, 0, 1]), 80));
        assert!(!pattern("127.0.0.1:80").covers_address(IpAddr::from([127, 0, 0, 1]), 81));
    }
}
