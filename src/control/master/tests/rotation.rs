//! P8: epochs and master keys are replaced without any change of virtual keys.

use super::world::{World, destination, payload};
use crate::control::master::keyring::{AuditKeyOf, EdgeOf, Keyring, KeyringError, RootOf, Wrapped};
use crate::credential::{Credential, CredentialKind};
use crate::seal::blob::{open, seal};
use crate::seal::context::EscrowContext;
use crate::seal::derivation::{EscrowKey, GrantKey, SpendKey, WrapKey};
use crate::seal::key::BlobContent;
use crate::seal::names::Epoch;
use crate::seal::spend::{SpendError, SpendRequest};
use crate::terms::KeyId;

#[test]
fn p8_500_keys_survive_an_epoch_rotation_and_the_old_epoch_opens_nothing_new() {
    let World { acme, edge, .. } = World::new();
    let escrow_key = EscrowKey::of(&acme.root);
    let keys: Vec<(SpendRequest, Credential, Vec<u8>)> = (0..500)
        .map(|number| {
            let spend = SpendRequest { key_id: KeyId::from(format!("key_{number}")), ..acme.spend.clone() };
            let credential = Credential::mint(CredentialKind::Virtual).unwrap();
            let place = EscrowContext { tenant: &acme.id, key_id: &spend.key_id };
            let escrow = seal(&place, &escrow_key, &WrapKey::of(&credential).unwrap()).unwrap();
            (spend, credential, escrow)
        })
        .collect();

    let spend_key = SpendKey::of(&acme.root, &acme.spend.ring, Epoch(2));
    let secret = seal(&SpendRequest { epoch: Epoch(2), ..acme.spend.clone() }.secret(), &spend_key, &payload()).unwrap();
    for (spend, credential, escrow) in keys {
        let place = EscrowContext { tenant: &acme.id, key_id: &spend.key_id };
        let wrap_key = open(&place, &escrow_key, &escrow).unwrap();
        let spend = SpendRequest { epoch: Epoch(2), ..spend };
        let grant_key = GrantKey::of(&edge.key, &wrap_key, &edge.id);
        let grant = seal(&spend.grant_at(&edge.id), &grant_key, &spend_key).unwrap();
        let payload = spend.open(&edge, WrapKey::of(&credential).unwrap(), &grant, &secret).unwrap();
        assert!(payload.header_for(&destination()).is_ok());
    }
    assert!(open(&acme.spend.secret(), &acme.spend_key(), &secret).is_err());
}

#[test]
fn p8_an_old_epochs_grant_does_not_open_at_the_new_one() {
    let World { acme, edge, .. } = World::new();
    let spend = SpendRequest { epoch: Epoch(2), ..acme.spend.clone() };
    let spent = spend.open(&edge, acme.wrap_key(), &acme.grant_blob(&edge), &acme.secret_blob());
    assert!(matches!(spent, Err(SpendError::Grant(_))));
}

#[test]
fn p8_a_rotated_master_key_opens_everything_and_the_old_one_is_no_longer_needed() {
    let World { keyring: before, acme, edge, audit_key, .. } = World::new();
    let root = before.wrap(&RootOf(&acme.id), &acme.root).unwrap();
    let wrapped_edge = before.wrap(&EdgeOf(&edge.id), &edge.key).unwrap();
    let audit = before.wrap(&AuditKeyOf, &audit_key).unwrap();

    let both = Keyring::new(super::master(2), [super::master(1)]).unwrap();
    both.require([before.current(), both.current()]).unwrap();
    let root = both.rewrap(&RootOf(&acme.id), &root).unwrap().unwrap();
    let wrapped_edge = both.rewrap(&EdgeOf(&edge.id), &wrapped_edge).unwrap().unwrap();
    let audit = both.rewrap(&AuditKeyOf, &audit).unwrap().unwrap();
    assert_eq!(both.rewrap(&RootOf(&acme.id), &root), Ok(None), "a blob with the current key must stay");

    let after = Keyring::new(super::master(2), []).unwrap();
    assert_eq!(after.open(&RootOf(&acme.id), &root).unwrap().to_plaintext(), acme.root.to_plaintext());
    assert_eq!(after.open(&EdgeOf(&edge.id), &wrapped_edge).unwrap().to_plaintext(), edge.key.to_plaintext());
    assert_eq!(after.open(&AuditKeyOf, &audit).unwrap().to_plaintext(), audit_key.to_plaintext());
    assert!(before.open(&RootOf(&acme.id), &root).is_err());
}

#[test]
fn p8_a_wrong_master_key_is_named_at_start() {
    let World { keyring, acme, .. } = World::new();
    let wrong = Keyring::new(super::master(2), [super::master(3)]).unwrap();
    let in_use = [wrong.current(), keyring.current()];
    assert_eq!(wrong.require(in_use), Err(KeyringError::UnknownKid(keyring.current())));
    assert!(wrong.require(in_use).unwrap_err().to_string().contains(&keyring.current().to_string()));
    let wrapped = keyring.wrap(&RootOf(&acme.id), &acme.root).unwrap();
    assert_eq!(wrong.open(&RootOf(&acme.id), &wrapped).unwrap_err(), KeyringError::UnknownKid(keyring.current()));
    assert_eq!(wrong.rewrap(&RootOf(&acme.id), &wrapped).unwrap_err(), KeyringError::UnknownKid(keyring.current()));
}

#[test]
fn an_altered_blob_is_named_with_its_kid_and_not_moved() {
    let World { keyring, acme, .. } = World::new();
    let Wrapped { kid, mut blob } = keyring.wrap(&RootOf(&acme.id), &acme.root).unwrap();
    blob[40] ^= 1;
    let both = Keyring::new(super::master(2), [super::master(1)]).unwrap();
    let refused = both.rewrap(&RootOf(&acme.id), &Wrapped { kid, blob }).unwrap_err();
    assert!(matches!(refused, KeyringError::Unopened(named, _) if named == kid));
}

#[test]
fn a_master_key_given_twice_counts_once() {
    let keyring = Keyring::new(super::master(1), [super::master(1), super::master(2), super::master(2)]).unwrap();
    assert_eq!(format!("{keyring:?}").matches("MasterKey").count(), 2);
}
