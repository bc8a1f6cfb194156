//! Allow lists of the headers that pass, in both directions (spec/security.md 7.2, 7.3). All others
//! are removed.

use std::time::{Duration, SystemTime};

use actix_web::http::header::{ACCEPT, CONNECTION, HeaderMap, HeaderName};
use smol_str::SmolStr;

use super::job::Forwarded;
use super::retry;
use crate::terms::Billing;
use crate::upstream::h1::Head;

/// Client headers that go upstream unchanged. `content-type` is not among them: the dialect sets
/// it. Built once, because a lookup by text parses the name each time.
static FORWARDED: [HeaderName; 5] = [
    ACCEPT,
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("idempotency-key"),
];

/// Upstream headers that may hold the id of a call.
const REQUEST_IDS: [&str; 2] = ["x-request-id", "request-id"];

/// Header under which the client gets the upstream's id; `x-request-id` holds the gateway's.
pub const UPSTREAM_REQUEST_ID: &str = "x-upstream-request-id";

/// Longest upstream id that is kept, in bytes.
const LONGEST_ID: usize = 200;

/// Upstream headers that tell the state of a rate limit, and Anthropic's names for them. Only the
/// owner of the key gets them.
const RATE_LIMITS: [(&str, Option<&str>); 6] = [
    ("x-ratelimit-limit-requests", Some("anthropic-ratelimit-requests-limit")),
    ("x-ratelimit-limit-tokens", Some("anthropic-ratelimit-tokens-limit")),
    ("x-ratelimit-remaining-requests", Some("anthropic-ratelimit-requests-remaining")),
    ("x-ratelimit-remaining-tokens", Some("anthropic-ratelimit-tokens-remaining")),
    ("x-ratelimit-reset-requests", None),
    ("x-ratelimit-reset-tokens", None),
];

/// Upstream headers for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// The content type, empty if there was none.
    pub content_type: SmolStr,
    /// The others, under the names that the client gets.
    pub headers: Vec<(&'static str, String)>,
}

/// Returns the client's headers that go upstream. Headers named in `connection` are hop-by-hop (RFC
/// 9110 7.6.1).
pub fn request(headers: &HeaderMap) -> Forwarded {
    let is_hop = |name: &str| headers.get_all(CONNECTION).any(|value| value.to_str().is_ok_and(|names| lists(names, name)));
    let passes = |name: &'static HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        (!is_hop(name.as_str())).then(|| (name.as_str(), value.to_owned()))
    };
    Forwarded { headers: FORWARDED.iter().filter_map(passes).collect() }
}

fn lists(names: &str, name: &str) -> bool {
    names.split(',').any(|other| other.trim().eq_ignore_ascii_case(name))
}

impl Forwarded {
    /// The value of one header, its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the upstream's headers that go to the client.
pub fn response(head: &Head, billing: Billing) -> ResponseHeaders {
    let text = |name: &str| head.text(name).map(str::to_owned);
    let mut headers = Vec::new();
    if let Some(id) = REQUEST_IDS.into_iter().find_map(text) {
        headers.push((UPSTREAM_REQUEST_ID, id));
    }
    if let Some(wait) = text("retry-after") {
        headers.push(("retry-after", wait));
    }
    if billing == Billing::Byo {
        let value = |name, alias: Option<&str>| text(name).or_else(|| text(alias?));
        headers.extend(RATE_LIMITS.into_iter().filter_map(|(name, alias)| Some((name, value(name, alias)?))));
    }
    ResponseHeaders { content_type: head.text("content-type").unwrap_or_default().into(), headers }
}

impl ResponseHeaders {
    /// Headers of an answer that the gateway writes itself: JSON, and the upstream's id of the
    /// failed call.
    pub fn json(upstream_request_id: Option<String>) -> Self {
        let headers = upstream_request_id.map(|id| (UPSTREAM_REQUEST_ID, id));
        Self { content_type: "application/json".into(), headers: headers.into_iter().collect() }
    }

    /// The upstream's own id of the call, if the head has one of a valid length.
    pub fn upstream_request_id(&self) -> Option<&str> {
        let (_, id) = self.headers.iter().find(|(name, _)| *name == UPSTREAM_REQUEST_ID)?;
        (id.len() <= LONGEST_ID).then_some(id.as_str())
    }

    /// Adopts the id of the body if the head has none. Returns it if it is valid: visible ASCII of
    /// a valid length.
    pub fn adopt_body_request_id(&mut self, id: &str) -> Option<String> {
        let is_valid = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid || self.headers.iter().any(|(name, _)| *name == UPSTREAM_REQUEST_ID) {
            return None;
        }
        self.headers.push((UPSTREAM_REQUEST_ID, id.to_owned()));
        Some(id.to_owned())
    }

    /// Removes the values for which `is_secret` holds.
    pub fn retain_safe(mut self, is_secret: impl Fn(&str) -> bool) -> Self {
        self.headers.retain(|(_, value)| !is_secret(value));
        if is_secret(&self.content_type) {
            self.content_type = SmolStr::default();
        }
        self
    }

