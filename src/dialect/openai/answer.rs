//! The members of an OpenAI answer or stream event that decide something, found without parsing the rest.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// The members of an answer or event that decide something, as they are spelled; `null` is as good as absent. All others are
/// passed over.
#[derive(Default)]
pub(super) struct Answer<'a> {
    pub error: Option<&'a [u8]>,
    pub usage: Option<&'a [u8]>,
    pub object: Option<&'a [u8]>,
    pub choices: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    /// `None` if it is no complete JSON object.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        // An array would do for serde.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        Self::look(json).or_else(|| Self::read(json))
    }

    /// The answer of nearly every upstream.
    fn look(json: &'a [u8]) -> Option<Self> {
        let (mut answer, mut is_told_once) = (Self::default(), true);
        json::members(json, |name, value| {
            let member = match name {
                b"error" => &mut answer.error,
                b"usage" => &mut answer.usage,
                b"object" => &mut answer.object,
                b"choices" => &mut answer.choices,
                b"data" => &mut answer.data,
                _ => return,
            };
            is_told_once &= member.replace(value).is_none();
        })?;
        if !is_told_once {
            return None;
        }
        Some(answer.without_nulls())
    }

    /// Whatever else is JSON. A key that stands twice is between client and upstream: then nothing is known but that there are data.
    fn read(json: &'a [u8]) -> Option<Self> {
        let members: BTreeMap<String, &'a RawValue> = match serde_json::from_slice(json) {
            Ok(Members { error, usage, object, choices, data }) => {
                let spelled = |raw: Option<&'a RawValue>| raw.map(|raw| raw.get().as_bytes());
                let [error, usage, object, choices, data] = [error, usage, object, choices, data].map(spelled);
                return Some(Self { error, usage, object, choices, data });
            }
            Err(_) => serde_json::from_slice(json).ok()?,
        };
        Some(Self { data: members.get("data").map(|raw| raw.get().as_bytes()), ..Self::default() }.without_nulls())
    }

    fn without_nulls(self) -> Self {
        let Self { error, usage, object, choices, data } = self;
        let [error, usage, object, choices, data] =
            [error, usage, object, choices, data].map(|value| value.filter(|value| *value != b"null"));
        Self { error, usage, object, choices, data }
    }

    pub fn is_error(&self) -> bool {
        self.error.is_some() || self.object == Some(b"\"error\"")
    }

    pub fn has_choices(&self) -> bool {
        self.choices.is_some_and(|choices| !is_empty_array(choices))
    }

    /// Whether it tells the usage of the whole stream and nothing else.
    pub fn is_usage_alone(&self) -> bool {
        self.choices.is_some_and(is_empty_array) && self.usage.is_some_and(|usage| usage.starts_with(b"{"))
    }
}

/// [`Answer`], as serde_json reads it.
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
