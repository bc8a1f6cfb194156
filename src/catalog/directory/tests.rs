use super::bytes::{LookupValue, SealedBlob};
use super::record::{
    ByoProviderRecord, DirectoryChanges, DirectoryRecords, DirectoryUpdate, GrantRecord, KeyRecord, SealedKeyRecord, TenantRecord,
};
use super::*;
use crate::catalog::testing::catalog;
use crate::seal::names::{Epoch, Ring, Version};

fn context() -> DirectoryContext {
    DirectoryContext { offerings: Arc::new(Offerings::build(&catalog(), None, 0)), private_upstreams: false }
}

fn tenant(id: &str) -> TenantRecord {
    TenantRecord { id: id.into(), name: id.to_uppercase(), brokered: true, broker_fallback: true, enabled: true, created_at: 7 }
}

fn key(id: &str, tenant: &str, lookup: u8) -> KeyRecord {
    KeyRecord {
        id: id.into(),
        tenant: tenant.into(),
        lookup: LookupValue([lookup; 32]),
        name: format!("key {id}"),
        subject: "ada".to_owned(),
        team: Some("search".to_owned()),
        tags: vec![("project".to_owned(), "apollo".to_owned())],
        allowed_models: Some(vec!["m".to_owned()]),
        expires_at: Some(1_000),
        rpm: Some(1),
        tpm: None,
        max_concurrency: Some(3),
        monthly_budget_cents: Some(u64::MAX),
        grants: vec![GrantRecord { ring: Ring::main(), epoch: Epoch(2), blob: SealedBlob(b"canary-grant".to_vec()) }],
    }
}

fn provider(tenant: &str, name: &str, version: u32) -> ByoProviderRecord {
    let key =
        SealedKeyRecord { ring: Ring::main(), epoch: Epoch(2), version: Version(version), blob: SealedBlob(b"canary-secret".to_vec()) };
    ByoProviderRecord {
        tenant: tenant.into(),
        name: name.into(),
        kind: "a".into(),
        base_url: None,
        enabled: true,
        key: Some(key),
        last4: Some("1234".to_owned()),
    }
}

fn records() -> DirectoryRecords {
    DirectoryRecords {
        tenants: vec![tenant("acme"), tenant("globex")],
        providers: vec![provider("acme", "2-mine", 5), provider("acme", "1-mine", 1), provider("nobody", "1-x", 1)],
        keys: vec![key("key_1", "acme", 1), key("key_2", "acme", 2), key("key_3", "globex", 3), key("key_4", "nobody", 4)],
    }
}

fn changes() -> Vec<DirectoryUpdate> {
    let add_key = DirectoryRecords { keys: vec![key("key_5", "globex", 5)], ..DirectoryRecords::default() };
    let add_tenant = DirectoryRecords {
        tenants: vec![tenant("initech")],
        providers: vec![provider("initech", "1-theirs", 1)],
        keys: vec![key("key_6", "initech", 6)],
    };
    let replace_tenant = DirectoryRecords {
        tenants: vec![TenantRecord { enabled: false, ..tenant("acme") }],
        providers: vec![provider("acme", "2-mine", 4)],
        keys: vec![key("key_2", "acme", 2)],
    };
    let of = |records| DirectoryChanges { records, ..DirectoryChanges::default() };
    vec![
        DirectoryUpdate::Changes(of(add_key)),
        DirectoryUpdate::Changes(of(add_tenant)),
        DirectoryUpdate::Changes(of(replace_tenant)),
        DirectoryUpdate::Changes(DirectoryChanges { removed_keys: vec!["key_5".into()], ..DirectoryChanges::default() }),
        DirectoryUpdate::Changes(DirectoryChanges { removed_tenants: vec!["initech".into()], ..DirectoryChanges::default() }),
        DirectoryUpdate::Complete(records()),
    ]
}

fn through_json(update: &DirectoryUpdate) -> DirectoryUpdate {
    serde_json::from_str(&serde_json::to_string(update).unwrap()).unwrap()
}

