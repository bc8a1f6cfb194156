//! What a key of the ladder is: 32 bytes with a type of their own, that cannot be copied, printed, serialised or confused.
//!
//! Which keys there are is the ladder's and the master key's to say; the macro here only gives them their manners.

use zeroize::Zeroizing;

/// 32 secret bytes, zeroised on drop; orion compares them in constant time and prints none of them.
pub use orion::hazardous::aead::xchacha20poly1305::SecretKey;

/// A key that seals and opens blobs of one type (spec/security.md 1.3).
pub trait Key {
    /// The bytes, for the cipher.
    fn cipher_key(&self) -> &SecretKey;

    /// A key an attacker would try.
    #[cfg(test)]
    fn guess(bytes: [u8; 32]) -> Self;
}

/// What a blob can hold.
pub trait Content: Sized {
    /// Whether a plaintext of that many bytes can be one: judged before anything is decrypted.
    fn fits(len: usize) -> bool;

    /// The bytes to seal.
    fn to_plaintext(&self) -> Zeroizing<Vec<u8>>;

    /// Takes the opened bytes; `None` if they are not exactly what `to_plaintext` makes.
    fn from_plaintext(opened: &Plaintext) -> Option<Self>;
}

/// Bytes that came out of an authentic blob. Only opening one makes it.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Of what the cipher has authenticated.
    pub(in crate::seal) fn authentic(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Declares secrets of 32 bytes, each with its roles: `Key` (seals blobs), `Content` (is sealed in blobs).
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
        impl $crate::seal::key::Content for $name {
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
