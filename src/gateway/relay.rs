//! From an upstream's response head to the client: complete answers at once, streams frame by frame
//! as they arrive.
//!
//! Nothing of a stream is relayed before its first event, so that until then another provider may
//! still answer. After that a [`pump`] owns upstream, channel and ledger entry.

pub mod pump;

use std::pin::pin;
use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use actix_web::rt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::headers::ResponseHeaders;
use super::job::Job;
use super::messages::{Reply, ReplyBody};
use super::record::RequestRecord;
use crate::catalog::provider::Offer;
use crate::deadline::timeout_lazy;
use crate::dialect::call::AnswerFormat;
use crate::dialect::failure::{Failure, FailureOrigin};
use crate::dialect::reader::{Flow, Reader};
use crate::upstream::body::ResponseBody;
use crate::upstream::error::{Class, Error, Stage};
use pump::{FRAMES, Pump, hold, size};

/// An answer with a successful head, before its body is read.
pub struct Relay<'a> {
    /// The request.
    pub job: &'a Arc<Job>,
    /// The offer that answers.
    pub offer: &'a Arc<Offer>,
    /// The request's ledger entry.
    pub record: &'a RequestRecord,
    /// Response headers for the client.
    pub response_headers: ResponseHeaders,
    /// Parameters dropped on the way to the provider.
    pub dropped: Vec<&'static str>,
    /// Reads the body.
    pub reader: Box<dyn Reader>,
    /// Format of the body.
    pub format: AnswerFormat,
    /// Time by which the first event must have arrived.
    pub deadline: Instant,
    /// The credential of the call.
    pub sent: Option<&'a HeaderValue>,
}

/// The reason why an answer with a successful head could not be relayed.
pub enum Broken {
    /// The body did not arrive.
    Transport(Error),
    /// The body reports a failure or cannot be parsed.
    Failed(Failure),
    /// A policy blocked the answer. The entry is filled in.
    Blocked(Failure),
}

impl Relay<'_> {
    /// Reads the whole answer and fills in the entry.
    ///
    /// # Errors
    /// The answer cannot be relayed.
    pub async fn whole(mut self, status: u16, body: ResponseBody) -> Result<Reply, Broken> {
        let retry = &self.offer.provider.retry;
        let mut reservation = self.job.memory.reservation();
        let body = {
            let reading = pin!(body.collect(self.job.limits.max_body, retry.idle_timeout, &mut reservation));
            timeout_lazy(retry.total_timeout, reading).await.unwrap_or(Err(Error::timeout(Stage::Body))).map_err(Broken::Transport)?
        };
        let body = reservation.attach(self.reader.whole(body).map_err(|failure| self.failed(failure))?);
        self.record.answered(self.job, self.offer, status, self.reader.observed());
        let mut reply = Reply::new(self.offer, status, self.response_headers, self.dropped, ReplyBody::Whole(body));
        reply.route.cost = Some(self.record.cost());
        Ok(reply)
    }

    /// Waits for the first event, then hands the stream to a pump.
    ///
    /// # Errors
    /// The stream failed before its first event.
    pub async fn stream(mut self, mut body: ResponseBody) -> Result<Reply, Broken> {
        let mut frames = Vec::new();
        let mut reservation = self.job.memory.reservation();
        let flow = loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let flow = match body.next(left).await.map_err(Broken::Transport)? {
                Some(chunk) => self.reader.push(chunk, &mut frames),
                None => match self.reader.end(&mut frames) {
                    Flow::Opening => Flow::Failed(Failure::interrupted("the upstream ended the stream before its first event")),
                    flow => flow,
                },
            };
            match flow {
                Flow::Opening if size(&frames) > self.job.limits.max_event => {
                    return Err(Broken::Failed(Failure::interrupted("the upstream sent too much data before its first event")));
                }
                Flow::Opening => {
                    let held = hold(&mut reservation, self.reader.as_ref(), &frames, self.job);
                    held.map_err(|_| Broken::Transport(Error::new(Stage::Body, Class::OutOfMemory)))?;
                }
                Flow::Failed(failure) if frames.is_empty() => return Err(self.failed(failure)),
                flow => break flow,
            }
        };
        self.record.first_event(self.job);
        let (client, receiver) = mpsc::channel(FRAMES);
        let pump = Pump {
            job: Arc::clone(self.job),
            offer: Arc::clone(self.offer),
            record: Some(self.record.clone()),
            reader: self.reader,
            format: self.format,
            body,
            reservation,
            sent: self.sent.cloned(),
        };
        rt::spawn(pump.run(client, flow, frames));
        Ok(Reply::new(self.offer, 200, self.response_headers, self.dropped, ReplyBody::Stream(receiver)))
    }

    /// Tells a failure of the provider from an answer that a policy blocked, which the provider is
    /// paid for.
    fn failed(&self, failure: Failure) -> Broken {
        if failure.origin != FailureOrigin::Policy {
            return Broken::Failed(failure);
        }
        self.record.answer_blocked(self.job, self.offer, self.reader.observed(), &failure);
        Broken::Blocked(failure)
    }
}
