//! The list of all dialects.

use super::anthropic::Anthropic;
use super::contract::Dialect;
use super::openai::OpenAi;
use super::simulator::Simulator;

/// Every dialect.
pub const ALL: [&dyn Dialect; 3] = [&OpenAi, &Anthropic, &Simulator];

/// Returns the dialect with this name in TOML.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}
