//! The guard's refusal: a stable code, what was refused, and the remedy.

use std::fmt;

/// A refusal: its code, what was refused and what the operator can do. Its text may name addresses, so it is for the log,
/// the audit and whoever wrote the URL, never for the clients of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    reason: Reason,
    what: String,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `ssrf.url_form`
    UrlForm,
    /// `ssrf.scheme`
    Scheme,
    /// `ssrf.userinfo`
    Userinfo,
    /// `ssrf.host_form`
    HostForm,
    /// `ssrf.host_name`
    HostName,
    /// `ssrf.ip_literal`
    IpLiteral,
    /// `ssrf.port`
    Port,
    /// `ssrf.no_address`
    NoAddress,
    /// `ssrf.addr_never`
    AddrNever,
    /// `ssrf.addr_private`
    AddrPrivate,
    /// `ssrf.self`
    OwnListener,
    /// `ssrf.addr_not_listed`
    AddrNotListed,
    /// `ssrf.addr_public_cleartext`
    AddrPublicCleartext,
    /// `ssrf.preset_address`
    PresetAddress,
    /// `ssrf.redirect`
    Redirect,
}

impl Denied {
    /// A refusal of `what`, a short phrase that holds no secret.
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The stable code, such as `ssrf.scheme`, for log and audit.
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }

    /// What was refused.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        self.reason.remedy()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.code(), self.what, self.remedy())
    }
}

impl std::error::Error for Denied {}

impl Reason {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::UrlForm => "ssrf.url_form",
            Self::Scheme => "ssrf.scheme",
            Self::Userinfo => "ssrf.userinfo",
            Self::HostForm => "ssrf.host_form",
            Self::HostName => "ssrf.host_name",
            Self::IpLiteral => "ssrf.ip_literal",
            Self::Port => "ssrf.port",
            Self::NoAddress => "ssrf.no_address",
            Self::AddrNever => "ssrf.addr_never",
            Self::AddrPrivate => "ssrf.addr_private",
            Self::OwnListener => "ssrf.self",
            Self::AddrNotListed => "ssrf.addr_not_listed",
            Self::AddrPublicCleartext => "ssrf.addr_public_cleartext",
            Self::PresetAddress => "ssrf.preset_address",
            Self::Redirect => "ssrf.redirect",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::UrlForm => "write it as https://host or https://host:port/path, without query, fragment or percent signs",
            Self::Scheme => "use https; http needs allow_private = true (for a tenant's own URL, tenant_private_upstreams)",
            Self::Userinfo => "leave user and password out; keys go into api_key_env or api_key_file",
            Self::HostForm => {
                "write the host in its canonical form: a name in lower case without a trailing dot (non-ASCII as punycode), a dotted IPv4 \
                 address or the shortest IPv6 address in brackets"
            }
            Self::HostName => {
                "use the provider's public name; names of private networks need allow_private = true, metadata services are never reached"
            }
            Self::IpLiteral => "use a name instead of an address, or let the operator set tenant_private_upstreams",
            Self::Port => "use port 443, or list the port in allow_ports",
            Self::NoAddress => "check the name and the resolver",
            Self::AddrNever => "this range is never reached; check what the name resolves to",
            Self::AddrPrivate => "set allow_private = true on the kind or provider if it is meant to be reached",
            Self::OwnListener => "this is aigw's own listener; point the base URL at the provider",
            Self::AddrNotListed => "add the range to allow_cidrs if it is meant to be reached",
            Self::AddrPublicCleartext => "use https for public addresses",
            Self::PresetAddress => "leave the choice of address to the guard",
            Self::Redirect => "set the base URL to the redirect's target if it is to be trusted",
        }
    }
}
