//! Cost of a request: integer arithmetic on prices and token counts, no floats.
//!
//! `config` parses prices; the store sums entries.

use crate::config::{Price, Rates};
use crate::terms::{NanoUsd, PicoUsd, Usage};

const PICO_PER_NANO: u128 = 1_000;

/// The cost of a request at list price: exact in pico-USD, rounded half up once to nano-USD.
/// Reasoning tokens are part of completion tokens. Contradictory or overflowing counts saturate;
/// the cost is never negative.
pub fn cost(price: &Price, usage: &Usage) -> NanoUsd {
    let rates = price.rates_for(usage.prompt_tokens);
    let hour = usage.cache_write_1h_tokens.min(usage.cache_write_tokens);
    let short = usage.cache_write_tokens - hour;
    let plain = usage.prompt_tokens.saturating_sub(usage.cached_tokens).saturating_sub(usage.cache_write_tokens);
    let parts = [
        (plain, rates.input),
        (usage.cached_tokens, rates.cached_input),
        (short, rates.cache_write),
        (hour, rates.cache_write_1h),
        (usage.completion_tokens, rates.output),
        (1, price.request),
    ];
    let pico = parts.into_iter().fold(0_u128, |sum, (tokens, PicoUsd(each))| sum.saturating_add(u128::from(tokens) * u128::from(each)));
    let nano = pico.saturating_add(PICO_PER_NANO / 2) / PICO_PER_NANO;
    NanoUsd(i64::try_from(nano).unwrap_or(i64::MAX))
}

impl Price {
    /// The rates for a prompt of that many tokens.
    pub fn rates_for(&self, prompt_tokens: u64) -> &Rates {
        match &self.long_context {
            Some((above, rates)) if prompt_tokens > *above => rates,
            _ => &self.base,
        }
    }
}

