//! P5 and P10: an altered blob of any type does not open, and unknown formats are refused.

use super::world::World;
use crate::seal::blob::{KEY_BLOB_LEN, OVERHEAD, SealError, open, seal};
use crate::seal::context::{BlobType, GrantContext, JobContext};
use crate::seal::derivation::JobKey;
use crate::seal::names::Ring;

#[test]
fn p5_every_bit_flip_truncation_and_extension_of_all_seven_types_fails_closed() {
    let world = World::new();
    let mut mutations = 0;
    for sealed in world.all() {
        let mut refuse = |blob: &[u8], what: &str, at: usize| {
            assert!(!sealed.opens(blob), "{}: {what} {at}", sealed.name);
            mutations += 1;
        };
        for bit in 0..sealed.blob.len() * 8 {
            let mut blob = sealed.blob.clone();
            blob[bit / 8] ^= 1 << (bit % 8);
            refuse(&blob, "flipped bit", bit);
        }
        for len in 0..sealed.blob.len() {
            refuse(&sealed.blob[..len], "cut to", len);
            refuse(&sealed.blob[sealed.blob.len() - len..], "only the last", len);
        }
        for extra in (1..=32).chain([128, 256, 1 << 17]) {
            for filling in [0x00, 0xff] {
                refuse(&[&sealed.blob[..], &vec![filling; extra]].concat(), "extended by", extra);
                refuse(&[&vec![filling; extra], &sealed.blob[..]].concat(), "preceded by", extra);
            }
        }
        refuse(&[&sealed.blob[..], &sealed.blob[..]].concat(), "twice", 0);
    }
    let types: std::collections::HashSet<_> = world.all().iter().map(|sealed| sealed.blob[4]).collect();
    assert_eq!(types.len(), 7);
    assert!(mutations >= 5_000, "{mutations}");
}

#[test]
fn p10_another_magic_type_or_algorithm_is_refused() {
    let world = World::new();
    for sealed in world.all() {
        for at in 0..6 {
            for byte in 0..=u8::MAX {
                let mut blob = sealed.blob.clone();
                blob[at] = byte;
                assert_eq!(sealed.opens(&blob), blob == sealed.blob, "{} byte {at} = {byte}", sealed.name);
            }
        }
    }
}

#[test]
fn a_blob_has_the_specified_header_and_length() {
    let world = World::new();
    for sealed in world.all() {
        assert_eq!(&sealed.blob[..4], b"AGW1");
        assert_eq!(sealed.blob[5], 1);
        let is_secret = sealed.blob[4] == BlobType::Secret as u8;
        assert_eq!(sealed.blob.len(), if is_secret { OVERHEAD + 128 } else { KEY_BLOB_LEN }, "{}", sealed.name);
    }
    assert_eq!(KEY_BLOB_LEN, 78);
}

#[test]
fn no_two_blobs_share_a_nonce() {
    let world = World::new();
    let nonces: std::collections::HashSet<_> = (0..100).map(|_| world.acme.grant_blob(&world.edge)[6..30].to_vec()).collect();
    assert_eq!(nonces.len(), 100);
}

#[test]
fn p10_the_ring_vault_is_closed_to_virtual_keys() {
    let World { acme, edge, .. } = World::new();
    let vault = Ring::vault();
    let place = GrantContext { ring: &vault, ..acme.spend.grant_at(&edge.id) };
    let key = acme.grant_key(&edge);
    assert_eq!(seal(&place, &key, &acme.spend_key()), Err(SealError::InvalidContext(BlobType::Grant)));
    assert!(open(&place, &key, &acme.grant_blob(&edge)).is_err());
    let job = JobContext { ring: &vault, ..acme.job_at(&edge.id) };
    assert!(seal(&job, &JobKey::of(&edge.key, &edge.id), &acme.spend_key()).is_ok());
}

#[test]
fn nothing_is_sealed_for_an_invalid_context() {
    let World { acme, edge, .. } = World::new();
    for name in ["", "ключ", &"x".repeat(65)] {
        let key_id = name.into();
        let place = GrantContext { key_id: &key_id, ..acme.spend.grant_at(&edge.id) };
        assert_eq!(seal(&place, &acme.grant_key(&edge), &acme.spend_key()), Err(SealError::InvalidContext(BlobType::Grant)));
    }
}
