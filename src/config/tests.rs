use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{Auth, DatabaseUrl, Disabled, Environment, LogFormat, RetryPolicy, Server, Settings, load};
use crate::terms::{Operation, PicoUsd};

mod problems;
mod shipped;

#[derive(Default)]
struct Variables(HashMap<&'static str, String>);

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

fn variables(pairs: &[(&'static str, &str)]) -> Variables {
    Variables(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
}

/// Writes the files into a fresh directory and loads the first.
fn load_files(files: &[(&str, &str)], environment: &Variables) -> (tempfile::TempDir, Result<Settings, Problems>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let settings = load(&folder.path().join(files[0].0), environment);
    (folder, settings)
}

fn settings_of(text: &str, environment: &Variables) -> Settings {
    load_files(&[("aigw.toml", text)], environment).1.unwrap_or_else(|problems| panic!("{problems}"))
}

/// A kind, a provider and a model that have nothing wrong with them.
const GOOD: &str = r#"
[kind.groq]
base_url = "https://api.groq.com/openai/v1/"
[provider."1-groq"]
kind = "groq"
api_key_env = "GROQ_API_KEY"
[model."llama-3.3-70b"]
aliases = ["llama"]
context_window = 131072
max_output_tokens = 32768
[model."llama-3.3-70b".served_by.groq]
model = "llama-3.3-70b-versatile"
price = { input = 0.59, output = 0.79 }
"#;

#[test]
fn an_empty_file_gives_the_defaults() {
    let settings = settings_of("", &Variables::default());
    assert_eq!(settings.server, Server::default());
    let Server { max_body, max_in_flight, json, header_timeout, body_timeout, write_timeout, keep_alive, half_close, .. } = settings.server;
    assert_eq!((max_body, max_in_flight, json.depth, json.strings, json.keys), (20 * 1024 * 1024, 16_384, 64, 100_000, 200_000));
    let seconds = [header_timeout, body_timeout, write_timeout, keep_alive, settings.server.shutdown_grace].map(|time| time.as_secs());
    assert_eq!((seconds, half_close), ([5, 60, 30, 15, 30], false));
    assert!(settings.server.workers >= 1);
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.database.url, DatabaseUrl::Sqlite("aigw-data/aigw.db".into()));
    assert_eq!((settings.security.tenant_private_upstreams, settings.security.failed_auth_per_minute), (false, 600));
    assert!(settings.admin.token.is_none() && settings.sealing.master_key.is_none());
    assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);
    assert!(settings.warnings[0].contains("AIGW_ADMIN_TOKEN") && settings.warnings[1].contains("AIGW_MASTER_KEY"));
}

#[test]
fn values_are_taken_as_written() {
    let text = r#"
        [server]
        listen = "[::1]:9000"
        workers = 3
        max_body = "1MiB"
        shutdown_grace = "0s"
        log_format = "json"
        log = "debug"
        half_close = true
        reuse_port = true
        [security]
        tenant_private_upstreams = true
        failed_auth_per_minute = 10
        [database]
        url = "postgres://user:hush-hush@host/db"
    "#;
    let settings = settings_of(text, &Variables::default());
    assert_eq!((settings.server.listen.port(), settings.server.workers, settings.server.max_body), (9000, 3, 1 << 20));
    assert_eq!((settings.server.shutdown_grace, settings.server.log_format), (Duration::ZERO, LogFormat::Json));
    assert!(settings.security.tenant_private_upstreams && settings.server.half_close && settings.server.reuse_port);
    assert!(matches!(settings.database.url, DatabaseUrl::Postgres(_)));
    assert!(!format!("{settings:?}").contains("hush-hush"));
}

#[test]
fn the_environments_database_wins() {
    let settings = settings_of("[database]\nurl = \"sqlite://a.db\"", &variables(&[("AIGW_DATABASE_URL", "sqlite:///tmp/b.db")]));
    assert_eq!(settings.database.url, DatabaseUrl::Sqlite("/tmp/b.db".into()));
}

#[test]
fn a_provider_without_its_key_is_inactive_without_a_problem() {
    let provider = |environment: &Variables| settings_of(GOOD, environment).catalog.providers.remove(0);
    assert_eq!(provider(&Variables::default()).disabled, Some(Disabled::NoKey("GROQ_API_KEY".into())));
    assert_eq!(provider(&variables(&[("GROQ_API_KEY", "")])).disabled, Some(Disabled::NoKey("GROQ_API_KEY".into())));
    let live = provider(&variables(&[("GROQ_API_KEY", "gsk-1234567890\n")]));
    assert_eq!((live.disabled, live.api_key.unwrap().expose()), (None, "gsk-1234567890"));
    assert_eq!(live.base_url.as_deref(), Some("https://api.groq.com/openai/v1"));
}

#[test]
fn a_key_file_is_read_without_its_line_break_and_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-from-a-file\n").unwrap();
    let text = GOOD.replace("api_key_env = \"GROQ_API_KEY\"", &format!("api_key_file = {key:?}"));
    for (mode, warnings) in [(0o600, 0), (0o644, 1)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let settings = settings_of(&text, &Variables::default());
        assert_eq!(settings.catalog.providers[0].api_key.as_ref().unwrap().expose(), "sk-from-a-file");
        let open = settings.warnings.iter().filter(|warning| warning.contains("readable by other users")).count();
        assert_eq!(open, warnings, "{:?}", settings.warnings);
    }
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(settings_of(&text, &Variables::default()).catalog.providers[0].disabled, Some(Disabled::NoKey(_))));
}

