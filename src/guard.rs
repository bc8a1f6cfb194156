//! The SSRF guard's rules: which upstream URLs and addresses aigw may reach (spec/security.md section 2).
//!
//! Pure: no DNS, no sockets, no clock. [`check_url`] judges what is written, [`check_address`] what a name resolved to; the connector
//! ([`crate::upstream::connector`]) applies both to every connection.

pub mod address;
pub mod denied;
pub mod policy;
pub mod url;

pub use address::check_address;
pub use denied::{Denied, Reason};
pub use policy::{Cidr, NetworkAccess, Policy, Scheme, SelfListen, Source};
pub use url::{Origin, check_url};

#[cfg(test)]
pub(crate) mod tests;
