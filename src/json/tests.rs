use std::borrow::Cow;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn parse(text: impl AsRef<[u8]>) -> Result<Document, JsonError> {
    Document::parse(Bytes::copy_from_slice(text.as_ref()), JsonLimits::default())
}

fn names(document: &Document) -> Vec<&str> {
    document.members().map(|(name, _)| name).collect()
}

#[test]
fn members_stand_where_their_spans_say() {
    let text = "\n { \"model\" : \"gpt\" ,\"n\":1e2, \"a\":[1,{\"model\":2}] }\t";
    let document = parse(text).unwrap();
    assert_eq!(names(&document), ["model", "n", "a"]);
    assert_eq!(document.get("model"), Some("\"gpt\""));
    assert_eq!(document.get("n"), Some("1e2"));
    assert_eq!(document.get("a"), Some("[1,{\"model\":2}]"));
    assert_eq!(document.get("b"), None);
    assert_eq!(document.bytes(), text);
    let keys: Vec<_> = document.members().map(|(_, member)| &text[member.key.clone()]).collect();
    assert_eq!(keys, ["\"model\"", "\"n\"", "\"a\""]);
}

#[test]
fn keys_are_compared_after_unescaping() {
    assert_eq!(parse(r#"{"mod\u0065l":1}"#).unwrap().get("model"), Some("1"));
    for (text, expected) in [
        (r#"{"model":1,"mod\u0065l":2}"#, "duplicate key at byte 11"),
        (r#"{"a":1,"b":2,"a":1}"#, "duplicate key at byte 13"),
        (r#"{"a b":1,"a b":2}"#, "duplicate key at byte 9"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
    assert!(parse(r#"{"":1,"":2}"#).is_err());
    let many: Vec<String> = (0..1000).map(|nth| format!("\"k{nth}\":0")).collect();
    assert!(parse(format!("{{{}}}", many.join(","))).is_ok());
    assert!(parse(format!("{{{},\"k\\u0030\":1}}", many.join(","))).is_err());
    assert!(parse(r#"{"a":{"b":1,"b":2}}"#).is_ok(), "below the top it is the upstream's business");
}

#[test]
fn what_is_no_object_of_valid_json_is_refused_at_its_place() {
    for (text, at) in [
        (&b""[..], 0),
        (b"[]", 0),
        (b"\xEF\xBB\xBF{}", 0),
        (b"{\"a\":\"\xFF\"}", 6),
        (b"{\"a\":\"\xED\xA0\x80\"}", 6),
        (b"{\"a\":\"x\ny\"}", 7),
        (b"{\"a\":\"x\0y\"}", 7),
        (b"{\"a\":\"\\x\"}", 6),
        (b"{\"a\":\"\\ud800\"}", 6),
        (b"{\"a\":\"\\udc00\\ud800\"}", 6),
        (b"{\"a\":\"\\ud800\\u0041\"}", 6),
        (b"{\"a\":\"\\u00g0\"}", 6),
        (b"{\"\\ud800\":1}", 2),
        (b"{\"a\":1e999}", 5),
        (b"{\"a\":-1e999}", 5),
        (b"{\"a\":01}", 6),
        (b"{\"a\":1.}", 7),
        (b"{\"a\":+1}", 5),
        (b"{\"a\":.5}", 5),
        (b"{\"a\":NaN}", 5),
        (b"{\"a\":1,}", 7),
        (b"{\"a\":[1,]}", 8),
        (b"{\"a\" 1}", 5),
        (b"{\"a\":1", 6),
        (b"{\"a\":\"b", 7),
        (b"{\"a\":tru}", 5),
        (b"{\"a\":[}", 6),
        (b"{\"a\":{]}", 6),
        (b"{a:1}", 1),
        (b"{} {}", 3),
        (b"{}\0", 2),
    ] {
        assert_eq!(parse(text).map_err(|error| error.at).err(), Some(at), "{:?}", String::from_utf8_lossy(text));
    }
    let long = format!("{{\"a\":{}}}", "9".repeat(400));
    assert_eq!(parse(long).unwrap_err().problem, "number out of range");
    assert!(parse(format!("{{\"a\":0.{}}}", "9".repeat(400))).is_ok());
}

#[test]
fn limits_hold_exactly() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(parse(nested(64)).is_ok());
    assert_eq!(parse(nested(65)).unwrap_err().problem, "nesting too deep");
    let wide = JsonLimits { depth: 100_000, ..JsonLimits::default() };
    assert!(Document::parse(Bytes::from(nested(127)), wide).is_ok());
    assert!(Document::parse(Bytes::from(nested(128)), wide).is_err());
    assert!(parse(format!("{{\"a\":[{}1]}}", "{},[[]],".repeat(100))).is_ok(), "siblings do not add up");

    let few = JsonLimits { depth: 9, strings: 2, keys: 3 };
    let limited = |text: &'static str| Document::parse(Bytes::from(text), few).map(drop).map_err(|error| error.problem);
    assert_eq!(limited(r#"{"a":"1","b":["2",{"c":3}]}"#), Ok(()));
    assert_eq!(limited(r#"{"a":"1","b":["2",{"c":"3"}]}"#), Err("too many strings"));
    assert_eq!(limited(r#"{"a":"1","b":["2",{"c":3,"d":4}]}"#), Err("too many keys"));
}

#[test]
fn members_are_read_as_what_they_must_be() {
    let document = parse(r#"{"s":"pl\u00e4in","t":"plain","b":true,"f":false,"n":null,"i":1,"o":{"x":1},"d":{"x":1,"x":2}}"#).unwrap();
    assert_eq!(document.string("s").unwrap().unwrap(), "pläin");
    assert!(matches!(document.string("t"), Some(Ok(Cow::Borrowed("plain")))));
    assert!(document.string("i").unwrap().is_err());
    assert_eq!((document.string("n"), document.boolean("n"), document.boolean("absent")), (None, None, None));
    assert_eq!((document.boolean("b"), document.boolean("f")), (Some(Ok(true)), Some(Ok(false))));
    assert!(document.boolean("i").unwrap().is_err());
    assert_eq!(document.object("o").unwrap().unwrap().get("x"), Some("1"));
    assert!(document.object("d").unwrap().is_err());
    assert!(document.object("i").unwrap().is_err());
    assert!(document.object("n").is_none());
}

fn spliced(text: &str, edits: &[Edit<'_>]) -> String {
    String::from_utf8(parse(text).unwrap().splice(edits).to_vec()).unwrap()
}

#[test]
fn a_splice_leaves_all_other_bytes_alone() {
    let set = |name, value| Edit::Set { name, value };
    let text = "{ \"model\": \"a\" ,\n\"x\" : 1.0, \"y\":[ ] }\n";
    assert_eq!(spliced(text, &[set("model", "\"b\"")]), "{ \"model\": \"b\" ,\n\"x\" : 1.0, \"y\":[ ] }\n");
    assert_eq!(spliced(text, &[Edit::Rename { from: "x", to: "z\"" }]), "{ \"model\": \"a\" ,\n\"z\\\"\" : 1.0, \"y\":[ ] }\n");
    assert_eq!(spliced(text, &[Edit::Remove { name: "model" }]), "{ \"x\" : 1.0, \"y\":[ ] }\n");
    assert_eq!(spliced(text, &[Edit::Remove { name: "x" }]), "{ \"model\": \"a\", \"y\":[ ] }\n");
    assert_eq!(spliced(text, &[Edit::Remove { name: "y" }]), "{ \"model\": \"a\" ,\n\"x\" : 1.0 }\n");
    assert_eq!(spliced(text, &[set("q", "{}"), set("r", "2")]), "{ \"model\": \"a\" ,\n\"x\" : 1.0, \"y\":[ ],\"q\":{},\"r\":2 }\n");
    assert_eq!(spliced(" { } ", &[set("q", "1"), set("r", "2")]), " {\"q\":1,\"r\":2 } ");
    assert_eq!(spliced("{\"a\":1}", &[Edit::Remove { name: "a" }, set("a", "2")]), "{\"a\":2}");
}

#[test]
fn a_rename_onto_a_member_that_is_there_replaces_it() {
    let rename = Edit::Rename { from: "max_completion_tokens", to: "max_tokens" };
    assert_eq!(spliced(r#"{"max_tokens":1,"max_completion_tokens":2}"#, &[rename]), r#"{"max_tokens":2}"#);
    assert_eq!(spliced(r#"{"max_tokens":1}"#, &[rename]), r#"{"max_tokens":1}"#);
}

#[test]
fn a_splice_without_effect_is_the_same_bytes() {
    let document = parse(r#"{"model":"a"}"#).unwrap();
    let edits = [
        Edit::Set { name: "model", value: "\"a\"" },
        Edit::Remove { name: "b" },
        Edit::Rename { from: "c", to: "model" },
        Edit::Rename { from: "model", to: "model" },
    ];
    assert_eq!(document.splice(&edits).as_ptr(), document.bytes().as_ptr());
}

/// What the changes do, told by values.
fn edited(mut members: Map<String, Value>, edits: &[Edit<'_>]) -> Map<String, Value> {
    for edit in edits {
        match *edit {
            Edit::Set { name, value } => drop(members.insert(name.to_owned(), serde_json::from_str(value).unwrap())),
            Edit::Remove { name } => drop(members.shift_remove(name)),
            Edit::Rename { from, to } => {
                if let Some(value) = members.shift_remove(from) {
                    members.insert(to.to_owned(), value);
                }
            }
        }
    }
    members
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s).{0,60}".prop_map(Value::from),
        "[ -~]{40,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-e\"\\\\é]{0,3}", inner), 0..6).prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// An object and a way to write it.
fn object() -> impl Strategy<Value = (Map<String, Value>, String)> {
    (prop::collection::vec(("[a-f\"é]{1,2}", value()), 0..8), any::<bool>()).prop_map(|(members, pretty)| {
        let members: Map<String, Value> = members.into_iter().collect();
        let text = if pretty { serde_json::to_string_pretty(&members) } else { serde_json::to_string(&members) };
        (members, text.unwrap())
    })
}

/// Whether serde_json and the stricter rules let it pass.
fn passes(bytes: &[u8]) -> bool {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return false };
    // serde_json keeps the last of several equal keys: then there are fewer values than members.
    let shallow: Result<Pairs, _> = serde_json::from_slice(bytes);
    shallow.is_ok_and(|pairs| pairs.0 == members.len())
}

/// Counts the members of an object, equal ones too.
struct Pairs(usize);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut count = 0;
                while map.next_entry::<String, serde::de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Pairs(count))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_member_by_member((members, text) in object()) {
        let document = parse(&text).unwrap();
        let read: Map<String, Value> =
            document.members().map(|(name, _)| (name.to_owned(), serde_json::from_str(document.get(name).unwrap()).unwrap())).collect();
        // Through text, since numbers may lose their last digit on the way.
        let expected: Map<String, Value> = serde_json::from_str(&serde_json::to_string(&members).unwrap()).unwrap();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn mutated_json_passes_exactly_if_serde_json_lets_it((_, text) in object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..4) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
        prop_assert_eq!(parse(&bytes).is_ok(), passes(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_soup_of_tokens_passes_exactly_if_serde_json_lets_it(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"a\":", "1", "-0.5e3", "1e999", "true", "null", " ", "\n", "\"", "\\", "\\ud83d",
            "\\ude00", "\\u0000", "é", "0", "-", "long plain text of more than forty bytes, and on",
        ]), 0..14),
    ) {
        let text = format!("{{{}}}", tokens.concat());
        prop_assert_eq!(parse(&text).is_ok(), passes(text.as_bytes()), "{}", text);
    }

    #[test]
    fn a_string_ends_where_it_ends_wherever_it_begins(before in 0..70_usize, inside in 0..90_usize, ending in prop::sample::select(vec!["\"", "\\n\"", "\n", "\u{1f}", "\u{7f}\""])) {
        let text = format!("{{\"{}\":\"{}{ending}}}", "k".repeat(before), "é".repeat(inside / 2));
        prop_assert_eq!(parse(&text).is_ok(), passes(text.as_bytes()));
    }

    #[test]
    fn a_spliced_body_is_the_original_with_exactly_those_changes(
        (members, text) in object(),
        edits in prop::collection::vec((0..3, "[a-f\"]{1,2}", "[a-f]{1,2}"), 0..6),
    ) {
        let edits: Vec<Edit<'_>> = edits.iter().map(|(how, name, other)| match how {
            0 => Edit::Set { name, value: "[\"new\"]" },
            1 => Edit::Rename { from: name, to: other },
            _ => Edit::Remove { name },
        }).collect();
        let members = serde_json::from_str(&serde_json::to_string(&members).unwrap()).unwrap();
        let body = parse(&text).unwrap().splice(&edits);
        prop_assert!(parse(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
        let read: Map<String, Value> = serde_json::from_slice(&body).unwrap();
        // As maps: additions stand last, which the order of insertion after a rename does not say.
        prop_assert_eq!(read, edited(members, &edits));
    }
}
