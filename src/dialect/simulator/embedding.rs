//! Embeddings without meaning: a unit vector per text, equal for equal texts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::refusal::refused;
use super::text::{integer, texts, tokens};
use crate::dialect::request::{JsonRequest, Refused};

/// Default length of a vector, that of OpenAI's small model.
const DIMENSIONS: u64 = 1536;

/// Returns the answer, with one vector per input.
///
/// # Errors
/// [`Refused`] if a parameter is invalid.
pub(super) fn answer(request: &JsonRequest<'_>) -> Result<Value, Refused> {
    let inputs = texts(request, "input", "a string or an array of strings or token numbers, at least one")?;
    let dimensions = integer(request, "dimensions", 1..=8192)?.unwrap_or(DIMENSIONS);
    let format = request.payload.string("encoding_format").transpose();
    let base64 = match format.map_err(|wrong| refused("encoding_format", wrong.expected))?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(refused("encoding_format", "\"float\" or \"base64\"")),
    };
    let data = inputs.iter().enumerate().map(|(index, input)| {
        let vector = unit_vector(input, dimensions);
        let embedding = if base64 {
            json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let data: Vec<Value> = data.collect();
    let used = tokens(inputs.iter().map(String::len).sum());
    Ok(json!({"object": "list", "data": data, "model": request.upstream_model, "usage": {"prompt_tokens": used, "total_tokens": used}}))
}

/// Returns a direction that depends on the text only, so that equal texts compare as equal.
fn unit_vector(text: &str, dimensions: u64) -> Vec<f32> {
    // FNV-1a: the same on every machine and in every version.
    let seed = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let mut rng = fastrand::Rng::with_seed(seed);
    let vector: Vec<f32> = (0..dimensions).map(|_| rng.f32() * 2.0 - 1.0).collect();
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|number| number / length).collect()
}
