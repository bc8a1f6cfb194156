//! Order of turns that the Messages API requires (sections 3.2, 3.5).

use std::borrow::Cow;

use super::body::{InputBlock, Role, Turn};
use super::messages::Conversation;
use super::refusal::invalid;
use crate::dialect::request::Refused;

impl<'a> Conversation<'a> {
    /// Enforces the order of turns. `instruction` is added to the end of the system prompt.
    ///
    /// # Errors
    /// [`Refused`] if no message has content.
    pub fn into_shape(self, instruction: Option<&'static str>) -> Result<Shaped<'a>, Refused> {
        let mut blocks = self.system;
        blocks.extend(instruction.filter(|_| !self.is_system_only || !blocks.is_empty()).map(InputBlock::text));
        let (system, turns) = if self.is_system_only && !blocks.is_empty() {
            (Vec::new(), vec![Turn { role: Role::User, content: blocks }])
        } else {
            (join(blocks), self.turns)
        };
        if turns.is_empty() {
            return Err(invalid("messages", "no message has content"));
        }
        let mut turns = merge(turns);
        for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
            turn.content.sort_by_key(|block| !matches!(block, InputBlock::ToolResult { .. }));
        }
        if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
            turns.insert(0, Turn { role: Role::User, content: vec![InputBlock::text(".")] });
        }
        if let Some(Turn { role: Role::Assistant, content }) = turns.last_mut() {
            trim_last_text(content);
        }
        Ok(Shaped { system, turns, tools_used: self.tools_used, has_thinking: self.has_thinking })
    }
}

/// Conversation in the form that is sent.
pub struct Shaped<'a> {
    pub system: Vec<InputBlock<'a>>,
    pub turns: Vec<Turn<'a>>,
    /// As in the [`Conversation`].
    pub tools_used: Vec<Cow<'a, str>>,
    /// As in the [`Conversation`].
    pub has_thinking: bool,
}

impl Shaped<'_> {
    /// Appends `text` to the last user turn.
    pub fn append_to_last_user_turn(&mut self, text: String) {
        if let Some(turn) = self.turns.iter_mut().rfind(|turn| turn.role == Role::User) {
            turn.content.push(InputBlock::text(text));
        }
    }

    /// Whether the last user turn has tool results and the assistant turn before it does not begin
    /// with thinking. Then thinking cannot be turned on in the middle of the tool calls.
    pub fn answers_without_thinking(&self) -> bool {
        let last = |role| self.turns.iter().rfind(|turn| turn.role == role).map(|turn| turn.content.as_slice()).unwrap_or_default();
        last(Role::User).iter().any(|block| matches!(block, InputBlock::ToolResult { .. }))
            && !matches!(last(Role::Assistant).first(), Some(InputBlock::Thinking(_)))
    }
}

/// Joins the blocks of the system prompt, unless one has a caching marker, which would move.
fn join(blocks: Vec<InputBlock<'_>>) -> Vec<InputBlock<'_>> {
    let is_marked = |block: &InputBlock<'_>| matches!(block, InputBlock::Text { cache_control: Some(_), .. });
    if blocks.len() < 2 || blocks.iter().any(is_marked) {
        return blocks;
    }
    let texts: Vec<&str> = blocks.iter().map(|block| if let InputBlock::Text { text, .. } = block { text } else { "" }).collect();
    vec![InputBlock::text(texts.join("\n"))]
}

/// Merges adjacent turns of one role.
fn merge(turns: Vec<Turn<'_>>) -> Vec<Turn<'_>> {
    let mut merged: Vec<Turn<'_>> = Vec::with_capacity(turns.len() + 1);
    for mut turn in turns {
        match merged.last_mut() {
            Some(last) if last.role == turn.role => last.content.append(&mut turn.content),
            _ => merged.push(turn),
        }
    }
    merged
}

fn trim_last_text(content: &mut [InputBlock<'_>]) {
    let last = content.iter_mut().rev().find_map(|block| if let InputBlock::Text { text, .. } = block { Some(text) } else { None });
    match last {
        Some(Cow::Borrowed(text)) => *text = text.trim_end(),
        Some(Cow::Owned(text)) => text.truncate(text.trim_end().len()),
        None => {}
    }
}
