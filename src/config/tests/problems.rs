//! Bad configuration and the exact message for it.

use super::*;
use crate::config::diagnostics::{Problem, ProblemClass};

/// Returns the problems of one file, as `key: problem; remedy`.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &Variables::default())
}

fn problems_with(text: &str, environment: &Variables) -> Vec<String> {
    let (folder, settings) = load_files(&[("aigw.toml", text)], environment);
    let Problems(problems) = settings.expect_err(text);
    let file = folder.path().join("aigw.toml");
    let line = |problem: &Problem| {
        assert_eq!(problem.file, file);
        problem.to_string().replace(&format!("{}: ", file.display()), "")
    };
    problems.iter().map(line).collect()
}

/// [`GOOD`] with one text replaced, and the only problem that makes.
fn with(from: &str, to: &str) -> String {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD, "{from}");
    let mut problems = problems(&text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn every_problem_of_every_file_is_reported_at_once() {
    let files = [
        ("aigw.toml", "[server]\nlisten = 3\nworker = 1\n[sever]"),
        ("providers/a.toml", "[kind.a]\nauth = 1\n[server]"),
        ("providers/b.toml", "="),
    ];
    let (folder, settings) = load_files(&files, &Variables::default());
    let text = settings.unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "/aigw.toml: server.listen: is a whole number; write text in quotes",
            "/aigw.toml: server.worker: unknown key; the nearest known name is \"workers\"",
            "/aigw.toml: sever: unknown key; the nearest known name is \"server\"",
            "/providers/a.toml: kind.a.auth: is not an auth method; write \"bearer\", \"none\" or { header = \"api-key\" }",
            "/providers/a.toml: server: this key belongs in the main file; move it to aigw.toml",
            lines[5],
        ]
    );
    assert!(lines[5].starts_with("/providers/b.toml: line 1 is not valid TOML: "), "{}", lines[5]);
}

#[test]
fn bad_values_of_the_process_name_key_and_remedy() {
    for (text, message) in [
        (
            "[server]\nlisten = \"localhost\"",
            "server.listen: \"localhost\" makes no sense here; write an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"",
        ),
        ("[server]\nworkers = -1", "server.workers: -1 is out of range; write a whole number between 0 and 1024"),
        ("[server]\nmax_body = 20", "server.max_body: is a whole number; write a size such as \"20MiB\""),
        ("[server]\nmax_body = \"big\"", "server.max_body: \"big\" is not a size; write a size such as \"20MiB\""),
        ("[server]\nmax_body = \"2TiB\"", "server.max_body: \"2TiB\" is out of range; write one between 1 B and 1.0 GiB"),
        (
            "[server]\nshutdown_grace = \"30\"",
            "server.shutdown_grace: \"30\" is not a duration; write a duration such as \"250ms\", \"30s\" or \"5m\"",
        ),
        ("[server]\nbody_timeout = \"0s\"", "server.body_timeout: \"0s\" is out of range; write one between 1ms and 30days"),
        ("[server]\nlog_format = \"xml\"", "server.log_format: \"xml\" makes no sense here; write \"text\" or \"json\""),
        ("[server]\nlog = \"\"", "server.log: is empty; give it a value or remove it"),
        (
            "[database]\nurl = \"mysql://u:secret@h/d\"",
            "database.url: is not a database URL; write \"sqlite://path/to/aigw.db\" or \"postgres://user@host/database\"",
        ),
        (
            "[database]\nurl = \"sqlite://:memory:\"",
            "database.url: is not a database URL; write \"sqlite://path/to/aigw.db\" or \"postgres://user@host/database\"",
        ),
        ("[retry]\nattempts = 0", "retry.attempts: 0 is out of range; write a whole number between 1 and 100"),
        ("[retry]\nfirst_byte_timout = \"1s\"", "retry.first_byte_timout: unknown key; the nearest known name is \"first_byte_timeout\""),
        ("[retry.cooldown]\nfailure = 1", "retry.cooldown.failure: unknown key; the nearest known name is \"failures\""),
        ("[security]\ntenant_private_upstreams = \"no\"", "security.tenant_private_upstreams: is text; write true or false"),
        ("include = [\"gone.toml\"]", "include: \"gone.toml\" does not exist; create it, correct the name or remove it"),
        ("include = \"a\"", "include: is text; write a list of texts such as [\"a\", \"b\"]"),
        ("kind = 3", "kind: is a whole number; write a table such as { name = \"value\" }"),
        ("[kind]\na = 3", "kind.a: is a whole number; make it a table: [kind.a]"),
    ] {
        assert_eq!(problems(text), [message], "{text}");
    }
}

