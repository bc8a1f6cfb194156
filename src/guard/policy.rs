//! The policy that addresses and URLs are checked against: who wrote the URL, and what that opens.

use std::net::{IpAddr, SocketAddr};

/// Rules for the upstream of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The author of the URL, and the access that grants.
    pub source: Source,
    /// The listening sockets of this process, which are never dialed.
    pub self_listen: SelfListen,
}

/// The author of an upstream URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The operator, in TOML. Also a tenant's provider that uses its kind's `base_url`.
    Operator(NetworkAccess),
    /// A tenant, by the API: the kind's network access does not apply.
    TenantUrl {
        /// `[security] tenant_private_upstreams`: private addresses, ports and literals, but never loopback.
        private_upstreams: bool,
    },
}

/// Addresses an operator's provider may reach besides public ones over https (spec/security.md 2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkAccess {
    /// Whether names may resolve to private addresses.
    pub allow_private: bool,
    /// If not empty, the only ranges allowed.
    pub allow_cidrs: Vec<Cidr>,
    /// Ports allowed besides the usual ones.
    pub allow_ports: Vec<u16>,
}

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Any address of the range.
    pub address: IpAddr,
    /// Number of leading bits that must match.
    pub prefix: u8,
}

/// The listening sockets of this process, so that it never calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfListen {
    /// Every listening socket.
    pub listeners: Vec<SocketAddr>,
    /// The addresses of this machine's interfaces, which a wildcard listener answers on too.
    pub interfaces: Vec<IpAddr>,
}

/// The two schemes an upstream may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext, for private addresses alone.
    Http,
    /// TLS.
    Https,
}

impl Policy {
    /// Whether private addresses and ports are permitted (loopback apart, which a tenant never gets).
    pub(super) fn permits_private(&self) -> bool {
        match &self.source {
            Source::Operator(access) => access.allow_private,
            Source::TenantUrl { private_upstreams } => *private_upstreams,
        }
    }

    /// Whether loopback addresses are permitted.
    pub(super) fn permits_loopback(&self) -> bool {
        matches!(&self.source, Source::Operator(access) if access.allow_private)
    }

    /// Whether the host may be an address.
    pub(super) fn permits_literals(&self) -> bool {
        match self.source {
            Source::Operator(_) => true,
            Source::TenantUrl { private_upstreams } => private_upstreams,
        }
    }

    /// The only addresses allowed, if there are any. They narrow `allow_private` and mean nothing without it.
    pub(super) fn allow_cidrs(&self) -> &[Cidr] {
        match &self.source {
            Source::Operator(access) if access.allow_private => &access.allow_cidrs,
            _ => &[],
        }
    }

    /// Ports allowed besides the usual ones.
    pub(super) fn allow_ports(&self) -> &[u16] {
        match &self.source {
            Source::Operator(access) => &access.allow_ports,
            Source::TenantUrl { .. } => &[],
        }
    }
}

impl Scheme {
    /// As URLs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
