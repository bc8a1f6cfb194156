//! The five arms of the pump's `select!` and its other ends, under a paused clock: the client's
//! last frame, the time at which the stream ended, and one settled entry.

use std::collections::VecDeque;

use actix_web::rt;
use rt::task::JoinHandle;
use tokio::time::{pause, resume};

use super::*;
use crate::dialect::openai::OpenAi;
use crate::dialect::reader::Observed;
use crate::gateway::fixture::{LONG, Policies, TestGateway, TestProvider, job};
use crate::ledger::entry::{Entry, Outcome};

/// Passes each piece on as a frame. The pieces `done`, `fail` and `panic` do what they say.
#[derive(Default)]
struct TestReader {
    held: usize,
    output_bytes: u64,
}

impl Reader for TestReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(body)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        match &piece[..] {
            b"done" => Flow::Done,
            b"fail" => Flow::Failed(Failure::interrupted("reported by the upstream")),
            b"panic" => panic!("panic on request"),
            b"hold" => {
                self.held = usize::MAX / 2;
                Flow::Flowing
            }
            _ => {
                self.output_bytes += piece.len() as u64;
                out.push(piece);
                Flow::Flowing
            }
        }
    }

    fn end(&mut self, _: &mut Vec<Bytes>) -> Flow {
        Flow::Flowing
    }

    fn held(&self) -> usize {
        self.held
    }

    fn observed(&self) -> Observed {
        Observed { output_bytes: self.output_bytes, ..Observed::default() }
    }
}

/// A pump at work, and its client.
struct Running {
    gateway: TestGateway,
    job: Arc<Job>,
    client: mpsc::Receiver<StreamFrame>,
    pump: JoinHandle<()>,
    started_at: Instant,
}

