//! Translation of `response_format` (section 6).

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::{Format, SchemaJson, Tool, ToolChoice};
use super::parameters::Dropped;
use super::refusal::{invalid, unsupported, wrong_type};
use super::{schema, tools};
use crate::dialect::anthropic::answer::expected::JSON_RESPONSE;
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::anthropic::text::Text;
use crate::dialect::request::Refused;

const INSTRUCTION: &str = "Respond with a single valid JSON object and nothing else: no prose, no Markdown code fences.";

/// Way to request the format of the answer.
pub enum Structure<'a> {
    /// No format.
    Free,
    /// By a schema that the upstream enforces.
    Format(Value),
    /// By a forced tool call with this schema.
    Tool(SchemaJson<'a>),
    /// By an instruction in the system prompt.
    Instruction,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

impl<'a> Structure<'a> {
    /// Parses the raw JSON of `response_format`.
    ///
    /// # Errors
    /// [`Refused`] if it is invalid or of an unknown type.
    pub fn read(raw: Option<&'a str>, profile: &Profile, has_tools: bool, dropped: &mut Dropped) -> Result<Self, Refused> {
        const PARAM: &str = "response_format";
        let Some(raw) = raw else { return Ok(Self::Free) };
        let format: ResponseFormat<'a> = serde_json::from_str(raw).map_err(|_| wrong_type::<ResponseFormat<'_>>(PARAM, raw))?;
        let schema = match &*format.kind.0 {
            "text" => return Ok(Self::Free),
            "json_object" => None,
            "json_schema" => format.json_schema,
            _ => return Err(unsupported(PARAM, "type must be text, json_object or json_schema")),
        };
        let not_an_object = || invalid("response_format.json_schema.schema", "must be a JSON schema object");
        match schema {
            Some(JsonSchema { schema: Some(raw), description }) if profile.structured => {
                let Ok(Value::Object(mut object)) = serde_json::from_str(raw.get()) else { return Err(not_an_object()) };
                if let Some(Text(text)) = description {
                    object.entry("description").or_insert_with(|| Value::String(text.into_owned()));
                }
                Ok(Self::Format(schema::restrict(Value::Object(object))))
            }
            Some(JsonSchema { schema: Some(raw), .. }) if !has_tools => {
                tools::input_schema(Some(raw)).map(Self::Tool).ok_or_else(not_an_object)
            }
            _ => {
                dropped.record(PARAM);
                Ok(Self::Instruction)
            }
        }
    }

    /// Returns the instruction for the system prompt, if one is needed.
    pub fn instruction(&self) -> Option<&'static str> {
        matches!(self, Self::Instruction).then_some(INSTRUCTION)
    }

    /// Returns the format, or the schema of the tool that carries the answer.
    pub fn into_parts(self) -> (Option<Format>, Option<SchemaJson<'a>>) {
        match self {
            Self::Format(schema) => (Some(Format::JsonSchema { schema }), None),
            Self::Tool(schema) => (None, Some(schema)),
            Self::Free | Self::Instruction => (None, None),
        }
    }
}

/// Returns the tool that carries the answer, and the choice that forces it.
pub fn forced(input_schema: SchemaJson<'_>) -> (Vec<Tool<'_>>, Option<ToolChoice<'_>>) {
    let tool = Tool::Function {
        name: JSON_RESPONSE.into(),
        description: Some("Return the final answer by calling this tool.".into()),
        input_schema,
        strict: false,
        cache_control: None,
    };
    (vec![tool], Some(ToolChoice::Tool { name: JSON_RESPONSE.into(), disable_parallel_tool_use: false }))
}
