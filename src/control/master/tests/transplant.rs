//! P4: no blob opens in another context, even with the key that sealed it.

use super::world::{World, sealed};
use crate::control::master::keyring::{AuditKeyOf, EdgeOf, RootOf, Under, Wrapped};
use crate::seal::blob::{open, seal};
use crate::seal::context::{BlobType, Context, EscrowContext, GrantContext, JobContext, SecretContext, TenantKeyRootContext};
use crate::seal::derivation::{EscrowKey, JobKey, TenantWrapKey};
use crate::seal::names::{Epoch, Kid, Ring, TenantKeyId, Version};
use crate::terms::{KeyId, TenantId};

/// Seals in one context and checks that the blob opens only there.
fn assert_bound<C: Context>(here: C, elsewhere: impl IntoIterator<Item = C>, key: &C::Key, content: &C::Content) {
    let blob = seal(&here, key, content).unwrap();
    assert!(open(&here, key, &blob).is_ok());
    for there in elsewhere {
        assert!(open(&there, key, &blob).is_err(), "{:?}", C::TYPE);
    }
}

#[test]
fn p4_a_provider_key_stays_with_tenant_ring_name_version_and_epoch() {
    let World { acme, bravo, .. } = World::new();
    let (here, side_ring) = (acme.spend.secret(), Ring::parse("side").unwrap());
    let elsewhere = [
        SecretContext { tenant: &bravo.id, ..here },
        SecretContext { ring: &side_ring, ..here },
        SecretContext { name: &"2-openai".into(), ..here },
        SecretContext { version: Version(2), ..here },
        SecretContext { epoch: Epoch(2), ..here },
    ];
    assert_bound(here, elsewhere, &acme.spend_key(), &super::world::payload());
}

#[test]
fn p4_a_grant_stays_with_tenant_key_edge_ring_and_epoch() {
    let world = World::new();
    let (acme, bravo, side_ring) = (&world.acme, &world.bravo, Ring::parse("side").unwrap());
    let here = acme.spend.grant_at(&world.edge.id);
    let elsewhere = [
        GrantContext { tenant: &bravo.id, ..here },
        GrantContext { key_id: &bravo.spend.key_id, ..here },
        GrantContext { edge_id: &world.far_edge.id, ..here },
        GrantContext { ring: &side_ring, ..here },
        GrantContext { epoch: Epoch(2), ..here },
    ];
    assert_bound(here, elsewhere, &acme.grant_key(&world.edge), &acme.spend_key());
}

#[test]
fn p4_a_job_stays_with_tenant_edge_ring_and_epoch() {
    let world = World::new();
    let side_ring = Ring::parse("side").unwrap();
    let here = world.acme.job_at(&world.edge.id);
    let elsewhere = [
        JobContext { tenant: &world.bravo.id, ..here },
        JobContext { edge_id: &world.far_edge.id, ..here },
        JobContext { ring: &side_ring, ..here },
        JobContext { epoch: Epoch(0), ..here },
    ];
    assert_bound(here, elsewhere, &JobKey::of(&world.edge.key, &world.edge.id), &world.acme.spend_key());
}

#[test]
fn p4_an_escrow_stays_with_tenant_and_key() {
    let World { acme, bravo, .. } = World::new();
    let here = acme.escrow();
    let elsewhere = [EscrowContext { tenant: &bravo.id, ..here }, EscrowContext { key_id: &bravo.spend.key_id, ..here }];
    assert_bound(here, elsewhere, &EscrowKey::of(&acme.root), &acme.wrap_key());
}

#[test]
fn p4_a_root_stays_with_tenant_and_tenant_key() {
    let World { acme, bravo, .. } = World::new();
    let here = TenantKeyRootContext { tenant: &acme.id, tenant_key: &acme.tenant_key_id };
    let second = TenantKeyId::parse("tk_2").unwrap();
    let elsewhere = [TenantKeyRootContext { tenant: &bravo.id, ..here }, TenantKeyRootContext { tenant_key: &second, ..here }];
    assert_bound(here, elsewhere, &TenantWrapKey::of(&acme.tenant_key).unwrap(), &acme.root);
}

