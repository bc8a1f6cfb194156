//! The shipped files: nothing wrong with them, and what they promise is there.

use super::*;
use crate::catalog::caller::{Caller, Tenant};
use crate::catalog::offerings::Offerings;
use crate::catalog::price::cost;
use crate::catalog::snapshot::Snapshot;
use crate::config::{load_shipped, shipped};
use crate::terms::{NanoUsd, Usage};
use std::sync::Arc;

/// Every variable is set to something that may be a key.
struct AllKeys;

impl Environment for AllKeys {
    fn var(&self, name: &str) -> Option<String> {
        name.ends_with("_API_KEY").then(|| format!("key-of-{name}"))
    }
}

fn anybody() -> Caller {
    Caller::minimal(Arc::new(Tenant::minimal("acme".into())), "key_1".into(), [0; 32])
}

fn snapshot_of(environment: &dyn Environment) -> Snapshot {
    let settings = load_shipped(environment).unwrap_or_else(|problems| panic!("{problems}"));
    Snapshot { offerings: Arc::new(Offerings::build(&settings.catalog, None, 0)), directory: Arc::default() }
}

#[test]
fn the_shipped_files_have_no_problem_and_say_the_defaults() {
    let settings = load_shipped(&AllKeys).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings.server, Server::default());
    assert_eq!(settings.database.url, DatabaseUrl::Sqlite("aigw-data/aigw.db".into()));
    assert!(settings.warnings.iter().all(|warning| warning.contains("is not set")), "{:?}", settings.warnings);
    let kinds: Vec<&str> = settings.catalog.kinds.keys().map(|kind| kind.as_str()).collect();
    let expected = "anthropic azure deepseek fireworks gemini groq mistral ollama openai openrouter simulator together vllm xai";
    assert_eq!(kinds, expected.split(' ').collect::<Vec<_>>());
    assert!(
        settings
            .catalog
            .kinds
            .values()
            .filter(|kind| !matches!(kind.name.as_str(), "ollama"))
            .all(|kind| kind.retry == RetryPolicy::default())
    );
}

#[test]
fn the_shipped_folder_and_the_files_inside_the_program_are_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let on_disk = load(&root.join("config/aigw.toml"), &AllKeys).unwrap_or_else(|problems| panic!("{problems}"));
    let inside = load_shipped(&AllKeys).unwrap();
    assert_eq!(format!("{:?}", on_disk.catalog), format!("{:?}", inside.catalog));
    let files = std::fs::read_dir(root.join("config/providers")).unwrap().count();
    assert_eq!(shipped().len(), files + 1);
}

#[test]
fn without_any_key_the_simulator_alone_answers() {
    let snapshot = snapshot_of(&Variables::default());
    let caller = anybody();
    let models: Vec<String> = snapshot.models_for(&caller).map(|resolved| resolved.model.definition.id.to_string()).collect();
    assert_eq!(models, ["sim-echo", "sim-lorem"]);
}

#[test]
fn the_products_own_examples_work() {
    let snapshot = snapshot_of(&AllKeys);
    let provider = |model: &str| {
        let resolved = snapshot.find(&anybody(), model).unwrap_or_else(|| panic!("{model} is not offered"));
        resolved.chain[0].provider.name.to_string()
    };
    for (model, expected) in [
        ("gpt", "openai"),
        ("claude", "anthropic"),
        ("claude-sonnet-4-6", "anthropic"),
        ("mistral-large", "mistral"),
        ("sim-echo", "simulator"),
    ] {
        assert_eq!(provider(model), expected, "{model}");
    }
}

#[test]
fn every_alias_resolves_and_every_paid_model_costs_something_exact() {
    let settings = load_shipped(&AllKeys).unwrap();
    let offerings = Offerings::build(&settings.catalog, None, 0);
    let million = Usage { prompt_tokens: 1_000_000, completion_tokens: 1_000_000, ..Usage::default() };
    for model in &settings.catalog.models {
        for name in model.aliases.iter().map(String::as_str).chain([model.id.as_str()]) {
            assert_eq!(offerings.model(name).map(|found| &found.definition.id), Some(&model.id), "{name}");
        }
        for (kind, served) in &model.served_by {
            let rates = served.price.rates_for(million.prompt_tokens);
            // A million tokens at so many pico-dollars each are a thousand times as many nano-dollars.
            let expected = i64::try_from((rates.input.0 + rates.output.0) * 1_000).unwrap();
            assert_eq!(cost(&served.price, &million), NanoUsd(expected), "{} at {kind}", model.id);
            assert_eq!(expected == 0, kind.as_str() == "ollama", "{} at {kind}", model.id);
            assert!(rates.cached_input <= rates.input && rates.cache_write >= rates.input, "{} at {kind}", model.id);
        }
    }
}

#[test]
fn a_listed_price_is_the_lists() {
    let settings = load_shipped(&Variables::default()).unwrap();
    let model = |id: &str| settings.catalog.models.iter().find(|model| *model.id == *id).unwrap();
    let sonnet = &model("claude-sonnet-4-6").served_by["anthropic"].price.base;
    let expected = [3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000].map(PicoUsd);
    assert_eq!([sonnet.input, sonnet.output, sonnet.cached_input, sonnet.cache_write, sonnet.cache_write_1h], expected);
    let (above, long) = model("gemini-2.5-pro").served_by["gemini"].price.long_context.clone().unwrap();
    assert_eq!((above, long.input, long.output), (200_000, PicoUsd(2_500_000), PicoUsd(15_000_000)));
}
