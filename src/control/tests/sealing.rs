//! The operations of spec/security.md 1.5 on both databases, and which blobs a gateway can open
//! afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;

use crate::catalog::caller::Caller;
use crate::catalog::provider::Offer;
use crate::config::{self, Auth, CatalogSettings, Cooldown, Kind, ModelSettings, Offering, Price, RetryPolicy};
use crate::control::edges::NewEdge;
use crate::control::error::ControlError;
use crate::control::keys::{IssuedKey, KeyFields};
use crate::control::providers::ProviderFields;
use crate::control::sealing::Sealer;
use crate::control::sealing::rewrap::{RotateError, rotate};
use crate::control::sealing::start::KeyMaterialError;
use crate::control::store::Store;
use crate::control::store::changes::Actor;
use crate::control::store::schema::{admin_events, byo_providers, edges, escrow, grants, tenant_roots, virtual_keys};
use crate::control::store::testing::{Fresh, on_each_database};
use crate::control::tenants::{NewTenant, TenantChange};
use crate::control::testing::{ACTOR, ControlFixture};
use crate::gateway::byo::{ByoError, ByoKeys, Presented};
use crate::guard::NetworkAccess;
use crate::secret::Secret;
use crate::terms::Operation;

const KEY: &str = "sk-of-the-tenant-0123456789";

fn kind(name: &str, host: &str, auth: Auth) -> Arc<Kind> {
    let second = Duration::from_secs(1);
    Arc::new(Kind {
        name: name.into(),
        dialect: &crate::dialect::openai::OpenAi,
        base_url: Some(format!("https://{host}/v1")),
        auth,
        headers: vec![],
        query: vec![],
        paths: BTreeMap::from([(Operation::Chat, "/chat/completions".to_owned())]),
        quirks: Arc::default(),
        network: NetworkAccess::default(),
        retry: RetryPolicy {
            attempts: 1,
            backoff: second,
            max_backoff: second,
            connect_timeout: second,
            first_byte_timeout: second,
            idle_timeout: second,
            total_timeout: second,
            cooldown: Cooldown { failures: 0, window: second, rest: second },
        },
    })
}

/// The kinds `groq` (at `host`), `azure` (its key in a header) and `open` (without keys), all
/// serving the model `m`.
fn catalog(host: &str) -> CatalogSettings {
    let kinds = [
        kind("groq", host, Auth::Bearer),
        kind("azure", "azure.example", Auth::Header("api-key".to_owned())),
        kind("open", "open.example", Auth::None),
    ];
    let served = Offering { upstream_model: "m".to_owned(), price: Arc::new(Price::default()) };
    let served_by = kinds.iter().map(|kind| (kind.name.clone(), served.clone())).collect();
    let model = ModelSettings { id: "m".into(), aliases: vec![], context_window: None, max_output_tokens: None, served_by };
    CatalogSettings { kinds: kinds.into_iter().map(|kind| (kind.name.clone(), kind)).collect(), providers: vec![], models: vec![model] }
}

