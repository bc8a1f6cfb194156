//! Translation of one request: the client's document becomes the upstream's headers and body. The
//! modules below translate its parts.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::answer::{AnswerReader, Expected};
use super::profile::Profile;
use crate::dialect::call::{AnswerFormat, Call, JSON, Prepared};
use crate::dialect::quirks::Quirks;
use crate::dialect::request::{JsonRequest, Refused};

mod body;
mod calls;
mod content;
mod data_url;
mod messages;
mod parameters;
mod reasoning;
mod refusal;
mod sampling;
mod schema;
mod structured;
mod tool_choice;
mod tools;
mod turns;

use body::{MessagesBody, OutputConfig, ToolChoice};
use messages::Conversation;
use parameters::{Dropped, given, parsed};
use reasoning::{BINDING_BETA, Reasoning, ThinkingContext};
use refusal::invalid;
use sampling::{Sampling, VERSION_WITHOUT};
use structured::Structure;
use tool_choice::CompiledChoice;

/// Newest API version that accepts sampling parameters.
const VERSION_WITH_SAMPLING: &str = "2023-06-01";

/// Translates one chat request.
///
/// # Errors
/// [`Refused`] if the request cannot be expressed in the Messages API.
pub fn translate(request: &JsonRequest<'_>) -> Result<Prepared, Refused> {
    let profile = Profile::of(request.upstream_model);
    let mut dropped = Dropped::default();
    parameters::check_support(request, &mut dropped)?;
    let max_tokens = parameters::max_tokens(request, &profile)?;
    let service_tier = parameters::service_tier(request)?;
    let include_usage = parameters::wants_usage(request, &mut dropped)?;

    let conversation = Conversation::read(given(request, "messages"))?;
    let mut tools = tools::read(given(request, "tools"), &profile, &mut dropped)?;
    let requested = tool_choice::read(given(request, "tool_choice"), &mut tools, &mut dropped)?;
    let is_parallel = parsed::<bool>(request, "parallel_tool_calls")? != Some(false);
    let structure = Structure::read(given(request, "response_format"), &profile, !tools.is_empty(), &mut dropped)?;
    let mut shaped = conversation.into_shape(structure.instruction())?;
    let (format, answer) = structure.into_parts();
    let answers_by_tool = answer.is_some();
    let (tools, tool_choice) = match answer {
        Some(schema) => structured::forced(schema),
        None if tools.is_empty() => tool_choice::forbidden(std::mem::take(&mut shaped.tools_used)),
        None => {
            let CompiledChoice { choice, prompt } = tool_choice::compile(requested, is_parallel, &profile, &mut dropped);
            if let Some(prompt) = prompt {
                shaped.append_to_last_user_turn(prompt);
            }
            (tools.into_iter().map(|named| named.tool).collect(), choice)
        }
    };

    let is_forced = matches!(tool_choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. }));
    let context = ThinkingContext { max_tokens, rules_out_budget: is_forced || shaped.answers_without_thinking() };
    let mut reasoning = Reasoning::read(request, &profile, &context, &mut dropped)?;
    let sampling = Sampling::read(request, &profile, reasoning.is_on(), &mut dropped)?;
    let is_bound = profile.bound && shaped.has_thinking && reasoning.drop_unbound();
    let headers = headers(request, sampling.is_used(), is_bound.then_some(BINDING_BETA));

    let body = MessagesBody {
        model: request.upstream_model,
        max_tokens,
        system: shaped.system,
        messages: shaped.turns,
        tools,
        tool_choice,
        thinking: reasoning.thinking,
        output_config: OutputConfig::of(reasoning.effort, format),
        stop_sequences: parameters::stop_sequences(request, &mut dropped)?,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        metadata: parameters::metadata(request)?,
        service_tier,
        cache_control: parsed(request, "cache_control")?,
        stream: request.stream,
    };
    let expected = Expected { usage_chunk: include_usage, service_tier: service_tier.is_some(), answers_by_tool };
    Ok(Prepared {
        call: Call::Http { headers, content_type: JSON, body: serialize(&body, request)? },
        reader: Box::new(AnswerReader::new(request, expected)),
        format: AnswerFormat::of_json(request.stream),
        dropped: dropped.into_names(),
    })
}

/// `anthropic-version` (rule 1.3) and `anthropic-beta` (rule 1.4).
fn headers(request: &JsonRequest<'_>, samples: bool, own_beta: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(2);
    if request.headers.fixed.get("anthropic-version").is_none() {
        let version = if samples { VERSION_WITH_SAMPLING } else { VERSION_WITHOUT };
        headers.push(("anthropic-version", version.to_owned()));
    }
    let mut betas: Vec<&str> = Vec::new();
    for beta in request.headers.client.get("anthropic-beta").unwrap_or_default().split(',').map(str::trim).chain(own_beta) {
        if !beta.is_empty() && !betas.contains(&beta) {
            betas.push(beta);
        }
    }
    if !betas.is_empty() {
        headers.push(("anthropic-beta", betas.join(",")));
    }
    headers
}

/// Serializes the body and applies the kind's quirks.
fn serialize(body: &MessagesBody<'_>, request: &JsonRequest<'_>) -> Result<Bytes, Refused> {
    let Quirks { rename, drop, set, .. } = request.quirks;
    let not_serializable = |_| invalid("messages", "the request cannot be serialized as JSON");
    if rename.is_empty() && drop.is_empty() && set.is_empty() {
        let mut bytes = Vec::with_capacity(request.payload.bytes().len() + 512);
        serde_json::to_writer(&mut bytes, body).map_err(not_serializable)?;
        return Ok(bytes.into());
    }
    let Value::Object(members) = serde_json::to_value(body).map_err(not_serializable)? else { return Ok(Bytes::new()) };
    let mut changed = Map::with_capacity(members.len() + set.len());
    for (name, value) in members {
        if !drop.contains(&name) {
            let name = rename.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to.clone());
            changed.insert(name, value);
        }
    }
    for (name, raw) in set {
        // Validated when the configuration was loaded.
        if let Ok(value) = serde_json::from_str(raw) {
            changed.insert(name.clone(), value);
        }
    }
    serde_json::to_vec(&changed).map(Bytes::from).map_err(not_serializable)
}
