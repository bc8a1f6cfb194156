//! JSON values close to their bytes: strings borrowed where they have no escapes, members of any
//! type, and compacting of JSON text without building values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// JSON string, borrowed where it has no escapes. (`Option<Cow<str>>` always copies.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

/// String member that reads as absent if it has another type. For upstream answers, where a member
/// of an unknown object may have any type.
#[derive(Debug, Default)]
pub struct Lenient<'a>(pub Option<Cow<'a, str>>);

/// JSON that any parser accepts in full: strings decode, numbers are finite, nesting is bounded.
/// Builds no value.
struct Sound;

impl Text<'_> {
    /// Whether the text is empty or whitespace.
    pub fn is_blank(&self) -> bool {
        is_blank(&self.0)
    }
}

impl Lenient<'_> {
    /// Returns the text, empty if absent.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns the text as an owned string.
    pub fn into_string(self) -> Option<String> {
        self.0.map(Cow::into_owned)
    }
}

/// Whether `text` is empty or whitespace.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Whether `text` is one JSON object that any parser accepts in full.
pub fn is_sound_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{') && serde_json::from_str::<Sound>(text).is_ok()
}

/// Returns `json`, which must be valid, without whitespace between tokens and with minimal
/// escaping. Numbers keep their digits and objects their order.
pub fn compact(json: &str) -> String {
    let mut compacted = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(next) = rest.chars().next() {
        let length = if next == '"' { string_length(rest) } else { next.len_utf8() };
        let (token, after) = rest.split_at(length);
        if next == '"' && token.contains('\\') {
            // A lone surrogate does not decode and stays as written.
            let plain = serde_json::from_str::<String>(token).and_then(|text| serde_json::to_string(&text));
            compacted.push_str(plain.as_deref().unwrap_or(token));
        } else if !next.is_ascii_whitespace() {
            compacted.push_str(token);
        }
        rest = after;
    }
    compacted
}

/// Length in bytes of the JSON string at the start of `text`, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Visitor methods that accept and discard every scalar except strings.
macro_rules! ignore_scalars {
    ($nothing:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON")
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($nothing)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($nothing)
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Lenient<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientVisitor;
        impl<'de> Visitor<'de> for LenientVisitor {
            type Value = Lenient<'de>;
            ignore_scalars!(Lenient(None));
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Lenient(Some(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Lenient(Some(Cow::Owned(text.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Lenient(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Lenient(None))
            }
        }
        deserializer.deserialize_any(LenientVisitor)
    }
}

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SoundVisitor;
        impl<'de> Visitor<'de> for SoundVisitor {
            type Value = Sound;
            ignore_scalars!(Sound);
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Sound)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<Sound>()?.is_some() {}
                Ok(Sound)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<Sound, Sound>()?.is_some() {}
                Ok(Sound)
            }
        }
        deserializer.deserialize_any(SoundVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_without_escapes_are_borrowed() {
        #[derive(serde::Deserialize)]
        struct Holder<'a> {
            #[serde(borrow)]
            text: Option<Text<'a>>,
        }
        let plain: Holder<'_> = serde_json::from_str(r#"{"text":"plain"}"#).unwrap();
        assert!(matches!(plain.text, Some(Text(Cow::Borrowed("plain")))));
        let escaped: Holder<'_> = serde_json::from_str(r#"{"text":"a\nb"}"#).unwrap();
        assert!(matches!(escaped.text, Some(Text(Cow::Owned(text))) if text == "a\nb"));
    }

    #[test]
    fn a_lenient_member_may_be_of_any_type() {
        for json in ["null", "1", "-1", "1.5", "true", "[1,{}]", r#"{"a":["b"]}"#] {
            assert_eq!(serde_json::from_str::<Lenient<'_>>(json).unwrap().0, None, "{json}");
        }
        assert_eq!(serde_json::from_str::<Lenient<'_>>(r#""x""#).unwrap().as_str(), "x");
    }

    #[test]
    fn only_objects_that_can_be_read_to_their_end_are_sound() {
        for sound in ["{}", r#" {"a": [1, -2, 1.5, "\u00e9", null, {"b": false}]} "#] {
            assert!(is_sound_object(sound), "{sound}");
        }
        for broken in ["", "[]", "1", "\"{}\"", r#"{"a":"#, r#"{"a":1}}"#, r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, &"{\"a\":".repeat(500)] {
            assert!(!is_sound_object(broken), "{broken}");
        }
    }

    #[test]
    fn compacting_keeps_digits_and_order_and_spells_characters_out() {
        let json = "{ \"b\" : [ 1.50 , 12345678901234567890123 ],\n\t\"a\": \"caf\\u00e9 \\\" \\\\ \\n é \\/\" , \"\\u0062\":{} }";
        assert_eq!(compact(json), "{\"b\":[1.50,12345678901234567890123],\"a\":\"café \\\" \\\\ \\n é /\",\"b\":{}}");
        assert_eq!(compact(r#"{"a":"\ud800 x"}"#), r#"{"a":"\ud800 x"}"#);
    }
}
