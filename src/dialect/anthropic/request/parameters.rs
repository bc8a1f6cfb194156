//! Parameters that are plain values: limits, stop sequences, end user, and those that are dropped
//! or refused (sections 5.1, 5.4).

use std::borrow::Cow;
use std::fmt::Write;

use orion::hazardous::hash::sha2::sha256::Sha256;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::body::Metadata;
use super::refusal::{invalid, unsupported, unsupported_parameter, wrong_type};
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::anthropic::text::{Text, is_blank};
use crate::dialect::request::{JsonRequest, Refused};

/// Default of `max_tokens`, if the model allows that many.
const DEFAULT_MAX_TOKENS: u64 = 32_000;

/// Parameters that are dropped, because the answer is as useful without them.
const IGNORED: [&str; 15] = [
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "metadata",
    "store",
    "prediction",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "prompt_cache_breakpoint",
    "moderation",
];

/// Parameters that are refused, because dropping them would change the answer, with a remedy.
const REFUSED: [(&str, &str); 4] = [
    ("audio", "audio output is not supported by this model"),
    ("web_search_options", "not supported by this model; use its web search tool"),
    ("functions", "deprecated; use tools"),
    ("function_call", "deprecated; use tool_choice"),
];

/// Names of the parameters that were dropped or degraded (rule 1.6).
#[derive(Default)]
pub struct Dropped(Vec<&'static str>);

impl Dropped {
    /// Adds a parameter.
    pub fn record(&mut self, name: &'static str) {
        self.0.push(name);
    }

    /// Returns the names, sorted and without duplicates.
    pub fn into_names(mut self) -> Vec<&'static str> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

/// Returns the raw JSON of a parameter; `null` counts as absent.
pub fn given<'a>(request: &JsonRequest<'a>, name: &str) -> Option<&'a str> {
    request.payload.get(name).map(str::trim_ascii).filter(|raw| *raw != "null")
}

/// Parses a parameter.
pub fn parsed<'a, T: Deserialize<'a>>(request: &JsonRequest<'a>, name: &'static str) -> Result<Option<T>, Refused> {
    let Some(raw) = given(request, name) else { return Ok(None) };
    serde_json::from_str(raw).map(Some).map_err(|_| wrong_type::<T>(name, raw))
}

/// Refuses unsupported parameters and records those that are dropped.
pub fn check_support(request: &JsonRequest<'_>, dropped: &mut Dropped) -> Result<(), Refused> {
    for (name, remedy) in REFUSED {
        if given(request, name).is_some() {
            return Err(unsupported_parameter(name, remedy));
        }
    }
    for name in IGNORED {
        if given(request, name).is_some() {
            dropped.record(name);
        }
    }
    if let Some(modalities) = parsed::<Vec<Text<'_>>>(request, "modalities")? {
        if modalities.iter().any(|modality| modality.0 != "text") {
            return Err(unsupported("modalities", "only text output is supported by this model"));
        }
        dropped.record("modalities");
    }
    match given(request, "n").map(str::parse::<u64>) {
        None | Some(Ok(1)) => Ok(()),
        Some(Ok(2..)) => Err(unsupported("n", "only one choice is supported by this model; send several requests")),
        _ => Err(invalid("n", "must be a positive integer")),
    }
}

/// Whether the client asked for a usage chunk at the end of the stream.
pub fn wants_usage(request: &JsonRequest<'_>, dropped: &mut Dropped) -> Result<bool, Refused> {
    #[derive(Deserialize)]
    struct UsageOptions {
        include_usage: Option<bool>,
        include_obfuscation: Option<IgnoredAny>,
    }
    let Some(options) = parsed::<UsageOptions>(request, "stream_options")? else { return Ok(false) };
    if options.include_obfuscation.is_some() {
        dropped.record("stream_options.include_obfuscation");
    }
    Ok(options.include_usage == Some(true))
}