fn through_postcard(update: &DirectoryUpdate) -> DirectoryUpdate {
    let mut bytes = [0; 8_192];
    postcard::from_bytes(postcard::to_slice(update, &mut bytes).unwrap()).unwrap()
}

/// Contents in an order that does not depend on the hash maps.
fn contents(directory: &Directory) -> Vec<String> {
    let tenants = directory.tenants.values().map(|tenant| format!("{tenant:?}"));
    let callers = directory.callers.iter().map(|(lookup, caller)| {
        let blobs: Vec<_> = caller.grants.iter().map(|grant| grant.blob.clone()).collect();
        format!("{lookup:?} {caller:?} {blobs:?}")
    });
    let providers = directory.byo.iter().flat_map(|(id, providers)| {
        providers.providers.iter().map(move |own| {
            let blob = own.account.key.as_ref().map(|key| key.blob.clone());
            format!("{id} {:?} {:?} {:?} {blob:?}", own.account, own.inactive, own.provider)
        })
    });
    let marks = directory.high_water.iter().map(|(id, marks)| format!("{id} {}", sorted(&format!("{marks:?}"))));
    let mut all: Vec<String> = tenants.chain(callers).chain(providers).chain(marks).collect();
    all.sort();
    all
}

fn sorted(text: &str) -> String {
    let mut parts: Vec<&str> = text.split([',', '{', '}']).map(str::trim).collect();
    parts.sort_unstable();
    parts.join(",")
}

#[test]
fn records_build_the_same_directory_after_a_wire_format() {
    for wire in [through_json, through_postcard] {
        let context = context();
        let initial = DirectoryUpdate::Complete(records());
        let (mut direct, mut received) =
            (Directory::default().updated(&context, initial.clone()), Directory::default().updated(&context, wire(&initial)));
        assert_eq!((direct.tenants.len(), direct.callers.len(), direct.byo.len()), (2, 3, 1));
        for update in changes() {
            (direct, received) = (direct.updated(&context, update.clone()), received.updated(&context, wire(&update)));
            assert_eq!(contents(&direct), contents(&received), "{update:?}");
            (direct, received) = (direct.rebuild(&context), received.rebuild(&context));
            assert_eq!(contents(&direct), contents(&received), "rebuilt after {update:?}");
        }
    }
}

#[test]
fn changes_add_replace_and_remove() {
    let context = context();
    let ids = |directory: &Directory| {
        let mut ids: Vec<String> = directory.callers.values().map(|caller| caller.key_id.to_string()).collect();
        ids.sort();
        ids.join(" ")
    };
    let mut directory = Directory::from_records(&context, records(), None);
    let old = directory.caller(&[1; 32]).unwrap().clone();
    let expected = [
        "key_1 key_2 key_3 key_5",
        "key_1 key_2 key_3 key_5 key_6",
        "key_2 key_3 key_5 key_6",
        "key_2 key_3 key_6",
        "key_2 key_3",
        "key_1 key_2 key_3",
    ];
    for (update, expected) in changes().into_iter().zip(expected) {
        let before = directory;
        directory = before.updated(&context, update);
        assert_eq!(ids(&directory), expected);
        let rolled_back: Vec<String> = directory.rolled_back_since(&before).map(|(tenant, name)| format!("{tenant}/{name}")).collect();
        if expected == "key_2 key_3 key_5 key_6" {
            assert_eq!(rolled_back, ["acme/2-mine"], "version 4 after version 5");
            assert!(!old.validity.is_valid_at(0), "removed with the old version of its tenant");
            assert!(!directory.caller(&[2; 32]).unwrap().validity.is_valid_at(0), "its tenant is disabled");
        } else {
            assert!(rolled_back.is_empty(), "{rolled_back:?}");
        }
    }
    assert!(directory.caller(&[2; 32]).unwrap().validity.is_valid_at(999), "its tenant is enabled again");
}

#[test]
fn records_show_no_sealed_bytes_in_debug() {
    let text = format!("{:?}", records());
    assert!(!text.contains("canary") && !text.contains("99, 97, 110, 97, 114, 121"), "{text}");
}
