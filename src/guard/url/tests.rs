use super::*;
use crate::guard::NetworkAccess;
use crate::guard::tests::{code, operator, private, tenant};
use crate::guard::{SelfListen, Source};

fn all(policy: &Policy, expected: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(code(check_url(text, policy)), expected, "{text}");
    }
}

fn with_ports(allow_private: bool, ports: &[u16]) -> Policy {
    let reach = NetworkAccess { allow_private, allow_cidrs: Vec::new(), allow_ports: ports.to_vec() };
    Policy { source: Source::Operator(reach), self_listen: SelfListen::default() }
}

#[test]
fn public_https_is_allowed_in_any_usual_spelling() {
    all(
        &operator(),
        "allow",
        &[
            "https://api.openai.com",
            "https://api.openai.com/",
            "https://api.openai.com:443/v1/",
            "HTTPS://API.OpenAI.com/V1",
            "https://8.8.8.8/v1",
            "https://[2606:4700:4700::1111]/v1",
            "https://[2606:4700:4700::ABCD]/v1",
            "https://xn--bcher-kva.example/v1",
            "https://a_b.example-1.com/a.b/~c/_d/-e/...",
            "https://localhost.example.com",
            "https://1.example.com",
        ],
    );
}

#[test]
fn a_url_is_printable_ascii_of_at_most_2048_bytes_with_a_scheme() {
    let longest = format!("https://api.example.com/{}", "a".repeat(2048 - 24));
    all(&operator(), "allow", &[&longest]);
    all(
        &operator(),
        "ssrf.url_form",
        &[
            "",
            "https:",
            "api.openai.com",
            "https:api.openai.com",
            "https:/api.openai.com",
            "//api.openai.com",
            " https://api.openai.com",
            "https://api.openai.com ",
            "https://api.open\tai.com",
            "https://api.openai.com\n",
            "https://api.openai.com/\u{0}",
            "https://bücher.example",
            "https://ａpi.example",
            "https://api.openai.com\\v1",
            "https:\\\\api.openai.com://",
            "https://api.openai.com/\u{7f}",
            &format!("{longest}a"),
        ],
    );
}

#[test]
fn only_http_and_https_are_schemes() {
    let schemes = ["ftp://a.example", "unix://a.example", "gopher://a.example", "file:///etc/passwd", "://a.example", "ws://a.example"];
    all(&private(), "ssrf.scheme", &schemes);
    all(&private(), "ssrf.scheme", &["httpss://a.example", "https:/x://a.example", "javascript://a.example", "https.://a.example"]);
}

#[test]
fn userinfo_is_refused_only_where_it_is_an_authority() {
    let with = ["https://u@a.example", "https://u:p@a.example", "https://@a.example", "https://a.example@", "https://a@b@c.example?x#y"];
    all(&private(), "ssrf.userinfo", &with);
    all(&private(), "ssrf.url_form", &["https://a.example/@b", "https://a.example?@b", "https://a.example#@b"]);
}

#[test]
fn a_path_is_plain_segments() {
    all(
        &operator(),
        "ssrf.url_form",
        &[
            "https://a.example?x=1",
            "https://a.example/?",
            "https://a.example/#",
            "https://a.example#frag",
            "https://a.example//",
            "https://a.example//v1",
            "https://a.example/v1//x",
            "https://a.example/.",
            "https://a.example/..",
            "https://a.example/v1/../x",
            "https://a.example/./v1",
            "https://a.example/%2e%2e/",
            "https://a.example/v1;x",
            "https://a.example/{model}",
            "https://a.example/a:b",
            "https://a.example/a+b",
        ],
    );
}

#[test]
fn a_port_is_written_plainly_or_not_at_all() {
    let ports = ["", "0443", "00", "65536", "99999999999999999999", "+443", "-1", "4 43", "abc", "443:443"];
    for port in ports {
        all(&private(), "ssrf.url_form", &[&format!("https://a.example:{port}/v1"), &format!("https://8.8.8.8:{port}")]);
    }
    all(&private(), "ssrf.url_form", &["https://[::1]:", "https://[::1]:01"]);
}

#[test]
fn what_no_url_parser_takes_is_malformed() {
    all(
        &private(),
        "ssrf.url_form",
        &[
            "https://",
            "https:///",
            "https://:443",
            "https://[::1",
            "https://::1]/",
            "https://[::1]x/",
            "https://[fe80::1%25eth0]/",
            "https://256.256.256.256/",
            "https://1.2.3.4.5/",
            "https://a<b.example/",
            "https://a^b.example/",
            "https://%00.example/",
            "https://exa%mple.com",
            "https://xn--a.example",
        ],
    );
}

#[test]
fn a_host_is_written_as_it_is_read() {
    all(
        &private(),
        "ssrf.host_form",
        &[
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0X7F000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.01/",
            "https://0/",
            "https://127.0.0.1./",
            "https://0x7f.1/",
            "https://%3127.0.0.1/",
            "https://a%2eexample/",
            "https://[::ffff:127.0.0.1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::0001]/",
            "https://[2606:4700:0:0::1]/",
            "https://a.example./",
            "https://a..example/",
            "https://.a.example/",
            "https://-a.example/",
            "https://a-.example/",
            "https://a.-b.example/",
            "https://a$b.example/",
            "https://a*b.example/",
            "https://a!b.example/",
            "https://a,b.example/",
            "https:///a.example/",
        ],
    );
}

#[test]
fn names_and_labels_have_lengths() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    all(&operator(), "allow", &[&format!("https://{longest}/"), &format!("https://{label}.example/")]);
    all(&operator(), "ssrf.host_form", &[&format!("https://{longest}a/"), &format!("https://{label}a.example/")]);
}

