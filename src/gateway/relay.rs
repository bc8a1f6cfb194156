//! From an upstream's head to the client: whole answers at once, streams frame by frame as they come.
//!
//! Of a stream nothing is relayed until its first event is in, so that until then another provider may still answer. After
//! that a pump owns upstream, channel and settlement; it never holds more than the frames of one upstream read.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use actix_web::rt;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::select;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::headers::ResponseHeaders;
use super::messages::{Body, Job, Reply, RouteInfo};
use super::metering::{self, Extent};
use super::redact::Redactor;
use crate::catalog::provider::Offer;
use crate::deadline::timeout_lazy;
use crate::dialect::{Failure, Flow, Reader};
use crate::ledger::entry::Outcome;
use crate::ledger::settlement::Settlement;
use crate::memory::{MemoryExhausted, Reservation};
use crate::upstream::CallError;
use crate::upstream::body::Incoming;

/// Frames between pump and client; one frame is what one upstream read brought, or a part of it.
const FRAMES: usize = 16;
/// How long to wait for the end of a body whose last event has come: read to its end, a connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a stream revocation_poll whether its key has been revoked: with what it takes to learn of that, within two seconds.
const REVOCATION_POLL: Duration = Duration::from_secs(1);

/// An answer with a good head, on its way.
pub struct Relay<'a> {
    /// The request.
    pub job: &'a Arc<Job>,
    /// The offer taken up.
    pub offer: &'a Arc<Offer>,
    /// The entry in the making.
    pub settlement: &'a Settlement,
    /// What passes of the head.
    pub response_headers: ResponseHeaders,
    /// Parameters dropped on the way there.
    pub dropped: Vec<&'static str>,
    /// Reads the body.
    pub reader: Box<dyn Reader>,
    /// Until when the first event has to be in.
    pub deadline: Instant,
    /// The credential the call was made with.
    pub sent: Option<&'a HeaderValue>,
}

/// Why an answer with a good head came to nothing.
pub enum Broken {
    /// The body did not come.
    Call(CallError),
    /// The body says that it failed, or makes no sense.
    Said(Failure),
}

/// How a stream ended, after its first event.
enum StreamEnd {
    Complete,
    Broken(Failure),
    ClientGone(&'static str),
    /// The virtual key does not count any more.
    Revoked,
}

/// A stream being relayed.
struct Pump {
    job: Arc<Job>,
    offer: Arc<Offer>,
    settlement: Option<Settlement>,
    reader: Box<dyn Reader>,
    body: Incoming,
    reservation: Reservation,
    /// The credential the call was made with: it is kept out of what is said of a failure.
    sent: Option<HeaderValue>,
}

impl Relay<'_> {
    /// Reads the whole answer, meters it, and gives it for the client.
    pub async fn whole(mut self, status: u16, body: Incoming) -> Result<Reply, Broken> {
        let retry = &self.offer.provider.retry;
        let mut reservation = self.job.memory.reservation();
        let body = {
            let reading = pin!(body.whole(self.job.limits.max_body, retry.idle_timeout, &mut reservation));
            timeout_lazy(retry.total_timeout, reading).await.unwrap_or(Err(CallError::TIMED_OUT)).map_err(Broken::Call)?
        };
        let body = reservation.attach(self.reader.whole(body).map_err(Broken::Said)?);
        settle(self.settlement, self.job, self.offer, self.reader.as_ref(), Extent::Complete, |entry| {
            (entry.status, entry.outcome) = (status, Outcome::Ok);
        });
        let cost = self.settlement.with(|entry| entry.cost);
        let mut reply = reply(self.job, self.offer, status, self.response_headers, self.dropped, Body::Whole(body));
        reply.route.cost = Some(cost);
        Ok(reply)
    }

    /// Waits for the first event, then hands the stream to a pump.
    pub async fn stream(mut self, mut body: Incoming) -> Result<Reply, Broken> {
        let mut frames = Vec::new();
        let mut reservation = self.job.memory.reservation();
        let flow = loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let flow = match body.next(left).await.map_err(Broken::Call)? {
                Some(piece) => self.reader.push(piece, &mut frames),
                None => match self.reader.end(&mut frames) {
                    Flow::Opening => Flow::Failed(Failure::interrupted("the upstream ended the stream before its first event")),
                    flow => flow,
                },
            };
            match flow {
                Flow::Opening if size(&frames) > self.job.limits.max_event => {
                    return Err(Broken::Said(Failure::interrupted("the upstream sent too much before its first event")));
                }
                Flow::Opening => {
                    hold(&mut reservation, self.reader.as_ref(), &frames, self.job).map_err(|_| Broken::Call(CallError::NO_ROOM))?
                }
                Flow::Failed(failure) if frames.is_empty() => return Err(Broken::Said(failure)),
                flow => break flow,
            }
        };
        let waited = self.job.received.elapsed();
        self.settlement.with(|entry| entry.ttfb_ms = Some(millis(waited)));
        let (client, receiver) = mpsc::channel(FRAMES);
        let pump = Pump {
            job: Arc::clone(self.job),
            offer: Arc::clone(self.offer),
            settlement: Some(self.settlement.clone()),
            reader: self.reader,
            body,
            reservation,
            sent: self.sent.cloned(),
        };
        rt::spawn(pump.run(client, flow, frames));
        Ok(reply(self.job, self.offer, 200, self.response_headers, self.dropped, Body::Stream(receiver)))
    }
}

