//! Cost of a sealed provider key per request: decrypted for the first time, and taken from the
//! cache.
//!
//! Limits: cold at most 40 µs, key check and warm use together at most 2 µs. `cargo bench --bench
//! seal`

#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::cell::Cell;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use aigw::credential::{Credential, CredentialKind};
use aigw::guard::{Policy, SelfListen, Source, check_url};
use aigw::http::identity::Authenticator;
use aigw::seal::cache::{DEFAULT_TTL, OpenedSecrets};
use aigw::seal::derivation::{EdgeKey, GrantKey, SpendKey, TenantRoot, WrapKey};
use aigw::seal::payload::{Destination, KeyPayload, Presentation};
use aigw::seal::spend::{Edge, SpendRequest};
use aigw::seal::{EdgeId, Epoch, Ring, Version, seal};
use aigw::secret::Secret;
use criterion::{Criterion, criterion_group, criterion_main};

fn destination() -> Destination {
    let policy = Policy { source: Source::TenantUrl { private_upstreams: false }, self_listen: SelfListen::default() };
    Destination::from(&check_url("https://api.openai.com/v1", &policy).expect("a public URL"))
}

fn payload() -> KeyPayload {
    KeyPayload::new([destination()], Presentation::Bearer, Secret::new("sk-proj-".repeat(20))).expect("a provider key")
}

fn spending(criterion: &mut Criterion) {
    let presented = Credential::mint(CredentialKind::Virtual).expect("randomness");
    let edge_credential = Credential::mint(CredentialKind::Edge).expect("randomness");
    let edge = Edge { id: EdgeId::local(), key: EdgeKey::of(&edge_credential).expect("an edge key") };
    let spend = SpendRequest {
        tenant: "acme".into(),
        key_id: "key_01983f3e-7c4a-7e02-a8a0-3b6a1f0c2d4e".into(),
        ring: Ring::main(),
        epoch: Epoch(1),
        name: "1-openai".into(),
        version: Version(1),
    };
    let spend_key = SpendKey::of(&TenantRoot::generate().expect("randomness"), &spend.ring, spend.epoch);
    let grant_key = GrantKey::of(&edge.key, &WrapKey::of(&presented).expect("a virtual key"), &edge.id);
    let grant = seal(&spend.grant_at(&edge.id), &grant_key, &spend_key).expect("a grant");
    let secret = seal(&spend.secret(), &spend_key, &payload()).expect("a secret");
    let (text, to) = (presented.text().expose(), destination());

    criterion.bench_function("spend/cold", |bencher| {
        bencher.iter(|| {
            let wrap_key = WrapKey::of_presented(CredentialKind::Virtual, black_box(text)).expect("a virtual key");
            spend.open(&edge, wrap_key, &grant, &secret).expect("opens").header_for(&to).expect("sealed for it")
        });
    });

    let mut cache = OpenedSecrets::new(DEFAULT_TTL);
    let now = Instant::now();
    criterion.bench_function("spend/warm", |bencher| {
        bencher.iter(|| {
            let kept = cache.get_or_open(black_box(&spend), now, || Ok::<_, Infallible>(payload())).expect("kept");
            kept.header_for(&to).expect("sealed for it")
        });
    });

    criterion.bench_function("spend/key check, first of a connection", |bencher| bencher.iter(|| Credential::lookup_of(black_box(text))));

    let (authenticator, last) = (Authenticator::new(600), Cell::default());
    criterion.bench_function("spend/key check, later", |bencher| bencher.iter(|| authenticator.look_up(black_box(text), &last)));

    criterion.bench_function("spend/key check and warm", |bencher| {
        bencher.iter(|| {
            let found = authenticator.look_up(black_box(text), &last).expect("a virtual key");
            let kept = cache.get_or_open(black_box(&spend), now, || Ok::<_, Infallible>(payload())).expect("kept");
            (found, kept.header_for(&to).expect("sealed for it"))
        });
    });
}

criterion_group!(benches, spending);
criterion_main!(benches);