#[test]
fn metadata_names_are_never_reached_and_private_names_with_an_opt_in() {
    let metadata = [
        "https://metadata/",
        "https://metadata.google.internal/",
        "https://METADATA.Google.Internal/",
        "https://metadata.goog/",
        "https://instance-data/",
        "https://instance-data.ec2.internal/",
        "https://metadata.tencentyun.com/",
    ];
    let networks = [
        "https://localhost/",
        "https://ollama/",
        "https://a.localhost/",
        "https://a.local/",
        "https://a.b.internal/",
        "https://a.intranet/",
        "https://a.lan/",
        "https://A.CORP/",
        "https://a.home/",
        "https://1.0.0.127.in-addr.arpa/",
    ];
    for policy in [operator(), tenant(false), private(), tenant(true)] {
        all(&policy, "ssrf.host_name", &metadata);
        all(&policy, if policy.permits_private() { "allow" } else { "ssrf.host_name" }, &networks);
    }
    all(&operator(), "allow", &["https://notlocal.example/", "https://mylan/".replace("mylan", "my.wlan").as_str(), "https://a.xlocal/"]);
}

#[test]
fn http_needs_a_private_opt_in_and_is_judged_before_the_port() {
    all(&operator(), "ssrf.scheme", &["http://a.example", "http://a.example:22", "http://a.example:443", "http://10.0.0.1:8000"]);
    all(&tenant(false), "ssrf.scheme", &["http://a.example:8000"]);
    for policy in [private(), tenant(true)] {
        all(&policy, "allow", &["http://a.example", "http://a.example:8000", "http://10.0.0.1:8000", "https://a.example:80"]);
    }
}

#[test]
fn the_port_list_depends_on_the_opt_in_and_allow_ports_add_to_it() {
    let judged = |port: u16, policy: &Policy| code(check_url(&format!("https://a.example:{port}"), policy));
    for port in [1u16, 22, 79, 80, 81, 442, 444, 1023, 1024, 8443, 65535] {
        assert_eq!(judged(port, &operator()), "ssrf.port", "{port}");
        assert_eq!(judged(port, &tenant(false)), "ssrf.port", "{port}");
        assert_eq!(judged(port, &with_ports(false, &[port])), "allow", "{port}");
    }
    let services = [2049, 2375, 2376, 2379, 2380, 3306, 5432, 5672, 6379, 6443, 8500, 9042, 9200, 9300, 10250, 11211, 27017];
    for policy in [private(), tenant(true)] {
        for port in [1, 22, 79, 81, 442, 444, 1023].iter().chain(&services) {
            assert_eq!(judged(*port, &policy), "ssrf.port", "{port}");
        }
        for port in [80, 443, 1024, 2048, 2050, 2377, 11434, 65535] {
            assert_eq!(judged(port, &policy), "allow", "{port}");
        }
    }
    for port in services {
        assert_eq!(judged(port, &with_ports(true, &[port])), "allow", "{port}");
    }
    for policy in [operator(), private(), tenant(true), with_ports(false, &[0]), with_ports(true, &[0])] {
        assert_eq!(judged(0, &policy), "ssrf.port");
    }
}

#[test]
fn a_tenant_names_no_literal_unless_private_upstreams_are_permitted() {
    let literals = ["https://8.8.8.8/", "https://[2606:4700:4700::1111]/", "https://10.0.0.1/", "https://127.0.0.1:22/", "http://[::1]/"];
    all(&tenant(false), "ssrf.ip_literal", &literals);
    all(&tenant(false), "ssrf.host_form", &["https://2130706433/"]);
    all(&tenant(false), "ssrf.userinfo", &["https://u@8.8.8.8/"]);
    all(&tenant(true), "allow", &["https://8.8.8.8/", "http://10.0.0.1:8000/", "https://[fd00::1]/"]);
    all(&tenant(true), "ssrf.addr_private", &["https://127.0.0.1/", "http://127.8.9.1:8000/", "https://[::1]/"]);
}

#[test]
fn a_literal_is_judged_as_an_address() {
    all(&operator(), "ssrf.addr_private", &["https://10.0.0.1/", "https://[::1]/", "https://[fd00::1]/"]);
    all(&private(), "allow", &["http://10.0.0.1:8000/", "http://127.0.0.1:11434", "http://[::1]:8000", "https://8.8.8.8"]);
    all(
        &private(),
        "ssrf.addr_never",
        &["http://169.254.169.254/", "https://[::ffff:7f00:1]/", "https://[fe80::1]/", "http://0.0.0.0:8000"],
    );
    all(&private(), "ssrf.addr_public_cleartext", &["http://8.8.8.8/"]);
    all(&private(), "ssrf.addr_not_listed", &["https://100.64.0.1/"]);
}

#[test]
fn a_checked_url_is_canonical_and_makes_uris() {
    let origin = check_url("HTTPS://API.Example.com/v1/", &operator()).expect("a good URL");
    assert_eq!(origin.canonical(), "https://api.example.com:443");
    assert_eq!(origin.to_string(), "https://api.example.com:443/v1");
    assert_eq!((origin.scheme(), origin.port(), origin.path(), origin.name()), (Scheme::Https, 443, "/v1", Some("api.example.com")));
    for below in ["chat/completions?a=b", "/chat/completions?a=b"] {
        assert_eq!(origin.uri(below).expect("a URI").to_string(), "https://api.example.com:443/v1/chat/completions?a=b");
    }
    let literal = check_url("http://[FD00::1]:8000", &private()).expect("a good URL");
    assert_eq!(literal.canonical(), "http://[fd00::1]:8000");
    assert_eq!(literal.literal(), "[fd00::1]:8000".parse().ok());
    assert_eq!(literal.uri("@evil.example/").expect("a URI").to_string(), "http://[fd00::1]:8000/@evil.example/");
}
