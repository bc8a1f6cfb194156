//! Which tools may or must be called (section 4).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::body::{Tool, ToolChoice};
use super::parameters::Dropped;
use super::refusal::{invalid, unsupported, wrong_type};
use super::tools::{self, Named};
use crate::dialect::Refused;
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::anthropic::text::Text;

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub enum Wish<'a> {
    Auto,
    None,
    Required,
    Named(Cow<'a, str>),
}

/// What is sent for it.
pub struct Choice<'a> {
    pub choice: Option<ToolChoice<'a>>,
    /// What to say at the end of the last user turn, where the model cannot be forced.
    pub plea: Option<String>,
}

/// `tool_choice`, as the client sent it.
enum Given<'a> {
    Mode(Cow<'a, str>),
    Object(Object<'a>),
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow)]
    allowed_tools: Option<AllowedTools<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
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
    function: Option<Function<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

/// Reads `tool_choice`, as raw JSON; `allowed_tools` cuts `tools` down.
pub fn read<'a>(raw: Option<&'a str>, tools: &mut Vec<Named<'a>>, dropped: &mut Dropped) -> Result<Option<Wish<'a>>, Refused> {
    let Some(raw) = raw else { return Ok(None) };
    let given: Given<'a> = serde_json::from_str(raw).map_err(|_| wrong_type::<Given<'_>>("tool_choice", raw))?;
    let wish = match given {
        Given::Mode(mode) => of_mode(&mode)?,
        Given::Object(Object { kind: Some(kind), function, allowed_tools }) => match (&*kind.0, function, allowed_tools) {
            ("function", Some(function), _) => Wish::Named(function.name.0),
            ("allowed_tools", _, Some(allowed)) => of_allowed(allowed, tools)?,
            ("function" | "allowed_tools", ..) => return Err(refused("names no tool: give its `function` or `allowed_tools`")),
            _ => return Err(unsupported("tool_choice", "only choices of type function and allowed_tools are known to this model")),
        },
        Given::Object(_) => return Err(refused("needs a type")),
    };
    match wish {
        Wish::Auto | Wish::None if tools.is_empty() => {
            dropped.record("tool_choice");
            Ok(None)
        }
        Wish::Required | Wish::Named(_) if tools.is_empty() => Err(refused("forces a tool call, but there are no tools")),
        Wish::Named(name) if !tools.iter().any(|tool| tool.name == name) => Err(refused("names a tool that is not among the tools")),
        wish => Ok(Some(wish)),
    }
}

/// What is sent for `wish`, given that there are tools.
pub fn compile<'a>(wish: Option<Wish<'a>>, is_parallel: bool, profile: &Profile, dropped: &mut Dropped) -> Choice<'a> {
    let disable_parallel_tool_use = !is_parallel;
    let auto = Some(ToolChoice::Auto { disable_parallel_tool_use });
    let mut plea = None;
    let choice = match wish {
        None => auto.filter(|_| !is_parallel),
        Some(Wish::Auto) => auto,
        Some(Wish::None) => Some(ToolChoice::None),
        Some(wish) if !profile.forced_tool => {
            dropped.record("tool_choice");
            plea = Some(match wish {
                Wish::Named(name) => format!("Call the tool named \"{name}\" in your next response."),
                _ => "Call at least one of the available tools in your next response.".to_owned(),
            });
            auto
        }
        Some(Wish::Required) => Some(ToolChoice::Any { disable_parallel_tool_use }),
        Some(Wish::Named(name)) => Some(ToolChoice::Tool { name, disable_parallel_tool_use }),
    };
    Choice { choice, plea }
}

/// Without tools: those the history names, because the upstream refuses calls nobody defines, and not to be called.
pub fn forbidden<'a>(used: Vec<Cow<'a, str>>) -> (Vec<Tool<'a>>, Option<ToolChoice<'a>>) {
    let choice = (!used.is_empty()).then_some(ToolChoice::None);
    (used.into_iter().map(tools::stub).collect(), choice)
}

fn of_mode<'a>(mode: &str) -> Result<Wish<'a>, Refused> {
    match mode {
        "auto" => Ok(Wish::Auto),
        "none" => Ok(Wish::None),
        "required" => Ok(Wish::Required),
        _ => Err(refused("must be auto, none, required, or an object that names tools")),
    }
}

fn of_allowed<'a>(allowed: AllowedTools<'a>, tools: &mut Vec<Named<'a>>) -> Result<Wish<'a>, Refused> {
    let wish = of_mode(&allowed.mode.0)?;
    let named = |given: Allowed<'a>| given.function.map(|function| function.name).or(given.name).map(|name| name.0);
    let names = allowed.tools.into_iter().map(named).collect::<Option<Vec<_>>>();
    let names = names.filter(|names| !names.is_empty()).ok_or_else(|| refused("names no allowed tool"))?;
    if names.iter().any(|name| !tools.iter().any(|tool| tool.name == *name)) {
        return Err(refused("names a tool that is not among the tools"));
    }
    tools.retain(|tool| names.contains(&tool.name));
    Ok(match (wish, tools.as_slice()) {
        (Wish::Required, [Named { name, .. }]) => Wish::Named(name.clone()),
        (wish, _) => wish,
    })
}

fn refused(message: &str) -> Refused {
    invalid("tool_choice", message)
}

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor;
        impl<'de> Visitor<'de> for GivenVisitor {
            type Value = Given<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }
            fn visit_borrowed_str<E>(self, mode: &'de str) -> Result<Self::Value, E> {
                Ok(Given::Mode(Cow::Borrowed(mode)))
            }
            fn visit_str<E>(self, mode: &str) -> Result<Self::Value, E> {
                Ok(Given::Mode(Cow::Owned(mode.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                Object::deserialize(MapAccessDeserializer::new(members)).map(Given::Object)
            }
        }
        deserializer.deserialize_any(GivenVisitor)
    }
}
