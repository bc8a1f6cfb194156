//! One row of the ledger as plain data: the request, the provider that answered, its usage and its
//! cost.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::terms::{Billing, KeyId, KindName, ModelId, NanoUsd, Operation, ProviderName, RequestId, TenantId, Usage};

/// One request, settled once (DESIGN.md section 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique and sortable by time (UUID version 7).
    pub id: String,
    /// Id by which the client knows the request. Not unique: clients may repeat theirs.
    pub request_id: RequestId,
    /// Time at which the request was received, in Unix milliseconds.
    pub created_at: i64,
    /// Tenant of the key.
    pub tenant: TenantId,
    /// Team of the key, if it has one.
    pub team: Option<SmolStr>,
    /// Id of the virtual key.
    pub key_id: KeyId,
    /// Person or service that the key identifies.
    pub subject: SmolStr,
    /// The request's OpenAI `user` field; may be truncated
    /// ([`truncate_texts`](Self::truncate_texts)).
    pub user: Option<SmolStr>,
    /// Tags of the key and the request, sorted by name. A tag of the request replaces one of the
    /// key.
    pub tags: Vec<(String, String)>,
    /// The operation that was requested.
    pub operation: Operation,
    /// Id of the model in the catalog.
    pub model: ModelId,
    /// Name of the model at the provider.
    pub upstream_model: SmolStr,
    /// The provider that answered, or the last one called; before any attempt, the first of the
    /// chain.
    pub provider: ProviderName,
    /// Kind of that provider.
    pub kind: KindName,
    /// Whose provider account is charged.
    pub billing: Billing,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// HTTP status that the client received; 499 if it disconnected before there was one.
    pub status: u16,
    /// End of the request.
    pub outcome: Outcome,
    /// Code or class of the error; `None` on success.
    pub error_code: Option<SmolStr>,
    /// OpenAI's `finish_reason`.
    pub finish_reason: Option<SmolStr>,
    /// Token counts.
    pub usage: Usage,
    /// Source of the token counts.
    pub usage_source: UsageSource,
    /// Amount the tenant owes the operator; 0 for BYO.
    pub cost: NanoUsd,
    /// Cost at list price, regardless of who is charged.
    pub list_cost: NanoUsd,
    /// The upstream calls, in order.
    pub attempts: Vec<AttemptRecord>,
    /// Milliseconds from the request to the end of the response.
    pub latency_ms: u64,
    /// Milliseconds from the request to the first byte of the response.
    pub ttfb_ms: Option<u64>,
}

/// Largest length, in bytes, of texts whose length clients and providers choose.
const MAX_TEXT: usize = 512;

impl Entry {
    /// Truncates the texts whose length clients and providers choose: an entry is written twice,
    /// kept for years, and listed with a thousand others.
    pub fn truncate_texts(&mut self) {
        for text in [&mut self.user, &mut self.error_code, &mut self.finish_reason].into_iter().flatten() {
            if text.len() > MAX_TEXT {
                *text = SmolStr::new(&text[..text.floor_char_boundary(MAX_TEXT)]);
            }
        }
    }

    /// Turns a draft into the final entry of a request whose process was killed before it was
    /// settled. Its cost is the draft's estimate.
    pub fn into_interrupted(mut self) -> Self {
        self.outcome = Outcome::Interrupted;
        self.error_code = Some("process_killed".into());
        self.usage_source = UsageSource::Estimated;
        self
    }
}

/// Ends of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete response.
    Ok,
    /// The gateway or the upstream rejected the request.
    ClientError,
    /// No provider answered.
    UpstreamError,
    /// The response stopped after it had begun.
    Interrupted,
    /// The client disconnected.
    ClientClosed,
}

/// Source of token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider reported them.
    Upstream,
    /// They were estimated from the bytes that passed.
    Estimated,
    /// There was nothing to count.
    None,
}

/// One upstream call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Attempt")]
pub struct AttemptRecord {
    /// The provider that was called.
    #[schemars(with = "String")]
    pub provider: ProviderName,
    /// HTTP status of the upstream; `None` if no response head arrived.
    pub status: Option<u16>,
    /// Class of the failure, such as `connect` or `rate_limited`; `None` on success.
    #[schemars(with = "Option<String>")]
    pub error: Option<SmolStr>,
    /// Milliseconds until the response head and first event, or until the failure.
    pub ms: u64,
    /// The upstream's own id of the call, for its support; absent if it gave none.
    #[serde(default)]
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Serialize for AttemptRecord {
    /// Omits a missing id in human-readable formats; the journal's binary format omits nothing.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_id = self.request_id.is_some() || !serializer.is_human_readable();
        let mut fields = serializer.serialize_struct("AttemptRecord", if has_id { 5 } else { 4 })?;
        fields.serialize_field("provider", &self.provider)?;
        fields.serialize_field("status", &self.status)?;
        fields.serialize_field("error", &self.error)?;
        fields.serialize_field("ms", &self.ms)?;
        if has_id {
            fields.serialize_field("request_id", &self.request_id)?;
        }
        fields.end()
    }
}

macro_rules! spelled {
    ($type:ident { $($variant:ident = $text:literal),+ }) => {
        impl $type {
            /// Returns the name in JSON, SQL and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text),+ }
            }
            /// Returns the value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($type::$variant),)+ _ => None }
            }
        }
    };
}
spelled!(Outcome { Ok = "ok", ClientError = "client_error", UpstreamError = "upstream_error", Interrupted = "interrupted", ClientClosed = "client_closed" });
spelled!(UsageSource { Upstream = "upstream", Estimated = "estimated", None = "none" });
