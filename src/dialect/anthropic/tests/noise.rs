//! Malformed streams: for any bytes in any pieces, the translation neither panics nor grows, and
//! the client's stream is valid.
//!
//! `AIGW_FUZZ_SECONDS` sets the duration of [`noise_never_breaks_a_stream`]. Add its findings to
//! the corpus.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// Seeds: small streams, each of another kind.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/anthropic-stream");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let streams: Vec<Vec<u8>> = files.collect();
    assert!(!streams.is_empty(), "the corpus is empty");
    streams
}

/// Mutation of a stream. Positions are fractions of its length.
#[derive(Clone, Debug)]
enum Noise {
    Flip(f64, u8),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Repeat(f64, usize),
    Cut(f64),
    Splice(f64, usize),
}

fn mutation() -> impl Strategy<Value = Noise> {
    let tokens = prop_oneof![
        Just(b"\n\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"data: ".to_vec()),
        Just(b"event: error\n".to_vec()),
        Just(b"null".to_vec()),
        Just(b"\"type\":\"tool_use\"".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"18446744073709551616".to_vec()),
        Just(b"\\ud800".to_vec()),
        Just(b"{\"a\":[".to_vec()),
        Just("é\u{1f680}\u{feff}".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 1..8),
    ];
    prop_oneof![
        (0.0..1.0, any::<u8>()).prop_map(|(at, byte)| Noise::Flip(at, byte)),
        (0.0..1.0, tokens).prop_map(|(at, bytes)| Noise::Insert(at, bytes)),
        (0.0..1.0, 1_usize..64).prop_map(|(at, length)| Noise::Remove(at, length)),
        (0.0..1.0, 1_usize..512).prop_map(|(at, length)| Noise::Repeat(at, length)),
        (0.0..1.0).prop_map(Noise::Cut),
        (0.0..1.0, any::<usize>()).prop_map(|(at, other)| Noise::Splice(at, other)),
    ]
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "places are rough")]
fn place(at: f64, length: usize) -> usize {
    ((at * length as f64) as usize).min(length)
}

fn mutated(mut bytes: Vec<u8>, mutations: &[Noise], corpus: &[Vec<u8>]) -> Vec<u8> {
    for mutation in mutations {
        let length = bytes.len();
        match mutation {
            Noise::Flip(at, mask) => {
                if let Some(byte) = bytes.get_mut(place(*at, length)) {
                    *byte ^= mask;
                }
            }
            Noise::Insert(at, new) => {
                let at = place(*at, length);
                bytes.splice(at..at, new.iter().copied());
            }
            Noise::Remove(at, few) => {
                let at = place(*at, length);
                bytes.drain(at..(at + few).min(length));
            }
            Noise::Repeat(at, few) => {
                let at = place(*at, length);
                let again = bytes[at..(at + few).min(length)].to_vec();
                bytes.splice(at..at, again);
            }
            Noise::Cut(at) => bytes.truncate(place(*at, length)),
            Noise::Splice(at, other) => {
                let other = &corpus[other % corpus.len()];
                bytes.truncate(place(*at, length));
                bytes.extend_from_slice(&other[place(*at, other.len())..]);
            }
        }
    }
    bytes
}

/// Splits `bytes` into pieces of these lengths, repeated.
fn pieces<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Translates `bytes` and checks the output.
fn survives(bytes: &[u8], lengths: &[usize], members: &Value) -> Result<(), TestCaseError> {
    let reader = || ask(&with("claude-3-5-haiku-latest", members.clone())).unwrap().reader;
    let (text, flow, observed) = stream(reader(), pieces(bytes, lengths));
    prop_assert!(matches!(flow, Flow::Done | Flow::Failed(_)), "{flow:?}");
    let chunks = cases::payloads(&text).map_err(TestCaseError::fail)?;
    for (nth, chunk) in chunks.iter().enumerate() {
        let is_last = nth + 1 == chunks.len();
        prop_assert_eq!(chunk == "[DONE]", is_last && flow == Flow::Done, "{}", chunk);
        prop_assert_eq!(chunk.get("error").is_some(), is_last && flow != Flow::Done, "{}", chunk);
        if chunk.is_object() && chunk.get("error").is_none() {
            prop_assert_eq!(&chunk["object"], "chat.completion.chunk");
            prop_assert_eq!(chunk["choices"][0]["delta"].get("role").is_some(), nth == 0, "{}", chunk);
            prop_assert!(chunk["id"].is_string() && chunk["model"].is_string() && chunk["created"].is_u64());
        }
    }
    prop_assert!(observed.output_bytes <= bytes.len() as u64 + 2, "more came out than went in");
    prop_assert!(text.len() <= (bytes.len() + 2) * 64 + 4096, "the answer has grown out of proportion");
    let whole = stream(reader(), [bytes]);
    prop_assert_eq!((text, flow, observed), whole, "the pieces changed the answer");
    Ok(())
}

fn members() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"stream": true})),
        Just(json!({"stream": true, "stream_options": {"include_usage": true}})),
        Just(json!({"stream": true, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}})),
    ]
}

#[test]
fn the_corpus_never_breaks_a_stream() {
    for bytes in corpus() {
        for members in [json!({"stream": true}), json!({"stream": true, "stream_options": {"include_usage": true}})] {
            survives(&bytes, &[1], &members).unwrap();
            survives(&bytes, &[7, 1, 30], &members).unwrap();
        }
    }
}

#[test]
fn noise_never_breaks_a_stream() {
    let corpus = corpus();
    let seconds = std::env::var("AIGW_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse::<u64>().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let noise = (
        any::<usize>(),
        proptest::collection::vec(mutation(), 0..12),
        proptest::collection::vec(1_usize..64, 1..8),
        members(),
        proptest::option::weighted(0.1, proptest::collection::vec(any::<u8>(), 0..512)),
    );
    loop {
        let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
        let result = runner.run(&noise, |(seed, mutations, lengths, members, anything)| {
            let bytes = anything.unwrap_or_else(|| mutated(corpus[seed % corpus.len()].clone(), &mutations, &corpus));
            survives(&bytes, &lengths, &members)
                .map_err(|error| TestCaseError::fail(format!("{error}\nin {:?}", String::from_utf8_lossy(&bytes))))
        });
        if let Err(error) = result {
            panic!("{error}");
        }
        if end.is_none_or(|end| Instant::now() >= end) {
            return;
        }
    }
}
