//! The pump of one stream: moves frames from the upstream to the client until one of them, a
//! timeout, a revoked key or a shutdown ends it. It settles the ledger entry exactly once and never
//! holds more than the frames of one upstream read.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::select;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::catalog::provider::Offer;
use crate::dialect::call::AnswerFormat;
use crate::dialect::failure::Failure;
use crate::dialect::reader::{Flow, Reader};
use crate::gateway::job::Job;
use crate::gateway::messages::{Aborted, StreamFrame};
use crate::gateway::record::{RequestRecord, StreamEnd};
use crate::gateway::redact::Redactor;
use crate::memory::{MemoryExhausted, Reservation};
use crate::upstream::body::ResponseBody;
use crate::upstream::error::{Error, Stage};

/// Capacity of the channel between pump and client in frames. A frame is the output of one upstream
/// read, or a part of it.
pub const FRAMES: usize = 16;

/// Time to wait for the end of a body whose last event has arrived. A connection can be reused only
/// if its body was read to the end.
const DRAIN: Duration = Duration::from_secs(1);

/// Interval at which a stream checks whether its key was revoked. Together with the poll of the
/// change log it ends a stream within two seconds of the revocation.
const REVOCATION_POLL: Duration = Duration::from_secs(1);

/// A stream being relayed.
pub struct Pump {
    /// The request.
    pub job: Arc<Job>,
    /// The offer that answers.
    pub offer: Arc<Offer>,
    /// The request's ledger entry, `None` once it is filled in.
    pub record: Option<RequestRecord>,
    /// Reads the body.
    pub reader: Box<dyn Reader>,
    /// Format of the body.
    pub format: AnswerFormat,
    /// The upstream's body.
    pub body: ResponseBody,
    /// Memory for data held beyond the buffer that each stream may have.
    pub reservation: Reservation,
    /// The credential of the call, which is removed from the upstream's error messages.
    pub sent: Option<HeaderValue>,
}

impl Pump {
    /// Relays the stream to `client`, beginning with `frames` and the state `flow` after them, and
    /// fills in the entry.
    pub async fn run(mut self, client: mpsc::Sender<StreamFrame>, flow: Flow, mut frames: Vec<Bytes>) {
        // A reader that panics must not leave its client without a last frame.
        let relayed = AssertUnwindSafe(self.relay(&client, flow, &mut frames)).catch_unwind().await;
        let end = relayed.unwrap_or_else(|_| StreamEnd::Broken(Failure::interrupted("the gateway failed in the middle of the stream")));
        let is_complete = matches!(end, StreamEnd::Complete);
        // Settled before the last frame leaves: a client that has seen the end of a stream finds
        // its entry.
        if let Some(record) = self.settle(&end) {
            record.close().await;
        }
        let mut is_aborted = false;
        match &end {
            StreamEnd::Broken(_) | StreamEnd::KeyRevoked if self.format == AnswerFormat::Opaque => is_aborted = true,
            StreamEnd::Broken(failure) => frames.push(Redactor::of(self.sent.as_ref()).body(self.last_frame(failure))),
            StreamEnd::KeyRevoked => {
                frames.push(self.last_frame(&Failure::interrupted("the virtual key was revoked or has expired")));
            }
            StreamEnd::Complete | StreamEnd::ClientClosed | StreamEnd::ClientStalled => {}
        }
        // The entry is settled: a client that is gone by now changes nothing.
        let sent = self.send(&client, &mut frames).await;
        if is_aborted && sent.is_ok() {
            let _ = self.send_frame(&client, Err(Aborted)).await;
        }
        drop(client);
        if is_complete {
            let _ = timeout(DRAIN, async { while let Ok(Some(_)) = self.body.next(DRAIN).await {} }).await;
        }
    }