/// Starts a pump of events whose first frame is `first`, and whose upstream sends each piece after
/// its delay.
fn running(pieces: &[(Duration, &'static str)]) -> Running {
    running_in(AnswerFormat::Events, pieces)
}

fn running_in(format: AnswerFormat, pieces: &[(Duration, &'static str)]) -> Running {
    let provider = |name| TestProvider { name, dialect: &OpenAi, base_url: "http://127.0.0.1:1".to_owned() };
    let gateway = TestGateway::start(&[provider("alpha"), provider("beta")], Policies::default());
    let job = Arc::new(job("pair", 0, true));
    let offer = Arc::clone(&gateway.pair[0]);
    let record = RequestRecord::open(&gateway.state.journal, &job, &offer.model, &offer, None);
    let pieces: VecDeque<_> = pieces.iter().map(|(delay, piece)| (*delay, Bytes::from_static(piece.as_bytes()))).collect();
    let pump = Pump {
        job: Arc::clone(&job),
        offer,
        record: Some(record),
        reader: Box::<TestReader>::default(),
        format,
        body: ResponseBody::Scripted(pieces),
        reservation: job.memory.reservation(),
        sent: None,
    };
    pause();
    let (sender, client) = mpsc::channel(FRAMES);
    let started_at = Instant::now();
    let pump = rt::spawn(pump.run(sender, Flow::Flowing, vec![Bytes::from_static(b"first")]));
    Running { gateway, job, client, pump, started_at }
}

impl Running {
    /// Reads to the end of the stream; returns its frames and the time until then.
    async fn frames(&mut self) -> (Vec<String>, Duration) {
        let mut frames = Vec::new();
        while let Some(frame) = self.client.recv().await {
            frames.push(frame.map_or_else(|aborted| aborted.to_string(), |frame| String::from_utf8(frame.to_vec()).unwrap()));
        }
        // tokio rounds each timer up to the next millisecond.
        (frames, Duration::from_secs(self.started_at.elapsed().as_secs()))
    }

    /// The request's one entry, once the pump has ended.
    async fn entry(self) -> Entry {
        let _ = self.pump.await;
        resume();
        self.gateway.entries().await.remove("pair-0").unwrap()
    }
}

fn ended(entry: &Entry) -> (Outcome, u16, Option<&str>) {
    (entry.outcome, entry.status, entry.error_code.as_deref())
}

const INTERRUPTED: (Outcome, u16, Option<&str>) = (Outcome::Interrupted, 200, Some("upstream_interrupted"));
const NEVER: Duration = Duration::from_secs(1 << 20);

/// Checks that the stream ends after `expected` with an error frame that says `reason`.
async fn assert_broken(mut running: Running, expected: Duration, reason: &str) {
    let (frames, elapsed) = running.frames().await;
    let last = frames.last().unwrap();
    assert!(last.contains(reason) && last.contains("upstream_interrupted"), "{frames:?}");
    assert_eq!((frames[0].as_str(), elapsed), ("first", expected));
    assert_eq!(ended(&running.entry().await), INTERRUPTED);
}

#[actix_web::test]
async fn opaque_bytes_that_break_off_are_aborted_without_an_error_frame() {
    for broken in ["fail", "panic", "hold"] {
        let mut running = running_in(AnswerFormat::Opaque, &[(Duration::ZERO, "one"), (Duration::ZERO, broken)]);
        let (frames, _) = running.frames().await;
        assert_eq!(frames, ["first", "one", "the answer broke off"], "{broken}");
        assert_eq!(ended(&running.entry().await), INTERRUPTED);
    }
}

#[actix_web::test]
async fn pieces_pass_as_they_arrive_until_the_terminal_event() {
    let second = Duration::from_secs(1);
    let mut running = running(&[(second, "one"), (Duration::ZERO, "two"), (second * 2, "done")]);
    let (frames, elapsed) = running.frames().await;
    assert_eq!((frames.join("|").as_str(), elapsed), ("first|one|two", second * 3));
    let entry = running.entry().await;
    assert_eq!(ended(&entry), (Outcome::Ok, 200, None));
    assert!(entry.usage.completion_tokens > 0);
}

#[actix_web::test]
async fn a_silent_upstream_ends_the_stream_after_the_idle_timeout() {
    let running = running(&[(LONG / 2, "one"), (NEVER, "late")]);
    assert_broken(running, LONG / 2 + LONG, "stopped sending").await;
}

#[actix_web::test]
async fn an_upstream_that_never_finishes_is_ended_by_the_total_timeout() {
    let running = running(&[(LONG * 3 / 4, "slow"); 10]);
    assert_broken(running, LONG * 3, "stopped sending").await;
}

#[actix_web::test]
async fn an_upstream_that_breaks_off_ends_the_stream() {
    assert_broken(running(&[(LONG / 2, "one")]), LONG / 2, "ended the stream too early").await;
}

#[actix_web::test]
async fn an_error_event_is_the_last_frame() {
    assert_broken(running(&[(LONG / 2, "fail"), (Duration::ZERO, "more")]), LONG / 2, "reported by the upstream").await;
}

#[actix_web::test]
async fn a_client_that_closes_ends_the_stream_at_once() {
    let mut running = running(&[(NEVER, "late")]);
    assert_eq!(running.client.recv().await.unwrap().unwrap(), "first");
    drop(std::mem::replace(&mut running.client, mpsc::channel(1).1));
    let started_at = running.started_at;
    let entry = running.entry().await;
    assert!(started_at.elapsed() < LONG);
    assert_eq!(ended(&entry), (Outcome::ClientClosed, 200, Some("client_closed")));
}

#[actix_web::test]
async fn a_client_that_closes_while_frames_wait_ends_the_stream() {
    let mut running = running(&[(Duration::ZERO, "frame"); FRAMES * 2]);
    tokio::time::sleep(LONG / 2).await;
    drop(std::mem::replace(&mut running.client, mpsc::channel(1).1));
    assert_eq!(ended(&running.entry().await), (Outcome::ClientClosed, 200, Some("client_closed")));
}

#[actix_web::test]
async fn a_client_that_does_not_read_ends_the_stream_after_the_write_timeout() {
    let mut running = running(&[(Duration::ZERO, "frame"); FRAMES * 2]);
    tokio::time::sleep(LONG + Duration::from_millis(1)).await;
    let (frames, _) = running.frames().await;
    assert_eq!((frames.len(), frames.last().unwrap().as_str()), (FRAMES, "frame"), "no error frame");
    assert_eq!(ended(&running.entry().await), (Outcome::ClientClosed, 200, Some("client_stalled")));
}

const REVOKED: (Outcome, u16, Option<&str>) = (Outcome::Interrupted, 200, Some("key_revoked"));

#[actix_web::test]
async fn a_revoked_key_ends_the_stream_at_the_next_poll() {
    let mut running = running(&[(NEVER, "late")]);
    tokio::time::sleep(REVOCATION_POLL * 5 / 2).await;
    running.job.caller.validity.revoke();
    let (frames, elapsed) = running.frames().await;
    assert!(frames.last().unwrap().contains("revoked"), "{frames:?}");
    assert_eq!(elapsed, REVOCATION_POLL * 3);
    assert_eq!(ended(&running.entry().await), REVOKED);
}

#[actix_web::test]
async fn a_revoked_key_ends_a_stream_whose_client_does_not_read() {
    let mut running = running(&[(Duration::ZERO, "frame"); FRAMES * 2]);
    tokio::time::sleep(REVOCATION_POLL / 2).await;
    running.job.caller.validity.revoke();
    tokio::time::sleep(REVOCATION_POLL).await;
    let (frames, _) = running.frames().await;
    assert!(frames.last().unwrap().contains("revoked"), "{frames:?}");
    assert_eq!(ended(&running.entry().await), REVOKED);
}

#[actix_web::test]
async fn a_shutdown_ends_the_stream_with_an_error_frame() {
    let running = running(&[(NEVER, "late")]);
    tokio::time::sleep(LONG / 2).await;
    running.job.stopping.cancel();
    assert_broken(running, LONG / 2, "the gateway stopped").await;
}

#[actix_web::test]
async fn a_reader_that_panics_ends_the_stream_with_an_error_frame() {
    assert_broken(running(&[(LONG / 2, "panic")]), LONG / 2, "the gateway failed").await;
}

#[actix_web::test]
async fn an_event_too_large_for_the_memory_ends_the_stream() {
    assert_broken(running(&[(LONG / 2, "hold")]), LONG / 2, "no memory left").await;
}

#[actix_web::test]
async fn a_pump_that_is_dropped_settles_its_entry_too() {
    let mut running = running(&[(NEVER, "late")]);
    assert_eq!(running.client.recv().await.unwrap().unwrap(), "first");
    running.pump.abort();
    assert_eq!(ended(&running.entry().await), INTERRUPTED);
}
