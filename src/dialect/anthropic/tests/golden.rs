//! Golden cases of the dialect.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::cases::{self, Body, Case};
use super::*;

fn prepared(case: &Case) -> Result<Prepared, Refused> {
    let beta = case.openai_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("anthropic-beta"));
    ask_with(&Asking { beta: beta.and_then(|(_, value)| value.as_str()), ..Asking::default() }, &case.openai_request)
}

#[test]
fn every_request_is_translated_as_its_case_expects() {
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
            Err(failure) => {
                let answer = Chat.failure(failure, "req_1");
                (answer.status, answer.body)
            }
        };
        assert_eq!(status, case.expected.status, "{}", case.file);
        let body = serde_json::from_slice(&body).unwrap();
        case.compare_body(&body).unwrap_or_else(|difference| panic!("{}: {difference}", case.file));
    }
}

/// Cases with streams, each as recorded and with lines that end in CRLF, CR and LF.
static STREAMS: LazyLock<Vec<(Case, String)>> = LazyLock::new(|| {
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
});

/// Translates the stream of a case, split into these pieces.
fn translated(case: &Case, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (String, Flow, Observed) {
    stream(prepared(case).unwrap().reader, pieces)
}

#[test]
fn every_stream_gives_the_chunks_its_case_expects() {
    for (case, text) in &*STREAMS {
        let (chunks, flow, _) = translated(case, [&text]);
        let compared = match &flow {
            Flow::Failed(failure) if chunks.is_empty() => {
                assert_eq!(failure.status, case.expected.status, "{}", case.file);
                case.compare_body(&body_of(failure))
            }
            _ => case.compare_stream(&chunks),
        };
        compared.unwrap_or_else(|difference| panic!("{}: {difference}", case.file));
    }
}

#[test]
fn a_stream_cut_anywhere_or_everywhere_gives_the_same_chunks() {
    for (case, text) in &*STREAMS {
        let whole = translated(case, [&text]);
        assert_eq!(translated(case, text.as_bytes().chunks(1)), whole, "{} byte by byte", case.file);
        for at in 1..text.len().min(2048) {
            let (first, second) = text.as_bytes().split_at(at);
            assert_eq!(translated(case, [first, second]), whole, "{} cut at {at}", case.file);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_stream_cut_at_random_gives_the_same_chunks(lengths in proptest::collection::vec(1_usize..200, 1..48)) {
        for (case, text) in &*STREAMS {
            let (mut rest, mut lengths, mut pieces) = (text.as_bytes(), lengths.iter().cycle(), Vec::new());
            while let (false, Some(length)) = (rest.is_empty(), lengths.next()) {
                let (piece, after) = rest.split_at((*length).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(translated(case, pieces), translated(case, [text]), "{}", &case.file);
        }
    }
}