    /// Delay requested by the upstream.
    pub fn retry_after(&self, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
        let (_, value) = self.headers.iter().find(|(name, _)| *name == "retry-after")?;
        retry::retry_after(value, now())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    /// Headers of a client.
    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    /// Response head of an upstream.
    fn answer<'a>(lines: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Head {
        let mut bytes = BytesMut::from("HTTP/1.1 200 OK\r\n");
        for part in lines.into_iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"]) {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(b"\r\n");
        Head::take(&mut bytes).unwrap().unwrap()
    }

    #[test]
    fn credentials_cookies_and_the_gateways_own_headers_never_go_upstream() {
        let sent = head(&[
            ("authorization", "Bearer a"),
            ("x-api-key", "b"),
            ("api-key", "c"),
            ("cookie", "d=1"),
            ("x-aigw-tags", "e=1"),
            ("x-forwarded-for", "f"),
            ("host", "g"),
            ("te", "h"),
            ("accept", "text/event-stream"),
            ("openai-beta", "assistants=v2"),
            ("anthropic-beta", "files-api"),
            ("idempotency-key", "k-1"),
        ]);
        let forwarded = request(&sent);
        let expected = vec![
            ("accept", "text/event-stream".to_owned()),
            ("openai-beta", "assistants=v2".to_owned()),
            ("anthropic-beta", "files-api".to_owned()),
            ("idempotency-key", "k-1".to_owned()),
        ];
        assert_eq!(forwarded, Forwarded { headers: expected });
    }

    #[test]
    fn headers_named_in_connection_do_not_pass() {
        let sent = head(&[("connection", "keep-alive, OpenAI-Beta"), ("openai-beta", "assistants=v2"), ("accept", "*/*")]);
        assert_eq!(request(&sent), Forwarded { headers: vec![("accept", "*/*".to_owned())] });
    }

    #[test]
    fn only_listed_headers_reach_the_client_and_rate_limits_only_their_owner() {
        let lines = [
            ("Content-Type", "application/json"),
            ("set-cookie", "a=1"),
            ("server", "b"),
            ("openai-organization", "c"),
            ("location", "d"),
            ("request-id", "req_1"),
            ("Retry-After", "7"),
            ("x-ratelimit-limit-requests", "50"),
        ];
        let got = answer(lines.map(|(name, value)| (name, value.as_bytes())));
        let brokered = response(&got, Billing::Brokered);
        assert_eq!(brokered.content_type, "application/json");
        let expected = vec![("x-upstream-request-id", "req_1".to_owned()), ("retry-after", "7".to_owned())];
        assert_eq!(brokered.headers, expected);
        assert_eq!(brokered.retry_after(|| SystemTime::UNIX_EPOCH), Some(Duration::from_secs(7)));
        assert!(response(&got, Billing::Byo).headers.contains(&("x-ratelimit-limit-requests", "50".to_owned())));
        let theirs = answer([("anthropic-ratelimit-tokens-remaining", b"9".as_slice())]);
        assert_eq!(response(&theirs, Billing::Byo).headers, [("x-ratelimit-remaining-tokens", "9".to_owned())]);
        assert!(response(&theirs, Billing::Brokered).headers.is_empty());
    }

    proptest! {
        #[test]
        fn only_listed_names_pass_of_any_head(
            lines in prop::collection::vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,30}|accept|openai-beta|cookie|authorization|request-id|retry-after|set-cookie", prop::collection::vec(any::<u8>(), 0..40)), 0..40),
            is_byo in any::<bool>(),
        ) {
            let mut head = HeaderMap::new();
            let mut sent = Vec::new();
            for (name, value) in &lines {
                let value = value.trim_ascii();
                if let (Ok(header), Ok(bytes)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                    head.append(header, bytes);
                    sent.push((name.as_str(), value));
                }
            }
            let answer = answer(sent);
            let visible = |value: &str| value.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
            for (name, value) in request(&head).headers {
                prop_assert!(FORWARDED.iter().any(|forwarded| forwarded == name) && visible(&value));
                prop_assert_eq!(head.get(name).and_then(|value| value.to_str().ok()), Some(value.as_str()));
            }
            let billing = if is_byo { Billing::Byo } else { Billing::Brokered };
            for (name, value) in response(&answer, billing).headers {
                let listed = ["x-upstream-request-id", "retry-after"].contains(&name) || is_byo && RATE_LIMITS.iter().any(|(limit, _)| *limit == name);
                prop_assert!(listed && visible(&value), "{}: {:?}", name, value);
            }
        }
    }

    #[test]
    fn a_value_with_invisible_bytes_does_not_pass() {
        assert!(response(&answer([("request-id", b"caf\xe9".as_slice())]), Billing::Brokered).headers.is_empty());
    }
}
