//! What a guest may connect to. The one place where outbound addresses are decided on.
//!
//! Raw sockets and HTTP end here alike: names are resolved once, for granted names only; the addresses they resolve to are
//! kept, filtered, and are then the only ones that a socket may connect to. So the address checked is the address
//! connected to, and a name that resolves to `169.254.169.254` or `127.0.0.1` reaches nothing.
//! Addresses of the host itself, of its links and of private networks have to be granted as literals.

use crate::descriptors::{Descriptors, Files};
use crate::grants::Grants;
use crate::network::lookup::Lookups;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use wasmtime_wasi::sockets::SocketAddrUse;

/// Addresses that names were resolved to, kept per sandbox; what is beyond this many is resolved but refused.
const MAX_RESOLVED: usize = 1_024;

/// The egress policy of one sandbox. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Egress {
    pub(crate) grants: Arc<Grants>,
    pub(crate) files: Files,
    state: Arc<State>,
}

/// What is known of a sandbox's connections.
#[derive(Default)]
struct State {
    /// By address: the indices of the grants whose name resolved to it.
    resolved: Mutex<HashMap<IpAddr, Vec<usize>>>,
    lookups: Lookups,
}

impl Egress {
    /// `open_files` descriptors at most, and of the node's as many as there are.
    pub(crate) fn new(grants: Arc<Grants>, open_files: u32, node: Descriptors) -> Egress {
        Egress {
            grants,
            files: Files::new(open_files, node),
            state: Arc::default(),
        }
    }

    /// Whether anything at all may be reached.
    pub(crate) fn any(&self) -> bool {
        !self.grants.network.is_empty()
    }

    /// Whether `name` may be looked up.
    pub(crate) fn may_look_up(&self, name: &str) -> bool {
        self.grants
            .network
            .iter()
            .any(|granted| granted.names(name))
    }

    /// Whether a connection to `name:port` may be tried.
    pub(crate) fn may_name(&self, name: &str, port: u16) -> bool {
        self.grants
            .network
            .iter()
            .any(|granted| granted.covers_name(name, port))
    }

    /// Looks a name up that was found to be granted.
    pub(crate) async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.state.lookups.look_up(name, port).await
    }

    /// Takes note that the granted `name` resolves to `address`; `false` when the guest may not use it.
    pub(crate) fn note(&self, name: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_special(address) {
            return false;
        }
        let covering = self
            .grants
            .network
            .iter()
            .enumerate()
            .filter(|(_, granted)| granted.names(name));
        let covering: Vec<usize> = covering.map(|(index, _)| index).collect();
        let mut resolved = self.state.resolved.lock();
        if covering.is_empty()
            || (resolved.len() >= MAX_RESOLVED && !resolved.contains_key(&address))
        {
            return false;
        }
        let known = resolved.entry(address).or_default();
        known.extend(
            covering
                .iter()
                .filter(|index| !known.contains(index))
                .copied()
                .collect::<Vec<_>>(),
        );
        true
    }

    /// Whether a socket may be used so with `address`, exactly this one.
    pub(crate) fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        match purpose {
            // An own port of the kernel's choice: what a socket that connects or sends needs.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                self.any() && address.port() == 0 && address.ip().is_unspecified()
            }
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => self.may_connect(address),
            SocketAddrUse::UdpReceive => self.may_connect(address),
            // Guests serve calls, not sockets.
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
        }
    }

    /// Whether `address` was granted as a literal, or is what a granted name resolved to.
    pub(crate) fn may_connect(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let port = address.port();
        if self
            .grants
            .network
            .iter()
            .any(|granted| granted.covers_address(ip, port))
        {
            return true;
        }
        let resolved = self.state.resolved.lock();
        let known = resolved.get(&ip).map_or(&[][..], Vec::as_slice);
        !is_special(ip)
            && known
                .iter()
                .any(|index| self.grants.network[*index].covers_port(port))
    }

    /// The addresses that a connection to `host:port` may use, resolved now and pinned.
    ///
    /// # Errors
    /// [`Refused`] when there is none: not granted, not resolvable, or only to addresses that need a literal grant.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
        let literal = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(address) = literal.parse::<IpAddr>() {
            let address = SocketAddr::new(address.to_canonical(), port);
            return if self.may_connect(address) {
                Ok(vec![address])
            } else {
                Err(Refused::NotGranted)
            };
        }
        if !self.may_name(host, port) {
            return Err(Refused::NotGranted);
        }
        let found = self.look_up(host, port).await;
        let mut usable: Vec<SocketAddr> = found
            .map_err(|_| Refused::Unresolvable)?
            .into_iter()
            .map(|address| SocketAddr::new(address.ip().to_canonical(), port))
            .collect();
        usable.retain(|address| self.note(host, address.ip()) && self.may_connect(*address));
        if usable.is_empty() {
            Err(Refused::NotGranted)
        } else {
            Ok(usable)
        }
    }
}

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotGranted,
    Unresolvable,
}