#[test]
fn bad_kinds_name_key_and_remedy() {
    let url = "base_url = \"https://api.groq.com/openai/v1/\"";
    let adding = |line: &str| with(url, &format!("{url}\n{line}"));
    for (line, message) in [
        ("dialect = \"openia\"", "kind.groq.dialect: \"openia\" is not a dialect; the nearest known name is \"openai\""),
        ("auth = \"basic\"", "kind.groq.auth: \"basic\" is not an auth method; write \"bearer\", \"none\" or { header = \"api-key\" }"),
        ("auth = { header = \"a b\" }", "kind.groq.auth.header: \"a b\" cannot carry a key; name a header such as \"api-key\""),
        ("headers = { \"a b\" = \"c\" }", "kind.groq.headers: \"a b\" is not a header name; use letters, digits and -"),
        ("headers = { x = \"a\\nb\" }", "kind.groq.headers: the value of \"x\" cannot be sent; use visible ASCII"),
        (
            "headers = { Authorization = \"Bearer x\" }",
            "kind.groq.headers: \"Authorization\" is set by aigw; remove it; keys come from api_key_env, see auth",
        ),
        (
            "query = { api_key = \"x\" }",
            "kind.groq.query: \"api_key\" would put a key into URLs; use auth = { header = \"…\" } and api_key_env",
        ),
        (
            "operations = [\"chats\"]",
            "kind.groq.operations: the dialect openai has no operation \"chats\"; the nearest known name is \"chat\"",
        ),
        (
            "paths = { chat = \"a/../{mode}\" }",
            "kind.groq.paths: \"a/../{mode}\" is not a path; write one such as \"deployments/{model}/chat/completions\"; put parameters into query",
        ),
        (
            "operations = [\"chat\"]\npaths = { embeddings = \"e\" }",
            "kind.groq.paths: \"embeddings\" is not an operation of this kind; add it to operations or remove its path",
        ),
        (
            "request = { set = { model = \"x\" } }",
            "kind.groq.request: \"model\" is set by aigw; remove it; served_by.KIND.model names the upstream's model",
        ),
        (
            "request = { set = { x = nan } }",
            "kind.groq.request.set.x: JSON cannot express infinity, nan or dates; write a finite number or a string",
        ),
        (
            "allow_private = true\nallow_cidrs = [\"10.0.0.0/7\"]",
            "kind.groq.allow_cidrs: \"10.0.0.0/7\" is too wide; use prefixes of /8 or longer",
        ),
        (
            "allow_private = true\nallow_cidrs = [\"fc00::/6\"]",
            "kind.groq.allow_cidrs: \"fc00::/6\" is too wide; use prefixes of /7 or longer",
        ),
        (
            "allow_private = true\nallow_cidrs = [\"10.0.0.0\"]",
            "kind.groq.allow_cidrs: \"10.0.0.0\" is not an address range; write one such as \"10.20.0.0/16\" or \"fd00::/8\"",
        ),
        ("allow_cidrs = [\"10.0.0.0/8\"]", "kind.groq.allow_cidrs: needs allow_private; add allow_private = true or remove allow_cidrs"),
        ("allow_ports = [0]", "kind.groq.allow_ports: 0 is not a port; write ports between 1 and 65535"),
        (
            "simulate = { latency = \"1s\" }",
            "kind.groq.simulate: the dialect openai has no simulate table; remove it or use dialect = \"simulator\"",
        ),
        ("retry = { attempts = \"3\" }", "kind.groq.retry.attempts: is text; write a whole number between 1 and 100"),
    ] {
        assert_eq!(adding(line), message, "{line}");
    }
    assert!(problems("[kind.\"a b\"]")[0].starts_with("kind.\"a b\": \"a b\" cannot name a kind"));
}

#[test]
fn base_urls_must_pass_the_guard() {
    for (url, code) in [
        ("http://api.groq.com/v1", "ssrf.scheme"),
        ("https://127.0.0.1/v1", "ssrf.addr_private"),
        ("https://u:hush@api.groq.com/v1", "ssrf.userinfo"),
        ("https://api.groq.com/v1?x=1", "ssrf.url_form"),
        ("https://metadata.google.internal/v1", "ssrf.host_name"),
    ] {
        let message = with("https://api.groq.com/openai/v1/", url);
        assert!(message.starts_with("kind.groq.base_url: ") && message.contains(code) && !message.contains("hush"), "{message}");
    }
    let private = GOOD
        .replace("[kind.groq]", "[kind.groq]\nallow_private = true")
        .replace("https://api.groq.com/openai/v1/", "http://127.0.0.1:8000/v1");
    assert_eq!(settings_of(&private, &Variables::default()).catalog.kinds["groq"].base_url.as_deref(), Some("http://127.0.0.1:8000/v1"));
    let narrowed = private.replace("kind = \"groq\"", "kind = \"groq\"\nallow_private = false");
    assert!(problems(&narrowed)[0].starts_with("provider.1-groq.base_url: "), "a provider's own network access applies to its kind's URL");
}

