//! `price`: US dollars per million tokens in TOML, converted exactly to pico-USD per token.

use std::sync::Arc;

use ::toml::Value;

use super::section::Section;
use crate::terms::PicoUsd;

/// Decimals of a US dollar per million tokens that fit into pico-USD per token.
const PER_MILLION_TOKENS: usize = 6;
/// Decimals of a US dollar that fit into pico-USD.
const PER_CALL: usize = 12;

/// List prices per token, except `request`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Price {
    /// Prices of prompts up to the long-context threshold.
    pub base: Rates,
    /// Threshold in tokens, and the prices of prompts above it.
    pub long_context: Option<(u64, Rates)>,
    /// Price per call.
    pub request: PicoUsd,
}

/// Prices per token. Cached and cache-write prices that TOML omits are already filled in with the input price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// Prompt tokens.
    pub input: PicoUsd,
    /// Prompt tokens read from the cache.
    pub cached_input: PicoUsd,
    /// Prompt tokens written to the cache.
    pub cache_write: PicoUsd,
    /// Prompt tokens written to the cache for an hour.
    pub cache_write_1h: PicoUsd,
    /// Completion tokens.
    pub output: PicoUsd,
}

/// Prices as written in TOML; `None` where a key is missing.
#[derive(Debug, Clone, Copy, Default)]
struct WrittenRates {
    input: Option<PicoUsd>,
    output: Option<PicoUsd>,
    cached_input: Option<PicoUsd>,
    cache_write: Option<PicoUsd>,
    cache_write_1h: Option<PicoUsd>,
}

/// Reads the price of an offering, `"free"` or a table. `None` if a problem was recorded.
/// `has_output`: the model is known to produce output tokens, so an output price is required.
pub(super) fn read(section: &mut Section<'_>, has_output: bool) -> Option<Arc<Price>> {
    const REMEDY: &str = "write price = { input = 0.59, output = 0.79 } in USD per million tokens, or price = \"free\"";
    match section.value("price") {
        None => section.problem("price", "is missing", REMEDY),
        Some(Value::String(text)) if text == "free" => return Some(Arc::default()),
        Some(Value::Table(_)) => {
            let mut table = section.section_or_empty("price");
            let price = price(&mut table, has_output);
            table.done();
            return price.map(Arc::new);
        }
        Some(_) => section.problem("price", "is not a price", REMEDY),
    }
    None
}

fn price(table: &mut Section<'_>, has_output: bool) -> Option<Price> {
    let base = WrittenRates::read(table);
    let request = amount(table, "request", PER_CALL);
    if !table.has("input") && !table.has("request") {
        table.problem("input", "has no price", "write input = 0.59 in USD per million tokens, or price = \"free\"");
    }
    if !table.has("output") && has_output {
        table.problem("output", "has no price", "write output = 0.79 in USD per million tokens, or output = 0");
    } else if !table.has("output") && !table.has("request") {
        let at = table.path("output");
        table
            .diagnostics()
            .warning(format!("{}: {at}: output tokens are not charged; write output = 0 if that is intended", table.file().display()));
    }
    let long_context = table.section("long_context").and_then(|mut long| {
        let above = long.number("above", 1..=u64::MAX);
        if !long.has("above") {
            long.problem("above", "is missing", "write above = 200000, in tokens");
        }
        let rates = WrittenRates::read(&mut long).or(base).rates();
        long.done();
        Some((above?, rates))
    });
    Some(Price { base: base.rates(), long_context, request: request.unwrap_or_default() })
}

impl WrittenRates {
    fn read(table: &mut Section<'_>) -> Self {
        Self {
            input: amount(table, "input", PER_MILLION_TOKENS),
            output: amount(table, "output", PER_MILLION_TOKENS),
            cached_input: amount(table, "cached_input", PER_MILLION_TOKENS),
            cache_write: amount(table, "cache_write", PER_MILLION_TOKENS),
            cache_write_1h: amount(table, "cache_write_1h", PER_MILLION_TOKENS),
        }
    }

    /// Returns these prices, with gaps filled from `base`.
    fn or(self, base: Self) -> Self {
        Self {
            input: self.input.or(base.input),
            output: self.output.or(base.output),
            cached_input: self.cached_input.or(base.cached_input),
            cache_write: self.cache_write.or(base.cache_write),
            cache_write_1h: self.cache_write_1h.or(base.cache_write_1h),
        }
    }

    /// Fills gaps: cached and cache-write tokens cost as much as input, one-hour cache writes as much
    /// as cache writes. A model without an output price (embeddings) has no output to charge.
    fn rates(self) -> Rates {
        let input = self.input.unwrap_or_default();
        let cache_write = self.cache_write.unwrap_or(input);
        Rates {
            input,
            cached_input: self.cached_input.unwrap_or(input),
            cache_write,
            cache_write_1h: self.cache_write_1h.unwrap_or(cache_write),
            output: self.output.unwrap_or_default(),
        }
    }
}

/// Reads one amount exactly as written.
fn amount(table: &mut Section<'_>, key: &'static str, decimals: usize) -> Option<PicoUsd> {
    let value = table.value(key)?;
    let spelled = match value {
        Value::Integer(whole) => whole.to_string(),
        // The shortest text that reads back as this float, which is the text of the file for any listed price.
        Value::Float(number) if number.is_finite() => number.to_string(),
        _ => {
            table.problem(key, "is not a price", "write a number such as 0.59");
            return None;
        }
    };
    match units(&spelled, decimals) {
        Ok(units) => Some(PicoUsd(units)),
        Err(fault) => {
            table.problem(key, format!("{spelled} {}", fault.0), fault.1);
            None
        }
    }
}

/// Problem of an amount, and its remedy.
type Fault = (&'static str, &'static str);

/// Converts a plain decimal to units of 10^-`decimals`.
fn units(spelled: &str, decimals: usize) -> Result<u64, Fault> {
    const TOO_MUCH: Fault = ("is too large for a price", "write US dollars per million tokens (request: per call)");
    if spelled.starts_with('-') && spelled.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        return Err(("is negative", "write 0 or more"));
    }
    let (whole, fraction) = spelled.trim_start_matches('-').split_once('.').unwrap_or((spelled.trim_start_matches('-'), ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return Err(("has too many decimals", "round it to 6 decimals (request: 12)"));
    }
    format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| TOO_MUCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_converted_digit_by_digit() {
        for (spelled, units_expected) in
            [("0.59", 590_000), ("3", 3_000_000), ("0.000001", 1), ("-0", 0), ("1.71875", 1_718_750), ("0.10", 100_000)]
        {
            assert_eq!(units(spelled, 6), Ok(units_expected), "{spelled}");
        }
        for (spelled, what) in [("-1.5", "negative"), ("0.0000001", "too many decimals"), ("99999999999999999999", "too large")] {
            assert!(units(spelled, 6).unwrap_err().0.contains(what), "{spelled}");
        }
    }

    proptest! {
        #[test]
        fn listed_prices_survive_conversion_to_a_float(micro in 0_u64..1_000_000_000_000) {
            let typed = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
            let number: f64 = typed.parse().unwrap();
            prop_assert_eq!(units(&number.to_string(), 6), Ok(micro));
        }
    }
}
