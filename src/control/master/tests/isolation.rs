//! P1 and P2: a part of the secrets opens nothing of a tenant.

use super::world::{Sealed, Tenant, World, bytes_of};
use crate::control::master::keyring::{Keyring, RootOf, Wrapped};
use crate::seal::derivation::{EscrowKey, GrantKey, JobKey};
use crate::seal::key::BlobContent;
use crate::seal::spend::{Edge, SpendError};

fn digest(bytes: &[u8]) -> [u8; 32] {
    orion::hazardous::hash::sha2::sha256::Sha256::digest(bytes).unwrap().as_ref().try_into().unwrap()
}

fn content_bytes(content: &impl BlobContent) -> [u8; 32] {
    content.to_plaintext().as_slice().try_into().unwrap()
}

/// Returns every sequence of 32 bytes in the blobs of the database.
fn windows(blobs: &[Sealed<'_>]) -> Vec<[u8; 32]> {
    blobs.iter().flat_map(|sealed| sealed.blob.windows(32)).map(|window| window.try_into().unwrap()).collect()
}

/// Returns the clear values of a database: lookup values, kids and hashes of public values.
fn database(world: &World) -> Vec<[u8; 32]> {
    let mut guesses = windows(&world.stored_for(&world.acme));
    guesses.extend(windows(&world.stored_for(&world.bravo)));
    for credential in [&world.acme.virtual_key, &world.acme.tenant_key, &world.bravo.virtual_key, &world.edge_credential] {
        guesses.extend([credential.lookup(), digest(&credential.lookup())]);
    }
    guesses.extend([[0; 32], digest(b""), digest(world.keyring.current().to_string().as_bytes())]);
    guesses
}

/// Returns all keys of one tenant.
fn everything_of(tenant: &Tenant, edge: &Edge) -> Vec<[u8; 32]> {
    vec![
        content_bytes(&tenant.wrap_key()),
        content_bytes(&tenant.root),
        bytes_of(&tenant.spend_key()),
        bytes_of(&EscrowKey::of(&tenant.root)),
        bytes_of(&tenant.grant_key(edge)),
        digest(tenant.virtual_key.text().expose().as_bytes()),
        digest(tenant.tenant_key.text().expose().as_bytes()),
    ]
}

fn assert_nothing_opens(stored: &[Sealed<'_>], guesses: &[[u8; 32]]) {
    for sealed in stored {
        for (at, guess) in guesses.iter().enumerate() {
            assert!(!sealed.opens_with(*guess, &sealed.blob), "{} opens with guess {at}", sealed.name);
        }
    }
}

#[test]
fn p1_the_true_keys_open_what_is_stored() {
    let world = World::new();
    for sealed in world.all() {
        assert!(sealed.opens(&sealed.blob), "{}", sealed.name);
    }
}

#[test]
fn p1_no_value_of_the_database_opens_a_tenants_blobs() {
    let world = World::new();
    let guesses = database(&world);
    assert!(guesses.len() > 500);
    assert_nothing_opens(&world.stored_for(&world.acme), &guesses);
}

#[test]
fn p1_neither_the_edge_key_nor_all_keys_of_another_tenant_open_anything() {
    let world = World::new();
    let mut guesses = everything_of(&world.bravo, &world.edge);
    guesses.extend([content_bytes(&world.edge.key), bytes_of(&JobKey::of(&world.edge.key, &world.edge.id))]);
    guesses.extend([digest(world.edge_credential.text().expose().as_bytes()), digest(b"an admin token of 32 characters!")]);
    guesses.push(bytes_of(&GrantKey::of(&world.edge.key, &world.bravo.wrap_key(), &world.far_edge.id)));
    assert_nothing_opens(&world.stored_for(&world.acme), &guesses);
}

#[test]
fn p1_another_tenants_key_opens_nothing_at_the_right_edge() {
    let world = World::new();
    let (grant, secret) = (world.acme.grant_blob(&world.edge), world.acme.secret_blob());
    let stolen = world.acme.spend.open(&world.edge, world.bravo.wrap_key(), &grant, &secret);
    assert!(matches!(stolen, Err(SpendError::Grant(_))));
    let own_grant = world.bravo.grant_blob(&world.edge);
    let mixed = world.bravo.spend.open(&world.edge, world.bravo.wrap_key(), &own_grant, &secret);
    assert!(matches!(mixed, Err(SpendError::Secret(_))));
}

#[test]
fn p2_a_virtual_key_without_the_edge_key_opens_nothing() {
    let world = World::new();
    let mut guesses = database(&world);
    let wrap_key = world.acme.wrap_key();
    guesses.extend([content_bytes(&wrap_key), digest(world.acme.virtual_key.text().expose().as_bytes())]);
    guesses.push(bytes_of(&world.acme.grant_key(&world.far_edge)));
    guesses.push(bytes_of(&GrantKey::of(&world.far_edge.key, &wrap_key, &world.edge.id)));
    assert_nothing_opens(&world.stored_for(&world.acme), &guesses);
}

#[test]
fn p2_a_virtual_key_opens_nothing_at_an_edge_without_its_grant() {
    let world = World::new();
    let (grant, secret) = (world.acme.grant_blob(&world.edge), world.acme.secret_blob());
    let spend = |edge: &Edge| world.acme.spend.open(edge, world.acme.wrap_key(), &grant, &secret);
    assert!(spend(&world.edge).is_ok());
    assert!(matches!(spend(&world.far_edge), Err(SpendError::Grant(_))));
}

#[test]
fn p2_with_custody_tenant_the_master_key_opens_nothing() {
    let world = World::new();
    let master = &super::master(1);
    let mut guesses = database(&world);
    guesses.extend([bytes_of(&master.root_key()), bytes_of(&master.edge_wrap_key()), bytes_of(&master.audit_wrap_key())]);
    guesses.extend(everything_of(&world.bravo, &world.edge));
    guesses.push(content_bytes(&world.edge.key));
    // All but ROOT under the master key, which a tenant with custody `tenant` does not have.
    let stored: Vec<_> = world.stored_for(&world.acme).into_iter().filter(|sealed| sealed.name != "ROOT").collect();
    assert_nothing_opens(&stored, &guesses);
    let wrapped = Wrapped { kid: world.keyring.current(), blob: world.acme.root_under_tenant_key().blob };
    assert!(world.keyring.open(&RootOf(&world.acme.id), &wrapped).is_err());
}

#[test]
fn p2_another_master_key_opens_nothing() {
    let world = World::new();
    let wrapped = world.keyring.wrap(&RootOf(&world.acme.id), &world.acme.root).unwrap();
    let others = Keyring::new(super::master(2), []).unwrap();
    assert!(others.open(&RootOf(&world.acme.id), &wrapped).is_err());
    assert!(others.open(&RootOf(&world.acme.id), &Wrapped { kid: others.current(), ..wrapped }).is_err());
}