#[test]
fn bad_providers_name_key_and_remedy() {
    for (from, to, message) in [
        ("kind = \"groq\"", "kind = \"grok\"", "provider.1-groq.kind: \"grok\" is not a kind; the nearest known name is \"groq\""),
        ("kind = \"groq\"", "", "provider.1-groq.kind: is missing; the nearest known name is \"groq\""),
        (
            "api_key_env = \"GROQ_API_KEY\"",
            "",
            "provider.1-groq.api_key_env: is missing; name the environment variable that holds the key: api_key_env = \"…\"",
        ),
        (
            "api_key_env = \"GROQ_API_KEY\"",
            "api_key_env = \"sk-oops\"",
            "provider.1-groq.api_key_env: is not the name of an environment variable; write the variable's name, such as OPENAI_API_KEY, not its value",
        ),
        (
            "api_key_env = \"GROQ_API_KEY\"",
            "api_key_env = \"A\"\napi_key_file = \"b\"",
            "provider.1-groq.api_key_file: api_key_env is set too; keep one of the two",
        ),
        (
            "kind = \"groq\"",
            "kind = \"groq\"\ntenants = []",
            "provider.1-groq.tenants: is empty; name a tenant, remove it to allow all, or write enabled = false",
        ),
        ("kind = \"groq\"", "kind = \"groq\"\nenable = true", "provider.1-groq.enable: unknown key; the nearest known name is \"enabled\""),
        (
            "base_url = \"https://api.groq.com/openai/v1/\"",
            "",
            "provider.1-groq.base_url: neither the provider nor its kind groq has one; add base_url = \"https://…\" here or to the kind, or write enabled = false",
        ),
        (
            "[kind.groq]",
            "[kind.groq]\nauth = \"none\"",
            "provider.1-groq: the kind groq sends no key, but one is named; remove the key or set auth on the kind",
        ),
    ] {
        assert_eq!(with(from, to), message);
    }
}

#[test]
fn a_literal_key_is_refused_and_never_quoted() {
    for (text, key) in [
        (GOOD.replace("api_key_env = \"GROQ_API_KEY\"", "api_key = \"gsk-hush\""), "provider.1-groq.api_key"),
        (GOOD.replace("[kind.groq]", "[kind.groq]\napi_key = \"gsk-hush\""), "kind.groq.api_key"),
        ("[admin]\ntoken = \"gsk-hush\"".to_owned(), "admin.token"),
        ("[sealing]\nmaster_key = \"gsk-hush\"".to_owned(), "sealing.master_key"),
    ] {
        let (_folder, settings) = load_files(&[("aigw.toml", &text)], &Variables::default());
        let Problems(problems) = settings.unwrap_err();
        assert_eq!((problems.len(), problems[0].key.as_str(), problems[0].class), (1, key, ProblemClass::KeyMaterial));
        assert!(problems[0].remedy.contains("_env = ") && !problems[0].to_string().contains("hush"), "{}", problems[0]);
    }
}

#[test]
fn bad_models_name_key_and_remedy() {
    let price = "{ input = 0.59, output = 0.79 }";
    let at = "model.\"llama-3.3-70b\"";
    let served = format!("{at}.served_by.groq");
    for (from, to, message) in [
        (
            price,
            "3",
            format!(
                "{served}.price: is not a price; write price = {{ input = 0.59, output = 0.79 }} in USD per million tokens, or price = \"free\""
            ),
        ),
        (
            "price = { input = 0.59, output = 0.79 }",
            "",
            format!(
                "{served}.price: is missing; write price = {{ input = 0.59, output = 0.79 }} in USD per million tokens, or price = \"free\""
            ),
        ),
        (
            price,
            "{ input = 0.59 }",
            format!("{served}.price.output: has no price; write output = 0.79 in USD per million tokens, or output = 0"),
        ),
        (
            price,
            "{ output = 1 }",
            format!("{served}.price.input: has no price; write input = 0.59 in USD per million tokens, or price = \"free\""),
        ),
        (price, "{ input = -0.59, output = 1 }", format!("{served}.price.input: -0.59 is negative; write 0 or more")),
        (price, "{ input = nan, output = 1 }", format!("{served}.price.input: is not a price; write a number such as 0.59")),
        (
            price,
            "{ input = 0.0000001, output = 1 }",
            format!("{served}.price.input: 0.0000001 has too many decimals; round it to 6 decimals (request: 12)"),
        ),
        (price, "{ input = 1, ouput = 1, output = 1 }", format!("{served}.price.ouput: unknown key; the nearest known name is \"output\"")),
        (
            price,
            "{ input = 1, output = 1, long_context = { input = 2 } }",
            format!("{served}.price.long_context.above: is missing; write above = 200000, in tokens"),
        ),
        ("served_by.groq]", "served_by.grok]", format!("{at}.served_by.grok: \"grok\" is not a kind; the nearest known name is \"groq\"")),
        (
            "model = \"llama-3.3-70b-versatile\"",
            "model = \"a b\"",
            format!("{served}.model: is not a model name; use 1 to 256 visible ASCII characters without \" and \\"),
        ),
        (
            "context_window = 131072",
            "context_windows = 131072",
            format!("{at}.context_windows: unknown key; the nearest known name is \"context_window\""),
        ),
        ("aliases = [\"llama\"]", "aliases = [\"lla ma\"]", format!("{at}.aliases: \"lla ma\" is not a model id; {}", names::MODEL_RULE)),
    ] {
        assert_eq!(with(from, to), message);
    }
}

