use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::guard::NetworkAccess;
use crate::guard::{Policy, SelfListen, Source, check_url};
use crate::seal::key::{BlobContent, Plaintext};

const KEY: &str = "sk-proj-0123456789abcdef";

fn destination(url: &str) -> Destination {
    let reach = NetworkAccess { allow_private: true, ..NetworkAccess::default() };
    let policy = Policy { source: Source::Operator(reach), self_listen: SelfListen::default() };
    Destination::from(&check_url(url, &policy).unwrap())
}

fn payload(urls: &[&str], presentation: Presentation) -> KeyPayload {
    KeyPayload::new(urls.iter().map(|url| destination(url)), presentation, Secret::new(KEY)).unwrap()
}

fn raw_header() -> Presentation {
    Presentation::Header(HeaderName::from_static("x-api-key"))
}

fn read(bytes: &[u8]) -> Option<KeyPayload> {
    KeyPayload::from_plaintext(&Plaintext::authentic(Zeroizing::new(bytes.to_vec())))
}

/// Pads to a multiple of 128.
fn padded(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(128), 0);
    bytes
}

#[test]
fn a_payload_has_the_specified_encoding() {
    let bearer = payload(&["https://api.openai.com/v1"], Presentation::Bearer);
    let expected = padded(&[b"\x01\x01\0\x1ahttps://api.openai.com:443\x01\0\0\0\x18sk-proj-0123456789abcdef"]);
    assert_eq!(*bearer.to_plaintext(), expected);
    let raw = payload(&["https://a.example", "http://10.0.0.7:8000"], raw_header());
    let expected =
        padded(&[b"\x01\x02\0\x15https://a.example:443\0\x14http://10.0.0.7:8000\x02\0\x09x-api-key\0\x18sk-proj-0123456789abcdef"]);
    assert_eq!(*raw.to_plaintext(), expected);
}

#[test]
fn a_payload_survives_a_round_trip() {
    for presentation in [Presentation::Bearer, raw_header()] {
        let written = payload(&["https://a.example", "https://b.example:8443/v1", "http://[fc00::1]:8000"], presentation.clone());
        let read = read(&written.to_plaintext()).unwrap();
        assert_eq!((read.destinations(), read.presentation()), (written.destinations(), &presentation));
        assert_eq!((read.secret.expose(), read.last4()), (KEY, "cdef"));
    }
}

#[test]
fn sizes_are_multiples_of_128() {
    let len = |secret: usize| {
        let secret = Secret::new("k".repeat(secret));
        KeyPayload::new([destination("https://a.example")], Presentation::Bearer, secret).unwrap().to_plaintext().len()
    };
    let fixed = 3 + 2 + 21 + 2 + 2;
    assert_eq!((len(1), len(128 - fixed), len(129 - fixed), len(MAX_SECRET)), (128, 128, 256, 8320));
}

#[test]
fn reserved_and_unknown_presentations_are_refused() {
    for auth in [0, 3, 4, 5, 255] {
        for header in [&b"\0\0"[..], b"\0\x09x-api-key"] {
            assert!(read(&padded(&[b"\x01\x01\0\x15https://a.example:443", &[auth], header, b"\0\x01k"])).is_none(), "{auth}");
        }
    }
}

#[test]
fn non_canonical_encodings_are_refused() {
    let origin = b"\0\x15https://a.example:443";
    let good = padded(&[b"\x01\x01", origin, b"\x01\0\0\0\x01k"]);
    assert!(read(&good).is_some());
    let refused: &[(&str, Vec<u8>)] = &[
        ("empty", Vec::new()),
        ("all zeros", vec![0; 128]),
        ("unknown layout", padded(&[b"\x02\x01", origin, b"\x01\0\0\0\x01k"])),
        ("no destination", padded(&[b"\x01\x00\x01\0\0\0\x01k"])),
        ("nine destinations", {
            let origins: Vec<_> = (0..9).flat_map(|at| format!("\0\x16https://a{at}.example:443").into_bytes()).collect();
            padded(&[b"\x01\x09", &origins, b"\x01\0\0\0\x01k"])
        }),
        ("a destination twice", padded(&[b"\x01\x02", origin, origin, b"\x01\0\0\0\x01k"])),
        ("a count over what follows", padded(&[b"\x01\x02", origin, b"\x01\0\0\0\x01k"])),
        ("bearer with a header", padded(&[b"\x01\x01", origin, b"\x01\0\x01x\0\x01k"])),
        ("raw header without one", padded(&[b"\x01\x01", origin, b"\x02\0\0\0\x01k"])),
        ("header in capitals", padded(&[b"\x01\x01", origin, b"\x02\0\x01X\0\x01k"])),
        ("header with a blank", padded(&[b"\x01\x01", origin, b"\x02\0\x02x \0\x01k"])),
        ("no secret", padded(&[b"\x01\x01", origin, b"\x01\0\0\0\0"])),
        ("secret with a line feed", padded(&[b"\x01\x01", origin, b"\x01\0\0\0\x02k\n"])),
        ("secret not UTF-8", padded(&[b"\x01\x01", origin, b"\x01\0\0\0\x01\xff"])),
        ("something behind", padded(&[b"\x01\x01", origin, b"\x01\0\0\0\x01k\0\0\x01"])),
        ("a needless block", [good.clone(), vec![0; 128]].concat()),
        ("unpadded", good[..40].to_vec()),
        ("length over the end", padded(&[b"\x01\x01", origin, b"\x01\0\0\xff\xffk"])),
    ];
    for (what, bytes) in refused {
        assert!(read(bytes).is_none(), "{what}");
    }
}

