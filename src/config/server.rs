//! `[server]`: the listener and the limits of requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::section::Section;
use crate::json::JsonLimits;

/// `[server]`: the listener and the limits of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Worker threads, at least 1 (`0` in TOML has become the number of cores).
    pub workers: usize,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// Maximum nesting depth and counts of a JSON body.
    pub json: JsonLimits,
    /// Time that running streams get after SIGTERM.
    pub shutdown_grace: Duration,
    /// Number of requests in flight in the process above which new ones get 503.
    pub max_in_flight: usize,
    /// Time limit for a request's headers, from the first byte.
    pub header_timeout: Duration,
    /// Time limit for the first byte of a request's body.
    pub body_start_timeout: Duration,
    /// Time limit for a request's whole body.
    pub body_timeout: Duration,
    /// Minimum average rate of a body after `body_rate_grace`, in bytes per second.
    pub min_body_rate: u64,
    /// Time during which a body may be slower than `min_body_rate`.
    pub body_rate_grace: Duration,
    /// Largest zstd window of a body, in bytes; a power of two.
    pub max_zstd_window: usize,
    /// Bytes that request bodies, whole answers and incomplete events may hold in the process;
    /// above it requests get 503.
    pub buffer_budget: usize,
    /// Connections per worker; further ones wait in the accept queue.
    pub max_connections: usize,
    /// Connections per client address in the process; further ones are closed at once. `None`: no limit.
    pub max_connections_per_address: Option<usize>,
    /// Origins whose pages may call the data plane from a browser, compared exactly.
    pub cors_origins: Vec<String>,
    /// Time a client may leave a relayed stream unread.
    pub write_timeout: Duration,
    /// Time an idle client connection is kept open.
    pub keep_alive: Duration,
    /// Whether a client that closes its sending half still gets its answer. Off: it counts as gone.
    pub half_close: bool,
    /// Whether other processes may listen on the same address (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// `env_logger` filter. `RUST_LOG` takes precedence.
    pub log: String,
    /// Format of log lines.
    pub log_format: LogFormat,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Server {
    /// Defaults of DESIGN.md section 3 and spec/security.md 7.4.
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Reads `[server]`.
pub(super) fn read(root: &mut Section<'_>) -> Server {
    let mut server = Server::default();
    if let Some(mut section) = root.section("server") {
        read_keys(&mut section, &mut server);
        section.done();
    }
    server
}

fn read_keys(section: &mut Section<'_>, server: &mut Server) {
    const LISTEN: &str = "write an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    server.listen = section.parsed("listen", LISTEN, |text| text.parse().ok()).unwrap_or(server.listen);
    if let Some(workers) = section.count("workers", 0..=1024).filter(|workers| *workers > 0) {
        server.workers = workers;
    }
    server.max_body = section.bytes("max_body", 1..=1 << 30).unwrap_or(server.max_body);
    server.min_body_rate = section.size("min_body_rate", 0..=1 << 40).unwrap_or(server.min_body_rate);
    if let Some(window) = section.bytes("max_zstd_window", 1 << 10..=1 << 27) {
        server.max_zstd_window = window;
        if !window.is_power_of_two() {
            section.problem("max_zstd_window", "is not a power of two", "write one such as \"8MiB\"");
        }
    }
    server.buffer_budget = section.bytes("buffer_budget", 1 << 20..=1 << 50).unwrap_or(server.buffer_budget);
    if server.buffer_budget < server.max_body {
        section.problem("buffer_budget", "is less than max_body", "make it at least as large, or max_body smaller");
    }
    server.max_connections = section.count("max_connections", 1..=10_000_000).unwrap_or(server.max_connections);
    server.max_connections_per_address = section.count("max_connections_per_address", 0..=10_000_000).filter(|most| *most > 0);
    server.cors_origins = origins(section);
    server.max_in_flight = section.count("max_in_flight", 1..=10_000_000).unwrap_or(server.max_in_flight);
    server.json = JsonLimits {
        depth: section.count("max_json_depth", 1..=512).unwrap_or(server.json.depth),
        strings: section.count("max_json_strings", 1..=100_000_000).unwrap_or(server.json.strings),
        keys: section.count("max_json_keys", 1..=100_000_000).unwrap_or(server.json.keys),
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
            // The connection timer ticks twice a second.
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

/// Reads origins as browsers send them. `*` is refused: each origin is listed.
fn origins(section: &mut Section<'_>) -> Vec<String> {
    let listed = section.texts("cors_origins").unwrap_or_default();
    for origin in &listed {
        let is_origin = url::Url::parse(origin).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == **origin);
        if !is_origin {
            section.problem("cors_origins", format!("{origin:?} is not an origin"), "write one such as \"https://console.example.com\"");
        }
    }
    listed.into_iter().map(str::to_owned).collect()
}