impl Pump {
    async fn run(mut self, client: mpsc::Sender<Bytes>, flow: Flow, mut frames: Vec<Bytes>) {
        // Whatever a reader may do to itself, its client is told.
        let relayed = AssertUnwindSafe(self.relay(&client, flow, &mut frames)).catch_unwind().await;
        let ending = relayed.unwrap_or_else(|_| StreamEnd::Broken(Failure::interrupted("the gateway failed in the middle of the stream")));
        let is_complete = matches!(ending, StreamEnd::Complete);
        // Settled before the last frame leaves: who has seen the end of a stream finds its entry.
        if let Some(settlement) = self.settle(&ending) {
            settlement.close().await;
        }
        match &ending {
            StreamEnd::Broken(failure) => frames.push(Redactor::of(self.sent.as_ref()).body(failure.frame())),
            StreamEnd::Revoked => frames.push(Failure::interrupted("the virtual key has been revoked or has expired").frame()),
            StreamEnd::Complete | StreamEnd::ClientGone(_) => {}
        }
        // Nobody left to tell is no news: the entry is settled.
        let _ = self.send(&client, &mut frames).await;
        drop(client);
        if is_complete {
            let _ = timeout(DRAIN, async { while let Ok(Some(_)) = self.body.next(DRAIN).await {} }).await;
        }
    }

    /// Relays until the stream ends; leaves the last frames to be sent.
    async fn relay(&mut self, client: &mpsc::Sender<Bytes>, mut flow: Flow, frames: &mut Vec<Bytes>) -> StreamEnd {
        let idle = self.offer.provider.retry.idle_timeout;
        let until = Instant::now() + self.offer.provider.retry.total_timeout;
        let mut revocation_poll = interval(REVOCATION_POLL);
        // One of its own for each stream, so that looking at it is nobody else's lock.
        let stopping = self.job.stopping.child_token();
        let mut stopping = pin!(stopping.cancelled());
        let mut closed = pin!(client.closed());
        // Looked at again when it is due, not moved with each piece.
        let mut patience = pin!(sleep_until(until.min(Instant::now() + idle)));
        loop {
            match flow {
                Flow::Done => return StreamEnd::Complete,
                Flow::Failed(failure) => return StreamEnd::Broken(failure),
                Flow::Opening | Flow::Flowing => {}
            }
            if hold(&mut self.reservation, self.reader.as_ref(), frames, &self.job).is_err() {
                return StreamEnd::Broken(Failure::interrupted("the gateway has no memory left for this event"));
            }
            if let Err(gone) = self.send(client, frames).await {
                return gone;
            }
            let due = until.min(Instant::now() + idle);
            let mut next = pin!(self.body.piece());
            let piece = loop {
                select! {
                    biased;
                    _ = revocation_poll.tick() => if !key_is_active(&self.job) { return StreamEnd::Revoked },
                    piece = &mut next => break piece,
                    () = &mut closed => return StreamEnd::ClientGone("client_closed"),
                    () = &mut stopping => return StreamEnd::Broken(Failure::interrupted("the gateway stopped in the middle of the stream")),
                    () = &mut patience => {
                        if Instant::now() >= due {
                            break Err(CallError::TIMED_OUT);
                        }
                        patience.as_mut().reset(due);
                    }
                }
            };
            flow = match piece {
                Ok(Some(piece)) => self.reader.push(piece, frames),
                Err(error) if error == CallError::TIMED_OUT => {
                    Flow::Failed(Failure::interrupted("the upstream stopped sending in the middle of the stream"))
                }
                // A connection that breaks after the last event has lost nothing: the reader knows.
                Ok(None) | Err(_) => match self.reader.end(frames) {
                    Flow::Opening | Flow::Flowing => Flow::Failed(Failure::interrupted("the upstream ended the stream too early")),
                    flow => flow,
                },
            };
        }
    }

    async fn send(&self, client: &mpsc::Sender<Bytes>, frames: &mut Vec<Bytes>) -> Result<(), StreamEnd> {
        let most = self.job.limits.stream_buffer / FRAMES;
        join(frames, most);
        for mut frame in frames.drain(..) {
            while !frame.is_empty() {
                self.send_part(client, frame.split_to(frame.len().min(most))).await?;
            }
        }
        Ok(())
    }

