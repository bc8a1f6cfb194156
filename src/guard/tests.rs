//! The shared vectors, and what must hold of any text at all.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use actix_web::http::Uri;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    defaults: Settings,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    kind: String,
    input: String,
    #[serde(default)]
    policy: Overrides,
    #[serde(default)]
    resolves: Vec<IpAddr>,
    port: Option<u16>,
    scheme: Option<String>,
    expect: String,
    code: Option<String>,
}

/// The policy of the vector file.
#[derive(Clone, Deserialize)]
struct Settings {
    source: String,
    allow_private: bool,
    allow_cidrs: Vec<String>,
    allow_ports: Vec<u16>,
    self_listen: Vec<SocketAddr>,
    tenant_private_upstreams: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    source: Option<String>,
    allow_private: Option<bool>,
    allow_cidrs: Option<Vec<String>>,
    allow_ports: Option<Vec<u16>>,
    self_listen: Option<Vec<SocketAddr>>,
    tenant_private_upstreams: Option<bool>,
}

impl Settings {
    fn policy(&self, overrides: &Overrides) -> Policy {
        let source = match overrides.source.as_ref().unwrap_or(&self.source).as_str() {
            "operator" => Source::Operator(NetworkAccess {
                allow_private: overrides.allow_private.unwrap_or(self.allow_private),
                allow_cidrs: overrides.allow_cidrs.as_ref().unwrap_or(&self.allow_cidrs).iter().map(|text| cidr(text)).collect(),
                allow_ports: overrides.allow_ports.clone().unwrap_or_else(|| self.allow_ports.clone()),
            }),
            _ => Source::TenantUrl { private_upstreams: overrides.tenant_private_upstreams.unwrap_or(self.tenant_private_upstreams) },
        };
        let listeners = overrides.self_listen.clone().unwrap_or_else(|| self.self_listen.clone());
        Policy { source, self_listen: SelfListen { listeners, interfaces: Vec::new() } }
    }
}

impl Case {
    fn verdict(&self, policy: &Policy) -> Result<(), Denied> {
        if self.kind == "ip" {
            let scheme = if self.scheme.as_deref() == Some("http") { Scheme::Http } else { Scheme::Https };
            let ip = self.input.parse().expect("an address");
            return check_address(SocketAddr::new(ip, self.port.unwrap_or(443)), scheme, policy);
        }
        let origin = check_url(&self.input, policy)?;
        self.resolves.iter().try_for_each(|ip| check_address(SocketAddr::new(*ip, origin.port()), origin.scheme(), policy))
    }
}

pub(crate) fn cidr(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').expect("a range");
    Cidr { address: address.parse().expect("an address"), prefix: prefix.parse().expect("a prefix") }
}

pub(crate) fn operator() -> Policy {
    Policy { source: Source::Operator(NetworkAccess::default()), self_listen: SelfListen::default() }
}

pub(crate) fn private() -> Policy {
    listing(&[])
}

pub(crate) fn listing(ranges: &[&str]) -> Policy {
    let reach = NetworkAccess { allow_private: true, allow_cidrs: ranges.iter().map(|text| cidr(text)).collect(), allow_ports: Vec::new() };
    Policy { source: Source::Operator(reach), self_listen: SelfListen::default() }
}

pub(crate) fn tenant(private_upstreams: bool) -> Policy {
    Policy { source: Source::TenantUrl { private_upstreams }, self_listen: SelfListen::default() }
}

pub(crate) fn code<T>(judged: Result<T, Denied>) -> &'static str {
    judged.map_or_else(|denied| denied.code(), |_| "allow")
}

pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|above| above.join("shared")).find(|shared| shared.join("DESIGN.md").is_file()).map(|shared| shared.join(file))
}

