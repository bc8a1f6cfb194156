//! Judges one address: the ranges of spec/security.md 2.2, in its order.
//!
//! The ranges are written out here on purpose. The standard library's helpers (`is_private` and its like) draw other lines
//! and move them between versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::denied::{Denied, Reason};
use super::policy::{Cidr, Policy, Scheme, SelfListen};

/// What an address is, before any opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressClass {
    /// No opt-in reaches it.
    Never,
    /// Needs an opt-in.
    Private,
    /// Anybody's.
    Public,
}

/// Never reached, whatever is opted in.
const NEVER: [Cidr; 22] = [
    v4([0, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 31, 196, 0], 24),
    v4([192, 52, 193, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 175, 48, 0], 24),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([168, 63, 129, 16], 32),   // Azure's host agent
    v4([100, 100, 100, 200], 32), // Alibaba's metadata service
    v6([0x2001, 0, 0], 23),       // Teredo, ORCHID, benchmarking
    v6([0x2001, 0xdb8, 0], 32),
    v6([0x2002, 0, 0], 16), // 6to4 embeds an IPv4 address
    v6([0x2620, 0x4f, 0x8000], 48),
    v6([0x3fff, 0, 0], 20),
    v6([0xfd00, 0xec2, 0], 32), // AWS's metadata service
    v6([0xfd20, 0xce, 0], 32),  // Google's metadata service
];

/// Reached with an opt-in.
const PRIVATE: [Cidr; 7] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([127, 0, 0, 0], 8),
    CARRIER_GRADE_NAT,
    Cidr { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    v6([0xfc00, 0, 0], 7),
];

/// Shared by a carrier's customers: an opt-in reaches it only where `allow_cidrs` lists it.
const CARRIER_GRADE_NAT: Cidr = v4([100, 64, 0, 0], 10);

/// What is not private in IPv6 is public only in here.
const GLOBAL_UNICAST: Cidr = v6([0x2000, 0, 0], 3);

/// Judges one address that is about to be dialled. A refusal of one address refuses the whole answer it came in.
///
/// # Errors
/// The first rule of spec/security.md 2.2 that refuses it.
pub fn check_address(address: SocketAddr, scheme: Scheme, policy: &Policy) -> Result<(), Denied> {
    let ip = address.ip();
    let refuse = |reason| Err(Denied::new(reason, format!("address {address}")));
    let class = classify(address);
    if class == AddressClass::Never {
        return refuse(Reason::AddrNever);
    }
    let opted_in = if is_loopback(ip) { policy.permits_loopback() } else { policy.permits_private() };
    if class == AddressClass::Private && !opted_in {
        return refuse(Reason::AddrPrivate);
    }
    if policy.self_listen.covers(address) {
        return refuse(Reason::OwnListener);
    }
    let ranges = policy.allow_cidrs();
    let listed = ranges.iter().any(|range| contains(range, ip));
    if !listed && (!ranges.is_empty() || contains(&CARRIER_GRADE_NAT, ip)) {
        return refuse(Reason::AddrNotListed);
    }
    if class == AddressClass::Public && scheme == Scheme::Http {
        return refuse(Reason::AddrPublicCleartext);
    }
    Ok(())
}

/// Whether `ip` lies within `range`. An IPv4 range holds no IPv6 address, embedded ones neither.
pub fn contains(range: &Cidr, ip: IpAddr) -> bool {
    let (differing, width) = match (range.address, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => (u128::from(base.to_bits() ^ ip.to_bits()), 32u8),
        (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits(), 128),
        _ => return false,
    };
    let free = u32::from(width.saturating_sub(range.prefix));
    differing.checked_shr(free).unwrap_or(0) == 0
}

impl SelfListen {
    /// Whether dialling `address` would reach one of our own listeners. A wildcard listener answers on every loopback and
    /// interface address, of either family.
    fn covers(&self, address: SocketAddr) -> bool {
        let ip = match address.ip() {
            IpAddr::V6(v6) => dns64(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 => v4,
        };
        let ours = |listener: IpAddr| {
            listener == ip || (listener.is_unspecified() && (is_loopback(ip) || self.interfaces.iter().any(|own| own.to_canonical() == ip)))
        };
        self.listeners.iter().any(|listener| listener.port() == address.port() && ours(listener.ip().to_canonical()))
    }
}

fn classify(address: SocketAddr) -> AddressClass {
    match address {
        SocketAddr::V4(v4) => classify_v4(*v4.ip()),
        SocketAddr::V6(v6) if v6.scope_id() != 0 => AddressClass::Never,
        SocketAddr::V6(v6) => classify_v6(*v6.ip()),
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    among_listed(IpAddr::V4(ip)).unwrap_or(AddressClass::Public)
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    if let Some(embedded) = dns64(ip) {
        return if classify_v4(embedded) == AddressClass::Public { AddressClass::Public } else { AddressClass::Never };
    }
    if is_isatap(ip) {
        return AddressClass::Never;
    }
    let outside = if contains(&GLOBAL_UNICAST, IpAddr::V6(ip)) { AddressClass::Public } else { AddressClass::Never };
    among_listed(IpAddr::V6(ip)).unwrap_or(outside)
}

fn among_listed(ip: IpAddr) -> Option<AddressClass> {
    let within = |ranges: &[Cidr]| ranges.iter().any(|range| contains(range, ip));
    if within(&NEVER) {
        Some(AddressClass::Never)
    } else if within(&PRIVATE) {
        Some(AddressClass::Private)
    } else {
        None
    }
}

/// 127.0.0.0/8 and ::1.
fn is_loopback(ip: IpAddr) -> bool {
    ip == IpAddr::V6(Ipv6Addr::LOCALHOST) || contains(&v4([127, 0, 0, 0], 8), ip)
}

/// The IPv4 address in 64:ff9b::/96, by which IPv6-only networks reach IPv4 (RFC 6052).
fn dns64(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = ip.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// ISATAP tunnels to the IPv4 address in the last four bytes, whatever the prefix (RFC 5214).
fn is_isatap(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _])
}

const fn v4(octets: [u8; 4], prefix: u8) -> Cidr {
    let [a, b, c, d] = octets;
    Cidr { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(start: [u16; 3], prefix: u8) -> Cidr {
    let [a, b, c] = start;
    Cidr { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }
}

#[cfg(test)]
mod tests;
