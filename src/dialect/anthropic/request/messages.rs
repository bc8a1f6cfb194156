//! OpenAI's messages, read and sorted: what is said to the model as its system prompt, and the turns (sections 3.1, 3.2, 3.6).
//!
//! One message at a time; how turns must follow each other is `turns.rs`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{Block, CacheControl, ResultContent, Role, Turn};
use super::calls::{Ids, ToolCall};
use super::content::{Author, Content};
use super::refusal::{invalid, unsupported_parameter, wrong_type};
use crate::dialect::Refused;
use crate::dialect::anthropic::text::{Text, is_blank};

/// One message, as the client sent it.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
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

/// A conversation in Anthropic's terms, not yet in the shape it must have.
#[derive(Default)]
pub struct Conversation<'a> {
    /// What the system and developer messages say, in order: text blocks, none blank.
    pub system: Vec<Block<'a>>,
    /// The other messages that say something, one turn each.
    pub turns: Vec<Turn<'a>>,
    /// Whether every message was a system or developer message.
    pub is_system_only: bool,
    /// The tools that were called, in order of first use.
    pub tools_used: Vec<Cow<'a, str>>,
    /// Whether a turn holds a thinking block.
    pub has_thinking: bool,
}

impl<'a> Conversation<'a> {
    /// Reads the `messages` of a request, as raw JSON.
    pub fn read(raw: Option<&'a str>) -> Result<Self, Refused> {
        let raw = raw.ok_or_else(|| invalid("messages", "an array of messages is needed"))?;
        let messages: Vec<Message<'a>> = serde_json::from_str(raw).map_err(|_| wrong_type::<Vec<Message<'_>>>("messages", raw))?;
        let mut conversation = Self { is_system_only: true, turns: Vec::with_capacity(messages.len()), ..Self::default() };
        let (mut ids, mut last) = (Ids::default(), None);
        for (index, message) in messages.into_iter().enumerate() {
            let role = message.role.as_ref().map(|role| &*role.0).unwrap_or_default();
            let (role, blocks) = match role {
                "system" | "developer" => {
                    conversation.system.extend(message.spoken(Author::System, index)?);
                    continue;
                }
                "user" => (Role::User, message.spoken(Author::User, index)?),
                "assistant" => (Role::Assistant, conversation.assistant(message, index, &mut ids)?),
                "tool" => (Role::User, vec![message.into_result(index, &mut ids)?]),
                "function" => return Err(unsupported_parameter(format!("messages[{index}].role"), "use a message with role tool")),
                _ => {
                    let param = format!("messages[{index}].role");
                    return Err(invalid(param, "the role must be system, developer, user, assistant or tool"));
                }
            };
            conversation.is_system_only = false;
            last = Some((index, role, blocks.is_empty()));
            if !blocks.is_empty() {
                conversation.turns.push(Turn { role, content: blocks });
            }
        }
        // Dropped, it would leave the model to answer something else.
        if let Some((index, Role::User, true)) = last {
            return Err(invalid(format!("messages[{index}].content"), "the last user message is blank"));
        }
        Ok(conversation)
    }

    /// An assistant message's blocks: thinking, text, calls. Thinking alone is nothing.
    fn assistant(&mut self, mut message: Message<'a>, index: usize, ids: &mut Ids<'a>) -> Result<Vec<Block<'a>>, Refused> {
        if message.function_call.is_some() {
            return Err(unsupported_parameter(format!("messages[{index}].function_call"), "use tool_calls"));
        }
        let thinking = message.thinking_blocks.take().unwrap_or_default();
        let calls = message.tool_calls.take().unwrap_or_default();
        let (refusal, marker) = (message.refusal.take(), message.cache_control.take());
        let mut spoken = message.spoken(Author::Assistant, index)?;
        if spoken.is_empty() {
            spoken.extend(refusal.filter(|text| !text.is_blank()).map(|text| Block::text(text.0)));
        }
        let mut blocks = Vec::with_capacity(thinking.len() + spoken.len() + calls.len());
        for (nth, raw) in thinking.into_iter().enumerate() {
            blocks.push(thinking_block(raw).ok_or_else(|| {
                invalid(format!("messages[{index}].thinking_blocks[{nth}]"), "a block has type thinking or redacted_thinking")
            })?);
        }
        let thoughts = blocks.len();
        blocks.append(&mut spoken);
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

impl<'a> Message<'a> {
    /// The blocks of the message's content, the last with the message's own marker.
    fn spoken(self, author: Author, index: usize) -> Result<Vec<Block<'a>>, Refused> {
        let mut blocks = self.content.map(|content| content.into_blocks(author, index)).transpose()?.unwrap_or_default();
        mark_last(&mut blocks, self.cache_control);
        Ok(blocks)
    }

    /// The block of a tool message.
    fn into_result(self, index: usize, ids: &mut Ids<'a>) -> Result<Block<'a>, Refused> {
        let Some(Text(id)) = self.tool_call_id.filter(|id| !id.0.is_empty()) else {
            return Err(invalid(format!("messages[{index}].tool_call_id"), "a tool message needs the id of the call it answers"));
        };
        let content = match self.content {
            None => None,
            Some(Content::Text(text)) => (!is_blank(&text)).then_some(ResultContent::Text(text)),
            Some(parts) => Some(parts.into_blocks(Author::Tool, index)?).filter(|blocks| !blocks.is_empty()).map(ResultContent::Blocks),
        };
        Ok(Block::ToolResult { tool_use_id: ids.of_result(id), content, cache_control: self.cache_control })
    }
}

fn mark_last<'a>(blocks: &mut [Block<'a>], marker: CacheControl<'a>) {
    if let Some(block) = blocks.last_mut() {
        block.mark(marker);
    }
}

fn thinking_block(raw: &RawValue) -> Option<Block<'_>> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    let kind = serde_json::from_str::<Kind<'_>>(raw.get()).ok()?.kind;
    matches!(&*kind.0, "thinking" | "redacted_thinking").then_some(Block::Thinking(raw))
}
