//! The guard against real sockets: what is dialled, what is not, and that nothing gets round it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::*;
use crate::guard::NetworkAccess;
use crate::guard::{SelfListen, Source};
use crate::upstream::h1::exchange;
use crate::upstream::pool::Pool;
use crate::upstream::resolver::Resolve;

/// Answers look-ups from a list; the last answer is given again and again.
struct Scripted {
    answers: Mutex<VecDeque<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let address = |ip: &&str| SocketAddr::new(ip.parse().expect("an address"), 0);
        let answers = answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolve for Scripted {
    fn lookup<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("the script");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        async move { answer.ok_or_else(|| io::Error::other("no such name")) }.boxed()
    }
}

/// An HTTP server on loopback that gives every request the same answer.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    fn start(ip: &str, answer: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0))?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, answer) = (Arc::clone(&connections), answer.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                thread::spawn(move || -> io::Result<()> {
                    let mut writer = stream.try_clone()?;
                    for line in BufReader::new(stream).lines() {
                        if line?.is_empty() {
                            writer.write_all(answer.as_bytes())?;
                        }
                    }
                    Ok(())
                });
            }
        });
        Ok(Self { address, connections })
    }

    fn fine() -> Self {
        Self::start("127.0.0.1", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("a loopback listener")
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/v1", self.address.port())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn operator(allow_private: bool) -> Policy {
    let reach = NetworkAccess { allow_private, ..NetworkAccess::default() };
    Policy { source: Source::Operator(reach), self_listen: SelfListen::default() }
}

/// A policy that lets https through to any port, so that the address is what is judged.
fn open_port(port: u16) -> Policy {
    let reach = NetworkAccess { allow_ports: vec![port], ..NetworkAccess::default() };
    Policy { source: Source::Operator(reach), self_listen: SelfListen::default() }
}

/// Source whose guard admits private addresses, loopback among them.
pub(in crate::upstream) fn private() -> Source {
    operator(true).source
}

/// Connects to a peer of a test without the guard.
#[allow(clippy::disallowed_methods, reason = "the peer belongs to the test")]
pub(in crate::upstream) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the test's own listener")
}

/// The pool of one provider.
fn client_of(policy: Policy, resolver: &Arc<Scripted>) -> Rc<Pool> {
    Rc::new(Pool::new(GuardedConnector::new(policy, Arc::clone(resolver) as Arc<dyn Resolve>), Duration::from_secs(5)))
}

/// The status, or the code of the refusal, or what else went wrong.
async fn get(client: &Rc<Pool>, url: &str) -> String {
    let Ok(target) = url.parse::<Uri>() else { return "no URI".to_owned() };
    let connection = match client.take(&target, Instant::now()) {
        Some(connection) => connection,
        None => match client.open(&target).await {
            Ok(connection) => connection,
            Err(error) => return error.class.as_str().to_owned(),
        },
    };
    let head = format!("GET {} HTTP/1.1\r\nhost: upstream\r\n\r\n", target.path());
    let answer = exchange(connection, head.into(), bytes::Bytes::new()).await;
    let (head, mut body) = answer.expect("an answer");
    while body.chunk().await.expect("a whole body").is_some() {}
    if let Some(connection) = body.into_connection() {
        client.put(connection);
    }
    head.status.to_string()
}

#[actix_web::test]
async fn a_name_that_is_rebound_after_the_check_is_judged_by_its_new_address() {
    let upstream = Upstream::fine();
    let resolver = Scripted::new(&[&["93.184.215.14"], &["127.0.0.1"]]);
    let policy = open_port(upstream.address.port());
    let url = format!("https://rebind.test:{}/v1", upstream.address.port());
    let origin = check_url(&url, &policy).expect("a good URL");
    let first = resolver.lookup("rebind.test", origin.port()).await.expect("an answer");
    assert_eq!(check_address(first[0], origin.scheme(), &policy), Ok(()));
    assert_eq!(get(&client_of(policy, &resolver), &url).await, "ssrf.addr_private");
    assert_eq!((resolver.asked(), upstream.connections()), (2, 0));
}