/// Returns the limit of output tokens, thinking included.
pub fn max_tokens(request: &JsonRequest<'_>, profile: &Profile) -> Result<u64, Refused> {
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(raw) = given(request, name) {
            return raw.parse().map_err(|_| invalid(name, "must be a non-negative integer"));
        }
    }
    let most = request.max_output_tokens.or(profile.max_output);
    Ok(most.map_or(DEFAULT_MAX_TOKENS, |most| most.min(DEFAULT_MAX_TOKENS)))
}

/// Returns the stop sequences that are not blank.
pub fn stop_sequences<'a>(request: &JsonRequest<'a>, dropped: &mut Dropped) -> Result<Vec<Cow<'a, str>>, Refused> {
    let Some(raw) = given(request, "stop") else { return Ok(Vec::new()) };
    let sequences: Vec<Text<'a>> = if raw.starts_with('"') {
        parsed::<Text<'a>>(request, "stop")?.into_iter().collect()
    } else {
        serde_json::from_str(raw).map_err(|_| invalid("stop", "must be a string or an array of strings"))?
    };
    if sequences.iter().any(Text::is_blank) {
        dropped.record("stop");
    }
    Ok(sequences.into_iter().filter(|sequence| !sequence.is_blank()).map(|sequence| sequence.0).collect())
}

/// Returns the end user's id. E-mail addresses and telephone numbers are hashed first.
pub fn metadata<'a>(request: &JsonRequest<'a>) -> Result<Option<Metadata<'a>>, Refused> {
    let safety = parsed::<Text<'a>>(request, "safety_identifier")?.filter(|id| !id.is_blank());
    let user = parsed::<Text<'a>>(request, "user")?.filter(|id| !id.is_blank());
    Ok(safety.or(user).map(|Text(id)| Metadata { user_id: if is_email(&id) || is_phone(&id) { sha256(&id).into() } else { id } }))
}

/// Returns the service tier to request.
pub fn service_tier(request: &JsonRequest<'_>) -> Result<Option<&'static str>, Refused> {
    let tier = parsed::<Text<'_>>(request, "service_tier")?;
    Ok(tier.map(|tier| if tier.0 == "default" { "standard_only" } else { "auto" }))
}

/// Parses a number from 0 to `most`. Returns the client's spelling and the value.
pub fn number<'a>(request: &JsonRequest<'a>, name: &'static str, most: f64) -> Result<Option<(&'a RawValue, f64)>, Refused> {
    let Some(raw) = parsed::<&'a RawValue>(request, name)? else { return Ok(None) };
    match raw.get().parse::<f64>() {
        Ok(value) if (0.0..=most).contains(&value) => Ok(Some((raw, value))),
        _ => Err(invalid(name, if most > 1.0 { "must be a number from 0 to 2" } else { "must be a number from 0 to 1" })),
    }
}

/// Whether `id` contains an e-mail address: text, `@`, text.
fn is_email(id: &str) -> bool {
    let is_part = |c: char| !c.is_whitespace() && c != '@';
    id.match_indices('@').any(|(at, _)| id[..at].ends_with(is_part) && id[at + 1..].starts_with(is_part))
}

/// Whether `id` has the form of a telephone number.
fn is_phone(id: &str) -> bool {
    let digits = id.chars().filter(char::is_ascii_digit).count();
    digits >= 7 && id.chars().all(|c| c.is_ascii_digit() || " ()+-.".contains(c)) && !is_blank(id)
}

/// Returns the SHA-256 of `id` in lower-case hex.
fn sha256(id: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(id.as_bytes()).iter().flat_map(|digest| digest.as_ref()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_and_telephone_numbers_are_recognized() {
        for email in ["ana@example.com", "Ana <ana@example.com>", "x: a.b+c@d.org"] {
            assert!(is_email(email), "{email}");
        }
        for other in ["@handle", "ana", "ana@", "a @ b"] {
            assert!(!is_email(other), "{other}");
        }
        for phone in ["+1 (555) 123-4567", "5551234", "555.123.4567"] {
            assert!(is_phone(phone), "{phone}");
        }
        for other in ["123456", "user-5551234", "a5551234", ""] {
            assert!(!is_phone(other), "{other}");
        }
    }

    #[test]
    fn the_hash_is_sha_256_in_lower_case_hex() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
