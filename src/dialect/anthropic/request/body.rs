//! The body of a Messages request as types, written in the order of its documentation. Decides nothing.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A marker for prompt caching, passed on verbatim.
pub type CacheControl<'a> = Option<&'a RawValue>;

/// What goes to `POST /messages`.
#[derive(Serialize)]
pub struct Body<'a> {
    pub model: &'a str,
    pub max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<Block<'a>>,
    pub messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
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

/// One turn of the conversation.
#[derive(Serialize)]
pub struct Turn<'a> {
    pub role: Role,
    pub content: Vec<Block<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Assistant,
}

/// One block of a turn or of the system prompt.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    Document {
        source: Source<'a>,
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
    /// A `thinking` or `redacted_thinking` block, verbatim.
    #[serde(untagged)]
    Thinking(&'a RawValue),
}

/// Where an image or a document comes from.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Source<'a> {
    Base64 { media_type: &'static str, data: Cow<'a, str> },
    Text { media_type: &'static str, data: String },
    Url { url: Cow<'a, str> },
}

/// The arguments of a tool call.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Input<'a> {
    Borrowed(&'a RawValue),
    Owned(Box<RawValue>),
    /// What the model once wrote and nobody could parse.
    Invalid {
        #[serde(rename = "INVALID_JSON")]
        raw: Cow<'a, str>,
    },
    Empty {},
}

/// What a tool gave back.
#[derive(Serialize)]
#[serde(untagged)]
pub enum ResultContent<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Block<'a>>),
}

/// A tool the model may call.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Tool<'a> {
    /// A client tool.
    Function {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
        input_schema: Schema<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        strict: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: CacheControl<'a>,
    },
    /// One of Anthropic's own, verbatim.
    Native(&'a RawValue),
}

/// The schema of a tool's arguments.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Schema<'a> {
    Verbatim(&'a RawValue),
    Edited(Box<RawValue>),
    Built(Value),
}

/// Whether and which tool is to be called.
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

/// How the model is to think.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Thinking {
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
    /// The client's own object.
    #[serde(untagged)]
    Client(Value),
}

/// What happens to thinking blocks that belong to another request.
#[derive(Serialize)]
pub struct BlockBinding {
    pub prefix_mismatch_behavior: &'static str,
}

/// What the answer is to be like.
#[derive(Serialize)]
pub struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

/// The schema the answer is to follow.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Format {
    JsonSchema { schema: Value },
}

/// Whom the request is made for.
#[derive(Serialize)]
pub struct Metadata<'a> {
    pub user_id: Cow<'a, str>,
}

impl OutputConfig {
    /// What there is to say, if anything.
    pub fn of(effort: Option<&'static str>, format: Option<Format>) -> Option<Self> {
        (effort.is_some() || format.is_some()).then_some(Self { effort, format })
    }
}

impl<'a> Block<'a> {
    /// A text block without a marker.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }

    /// Puts `marker` on the block, unless it has its own.
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