    /// Relays until the stream ends. Leaves the last frames unsent.
    async fn relay(&mut self, client: &mpsc::Sender<StreamFrame>, mut flow: Flow, frames: &mut Vec<Bytes>) -> StreamEnd {
        let idle = self.offer.provider.retry.idle_timeout;
        let until = Instant::now() + self.offer.provider.retry.total_timeout;
        let mut revocation_poll = interval(REVOCATION_POLL);
        // A token of its own for each stream: polling the shared one would lock it for all streams.
        let stopping = self.job.stopping.child_token();
        let mut stopping = pin!(stopping.cancelled());
        let mut closed = pin!(client.closed());
        // Reset only when it fires, not with each chunk.
        let mut idle_timer = pin!(sleep_until(until.min(Instant::now() + idle)));
        loop {
            match flow {
                Flow::Done => return StreamEnd::Complete,
                Flow::Failed(failure) => return StreamEnd::Broken(failure),
                Flow::Opening | Flow::Flowing => {}
            }
            if hold(&mut self.reservation, self.reader.as_ref(), frames, &self.job).is_err() {
                return StreamEnd::Broken(Failure::interrupted("the gateway has no memory left for this event"));
            }
            if let Err(end) = self.send(client, frames).await {
                return end;
            }
            let due = until.min(Instant::now() + idle);
            let mut next = pin!(self.body.chunk());
            let chunk = loop {
                select! {
                    biased;
                    _ = revocation_poll.tick() => if !key_is_active(&self.job) { return StreamEnd::KeyRevoked },
                    chunk = &mut next => break chunk,
                    () = &mut closed => return StreamEnd::ClientClosed,
                    () = &mut stopping => return StreamEnd::Broken(Failure::interrupted("the gateway stopped in the middle of the stream")),
                    () = &mut idle_timer => {
                        if Instant::now() >= due {
                            break Err(Error::timeout(Stage::Body));
                        }
                        idle_timer.as_mut().reset(due);
                    }
                }
            };
            flow = match chunk {
                Ok(Some(chunk)) => self.reader.push(chunk, frames),
                Err(error) if error.class.is_timeout() => {
                    Flow::Failed(Failure::interrupted("the upstream stopped sending in the middle of the stream"))
                }
                Err(_) if self.format == AnswerFormat::Opaque => {
                    Flow::Failed(Failure::interrupted("the upstream broke off in the middle of the answer"))
                }
                // A connection that breaks after the terminal event has lost nothing. The reader
                // can tell.
                Ok(None) | Err(_) => match self.reader.end(frames) {
                    Flow::Opening | Flow::Flowing => Flow::Failed(Failure::interrupted("the upstream ended the stream too early")),
                    flow => flow,
                },
            };
        }
    }

    fn last_frame(&self, failure: &Failure) -> Bytes {
        self.job.surface.last_frame(failure, &self.job.request_id)
    }

    async fn send(&self, client: &mpsc::Sender<StreamFrame>, frames: &mut Vec<Bytes>) -> Result<(), StreamEnd> {
        let most = self.job.limits.stream_buffer / FRAMES;
        join(frames, most);
        for mut frame in frames.drain(..) {
            while !frame.is_empty() {
                self.send_frame(client, Ok(frame.split_to(frame.len().min(most)))).await?;
            }
        }
        Ok(())
    }

    async fn send_frame(&self, client: &mpsc::Sender<StreamFrame>, frame: StreamFrame) -> Result<(), StreamEnd> {
        let frame = match client.try_send(frame) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(frame)) => frame,
            Err(TrySendError::Closed(_)) => return Err(StreamEnd::ClientClosed),
        };
        let mut sending = pin!(timeout(self.job.write_timeout, client.send(frame)));
        loop {
            match timeout(REVOCATION_POLL, &mut sending).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(_))) => return Err(StreamEnd::ClientClosed),
                Ok(Err(_)) => return Err(StreamEnd::ClientStalled),
                Err(_) if !key_is_active(&self.job) => return Err(StreamEnd::KeyRevoked),
                Err(_) => {}
            }
        }
    }

    /// Fills in the entry, once. Dropping the returned record settles it.
    fn settle(&mut self, end: &StreamEnd) -> Option<RequestRecord> {
        let record = self.record.take()?;
        record.stream_ended(&self.job, &self.offer, self.reader.observed(), end);
        Some(record)
    }
}

impl Drop for Pump {
    /// A pump that is dropped before its end, because its worker stopped, still meters the answer
    /// so far.
    fn drop(&mut self) {
        drop(self.settle(&StreamEnd::Broken(Failure::interrupted("the gateway stopped"))));
    }
}

/// Whether the key of the request is still valid.
fn key_is_active(job: &Job) -> bool {
    let elapsed = i64::try_from(job.received.elapsed().as_millis()).unwrap_or(i64::MAX);
    job.caller.validity.is_valid_at(job.received_at.saturating_add(elapsed) / 1_000)
}

/// Merges the frames of one upstream read into one, so that they leave in one write, unless they
/// exceed `most` bytes.
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

/// Reserves memory for the data that a stream holds beyond its own buffer.
///
/// # Errors
/// The memory is exhausted.
pub fn hold(reservation: &mut Reservation, reader: &dyn Reader, frames: &[Bytes], job: &Job) -> Result<(), MemoryExhausted> {
    reservation.resize((reader.held() + size(frames)).saturating_sub(job.limits.stream_buffer))
}

/// Size of `frames` in bytes.
pub fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests;