#[test]
fn every_shared_vector_gets_exactly_its_code() {
    let Some(file) = shared("cases/ssrf.json") else {
        println!("skipped: no ../shared/cases/ssrf.json");
        return;
    };
    let text = std::fs::read_to_string(file).expect("readable vectors");
    let vectors: Vectors = serde_json::from_str(&text).expect("vectors of the known shape");
    let mut wrong = Vec::new();
    for case in vectors.cases.iter().filter(|case| case.kind != "flow") {
        let got = code(case.verdict(&vectors.defaults.policy(&case.policy)));
        let expected = if case.expect == "allow" { "allow" } else { case.code.as_deref().expect("a code") };
        if got != expected {
            wrong.push(format!("{} {}: {got}, not {expected}", case.id, case.input));
        }
    }
    assert!(vectors.cases.len() >= 40 && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_refusal_says_what_to_do_and_keeps_credentials_to_itself() {
    let denied = check_url("https://user:hunter2@api.example.com/", &operator()).expect_err("userinfo");
    let text = denied.to_string();
    assert!(text.starts_with("ssrf.userinfo: ") && text.contains("api_key_env") && !text.contains("hunter2"), "{text}");
}

/// More cases than elsewhere, unless `PROPTEST_CASES` asks for more still.
fn runner() -> TestRunner {
    let asked = ProptestConfig::default();
    TestRunner::new(ProptestConfig { cases: asked.cases.max(2_000), failure_persistence: None, ..asked })
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(operator()), Just(private()), Just(listing(&["10.0.0.0/8", "fd00::/8"])), Just(tenant(false)), Just(tenant(true)),]
}

fn hosts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,3}",
        "0x[0-9a-fA-F]{1,8}",
        "0[0-7]{1,4}",
        Just("127".to_owned()),
        Just("169".to_owned()),
        Just("254".to_owned()),
        Just("10".to_owned()),
        Just("ffff".to_owned()),
        Just("5efe".to_owned()),
        Just("64:ff9b".to_owned()),
        Just("::".to_owned()),
        Just("localhost".to_owned()),
        Just("xn--nxasmq6b".to_owned()),
        "[a-zA-Z0-9_.%:-]{0,6}",
    ];
    let joined = (prop::collection::vec(piece, 1..7), prop_oneof![Just("."), Just(":"), Just("")]).prop_map(|(pieces, by)| pieces.join(by));
    prop_oneof![
        joined.clone(),
        joined.prop_map(|host| format!("[{host}]")),
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<u32>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        any::<(u16, u32)>().prop_map(|(prefix, ip)| {
            format!("[{}]", std::net::Ipv6Addr::from_bits(u128::from(prefix) << 112 | 0x5efe << 32 | u128::from(ip)))
        }),
        any::<u32>().prop_map(|ip| format!("[{}]", std::net::Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(ip)))),
        any::<u32>().prop_map(|ip| format!("[{}]", std::net::Ipv6Addr::from_bits(0xffff << 32 | u128::from(ip)))),
    ]
}

fn texts_near_urls() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![8 => "https", 4 => "http", 1 => "HTTPS", 1 => "https:/", 1 => "[a-z]{0,4}"];
    let separator = prop_oneof![20 => Just("://"), 1 => Just(":"), 1 => Just(":///"), 1 => Just(":/\\")];
    let user = prop_oneof![20 => Just(""), 1 => Just("a@"), 1 => Just("a:b@")];
    let port = prop_oneof![4 => Just(String::new()), 1 => ":[0-9]{0,6}", 2 => any::<u16>().prop_map(|port| format!(":{port}"))];
    let tail = prop_oneof![3 => Just(String::new()), 3 => Just("/v1".to_owned()), 1 => "[/?#@.%\\\\a-z]{0,8}"];
    (scheme, separator, user, hosts(), port, tail)
        .prop_map(|(scheme, separator, user, host, port, tail)| format!("{scheme}{separator}{user}{host}{port}{tail}"))
}

/// The host and port a client that is handed `uri` dials.
fn dialled(uri: &Uri) -> (String, u16) {
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(default))
}

#[test]
fn no_url_passes_whose_dialled_address_is_refused() {
    let strategy = (texts_near_urls(), policies());
    let judged = runner().run(&strategy, |(text, policy)| {
        let Ok(origin) = check_url(&text, &policy) else { return Ok(()) };
        let uri = origin.uri("/chat/completions?a=b").expect("a checked origin makes a URI");
        let (host, port) = dialled(&uri);
        prop_assert_eq!(&host, &origin.host().to_string());
        prop_assert_eq!(port, origin.port());
        // What any resolver would read as an address is one for us too, and it was judged.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        prop_assert_eq!(literal, origin.literal().map(|address| address.ip()));
        if let Some(ip) = literal {
            prop_assert_eq!(check_address(SocketAddr::new(ip, port), origin.scheme(), &policy), Ok(()));
        }
        // A checked URL stays what it is when it is checked again.
        prop_assert_eq!(check_url(&origin.to_string(), &policy), Ok(origin));
        Ok(())
    });
    judged.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn any_text_is_judged_without_a_panic() {
    let judged = runner().run(&(any::<String>(), "\\PC{0,12}://\\PC{0,24}", policies()), |(any, near, policy)| {
        let _ = (check_url(&any, &policy), check_url(&near, &policy));
        Ok(())
    });
    judged.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn whatever_stands_below_an_origin_its_host_and_port_stay() {
    let judged = runner().run(&"[/@:?#.a-z0-9\\\\\\[\\]%-]{0,16}", |below| {
        let origin = check_url("https://api.example.com", &operator()).expect("a good URL");
        if let Ok(uri) = origin.uri(&below) {
            prop_assert_eq!(dialled(&uri), ("api.example.com".to_owned(), 443));
        }
        Ok(())
    });
    judged.unwrap_or_else(|failure| panic!("{failure}"));
}
