//! The wire languages. A dialect turns a client's OpenAI request into the upstream's and the upstream's answer back.
//!
//! Pure: no I/O, no clock, no actor, no HTTP client. Adding a dialect is one file or folder here that implements
//! [`Dialect`], and one line in [`by_name`].

pub mod anthropic;
pub mod openai;
pub mod simulator;
pub mod sse;

use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::json::Document;
use crate::terms::{Operation, Usage};

/// The dialect of that name, as TOML spells it.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}

/// Every dialect: the registry. One line each.
pub const ALL: [&dyn Dialect; 3] = [&openai::OpenAi, &anthropic::Anthropic, &simulator::Simulator];

/// A wire language, implemented in code.
pub trait Dialect: Send + Sync + 'static {
    /// Its name in TOML.
    fn name(&self) -> &'static str;

    /// The path below the base URL for `operation`; `None`: this dialect cannot do it.
    fn path(&self, operation: Operation) -> Option<&'static str>;

    /// Whether calls leave the process. `false` only for dialects that return [`Call::Played`].
    fn is_remote(&self) -> bool {
        true
    }

    /// Translates one request. Nothing is sent yet; a [`Refused`] is the client's fault and is answered with 400.
    fn request(&self, ask: &Ask<'_>) -> Result<Prepared, Refused>;

    /// Reads an upstream answer of status 400 or above (or an error under 200).
    fn failure(&self, status: u16, body: &[u8]) -> Failure;
}

impl std::fmt::Debug for dyn Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// One client request as a dialect sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The client's body.
    pub document: &'a Document,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// The model's name at the provider.
    pub upstream_model: &'a str,
    /// The most output tokens the catalog allows this model.
    pub max_output_tokens: Option<u64>,
    /// What is peculiar about the provider's kind.
    pub quirks: &'a Quirks,
    /// The client's `anthropic-beta` header.
    pub anthropic_beta: Option<&'a str>,
    /// Whether the kind's static headers already set `anthropic-version`, and to what.
    pub anthropic_version: Option<&'a str>,
    /// Unix seconds at which the request was received: what `created` shows where the upstream has none.
    pub created: u64,
    /// How much of a stream may be held.
    pub sse: sse::SseLimits,
    /// Distinguishes attempts: the simulator's only source of chance. The same seed gives the same answer.
    pub seed: u64,
}

/// What is peculiar about a kind, from its TOML.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Quirks {
    /// Top-level request fields to rename.
    pub rename: Vec<(String, String)>,
    /// Top-level request fields to leave out.
    pub drop: Vec<String>,
    /// Top-level request fields to set, as JSON text; they replace the client's.
    pub set: Vec<(String, String)>,
    /// Whether a stream may be asked for its usage by `stream_options`.
    pub stream_usage: bool,
    /// Knobs of the simulator.
    pub simulate: Simulate,
}

/// How the simulator behaves, so that users can rehearse slow and failing providers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Simulate {
    /// Time until the first byte of an answer.
    pub latency: Duration,
    /// Time between two chunks of a stream.
    pub chunk_delay: Duration,
    /// The share of calls that fail, 0 to 1.
    pub failure_rate: f64,
    /// The status of a call that fails; 0 means the default, 503.
    pub failure_status: u16,
}

/// A request ready to go, and who will read its answer.
pub struct Prepared {
    /// What to do.
    pub call: Call,
    /// Reads the answer to exactly this request.
    pub reader: Box<dyn Reader>,
    /// Parameters that were dropped or degraded, sorted: `x-aigw-dropped-params`.
    pub dropped: Vec<&'static str>,
}

/// How an answer is to be had.
pub enum Call {
    /// By HTTP: `POST` this body, with these headers besides `content-type: application/json` and the credential.
    Http {
        /// Request headers, names in lower case.
        headers: Vec<(&'static str, String)>,
        /// The body, framed anew.
        body: Bytes,
    },
    /// In process: play these bytes. Only for trials and tests.
    Played(Script),
}

/// An answer that is made up in process.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The pieces of the body, each after a delay.
    pub pieces: Vec<(Duration, Bytes)>,
}