#[actix_web::test]
async fn the_shared_rebinding_vector_gets_exactly_its_code() {
    let Some(file) = crate::guard::tests::shared("cases/ssrf.json") else {
        println!("skipped: no ../shared/cases/ssrf.json");
        return;
    };
    let text = std::fs::read_to_string(file).expect("readable vectors");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("vectors");
    let cases = vectors["cases"].as_array().expect("cases");
    for case in cases.iter().filter(|case| case["input"] == "dns-rebind") {
        let answers: Vec<Vec<String>> = serde_json::from_value(case["steps"][0]["resolver_answers"].clone()).expect("answers");
        let answers: Vec<Vec<&str>> = answers.iter().map(|answer| answer.iter().map(String::as_str).collect()).collect();
        let resolver = Scripted::new(&answers.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let origin = check_url("https://rebind.test/v1", &operator(false)).expect("a good URL");
        let first = resolver.lookup("rebind.test", origin.port()).await.expect("an answer");
        assert!(first.iter().all(|address| check_address(*address, origin.scheme(), &operator(false)).is_ok()));
        let got = get(&client_of(operator(false), &resolver), &origin.to_string()).await;
        assert_eq!((got.as_str(), resolver.asked()), (case["code"].as_str().expect("a code"), 2));
    }
}

#[actix_web::test]
async fn the_addresses_that_are_judged_are_the_ones_that_are_dialled() {
    let upstream = Upstream::fine();
    let resolver = Scripted::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = client_of(operator(true), &resolver);
    assert_eq!(get(&client, &upstream.url("ollama")).await, "200");
    assert_eq!((resolver.asked(), upstream.connections()), (1, 1));
    assert_eq!(get(&client, &upstream.url("other")).await, "ssrf.addr_never");
    assert_eq!((resolver.asked(), upstream.connections()), (2, 1));
}

#[actix_web::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let target = Upstream::fine();
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url("127.0.0.1"));
        let upstream = Upstream::start("127.0.0.1", &answer).expect("a loopback listener");
        let client = client_of(operator(true), &Scripted::new(&[]));
        assert_eq!(get(&client, &upstream.url("127.0.0.1")).await, status[..3]);
        assert_eq!((upstream.connections(), target.connections()), (1, 0));
    }
}

#[actix_web::test]
async fn a_pooled_connection_is_used_again_by_its_own_client_alone() {
    let upstream = Upstream::fine();
    let resolver = Scripted::new(&[&["127.0.0.1"]]);
    let client = client_of(operator(true), &resolver);
    for _ in 0..3 {
        assert_eq!(get(&client, &upstream.url("ollama")).await, "200");
    }
    assert_eq!((resolver.asked(), upstream.connections()), (1, 1));
    let tenant = Policy { source: Source::TenantUrl { private_upstreams: true }, self_listen: SelfListen::default() };
    assert_eq!(get(&client_of(tenant, &resolver), &upstream.url("ollama")).await, "ssrf.addr_private");
    assert_eq!(get(&client_of(operator(false), &resolver), &upstream.url("ollama.example")).await, "ssrf.scheme");
    assert_eq!(upstream.connections(), 1);
}

#[actix_web::test]
async fn a_request_cannot_bring_its_address_along() {
    let upstream = Upstream::fine();
    let resolver = Scripted::new(&[&["8.8.8.8"]]);
    let guard = GuardedConnector::new(operator(true), Arc::clone(&resolver) as Arc<dyn Resolve>);
    let info = ConnectInfo::new(upstream.url("ollama").parse::<Uri>().expect("a URI")).set_addr(upstream.address);
    let error = failure(guard.call(info).await.expect_err("a refusal"));
    assert_eq!(error.class, Class::Denied(Reason::PresetAddress));
    assert_eq!((resolver.asked(), upstream.connections()), (0, 0));
}

#[actix_web::test]
async fn proxy_variables_change_nothing() {
    const VARIABLES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    const INSIDE: &str = "AIGW_TEST_BEHIND_PROXY";
    let upstream = Upstream::fine();
    if std::env::var_os(INSIDE).is_some() {
        let client = client_of(operator(true), &Scripted::new(&[&["127.0.0.1"]]));
        assert_eq!(get(&client, &upstream.url("ollama")).await, "200");
        assert_eq!(upstream.connections(), 1);
        return;
    }
    // Variables cannot be set safely within a process, so this test runs itself once more with them.
    let proxy = format!("http://{}", upstream.address);
    let name = "upstream::connector::tests::proxy_variables_change_nothing";
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", name]).env(INSIDE, "1").envs(VARIABLES.map(|variable| (variable, proxy.as_str())));
    let ran = command.output().expect("this binary runs");
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("1 passed"), "{ran:?}");
    assert_eq!(upstream.connections(), 0, "the proxy was asked");
}

#[actix_web::test]
async fn a_provider_that_is_ourselves_is_refused() {
    let ours = Upstream::fine();
    let wildcard = SocketAddr::new("0.0.0.0".parse().expect("an address"), ours.address.port());
    for listener in [ours.address, wildcard] {
        let policy = Policy { self_listen: SelfListen { listeners: vec![listener], interfaces: Vec::new() }, ..operator(true) };
        let client = client_of(policy, &Scripted::new(&[&["127.0.0.1"]]));
        for host in ["127.0.0.1", "ollama"] {
            assert_eq!(get(&client, &ours.url(host)).await, "ssrf.self");
        }
    }
    assert_eq!(ours.connections(), 0);
}