#[test]
fn only_canonical_destinations_are_accepted() {
    for good in ["https://a.example:443", "http://10.0.0.7:8000", "https://[2a00::1]:443"] {
        assert_eq!(Destination::parse(good).unwrap().as_str(), good);
        assert_eq!(destination(good).as_str(), good);
    }
    for bad in [
        "https://a.example",
        "https://a.example:",
        "https://a.example:0443",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:443/",
        "https://A.example:443",
        "HTTPS://a.example:443",
        "ftp://a.example:443",
        "https://:443",
        "https://u@a.example:443",
        "https://a:b:443",
        "https://a .example:443",
        "https://a.example:+443",
        "",
    ] {
        assert!(Destination::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn p6_the_key_goes_only_to_its_sealed_destinations() {
    let sealed = payload(&["https://api.example/v1", "https://eu.api.example"], Presentation::Bearer);
    for url in ["https://api.example", "https://API.example:443/other/path", "https://eu.api.example/v2"] {
        assert!(sealed.header_for(&destination(url)).is_ok(), "{url}");
    }
    for url in [
        "http://api.example",
        "http://api.example:443",
        "https://api.example:8443",
        "https://api.example.evil.example",
        "https://evil-api.example",
        "https://xapi.example",
        "https://us.api.example",
        "https://10.0.0.1",
    ] {
        assert_eq!(sealed.header_for(&destination(url)).unwrap_err(), Misdirected, "{url}");
    }
}

#[test]
fn the_header_is_as_configured_and_marked_sensitive() {
    let at = destination("https://a.example");
    let (name, value) = payload(&["https://a.example"], Presentation::Bearer).header_for(&at).unwrap();
    assert_eq!((name.as_str(), value.as_bytes()), ("authorization", format!("Bearer {KEY}").as_bytes()));
    assert!(value.is_sensitive());
    let (name, value) = payload(&["https://a.example"], raw_header()).header_for(&at).unwrap();
    assert_eq!((name.as_str(), value.as_bytes(), value.is_sensitive()), ("x-api-key", KEY.as_bytes(), true));
}

#[test]
fn a_redirected_key_drops_its_old_destinations() {
    let moved = payload(&["https://old.example"], Presentation::Bearer).redirected([destination("https://new.example")]).unwrap();
    assert!(moved.header_for(&destination("https://new.example")).is_ok());
    assert_eq!(moved.header_for(&destination("https://old.example")).unwrap_err(), Misdirected);
}

#[test]
fn invalid_payloads_are_refused_with_a_reason() {
    let at = || destination("https://a.example");
    let sealed = |destinations: Vec<Destination>, secret: &str| {
        KeyPayload::new(destinations, Presentation::Bearer, Secret::new(secret)).map(|payload| payload.destinations().len())
    };
    let many = |count: usize| (0..count).map(|at| destination(&format!("https://a{at}.example"))).collect::<Vec<_>>();
    assert_eq!(sealed(vec![], KEY), Err(BadPayload::Destinations));
    assert_eq!(sealed(many(8), KEY), Ok(8));
    assert_eq!(sealed(many(9), KEY), Err(BadPayload::Destinations));
    assert_eq!(sealed(vec![at(); 9], KEY), Ok(1));
    for secret in ["", " ", " k", "k ", "k\n", "ключ", "k\0", &"k".repeat(MAX_SECRET + 1)] {
        assert_eq!(sealed(vec![at()], secret), Err(BadPayload::Secret), "{secret:?}");
    }
}

#[test]
fn p3_a_payload_prints_no_key() {
    let payload = payload(&["https://a.example"], raw_header());
    let (_, header) = payload.header_for(&destination("https://a.example")).unwrap();
    for printed in [format!("{payload:?}"), format!("{payload:#?}"), format!("{header:?}")] {
        assert!(!printed.contains("sk-proj") && !printed.contains("cdef"), "{printed}");
    }
}

proptest! {
    #[test]
    fn decoding_never_panics_and_accepts_only_encoder_output(mut bytes in prop::collection::vec(any::<u8>(), 0..300), good in any::<bool>(), at in 0usize..128, to in any::<u8>()) {
        if good {
            bytes = payload(&["https://a.example"], raw_header()).to_plaintext().to_vec();
            bytes[at] = to;
        }
        if let Some(payload) = KeyPayload::from_plaintext(&Plaintext::authentic(Zeroizing::new(bytes.clone()))) {
            prop_assert_eq!(&*payload.to_plaintext(), &bytes);
        }
    }
}

/// Bytes that record when they are dropped.
struct Watched(&'static [u8], Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn p9_the_header_value_shares_the_owners_bytes_and_is_wiped_with_its_last_clone() {
    let dropped = Arc::default();
    let bytes = b"Bearer sk-canary";
    let value = held_by(Watched(bytes, Arc::clone(&dropped))).unwrap();
    let is_dropped = || dropped.load(Ordering::SeqCst);
    assert_eq!(value.as_bytes().as_ptr(), bytes.as_ptr(), "no copy");
    let clone = value.clone();
    drop(value);
    assert_eq!((clone.as_bytes().as_ptr(), is_dropped()), (bytes.as_ptr(), false));
    drop(clone);
    assert!(is_dropped());
}
