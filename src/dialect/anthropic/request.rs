//! One request, there: the client's document becomes the upstream's headers and body. Puts together what its neighbours read.

use std::fmt::Display;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::body::{Body, OutputConfig, ToolChoice};
use super::messages::Conversation;
use super::parameters::{self, Dropped, given, parsed};
use super::profile::Profile;
use super::reader::{AnswerReader, Wanted};
use super::reasoning::{BINDING_BETA, Circumstances, Reasoning};
use super::sampling::{Sampling, VERSION_WITHOUT};
use super::structured::{self, Structure};
use super::tool_choice::Choice;
use super::{tool_choice, tools};
use crate::dialect::{Ask, Call, Prepared, Quirks, Refused};

/// The newest API version that still knows sampling parameters.
const VERSION_WITH_SAMPLING: &str = "2023-06-01";

/// Translates one chat request.
pub fn translate(ask: &Ask<'_>) -> Result<Prepared, Refused> {
    let profile = Profile::of(ask.upstream_model);
    let mut dropped = Dropped::default();
    parameters::sort_out(ask, &mut dropped)?;
    let max_tokens = parameters::max_tokens(ask, &profile)?;
    let service_tier = parameters::service_tier(ask)?;
    let include_usage = parameters::wants_usage(ask, &mut dropped)?;

    let conversation = Conversation::read(given(ask, "messages"))?;
    let mut tools = tools::read(given(ask, "tools"), &profile, &mut dropped)?;
    let wish = tool_choice::read(given(ask, "tool_choice"), &mut tools, &mut dropped)?;
    let is_parallel = parsed::<bool>(ask, "parallel_tool_calls")? != Some(false);
    let structure = Structure::read(given(ask, "response_format"), &profile, !tools.is_empty(), &mut dropped)?;
    let mut shaped = conversation.into_shape(structure.instruction())?;
    let (format, answer) = structure.into_parts();
    let answers_by_tool = answer.is_some();
    let (tools, tool_choice) = match answer {
        Some(schema) => structured::forced(schema),
        None if tools.is_empty() => tool_choice::forbidden(std::mem::take(&mut shaped.tools_used)),
        None => {
            let Choice { choice, plea } = tool_choice::compile(wish, is_parallel, &profile, &mut dropped);
            if let Some(plea) = plea {
                shaped.ask_for(plea);
            }
            (tools.into_iter().map(|named| named.tool).collect(), choice)
        }
    };

    let is_forced = matches!(tool_choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. }));
    let circumstances = Circumstances { max_tokens, rules_out_budget: is_forced || shaped.answers_without_thinking() };
    let mut reasoning = Reasoning::read(ask, &profile, &circumstances, &mut dropped)?;
    let sampling = Sampling::read(ask, &profile, reasoning.is_on(), &mut dropped)?;
    let is_bound = profile.bound && shaped.has_thinking && reasoning.bind();
    let headers = headers(ask, sampling.is_used(), is_bound.then_some(BINDING_BETA));

    let body = Body {
        model: ask.upstream_model,
        max_tokens,
        system: shaped.system,
        messages: shaped.turns,
        tools,
        tool_choice,
        thinking: reasoning.thinking,
        output_config: OutputConfig::of(reasoning.effort, format),
        stop_sequences: parameters::stop_sequences(ask, &mut dropped)?,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        metadata: parameters::metadata(ask)?,
        service_tier,
        cache_control: parsed(ask, "cache_control")?,
        stream: ask.stream,
    };
    let wanted = Wanted { usage_chunk: include_usage, service_tier: service_tier.is_some(), answers_by_tool };
    Ok(Prepared {
        call: Call::Http { headers, body: written(&body, ask)? },
        reader: Box::new(AnswerReader::new(ask, wanted)),
        dropped: dropped.into_names(),
    })
}

/// `anthropic-version` (rule 1.3) and `anthropic-beta` (rule 1.4).
fn headers(ask: &Ask<'_>, samples: bool, own_beta: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(2);
    if ask.anthropic_version.is_none() {
        let version = if samples { VERSION_WITH_SAMPLING } else { VERSION_WITHOUT };
        headers.push(("anthropic-version", version.to_owned()));
    }
    let mut betas: Vec<&str> = Vec::new();
    for beta in ask.anthropic_beta.unwrap_or_default().split(',').map(str::trim).chain(own_beta) {
        if !beta.is_empty() && !betas.contains(&beta) {
            betas.push(beta);
        }
    }
    if !betas.is_empty() {
        headers.push(("anthropic-beta", betas.join(",")));
    }
    headers
}

/// The body's bytes, with the kind's quirks.
fn written(body: &Body<'_>, ask: &Ask<'_>) -> Result<Bytes, Refused> {
    let Quirks { rename, drop, set, .. } = ask.quirks;
    let unwritable = |_| invalid("messages", "the request cannot be written as JSON");
    if rename.is_empty() && drop.is_empty() && set.is_empty() {
        let mut bytes = Vec::with_capacity(ask.document.bytes().len() + 512);
        serde_json::to_writer(&mut bytes, body).map_err(unwritable)?;
        return Ok(bytes.into());
    }
    let Value::Object(members) = serde_json::to_value(body).map_err(unwritable)? else { return Ok(Bytes::new()) };
    let mut changed = Map::with_capacity(members.len() + set.len());
    for (name, value) in members {
        if !drop.contains(&name) {
            let name = rename.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to.clone());
            changed.insert(name, value);
        }
    }
    for (name, raw) in set {
        // The configuration was checked when it was read.
        if let Ok(value) = serde_json::from_str(raw) {
            changed.insert(name.clone(), value);
        }
    }
    serde_json::to_vec(&changed).map(Bytes::from).map_err(unwritable)
}

/// A value that cannot be right.
pub fn invalid(param: impl Display, message: &str) -> Refused {
    refused("invalid_value", param, message)
}

/// A value that is right, but that this dialect cannot express.
pub fn unsupported(param: impl Display, message: &str) -> Refused {
    refused("unsupported_value", param, message)
}

/// A parameter this dialect cannot express, whatever its value.
pub fn unsupported_parameter(param: impl Display, message: &str) -> Refused {
    refused("unsupported_parameter", param, message)
}

fn refused(code: &'static str, param: impl Display, message: &str) -> Refused {
    let param = param.to_string();
    Refused { code, message: format!("{param}: {message}"), param: Some(param) }
}

/// Says where in the parameter `name`, whose text is `raw`, something is not the type it has to be. Reads it once more,
/// watching its step.
pub fn wrong_type<'a, T: Deserialize<'a>>(name: &str, raw: &'a str) -> Refused {
    let read = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(raw));
    let path = read.err().map(|error| error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    let param = format!("{name}{dot}{path}");
    // Section 3.3 names parts, not what is in them.
    let part = param.find("].content[").and_then(|at| Some(at + 10 + param[at + 10..].find(']')?));
    let param = part.map_or(param.as_str(), |end| &param[..=end]);
    invalid(param, "is not of the type it has in OpenAI's API, or stands there twice")
}