/// A price in US dollars as a plain decimal, as in `pricing` of `GET /v1/models`: `0.00000059`,
/// `0`.
pub fn decimal_usd(price: PicoUsd) -> String {
    const PICO_PER_USD: u64 = 1_000_000_000_000;
    let (whole, fraction) = (price.0 / PICO_PER_USD, price.0 % PICO_PER_USD);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{whole}.{fraction:012}");
    digits.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use bigdecimal::{BigDecimal, RoundingMode};
    use proptest::prelude::*;

    use super::*;

    fn rates(input: u64, cached_input: u64, cache_write: u64, cache_write_1h: u64, output: u64) -> Rates {
        Rates {
            input: PicoUsd(input),
            cached_input: PicoUsd(cached_input),
            cache_write: PicoUsd(cache_write),
            cache_write_1h: PicoUsd(cache_write_1h),
            output: PicoUsd(output),
        }
    }

    /// The same cost computed in decimal US dollars.
    fn by_hand(price: &Price, usage: &Usage) -> BigDecimal {
        let rates = match &price.long_context {
            Some((above, long)) if usage.prompt_tokens > *above => long,
            _ => &price.base,
        };
        let usd = |PicoUsd(pico): PicoUsd| BigDecimal::new(pico.into(), 12);
        let count = |tokens: u64| BigDecimal::from(tokens);
        let short = usage.cache_write_tokens - usage.cache_write_1h_tokens;
        let plain = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens;
        let total = count(plain) * usd(rates.input)
            + count(usage.cached_tokens) * usd(rates.cached_input)
            + count(short) * usd(rates.cache_write)
            + count(usage.cache_write_1h_tokens) * usd(rates.cache_write_1h)
            + count(usage.completion_tokens) * usd(rates.output)
            + usd(price.request);
        total.with_scale_round(9, RoundingMode::HalfUp)
    }

    prop_compose! {
        fn any_rates()(each in prop::array::uniform5(0_u64..500_000_000)) -> Rates {
            rates(each[0], each[1], each[2], each[3], each[4])
        }
    }

    prop_compose! {
        fn any_price()(base in any_rates(), long in prop::option::of((0_u64..300_000, any_rates())), request in 0_u64..1_000_000_000_000) -> Price {
            Price { base, long_context: long, request: PicoUsd(request) }
        }
    }

    prop_compose! {
        fn any_usage()(plain in 0_u64..400_000, cached_tokens in 0_u64..400_000, short in 0_u64..9_000, hour in 0_u64..9_000, out in 0_u64..200_000, reasoning in 0_u64..9_000)
            -> Usage {
            Usage {
                prompt_tokens: plain + cached_tokens + short + hour,
                cached_tokens,
                cache_write_tokens: short + hour,
                cache_write_1h_tokens: hour,
                completion_tokens: out + reasoning,
                reasoning_tokens: reasoning,
            }
        }
    }

    proptest! {
        #[test]
        fn cost_agrees_with_decimal_arithmetic(price in any_price(), usage in any_usage()) {
            let NanoUsd(nano) = cost(&price, &usage);
            prop_assert_eq!(BigDecimal::new(nano.into(), 9), by_hand(&price, &usage));
        }

        #[test]
        fn contradictory_counts_never_panic_and_never_give_a_refund(counts in prop::array::uniform6(any::<u64>()), each in any::<u64>()) {
            let [prompt_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens] = counts;
            let usage = Usage { prompt_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens };
            let price = Price { base: rates(each, each, each, each, each), long_context: None, request: PicoUsd(each) };
            prop_assert!(cost(&price, &usage) >= NanoUsd(0));
        }

        #[test]
        fn a_decimal_price_says_exactly_the_pico_dollars(pico in any::<u64>()) {
            let text = decimal_usd(PicoUsd(pico));
            prop_assert_eq!(text.parse::<BigDecimal>().unwrap(), BigDecimal::new(pico.into(), 12));
            prop_assert!(!text.contains('e') && (!text.contains('.') || !text.ends_with('0')));
        }
    }

    #[test]
    fn halves_of_a_nano_dollar_round_up_once() {
        let price = |pico| Price { base: rates(pico, 0, 0, 0, 0), ..Price::default() };
        let tokens = |prompt_tokens| Usage { prompt_tokens, ..Usage::default() };
        for (pico, prompt_tokens, nano) in [(499, 1, 0), (500, 1, 1), (1_499, 1, 1), (1_500, 1, 2), (400, 2, 1), (590_000, 10, 5_900)] {
            assert_eq!(cost(&price(pico), &tokens(prompt_tokens)), NanoUsd(nano), "{pico} x {prompt_tokens}");
        }
    }

    #[test]
    fn long_prompts_pay_long_rates_for_every_token() {
        let price =
            Price { base: rates(1_000, 0, 0, 0, 2_000), long_context: Some((10, rates(5_000, 0, 0, 0, 7_000))), request: PicoUsd(3_000) };
        let usage = |prompt_tokens| Usage { prompt_tokens, completion_tokens: 1, ..Usage::default() };
        assert_eq!(cost(&price, &usage(10)), NanoUsd(10 + 2 + 3));
        assert_eq!(cost(&price, &usage(11)), NanoUsd(55 + 7 + 3));
    }

    #[test]
    fn cached_tokens_beyond_the_prompt_are_paid_for_and_nothing_is_paid_back() {
        let price = Price { base: rates(10_000, 1_000, 2_000, 4_000, 0), ..Price::default() };
        let usage = Usage { prompt_tokens: 1, cached_tokens: 5, cache_write_tokens: 2, cache_write_1h_tokens: 9, ..Usage::default() };
        assert_eq!(cost(&price, &usage), NanoUsd(5 + 8));
    }

    #[test]
    fn prices_read_as_plain_decimals() {
        for (pico, text) in [(590_000, "0.00000059"), (0, "0"), (1, "0.000000000001"), (25_000_000_000, "0.025"), (2_000_000_000_000, "2")]
        {
            assert_eq!(decimal_usd(PicoUsd(pico)), text);
        }
    }
}
