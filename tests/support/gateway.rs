//! Runner of the real binary, in a new directory on a free port with the test's configuration.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Request, Response};
use super::store::Store;
use super::{eventually, unique};

/// Admin token of every gateway under test.
pub const ADMIN_TOKEN: &str = "admin-token-for-tests-0123456789abcdef";

/// Configuration of a gateway to start.
pub struct Setup {
    store: Store,
    database: Option<String>,
    port: Option<u16>,
    server: String,
    sections: String,
    providers: Vec<(String, String)>,
    env: Vec<(String, String)>,
}

/// Gateway process. Killed when dropped, or when the test process ends.
pub struct Gateway {
    pub address: SocketAddr,
    pub directory: PathBuf,
    pub database: String,
    process: Mutex<Running>,
    env: Vec<(String, String)>,
    _owned: TempDir,
}

struct Running {
    child: Child,
    /// Kills the gateway when its standard input closes, which happens however this process ends.
    watchdog: Child,
}

/// Tenant of one test.
pub struct Tenant<'a> {
    pub id: String,
    pub gateway: &'a Gateway,
}

/// Virtual key of one test.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Store::Sqlite,
            database: None,
            port: None,
            server: String::new(),
            sections: String::new(),
            providers: Vec::new(),
            env: vec![("AIGW_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())],
        }
    }
}

impl Setup {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Uses an existing database.
    pub fn database(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// Uses a port that another gateway listens on. Both need `reuse_port`.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Adds lines to `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Adds whole sections, such as `[retry]`.
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self.sections.push('\n');
        self
    }

