//! Translation of tool definitions (section 4).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::{CacheControl, SchemaJson, Tool};
use super::parameters::Dropped;
use super::refusal::{invalid, unsupported, wrong_type};
use super::schema;
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::anthropic::text::Text;
use crate::dialect::request::Refused;

/// Tool with its name.
pub struct NamedTool<'a> {
    pub name: Cow<'a, str>,
    pub tool: Tool<'a>,
}

/// Tool, as the client sent it.
#[derive(Deserialize)]
struct GivenTool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<FunctionTool<'a>>,
    /// Name of a tool defined by Anthropic.
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    cache_control: CacheControl<'a>,
}

#[derive(Deserialize)]
struct FunctionTool<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    #[serde(borrow)]
    cache_control: CacheControl<'a>,
}

/// Parses the raw JSON of `tools`.
///
/// # Errors
/// [`Refused`] naming the tool at fault.
pub fn read<'a>(raw: Option<&'a str>, profile: &Profile, dropped: &mut Dropped) -> Result<Vec<NamedTool<'a>>, Refused> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let given: Vec<&'a RawValue> = serde_json::from_str(raw).map_err(|_| invalid("tools", "must be an array of tools"))?;
    given.into_iter().enumerate().map(|(index, raw)| one(raw, index, profile, dropped)).collect()
}

fn one<'a>(raw: &'a RawValue, index: usize, profile: &Profile, dropped: &mut Dropped) -> Result<NamedTool<'a>, Refused> {
    let given: GivenTool<'a> =
        serde_json::from_str(raw.get()).map_err(|_| wrong_type::<GivenTool<'_>>(&format!("tools[{index}]"), raw.get()))?;
    match given.kind.as_ref().map(|kind| &*kind.0) {
        Some("function") => {}
        None if given.function.is_some() => {}
        Some(kind) if is_native(kind) => {
            let name = given.name.map_or(Cow::Borrowed(""), |name| name.0);
            return Ok(NamedTool { name, tool: Tool::Native(raw) });
        }
        _ => return Err(unsupported(format!("tools[{index}].type"), "must be function or a dated Anthropic tool type")),
    }
    let place = |member: &str| format!("tools[{index}].function.{member}");
    let Some(FunctionTool { name: Some(Text(name)), description, parameters, strict, cache_control }) = given.function else {
        return Err(invalid(place("name"), "missing function name"));
    };
    let strict = strict == Some(true);
    if strict && !profile.structured {
        dropped.record("tools.function.strict");
    }
    let strict = strict && profile.structured;
    let not_an_object = || invalid(place("parameters"), "must be a JSON schema object");
    let input_schema = match parameters {
        parameters if strict => {
            let raw = parameters.map_or("{}", RawValue::get);
            let Ok(Value::Object(mut object)) = serde_json::from_str(raw) else { return Err(not_an_object()) };
            object.entry("type").or_insert_with(|| json!("object"));
            SchemaJson::Built(schema::restrict(Value::Object(object)))
        }
        parameters => input_schema(parameters).ok_or_else(not_an_object)?,
    };
    let tool = Tool::Function {
        name: name.clone(),
        description: description.map(|text| text.0),
        input_schema,
        strict,
        cache_control: given.cache_control.or(cache_control),
    };
    Ok(NamedTool { name, tool })
}

/// Returns a schema with a `type` at its top, as Anthropic requires. `None` if it is not an object.
pub fn input_schema(parameters: Option<&RawValue>) -> Option<SchemaJson<'_>> {
    /// Top level of a schema, for its `type` only.
    #[derive(Deserialize)]
    struct Top {
        #[serde(rename = "type")]
        kind: Option<IgnoredAny>,
    }
    let empty = || SchemaJson::Built(json!({"type": "object", "properties": {}}));
    let Some(raw) = parameters else { return Some(empty()) };
    let members = raw.get().strip_prefix('{')?;
    if members.trim_ascii_start() == "}" {
        return Some(empty());
    }
    if serde_json::from_str::<Top>(raw.get()).ok()?.kind.is_some() {
        return Some(SchemaJson::Verbatim(raw));
    }
    let typed = format!("{{\"type\":\"object\",{members}");
    RawValue::from_string(typed).ok().map(SchemaJson::Edited)
}

/// Creates the stub of a tool that earlier turns call and the request does not define.
pub fn stub<'a>(name: Cow<'a, str>) -> Tool<'a> {
    Tool::Function {
        name,
        description: None,
        input_schema: SchemaJson::Built(json!({"type": "object", "properties": {}})),
        strict: false,
        cache_control: None,
    }
}

/// Whether this is a tool type of Anthropic, which ends in a date.
fn is_native(kind: &str) -> bool {
    let date = kind.rsplit_once('_').map(|(name, date)| (!name.is_empty(), date));
    matches!(date, Some((true, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}
