//! Everything an operator can say, read once and decided once.
//!
//! [`load()`] reads `aigw.toml`, the provider files it includes and the environment, and answers with [`Settings`] in which
//! nothing is left to decide, or with every problem at once. Nobody reads a file or the environment after it.

pub mod check;
pub mod duration;
mod load;
pub mod size;
pub mod toml;

pub use load::{load, load_shipped, shipped};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::{Dialect, Quirks};
use crate::guard::NetworkAccess;
use crate::json::JsonLimits;
use crate::secret::Secret;
use crate::terms::{KindName, ModelId, Operation, PicoUsd, ProviderName, TenantId};

/// The whole configuration, decided.
#[derive(Debug)]
pub struct Settings {
    /// The file it came from.
    pub file: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[admin]`
    pub admin: Admin,
    /// `[sealing]`
    pub sealing: Sealing,
    /// `[security]`
    pub security: Security,
    /// `[upstream]`
    pub upstream: Upstream,
    /// What the provider files define.
    pub catalog: Catalog,
    /// What is legal but deserves a line at start.
    pub warnings: Vec<String>,
}

/// `[server]`: the listener and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Worker threads, at least 1 (`0` in TOML has become the number of cores).
    pub workers: usize,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Nesting and counts a JSON body may have.
    pub json: JsonLimits,
    /// How long streams may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Requests in flight in the whole process before new ones are answered 503.
    pub max_in_flight: usize,
    /// How long a request's headers may take, and its first byte.
    pub header_timeout: Duration,
    /// How long a request's body may take to begin.
    pub body_start_timeout: Duration,
    /// How long a request's whole body may take.
    pub body_timeout: Duration,
    /// Bytes a second that a body must bring on average, once it has had `body_rate_grace`.
    pub min_body_rate: u64,
    /// How long a body may be slower than `min_body_rate`.
    pub body_rate_grace: Duration,
    /// The largest window a body in zstd may ask for, in bytes: a power of two.
    pub max_zstd_window: usize,
    /// Bytes that request bodies, whole answers and unfinished events may hold in the process before requests are answered 503.
    pub buffer_budget: usize,
    /// Connections of one worker; more are not accepted until one is closed.
    pub max_connections: usize,
    /// Connections of one address to the whole process; more are closed at once. `None`: no limit.
    pub max_connections_per_address: Option<usize>,
    /// The origins whose pages may call the data plane from a browser, to the letter.
    pub cors_origins: Vec<String>,
    /// How long a client may leave a relayed stream unread.
    pub write_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Whether a client that closes its sending half still gets its answer. Off: closing means going away.
    pub half_close: bool,
    /// Whether other processes that want so too may listen on the same address (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// `env_logger` filter; `RUST_LOG` wins.
    pub log: String,
    /// Text or JSON lines.
    pub log_format: LogFormat,
}

/// `[upstream]`: how much of an upstream's answer may be held (spec/security.md 7.4). All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// A line of an event stream.
    pub max_line: usize,
    /// An event of a stream.
    pub max_event: usize,
    /// An answer that is no stream.
    pub max_body: usize,
    /// The body of an error.
    pub max_error_body: usize,
    /// What of a stream may wait for its client.
    pub stream_buffer: usize,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[database]`: where state lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// SQLite or PostgreSQL.
    pub url: DatabaseUrl,
}

/// A database URL, taken apart. PostgreSQL's may hold a password and so is a [`Secret`].
#[derive(Debug, Clone, PartialEq)]
pub enum DatabaseUrl {
    /// `sqlite://path`
    Sqlite(PathBuf),
    /// `postgres://user@host/db`
    Postgres(Arc<Secret>),
}

/// `[ledger]`: how entries wait for the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Where journals are kept.
    pub journal: PathBuf,
    /// What a journaled entry outlives.
    pub durability: Durability,
    /// Bytes of journal that may wait to be stored.
    pub max_journal: u64,
    /// How long entries are kept before only their monthly sums are; `None`: for ever.
    pub keep: Option<Duration>,
}

/// What a journaled entry outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The process: a kill at any moment.
    Process,
    /// The power supply, but for the last moments.
    Power,
}

/// `[admin]`: the admin API.
#[derive(Debug)]
pub struct Admin {
    /// The token; `None`: the admin API is off.
    pub token: Option<Secret>,
    /// A listener of its own; `None`: the one of `[server]`.
    pub listen: Option<SocketAddr>,
    /// Names that requests to that listener may be addressed to, besides addresses and `localhost`; in lower case.
    pub hosts: Vec<String>,
}

/// `[sealing]`: where the master key and this gateway's own edge key come from.
#[derive(Debug, Default)]
pub struct Sealing {
    /// 32 bytes in base64; `None`: BYO is off.
    pub master_key: Option<Secret>,
    /// The one before it, as long as something is under it.
    pub old_master_key: Option<Secret>,
    /// Which edge this gateway is, if not the one called `local`.
    pub edge: Option<EdgeIdentity>,
    /// How long a worker keeps a tenant's provider key it has opened.
    pub cache: Duration,
}

/// A gateway that was given an edge of its own (`aigw edge add`).
#[derive(Debug)]
pub struct EdgeIdentity {
    /// The edge's id.
    pub id: String,
    /// Its credential, `aigw-ek-…`. Where it was found and that it is one are checked at start.
    pub key: Secret,
}