    /// Adds a file to `providers/`.
    pub fn provider(mut self, file: &str, text: &str) -> Self {
        self.providers.push((file.to_owned(), text.to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(key, _)| key != name);
        self
    }

    /// Writes the configuration for a port and returns its path.
    pub fn write(&self, directory: &Path, port: u16, database: &str) -> PathBuf {
        let file = directory.join("aigw.toml");
        let Self { server, sections, .. } = self;
        let text = format!(
            "include = [\"providers/*.toml\"]\n\n[server]\nlisten = \"127.0.0.1:{port}\"\n{server}\n[database]\nurl = \"{database}\"\n\n{sections}"
        );
        fs::create_dir_all(directory.join("providers")).unwrap();
        fs::write(&file, text).unwrap();
        for (name, text) in &self.providers {
            fs::write(directory.join("providers").join(name), text).unwrap();
        }
        file
    }

    /// Starts the gateway and waits until it is ready.
    ///
    /// # Panics
    /// With its log, if it does not become ready.
    pub fn start(self) -> Gateway {
        let owned = tempfile::Builder::new().prefix("aigw-test-").tempdir().unwrap();
        let directory = owned.path().to_owned();
        let database = self.database.clone().unwrap_or_else(|| self.store.url(&directory));
        let port = self.port.unwrap_or_else(free_port);
        self.write(&directory, port, &database);
        let gateway = Gateway {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            process: Mutex::new(spawn(&directory, &self.env)),
            env: self.env.clone(),
            database,
            directory,
            _owned: owned,
        };
        // On a shared port the other gateway may answer.
        let listens = || gateway.log().contains("listens on").then_some(());
        if self.port.is_some() {
            eventually("the second gateway to listen", listens);
        }
        if gateway.becomes_ready() {
            return gateway;
        }
        // Another process may have taken the port since it was chosen.
        let log = gateway.log();
        assert!(log.contains("in use"), "the gateway does not start:\n{log}");
        drop(gateway);
        self.start()
    }
}

/// Returns a free port.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns the binary with a minimal environment.
pub fn aigw(directory: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aigw"));
    command.current_dir(directory).env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

fn spawn(directory: &Path, env: &[(String, String)]) -> Running {
    let log = |name: &str| fs::OpenOptions::new().create(true).append(true).open(directory.join(name)).unwrap();
    let mut command = aigw(directory, env);
    command.args(["serve", "--config", "aigw.toml"]).stdout(log("stdout")).stderr(log("stderr"));
    let child = command.spawn().unwrap();
    Running { watchdog: watch(&child, directory), child }
}

/// Starts a shell that kills `child` and removes `directory` once this process is gone.
pub fn watch(child: &Child, directory: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\" 2>/dev/null; rm -rf \"$2\"", "watchdog", &child.id().to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the exit of a process.
pub fn ended(child: &mut Child) -> ExitStatus {
    eventually("the process to end", || child.try_wait().unwrap())
}

impl Running {
    fn stop_watching(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl Gateway {
    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn becomes_ready(&self) -> bool {
        eventually(&format!("the gateway to become ready in {}", self.directory.display()), || {
            if self.running().child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(self.address).ok()?;
            (self.get("/readyz").send().status == 200).then_some(true)
        })
    }

    /// Returns its standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// `POST /v1/chat/completions` with a key.
    pub fn chat(&self, key: &Key, body: &Value) -> Request {
        self.post("/v1/chat/completions", key, body)
    }

    pub fn post(&self, target: &str, key: &Key, body: &Value) -> Request {
        self.request("POST", target).bearer(&key.secret).json(body)
    }

    /// Sends a request to the admin API, with a path below `/admin/v1`.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = self.request(method, &format!("/admin/v1{path}")).bearer(ADMIN_TOKEN);
        match body {
            Some(body) => request.json(body).send(),
            None => request.send(),
        }
    }

    /// Creates a tenant with these fields and a new id.
    pub fn tenant_with(&self, mut fields: Value) -> Tenant<'_> {
        let id = unique("t");
        fields["id"] = json!(id);
        self.admin("POST", "/tenants", Some(&fields)).expect(201);
        Tenant { id, gateway: self }
    }

    pub fn tenant(&self) -> Tenant<'_> {
        self.tenant_with(json!({"name": "a tenant"}))
    }

    /// Creates a key of a new tenant.
    pub fn key(&self) -> Key {
        self.tenant().key()
    }

    /// Waits for the ledger entry of a request.
    pub fn entry(&self, request_id: &str) -> Value {
        eventually(&format!("the entry of request {request_id}"), || {
            let answer = self.admin("GET", &format!("/ledger/{request_id}"), None);
            match answer.status {
                404 => None,
                _ => Some(answer.expect(200)),
            }
        })
    }

    /// Waits for the ledger entry of an answered request.
    pub fn entry_of(&self, response: &Response) -> Value {
        self.entry(response.header("x-request-id").expect("an answer without x-request-id"))
    }

    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Sends SIGTERM.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    /// Kills it with SIGKILL.
    pub fn kill9(&self) {
        let mut running = self.running();
        running.stop_watching();
        let _ = running.child.kill();
        let _ = running.child.wait();
    }

    /// Waits for its exit.
    pub fn exit(&self) -> ExitStatus {
        let mut running = self.running();
        let status = ended(&mut running.child);
        running.stop_watching();
        status
    }

    /// Whether it is still running.
    pub fn is_running(&self) -> bool {
        self.running().child.try_wait().unwrap().is_none()
    }

    /// Restarts it on the same port with the same state.
    pub fn restart(&self) {
        self.begin_restart();
        assert!(self.becomes_ready(), "the gateway does not start again:\n{}", self.log());
    }

    /// As [`restart`](Self::restart), without waiting until it is ready.
    pub fn begin_restart(&self) {
        self.kill9();
        *self.running() = spawn(&self.directory, &self.env);
    }

    /// Writes a file of the configuration.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.join(file), text).unwrap();
    }

    /// Returns the command line, configured for this gateway.
    pub fn shell(&self, arguments: &[&str]) -> Command {
        let env = [("AIGW_URL".to_owned(), format!("http://{}", self.address)), ("AIGW_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())];
        let mut command = aigw(&self.directory, &env);
        command.args(arguments);
        command
    }

    /// Runs the command line against this gateway.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        self.shell(arguments).output().unwrap()
    }
}

impl Tenant<'_> {
    /// Creates a key with these fields.
    pub fn key_with(&self, mut fields: Value) -> Key {
        if fields["name"].is_null() {
            fields["name"] = json!("a key");
        }
        if fields["subject"].is_null() {
            fields["subject"] = json!("someone");
        }
        let answer = self.admin("POST", "/keys", Some(&fields)).expect(201);
        Key { id: answer["id"].as_str().unwrap().to_owned(), secret: answer["key"].as_str().unwrap().to_owned() }
    }

    pub fn key(&self) -> Key {
        self.key_with(json!({}))
    }

    /// Sends a request to the admin API, with a path below this tenant's.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.gateway.admin(method, &format!("/tenants/{}{path}", self.id), body)
    }

    /// Waits until the tenant has `count` entries and returns them, newest first.
    pub fn entries(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} entries of {}", self.id), || {
            let entries = self.gateway.admin("GET", &format!("/ledger?tenant={}&limit=1000", self.id), None).expect(200);
            let entries = entries["data"].as_array().unwrap().clone();
            (entries.len() >= count).then_some(entries)
        })
    }
}
