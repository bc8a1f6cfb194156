//! Translation of OpenAI's messages into a system prompt and turns, one message at a time (sections
//! 3.1, 3.2, 3.6). The order of turns is enforced in `turns.rs`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{CacheControl, InputBlock, ResultContent, Role, Turn};
use super::calls::{Ids, ToolCall};
use super::content::{Author, MessageContent};
use super::refusal::{invalid, unsupported_parameter, wrong_type};
use crate::dialect::anthropic::text::{Text, is_blank};
use crate::dialect::request::Refused;

/// Message, as the client sent it.
#[derive(Debug, Deserialize)]
struct ChatMessage<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<MessageContent<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    tool_call_id: Option<Text<'a>>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking_blocks: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    cache_control: CacheControl<'a>,
}

/// Conversation in Anthropic's terms, before the order of turns is enforced.
#[derive(Default)]
pub struct Conversation<'a> {
    /// Text blocks of the system and developer messages, in order, none blank.
    pub system: Vec<InputBlock<'a>>,
    /// Other messages with content, one turn each.
    pub turns: Vec<Turn<'a>>,
    /// Whether every message was a system or developer message.
    pub is_system_only: bool,
    /// Names of the called tools, in order of first use.
    pub tools_used: Vec<Cow<'a, str>>,
    /// Whether a turn contains a thinking block.
    pub has_thinking: bool,
}

impl<'a> Conversation<'a> {
    /// Parses the raw JSON of `messages`.
    ///
    /// # Errors
    /// [`Refused`] naming the message at fault.
    pub fn read(raw: Option<&'a str>) -> Result<Self, Refused> {
        let raw = raw.ok_or_else(|| invalid("messages", "missing; send an array of messages"))?;
        let messages: Vec<ChatMessage<'a>> = serde_json::from_str(raw).map_err(|_| wrong_type::<Vec<ChatMessage<'_>>>("messages", raw))?;
        let mut conversation = Self { is_system_only: true, turns: Vec::with_capacity(messages.len()), ..Self::default() };
        let (mut ids, mut last) = (Ids::default(), None);
        for (index, message) in messages.into_iter().enumerate() {
            let role = message.role.as_ref().map(|role| &*role.0).unwrap_or_default();
            let (role, blocks) = match role {
                "system" | "developer" => {
                    conversation.system.extend(message.content_blocks(Author::System, index)?);
                    continue;
                }
                "user" => (Role::User, message.content_blocks(Author::User, index)?),
                "assistant" => (Role::Assistant, conversation.assistant(message, index, &mut ids)?),
                "tool" => (Role::User, vec![message.into_result(index, &mut ids)?]),
                "function" => return Err(unsupported_parameter(format!("messages[{index}].role"), "deprecated; use role tool")),
                _ => {
                    let param = format!("messages[{index}].role");
                    return Err(invalid(param, "must be system, developer, user, assistant or tool"));
                }
            };
            conversation.is_system_only = false;
            last = Some((index, role, blocks.is_empty()));
            if !blocks.is_empty() {
                conversation.turns.push(Turn { role, content: blocks });
            }
        }
        // If it were dropped, the model would answer an earlier message.
        if let Some((index, Role::User, true)) = last {
            return Err(invalid(format!("messages[{index}].content"), "the last user message must not be blank"));
        }
        Ok(conversation)
    }

    /// Returns an assistant message's blocks: thinking, text, calls. None if there is thinking
    /// only.
    fn assistant(&mut self, mut message: ChatMessage<'a>, index: usize, ids: &mut Ids<'a>) -> Result<Vec<InputBlock<'a>>, Refused> {
        if message.function_call.is_some() {
            return Err(unsupported_parameter(format!("messages[{index}].function_call"), "deprecated; use tool_calls"));
        }
        let thinking = message.thinking_blocks.take().unwrap_or_default();
        let calls = message.tool_calls.take().unwrap_or_default();
        let (refusal, marker) = (message.refusal.take(), message.cache_control.take());
        let mut text = message.content_blocks(Author::Assistant, index)?;
        if text.is_empty() {
            text.extend(refusal.filter(|refusal| !refusal.is_blank()).map(|refusal| InputBlock::text(refusal.0)));
        }
        let mut blocks = Vec::with_capacity(thinking.len() + text.len() + calls.len());
        for (nth, raw) in thinking.into_iter().enumerate() {
            blocks.push(thinking_block(raw).ok_or_else(|| {
                invalid(format!("messages[{index}].thinking_blocks[{nth}]"), "type must be thinking or redacted_thinking")
            })?);
        }
        let thoughts = blocks.len();
        blocks.append(&mut text);
        for (nth, call) in calls.into_iter().enumerate() {
            let (block, name) = call.into_block(|| format!("messages[{index}].tool_calls[{nth}]"), ids)?;
            blocks.push(block);
            if !self.tools_used.contains(&name) {
                self.tools_used.push(name);
            }
        }
        if blocks.len() == thoughts {
            return Ok(Vec::new());
        }
        self.has_thinking |= thoughts > 0;
        mark_last(&mut blocks, marker);
        Ok(blocks)
    }
}

impl<'a> ChatMessage<'a> {
    /// Returns the blocks of the message's content, the last with the message's own caching marker.
    fn content_blocks(self, author: Author, index: usize) -> Result<Vec<InputBlock<'a>>, Refused> {
        let mut blocks = self.content.map(|content| content.into_blocks(author, index)).transpose()?.unwrap_or_default();
        mark_last(&mut blocks, self.cache_control);
        Ok(blocks)
    }

    /// Returns the block of a tool message.
    fn into_result(self, index: usize, ids: &mut Ids<'a>) -> Result<InputBlock<'a>, Refused> {
        let Some(Text(id)) = self.tool_call_id.filter(|id| !id.0.is_empty()) else {
            return Err(invalid(format!("messages[{index}].tool_call_id"), "missing the id of the tool call"));
        };
        let content = match self.content {
            None => None,
            Some(MessageContent::Text(text)) => (!is_blank(&text)).then_some(ResultContent::Text(text)),
            Some(parts) => Some(parts.into_blocks(Author::Tool, index)?).filter(|blocks| !blocks.is_empty()).map(ResultContent::Blocks),
        };
        Ok(InputBlock::ToolResult { tool_use_id: ids.of_result(id), content, cache_control: self.cache_control })
    }
}

fn mark_last<'a>(blocks: &mut [InputBlock<'a>], marker: CacheControl<'a>) {
    if let Some(block) = blocks.last_mut() {
        block.mark(marker);
    }
}

fn thinking_block(raw: &RawValue) -> Option<InputBlock<'_>> {
    #[derive(Deserialize)]
    struct BlockKind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    let kind = serde_json::from_str::<BlockKind<'_>>(raw.get()).ok()?.kind;
    matches!(&*kind.0, "thinking" | "redacted_thinking").then_some(InputBlock::Thinking(raw))
}