/// Addresses that a name must not lead to: the host itself, its links, private networks, groups, and what is reserved.
fn is_special(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

/// A public address that one cloud answers on from within: its metadata, keys and name servers.
const CLOUD_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address == CLOUD_WIRE_SERVER
        || a == 0
        // Shared address space (RFC 6598): carriers, and the metadata service of one cloud.
        || (a == 100 && (64..128).contains(&b))
        // IETF protocol assignments and benchmarking (RFC 6890, RFC 2544).
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || segments[0] == 0x2001 && segments[1] == 0x0db8
        // Deprecated site-local addresses.
        || segments[0] & 0xffc0 == 0xfec0
        // Forms that carry an IPv4 address: compatible, NAT64 and 6to4.
        || segments[..6] == [0; 6]
        || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0]
        || (segments[0] == 0x64 && segments[1] == 0xff9b && segments[2] == 1)
        || segments[0] == 0x2002
        // Teredo.
        || segments[0] == 0x2001 && segments[1] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(patterns: &[&str]) -> Egress {
        let network = patterns.iter().map(|text| text.parse().unwrap()).collect();
        let grants = Grants {
            network,
            ..Grants::default()
        };
        Egress::new(Arc::new(grants), 1, Descriptors::limited(1))
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_reachable_without_a_grant() {
        let none = egress(&[]);
        assert!(!none.may_connect(address("93.184.216.34:443")));
        assert!(!none.may_look_up("example.org"));
        assert!(!none.allows(address("0.0.0.0:0"), SocketAddrUse::UdpBind));
    }

    /// The names a guest is granted are not under its operator's control: they may resolve to anything.
    #[test]
    fn names_never_lead_to_special_addresses() {
        let egress = egress(&["evil.example:80"]);
        for text in [
            "169.254.169.254",
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "0.0.0.0",
            "100.100.100.200",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "::1",
            "::",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "224.0.0.1",
            "255.255.255.255",
            "::127.0.0.1",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(!egress.note("evil.example", ip), "{text}");
            assert!(!egress.may_connect(SocketAddr::new(ip, 80)), "{text}");
        }
        assert!(egress.note("evil.example", "93.184.216.34".parse().unwrap()));
        assert!(egress.may_connect(address("93.184.216.34:80")));
        assert!(!egress.may_connect(address("93.184.216.34:81")));
    }

    /// What one granted name resolved to does not open ports of another grant.
    #[test]
    fn resolved_addresses_keep_their_own_ports() {
        let egress = egress(&["a.example:80", "b.example:443"]);
        assert!(egress.note("a.example", "93.184.216.34".parse().unwrap()));
        assert!(egress.may_connect(address("93.184.216.34:80")));
        assert!(!egress.may_connect(address("93.184.216.34:443")));
    }

    #[test]
    fn literals_open_special_addresses() {
        let egress = egress(&["127.0.0.1:5432", "[::1]:*"]);
        assert!(egress.may_connect(address("127.0.0.1:5432")));
        assert!(egress.may_connect(address("[::ffff:127.0.0.1]:5432")));
        assert!(!egress.may_connect(address("127.0.0.1:80")));
        assert!(egress.may_connect(address("[::1]:9")));
    }

    /// No outbound grant lets a guest accept connections.
    #[test]
    fn listening_is_never_granted() {
        let egress = egress(&["127.0.0.1:*"]);
        assert!(!egress.allows(address("127.0.0.1:80"), SocketAddrUse::TcpListen));
        assert!(!egress.allows(address("127.0.0.1:80"), SocketAddrUse::TcpBind));
        assert!(egress.allows(address("0.0.0.0:0"), SocketAddrUse::TcpBind));
    }

    #[tokio::test]
    async fn literal_hosts_are_checked_as_addresses() {
        let egress = egress(&["localhost:80", "127.0.0.1:81"]);
        assert_eq!(
            egress.resolve("127.0.0.1", 80).await,
            Err(Refused::NotGranted)
        );
        assert_eq!(
            egress.resolve("127.0.0.1", 81).await,
            Ok(vec![address("127.0.0.1:81")])
        );
        // Granted by name, but it resolves to loopback, which needs a literal.
        assert!(egress.resolve("localhost", 80).await.is_err());
    }
}
