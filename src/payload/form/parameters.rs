//! Header values with parameters, such as `form-data; name="model"` (RFC 9110 5.6.6).

/// Maximum number of parameters of a value.
const MAX_PARAMETERS: usize = 8;

/// A value and its parameters. Names are as spelled; quotes are removed.
#[derive(Debug, PartialEq)]
pub(super) struct HeaderParameters<'a> {
    pub value: &'a str,
    list: Vec<(&'a str, &'a str)>,
}

impl<'a> HeaderParameters<'a> {
    /// Parses a header value. `None` if it is malformed, repeats a parameter, or has an escaped
    /// quote, which some parsers take for the end of the text.
    pub fn parse(header: &'a str) -> Option<Self> {
        let (value, mut rest) = header.split_once(';').map_or((header, None), |(value, rest)| (value, Some(rest)));
        let mut list: Vec<(&str, &str)> = Vec::new();
        while let Some(parameter) = rest {
            let (name, after) = parameter.trim_start_matches([' ', '\t']).split_once('=')?;
            let (text, after) = if let Some(quoted) = after.strip_prefix('"') { quoted.split_once('"')? } else { take_unquoted(after)? };
            let is_repeated = list.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if !is_token(name) || text.ends_with('\\') || is_repeated || list.len() == MAX_PARAMETERS {
                return None;
            }
            list.push((name, text));
            let after = after.trim_start_matches([' ', '\t']);
            rest = if after.is_empty() { None } else { Some(after.strip_prefix(';')?) };
        }
        Some(Self { value: value.trim_matches([' ', '\t']), list })
    }

    /// Returns the parameter with this name in lower case.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.list.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, text)| *text)
    }

    /// Whether there is a parameter with this name in one of the forms of RFC 2231 or RFC 8187, such
    /// as `name*` or `name*0`.
    pub fn has_extended(&self, name: &str) -> bool {
        self.list.iter().any(|(other, _)| other.split_once('*').is_some_and(|(other, _)| other.eq_ignore_ascii_case(name)))
    }
}

/// Splits off an unquoted text. It is not required to be a token, because clients send boundaries
/// that are not.
fn take_unquoted(rest: &str) -> Option<(&str, &str)> {
    let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')).then_some((text, after))
}

/// Whether `text` is a token (RFC 9110 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_quoted_or_not() {
        let read = HeaderParameters::parse("form-data ; name=\"a b;c\";\tfilename=x.wav ;NOTE=\"\"").unwrap();
        assert_eq!(
            (read.value, read.get("name"), read.get("filename"), read.get("note")),
            ("form-data", Some("a b;c"), Some("x.wav"), Some(""))
        );
        assert_eq!(HeaderParameters::parse("form-data").unwrap().get("name"), None);
        assert!(HeaderParameters::parse("f; filename*=utf-8''x").unwrap().has_extended("filename"));
    }

    #[test]
    fn anything_that_two_parsers_may_read_differently_is_refused() {
        for header in [
            "f; name=\"a\"; name=\"b\"",
            "f; name=\"a\"; NAME=\"b\"",
            "f; name=\"a\\\"; x=\"b\"",
            "f; name=\"a\" b",
            "f; name=\"a",
            "f; name",
            "f; name=",
            "f; =a",
            "f; na me=a",
            "f; name =a",
            "f; name=a\"b",
            "f;",
            "f; name=a;",
            "f;; name=a",
        ] {
            assert_eq!(HeaderParameters::parse(header), None, "{header}");
        }
    }
}
