//! Types of a Messages request body, in the order of Anthropic's documentation. No logic.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Prompt caching marker, passed on verbatim.
pub type CacheControl<'a> = Option<&'a RawValue>;

/// Body of `POST /messages`.
#[derive(Serialize)]
pub struct MessagesBody<'a> {
    pub model: &'a str,
    pub max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<InputBlock<'a>>,
    pub messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<ThinkingParameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: CacheControl<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
}

/// Turn of the conversation.
#[derive(Serialize)]
pub struct Turn<'a> {
    pub role: Role,
    pub content: Vec<InputBlock<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
}

/// Block of a turn or of the system prompt.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputBlock<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    Image {
        source: MediaSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    Document {
        source: MediaSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Input<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<ResultContent<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    /// `thinking` or `redacted_thinking` block, verbatim.
    #[serde(untagged)]
    Thinking(&'a RawValue),
}

/// Source of an image or a document.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MediaSource<'a> {
    Base64 { media_type: &'static str, data: Cow<'a, str> },
    Text { media_type: &'static str, data: String },
    Url { url: Cow<'a, str> },
}

/// Arguments of a tool call.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Input<'a> {
    Borrowed(&'a RawValue),
    Owned(Box<RawValue>),
    /// Earlier output of the model that is not valid JSON.
    Invalid {
        #[serde(rename = "INVALID_JSON")]
        raw: Cow<'a, str>,
    },
    Empty {},
}

/// Result of a tool.
#[derive(Serialize)]
#[serde(untagged)]
pub enum ResultContent<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<InputBlock<'a>>),
}

/// Tool that the model may call.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Tool<'a> {
    /// Tool run by the client.
    Function {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
        input_schema: SchemaJson<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        strict: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    /// Tool defined by Anthropic, verbatim.
    Native(&'a RawValue),
}

/// Schema of a tool's arguments.
#[derive(Serialize)]
#[serde(untagged)]
pub enum SchemaJson<'a> {
    Verbatim(&'a RawValue),
    Edited(Box<RawValue>),
    Built(Value),
}

/// Choice among the tools.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice<'a> {
    Auto {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Any {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Tool {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    None,
}

/// Thinking mode.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ThinkingParameter {
    Enabled {
        budget_tokens: u64,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        block_binding: Option<BlockBinding>,
    },
    Disabled,
    BetweenTools,
    /// Object from the client.
    #[serde(untagged)]
    Client(Value),
}

/// Handling of thinking blocks that belong to another request.
#[derive(Serialize)]
pub struct BlockBinding {
    pub prefix_mismatch_behavior: &'static str,
}

/// Effort and format of the answer.
#[derive(Serialize)]
pub struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

/// Schema of the answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Format {
    JsonSchema { schema: Value },
}

/// End user of the request.
#[derive(Serialize)]
pub struct Metadata<'a> {
    pub user_id: Cow<'a, str>,
}

impl OutputConfig {
    /// Returns the configuration; `None` if it is empty.
    pub fn of(effort: Option<&'static str>, format: Option<Format>) -> Option<Self> {
        (effort.is_some() || format.is_some()).then_some(Self { effort, format })
    }
}

impl<'a> InputBlock<'a> {
    /// Creates a text block without a marker.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }

    /// Sets the block's caching marker, unless it already has one.
    pub fn mark(&mut self, marker: CacheControl<'a>) {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => *cache_control = cache_control.or(marker),
            Self::Thinking(_) => {}
        }
    }
}
