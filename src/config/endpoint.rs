//! The keys that kinds and providers share: base URL, network access, headers, query and auth.

use actix_web::http::header::{HeaderName, HeaderValue};

use super::section::Section;
use crate::guard::{Cidr, NetworkAccess, Policy, SelfListen, Source, check_url};

/// How a provider's key is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer …`
    Bearer,
    /// No key is sent.
    None,
    /// In the header of this name, in lower case.
    Header(String),
}

/// Headers that aigw sets itself, or that would carry a credential outside `api_key_env`.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
];

/// Query parameters that would put a credential into URLs and logs (spec/security.md 7.2).
const CREDENTIAL_PARAMETERS: [&str; 6] = ["key", "api_key", "apikey", "api-key", "access_token", "token"];

/// Reads `headers`, names in lower case, over those of `base`.
pub(super) fn headers(section: &mut Section<'_>, auth: &Auth, base: &[(String, String)]) -> Vec<(String, String)> {
    let mut headers = base.to_vec();
    for (name, value) in section.pairs("headers").unwrap_or_default() {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(lower.as_bytes()).is_err() {
            section.problem("headers", format!("{name:?} is not a header name"), "use letters, digits and -");
        } else if RESERVED.contains(&lower.as_str()) || matches!(auth, Auth::Header(own) if *own == lower) {
            section.key_problem("headers", format!("{name:?} is set by aigw"), "remove it; keys come from api_key_env, see auth");
        } else if lower.starts_with("x-aigw-") || lower.starts_with("x-forwarded-") {
            section.problem("headers", format!("{name:?} is never sent upstream"), "choose another header or remove it");
        } else if HeaderValue::from_str(value).is_err() || !value.is_ascii() {
            section.problem("headers", format!("the value of {name:?} cannot be sent"), "use visible ASCII");
        } else {
            set_pair(&mut headers, lower, value.to_owned());
        }
    }
    headers
}

/// Reads `query` over that of `base`.
pub(super) fn query(section: &mut Section<'_>, base: &[(String, String)]) -> Vec<(String, String)> {
    let mut query = base.to_vec();
    for (name, value) in section.pairs("query").unwrap_or_default() {
        if name.is_empty() {
            section.problem("query", "a parameter has an empty name", "name it or remove it");
        } else if CREDENTIAL_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) {
            section.key_problem("query", format!("{name:?} would put a key into URLs"), "use auth = { header = \"…\" } and api_key_env");
        } else {
            set_pair(&mut query, name.to_owned(), value.to_owned());
        }
    }
    query
}

fn set_pair(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    match pairs.iter_mut().find(|(known, _)| *known == name) {
        Some(pair) => pair.1 = value,
        None => pairs.push((name, value)),
    }
}

/// Reads `allow_private`, `allow_cidrs` and `allow_ports` over those of `base`.
pub(super) fn network_access(section: &mut Section<'_>, base: &NetworkAccess) -> NetworkAccess {
    let allow_private = section.flag("allow_private").unwrap_or(base.allow_private);
    let allow_cidrs = section.texts("allow_cidrs").map(|texts| texts.into_iter().filter_map(|text| cidr(section, text)).collect());
    let allow_ports = section.numbers("allow_ports").map(|ports| ports.into_iter().filter_map(|number| port(section, number)).collect());
    if allow_cidrs.is_some() && !allow_private {
        section.problem("allow_cidrs", "needs allow_private", "add allow_private = true or remove allow_cidrs");
    }
    NetworkAccess {
        allow_private,
        allow_cidrs: allow_cidrs.unwrap_or_else(|| base.allow_cidrs.clone()),
        allow_ports: allow_ports.unwrap_or_else(|| base.allow_ports.clone()),
    }
}

fn cidr(section: &Section<'_>, text: &str) -> Option<Cidr> {
    let read = || {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (std::net::IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Cidr { address, prefix })
    };
    let Some(cidr) = read() else {
        section.problem("allow_cidrs", format!("{text:?} is not an address range"), "write one such as \"10.20.0.0/16\" or \"fd00::/8\"");
        return None;
    };
    let least = if cidr.address.is_ipv4() { 8 } else { 7 };
    if cidr.prefix < least {
        section.problem("allow_cidrs", format!("{text:?} is too wide"), format!("use prefixes of /{least} or longer"));
        return None;
    }
    Some(cidr)
}

fn port(section: &Section<'_>, number: i64) -> Option<u16> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    if port.is_none() {
        section.problem("allow_ports", format!("{number} is not a port"), "write ports between 1 and 65535");
    }
    port
}

/// Reads `base_url` without its trailing slash, checked by the guard's rules.
pub(super) fn base_url(section: &mut Section<'_>, network: &NetworkAccess) -> Option<String> {
    let text = section.text("base_url")?.trim_end_matches('/');
    check_base_url(section, text, network);
    Some(text.to_owned())
}

/// Records a problem if the guard would refuse every call to `url` (spec/security.md 2.1).
pub(super) fn check_base_url(section: &Section<'_>, url: &str, network: &NetworkAccess) {
    let policy = Policy { source: Source::Operator(network.clone()), self_listen: SelfListen::default() };
    if let Err(denied) = check_url(url, &policy) {
        // Not quoted: the URL may contain a password.
        section.problem("base_url", format!("is refused ({}): {}", denied.code(), denied.what()), denied.remedy());
    }
}

/// Reads `auth`; `fallback` if it is missing.
pub(super) fn auth(section: &mut Section<'_>, fallback: Auth) -> Auth {
    const REMEDY: &str = "write \"bearer\", \"none\" or { header = \"api-key\" }";
    let Some(value) = section.value("auth") else { return fallback };
    if let Some(text) = value.as_str() {
        return match text {
            "bearer" => Auth::Bearer,
            "none" => Auth::None,
            _ => {
                section.problem("auth", format!("{text:?} is not an auth method"), REMEDY);
                fallback
            }
        };
    }
    if !value.is_table() {
        section.problem("auth", "is not an auth method", REMEDY);
        return fallback;
    }
    let mut table = section.section_or_empty("auth");
    let header = table.text("header").map(str::to_ascii_lowercase);
    let is_usable = |name: &String| {
        HeaderName::from_bytes(name.as_bytes()).is_ok()
            && !matches!(name.as_str(), "host" | "connection" | "content-length" | "content-type" | "transfer-encoding" | "cookie")
    };
    let usable = header.clone().filter(is_usable);
    match (&header, &usable) {
        (Some(name), None) => table.problem("header", format!("{name:?} cannot carry a key"), "name a header such as \"api-key\""),
        (None, _) if !table.has("header") => table.problem("", "has no header", REMEDY),
        _ => {}
    }
    table.done();
    usable.map_or(fallback, Auth::Header)
}
