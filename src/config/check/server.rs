//! The sections of `aigw.toml` about the process itself: `[server]`, `[database]`, `[ledger]`, `[admin]`, `[sealing]`,
//! `[security]`, `[upstream]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{self, Found, Place};
use crate::config::duration;
use crate::config::toml::Section;
use crate::config::{
    Admin, Database, DatabaseUrl, Durability, EdgeIdentity, Environment, Ledger, LogFormat, Sealing, Security, Server, Upstream,
};
use crate::json::JsonLimits;
use crate::secret::Secret;

const DAY: Duration = Duration::from_secs(86_400);
/// How long entries are kept unless told otherwise.
const KEEP: Duration = Duration::from_secs(400 * 86_400);

impl Default for Server {
    /// As in DESIGN.md section 3 and spec/security.md 7.4.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            workers: cores(),
            max_body: 20 << 20,
            json: JsonLimits::default(),
            shutdown_grace: Duration::from_secs(30),
            max_in_flight: 16_384,
            header_timeout: Duration::from_secs(5),
            body_start_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(60),
            min_body_rate: 1 << 10,
            body_rate_grace: Duration::from_secs(10),
            max_zstd_window: 8 << 20,
            buffer_budget: 1 << 30,
            max_connections: 25_000,
            max_connections_per_address: None,
            cors_origins: Vec::new(),
            write_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            half_close: false,
            reuse_port: false,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Default for Upstream {
    /// As in spec/security.md 7.4.
    fn default() -> Self {
        Self { max_line: 8 << 20, max_event: 16 << 20, max_body: 64 << 20, max_error_body: 1 << 20, stream_buffer: 256 << 10 }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// `[server]`.
pub fn server(root: &mut Section<'_>) -> Server {
    let mut server = Server::default();
    if let Some(mut section) = root.section("server") {
        read_server(&mut section, &mut server);
        section.done();
    }
    server
}

fn read_server(section: &mut Section<'_>, server: &mut Server) {
    let listen =
        section.parsed("listen", "write an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"", |text| text.parse().ok());
    server.listen = listen.unwrap_or(server.listen);
    if let Some(workers) = counted(section, "workers", 0..=1024).filter(|workers| *workers > 0) {
        server.workers = workers;
    }
    server.max_body = sized(section, "max_body", 1..=1 << 30).unwrap_or(server.max_body);
    server.min_body_rate = section.size("min_body_rate", 0..=1 << 40).unwrap_or(server.min_body_rate);
    if let Some(window) = sized(section, "max_zstd_window", 1 << 10..=1 << 27) {
        server.max_zstd_window = window;
        if !window.is_power_of_two() {
            section.problem("max_zstd_window", "is no power of two", "write one such as \"8MiB\"");
        }
    }
    server.buffer_budget = sized(section, "buffer_budget", 1 << 20..=1 << 50).unwrap_or(server.buffer_budget);
    if server.buffer_budget < server.max_body {
        section.problem("buffer_budget", "is less than max_body", "make it at least as large, or max_body smaller");
    }
    server.max_connections = counted(section, "max_connections", 1..=10_000_000).unwrap_or(server.max_connections);
    server.max_connections_per_address = counted(section, "max_connections_per_address", 0..=10_000_000).filter(|most| *most > 0);
    server.cors_origins = origins(section);
    server.max_in_flight = counted(section, "max_in_flight", 1..=10_000_000).unwrap_or(server.max_in_flight);
    server.json = JsonLimits {
        depth: counted(section, "max_json_depth", 1..=512).unwrap_or(server.json.depth),
        strings: counted(section, "max_json_strings", 1..=100_000_000).unwrap_or(server.json.strings),
        keys: counted(section, "max_json_keys", 1..=100_000_000).unwrap_or(server.json.keys),
    };
    let times = [
        ("shutdown_grace", &mut server.shutdown_grace),
        ("header_timeout", &mut server.header_timeout),
        ("body_start_timeout", &mut server.body_start_timeout),
        ("body_timeout", &mut server.body_timeout),
        ("body_rate_grace", &mut server.body_rate_grace),
        ("write_timeout", &mut server.write_timeout),
        ("keep_alive", &mut server.keep_alive),
    ];
    for (key, field) in times {
        let least = match key {
            "shutdown_grace" | "keep_alive" | "body_rate_grace" => Duration::ZERO,
            // The server's clock ticks twice a second.
            "header_timeout" => Duration::from_secs(1),
            _ => Duration::from_millis(1),
        };
        *field = section.duration(key, least).unwrap_or(*field);
    }
    server.half_close = section.flag("half_close").unwrap_or(server.half_close);
    server.reuse_port = section.flag("reuse_port").unwrap_or(server.reuse_port);
    if let Some(log) = section.text("log") {
        log.clone_into(&mut server.log);
    }
    let format = |text: &str| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    };
    server.log_format = section.parsed("log_format", "write \"text\" or \"json\"", format).unwrap_or(server.log_format);
}

fn counted(section: &mut Section<'_>, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<usize> {
    section.number(key, range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn sized(section: &mut Section<'_>, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<usize> {
    section.size(key, range).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Origins as browsers send them. `*` is none: who may call is said one by one.
fn origins(section: &mut Section<'_>) -> Vec<String> {
    let listed = section.texts("cors_origins").unwrap_or_default();
    for origin in &listed {
        let is_origin = url::Url::parse(origin).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == **origin);
        if !is_origin {
            section.problem("cors_origins", format!("{origin:?} is no origin"), "write one such as \"https://console.example.com\"");
        }
    }
    listed.into_iter().map(str::to_owned).collect()
}

/// `[upstream]`.
pub fn upstream(root: &mut Section<'_>) -> Upstream {
    let mut upstream = Upstream::default();
    if let Some(mut section) = root.section("upstream") {
        let sizes = [
            ("max_line", &mut upstream.max_line),
            ("max_event", &mut upstream.max_event),
            ("max_body", &mut upstream.max_body),
            ("max_error_body", &mut upstream.max_error_body),
            ("stream_buffer", &mut upstream.stream_buffer),
        ];
        for (key, field) in sizes {
            *field = sized(&mut section, key, 1 << 10..=1 << 32).unwrap_or(*field);
        }
        section.done();
    }
    upstream
}

/// `[database]`. `AIGW_DATABASE_URL` wins.
pub fn database(root: &mut Section<'_>, environment: &dyn Environment) -> Database {
    let mut section = root.section_or_empty("database");
    // The URL may hold a password, so no problem quotes it.
    let check = |section: &Section<'_>, text: &str, what: &str| {
        let url = database_url(text);
        if url.is_none() {
            section.problem("url", what, "write \"sqlite://path/to/aigw.db\" or \"postgres://user@host/database\"");
        }
        url
    };
    let in_toml = section.text("url").and_then(|text| check(&section, text, "is no database URL"));
    let url = match environment.var("AIGW_DATABASE_URL") {
        Some(text) => check(&section, &text, "AIGW_DATABASE_URL is no database URL"),
        None => in_toml,
    };
    section.done();
    Database { url: url.unwrap_or_else(|| DatabaseUrl::Sqlite(PathBuf::from("aigw-data/aigw.db"))) }
}

/// A database URL taken apart; `None` for anything that is no SQLite file and no PostgreSQL server.
pub fn database_url(text: &str) -> Option<DatabaseUrl> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("sqlite://") {
        let is_file = !path.is_empty() && !path.starts_with(':') && !path.ends_with('/') && !path.contains(['?', '\0']);
        return is_file.then(|| DatabaseUrl::Sqlite(PathBuf::from(path)));
    }
    let parsed = url::Url::parse(text).ok()?;
    matches!(parsed.scheme(), "postgres" | "postgresql").then(|| DatabaseUrl::Postgres(Arc::new(Secret::new(text))))
}

/// `[ledger]`. Journals lie beside an SQLite database unless another directory is named.
pub fn ledger(root: &mut Section<'_>, database: &Database) -> Ledger {
    let mut section = root.section_or_empty("ledger");
    let beside = match &database.url {
        DatabaseUrl::Sqlite(path) => path.parent().map_or_else(|| PathBuf::from("journal"), |parent| parent.join("journal")),
        DatabaseUrl::Postgres(_) => PathBuf::from("aigw-data/journal"),
    };
    let durability = |text: &str| match text {
        "process" => Some(Durability::Process),
        "power" => Some(Durability::Power),
        _ => None,
    };
    let ledger = Ledger {
        journal: section.text("journal").filter(|text| !text.is_empty()).map_or(beside, PathBuf::from),
        durability: section.parsed("durability", "write \"process\" or \"power\"", durability).unwrap_or(Durability::Process),
        max_journal: section.size("max_journal", 1 << 20..=1 << 50).unwrap_or(4 << 30),
        keep: section.parsed("keep", "write \"400d\", any time of a day or more, or \"forever\"", kept).unwrap_or(Some(KEEP)),
    };
    section.done();
    ledger
}

/// How long entries are kept; `Some(None)`: for ever. Less than a day might be less than a journal waits to be recovered.
fn kept(text: &str) -> Option<Option<Duration>> {
    if text == "forever" { Some(None) } else { duration::parse(text).filter(|keep| *keep >= DAY).map(Some) }
}

/// `[admin]`.
pub fn admin(root: &mut Section<'_>, environment: &dyn Environment) -> Admin {
    const PLACE: Place = Place { env: "token_env", file: None, literal: "token", default: Some("AIGW_ADMIN_TOKEN") };
    let mut section = root.section_or_empty("admin");
    let token = match PLACE.find(&mut section, environment) {
        Found::Key(token) => Some(token),
        Found::Absent(variable) => {
            section.notes().warning(format!("the admin API is off: {variable} is not set"));
            None
        }
        Found::Nowhere => None,
    };
    if let Some(fault) = token.as_ref().and_then(secrets::admin_token_fault) {
        section.key_problem("token_env", fault, "make one with: openssl rand -hex 32");
    }
    let listen = section.parsed("listen", "write an address and a port such as \"127.0.0.1:8081\"", |text| text.parse().ok());
    let hosts = section.texts("hosts").unwrap_or_default();
    if let Some(bad) = hosts.iter().find(|host| host.is_empty() || host.contains([':', '/', ' '])) {
        section.problem("hosts", format!("{bad:?} is no host name"), "write names without scheme and port, such as \"aigw.example.com\"");
    }
    section.done();
    Admin { token, listen, hosts: hosts.into_iter().map(str::to_ascii_lowercase).collect() }
}

/// `[sealing]`.
pub fn sealing(root: &mut Section<'_>, environment: &dyn Environment) -> Sealing {
    const FILE: &str = "master_key_file";
    const PLACE: Place = Place { env: "master_key_env", file: Some(FILE), literal: "master_key", default: Some("AIGW_MASTER_KEY") };
    let mut section = root.section_or_empty("sealing");
    let found = PLACE.find(&mut section, environment);
    let place = if section.has(FILE) { FILE } else { PLACE.env };
    let master_key = match found {
        Found::Key(text) => secrets::master_key(&text)
            .map_err(|fault| {
                let remedy = "make one with: openssl rand -base64 32; keep it, sealed provider keys cannot be opened without it";
                section.key_problem(place, fault, remedy);
            })
            .ok(),
        Found::Absent(file) if place == FILE => {
            let remedy = "put the master key there, or leave master_key_file out to run without BYO";
            section.key_problem(FILE, format!("{file} does not exist or is empty"), remedy);
            None
        }
        Found::Absent(_) if section.has("edge") => None,
        Found::Absent(variable) => {
            section.notes().warning(format!("tenants cannot bring provider keys of their own: {variable} is not set"));
            None
        }
        Found::Nowhere => None,
    };
    let old_master_key = old_master_key(&mut section, environment);
    let edge = edge(&mut section, environment);
    let cache = at_most_five_minutes(&mut section, "cache").unwrap_or(Duration::from_secs(60));
    section.done();
    Sealing { master_key, old_master_key, edge, cache }
}

/// The master key before this one: only there while `aigw seal rotate` is under way.
fn old_master_key(section: &mut Section<'_>, environment: &dyn Environment) -> Option<Secret> {
    const FILE: &str = "old_master_key_file";
    const PLACE: Place =
        Place { env: "old_master_key_env", file: Some(FILE), literal: "old_master_key", default: Some("AIGW_OLD_MASTER_KEY") };
    let Found::Key(text) = PLACE.find(section, environment) else { return None };
    let place = if section.has(FILE) { FILE } else { PLACE.env };
    let remedy = "give the key that things were sealed under, or leave it out if nothing is sealed under it any more";
    secrets::master_key(&text).map_err(|fault| section.key_problem(place, fault, remedy)).ok()
}

/// Which edge this gateway is: its id and its key, both or neither.
fn edge(section: &mut Section<'_>, environment: &dyn Environment) -> Option<EdgeIdentity> {
    const FILE: &str = "edge_key_file";
    const PLACE: Place = Place { env: "edge_key_env", file: Some(FILE), literal: "edge_key", default: Some("AIGW_EDGE_KEY") };
    let found = PLACE.find(section, environment);
    let place = if section.has(FILE) { FILE } else { PLACE.env };
    match (section.text("edge").map(str::to_owned), found) {
        (Some(id), Found::Key(key)) => Some(EdgeIdentity { id, key }),
        (Some(id), _) => {
            section.key_problem(place, format!("the key of the edge {id:?} is not there"), "set it to what `aigw edge add` printed");
            None
        }
        (None, Found::Key(_)) => {
            section.key_problem(
                place,
                "an edge key, and not which edge it is of",
                "write edge = \"ID\" beside it, as in `aigw edge add ID`",
            );
            None
        }
        (None, _) => None,
    }
}

/// A time of 0 to 300 seconds (spec/security.md 1.6, 4.3).
fn at_most_five_minutes(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let time = section.duration(key, Duration::ZERO)?;
    if time > Duration::from_secs(300) {
        section.problem(key, "is more than 5 minutes", "write a time between \"0s\" and \"300s\"");
        return None;
    }
    Some(time)
}

/// `[security]`.
pub fn security(root: &mut Section<'_>) -> Security {
    let mut security = Security { tenant_private_upstreams: false, failed_auth_per_minute: 600, fail_static: Duration::from_secs(60) };
    if let Some(mut section) = root.section("security") {
        security.tenant_private_upstreams = section.flag("tenant_private_upstreams").unwrap_or(false);
        if let Some(number) = section.number("failed_auth_per_minute", 1..=u64::from(u32::MAX)) {
            security.failed_auth_per_minute = number.try_into().unwrap_or(u32::MAX);
        }
        security.fail_static = at_most_five_minutes(&mut section, "fail_static").unwrap_or(security.fail_static);
        section.done();
    }
    security
}
