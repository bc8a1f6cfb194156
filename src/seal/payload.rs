//! Content of a SECRET blob: a provider key, the header that carries it, and the only destinations
//! it may be sent to (spec/security.md 1.4).
//!
//! [`KeyPayload::header_for`] is the only way to read the key, and needs a sealed destination. `wire`
//! has the encoding.

mod wire;

use std::fmt;

use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::guard::Origin;
use crate::secret::Secret;

/// Maximum number of destinations of one key.
pub const MAX_DESTINATIONS: usize = 8;

/// Maximum length of a provider key in bytes; servers do not accept longer headers.
pub const MAX_SECRET: usize = 8192;

/// A provider key with its destinations. Zeroized on drop.
pub struct KeyPayload {
    destinations: Vec<Destination>,
    presentation: Presentation,
    secret: Secret,
}

/// A destination of a key: `scheme://host:port`, always with the port, compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination(Box<str>);

/// The header that carries a provider key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// `authorization: Bearer …`
    Bearer,
    /// The key as the value of this header.
    Header(HeaderName),
}

/// An error of creating a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// No destinations, or too many.
    #[error("a provider key must have 1 to {MAX_DESTINATIONS} destinations")]
    Destinations,
    /// The key cannot be the value of a header.
    #[error("a provider key must have 1 to {MAX_SECRET} printable ASCII characters, without leading or trailing spaces")]
    Secret,
}

/// The destination is not one of the sealed ones: nothing may be sent (502 `upstream_forbidden`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider key is not sealed for this destination; if the provider moved, reseal or replace its key")]
pub struct Misdirected;

impl KeyPayload {
    /// Creates a payload for these destinations; duplicates count once.
    ///
    /// # Errors
    /// If there are no destinations or too many, or the key cannot be the value of a header.
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

    /// Returns the same key for other destinations, after the `base_url` of a kind changed.
    ///
    /// # Errors
    /// If there are no destinations or too many.
    pub fn redirected(self, destinations: impl IntoIterator<Item = Destination>) -> Result<Self, BadPayload> {
        Self::new(destinations, self.presentation, self.secret)
    }

    /// Returns the header that authorizes a request to `destination`. Its value is marked
    /// sensitive, so that it is not printed.
    ///
    /// # Errors
    /// If the key is not sealed for this destination.
    #[allow(clippy::expect_used, reason = "a payload is only created from a valid header value")]
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

    /// The destinations of the key.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// The header that carries the key.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The last four characters of the key, for display.
    pub fn last4(&self) -> &str {
        self.secret.last4()
    }
}

/// Returns a header value that borrows its bytes from `owner` without a copy. The owner is dropped,
/// and zeroizes the bytes, with the last clone.
fn held_by(owner: impl AsRef<[u8]> + Send + 'static) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from_owner(owner))
}

impl fmt::Debug for KeyPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPayload").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}

impl Destination {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the canonical form; `None` for anything else.
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