#[test]
fn a_provider_lays_its_settings_over_its_kinds_and_those_over_the_defaults() {
    let text = r#"
        [retry]
        attempts = 4
        backoff = "1s"
        cooldown = { rest = "1m" }
        [kind.a]
        base_url = "https://a.example/v1"
        auth = { header = "Api-Key" }
        headers = { "X-One" = "kind", "x-two" = "kind" }
        query = { v = "1" }
        retry = { attempts = 5, cooldown = { failures = 0 } }
        [provider.b]
        kind = "a"
        api_key_env = "B"
        headers = { "x-one" = "own" }
        query = { v = "2", w = "3" }
        retry = { backoff = "0s" }
        tenants = ["acme"]
        base_url = "https://b.example"
    "#;
    let settings = settings_of(text, &Variables::default());
    let (provider, kind) = (&settings.catalog.providers[0], &settings.catalog.kinds["a"]);
    assert_eq!((&kind.auth, kind.retry.attempts, kind.retry.backoff), (&Auth::Header("api-key".into()), 5, Duration::from_secs(1)));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(provider.headers, [pair("x-one", "own"), pair("x-two", "kind")]);
    assert_eq!(provider.query, [pair("v", "2"), pair("w", "3")]);
    assert_eq!(provider.base_url.as_deref(), Some("https://b.example"));
    assert_eq!((provider.retry.attempts, provider.retry.backoff), (5, Duration::ZERO));
    let cooldown = &provider.retry.cooldown;
    assert_eq!((cooldown.failures, cooldown.rest, cooldown.window), (0, Duration::from_secs(60), RetryPolicy::default().cooldown.window));
    assert_eq!(provider.tenants, Some(vec!["acme".into()]));
}