#[actix_web::test]
async fn an_ipv6_literal_is_judged_and_dialled_without_its_brackets() {
    let Ok(upstream) = Upstream::start("::1", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") else {
        println!("skipped: no ::1 on this machine");
        return;
    };
    let resolver = Scripted::new(&[]);
    let port = upstream.address.port();
    assert_eq!(get(&client_of(open_port(port), &resolver), &format!("https://[::1]:{port}/")).await, "ssrf.addr_private");
    assert_eq!(get(&client_of(operator(true), &resolver), &format!("http://[::ffff:7f00:1]:{port}/")).await, "ssrf.addr_never");
    assert_eq!(upstream.connections(), 0);
    assert_eq!(get(&client_of(operator(true), &resolver), &upstream.url("[::1]")).await, "200");
    assert_eq!((resolver.asked(), upstream.connections()), (0, 1));
}

#[actix_web::test]
async fn an_ipv4_literal_does_not_get_round_the_guard() {
    let upstream = Upstream::fine();
    let port = upstream.address.port();
    let client = client_of(open_port(port), &Scripted::new(&[]));
    assert_eq!(get(&client, &format!("https://127.0.0.1:{port}/")).await, "ssrf.addr_private");
    assert_eq!(get(&client, &format!("https://0.0.0.0:{port}/")).await, "ssrf.addr_never");
    assert_eq!(get(&client, &format!("https://2130706433:{port}/")).await, "ssrf.host_form");
    assert_eq!(get(&client, &format!("https://0x7f000001:{port}/")).await, "ssrf.host_form");
    assert_eq!(upstream.connections(), 0);
}

#[actix_web::test]
async fn a_uri_that_http_reads_otherwise_is_judged_as_written() {
    let client = client_of(operator(true), &Scripted::new(&[&["127.0.0.1"]]));
    for (url, code) in [
        ("http://ollama:65616/", "ssrf.url_form"),
        ("http://u:p@ollama:8000/", "ssrf.userinfo"),
        ("http://ollama.:8000/", "ssrf.host_form"),
        ("http://ollama:6379/", "ssrf.port"),
        ("http://metadata/", "ssrf.host_name"),
    ] {
        assert_eq!(get(&client, url).await, code, "{url}");
    }
}

#[actix_web::test]
async fn one_forbidden_address_refuses_the_whole_answer() {
    let upstream = Upstream::fine();
    for answer in [["127.0.0.1", "169.254.169.254"], ["169.254.169.254", "127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.1"]] {
        assert_eq!(get(&client_of(operator(true), &Scripted::new(&[&answer])), &upstream.url("ollama")).await, "ssrf.addr_never");
    }
    assert_eq!(get(&client_of(operator(true), &Scripted::new(&[&[]])), &upstream.url("ollama")).await, "ssrf.no_address");
    assert_eq!(upstream.connections(), 0);
}

#[actix_web::test]
async fn a_name_that_does_not_resolve_is_no_refusal() {
    let client = client_of(operator(true), &Scripted::new(&[]));
    assert_eq!(get(&client, "http://ollama:8000/").await, "dns");
}

#[actix_web::test]
async fn every_judged_address_is_tried_until_one_answers() {
    let upstream = Upstream::fine();
    let resolver = Scripted::new(&[&["127.0.0.2", "127.0.0.1"]]);
    assert_eq!(get(&client_of(operator(true), &resolver), &upstream.url("ollama")).await, "200");
    assert_eq!((resolver.asked(), upstream.connections()), (1, 1));
}

#[actix_web::test]
async fn connections_do_not_wait_to_fill_segments() {
    let upstream = Upstream::fine();
    let guard = GuardedConnector::new(operator(true), Scripted::new(&[]));
    let uri = upstream.url("127.0.0.1").parse().expect("a URI");
    let connection = guard.call(ConnectInfo::new(uri)).await.expect("a connection");
    assert!(connection.io_ref().nodelay().expect("a socket option"));
}

#[actix_web::test]
async fn https_starts_tls_on_the_guarded_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback listener");
    let port = listener.local_addr().expect("its address").port();
    let hello = thread::spawn(move || {
        let mut first = [0; 3];
        let (mut stream, _) = listener.accept()?;
        io::Read::read_exact(&mut stream, &mut first).map(|()| first)
    });
    let client = client_of(operator(true), &Scripted::new(&[&["127.0.0.1"]]));
    let got = get(&client, &format!("https://vllm:{port}/")).await;
    assert!(got == "tls", "{got}");
    assert_eq!(hello.join().expect("the listener").expect("a hello"), [0x16, 3, 1], "a TLS handshake record");
}

#[test]
fn tls_offers_http_1_1_alone() {
    assert_eq!(TLS.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn loopback_is_among_the_interfaces() {
    let addresses = interface_addresses().expect("interfaces");
    assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
}