#[test]
fn colliding_names_are_reported_with_both_owners() {
    let other = "[model.other]\naliases = [ALIAS]\n[model.other.served_by.groq]\nprice = \"free\"";
    let message = |alias: &str| problems(&format!("{GOOD}{}", other.replace("ALIAS", alias)));
    assert_eq!(
        message("\"llama\""),
        ["model.other.aliases: \"llama\" is already an alias of \"llama-3.3-70b\"; keep the name for one of the two"]
    );
    assert_eq!(
        message("\"llama-3.3-70b\""),
        ["model.other.aliases: \"llama-3.3-70b\" is the id of another model; keep the name for one of the two"]
    );
}

#[test]
fn definitions_in_two_files_are_refused() {
    let (folder, settings) =
        load_files(&[("aigw.toml", ""), ("providers/a.toml", GOOD), ("providers/b.toml", GOOD)], &Variables::default());
    let Problems(problems) = settings.unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["kind.groq", "provider.1-groq", "model.\"llama-3.3-70b\".served_by.groq"]);
    assert!(problems.iter().all(|problem| problem.file == folder.path().join("providers/b.toml")));
    let contradiction = "[model.\"llama-3.3-70b\"]\ncontext_window = 5";
    let (_folder, settings) = load_files(&[("aigw.toml", GOOD), ("providers/a.toml", contradiction)], &Variables::default());
    assert!(settings.unwrap_err().to_string().contains("context_window: another file says 131072"));
}

#[test]
fn a_model_without_a_provider_kind_is_refused() {
    let message = problems("[model.a]\ncontext_window = 5");
    assert_eq!(message, ["model.a: no kind serves this model; add [model.a.served_by.KIND] with a price"]);
}

#[test]
fn weak_admin_tokens_and_master_keys_are_refused() {
    let long = |text: &str| format!("{text}{}", "0123456789abcdefghijklmnopqrstuvwxyz");
    for (token, fault) in [
        ("0123456789abcdefghijklmnopqrstu".to_owned(), "fewer than 32"),
        ("012345678".repeat(4), "fewer than 10 distinct"),
        (long("ChangeMe"), "well-known default"),
        (long("sk-1234"), "well-known default"),
        (long("a b"), "headers cannot carry"),
        (long("aigw-sk-"), "form of a virtual key"),
    ] {
        let message = problems_with("", &variables(&[("AIGW_ADMIN_TOKEN", &token)]));
        assert!(message.len() == 1 && message[0].starts_with("admin.token_env: ") && message[0].contains(fault), "{message:?}");
        assert!(!message[0].contains(&token));
    }
    let equal = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (key, fault) in [("c2hvcnQ=", "not 32 bytes"), (equal, "are equal"), ("%%%", "not base64")] {
        let message = problems_with("", &variables(&[("AIGW_MASTER_KEY", key)]));
        assert!(message.len() == 1 && message[0].starts_with("sealing.master_key_env: ") && message[0].contains(fault), "{message:?}");
    }
    let message = problems("[sealing]\nmaster_key_file = \"/nonexistent/key\"");
    assert!(message.len() == 1 && message[0].starts_with("sealing.master_key_file: /nonexistent/key does not exist"), "{message:?}");
}

#[test]
fn a_provider_key_that_headers_cannot_carry_is_refused_without_being_quoted() {
    let message = problems_with(GOOD, &variables(&[("GROQ_API_KEY", "gsk hush")]));
    assert!(message.len() == 1 && message[0].starts_with("provider.1-groq.api_key_env: ") && !message[0].contains("hush"), "{message:?}");
}
