//! Properties of spec/security.md 1.8 that concern sealing itself, for all seven types of blobs.

mod forgery;
mod isolation;
mod mutation;
mod rotation;
mod transplant;
mod world;

use super::keyring::Keyring;
use super::*;

fn master(byte: u8) -> MasterKey {
    let mut bytes = [byte; 32];
    bytes[0] = !byte;
    MasterKey::of(&bytes)
}

#[test]
fn p10_the_kid_has_the_known_answer() {
    assert_eq!(MasterKey::of(&[0x5a; 32]).kid().to_string(), "43a5b75c");
}

#[test]
fn a_master_key_is_32_bytes_in_base64_that_are_not_all_equal() {
    let read = |bytes: &[u8]| MasterKey::from_base64(&Secret::new(STANDARD.encode(bytes))).map(|key| key.kid());
    let good: [u8; 32] = std::array::from_fn(|at| at as u8);
    assert_eq!(read(&good), Ok(MasterKey::of(&good).kid()));
    for byte in [0, 1, 0x5a, 0xff] {
        assert_eq!(read(&[byte; 32]), Err(BadMasterKey::AllEqual));
    }
    for len in [0, 1, 16, 31, 33, 64] {
        assert_eq!(read(&good.repeat(2)[..len]), Err(BadMasterKey::Form), "{len}");
    }
    for text in ["", "not base64!", "AAAA", &format!("{}\n", STANDARD.encode(good))] {
        assert_eq!(MasterKey::from_base64(&Secret::new(text)).unwrap_err(), BadMasterKey::Form, "{text:?}");
    }
}

#[test]
fn keys_derived_from_a_master_key_are_all_different() {
    use crate::seal::key::Key;
    let (one, other) = (master(1), master(2));
    let keys = [&one, &other].map(|master| {
        let (root_key, edge_key, audit_key) = (master.root_key(), master.edge_wrap_key(), master.audit_wrap_key());
        [root_key.cipher_key(), edge_key.cipher_key(), audit_key.cipher_key()].map(|key| key.unprotected_as_ref::<[u8]>().to_vec())
    });
    let distinct: std::collections::HashSet<_> = keys.as_flattened().iter().collect();
    assert_eq!(distinct.len(), 6);
    assert_ne!(one.kid(), other.kid());
}

#[test]
fn p3_nothing_of_the_master_key_prints_itself() {
    let master = MasterKey::of(&[0x5a; 32]);
    assert_eq!(format!("{master:?}"), "MasterKey(43a5b75c)");
    assert_eq!(format!("{:?}", master.root_key()), "RootKey([redacted])");
    assert_eq!(format!("{:?}", master.edge_wrap_key()), "EdgeWrapKey([redacted])");
    assert_eq!(format!("{:?}", master.audit_wrap_key()), "AuditWrapKey([redacted])");
    assert_eq!(format!("{:?}", AuditPrivateKey::generate().unwrap()), "AuditPrivateKey([redacted])");
    let keyring = Keyring::new(master, []).unwrap();
    assert_eq!(format!("{keyring:?}"), "Keyring { current: MasterKey(43a5b75c), old: [] }");
}
