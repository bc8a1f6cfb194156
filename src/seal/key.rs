//! Types for secret keys: 32 bytes that cannot be copied, printed, serialized or confused with
//! another key.
//!
//! The keys themselves are declared in [`derivation`](super::derivation) and in the control half,
//! with the macro from here.

use zeroize::Zeroizing;

/// 32 secret bytes, zeroized on drop. Compared in constant time; `Debug` prints none of them.
pub use orion::hazardous::aead::xchacha20poly1305::SecretKey;

/// A key that seals and opens blobs of one type (spec/security.md 1.3).
pub trait Key {
    /// The bytes, for the cipher.
    fn cipher_key(&self) -> &SecretKey;

    /// Returns a key of chosen bytes, for tests that attack blobs.
    #[cfg(test)]
    fn guess(bytes: [u8; 32]) -> Self;
}

/// Content of a blob.
pub trait BlobContent: Sized {
    /// Returns whether a plaintext can have this length in bytes; checked before decryption.
    fn fits(len: usize) -> bool;

    /// Returns the bytes to seal.
    fn to_plaintext(&self) -> Zeroizing<Vec<u8>>;

    /// Decodes opened bytes; `None` if `to_plaintext` cannot return exactly these.
    fn from_plaintext(opened: &Plaintext) -> Option<Self>;
}

/// Authenticated bytes of a blob. Only opening a blob creates it.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Wraps bytes that the cipher has authenticated.
    pub(super) fn authentic(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Declares secrets of 32 bytes with their roles: `Key` (seals blobs), `Content` (is sealed in
/// blobs).
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident: $($role:ident)*;)+) => {
        $(
            $(#[$doc])*
            pub struct $name($crate::seal::key::SecretKey);

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(concat!(stringify!($name), "([redacted])"))
                }
            }
            $($crate::seal::key::keys!(@$role $name);)*
        )+
    };
    (@Key $name:ident) => {
        impl $crate::seal::key::Key for $name {
            fn cipher_key(&self) -> &$crate::seal::key::SecretKey {
                &self.0
            }

            #[cfg(test)]
            fn guess(bytes: [u8; 32]) -> Self {
                Self(bytes.into())
            }
        }
    };
    (@Content $name:ident) => {
        impl $crate::seal::key::BlobContent for $name {
            fn fits(len: usize) -> bool {
                len == 32
            }

            fn to_plaintext(&self) -> zeroize::Zeroizing<Vec<u8>> {
                zeroize::Zeroizing::new(self.0.unprotected_as_ref::<[u8]>().to_vec())
            }

            fn from_plaintext(opened: &$crate::seal::key::Plaintext) -> Option<Self> {
                $crate::seal::key::SecretKey::try_from(opened.bytes()).ok().map(Self)
            }
        }
    };
}
pub(crate) use keys;