    async fn send_part(&self, client: &mpsc::Sender<Bytes>, part: Bytes) -> Result<(), StreamEnd> {
        let part = match client.try_send(part) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(part)) => part,
            Err(TrySendError::Closed(_)) => return Err(StreamEnd::ClientGone("client_closed")),
        };
        let mut sending = pin!(timeout(self.job.write_timeout, client.send(part)));
        loop {
            match timeout(REVOCATION_POLL, &mut sending).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(_))) => return Err(StreamEnd::ClientGone("client_closed")),
                Ok(Err(_)) => return Err(StreamEnd::ClientGone("client_stalled")),
                Err(_) if !key_is_active(&self.job) => return Err(StreamEnd::Revoked),
                Err(_) => {}
            }
        }
    }

    /// Fills in the entry, unless that is done; letting go of what it gives writes it.
    fn settle(&mut self, ending: &StreamEnd) -> Option<Settlement> {
        let settlement = self.settlement.take()?;
        let extent = if matches!(ending, StreamEnd::Complete) { Extent::Complete } else { Extent::Partial };
        settle(&settlement, &self.job, &self.offer, self.reader.as_ref(), extent, |entry| {
            entry.status = 200;
            (entry.outcome, entry.error_code) = match ending {
                StreamEnd::Complete => (Outcome::Ok, None),
                StreamEnd::Broken(_) => (Outcome::Interrupted, Some("upstream_interrupted".into())),
                StreamEnd::Revoked => (Outcome::Interrupted, Some("key_revoked".into())),
                StreamEnd::ClientGone(code) => (Outcome::ClientClosed, Some((*code).into())),
            };
        });
        Some(settlement)
    }
}

impl Drop for Pump {
    /// A pump that is dropped under way (its worker has stopped, or it panicked) still meters what was seen.
    fn drop(&mut self) {
        drop(self.settle(&StreamEnd::Broken(Failure::interrupted("the gateway stopped"))));
    }
}

/// Whether the key that started the request still counts.
fn key_is_active(job: &Job) -> bool {
    let elapsed = i64::try_from(job.received.elapsed().as_millis()).unwrap_or(i64::MAX);
    job.caller.validity.is_valid_at(job.received_at.saturating_add(elapsed) / 1_000)
}

/// Fills in the entry of an answer that has begun; letting go of the settlement writes it.
fn settle(
    settlement: &Settlement,
    job: &Job,
    offer: &Offer,
    reader: &dyn Reader,
    extent: Extent,
    conclude: impl FnOnce(&mut crate::ledger::entry::Entry),
) {
    let elapsed = millis(job.received.elapsed());
    let observed = reader.observed();
    if observed.has_absurd_usage {
        let provider = &offer.provider.name;
        log::warn!("provider {provider} reported usage that cannot be for request {}; it is estimated", job.request_id);
    }
    settlement.with(|entry| {
        metering::meter(entry, offer, observed, extent, job.prompt_bytes);
        entry.error_code = None;
        entry.ttfb_ms.get_or_insert(elapsed);
        entry.latency_ms = elapsed;
        conclude(entry);
    });
}

/// A reply as `offer` gave it.
pub fn reply(job: &Job, offer: &Offer, status: u16, response_headers: ResponseHeaders, dropped: Vec<&'static str>, body: Body) -> Reply {
    let route = RouteInfo {
        provider: offer.provider.name.clone(),
        kind: offer.provider.kind.clone(),
        model: offer.model.clone(),
        attempts: 0,
        cost: None,
        dropped,
        upstream_request_id: None,
    };
    let fallback = if job.stream && status == 200 { "text/event-stream" } else { "application/json" };
    let content_type = if response_headers.content_type.is_empty() { fallback.into() } else { response_headers.content_type };
    Reply { status, content_type, headers: response_headers.headers, route, body }
}

/// Makes one of several frames, so that what one upstream read brought leaves in one write; unless that is a lot.
fn join(frames: &mut Vec<Bytes>, most: usize) {
    let sum = size(frames);
    if frames.len() < 2 || sum > most {
        return;
    }
    let mut whole = BytesMut::with_capacity(sum);
    for frame in frames.drain(..) {
        whole.extend_from_slice(&frame);
    }
    frames.push(whole.freeze());
}

/// Claims what a stream holds beyond the buffer that each may have.
fn hold(reservation: &mut Reservation, reader: &dyn Reader, frames: &[Bytes], job: &Job) -> Result<(), MemoryExhausted> {
    reservation.resize((reader.held() + size(frames)).saturating_sub(job.limits.stream_buffer))
}

fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
