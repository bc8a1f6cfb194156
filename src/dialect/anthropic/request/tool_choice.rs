//! Translation of `tool_choice` (section 4).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::body::{Tool, ToolChoice};
use super::parameters::Dropped;
use super::refusal::{invalid, unsupported, wrong_type};
use super::tools::{self, NamedTool};
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::anthropic::text::Text;
use crate::dialect::request::Refused;

/// Tool choice requested by the client.
#[derive(Debug, PartialEq)]
pub enum Requested<'a> {
    Auto,
    None,
    Required,
    Named(Cow<'a, str>),
}

/// Translated tool choice.
pub struct CompiledChoice<'a> {
    pub choice: Option<ToolChoice<'a>>,
    /// Text to append to the last user turn, for a model that cannot be forced to call.
    pub prompt: Option<String>,
}

/// `tool_choice`, as the client sent it.
enum GivenChoice<'a> {
    Mode(Cow<'a, str>),
    Object(Object<'a>),
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<ChosenFunction<'a>>,
    #[serde(borrow)]
    allowed_tools: Option<AllowedTools<'a>>,
}

#[derive(Deserialize)]
struct ChosenFunction<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct AllowedTools<'a> {
    #[serde(borrow)]
    mode: Text<'a>,
    #[serde(borrow)]
    tools: Vec<Allowed<'a>>,
}

#[derive(Deserialize)]
struct Allowed<'a> {
    #[serde(borrow)]
    function: Option<ChosenFunction<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

/// Parses the raw JSON of `tool_choice`. `allowed_tools` limits `tools`.
///
/// # Errors
/// [`Refused`] if it is invalid or does not fit the tools.
pub fn read<'a>(raw: Option<&'a str>, tools: &mut Vec<NamedTool<'a>>, dropped: &mut Dropped) -> Result<Option<Requested<'a>>, Refused> {
    let Some(raw) = raw else { return Ok(None) };
    let given: GivenChoice<'a> = serde_json::from_str(raw).map_err(|_| wrong_type::<GivenChoice<'_>>("tool_choice", raw))?;
    let requested = match given {
        GivenChoice::Mode(mode) => of_mode(&mode)?,
        GivenChoice::Object(Object { kind: Some(kind), function, allowed_tools }) => match (&*kind.0, function, allowed_tools) {
            ("function", Some(function), _) => Requested::Named(function.name.0),
            ("allowed_tools", _, Some(allowed)) => of_allowed(allowed, tools)?,
            ("function" | "allowed_tools", ..) => return Err(refused("missing `function` or `allowed_tools`")),
            _ => return Err(unsupported("tool_choice", "only types function and allowed_tools are supported by this model")),
        },
        GivenChoice::Object(_) => return Err(refused("missing type")),
    };
    match requested {
        Requested::Auto | Requested::None if tools.is_empty() => {
            dropped.record("tool_choice");
            Ok(None)
        }
        Requested::Required | Requested::Named(_) if tools.is_empty() => Err(refused("forces a tool call, but the request has no tools")),
        Requested::Named(name) if !tools.iter().any(|tool| tool.name == name) => Err(refused("names an undefined tool")),
        requested => Ok(Some(requested)),
    }
}

/// Translates the requested choice for a request with tools.
pub fn compile<'a>(requested: Option<Requested<'a>>, is_parallel: bool, profile: &Profile, dropped: &mut Dropped) -> CompiledChoice<'a> {
    let disable_parallel_tool_use = !is_parallel;
    let auto = Some(ToolChoice::Auto { disable_parallel_tool_use });
    let mut prompt = None;
    let choice = match requested {
        None => auto.filter(|_| !is_parallel),
        Some(Requested::Auto) => auto,
        Some(Requested::None) => Some(ToolChoice::None),
        Some(requested) if !profile.forced_tool => {
            dropped.record("tool_choice");
            prompt = Some(match requested {
                Requested::Named(name) => format!("Call the tool named \"{name}\" in your next response."),
                _ => "Call at least one of the available tools in your next response.".to_owned(),
            });
            auto
        }
        Some(Requested::Required) => Some(ToolChoice::Any { disable_parallel_tool_use }),
        Some(Requested::Named(name)) => Some(ToolChoice::Tool { name, disable_parallel_tool_use }),
    };
    CompiledChoice { choice, prompt }
}

/// Returns tools and choice for a request without tools: stubs of the tools that earlier turns
/// called, because the upstream refuses calls of undefined tools, and a choice that forbids new
/// calls.
pub fn forbidden<'a>(used: Vec<Cow<'a, str>>) -> (Vec<Tool<'a>>, Option<ToolChoice<'a>>) {
    let choice = (!used.is_empty()).then_some(ToolChoice::None);
    (used.into_iter().map(tools::stub).collect(), choice)
}

fn of_mode<'a>(mode: &str) -> Result<Requested<'a>, Refused> {
    match mode {
        "auto" => Ok(Requested::Auto),
        "none" => Ok(Requested::None),
        "required" => Ok(Requested::Required),
        _ => Err(refused("must be auto, none, required or an object")),
    }
}

fn of_allowed<'a>(allowed: AllowedTools<'a>, tools: &mut Vec<NamedTool<'a>>) -> Result<Requested<'a>, Refused> {
    let requested = of_mode(&allowed.mode.0)?;
    let named = |given: Allowed<'a>| given.function.map(|function| function.name).or(given.name).map(|name| name.0);
    let names = allowed.tools.into_iter().map(named).collect::<Option<Vec<_>>>();
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| refused("allowed_tools must name at least one tool"))?;
    if names.iter().any(|name| !tools.iter().any(|tool| tool.name == *name)) {
        return Err(refused("names an undefined tool"));
    }
    tools.retain(|tool| names.contains(&tool.name));
    Ok(match (requested, tools.as_slice()) {
        (Requested::Required, [NamedTool { name, .. }]) => Requested::Named(name.clone()),
        (requested, _) => requested,
    })
}

fn refused(message: &str) -> Refused {
    invalid("tool_choice", message)
}

impl<'de: 'a, 'a> Deserialize<'de> for GivenChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor;
        impl<'de> Visitor<'de> for GivenVisitor {
            type Value = GivenChoice<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }
            fn visit_borrowed_str<E>(self, mode: &'de str) -> Result<Self::Value, E> {
                Ok(GivenChoice::Mode(Cow::Borrowed(mode)))
            }
            fn visit_str<E>(self, mode: &str) -> Result<Self::Value, E> {
                Ok(GivenChoice::Mode(Cow::Owned(mode.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                Object::deserialize(MapAccessDeserializer::new(members)).map(GivenChoice::Object)
            }
        }
        deserializer.deserialize_any(GivenVisitor)
    }
}
