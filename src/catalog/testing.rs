//! Kinds, providers and models for tests.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Auth, Cooldown, Kind, Offering, Price, RetryPolicy};
use crate::guard::NetworkAccess;
use crate::secret::Secret;
use crate::terms::Operation;

pub fn retry() -> RetryPolicy {
    let second = Duration::from_secs(1);
    RetryPolicy {
        attempts: 2,
        backoff: second,
        max_backoff: second,
        connect_timeout: second,
        first_byte_timeout: second,
        idle_timeout: second,
        total_timeout: second,
        cooldown: Cooldown { failures: 5, window: second, rest: second },
    }
}

pub const CHAT: (Operation, &str) = (Operation::Chat, "/chat/completions");
pub const EMBEDDINGS: (Operation, &str) = (Operation::Embeddings, "deployments/{model}/embeddings");

pub fn kind(name: &str, auth: Auth, paths: &[(Operation, &str)]) -> Arc<Kind> {
    Arc::new(Kind {
        name: name.into(),
        dialect: &crate::dialect::openai::OpenAi,
        base_url: Some(format!("https://{name}.example/v1")),
        auth,
        headers: vec![],
        query: vec![],
        paths: paths.iter().map(|(operation, path)| (*operation, (*path).to_owned())).collect(),
        quirks: Arc::default(),
        network: NetworkAccess::default(),
        retry: retry(),
    })
}

pub fn provider(name: &str, kind: &Arc<Kind>, key: Option<&str>) -> config::ProviderSettings {
    config::ProviderSettings {
        name: name.into(),
        kind: kind.clone(),
        api_key: key.map(|key| Arc::new(Secret::new(key))),
        disabled: None,
        tenants: None,
        base_url: kind.base_url.clone(),
        headers: vec![("x-title".into(), "aigw".into())],
        query: vec![],
        network: NetworkAccess::default(),
        retry: retry(),
    }
}

pub fn model(id: &str, aliases: &[&str], kinds: &[&str], price: Price) -> config::ModelSettings {
    let served = Offering { upstream_model: format!("up/{id}"), price: Arc::new(price) };
    config::ModelSettings {
        id: id.into(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        context_window: None,
        max_output_tokens: Some(10),
        served_by: kinds.iter().map(|kind| ((*kind).into(), served.clone())).collect(),
    }
}

/// Kind `a` with chat and embeddings, kind `b` with chat; providers `10-b`, `2-a`, disabled
/// `0-off`, and `1-acme` reserved for the tenant acme.
pub fn catalog() -> config::CatalogSettings {
    let a = kind("a", Auth::Bearer, &[CHAT, EMBEDDINGS]);
    let b = kind("b", Auth::Header("api-key".into()), &[CHAT]);
    let acme = config::ProviderSettings { tenants: Some(vec!["acme".into()]), ..provider("1-acme", &b, Some("key of acme's own")) };
    let off = config::ProviderSettings { disabled: Some(config::Disabled::ByOperator), ..provider("0-off", &a, Some("k")) };
    let price = || Price { request: crate::terms::PicoUsd(1), ..Price::default() };
    config::CatalogSettings {
        kinds: [("a".into(), a.clone()), ("b".into(), b.clone())].into(),
        providers: vec![provider("10-b", &b, Some("key-of-b-1234")), acme, off, provider("2-a", &a, Some("key-of-a-5678"))],
        models: vec![
            model("m", &["alias"], &["a", "b"], price()),
            model("only-a", &[], &["a"], price()),
            model("orphan", &[], &["c"], price()),
        ],
    }
}
