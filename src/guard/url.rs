//! Judges a URL as written: the rules of spec/security.md 2.1, in its order. No DNS here.
//!
//! What passes is an [`Origin`]: the only thing request URIs are built from. The text itself is never handed to `http::Uri`,
//! which reads some URLs differently.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_web::http::Uri;
use actix_web::http::uri::InvalidUri;
use url::Host;

use super::address::check_address;
use super::denied::{Denied, Reason};
use super::policy::{Policy, Scheme};

/// A checked upstream: scheme, host, port and base path, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host<String>,
    port: u16,
    path: String,
}

/// A URL taken apart as it is written.
struct Written<'a> {
    scheme: Scheme,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
}

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// Metadata services by name: never reached.
const METADATA_NAMES: [&str; 6] =
    ["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com"];

/// Last labels that name private networks.
const PRIVATE_SUFFIXES: [&str; 8] = ["localhost", "local", "internal", "intranet", "lan", "corp", "home", "arpa"];

/// Ports of databases, orchestrators and file servers: not reached by a private opt-in alone.
const SERVICE_PORTS: [u16; 17] = [2049, 2375, 2376, 2379, 2380, 3306, 5432, 5672, 6379, 6443, 8500, 9042, 9200, 9300, 10250, 11211, 27017];

/// Checks an upstream's base URL, and its address too where the host is one.
///
/// # Errors
/// The first rule of spec/security.md 2.1 it breaks; for a literal address then the first of 2.2.
pub fn check_url(text: &str, policy: &Policy) -> Result<Origin, Denied> {
    let written = Written::parse(text)?;
    let origin = written.canonical(text)?;
    match &origin.host {
        Host::Domain(name) => check_name(name, policy)?,
        Host::Ipv4(_) | Host::Ipv6(_) if policy.permits_literals() => {}
        Host::Ipv4(_) | Host::Ipv6(_) => return Err(Denied::new(Reason::IpLiteral, format!("host {}", origin.host))),
    }
    if origin.scheme == Scheme::Http && !policy.permits_private() {
        return Err(Denied::new(Reason::Scheme, "http without a private opt-in"));
    }
    if !port_is_open(origin.port, policy) {
        return Err(Denied::new(Reason::Port, format!("port {}", origin.port)));
    }
    if let Some(address) = origin.literal() {
        check_address(address, origin.scheme, policy)?;
    }
    Ok(origin)
}

impl Origin {
    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as a URL shows it: an IPv6 address in brackets.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The name to resolve; `None` for a literal address.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The address to dial, if the host is one.
    pub fn literal(&self) -> Option<SocketAddr> {
        let ip = match self.host {
            Host::Domain(_) => return None,
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
        };
        Some(SocketAddr::new(ip, self.port))
    }

    /// Its port, also where the URL left it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The base path: empty, or with a leading and without a trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `scheme://host:port`, the port always present: what a sealed credential names as the place it may be sent to.
    pub fn canonical(&self) -> String {
        format!("{}://{}:{}", self.scheme.as_str(), self.host, self.port)
    }

    /// The URI of `below` under the base path. `below` is a path with an optional query, its leading slash optional;
    /// whatever it holds, the URI's host and port stay this origin's.
    ///
    /// # Errors
    /// `below` has bytes that no URI has, or is too long.
    pub fn uri(&self, below: &str) -> Result<Uri, InvalidUri> {
        let below = below.strip_prefix('/').unwrap_or(below);
        format!("{}{}/{below}", self.canonical(), self.path).parse()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.canonical(), self.path)
    }
}

impl<'a> Written<'a> {
    /// Rules 2 and 3: the text alone.
    fn parse(text: &'a str) -> Result<Self, Denied> {
        let malformed = |what: &str| Denied::new(Reason::UrlForm, what);
        if text.is_empty() || text.len() > MAX_URL {
            return Err(malformed("a URL of 0 or more than 2048 bytes"));
        }
        if !text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\') {
            return Err(malformed("a URL with blanks, backslashes, control or non-ASCII characters"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| malformed("a URL without ://"))?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(Denied::new(Reason::Scheme, "a scheme other than http and https"));
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Denied::new(Reason::Userinfo, "a URL with a user or password"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-/".contains(&byte)) {
            return Err(malformed("a URL with a query, a fragment or other than letters, digits and ._~-/ in its path"));
        }
        if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(malformed("a path with empty or dot segments"));
        }
        let bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority.get(bracket..).and_then(|tail| tail.find(':')) {
            Some(colon) => (authority.get(..bracket + colon).unwrap_or_default(), authority.get(bracket + colon + 1..)),
            None => (authority, None),
        };
        Ok(Self { scheme, host, port, path })
    }

    /// Rules 4 and 5: what a URL parser makes of it must be what is written.
    fn canonical(&self, text: &str) -> Result<Origin, Denied> {
        let parsed = url::Url::parse(text).map_err(|error| Denied::new(Reason::UrlForm, format!("a URL that does not parse ({error})")))?;
        if self.port.is_some_and(|port| port.is_empty() || (port.len() > 1 && port.starts_with('0'))) {
            return Err(Denied::new(Reason::UrlForm, "a port that is empty or starts with a zero"));
        }
        let (Some(host), Some(port)) = (parsed.host(), parsed.port_or_known_default()) else {
            return Err(Denied::new(Reason::UrlForm, "a URL without a host"));
        };
        let host = host.to_owned();
        if host.to_string() != self.host.to_ascii_lowercase() {
            return Err(Denied::new(Reason::HostForm, format!("host {:?}, which is read as {host}", self.host)));
        }
        if let Host::Domain(name) = &host
            && !is_well_formed(name)
        {
            return Err(Denied::new(Reason::HostForm, format!("host {name:?}")));
        }
        Ok(Origin { scheme: self.scheme, host, port, path: self.path.trim_end_matches('/').to_owned() })
    }
}

/// Rule 5 for names: DNS labels, in lower case.
fn is_well_formed(name: &str) -> bool {
    let label_is_well_formed = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label_is_well_formed)
}

/// Rule 6.
fn check_name(name: &str, policy: &Policy) -> Result<(), Denied> {
    let last_label = name.rsplit_once('.').map(|(_, last)| last);
    let names_private_network = last_label.is_none_or(|last| PRIVATE_SUFFIXES.contains(&last));
    if METADATA_NAMES.contains(&name) || (names_private_network && !policy.permits_private()) {
        return Err(Denied::new(Reason::HostName, format!("host {name:?}")));
    }
    Ok(())
}

/// Rule 7.
fn port_is_open(port: u16, policy: &Policy) -> bool {
    let usual = match port {
        443 => true,
        80 | 1024.. => policy.permits_private() && !SERVICE_PORTS.contains(&port),
        _ => false,
    };
    port != 0 && (usual || policy.allow_ports().contains(&port))
}

#[cfg(test)]
mod tests;
