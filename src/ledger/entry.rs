//! One row of the ledger as plain data: what a request was, who answered, what it used and what it costs.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::terms::{KeyId, KindName, ModelId, NanoUsd, Operation, ProviderName, RequestId, TenantId, Usage};

/// One request, settled once (DESIGN.md section 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique and sortable by time (UUID version 7).
    pub id: String,
    /// The id the client knows the request by; not unique, clients may repeat theirs.
    pub request_id: RequestId,
    /// Unix milliseconds at which the request was received.
    pub created_at: i64,
    /// Who pays.
    pub tenant: TenantId,
    /// The key's team, if it has one.
    pub team: Option<SmolStr>,
    /// The virtual key.
    pub key_id: KeyId,
    /// Whom the key stands for.
    pub subject: SmolStr,
    /// OpenAI's own `user` field, see [`truncate_texts`](Self::truncate_texts).
    pub user: Option<SmolStr>,
    /// The key's tags and the request's, sorted by name; the request's win.
    pub tags: Vec<(String, String)>,
    /// What was asked for.
    pub operation: Operation,
    /// The catalog's model id.
    pub model: ModelId,
    /// The name the provider knows the model by.
    pub upstream_model: SmolStr,
    /// The provider that answered, or the last one tried; before any attempt, the first of the chain.
    pub provider: ProviderName,
    /// That provider's kind.
    pub kind: KindName,
    /// Whose bill it is.
    pub billing: Billing,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The status the client got; 499 if it was gone before there was one.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's code or class, `None` when it went well.
    pub error_code: Option<SmolStr>,
    /// OpenAI's `finish_reason`.
    pub finish_reason: Option<SmolStr>,
    /// Token counts.
    pub usage: Usage,
    /// Where the counts come from.
    pub usage_source: UsageSource,
    /// What is owed to the operator; 0 for BYO.
    pub cost: NanoUsd,
    /// What it costs at list price, whoever pays.
    pub list_cost: NanoUsd,
    /// Each upstream call.
    pub attempts: Vec<AttemptRecord>,
    /// Milliseconds from the request to the end of the answer.
    pub latency_ms: u64,
    /// Milliseconds from the request to the first byte of the answer.
    pub ttfb_ms: Option<u64>,
}

/// The longest text that is kept of what clients and providers may say at any length, in bytes.
const LONGEST: usize = 512;

impl Entry {
    /// Cuts what clients and providers may make as long as they like: an entry is written twice, kept for years, and listed with a
    /// thousand others.
    pub fn truncate_texts(&mut self) {
        for text in [&mut self.user, &mut self.error_code, &mut self.finish_reason].into_iter().flatten() {
            if text.len() > LONGEST {
                *text = SmolStr::new(&text[..text.floor_char_boundary(LONGEST)]);
            }
        }
    }

    /// What a draft becomes whose process was killed before it was settled. Its cost is what is owed if nothing more is
    /// learnt, as the draft said.
    pub fn into_interrupted(mut self) -> Self {
        self.outcome = Outcome::Interrupted;
        self.error_code = Some("process_killed".into());
        self.usage_source = UsageSource::Estimated;
        self
    }
}

/// Whose bill a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    /// The operator's keys; the tenant owes the operator.
    Brokered,
    /// The tenant's own keys; nothing is owed.
    Byo,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete answer.
    Ok,
    /// The request was wrong, here or upstream.
    ClientError,
    /// No provider answered.
    UpstreamError,
    /// The answer stopped after it had begun.
    Interrupted,
    /// The client went away.
    ClientClosed,
}

/// Where token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider reported them.
    Upstream,
    /// They were estimated from what was seen.
    Estimated,
    /// There was nothing to count.
    None,
}

/// One upstream call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Attempt")]
pub struct AttemptRecord {
    /// Who was called.
    #[schemars(with = "String")]
    pub provider: ProviderName,
    /// The upstream's status, `None` if no head arrived.
    pub status: Option<u16>,
    /// The class of the failure, such as `connect` or `rate_limited`; `None` when it went well.
    #[schemars(with = "Option<String>")]
    pub error: Option<SmolStr>,
    /// Milliseconds until the head and first event, or until it failed.
    pub ms: u64,
    /// The upstream's own id of the call, to ask its support about; absent if it gave none.
    #[serde(default)]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Serialize for AttemptRecord {
    /// People do not read of an id that was not given; the journal's format leaves nothing out.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_told = self.request_id.is_some() || !serializer.is_human_readable();
        let mut fields = serializer.serialize_struct("AttemptRecord", if is_told { 5 } else { 4 })?;
        fields.serialize_field("provider", &self.provider)?;
        fields.serialize_field("status", &self.status)?;
        fields.serialize_field("error", &self.error)?;
        fields.serialize_field("ms", &self.ms)?;
        if is_told {
            fields.serialize_field("request_id", &self.request_id)?;
        }
        fields.end()
    }
}

macro_rules! spelled {
    ($type:ident { $($variant:ident = $text:literal),+ }) => {
        impl $type {
            /// The spelling in JSON, SQL and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text),+ }
            }
            /// The value spelled so.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($type::$variant),)+ _ => None }
            }
        }
    };
}
spelled!(Billing { Brokered = "brokered", Byo = "byo" });
spelled!(Outcome { Ok = "ok", ClientError = "client_error", UpstreamError = "upstream_error", Interrupted = "interrupted", ClientClosed = "client_closed" });
spelled!(UsageSource { Upstream = "upstream", Estimated = "estimated", None = "none" });