#[test]
fn quirks_paths_and_operations_of_a_kind() {
    let text = r#"
        [kind.a]
        base_url = "https://a.example"
        operations = ["chat", "embeddings"]
        paths = { chat = "/deployments/{model}/chat" }
        stream_usage = false
        request = { rename = { a = "b" }, drop = ["user"], set = { safe = true, deep = { x = [1, 0.5, "y"] } } }
        [kind.sim]
        dialect = "simulator"
        simulate = { latency = "10ms", failure_rate = 1, failure_status = 429 }
    "#;
    let catalog = settings_of(text, &Variables::default()).catalog;
    let kind = &catalog.kinds["a"];
    assert_eq!(kind.paths.keys().copied().collect::<Vec<_>>(), [Operation::Chat, Operation::Embeddings]);
    assert_eq!(
        (kind.paths[&Operation::Chat].as_str(), kind.paths[&Operation::Embeddings].as_str()),
        ("deployments/{model}/chat", "embeddings")
    );
    assert_eq!(kind.quirks.rename, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(kind.quirks.drop, ["user"]);
    assert_eq!(kind.quirks.set, [("safe".into(), "true".into()), ("deep".into(), r#"{"x":[1,0.5,"y"]}"#.into())] as [(String, String); 2]);
    assert!(!kind.quirks.stream_usage);
    let simulate = &catalog.kinds["sim"].quirks.simulate;
    assert_eq!((simulate.latency.as_millis(), simulate.failure_rate, simulate.failure_status), (10, 1.0, 429));
    assert_eq!(catalog.kinds["sim"].auth, Auth::None);
}

#[test]
fn prices_are_exact_and_fall_back_to_the_input_price() {
    let price = |spelled: &str| {
        let text = GOOD.replace("{ input = 0.59, output = 0.79 }", spelled);
        let catalog = settings_of(&text, &Variables::default()).catalog;
        (*catalog.models[0].served_by["groq"].price).clone()
    };
    let plain = price("{ input = 0.59, output = 0.79 }").base;
    assert_eq!([plain.input, plain.output], [PicoUsd(590_000), PicoUsd(790_000)]);
    assert_eq!([plain.cached_input, plain.cache_write, plain.cache_write_1h], [PicoUsd(590_000); 3]);
    let long = price(
        "{ input = 1.25, output = 10, cached_input = 0.125, cache_write = 2, request = 0.01, long_context = { above = 200000, input = 2.5, output = 15 } }",
    );
    assert_eq!(long.request, PicoUsd(10_000_000_000));
    assert_eq!(long.base.cache_write_1h, PicoUsd(2_000_000), "an hour costs what other writes cost");
    let (above, rates) = long.long_context.unwrap();
    assert_eq!(
        (above, rates.input, rates.output, rates.cached_input),
        (200_000, PicoUsd(2_500_000), PicoUsd(15_000_000), PicoUsd(125_000))
    );
    assert_eq!(price("\"free\""), crate::config::Price::default());
}

#[test]
fn entries_for_one_model_are_merged_by_kind_from_several_files() {
    let other = r#"
        [kind.together]
        base_url = "https://api.together.xyz/v1"
        [provider.together]
        kind = "together"
        api_key_env = "T"
        [model."llama-3.3-70b"]
        aliases = ["llama3"]
        context_window = 131072
        [model."llama-3.3-70b".served_by.together]
        price = { input = 1, output = 1 }
    "#;
    let files = [("aigw.toml", ""), ("providers/a.toml", GOOD), ("providers/b.toml", other), ("providers/c.txt", "not included")];
    let settings = load_files(&files, &Variables::default()).1.unwrap();
    let model = &settings.catalog.models[0];
    assert_eq!(model.aliases, ["llama", "llama3"]);
    assert_eq!(model.served_by.keys().map(|kind| kind.as_str()).collect::<Vec<_>>(), ["groq", "together"]);
    assert_eq!(model.served_by["groq"].upstream_model, "llama-3.3-70b-versatile");
    assert_eq!(model.served_by["together"].upstream_model, "llama-3.3-70b");
    assert_eq!(settings.catalog.providers.iter().map(|provider| provider.name.as_str()).collect::<Vec<_>>(), ["1-groq", "together"]);
}

#[test]
fn includes_are_relative_to_the_file_and_read_once() {
    let main = "include = [\"providers/*.toml\", \"providers/a.toml\", \"none/*.toml\"]";
    let (_folder, settings) = load_files(&[("deep/er/aigw.toml", main), ("deep/er/providers/a.toml", GOOD)], &Variables::default());
    let settings = settings.unwrap();
    assert_eq!(settings.catalog.models.len(), 1);
    assert!(settings.warnings.iter().any(|warning| warning.contains("none/*.toml")));
}

#[test]
fn an_admin_api_without_tls_on_a_public_address_is_warned_about() {
    let token = variables(&[("AIGW_ADMIN_TOKEN", "0123456789abcdefghijklmnopqrstuvwxyz")]);
    let warned = |listen: &str| {
        let settings = settings_of(&format!("[server]\nlisten = {listen:?}"), &token);
        assert!(settings.admin.token.is_some());
        settings.warnings.iter().any(|warning| warning.contains("without TLS"))
    };
    assert!(warned("0.0.0.0:8080") && !warned("127.0.0.1:8080") && !warned("[::1]:8080"));
}

#[test]
fn master_keys_are_spelled_one_way_whatever_the_operator_wrote() {
    let key = |spelled: &str| settings_of("", &variables(&[("AIGW_MASTER_KEY", spelled)])).sealing.master_key.unwrap().expose().to_owned();
    let standard = "+/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for spelled in [
        standard,
        standard.trim_end_matches('='),
        "-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        " +/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    ] {
        assert_eq!(key(spelled), standard);
    }
}

#[test]
fn a_missing_main_file_is_a_problem_with_a_remedy() {
    let Problems(problems) = load(Path::new("/nonexistent/aigw.toml"), &Variables::default()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("cannot be read") && problems[0].remedy.contains("--config"), "{problems:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever an editor left behind, the answer is settings or problems with a remedy.
    #[test]
    fn no_text_makes_it_panic(at in 0..GOOD.len(), length in 0..40_usize, text in "[a-z0-9\\[\\]{}=\". \n-]{0,12}") {
        let mut broken = GOOD.to_owned();
        broken.replace_range(at..(at + length).min(GOOD.len()), &text);
        if let Err(Problems(problems)) = load_files(&[("aigw.toml", &broken)], &Variables::default()).1 {
            proptest::prop_assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.remedy.is_empty()));
        }
    }
}
