//! Format of sealed blobs (spec/security.md 1.3):
//! `"AGW1"(4) ‖ type(1) ‖ alg(1) ‖ nonce(24) ‖ ciphertext ‖ tag(16)`, XChaCha20-Poly1305.
//!
//! The algorithm is fixed; nothing is negotiated. The authenticated data comes from a [`Context`].

use orion::hazardous::aead::xchacha20poly1305::{Nonce, XChaCha20Poly1305};
use zeroize::Zeroizing;

use super::context::{BlobType, Context};
use super::fields::Fields;
use super::key::{BlobContent, Key, Plaintext};
use crate::credential::NoRandomness;

/// Length in bytes of a blob that holds a key: types 2 to 7.
pub const KEY_BLOB_LEN: usize = OVERHEAD + 32;

/// Length in bytes of a blob without its content.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

const MAGIC: [u8; 4] = *b"AGW1";
/// XChaCha20-Poly1305. Another algorithm needs another value and a rewrite of every blob.
const ALGORITHM: u8 = 0x01;
const HEADER_LEN: usize = 6;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// The blob does not open: it is malformed, altered, bound to another context or sealed with
/// another key. One opaque error for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed blob does not open")]
pub struct Unopened;

/// An error of sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No random nonce was available.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The context is invalid: a name is empty, too long or not ASCII, or the grant is for the ring
    /// `vault`.
    #[error("a {0:?} blob cannot be bound to these names: each must have 1 to 64 ASCII characters, and the ring vault cannot be granted")]
    InvalidContext(BlobType),
}

/// Returns whether `blob` has the header and length of a key blob of this type. Does not open it.
pub fn is_key_blob(blob: &[u8], kind: BlobType) -> bool {
    blob.len() == KEY_BLOB_LEN && blob.starts_with(&header_of(kind))
}

/// Seals `content` and binds it to `context`.
///
/// # Errors
/// If the context is invalid or the operating system returns no random bytes.
pub fn seal<C: Context>(context: &C, key: &C::Key, content: &C::Content) -> Result<Vec<u8>, SealError> {
    let nonce = Nonce::generate().map_err(|_| NoRandomness)?;
    seal_under(&nonce, context, key, content)
}

/// Opens a blob that is bound to `context`.
///
/// # Errors
/// [`Unopened`], whatever is wrong.
pub fn open<C: Context>(context: &C, key: &C::Key, blob: &[u8]) -> Result<C::Content, Unopened> {
    let header = header::<C>();
    let (nonce, sealed) = blob.strip_prefix(&header).and_then(|rest| rest.split_at_checked(NONCE_LEN)).ok_or(Unopened)?;
    let len = sealed.len().checked_sub(TAG_LEN).filter(|&len| C::Content::fits(len)).ok_or(Unopened)?;
    let associated_data = associated_data(context, &header).ok_or(Unopened)?;
    let nonce = Nonce::try_from(nonce).map_err(|_| Unopened)?;
    let mut plaintext = Zeroizing::new(vec![0; len]);
    XChaCha20Poly1305::open(key.cipher_key(), &nonce, sealed, Some(&associated_data), &mut plaintext).map_err(|_| Unopened)?;
    C::Content::from_plaintext(&Plaintext::authentic(plaintext)).ok_or(Unopened)
}

/// Seals with a given nonce, for known-answer tests.
#[cfg(test)]
pub(crate) fn seal_known<C: Context>(nonce: [u8; NONCE_LEN], context: &C, key: &C::Key, content: &C::Content) -> Vec<u8> {
    seal_under(&Nonce::from(nonce), context, key, content).unwrap()
}

fn seal_under<C: Context>(nonce: &Nonce, context: &C, key: &C::Key, content: &C::Content) -> Result<Vec<u8>, SealError> {
    let header = header::<C>();
    let associated_data = associated_data(context, &header).ok_or(SealError::InvalidContext(C::TYPE))?;
    let plaintext = content.to_plaintext();
    let mut blob = Vec::with_capacity(OVERHEAD + plaintext.len());
    blob.extend_from_slice(&header);
    blob.extend_from_slice(nonce.as_ref());
    blob.resize(OVERHEAD + plaintext.len(), 0);
    let (_, sealed) = blob.split_at_mut(HEADER_LEN + NONCE_LEN);
    XChaCha20Poly1305::seal(key.cipher_key(), nonce, &plaintext, Some(&associated_data), sealed)
        .map_err(|_| SealError::InvalidContext(C::TYPE))?;
    Ok(blob)
}

fn header<C: Context>() -> [u8; HEADER_LEN] {
    header_of(C::TYPE)
}

fn header_of(kind: BlobType) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, kind as u8, ALGORITHM]
}

/// Returns the authenticated data: header and context.
fn associated_data<C: Context>(context: &C, header: &[u8]) -> Option<Vec<u8>> {
    context.fields(Fields::after(header, C::LABEL)).finish()
}
