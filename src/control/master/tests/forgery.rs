//! P7: an attacker who can write to the database, even with keys of its own, cannot forge blobs.

use super::world::{World, payload};
use crate::control::master::keyring::{Keyring, RootOf, Wrapped};
use crate::seal::blob::{open, seal};
use crate::seal::derivation::{EscrowKey, GrantKey};
use crate::seal::spend::{SpendError, SpendRequest};

#[test]
fn p7_a_forged_provider_key_does_not_open() {
    let World { acme, bravo, edge, .. } = World::new();
    let forged = seal(&acme.spend.secret(), &bravo.spend_key(), &payload()).unwrap();
    let spent = acme.spend.open(&edge, acme.wrap_key(), &acme.grant_blob(&edge), &forged);
    assert!(matches!(spent, Err(SpendError::Secret(_))));
}

#[test]
fn p7_a_forged_grant_with_a_forged_provider_key_does_not_open() {
    let World { acme, bravo, edge, far_edge, .. } = World::new();
    let place = acme.spend.grant_at(&edge.id);
    let secret = seal(&acme.spend.secret(), &bravo.spend_key(), &payload()).unwrap();
    // The attacker has a virtual key of its own and the key of another edge, with or without the
    // victim's virtual key.
    for key in [GrantKey::of(&far_edge.key, &bravo.wrap_key(), &edge.id), GrantKey::of(&far_edge.key, &acme.wrap_key(), &edge.id)] {
        let forged = seal(&place, &key, &bravo.spend_key()).unwrap();
        let spent = acme.spend.open(&edge, acme.wrap_key(), &forged, &secret);
        assert!(matches!(spent, Err(SpendError::Grant(_))));
    }
}

#[test]
fn p7_a_forged_root_does_not_open() {
    let World { keyring, acme, bravo, .. } = World::new();
    let forger = Keyring::new(super::master(9), []).unwrap();
    let forged = forger.wrap(&RootOf(&acme.id), &bravo.root).unwrap();
    assert!(keyring.open(&RootOf(&acme.id), &forged).is_err());
    assert!(keyring.open(&RootOf(&acme.id), &Wrapped { kid: keyring.current(), ..forged }).is_err());
    let bravos = keyring.wrap(&RootOf(&bravo.id), &bravo.root).unwrap();
    assert!(keyring.open(&RootOf(&acme.id), &bravos).is_err());
}

#[test]
fn p7_a_forged_escrow_gets_no_grant_in_later_epochs() {
    let World { acme, bravo, .. } = World::new();
    let forged = seal(&acme.escrow(), &EscrowKey::of(&bravo.root), &bravo.wrap_key()).unwrap();
    assert!(open(&acme.escrow(), &EscrowKey::of(&acme.root), &forged).is_err());
}

#[test]
fn p7_a_swapped_lookup_admits_a_foreign_key_that_opens_nothing() {
    // The row of acme's key has bravo's lookup value: all names are acme's, the presented key is
    // bravo's.
    let World { acme, bravo, edge, .. } = World::new();
    let spent = acme.spend.open(&edge, bravo.wrap_key(), &acme.grant_blob(&edge), &acme.secret_blob());
    assert!(matches!(spent, Err(SpendError::Grant(_))));
}

#[test]
fn p7_a_key_moved_to_another_tenant_opens_nothing_of_it() {
    let World { acme, bravo, edge, .. } = World::new();
    // The row names acme; grant and provider key are bravo's or acme's, in every combination.
    let pointed = SpendRequest { tenant: acme.id.clone(), ..bravo.spend.clone() };
    for grant in [bravo.grant_blob(&edge), acme.grant_blob(&edge)] {
        for secret in [bravo.secret_blob(), acme.secret_blob()] {
            let spent = pointed.open(&edge, bravo.wrap_key(), &grant, &secret);
            assert!(matches!(spent, Err(SpendError::Grant(_))));
        }
    }
    let own = bravo.spend.open(&edge, bravo.wrap_key(), &bravo.grant_blob(&edge), &bravo.secret_blob());
    assert!(own.is_ok());
}
