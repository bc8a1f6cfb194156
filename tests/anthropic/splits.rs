//! Streams of the golden cases, split anywhere by the upstream: the client gets the same chunks.
//! Chunked framing keeps the pieces apart up to the translation.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{TestProvider, shared_gateway};
use crate::support::cases::{self, Body, Case};
use crate::support::client::Connection;
use crate::support::upstream::Answer;

/// Number of bytes within which every boundary is tested.
const EVERYWHERE: usize = 2048;
/// Number of concurrent clients.
const CLIENTS: usize = 4;

/// Case with a stream, the text of its upstream, and a provider to run it on.
struct Streamed {
    case: Case,
    text: String,
    provider: TestProvider<'static>,
}

/// Returns the streams as recorded and with CRLF line ends.
fn streams(line_end: &str) -> Vec<Streamed> {
    let streamed = |case: Case| match &case.upstream {
        Some(cases::Answer { body: Body::Stream(text), .. }) => {
            let text = if line_end == "\r\n" { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text.clone() };
            Some(Streamed { text, provider: shared_gateway().provider(), case })
        }
        _ => None,
    };
    cases::load().into_iter().filter_map(streamed).collect()
}

/// Returns an answer that sends these pieces.
fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    pieces.into_iter().filter(|piece| !piece.is_empty()).fold(Answer::stream(), Answer::piece)
}

impl Streamed {
    /// Sends the case's request, over a kept connection if there is one, and compares the answer.
    fn run(&self, kept: &mut Option<Connection>) -> Result<(), String> {
        let connection = kept.take().unwrap_or_else(|| Connection::open(self.provider.shared.gateway.address));
        let (answer, connection) = self.provider.chat(&self.case.openai_request).send_over(connection);
        if answer.complete && answer.header("connection") != Some("close") {
            *kept = Some(connection);
        }
        if answer.status != 200 {
            return Err(format!("{}: {} {}", self.case.file, answer.status, answer.text()));
        }
        self.case.compare_stream(&answer.text()).map_err(|difference| format!("{}: {difference}", self.case.file))
    }
}

#[test]
fn a_stream_cut_at_any_one_byte_gives_the_same_chunks() {
    let streams = streams("");
    // The answers of a provider differ only in the split, so any request may get any of them.
    let mut turns = Vec::new();
    for streamed in &streams {
        let bytes = streamed.text.as_bytes();
        let boundaries = 1..bytes.len().min(EVERYWHERE);
        turns.extend(boundaries.clone().map(|_| streamed));
        streamed.provider.answers(boundaries.map(|at| cut([&bytes[..at], &bytes[at..]])));
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = None;
                while let Some(streamed) = turns.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(difference) = streamed.run(&mut connection) {
                        wrong.lock().unwrap().push(difference);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} went wrong, such as\n{}", wrong.len(), turns.len(), wrong[0]);
}

#[test]
fn a_stream_that_arrives_byte_by_byte_gives_the_same_chunks() {
    for line_end in ["", "\r\n"] {
        for streamed in streams(line_end) {
            streamed.provider.answers([cut(streamed.text.as_bytes().chunks(1))]);
            streamed.run(&mut None).unwrap();
        }
    }
}

#[test]
fn a_stream_cut_at_random_gives_the_same_chunks() {
    for line_end in ["", "\r\n"] {
        for streamed in streams(line_end) {
            let connection = RefCell::new(None);
            let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
            let result = runner.run(&proptest::collection::vec(1_usize..200, 1..12), |lengths| {
                let (mut rest, mut pieces) = (streamed.text.as_bytes(), Vec::new());
                for length in lengths.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (piece, after) = rest.split_at((*length).min(rest.len()));
                    pieces.push(piece);
                    rest = after;
                }
                streamed.provider.answers([cut(pieces)]);
                streamed.run(&mut connection.borrow_mut()).map_err(TestCaseError::fail)
            });
            result.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
