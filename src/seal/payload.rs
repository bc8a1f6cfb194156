//! What a SECRET blob holds: a provider key, how it is presented, and the only places it may be sent to
//! (spec/security.md 1.4).
//!
//! The key comes out for a sealed destination alone: there is no other way to read it. Its encoding is `wire`'s.

mod wire;

use std::fmt;

use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::guard::Origin;
use crate::secret::Secret;

/// The most destinations of one key.
pub const MAX_DESTINATIONS: usize = 8;

/// The longest provider key, in bytes: no server reads longer headers.
pub const MAX_SECRET: usize = 8192;

/// A provider key with its destinations. Zeroised on drop.
pub struct Payload {
    destinations: Vec<Destination>,
    presentation: Presentation,
    secret: Secret,
}

/// Where a key may go: `scheme://host:port`, the port always present, compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination(Box<str>);

/// How a provider wants its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// `authorization: Bearer …`
    Bearer,
    /// The key as the value of this header.
    Header(HeaderName),
}

/// Why a provider key cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// None, or too many.
    #[error("a provider key is sealed for 1 to {MAX_DESTINATIONS} origins")]
    Destinations,
    /// It could not be a header's value.
    #[error("a provider key is 1 to {MAX_SECRET} printable ASCII characters, without blanks at its ends")]
    Secret,
}

/// The request's origin is none of the sealed ones: nothing may be sent (502 `upstream_forbidden`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider key is not sealed for this origin; if the provider moved, its key must be entered or sealed again")]
pub struct Misdirected;

impl Payload {
    /// A provider key for these destinations; those named twice count once.
    ///
    /// # Errors
    /// If there are no destinations or too many, or the key could not be a header's value.
    pub fn new(
        destinations: impl IntoIterator<Item = Destination>,
        presentation: Presentation,
        secret: Secret,
    ) -> Result<Self, BadPayload> {
        let mut distinct = Vec::new();
        for destination in destinations {
            if !distinct.contains(&destination) {
                distinct.push(destination);
            }
        }
        if !(1..=MAX_DESTINATIONS).contains(&distinct.len()) {
            return Err(BadPayload::Destinations);
        }
        if !is_sendable(secret.expose()) {
            return Err(BadPayload::Secret);
        }
        Ok(Self { destinations: distinct, presentation, secret })
    }

    /// The same key for other destinations: after the operator moved a kind's `base_url`.
    ///
    /// # Errors
    /// If there are no destinations or too many.
    pub fn redirected(self, destinations: impl IntoIterator<Item = Destination>) -> Result<Self, BadPayload> {
        Self::new(destinations, self.presentation, self.secret)
    }

    /// The header that authorises a request to `destination`; marked sensitive, so that nothing prints it.
    ///
    /// # Errors
    /// If the key is not sealed for it.
    #[allow(clippy::expect_used, reason = "no payload is made of a secret that no header takes")]
    pub fn header_for(&self, destination: &Destination) -> Result<(HeaderName, HeaderValue), Misdirected> {
        if !self.destinations.contains(destination) {
            return Err(Misdirected);
        }
        let (name, scheme) = match &self.presentation {
            Presentation::Bearer => (AUTHORIZATION, "Bearer "),
            Presentation::Header(name) => (name.clone(), ""),
        };
        let text = Zeroizing::new([scheme, self.secret.expose()].concat().into_bytes());
        let mut value = held_by(text).expect("printable ASCII is a header value");
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// Where it may go.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// How it is presented.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The key's last four characters, for people who must tell keys apart.
    pub fn last4(&self) -> &str {
        self.secret.last4()
    }
}

/// A header value that keeps its bytes in `owner` and makes no copy of them: dropped with the last clone, they are wiped if the
/// owner wipes.
fn held_by(owner: impl AsRef<[u8]> + Send + 'static) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from_owner(owner))
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}

impl Destination {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the canonical form; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let (host, port) = authority.rsplit_once(':')?;
        let port_is_canonical = port.parse::<u16>().is_ok_and(|number| number != 0 && number.to_string() == port);
        let host_is_canonical = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/\\?#@".contains(&byte))
            && host.contains(':') == (host.starts_with('[') && host.ends_with(']'));
        (port_is_canonical && host_is_canonical).then(|| Self(text.into()))
    }
}

impl From<&Origin> for Destination {
    fn from(origin: &Origin) -> Self {
        Self(origin.canonical().into())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn is_sendable(secret: &str) -> bool {
    (1..=MAX_SECRET).contains(&secret.len()) && secret.bytes().all(|byte| matches!(byte, b' '..=b'~')) && secret.trim() == secret
}

#[cfg(test)]
mod tests;