/// `[security]`
#[derive(Debug, Clone, PartialEq)]
pub struct Security {
    /// May BYO providers name private addresses?
    pub tenant_private_upstreams: bool,
    /// Failed authentications per minute and source address before unknown keys get 429.
    pub failed_auth_per_minute: u32,
    /// How long virtual keys are taken on trust when it cannot be checked whether they are revoked.
    pub fail_static: Duration,
}

/// `[retry]`, as it applies to one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Upstream calls per provider, at least 1.
    pub attempts: u32,
    /// The first pause; doubled each time, full jitter.
    pub backoff: Duration,
    /// The longest pause, and the longest `retry-after` that is honoured.
    pub max_backoff: Duration,
    /// For TCP and, apart, for TLS.
    pub connect_timeout: Duration,
    /// Until the response head, and until the first event of a stream.
    pub first_byte_timeout: Duration,
    /// Between two reads of a body or stream.
    pub idle_timeout: Duration,
    /// The longest an answer may take in all.
    pub total_timeout: Duration,
    /// When a failing provider is skipped for a while.
    pub cooldown: Cooldown,
}

/// A provider that fails `failures` times within `window` rests for `rest`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cooldown {
    /// Failures in a row within the window; 0 switches cooldown off.
    pub failures: u32,
    /// The time they must fall into.
    pub window: Duration,
    /// How long the provider is skipped.
    pub rest: Duration,
}

/// What all provider files define together, merged and checked.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name.
    pub kinds: BTreeMap<KindName, Arc<Kind>>,
    /// The brokered providers, enabled or not, in natural order of their names.
    pub providers: Vec<Provider>,
    /// In the order of their ids.
    pub models: Vec<Model>,
}

/// A sort of provider.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: KindName,
    /// The language it speaks.
    pub dialect: &'static dyn Dialect,
    /// Where it is reached; `None` for dialects that are not remote. Without a trailing slash.
    pub base_url: Option<String>,
    /// How the key is sent.
    pub auth: Auth,
    /// Static request headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Static query parameters.
    pub query: Vec<(String, String)>,
    /// The path of each operation it can do, below the base URL; `{model}` stands for the upstream model.
    pub paths: BTreeMap<Operation, String>,
    /// What is peculiar about it.
    pub quirks: Arc<Quirks>,
    /// Which addresses it may reach.
    pub network: NetworkAccess,
    /// Retry settings, the defaults of `[retry]` already laid under.
    pub retry: RetryPolicy,
}

/// How a provider's key is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer …`
    Bearer,
    /// Not at all.
    None,
    /// In a header of this name, in lower case.
    Header(String),
}

/// A brokered account of a kind.
#[derive(Debug)]
pub struct Provider {
    /// Its name; natural order is priority.
    pub name: ProviderName,
    /// Its kind.
    pub kind: Arc<Kind>,
    /// The operator's key; `None` with `auth = "none"` or where the environment has none.
    pub api_key: Option<Arc<Secret>>,
    /// Why it takes no part: `None` means it does.
    pub disabled: Option<Disabled>,
    /// Only for these tenants, if any are named.
    pub tenants: Option<Vec<TenantId>>,
    /// Its own base URL or its kind's.
    pub base_url: Option<String>,
    /// Its kind's headers, with its own laid over.
    pub headers: Vec<(String, String)>,
    /// Likewise.
    pub query: Vec<(String, String)>,
    /// Its kind's reach or its own.
    pub network: NetworkAccess,
    /// Its kind's retry settings, with its own laid over.
    pub retry: RetryPolicy,
}

/// Why a provider takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disabled {
    /// `enabled = false`
    ByOperator,
    /// The variable named by `api_key_env` is unset or empty, or the file named by `api_key_file` does not exist.
    NoKey(String),
}

/// A model of the catalog.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its public id.
    pub id: ModelId,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    /// The largest prompt and answer together, in tokens.
    pub context_window: Option<u64>,
    /// The longest answer, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Which kinds serve it, by kind.
    pub served_by: BTreeMap<KindName, Served>,
}

/// How one kind serves a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The model's name there.
    pub upstream_model: String,
    /// What it costs there.
    pub price: Arc<Price>,
}

/// List prices. Per token, but for `request`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Price {
    /// Prices for usual prompts.
    pub base: Rates,
    /// Prices for prompts over so many tokens.
    pub long_context: Option<(u64, Rates)>,
    /// Per call.
    pub request: PicoUsd,
}

/// Prices per token. Where TOML names none for a cached or written token, the input price stands here already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// Prompt tokens.
    pub input: PicoUsd,
    /// Prompt tokens read from the cache.
    pub cached_input: PicoUsd,
    /// Prompt tokens written to the cache.
    pub cache_write: PicoUsd,
    /// Prompt tokens written to the cache for an hour.
    pub cache_write_1h: PicoUsd,
    /// Completion tokens.
    pub output: PicoUsd,
}

/// The outside world as configuration sees it: variables and files. Tests feed their own.
pub trait Environment {
    /// The value of an environment variable, `None` if unset or empty.
    fn var(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}
