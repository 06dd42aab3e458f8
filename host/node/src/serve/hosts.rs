//! The host names that a node on loopback answers to.
//!
//! A web page may make its own name resolve to `127.0.0.1` and then read what listens there as if it were its own site. The
//! browser still says which name it asked for, and that name is not one of this machine.

use std::net::{IpAddr, Ipv6Addr};

/// The names that are allowed besides those of loopback.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// `names` as they are written in a URL, without a port; `*.example.org` stands for every name below it.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// Whether a request for `authority`, a host with or without a port, is for this node.
    pub(crate) fn allow(&self, authority: &str) -> bool {
        let host = plain(host_of(authority));
        is_loopback(&host) || self.0.iter().any(|allowed| matches(allowed, &host))
    }
}

/// Names are the same in both cases, and with the root's dot.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The host without user and port. An address of version 6 keeps nothing of its brackets.
fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split_once(']').map_or(host, |(host, _)| host);
    }
    match host.rsplit_once(':') {
        // More than one colon: an address of version 6 without brackets.
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

fn is_loopback(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host
            .parse::<Ipv6Addr>()
            .is_ok_and(|host| host.is_loopback()),
    }
}

fn matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(parent)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty()),
        None => allowed == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_loopback_are_allowed_with_any_port() {
        let hosts = Hosts::default();
        for host in [
            "localhost",
            "localhost:7070",
            "LOCALHOST.:80",
            "app--f.localhost:7070",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:7070",
            "[::ffff:127.0.0.1]:7070",
            "::1",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
    }

    /// What DNS rebinding sends, and what is written to look like loopback.
    #[test]
    fn other_names_are_not() {
        let hosts = Hosts::default();
        for host in [
            "evil.example",
            "evil.example:7070",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "notlocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[fd00::1]:7070",
            "",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn listed_names_are_allowed_and_a_star_stands_for_what_is_below() {
        let hosts = Hosts::new(&["Node.Example".into(), "*.apps.example".into()]);
        assert!(hosts.allow("node.example:443"));
        assert!(hosts.allow("a.b.apps.example"));
        for host in [
            "x.node.example",
            "apps.example",
            ".apps.example",
            "evilapps.example",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }
}
