//! Tool calls of earlier turns: their ids, and their arguments, which may be invalid (section 3.4).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::{CacheControl, Input, InputBlock};
use super::refusal::{invalid, unsupported};
use crate::dialect::anthropic::text::{Text, is_blank, is_sound_object};
use crate::dialect::request::Refused;

/// Tool call of an assistant message, as the client sent it.
#[derive(Debug, Deserialize)]
pub struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<CalledFunction<'a>>,
    #[serde(borrow)]
    cache_control: CacheControl<'a>,
}

#[derive(Debug, Deserialize)]
struct CalledFunction<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'a> ToolCall<'a> {
    /// Returns the `tool_use` block of this call and the tool's name. `place` gives the path of the
    /// call, `messages[i].tool_calls[k]`.
    pub fn into_block(self, place: impl Fn() -> String, ids: &mut Ids<'a>) -> Result<(InputBlock<'a>, Cow<'a, str>), Refused> {
        if self.kind.is_some_and(|kind| kind.0 != "function") {
            return Err(unsupported(format!("{}.type", place()), "only tool calls of type function are supported by this model"));
        }
        let Some(CalledFunction { name: Some(Text(name)), arguments }) = self.function else {
            return Err(invalid(format!("{}.function.name", place()), "missing function name"));
        };
        let Some(Text(id)) = self.id.filter(|id| !id.0.is_empty()) else {
            return Err(invalid(format!("{}.id", place()), "missing tool call id"));
        };
        let block =
            InputBlock::ToolUse { id: ids.of_call(id), name: name.clone(), input: input(arguments), cache_control: self.cache_control };
        Ok((block, name))
    }
}

/// Converts a call's arguments to an object.
fn input<'a>(arguments: Option<&'a RawValue>) -> Input<'a> {
    let Some(raw) = arguments else { return Input::Empty {} };
    let Ok(Text(text)) = serde_json::from_str::<Text<'a>>(raw.get()) else {
        // Not a string. An object is accepted; anything else is kept as invalid.
        return if is_sound_object(raw.get()) { Input::Borrowed(raw) } else { Input::Invalid { raw: Cow::Borrowed(raw.get()) } };
    };
    if is_blank(&text) || text.trim() == "null" {
        return Input::Empty {};
    }
    if !is_sound_object(&text) {
        return Input::Invalid { raw: text };
    }
    match RawValue::from_string(text.into_owned()) {
        Ok(object) => Input::Owned(object),
        Err(_) => Input::Invalid { raw: Cow::Borrowed(raw.get()) },
    }
}

/// Ids of one request's tool calls, limited to the characters that Anthropic allows, each used
/// once.
#[derive(Default)]
pub struct Ids<'a> {
    /// Assigned id for each client id; that of the newest call, if several calls share one.
    known: HashMap<Cow<'a, str>, Known>,
    used: HashSet<String>,
}

struct Known {
    id: String,
    of_call: bool,
}

impl<'a> Ids<'a> {
    /// Returns the id of a new call.
    pub fn of_call(&mut self, id: Cow<'a, str>) -> Cow<'a, str> {
        match self.known.get_mut(&id) {
            // A result came first: it belongs to this call.
            Some(known) if !known.of_call => {
                known.of_call = true;
                Cow::Owned(known.id.clone())
            }
            _ => self.assign(id, true),
        }
    }

    /// Returns the id of the call that a result belongs to.
    pub fn of_result(&mut self, id: Cow<'a, str>) -> Cow<'a, str> {
        match self.known.get(&id) {
            Some(known) => Cow::Owned(known.id.clone()),
            None => self.assign(id, false),
        }
    }

    fn assign(&mut self, raw: Cow<'a, str>, of_call: bool) -> Cow<'a, str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let cleaned: String = raw.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let mut id = cleaned.clone();
        let mut nth = 2;
        while !self.used.insert(id.clone()) {
            id = format!("{cleaned}_{nth}");
            nth += 1;
        }
        self.known.insert(raw, Known { id: id.clone(), of_call });
        Cow::Owned(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(raw: &[(&'static str, bool)]) -> Vec<String> {
        let mut ids = Ids::default();
        let id = |(raw, of_call): &(&'static str, bool)| {
            let raw = Cow::Borrowed(*raw);
            if *of_call { ids.of_call(raw) } else { ids.of_result(raw) }.into_owned()
        };
        raw.iter().map(id).collect()
    }

    #[test]
    fn ids_are_cleaned_the_same_way_in_calls_and_results() {
        assert_eq!(ids(&[("fn:0", true), ("call|fc", true), ("fn:0", false), ("call|fc", false)]), ["fn_0", "call_fc", "fn_0", "call_fc"]);
    }

    #[test]
    fn an_id_that_collides_once_cleaned_is_numbered() {
        let calls = [("a:1", true), ("a.1", true), ("a_1", true), ("a.1", false), ("a_1", false), ("a:1", false)];
        assert_eq!(ids(&calls), ["a_1", "a_1_2", "a_1_3", "a_1_2", "a_1_3", "a_1"]);
    }

    #[test]
    fn an_id_used_by_two_calls_is_numbered_and_a_result_answers_the_newest() {
        assert_eq!(ids(&[("c", true), ("c", false), ("c", true), ("c", false)]), ["c", "c", "c_2", "c_2"]);
    }

    #[test]
    fn an_orphan_result_keeps_its_id() {
        assert_eq!(ids(&[("x:y", false), ("x:y", true)]), ["x_y", "x_y"]);
    }

    #[test]
    fn arguments_become_an_object_whatever_they_are() {
        for (arguments, expected) in [
            (r#""""#, "{}"),
            (r#""  \n ""#, "{}"),
            (r#""null""#, "{}"),
            (r#""{}""#, "{}"),
            (r#""{\"b\": 1.50, \"a\": 12345678901234567890123}""#, r#"{"b": 1.50, "a": 12345678901234567890123}"#),
            (r#"" {\"a\":1} ""#, r#"{"a":1}"#),
            (r#""{\"path\": \"a""#, r#"{"INVALID_JSON":"{\"path\": \"a"}"#),
            (r#""[1]""#, r#"{"INVALID_JSON":"[1]"}"#),
            (r#""5""#, r#"{"INVALID_JSON":"5"}"#),
            (r#""{\"a\":\"\\ud800\"}""#, r#"{"INVALID_JSON":"{\"a\":\"\\ud800\"}"}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"[1]"#, r#"{"INVALID_JSON":"[1]"}"#),
        ] {
            let raw: &RawValue = serde_json::from_str(arguments).unwrap();
            assert_eq!(serde_json::to_string(&input(Some(raw))).unwrap(), expected, "{arguments}");
        }
        assert_eq!(serde_json::to_string(&input(None)).unwrap(), "{}");
    }
}
