//! `/catalog`: the current models with their providers and prices.

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::AdminError;
use super::input::Parameters;
use super::page::ListJson;
use crate::catalog::offerings::Model;
use crate::config::{Offering, Price, Rates};
use crate::control::Control;
use crate::terms::PicoUsd;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Model")]
pub(super) struct ModelJson<'a> {
    object: &'static str,
    id: &'a str,
    aliases: &'a [String],
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    served_by: Vec<ServedJson<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Served")]
pub(super) struct ServedJson<'a> {
    kind: &'a str,
    upstream_model: &'a str,
    /// Brokered providers that offer the model now, in the order they are tried.
    providers: Vec<&'a str>,
    price: PriceJson,
}

/// US dollars per million tokens as exact decimals, as in TOML.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Price")]
pub(super) struct PriceJson {
    #[serde(flatten)]
    base: RatesJson,
    /// US dollars per call.
    request: String,
    long_context: Option<LongContextJson>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LongContext")]
pub(super) struct LongContextJson {
    above: u64,
    #[serde(flatten)]
    rates: RatesJson,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rates")]
pub(super) struct RatesJson {
    input: String,
    cached_input: String,
    cache_write: String,
    cache_write_1h: String,
    output: String,
}

pub async fn show(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    Parameters::of(&request).finish()?;
    let offerings = control.snapshot().offerings;
    Ok(HttpResponse::Ok().json(ListJson::whole(offerings.models.iter().map(|model| shown(model)).collect())))
}

fn shown(model: &Model) -> ModelJson<'_> {
    let definition = &model.definition;
    let served = definition.served_by.iter().map(|(kind, served)| {
        let offers = model.offers.iter().filter(|offer| offer.provider.kind == *kind);
        let Offering { upstream_model, price } = served;
        ServedJson { kind, upstream_model, providers: offers.map(|offer| offer.provider.name.as_str()).collect(), price: price_json(price) }
    });
    ModelJson {
        object: "model",
        id: &definition.id,
        aliases: &definition.aliases,
        context_window: definition.context_window,
        max_output_tokens: definition.max_output_tokens,
        served_by: served.collect(),
    }
}

fn price_json(price: &Price) -> PriceJson {
    let long_context = price.long_context.as_ref().map(|(above, rates)| LongContextJson { above: *above, rates: rates_json(rates) });
    PriceJson { base: rates_json(&price.base), request: decimal(price.request, 12), long_context }
}

fn rates_json(rates: &Rates) -> RatesJson {
    // 1,000,000 pico-USD per token are 1 USD per million tokens.
    let per_million = |rate| decimal(rate, 6);
    RatesJson {
        input: per_million(rates.input),
        cached_input: per_million(rates.cached_input),
        cache_write: per_million(rates.cache_write),
        cache_write_1h: per_million(rates.cache_write_1h),
        output: per_million(rates.output),
    }
}

/// Formats `amount` with the decimal point `places` from the right and without trailing zeros.
fn decimal(amount: PicoUsd, places: u32) -> String {
    let unit = 10u64.pow(places);
    let (whole, fraction) = (amount.0 / unit, amount.0 % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = format!("{fraction:0places$}", places = places as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_exact_decimals() {
        for (pico, places, text) in
            [(590_000, 6, "0.59"), (0, 6, "0"), (15_000_000, 6, "15"), (1, 6, "0.000001"), (5_000_000_000, 12, "0.005")]
        {
            assert_eq!(decimal(PicoUsd(pico), places), text);
        }
    }
}
