//! The members of an answer or stream event that affect its handling, found without parsing the
//! rest.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// Raw JSON of the members that affect how an answer or event is handled. `null` counts as absent.
/// Other members are skipped.
#[derive(Default)]
pub(super) struct OpenAiAnswer<'a> {
    pub error: Option<&'a [u8]>,
    pub usage: Option<&'a [u8]>,
    pub object: Option<&'a [u8]>,
    pub choices: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
}

impl<'a> OpenAiAnswer<'a> {
    /// Parses an answer. `None` if it is not a complete JSON object.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        // serde would also accept an array.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        Self::scan(json).or_else(|| Self::deserialize(json))
    }

    /// Fast path, for nearly every upstream.
    fn scan(json: &'a [u8]) -> Option<Self> {
        let (mut answer, mut is_unique) = (Self::default(), true);
        json::members(json, |name, value| {
            let member = match name {
                b"error" => &mut answer.error,
                b"usage" => &mut answer.usage,
                b"object" => &mut answer.object,
                b"choices" => &mut answer.choices,
                b"data" => &mut answer.data,
                _ => return,
            };
            is_unique &= member.replace(value).is_none();
        })?;
        if !is_unique {
            return None;
        }
        Some(answer.without_nulls())
    }

    /// Fallback for other JSON. If a key is duplicated, only `data` is reported: the client and the
    /// upstream may disagree about the other members.
    fn deserialize(json: &'a [u8]) -> Option<Self> {
        let members: BTreeMap<String, &'a RawValue> = match serde_json::from_slice(json) {
            Ok(Members { error, usage, object, choices, data }) => {
                let raw_bytes = |raw: Option<&'a RawValue>| raw.map(|raw| raw.get().as_bytes());
                let [error, usage, object, choices, data] = [error, usage, object, choices, data].map(raw_bytes);
                return Some(Self { error, usage, object, choices, data });
            }
            Err(_) => serde_json::from_slice(json).ok()?,
        };
        Some(Self { data: members.get("data").map(|raw| raw.get().as_bytes()), ..Self::default() }.without_nulls())
    }

    /// Replaces `null` by `None`.
    fn without_nulls(self) -> Self {
        let Self { error, usage, object, choices, data } = self;
        let [error, usage, object, choices, data] =
            [error, usage, object, choices, data].map(|value| value.filter(|value| *value != b"null"));
        Self { error, usage, object, choices, data }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.error.is_some() || self.object == Some(b"\"error\"")
    }

    /// Whether it has at least one choice.
    pub fn has_choices(&self) -> bool {
        self.choices.is_some_and(|choices| !is_empty_array(choices))
    }

    /// Whether it reports the usage of the whole stream and nothing else.
    pub fn is_usage_alone(&self) -> bool {
        self.choices.is_some_and(is_empty_array) && self.usage.is_some_and(|usage| usage.starts_with(b"{"))
    }
}

/// [`OpenAiAnswer`], for deserialization.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn is_empty_array(json: &[u8]) -> bool {
    json.strip_prefix(b"[").is_some_and(|inside| inside.trim_ascii_start().starts_with(b"]"))
}
