//! The golden cases, at the level of the dialect.

use proptest::prelude::*;

use super::cases::{self, Body, Case};
use super::*;

fn prepared(case: &Case) -> Result<Prepared, Refused> {
    let beta = case.openai_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("anthropic-beta"));
    ask_with(&Asking { beta: beta.and_then(|(_, value)| value.as_str()), ..Asking::default() }, &case.openai_request)
}

#[test]
fn every_request_goes_upstream_as_its_case_says() {
    for case in cases::load() {
        let result = prepared(&case);
        let Some(expected) = &case.anthropic_request else {
            let refused = result.err().unwrap_or_else(|| panic!("{}: was not refused", case.file));
            assert_eq!(case.expected.status, 400, "{}", case.file);
            let body = json!({"error": {"message": refused.message, "type": "invalid_request_error", "param": refused.param, "code": refused.code}});
            case.compare_body(&body).unwrap_or_else(|difference| panic!("{}: {difference}", case.file));
            continue;
        };
        let (headers, body, _) = parts(&result.unwrap_or_else(|refused| panic!("{}: {refused:?}", case.file)));
        cases::difference("request", expected, &body, "").unwrap_or_else(|difference| panic!("{}: {difference}", case.file));
        for name in ["anthropic-version", "anthropic-beta"] {
            let sent = headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
            assert_eq!(sent, case.upstream_header(name), "{}: {name}", case.file);
        }
    }
}

#[test]
fn every_whole_answer_is_the_one_its_case_expects() {
    for case in cases::load() {
        let Some(cases::Answer { status, body: Body::Whole(body), .. }) = &case.upstream else { continue };
        let result = if *status < 300 {
            prepared(&case).unwrap().reader.whole(Bytes::from(body.clone()))
        } else {
            Err(Anthropic.failure(*status, body.as_bytes()))
        };
        let (status, body) = match result {
            Ok(body) => (200, body),
            Err(failure) => (failure.status, failure.body),
        };
        assert_eq!(status, case.expected.status, "{}", case.file);
        let body = serde_json::from_slice(&body).unwrap();
        case.compare_body(&body).unwrap_or_else(|difference| panic!("{}: {difference}", case.file));
    }
}

/// The cases that are streams, each with its text and with the same text whose lines end in CRLF.
fn streams() -> Vec<(Case, String)> {
    let mut streams = Vec::new();
    for case in cases::load() {
        if let Some(cases::Answer { body: Body::Stream(text), .. }) = &case.upstream {
            let lines = text.replace("\r\n", "\n");
            for text in [text.clone(), lines.replace('\n', "\r\n"), lines.replace('\n', "\r"), lines] {
                streams.push((case.clone(), text));
            }
        }
    }
    streams
}

#[track_caller]
fn check(case: &Case, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>, how: &str) {
    let (text, flow, _) = stream(prepared(case).unwrap().reader, pieces);
    if let (Flow::Failed(failure), true) = (&flow, text.is_empty()) {
        assert_eq!(failure.status, case.expected.status, "{} {how}", case.file);
        case.compare_body(&body_of(failure)).unwrap_or_else(|difference| panic!("{} {how}: {difference}", case.file));
        return;
    }
    case.compare_stream(&text).unwrap_or_else(|difference| panic!("{} {how}: {difference}", case.file));
}

#[test]
fn every_stream_gives_the_chunks_its_case_expects() {
    for (case, text) in streams() {
        check(&case, [&text], "whole");
        check(&case, text.as_bytes().chunks(1), "byte by byte");
    }
}

#[test]
fn a_stream_cut_in_two_anywhere_gives_the_same_chunks() {
    for (case, text) in streams() {
        for at in 0..text.len().min(2048) {
            let (first, second) = text.as_bytes().split_at(at);
            check(&case, [first, second], "cut in two");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_stream_cut_anywhere_gives_the_same_chunks(lengths in proptest::collection::vec(1_usize..200, 1..64)) {
        for (case, text) in streams() {
            let (mut rest, mut lengths, mut pieces) = (text.as_bytes(), lengths.iter().cycle(), Vec::new());
            while let (false, Some(length)) = (rest.is_empty(), lengths.next()) {
                let (piece, after) = rest.split_at((*length).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            check(&case, pieces, "cut at random");
        }
    }
}