#[test]
fn p4_what_the_master_key_wraps_stays_with_tenant_and_edge() {
    let World { keyring, acme, bravo, edge, far_edge, .. } = World::new();
    let root = keyring.wrap(&RootOf(&acme.id), &acme.root).unwrap();
    assert!(keyring.open(&RootOf(&acme.id), &root).is_ok());
    assert!(keyring.open(&RootOf(&bravo.id), &root).is_err());
    let wrapped_edge = keyring.wrap(&EdgeOf(&edge.id), &edge.key).unwrap();
    assert!(keyring.open(&EdgeOf(&edge.id), &wrapped_edge).is_ok());
    assert!(keyring.open(&EdgeOf(&far_edge.id), &wrapped_edge).is_err());
}

#[test]
fn p4_what_a_master_key_wraps_stays_with_its_kid() {
    let world = World::new();
    let (kid, other, master) = (world.keyring.current(), Kid::new([0; 4]), &super::master(1));
    let (root, edge) = (RootOf(&world.acme.id), EdgeOf(&world.edge.id));
    assert_bound(Under { what: &root, kid }, [Under { what: &root, kid: other }], &master.root_key(), &world.acme.root);
    assert_bound(Under { what: &edge, kid }, [Under { what: &edge, kid: other }], &master.edge_wrap_key(), &world.edge.key);
    let audit = [kid, other].map(|kid| Under { what: &AuditKeyOf, kid });
    let [here, there] = audit;
    assert_bound(here, [there], &master.audit_wrap_key(), &world.audit_key);
    let wrapped = world.keyring.wrap(&root, &world.acme.root).unwrap();
    assert!(world.keyring.open(&root, &Wrapped { kid: other, ..wrapped }).is_err());
}

#[test]
fn p4_a_blob_does_not_open_as_another_type() {
    let world = World::new();
    let all = world.all();
    let mut tried = 0;
    for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))).filter(|(from, to)| from.name != to.name) {
        let mut relabelled = from.blob.clone();
        relabelled[4] = to.blob[4];
        for blob in [&from.blob, &relabelled] {
            assert!(!to.opens_with(from.key, blob), "{} as {}", from.name, to.name);
            assert!(!to.opens(blob), "{} as {}", from.name, to.name);
            tried += 2;
        }
    }
    assert_eq!(tried, 8 * 7 * 4);
}

#[test]
fn p4_a_shifted_field_boundary_is_another_context() {
    let world = World::new();
    let key = EscrowKey::of(&world.acme.root);
    let names = [("acme", "key_1"), ("acmek", "ey_1"), ("acm", "ekey_1")].map(|(tenant, key)| (TenantId::from(tenant), KeyId::from(key)));
    let places = names.each_ref().map(|(tenant, key_id)| EscrowContext { tenant, key_id });
    for here in places {
        let elsewhere = places.into_iter().filter(|there| there.tenant != here.tenant);
        assert_bound(here, elsewhere, &key, &world.acme.wrap_key());
    }
}

#[test]
fn p4_custodies_differ_even_with_equal_names_and_keys() {
    let world = World::new();
    let kid = world.keyring.current();
    let named_like_the_kid = TenantKeyId::parse(&kid.to_string()).unwrap();
    let place = TenantKeyRootContext { tenant: &world.acme.id, tenant_key: &named_like_the_kid };
    let under_tenant_key = sealed("ROOT", place, &TenantWrapKey::of(&world.acme.tenant_key).unwrap(), &world.acme.root);
    let under_master = world.keyring.wrap(&RootOf(&world.acme.id), &world.acme.root).unwrap();
    let master_key = super::world::bytes_of(&super::master(1).root_key());
    assert!(!under_tenant_key.opens_with(master_key, &under_master.blob));
    assert_eq!(under_master.blob[4], BlobType::Root as u8);
}
