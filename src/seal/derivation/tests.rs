use super::*;
use crate::seal::blob::{KEY_BLOB_LEN, seal_known};
use crate::seal::context::GrantContext;
use crate::seal::key::{BlobContent, Key};
use crate::terms::{KeyId, TenantId};

const VIRTUAL: &str = "aigw-sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1UFIWw";
const EDGE: &str = "aigw-ek-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0VOeur";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_hex(key: &impl Key) -> String {
    hex(key.cipher_key().unprotected_as_ref())
}

fn credential(text: &str) -> Credential {
    Credential::parse(text).unwrap()
}

fn known_root() -> TenantRoot {
    TenantRoot::known(std::array::from_fn(|at| at as u8))
}

#[test]
fn p10_keys_of_credentials_have_the_known_answers() {
    let wrap_key = WrapKey::of(&credential(VIRTUAL)).unwrap();
    assert_eq!(hex(&wrap_key.to_plaintext()), "f7ce7d39173299cb89ebad5ae792b44a3bd43706faa5e8cd659e48f0cfbd437e");
    let presented = WrapKey::of_presented(CredentialKind::Virtual, VIRTUAL).unwrap();
    assert_eq!(presented.to_plaintext(), wrap_key.to_plaintext());
    let edge_key = EdgeKey::of(&credential(EDGE)).unwrap();
    assert_eq!(hex(&edge_key.to_plaintext()), "a455c6c0a6e3938ddbf58b9518c9f096fcb897a05451ebd81a6a403d98c6b4a2");
    let grant_key = GrantKey::of(&edge_key, &wrap_key, &EdgeId::local());
    assert_eq!(key_hex(&grant_key), "dca81b17681f465746bc8babc802cc7e9b502aaf65d4664fa5f95820f8de83af");
}

#[test]
fn p10_keys_of_a_root_have_the_known_answers() {
    let root = known_root();
    assert_eq!(key_hex(&EscrowKey::of(&root)), "be60afd758b8eef6a2a968e268ae20a923a73b20fe6f65c8e56d50b40a91ed32");
    let spend_key = SpendKey::of(&root, &Ring::main(), Epoch(1));
    assert_eq!(key_hex(&spend_key), "5b56ab7889990029e69642d2e2b3251271c8ad8d8adbc5f80216ecc2e59bce73");
}

#[test]
fn p10_a_grant_has_the_known_bytes() {
    let edge_id = EdgeId::local();
    let key = GrantKey::of(&EdgeKey::of(&credential(EDGE)).unwrap(), &WrapKey::of(&credential(VIRTUAL)).unwrap(), &edge_id);
    let (tenant, key_id, ring) = (TenantId::from("acme"), KeyId::from("key_1"), Ring::main());
    let place = GrantContext { tenant: &tenant, key_id: &key_id, edge_id: &edge_id, ring: &ring, epoch: Epoch(1) };
    let grant = seal_known([0x24; 24], &place, &key, &SpendKey::of(&known_root(), &ring, Epoch(1)));
    assert_eq!(grant.len(), KEY_BLOB_LEN);
    let digest = orion::hazardous::hash::sha2::sha256::Sha256::digest(&grant).unwrap();
    assert_eq!(hex(digest.as_ref()), "94b4dc0a705708e105df1891e1e0fd8f07f384a9cbc5ba55ec3f664647636020");
}

#[test]
fn a_credential_gives_only_the_key_of_its_kind() {
    for kind in CredentialKind::ALL {
        let credential = Credential::mint(kind).unwrap();
        assert_eq!(WrapKey::of(&credential).is_some(), kind == CredentialKind::Virtual);
        assert_eq!(TenantWrapKey::of(&credential).is_some(), kind == CredentialKind::Tenant);
        assert_eq!(EdgeKey::of(&credential).is_some(), kind == CredentialKind::Edge);
    }
}

#[test]
fn every_derived_key_depends_on_all_inputs() {
    let (edge, other_edge) = (EdgeKey(SecretKey::from([1; 32])), EdgeKey(SecretKey::from([2; 32])));
    let (wrap_key, other_wrap_key) = (WrapKey(SecretKey::from([3; 32])), WrapKey(SecretKey::from([4; 32])));
    let (here, there) = (EdgeId::local(), EdgeId::parse("eu-1").unwrap());
    let (root, other_root) = (known_root(), TenantRoot(SecretKey::from([5; 32])));
    let keys = [
        key_hex(&GrantKey::of(&edge, &wrap_key, &here)),
        key_hex(&GrantKey::of(&other_edge, &wrap_key, &here)),
        key_hex(&GrantKey::of(&edge, &other_wrap_key, &here)),
        key_hex(&GrantKey::of(&edge, &wrap_key, &there)),
        key_hex(&JobKey::of(&edge, &here)),
        key_hex(&JobKey::of(&other_edge, &here)),
        key_hex(&JobKey::of(&edge, &there)),
        key_hex(&EscrowKey::of(&root)),
        key_hex(&EscrowKey::of(&other_root)),
        key_hex(&SpendKey::of(&root, &Ring::main(), Epoch(1))),
        key_hex(&SpendKey::of(&root, &Ring::main(), Epoch(2))),
        key_hex(&SpendKey::of(&root, &Ring::vault(), Epoch(1))),
        key_hex(&SpendKey::of(&other_root, &Ring::main(), Epoch(1))),
    ];
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn p3_no_key_prints_itself() {
    let bytes = || SecretKey::from([0xab; 32]);
    let printed = [
        format!("{:?}", WrapKey(bytes())),
        format!("{:#?}", TenantWrapKey(bytes())),
        format!("{:?}", EdgeKey(bytes())),
        format!("{:?}", GrantKey(bytes())),
        format!("{:?}", JobKey(bytes())),
        format!("{:?}", TenantRoot(bytes())),
        format!("{:?}", EscrowKey(bytes())),
        format!("{:?}", SpendKey(bytes())),
    ];
    for text in printed {
        assert!(text.ends_with("([redacted])"), "{text}");
    }
}

/// A type that had the trait would implement `Absent` twice, and this would not compile.
macro_rules! assert_absent {
    ($trait:path: $($name:ty),+) => {{
        trait Absent<Marker> {
            fn is_absent() {}
        }
        impl<T: ?Sized> Absent<()> for T {}
        struct Present;
        impl<T: ?Sized + $trait> Absent<Present> for T {}
        $(<$name as Absent<_>>::is_absent();)+
    }};
}

#[test]
fn p3_no_key_can_be_cloned_displayed_or_serialized() {
    use crate::seal::payload::KeyPayload;
    assert_absent!(Clone: WrapKey, TenantWrapKey, EdgeKey, GrantKey, JobKey, TenantRoot, EscrowKey, SpendKey, KeyPayload);
    assert_absent!(std::fmt::Display: WrapKey, TenantWrapKey, EdgeKey, GrantKey, JobKey, TenantRoot, EscrowKey, SpendKey, KeyPayload);
    assert_absent!(serde::Serialize: WrapKey, TenantWrapKey, EdgeKey, GrantKey, JobKey, TenantRoot, EscrowKey, SpendKey, KeyPayload);
}
