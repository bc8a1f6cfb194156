//! The shape a conversation must have upstream: who speaks first, who follows whom, what stands where (sections 3.2, 3.5).

use std::borrow::Cow;

use super::body::{Block, Role, Turn};
use super::messages::Conversation;
use super::refusal::invalid;
use crate::dialect::Refused;

impl<'a> Conversation<'a> {
    /// Puts the turns into shape. `instruction`, if any, is said last in the system prompt.
    pub fn into_shape(self, instruction: Option<&'static str>) -> Result<Shaped<'a>, Refused> {
        let mut units = self.system;
        units.extend(instruction.filter(|_| !self.is_system_only || !units.is_empty()).map(Block::text));
        let (system, turns) = if self.is_system_only && !units.is_empty() {
            (Vec::new(), vec![Turn { role: Role::User, content: units }])
        } else {
            (join(units), self.turns)
        };
        if turns.is_empty() {
            return Err(invalid("messages", "there is no message that says anything"));
        }
        let mut turns = merge(turns);
        for turn in turns.iter_mut().filter(|turn| turn.role == Role::User) {
            turn.content.sort_by_key(|block| !matches!(block, Block::ToolResult { .. }));
        }
        if turns.first().is_some_and(|turn| turn.role == Role::Assistant) {
            turns.insert(0, Turn { role: Role::User, content: vec![Block::text(".")] });
        }
        if let Some(Turn { role: Role::Assistant, content }) = turns.last_mut() {
            trim_last_text(content);
        }
        Ok(Shaped { system, turns, tools_used: self.tools_used, has_thinking: self.has_thinking })
    }
}

/// A conversation as it goes upstream.
pub struct Shaped<'a> {
    pub system: Vec<Block<'a>>,
    pub turns: Vec<Turn<'a>>,
    /// As in the [`Conversation`].
    pub tools_used: Vec<Cow<'a, str>>,
    /// As in the [`Conversation`].
    pub has_thinking: bool,
}

impl Shaped<'_> {
    /// Says `text` at the end of the last user turn.
    pub fn ask_for(&mut self, text: String) {
        if let Some(turn) = self.turns.iter_mut().rfind(|turn| turn.role == Role::User) {
            turn.content.push(Block::text(text));
        }
    }

    /// Whether the model is in the middle of a tool call that it began without thinking: results wait in the last user
    /// turn, and the turn they answer does not begin with a thinking block.
    pub fn answers_without_thinking(&self) -> bool {
        let last = |role| self.turns.iter().rfind(|turn| turn.role == role).map(|turn| turn.content.as_slice()).unwrap_or_default();
        last(Role::User).iter().any(|block| matches!(block, Block::ToolResult { .. }))
            && !matches!(last(Role::Assistant).first(), Some(Block::Thinking(_)))
    }
}

/// Units of the system prompt as one block, unless one has a marker: that would move.
fn join(units: Vec<Block<'_>>) -> Vec<Block<'_>> {
    let is_marked = |unit: &Block<'_>| matches!(unit, Block::Text { cache_control: Some(_), .. });
    if units.len() < 2 || units.iter().any(is_marked) {
        return units;
    }
    let texts: Vec<&str> = units.iter().map(|unit| if let Block::Text { text, .. } = unit { text } else { "" }).collect();
    vec![Block::text(texts.join("\n"))]
}

/// Neighbouring turns of one role as one turn.
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

fn trim_last_text(content: &mut [Block<'_>]) {
    let last = content.iter_mut().rev().find_map(|block| if let Block::Text { text, .. } = block { Some(text) } else { None });
    match last {
        Some(Cow::Borrowed(text)) => *text = text.trim_end(),
        Some(Cow::Owned(text)) => text.truncate(text.trim_end().len()),
        None => {}
    }
}
