//! Command line: quickstart, configuration check, exit codes, and the admin API from a shell.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::support::client::{Request, Response};
use crate::support::gateway::{ADMIN_TOKEN, Setup, aigw, ended, free_port, watch};
use crate::support::test_gateway::{SIMULATOR, session, shared_gateway};
use crate::support::{eventually, unique};

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    aigw(directory, &[]).args(arguments).output().unwrap()
}

/// Running quickstart. Killed when dropped.
struct Quickstart {
    child: Child,
    watchdog: Child,
    printed: String,
    port: u16,
}

impl Quickstart {
    fn start(directory: &Path) -> Self {
        let port = free_port();
        let out = directory.join(unique("stdout"));
        let mut command = aigw(directory, &[]);
        command.args(["quickstart", "--listen", &format!("127.0.0.1:{port}"), "--data", "state"]);
        let err = directory.join("quickstart-stderr");
        let mut child = command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap()).spawn().unwrap();
        let watchdog = watch(&child, directory);
        let printed = eventually("quickstart to print a call", || {
            let printed = fs::read_to_string(&out).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "quickstart ended: {printed}{}", fs::read_to_string(&err).unwrap());
            printed.lines().any(|line| line.trim_start().starts_with("curl") && !line.trim_end().ends_with('\\')).then_some(printed)
        });
        Self { child, watchdog, printed, port }
    }

    fn curl(&self) -> String {
        self.printed.lines().find(|line| line.trim_start().starts_with("curl ")).unwrap().trim().to_owned()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Splits a line into words like a shell, with `$AIGW_KEY` replaced.
fn words(line: &str, key: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut inside) = (Vec::new(), String::new(), None, false);
    for c in line.replace("$AIGW_KEY", key).chars() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, inside) = (Some(c), true),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => {
                if inside || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Sends the request of a curl line.
fn pasted(line: &str, key: &str) -> Response {
    let words = words(line, key);
    let url = words.iter().find(|word| word.starts_with("http://")).unwrap();
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let after = |names: &[&str]| -> Vec<String> {
        words.windows(2).filter(|pair| names.contains(&pair[0].as_str())).map(|pair| pair[1].clone()).collect()
    };
    let body = after(&["-d", "--data", "--data-raw", "--json"]);
    let mut request = Request::new(host.parse().unwrap(), if body.is_empty() { "GET" } else { "POST" }, &format!("/{path}"));
    for header in after(&["-H", "--header"]) {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if let Some(body) = body.first() {
        request = request.body(body.as_bytes());
    }
    request.send()
}

#[test]
fn quickstart_needs_no_setup_and_its_curl_line_works() {
    let directory = tempfile::tempdir().unwrap();
    let quickstart = Quickstart::start(directory.path());
    let key = quickstart.printed.split_whitespace().find(|word| word.starts_with("aigw-sk-")).unwrap().to_owned();
    let answer = pasted(&quickstart.curl(), "");
    let body = answer.expect(200);
    assert!(body["choices"][0]["message"]["content"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    let token = quickstart
        .printed
        .split_whitespace()
        .find(|word| word.len() >= 32 && !word.starts_with("aigw-sk-") && !word.contains('/'))
        .unwrap();
    let address = ([127, 0, 0, 1], quickstart.port).into();
    let tenants = Request::new(address, "GET", "/admin/v1/tenants").bearer(token).send();
    assert!(!tenants.expect(200)["data"].as_array().unwrap().is_empty(), "the token that is shown does not open the admin API");
    for secret in fs::read_dir(directory.path().join("state")).unwrap().flatten() {
        use std::os::unix::fs::PermissionsExt;
        let mode = secret.metadata().unwrap().permissions().mode() & 0o777;
        assert!(secret.path().is_dir() || mode == 0o600, "{} has mode {mode:o}", secret.path().display());
    }
    drop(quickstart);

    // A second run reuses the state: the key still works, and no secret is shown again.
    let quickstart = Quickstart::start(directory.path());
    assert!(!quickstart.printed.contains(&key) && !quickstart.printed.contains("aigw-sk-"), "{}", quickstart.printed);
    pasted(&quickstart.curl(), &key).expect(200);
    let address = ([127, 0, 0, 1], quickstart.port).into();
    Request::new(address, "GET", "/v1/models").bearer(&key).send().expect(200);
}

#[test]
fn quickstart_enables_the_providers_whose_keys_are_set() {
    let directory = tempfile::tempdir().unwrap();
    let quickstart = Quickstart::start(directory.path());
    let key = quickstart.printed.split_whitespace().find(|word| word.starts_with("aigw-sk-")).unwrap().to_owned();
    let address = ([127, 0, 0, 1], quickstart.port).into();
    let models = Request::new(address, "GET", "/v1/models").bearer(&key).send().expect(200);
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"sim-echo") && ids.contains(&"sim-lorem"), "{ids:?}");
    assert!(!ids.iter().any(|id| id.starts_with("gpt") || id.starts_with("claude")), "a provider without a key is offered: {ids:?}");
}

#[test]
fn the_shipped_configuration_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/aigw.toml");
    let output = aigw(Path::new("/"), &[]).args(["check", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_shipped_aliases_are_served_once_their_keys_are_set() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/aigw.toml");
    let directory = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(&file).unwrap();
    let port = free_port();
    let providers = file.parent().unwrap().join("providers/*.toml").display().to_string();
    let config =
        config.replace("\"providers/*.toml\"", &format!("\"{providers}\"")).replace("\"127.0.0.1:8080\"", &format!("\"127.0.0.1:{port}\""));
    fs::write(directory.path().join("aigw.toml"), config).unwrap();
    let env =
        ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MISTRAL_API_KEY"].map(|name| (name.to_owned(), "a-key-for-tests-0123456789".to_owned()));
    let env: Vec<_> = env.into_iter().chain([("AIGW_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())]).collect();
    let mut command = aigw(directory.path(), &env);
    let mut child = command.args(["serve", "--config", "aigw.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut watchdog = watch(&child, directory.path());
    let address = ([127, 0, 0, 1], port).into();
    eventually("the gateway to become ready", || {
        assert!(child.try_wait().unwrap().is_none(), "the shipped configuration does not start");
        std::net::TcpStream::connect(address).ok()?;
        (Request::new(address, "GET", "/readyz").send().status == 200).then_some(())
    });
    let admin = |path: &str, body: Value| {
        Request::new(address, "POST", &format!("/admin/v1{path}")).bearer(ADMIN_TOKEN).json(&body).send().expect(201)
    };
    admin("/tenants", json!({"id": "acme", "name": "Acme"}));
    let key = admin("/tenants/acme/keys", json!({"name": "k", "subject": "s"}))["key"].as_str().unwrap().to_owned();
    for model in ["claude-sonnet-4-6", "claude", "gpt", "mistral-large"] {
        let answer = Request::new(address, "GET", &format!("/v1/models/{model}")).bearer(&key).send();
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }
    let _ = (watchdog.kill(), watchdog.wait(), child.kill(), child.wait());
}

#[test]
fn check_names_every_problem_with_file_key_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new()
        .server("worker = 3")
        .provider("a.toml", "[kind.a]\nbase_url = \"https://a.example/v1\"\ndialct = \"openai\"\n")
        .provider("b.toml", "[provider.b]\nkind = \"groqq\"\napi_key_env = \"X\"\n\n[kind.groq]\nbase_url = \"https://g.example/v1\"\n")
        .provider("c.toml", "[provider.c]\nkind = \"groq\"\napi_key = \"sk-literal-0123456789\"\n");
    setup.write(directory.path(), 8080, "sqlite://x.db");
    let output = run(directory.path(), &["check", "--config", "aigw.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout) + &text(&output.stderr);
    for hint in ["aigw.toml", "worker", "workers", "a.toml", "dialct", "dialect", "b.toml", "groqq", "groq", "c.toml", "api_key_env"] {
        assert!(printed.contains(hint), "missing `{hint}` in:\n{printed}");
    }
    assert!(!printed.contains("sk-literal"), "a literal key is repeated:\n{printed}");
    let good = tempfile::tempdir().unwrap();
    Setup::new().provider("sim.toml", SIMULATOR).write(good.path(), 8080, "sqlite://x.db");
    assert_eq!(run(good.path(), &["check", "--config", "aigw.toml"]).status.code(), Some(0));
    assert!(!good.path().join("x.db").exists(), "checking made a database");
}

#[test]
fn an_invalid_configuration_exits_with_78() {
    let directory = tempfile::tempdir().unwrap();
    Setup::new().server("worker = 3").provider("sim.toml", SIMULATOR).write(directory.path(), free_port(), "sqlite://x.db");
    let output = run(directory.path(), &["serve", "--config", "aigw.toml"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("aigw.toml") && !text(&output.stderr).contains("panicked"));
    let good = tempfile::tempdir().unwrap();
    Setup::new().provider("sim.toml", SIMULATOR).write(good.path(), free_port(), "sqlite://x.db");
    for token in ["short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sk-1234-changeme-password-sk-1234-changeme"] {
        let env = [("AIGW_ADMIN_TOKEN".to_owned(), token.to_owned())];
        let output = aigw(good.path(), &env).args(["serve", "--config", "aigw.toml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{token}");
        assert!(!text(&output.stderr).contains(token) || token == "short", "the token is repeated: {}", text(&output.stderr));
    }
    let output = run(good.path(), &["serve", "--config", "nonesuch.toml"]);
    assert!(matches!(output.status.code(), Some(1 | 78)) && text(&output.stderr).contains("nonesuch.toml"));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let port = taken.local_addr().unwrap().port();
    Setup::new().server("log = \"error\"").provider("sim.toml", SIMULATOR).write(directory.path(), port, "sqlite://x.db");
    let mut child =
        aigw(directory.path(), &[]).args(["serve", "--config", "aigw.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = ended(&mut child);
    let printed = text(&child.wait_with_output().unwrap().stderr);
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains(&port.to_string()) && printed.contains("in use"), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
}

#[test]
fn a_database_that_cannot_be_reached_is_one_line_and_exit_1() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    for url in [format!("postgres://nobody:pass-canary@127.0.0.1:{port}/x"), "sqlite:///proc/nowhere/x.db".to_owned()] {
        Setup::new().server("log = \"error\"").provider("sim.toml", SIMULATOR).write(directory.path(), free_port(), &url);
        let mut child = aigw(directory.path(), &[])
            .args(["serve", "--config", "aigw.toml"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let status = ended(&mut child);
        let printed = text(&child.wait_with_output().unwrap().stderr);
        assert_eq!(status.code(), Some(1), "{printed}");
        assert!(!printed.contains("pass-canary") && !printed.contains("panicked") && !printed.is_empty(), "{printed}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["nonesuch"][..], &["serve", "--nonesuch"], &["tenant", "create"], &["ledger", "show"]] {
        assert_eq!(run(directory.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = run(directory.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["quickstart", "serve", "check", "tenant", "key", "usage", "ledger", "completions"] {
        assert!(text(&help.stdout).contains(command), "{command}");
    }
    assert!(text(&run(directory.path(), &["--version"]).stdout).contains(env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let output = run(directory.path(), &["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("aigw"));
    }
}

#[test]
fn the_admin_api_is_available_from_a_shell() {
    let gateway = &shared_gateway().gateway;
    let id = unique("cli");
    let ran = |arguments: &[&str]| {
        let output = gateway.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    ran(&["tenant", "create", &id, "--name", "From a shell"]);
    assert!(ran(&["tenant", "list"]).contains(&id));
    let shown: Value = serde_json::from_str(&ran(&["tenant", "show", &id, "--json"])).unwrap();
    assert_eq!(shown["name"], "From a shell");
    let key: Value = serde_json::from_str(&ran(&["key", "create", &id, "--name", "k", "--json"])).unwrap();
    let secret = key["key"].as_str().unwrap();
    let request = gateway.request("POST", "/v1/chat/completions").bearer(secret);
    let answer = request.json(&json!({"model": "sim-echo", "messages": [{"role": "user", "content": "x"}]})).send();
    answer.expect(200);
    gateway.entry_of(&answer);
    let request_id = answer.header("x-request-id").unwrap();
    let entry: Value = serde_json::from_str(&ran(&["ledger", "show", request_id, "--json"])).unwrap();
    assert_eq!((&entry["request_id"], &entry["tenant"]), (&json!(request_id), &json!(id)));
    assert!(ran(&["ledger", "list", "--tenant", &id]).contains(request_id));
    let list: Value = serde_json::from_str(&ran(&["ledger", "list", "--tenant", &id, "--json"])).unwrap();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    assert!(ran(&["usage", "--tenant", &id]).contains("sim-echo"));
    let key_id = key["id"].as_str().unwrap();
    assert!(ran(&["key", "list", &id]).contains(key_id));
    ran(&["key", "revoke", &id, key_id]);
    assert_eq!(gateway.get("/v1/models").bearer(secret).send().status, 401);
    let output = gateway.cli(&["tenant", "show", "nonesuch"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
}

#[test]
fn usage_is_a_row_for_each_group_with_a_bar_for_its_share() {
    let session = session();
    let bob = session.tenant.key_with(json!({"subject": "bob"}));
    for (key, count) in [(&session.key, 4), (&bob, 1)] {
        for _ in 0..count {
            session.shared.gateway.chat(key, &session.body("solo")).send().expect(200);
        }
    }
    session.tenant.entries(5);
    let output = session.shared.gateway.cli(&["usage", "--tenant", &session.tenant.id, "--by", "model,subject", "--since", "30d"]);
    let shown = text(&output.stdout);
    let row = |subject: &str| {
        let row = shown.lines().find(|line| line.contains(subject)).unwrap_or_else(|| panic!("{shown}{}", text(&output.stderr)));
        let bar = row.split_whitespace().last().unwrap();
        (row.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>(), bar.chars().filter(|c| *c == '█').count())
    };
    assert_eq!(row("someone"), (vec!["solo".to_owned(), "someone".to_owned(), "4".to_owned()], 20));
    assert_eq!(row("bob"), (vec!["solo".to_owned(), "bob".to_owned(), "1".to_owned()], 5));
    let heads = shown.lines().next().unwrap();
    assert!(["MODEL", "SUBJECT", "REQUESTS", "COST"].iter().all(|head| heads.contains(head)), "{shown}");
}

#[test]
fn a_followed_ledger_prints_each_new_entry() {
    let session = session();
    let ask = || session.chat("solo").send().header("x-request-id").unwrap().to_owned();
    let first = ask();
    session.tenant.entries(1);
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("stdout");
    let mut tail = session.shared.gateway.shell(&["ledger", "tail", "-f", "--tenant", &session.tenant.id]);
    let mut child = tail.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let mut watchdog = watch(&child, directory.path());
    let printed =
        || fs::read_to_string(&out).unwrap().lines().map(|line| line.split_whitespace().last().unwrap().to_owned()).collect::<Vec<_>>();
    eventually("the entry that was there", || (printed() == [first.as_str()]).then_some(()));
    let (second, third) = (ask(), ask());
    eventually("the entries that came", || (printed() == [first.as_str(), &second, &third]).then_some(()));
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    watchdog.kill().unwrap();
    watchdog.wait().unwrap();
}

#[test]
fn an_unreachable_gateway_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let env =
        |port: u16| [("AIGW_URL".to_owned(), format!("http://127.0.0.1:{port}")), ("AIGW_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())];
    let output = aigw(directory.path(), &env(free_port())).args(["tenant", "list"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).lines().count()), (Some(1), 1), "{}", text(&output.stderr));
    assert!(session().key.secret.len() == 57);
}
