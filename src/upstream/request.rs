//! Requests and their serialized heads.

use std::time::Instant;

use actix_web::http::Uri;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use zeroize::Zeroizing;

/// POST request to an upstream.
///
/// If several lists name the same header, the later list wins, in the order of the fields. None of them may name a header that
/// frames the request.
pub struct Request<'a> {
    /// URI, with scheme and authority.
    pub target: &'a Uri,
    /// Headers forwarded from the client, names in lower case.
    pub forwarded: &'a [(&'static str, String)],
    /// Static headers of the upstream.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Headers added for this call, names in lower case.
    pub more: &'a [(&'static str, String)],
    /// Media type of the body.
    pub content_type: &'a str,
    /// Header that authenticates the call.
    pub credential: Option<&'a (HeaderName, HeaderValue)>,
    /// Body.
    pub body: Bytes,
    /// Start of the call.
    pub started_at: Instant,
    /// Latest time at which the response head must be complete.
    pub head_deadline: Instant,
}

/// Default of `user-agent`.
const USER_AGENT: (&str, &[u8]) = ("user-agent", concat!("aigw/", env!("CARGO_PKG_VERSION")).as_bytes());
/// Headers of every request. The gateway reads responses as they pass, so they must not be compressed.
const FIXED_HEADERS: [(&str, &[u8]); 1] = [("accept-encoding", b"identity")];

impl Request<'_> {
    /// Returns the request line and the headers. The buffer holds a credential and is wiped when it is dropped.
    pub(super) fn head(&self) -> Bytes {
        let mut lines: Vec<(&str, &[u8])> = Vec::with_capacity(16);
        let forwarded = self.forwarded.iter().map(|(name, value)| (*name, value.as_bytes()));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let more = self.more.iter().map(|(name, value)| (*name, value.as_bytes()));
        let content_type = [("content-type", self.content_type.as_bytes())];
        let credential = self.credential.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let own = content_type.into_iter().chain(FIXED_HEADERS);
        for (name, value) in [USER_AGENT].into_iter().chain(forwarded).chain(headers).chain(more).chain(own).chain(credential) {
            match lines.iter_mut().find(|(other, _)| *other == name) {
                Some(line) => line.1 = value,
                None => lines.push((name, value)),
            }
        }
        let path = self.target.path_and_query().map_or("/", |path| path.as_str());
        let host = self.target.authority().map_or("", |authority| authority.as_str());
        let length = self.body.len().to_string();
        lines.extend([("host", host.as_bytes()), ("content-length", length.as_bytes())]);
        let size = path.len() + lines.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + 32;
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        for part in [b"POST ", path.as_bytes(), b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        for (name, value) in lines {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        Bytes::from_owner(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_list_overrides_an_earlier_one() {
        let target = Uri::from_static("http://host:81/v1/chat?a=b");
        let credential = (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer k"));
        let request = Request {
            target: &target,
            forwarded: &[("x-a", "client".to_owned()), ("content-type", "text/plain".to_owned())],
            headers: &[(HeaderName::from_static("x-a"), HeaderValue::from_static("kind"))],
            more: &[("x-b", "call".to_owned()), ("authorization", "none".to_owned())],
            content_type: "application/json",
            credential: Some(&credential),
            body: Bytes::from_static(b"{}"),
            started_at: Instant::now(),
            head_deadline: Instant::now(),
        };
        let expected = [
            "POST /v1/chat?a=b HTTP/1.1",
            &format!("user-agent: aigw/{}", env!("CARGO_PKG_VERSION")),
            "x-a: kind",
            "content-type: application/json",
            "x-b: call",
            "authorization: Bearer k",
            "accept-encoding: identity",
            "host: host:81",
            "content-length: 2",
            "\r\n",
        ];
        assert_eq!(request.head(), expected.join("\r\n"));
    }
}
