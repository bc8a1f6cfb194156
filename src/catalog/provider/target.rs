//! URIs of upstream operations from base URL, path template, model and query.

use std::collections::BTreeMap;

use actix_web::http::Uri;

use crate::terms::Operation;

/// The URI of each operation in `paths`; `/` for all of them without a base URL.
pub(super) fn targets(
    paths: &BTreeMap<Operation, String>,
    base_url: Option<&str>,
    query: &[(String, String)],
    upstream_model: &str,
) -> BTreeMap<Operation, Uri> {
    let Some(base_url) = base_url else {
        return paths.keys().map(|operation| (*operation, Uri::from_static("/"))).collect();
    };
    let parse = |(operation, path): (&Operation, &String)| {
        let target = target(base_url, path, query, upstream_model);
        match target.parse() {
            Ok(uri) => Some((*operation, uri)),
            Err(error) => {
                log::error!("invalid URI {target:?} ({error}): operation {operation} is disabled for {upstream_model}");
                None
            }
        }
    };
    paths.iter().filter_map(parse).collect()
}

/// One URI as text, with model and query percent-encoded.
fn target(base_url: &str, path: &str, query: &[(String, String)], upstream_model: &str) -> String {
    let path = path.trim_start_matches('/').replace("{model}", &percent_encode(upstream_model));
    let mut target = format!("{}/{path}", base_url.trim_end_matches('/'));
    for (nth, (name, value)) in query.iter().enumerate() {
        let separator = if nth == 0 { '?' } else { '&' };
        target.push(separator);
        target.push_str(&percent_encode(name));
        target.push('=');
        target.push_str(&percent_encode(value));
    }
    target
}

/// Keeps the unreserved characters of RFC 3986, so that a name stays one path segment or query
/// value.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