/// A request that cannot be expressed: 400, no upstream call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// `invalid_value`, `unsupported_value` or `unsupported_parameter`.
    pub code: &'static str,
    /// The parameter at fault, such as `messages[2].content[0]`.
    pub param: Option<String>,
    /// What to do about it. Holds nothing of the prompt.
    pub message: String,
}

/// Reads the answer to one request, whole or piece by piece.
pub trait Reader: Send {
    /// Reads a complete answer of status 200-299 that is no stream, and gives the body for the client.
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure>;

    /// Reads the next piece of a stream, appending to `out` what the client is to get. A piece may be any split of the
    /// bytes. After [`Flow::Done`] or [`Flow::Failed`] it is not called again. If it fails before the first event, `out` is left
    /// empty: nothing of such an attempt reaches the client.
    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow;

    /// The stream has ended: dispatches what is pending. A stream that had not reached its terminal event gives
    /// [`Flow::Failed`] with [`Failure::interrupted`].
    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow;

    /// Bytes of a stream that are held because their event is not complete.
    fn held(&self) -> usize {
        0
    }

    /// What has been seen so far, at any time.
    fn observed(&self) -> Observed;
}

/// Where a stream stands after a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// No event has been seen yet (comments and pings do not count): the attempt may still be repeated elsewhere.
    Opening,
    /// At least one event has been seen; more is to come.
    Flowing,
    /// The terminal event has been seen; what follows is of no interest.
    Done,
    /// An error event, bytes that make no sense, or an end too early. Before the first event the attempt has failed; after
    /// it, the client gets this as the last frame.
    Failed(Failure),
}

/// What an upstream said when it failed, in OpenAI's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status for retry decisions and, where the upstream's answer is relayed, for the client.
    pub status: u16,
    /// The body in OpenAI's error shape (for the `openai` dialect: the upstream's own bytes).
    pub body: Bytes,
    /// `error.message`, for the frame that ends a broken stream. Never our log: it may quote the prompt.
    pub message: String,
    /// `error.type`, likewise.
    pub kind: Box<str>,
    /// What the ledger records: a stable code or type, `None` where there is none.
    pub code: Option<String>,
    /// The upstream's own id of the call, where its body says one.
    pub request_id: Option<Box<str>>,
    /// Source of the failure.
    pub origin: FailureOrigin,
}

/// Source of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureOrigin {
    /// The upstream reported an error.
    Upstream,
    /// The answer broke off or could not be parsed.
    Interrupted,
    /// A policy blocked the answer; see `gateway::filter`.
    Policy,
}

/// What a reader has seen of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The usage the upstream reported, `None` if it has not.
    pub usage: Option<Usage>,
    /// Whether it reported some that cannot be: negative, absurdly large, a part larger than its whole. Then `usage` is `None`.
    pub has_absurd_usage: bool,
    /// OpenAI's `finish_reason` of the first choice.
    pub finish_reason: Option<SmolStr>,
    /// UTF-8 bytes of generated text seen so far (content, reasoning, tool arguments): the base of an estimate.
    pub output_bytes: u64,
}

impl Failure {
    /// An answer that stopped short or made no sense: `upstream_interrupted`, with nothing of its bytes.
    pub fn interrupted(message: &str) -> Self {
        let body =
            serde_json::json!({"error": {"message": message, "type": "upstream_error", "param": null, "code": "upstream_interrupted"}});
        Self {
            status: 502,
            body: Bytes::from(body.to_string()),
            message: message.to_owned(),
            kind: "upstream_error".into(),
            code: Some("upstream_interrupted".to_owned()),
            request_id: None,
            origin: FailureOrigin::Interrupted,
        }
    }

    /// The frame that ends a stream which failed after its first event (DESIGN.md section 6).
    pub fn frame(&self) -> Bytes {
        let error =
            serde_json::json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": "upstream_interrupted"}});
        Bytes::from(format!("data: {error}\n\n"))
    }
}