fn master(byte: u8) -> Secret {
    use base64::Engine;
    let bytes: Vec<u8> = (0..32).map(|nth| byte.wrapping_add(nth)).collect();
    Secret::new(base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn keys(current: u8, old: Option<u8>) -> config::Sealing {
    config::Sealing { master_key: Some(master(current)), old_master_key: old.map(master), edge: None, cache: Duration::ZERO }
}

/// Runs a test on each database, with a master key.
fn on_each_sealed<F: Future<Output = ()>>(test: impl Fn(ControlFixture) -> F) {
    on_each_database(|fresh| actix_web::rt::System::new().block_on(test(fixture(Arc::new(fresh)))));
}

fn fixture(fresh: Arc<Fresh>) -> ControlFixture {
    ControlFixture::sealed(fresh, &catalog("groq.example"), keys(1, None))
}

fn fields(kind: &str, key: Option<&str>) -> ProviderFields {
    ProviderFields { kind: Some(kind.to_owned()), api_key: key.map(Secret::new), base_url: None, enabled: None }
}

async fn put(
    fixture: &ControlFixture,
    name: &str,
    fields: ProviderFields,
) -> Result<crate::control::store::providers::ProviderRow, ControlError> {
    fixture.control.put_provider(ACTOR, "acme".to_owned(), name.to_owned(), fields).await
}

/// Returns the `param` of a refusal.
fn param<T>(result: Result<T, ControlError>) -> String {
    match result.err() {
        Some(ControlError::Invalid { param, .. }) => param,
        other => panic!("not refused by param: {other:?}"),
    }
}

/// Returns the header that the gateway half sends upstream for a key, or the reason for sending
/// none.
fn auth_header(fixture: &ControlFixture, key: &IssuedKey) -> Result<String, ByoError> {
    let caller = fixture.known(key).expect("an active key");
    let offer = offer(fixture, &caller);
    let byo_keys = ByoKeys::new(fixture.edge.clone(), Duration::ZERO);
    let presented = Presented::new(key.key.text().expose());
    let auth = offer.byo_auth.as_ref().expect("a provider with a key");
    byo_keys
        .authorize(Some(&presented), &caller, &offer, auth, &"req".into())
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
}

fn offer(fixture: &ControlFixture, caller: &Caller) -> Arc<Offer> {
    Arc::clone(&fixture.gateway.snapshot().find(caller, "m").expect("a chain").chain[0])
}

async fn ready(fixture: &ControlFixture) -> IssuedKey {
    fixture.tenant("acme").await;
    let key = fixture.key("acme").await;
    put(fixture, "1-mine", fields("groq", Some(KEY))).await.unwrap();
    key
}

/// Changes the database without a mutation, then makes the process reload everything.
async fn edited(fixture: &ControlFixture, statement: impl Fn(&mut crate::control::store::connection::AnyConnection) -> QueryResult<usize>) {
    fixture.fresh.store.write::<_, ControlError>(|connection| Ok(statement(connection)?)).unwrap();
    let change = TenantChange { enabled: Some(true), ..TenantChange::default() };
    fixture.control.change_tenant(ACTOR, "acme".to_owned(), change).await.unwrap();
}

/// Another process on the same database, with a snapshot of its own.
fn restarted(fixture: &ControlFixture) -> ControlFixture {
    let fresh = Fresh { store: Store::open(&fixture.fresh.url).unwrap(), url: fixture.fresh.url.clone(), cleanup: Box::new(()) };
    self::fixture(Arc::new(fresh))
}

#[test]
fn a_rolled_back_sealed_key_is_not_used_and_is_reported() {
    on_each_sealed(async |fixture| {
        let key = ready(&fixture).await;
        let mine = || byo_providers::table.filter(byo_providers::tenant.eq("acme"));
        let row = |fixture: &ControlFixture| {
            let read = fixture.fresh.store.read::<_, ControlError>(|c| {
                Ok(mine().select((byo_providers::secret.assume_not_null(), byo_providers::version, byo_providers::epoch)).first(c)?)
            });
            let row: (Vec<u8>, i32, i32) = read.unwrap();
            row
        };
        let recorded = |fixture: &ControlFixture| {
            let recorded = fixture.fresh.store.read::<i64, ControlError>(|c| {
                let events = admin_events::table.filter(admin_events::action.eq("provider.rolled_back"));
                Ok(events.filter(admin_events::target.eq("acme/1-mine")).filter(admin_events::actor.eq("gateway")).count().get_result(c)?)
            });
            recorded.unwrap()
        };
        let bring_back = async |fixture: &ControlFixture, (secret, version, epoch): &(Vec<u8>, i32, i32)| {
            let old = (byo_providers::secret.eq(Some(secret)), byo_providers::version.eq(version), byo_providers::epoch.eq(epoch));
            edited(fixture, |c| diesel::update(mine()).set(old).execute(c)).await;
        };
        let old = row(&fixture);
        put(&fixture, "1-mine", fields("groq", Some("sk-newer-0123456789"))).await.unwrap();
        let new = row(&fixture);
        assert!(auth_header(&fixture, &key).is_ok() && recorded(&fixture) == 0);
        let takes_part = |fixture: &ControlFixture| fixture.gateway.snapshot().find(&fixture.known(&key).unwrap(), "m").is_some();
        bring_back(&fixture, &old).await;
        assert!(!takes_part(&fixture));
        edited(&fixture, |_| Ok(0)).await;
        assert_eq!(recorded(&fixture), 1, "once");
        // Restoring the newer key is enough; so is a new process, which has not seen the newer key.
        bring_back(&fixture, &new).await;
        assert_eq!(auth_header(&fixture, &key).unwrap(), "authorization: Bearer sk-newer-0123456789");
        bring_back(&fixture, &old).await;
        let after = restarted(&fixture);
        assert_eq!(auth_header(&after, &key).unwrap(), format!("authorization: Bearer {KEY}"));
        // Restores the previous epoch with its grants.
        put(&fixture, "1-mine", fields("groq", Some(KEY))).await.unwrap();
        assert!(takes_part(&fixture));
        let leaked = row(&fixture);
        fixture.control.advance_epoch(ACTOR, "acme".to_owned()).await.unwrap();
        assert!(takes_part(&fixture));
        bring_back(&fixture, &leaked).await;
        assert!(!takes_part(&fixture));
        // A new tenant with the same id is not affected.
        fixture.control.delete_tenant(ACTOR, "acme".to_owned()).await.unwrap();
        let key = ready(&fixture).await;
        assert!(auth_header(&fixture, &key).is_ok());
    });
}

#[test]
fn a_key_created_before_or_after_the_provider_can_use_it() {
    on_each_sealed(async |fixture| {
        let before = ready(&fixture).await;
        let after = fixture.key("acme").await;
        for key in [&before, &after] {
            assert!(key.has_grants);
            assert_eq!(auth_header(&fixture, key).unwrap(), format!("authorization: Bearer {KEY}"));
        }
        put(&fixture, "1-mine", fields("azure", Some("az-0123456789"))).await.unwrap();
        assert_eq!(auth_header(&fixture, &before).unwrap(), "api-key: az-0123456789");
    });
}

#[test]
fn a_put_that_moves_a_provider_must_carry_its_key_again() {
    on_each_sealed(async |fixture| {
        ready(&fixture).await;
        let change = |base_url: Option<&str>, key: Option<&str>| ProviderFields {
            base_url: Some(base_url.map(str::to_owned)),
            ..fields("groq", key)
        };
        assert_eq!(param(put(&fixture, "2-new", fields("groq", None)).await), "api_key");
        assert_eq!(param(put(&fixture, "1-mine", fields("azure", None)).await), "api_key");
        assert_eq!(param(put(&fixture, "1-mine", change(Some("https://other.example/v1"), None)).await), "api_key");
        put(&fixture, "1-mine", change(Some("https://other.example/v1"), Some(KEY))).await.unwrap();
        assert_eq!(param(put(&fixture, "1-mine", change(None, None)).await), "api_key");
        let off = ProviderFields { enabled: Some(false), ..ProviderFields::default() };
        let row = put(&fixture, "1-mine", off).await.unwrap();
        assert_eq!((row.enabled, row.base_url.as_deref()), (false, Some("https://other.example/v1")));
        // The explicit base URL of the kind is the same as none.
        let row = put(&fixture, "1-mine", change(Some("https://groq.example/v1/"), Some(KEY))).await.unwrap();
        assert_eq!((row.base_url, row.version), (None, 3));
    });
}

#[test]
fn invalid_providers_are_refused_by_parameter() {
    on_each_sealed(async |fixture| {
        fixture.tenant("acme").await;
        let at = |url: &str| ProviderFields { base_url: Some(Some(url.to_owned())), ..fields("groq", Some(KEY)) };
        for url in ["http://a.example/v1", "https://127.0.0.1/v1", "https://localhost/v1", "https://a.example:8443/v1", "ftp://a", ""] {
            let refused = put(&fixture, "1-mine", at(url)).await;
            let text = refused.as_ref().err().unwrap().to_string();
            assert!(text.contains("ssrf."), "{url}: {text}");
            assert_eq!(param(refused), "base_url", "{url}");
        }
        assert_eq!(param(put(&fixture, "1-mine", fields("nonesuch", Some(KEY))).await), "kind");
        assert_eq!(param(put(&fixture, "1-mine", ProviderFields::default()).await), "kind");
        assert_eq!(param(put(&fixture, "-bad name", fields("groq", Some(KEY))).await), "name");
        assert_eq!(param(put(&fixture, "1-mine", fields("open", Some(KEY))).await), "api_key");
        for key in ["", " padded ", "line\nbreak", "ümlaut"] {
            assert_eq!(param(put(&fixture, "1-mine", fields("groq", Some(key))).await), "api_key", "{key:?}");
        }
        assert!(put(&fixture, "1-mine", fields("open", None)).await.unwrap().secret.is_none());
    });
}

#[test]
fn without_a_master_key_nothing_can_be_sealed_and_keys_are_for_brokered_providers_only() {
    on_each_database(|fresh| {
        actix_web::rt::System::new().block_on(async {
            let fresh = Arc::new(fresh);
            let plain = ControlFixture::sealed(Arc::clone(&fresh), &catalog("groq.example"), config::Sealing::default());
            plain.tenant("acme").await;
            let key = plain.key("acme").await;
            assert!(!key.has_grants);
            assert!(matches!(put(&plain, "1-mine", fields("groq", Some(KEY))).await, Err(ControlError::SealingUnavailable)));
            let own = NewTenant { id: "b".to_owned(), custody: Some("tenant".to_owned()), ..NewTenant::default() };
            assert!(matches!(plain.control.create_tenant(ACTOR, own).await, Err(ControlError::SealingUnavailable)));
            // With a master key the tenant gets its root on first use; the old key stays without
            // grants, its successor has them.
            let sealed = fixture(fresh);
            put(&sealed, "1-mine", fields("groq", Some(KEY))).await.unwrap();
            assert_eq!(auth_header(&sealed, &key), Err(ByoError::Unopened));
            let successor = sealed.control.rotate_key(ACTOR, "acme".to_owned(), key.row.id.clone(), Duration::ZERO).await.unwrap();
            assert!(successor.has_grants && auth_header(&sealed, &successor).is_ok());
            assert_eq!(sealed.control.keys_with_grants("acme".to_owned()).await.unwrap().len(), 1);
        });
    });
}

#[test]
fn a_revoked_key_leaves_nothing_behind() {
    on_each_sealed(async |fixture| {
        let key = ready(&fixture).await;
        let left = || {
            fixture.fresh.store.read::<(i64, i64), ControlError>(|connection| {
                Ok((grants::table.count().get_result(connection)?, escrow::table.count().get_result(connection)?))
            })
        };
        assert_eq!(left().unwrap(), (1, 1));
        fixture.control.revoke_key(ACTOR, "acme".to_owned(), key.row.id.clone()).await.unwrap();
        assert_eq!(left().unwrap(), (0, 0));
    });
}

#[test]
fn a_tenant_with_custody_tenant_is_opened_by_its_own_key_alone() {
    on_each_sealed(async |fixture| {
        let new = NewTenant { id: "acme".to_owned(), custody: Some("tenant".to_owned()), ..NewTenant::default() };
        let issued = fixture.control.create_tenant(ACTOR, new).await.unwrap().tenant_key.unwrap();
        let by = |key: &crate::credential::Credential| {
            let key = crate::credential::Credential::parse(key.text().expose()).map(Arc::new);
            Actor { tenant_key: key, ..ACTOR }
        };
        let create = async |actor: Actor| fixture.control.create_key(actor, "acme".to_owned(), KeyFields::default()).await;
        let write = async |actor: Actor| {
            fixture.control.put_provider(actor, "acme".to_owned(), "1-mine".to_owned(), fields("groq", Some(KEY))).await
        };
        let stranger = crate::credential::Credential::mint(crate::credential::CredentialKind::Tenant).unwrap();
        let virtual_key = crate::credential::Credential::mint(crate::credential::CredentialKind::Virtual).unwrap();
        for actor in [ACTOR, by(&stranger), by(&virtual_key)] {
            assert!(matches!(create(actor.clone()).await, Err(ControlError::TenantKeyRequired)));
            assert!(matches!(write(actor.clone()).await, Err(ControlError::TenantKeyRequired)));
            assert!(matches!(fixture.control.advance_epoch(actor, "acme".to_owned()).await, Err(ControlError::TenantKeyRequired)));
        }
        let key = create(by(&issued.key)).await.unwrap();
        write(by(&issued.key)).await.unwrap();
        assert!(auth_header(&fixture, &key).is_ok());
        // A second key works as well; either can be deleted, but not the last one.
        let second = fixture.control.create_tenant_key(by(&issued.key), "acme".to_owned()).await.unwrap();
        fixture.control.delete_tenant_key(by(&second.key), "acme".to_owned(), issued.row.id.clone()).await.unwrap();
        assert!(matches!(write(by(&issued.key)).await, Err(ControlError::TenantKeyRequired)));
        write(by(&second.key)).await.unwrap();
        let last = fixture.control.delete_tenant_key(by(&second.key), "acme".to_owned(), second.row.id.clone()).await;
        assert!(matches!(last, Err(ControlError::Conflict { .. })));
        // Nothing of it is wrapped with the master key.
        let roots = fixture
            .fresh
            .store
            .read::<Vec<String>, ControlError>(|connection| Ok(tenant_roots::table.select(tenant_roots::holder).load(connection)?));
        assert_eq!(roots.unwrap(), [format!("tk:{}", second.row.id)]);
    });
}

#[test]
fn p8_five_hundred_keys_survive_a_new_epoch_unchanged_and_the_old_grant_opens_nothing_new() {
    on_each_database(|fresh| {
        actix_web::rt::System::new().block_on(async {
            let fixture = fixture(Arc::new(fresh));
            let leaked = ready(&fixture).await;
            let mut keys = Vec::new();
            for _ in 0..500 {
                keys.push(fixture.key("acme").await);
            }
            let stolen = fixture.known(&leaked).unwrap();
            let begun = fixture.control.advance_epoch(ACTOR, "acme".to_owned()).await.unwrap();
            assert_eq!(begun, 2);
            for key in keys.iter().chain([&leaked]) {
                assert!(auth_header(&fixture, key).is_ok());
            }
            // A grant stolen with the key cannot open anything written from now on.
            put(&fixture, "1-mine", fields("groq", Some("sk-new-0123456789"))).await.unwrap();
            let new_offer = offer(&fixture, &stolen);
            let byo_keys = ByoKeys::new(fixture.edge.clone(), Duration::ZERO);
            let presented = Presented::new(leaked.key.text().expose());
            let auth = new_offer.byo_auth.as_ref().unwrap();
            assert_eq!(byo_keys.authorize(Some(&presented), &stolen, &new_offer, auth, &"req".into()).unwrap_err(), ByoError::Unopened);
            // Revoked and expired keys get no grants in the next epoch.
            fixture.control.revoke_key(ACTOR, "acme".to_owned(), leaked.row.id.clone()).await.unwrap();
            fixture.control.advance_epoch(ACTOR, "acme".to_owned()).await.unwrap();
            let granted = fixture
                .fresh
                .store
                .read::<i64, ControlError>(|connection| Ok(grants::table.filter(grants::epoch.eq(3)).count().get_result(connection)?));
            assert_eq!(granted.unwrap(), 500);
        });
    });
}

#[test]
fn p7_rows_edited_by_hand_open_nothing() {
    on_each_sealed(async |fixture| {
        let key = ready(&fixture).await;
        fixture.control.create_tenant(ACTOR, NewTenant { id: "evil".to_owned(), ..NewTenant::default() }).await.unwrap();
        let evil = fixture.key("evil").await;
        let put_evil =
            fixture.control.put_provider(ACTOR, "evil".to_owned(), "1-mine".to_owned(), fields("groq", Some("sk-evil-0123456789")));
        put_evil.await.unwrap();
        let theirs: Vec<u8> = fixture
            .fresh
            .store
            .read::<_, ControlError>(|connection| {
                let of_evil = byo_providers::table.filter(byo_providers::tenant.eq("evil"));
                Ok(of_evil.select(byo_providers::secret.assume_not_null()).first(connection)?)
            })
            .unwrap();
        let own_secret: Vec<u8> = fixture
            .fresh
            .store
            .read::<_, ControlError>(|connection| {
                let of_acme = byo_providers::table.filter(byo_providers::tenant.eq("acme"));
                Ok(of_acme.select(byo_providers::secret.assume_not_null()).first(connection)?)
            })
            .unwrap();
        let acme = || byo_providers::table.filter(byo_providers::tenant.eq("acme"));
        // A secret of another tenant, version or epoch in this row does not open.
        edited(&fixture, |c| diesel::update(acme()).set(byo_providers::secret.eq(Some(theirs.clone()))).execute(c)).await;
        assert_eq!(auth_header(&fixture, &key), Err(ByoError::Unopened));
        edited(&fixture, |c| {
            diesel::update(acme()).set((byo_providers::secret.eq(Some(own_secret.clone())), byo_providers::version.eq(9))).execute(c)
        })
        .await;
        assert_eq!(auth_header(&fixture, &key), Err(ByoError::Unopened));
        edited(&fixture, |c| diesel::update(acme()).set((byo_providers::version.eq(1), byo_providers::epoch.eq(2))).execute(c)).await;
        // A process that has not seen version 9.
        let fixture = restarted(&fixture);
        assert_eq!(auth_header(&fixture, &key), Err(ByoError::Unopened));
        edited(&fixture, |c| diesel::update(acme()).set(byo_providers::epoch.eq(1)).execute(c)).await;
        let fixture = restarted(&fixture);
        assert!(auth_header(&fixture, &key).is_ok());
        // P6: another address, written to the database.
        edited(&fixture, |c| diesel::update(acme()).set(byo_providers::base_url.eq(Some("https://evil.example/v1"))).execute(c)).await;
        assert_eq!(auth_header(&fixture, &key), Err(ByoError::Misdirected));
        edited(&fixture, |c| {
            diesel::update(acme()).set((byo_providers::base_url.eq(None::<String>), byo_providers::kind.eq("azure"))).execute(c)
        })
        .await;
        assert_eq!(auth_header(&fixture, &key), Err(ByoError::Misdirected));
        edited(&fixture, |c| diesel::update(acme()).set(byo_providers::kind.eq("groq")).execute(c)).await;
        assert!(auth_header(&fixture, &key).is_ok());
        // Another tenant's key moved to this tenant, with its own grant or with this tenant's.
        edited(&fixture, |c| {
            diesel::update(virtual_keys::table.find(&evil.row.id)).set(virtual_keys::tenant.eq("acme")).execute(c)?;
            diesel::update(grants::table.filter(grants::key_id.eq(&evil.row.id))).set(grants::tenant.eq("acme")).execute(c)
        })
        .await;
        assert_eq!(auth_header(&fixture, &evil), Err(ByoError::Unopened));
        let our_grant: Vec<u8> = fixture
            .fresh
            .store
            .read::<_, ControlError>(|c| Ok(grants::table.filter(grants::key_id.eq(&key.row.id)).select(grants::blob).first(c)?))
            .unwrap();
        edited(&fixture, |c| {
            diesel::update(grants::table.filter(grants::key_id.eq(&evil.row.id))).set(grants::blob.eq(our_grant.clone())).execute(c)
        })
        .await;
        assert_eq!(auth_header(&fixture, &evil), Err(ByoError::Unopened));
    });
}

#[test]
fn p8_after_a_rotation_everything_works_with_the_new_master_key_alone() {
    on_each_database(|fresh| {
        actix_web::rt::System::new().block_on(async {
            let fresh = Arc::new(fresh);
            let before = fixture(Arc::clone(&fresh));
            let key = ready(&before).await;
            for nth in 0..250 {
                before.tenant(&format!("t-{nth}")).await;
            }
            let start = |keys: &config::Sealing| Sealer::start(&fresh.store, keys).map(drop);
            assert!(matches!(start(&config::Sealing::default()), Err(KeyMaterialError::NoMasterKey)));
            let wrong = start(&keys(2, None)).unwrap_err().to_string();
            assert!(wrong.contains("sealed under the master key"), "{wrong}");
            assert!(matches!(rotate(&fresh.store, &keys(2, None), |_| ()), Err(RotateError::Start(_))));
            let steps = std::cell::RefCell::new(Vec::new());
            let rotated = rotate(&fresh.store, &keys(2, Some(1)), |progress| steps.borrow_mut().push(progress.roots)).unwrap();
            assert_eq!((rotated.moved.roots, rotated.moved.edges), (251, 1));
            assert_eq!(*steps.borrow(), [0, 100, 200, 251]);
            assert_eq!(rotate(&fresh.store, &keys(2, Some(1)), |_| ()).unwrap().moved.roots, 0);
            assert!(start(&keys(1, None)).is_err());
            let after = ControlFixture::sealed(Arc::clone(&fresh), &catalog("groq.example"), keys(2, None));
            assert!(auth_header(&after, &key).is_ok());
            put(&after, "1-mine", fields("groq", Some("sk-later-0123456789"))).await.unwrap();
            assert_eq!(auth_header(&after, &key).unwrap(), "authorization: Bearer sk-later-0123456789");
        });
    });
}

#[test]
fn a_damaged_edge_refuses_to_start() {
    on_each_sealed(async |fixture| {
        let spoil = fixture
            .fresh
            .store
            .write::<_, ControlError>(|c| Ok(diesel::update(edges::table).set(edges::blob.eq(vec![0u8; 78])).execute(c)?));
        spoil.unwrap();
        assert!(matches!(Sealer::start(&fixture.fresh.store, &keys(1, None)), Err(KeyMaterialError::Damaged(_))));
    });
}

#[test]
fn p6_after_a_kind_moved_its_keys_keep_their_destination_until_they_are_resealed() {
    on_each_database(|fresh| {
        actix_web::rt::System::new().block_on(async {
            let fresh = Arc::new(fresh);
            let key = ready(&fixture(Arc::clone(&fresh))).await;
            let moved = ControlFixture::sealed(Arc::clone(&fresh), &catalog("new.groq.example"), keys(1, None));
            assert_eq!(auth_header(&moved, &key), Err(ByoError::Misdirected));
            moved.control.reseal_provider(ACTOR, "acme".to_owned(), "1-mine".to_owned()).await.unwrap();
            assert_eq!(auth_header(&moved, &key).unwrap(), format!("authorization: Bearer {KEY}"));
        });
    });
}

#[test]
fn an_edge_gets_the_grants_of_its_tenants_and_none_once_it_is_removed() {
    on_each_sealed(async |fixture| {
        ready(&fixture).await;
        fixture.tenant("globex").await;
        fixture.key("globex").await;
        let new = |id: &str, tenants: Option<Vec<String>>| crate::control::edges::NewEdge { id: id.to_owned(), tenants };
        let issued = fixture.control.create_edge(ACTOR, new("eu-1", Some(vec!["acme".to_owned()]))).await.unwrap();
        assert!(issued.key.text().expose().starts_with("aigw-ek-"));
        fixture.key("acme").await;
        fixture.key("globex").await;
        let at = |edge: &'static str| {
            let count = fixture
                .fresh
                .store
                .read::<i64, ControlError>(move |c| Ok(grants::table.filter(grants::edge.eq(edge)).count().get_result(c)?));
            count.unwrap()
        };
        assert_eq!((at("eu-1"), at("local")), (2, 4));
        assert!(matches!(fixture.control.create_edge(ACTOR, new("eu-1", None)).await, Err(ControlError::Exists { .. })));
        assert!(matches!(fixture.control.create_edge(ACTOR, new("no good", None)).await, Err(ControlError::Invalid { .. })));
        fixture.control.delete_edge(ACTOR, "eu-1".to_owned()).await.unwrap();
        assert_eq!((at("eu-1"), at("local")), (0, 4));
        assert!(matches!(fixture.control.delete_edge(ACTOR, "local".to_owned()).await, Err(ControlError::Conflict { .. })));
        assert!(matches!(fixture.control.delete_edge(ACTOR, "eu-1".to_owned()).await, Err(ControlError::NotFound { .. })));
    });
}

#[test]
fn deleting_a_tenant_deletes_everything_sealed() {
    on_each_sealed(async |fixture| {
        ready(&fixture).await;
        fixture.control.delete_tenant(ACTOR, "acme".to_owned()).await.unwrap();
        let left = fixture.fresh.store.read::<[i64; 4], ControlError>(|c| {
            Ok([
                tenant_roots::table.count().get_result(c)?,
                grants::table.count().get_result(c)?,
                escrow::table.count().get_result(c)?,
                byo_providers::table.count().get_result(c)?,
            ])
        });
        assert_eq!(left.unwrap(), [0; 4]);
    });
}

#[test]
fn a_stream_learns_of_revocation_expiry_and_a_disabled_tenant() {
    on_each_sealed(async |fixture| {
        fixture.tenant("acme").await;
        let (revoked, kept) = (fixture.key("acme").await, fixture.key("acme").await);
        let (of_revoked, of_kept) = (fixture.known(&revoked).unwrap().validity.clone(), fixture.known(&kept).unwrap().validity.clone());
        fixture.control.revoke_key(ACTOR, "acme".to_owned(), revoked.row.id.clone()).await.unwrap();
        assert!(!of_revoked.is_valid_at(0) && of_kept.is_valid_at(i64::MAX - 1));
        let expiring = KeyFields { expires_at: Some(Some(1_000)), ..KeyFields::default() };
        fixture.control.change_key(ACTOR, "acme".to_owned(), kept.row.id.clone(), expiring).await.unwrap();
        assert!(of_kept.is_valid_at(999) && !of_kept.is_valid_at(1_000));
        let enabled = |enabled| TenantChange { enabled: Some(enabled), ..TenantChange::default() };
        fixture.control.change_tenant(ACTOR, "acme".to_owned(), enabled(false)).await.unwrap();
        assert!(!of_kept.is_valid_at(0));
        fixture.control.change_tenant(ACTOR, "acme".to_owned(), enabled(true)).await.unwrap();
        assert!(of_kept.is_valid_at(999));
    });
}

#[test]
fn p10_nothing_is_written_for_background_work() {
    on_each_sealed(async |fixture| {
        ready(&fixture).await;
        fixture.control.create_edge(ACTOR, NewEdge { id: "far".to_owned(), tenants: None }).await.unwrap();
        fixture.control.advance_epoch(ACTOR, "acme".to_owned()).await.unwrap();
        fixture.key("acme").await;
        let blobs = fixture.fresh.store.read::<Vec<Vec<u8>>, ControlError>(|c| {
            let mut blobs: Vec<Vec<u8>> = grants::table.select(grants::blob).load(c)?;
            blobs.extend(escrow::table.select(escrow::blob).load::<Vec<u8>>(c)?);
            blobs.extend(edges::table.select(edges::blob).load::<Vec<u8>>(c)?);
            blobs.extend(tenant_roots::table.select(tenant_roots::blob).load::<Vec<u8>>(c)?);
            blobs.extend(byo_providers::table.select(byo_providers::secret.assume_not_null()).load::<Vec<u8>>(c)?);
            Ok(blobs)
        });
        let types: std::collections::BTreeSet<u8> = blobs.unwrap().iter().map(|blob| blob[4]).collect();
        assert_eq!(
            types.into_iter().collect::<Vec<_>>(),
            [1, 2, 3, 4, 5],
            "JOB blobs (6) need the consent of the tenant, which cannot be given yet"
        );
    });
}
