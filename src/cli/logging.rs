//! Logging with env_logger, as text or JSON, and the final filter that redacts credentials in every
//! line (spec/security.md 4.4).
//!
//! The filter works on the finished line, so it covers every log statement. It recognizes aigw's
//! own credentials by their format and the admin token by its value. Provider keys cannot be
//! logged: they have no `Display`.

use std::fmt::Write as _;
use std::io::Write as _;

use env_logger::fmt::Formatter;
use jiff::Timestamp;
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Record};

use crate::config::{LogFormat, Settings};
use crate::secret::Secret;

/// Replacement for a credential.
const REDACTED: &str = "[redacted]";
/// Prefixes of aigw's credentials; alphanumerics follow.
const PREFIXES: [&str; 3] = ["aigw-sk-", "aigw-tk-", "aigw-ek-"];
/// Alphanumerics after a prefix that make it a credential rather than a mention of the format.
const MIN_LENGTH: usize = 8;

/// Starts logging to standard error. `RUST_LOG` overrides the configured filter. Panics are logged
/// with their location, but without formatted messages, which may contain data.
pub(super) fn start(settings: &Settings) {
    let format = settings.server.log_format;
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let secrets = settings.admin.token.as_ref().map(encodings).unwrap_or_default();
    let mut builder = env_logger::Builder::new();
    if filter.is_none() {
        // It logs the start and stop of every worker; the server logs the relevant events itself.
        builder.filter_module("actix_server", LevelFilter::Warn);
    }
    builder.parse_filters(filter.as_deref().unwrap_or(&settings.server.log)).format(move |out, record| {
        let line = match format {
            LogFormat::Text => text(out, record),
            LogFormat::Json => json(record),
        };
        writeln!(out, "{}", redact(&line, &secrets))
    });
    if builder.try_init().is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let what = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("message omitted because it may contain data");
            log::error!(target: "aigw::panic", place = place.as_str(); "panicked: {what}");
        }));
    }
}

/// `2026-08-01T12:00:00.123Z INFO aigw::server: listening address=127.0.0.1:8080`
fn text(out: &Formatter, record: &Record<'_>) -> String {
    let style = out.default_level_style(record.level());
    let mut line = format!("{} {style}{:5}{style:#} {}: ", now(), record.level(), record.target());
    let message = record.args().to_string();
    escape_controls(&message, &mut line);
    let mut fields = KeyValues(Vec::new());
    if record.key_values().visit(&mut fields).is_ok() {
        for (name, value) in fields.0 {
            let _ = write!(line, " {name}=");
            escape_controls(&value, &mut line);
        }
    }
    line
}

/// Formats one JSON object: `time`, `level`, `target`, `message` and the record's fields.
fn json(record: &Record<'_>) -> String {
    let mut fields = KeyValues(Vec::new());
    let _ = record.key_values().visit(&mut fields);
    let own = [
        ("time", now()),
        ("level", record.level().as_str().to_ascii_lowercase()),
        ("target", record.target().to_owned()),
        ("message", record.args().to_string()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let object: serde_json::Map<_, _> = own.into_iter().chain(fields.0).map(|(name, value)| (name, value.into())).collect();
    serde_json::Value::Object(object).to_string()
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

struct KeyValues(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for KeyValues {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

/// Escapes control characters, so that a record stays on one line.
fn escape_controls(text: &str, line: &mut String) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

/// Returns the forms in which a line may contain a secret: verbatim and JSON-escaped.
fn encodings(secret: &Secret) -> Vec<Secret> {
    let quoted = serde_json::Value::from(secret.expose()).to_string();
    let escaped = quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    [secret.expose(), escaped].into_iter().filter(|text| !text.is_empty()).map(Secret::new).collect()
}

/// Replaces every credential of a line.
fn redact(line: &str, secrets: &[Secret]) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(found) = next_credential(rest, secrets) {
        clean.push_str(&rest[..found.start + found.kept]);
        clean.push_str(REDACTED);
        rest = &rest[found.end..];
    }
    clean.push_str(rest);
    clean
}

/// Position of a credential in a line, and the length of its prefix, which may stay.
struct CredentialMatch {
    start: usize,
    end: usize,
    kept: usize,
}

/// Returns the first credential of a text, merged with credentials that overlap it.
fn next_credential(text: &str, secrets: &[Secret]) -> Option<CredentialMatch> {
    let known = secrets.iter().filter_map(|secret| {
        let start = text.find(secret.expose())?;
        Some(CredentialMatch { start, end: start + secret.expose().len(), kept: 0 })
    });
    let own = text.match_indices("aigw-").find_map(|(start, _)| {
        let tail = &text[start..];
        let prefix = PREFIXES.into_iter().find(|prefix| tail.starts_with(prefix))?.len();
        let body = tail[prefix..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        (body >= MIN_LENGTH).then_some(CredentialMatch { start, end: start + prefix + body, kept: prefix })
    });
    let mut all: Vec<CredentialMatch> = known.chain(own).collect();
    all.sort_by_key(|found| (found.start, found.kept));
    all.into_iter().reduce(|first, other| {
        let end = if other.start < first.end { first.end.max(other.end) } else { first.end };
        CredentialMatch { end, ..first }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_credential_of_a_line_is_redacted_and_the_rest_stays() {
        let line = "key=aigw-sk-0123456789abc, edge aigw-ek-ABCDEFGH.";
        assert_eq!(redact(line, &[]), "key=aigw-sk-[redacted], edge aigw-ek-[redacted].");
    }

    #[test]
    fn the_admin_token_is_redacted_everywhere() {
        assert_eq!(redact("{\"a\":\"s3cret\"} s3cret", &[Secret::new("s3cret")]), "{\"a\":\"[redacted]\"} [redacted]");
        assert!(encodings(&Secret::new("")).is_empty());
    }

    #[test]
    fn a_json_escaped_token_is_redacted() {
        let token = Secret::new("with \"quotes\" and \\ in it");
        let line = serde_json::json!({ "message": token.expose() }).to_string();
        assert_eq!(redact(&line, &encodings(&token)), "{\"message\":\"[redacted]\"}");
    }

    #[test]
    fn overlapping_credentials_are_redacted_together() {
        assert_eq!(redact("aigw-sk-0123456789-tail", &[Secret::new("6789-tail")]), "aigw-sk-[redacted]");
    }

    #[test]
    fn a_token_in_the_format_of_a_key_is_redacted_entirely() {
        assert_eq!(redact("aigw-sk-0123456789-more", &[Secret::new("aigw-sk-0123456789-more")]), "[redacted]");
    }

    #[test]
    fn a_mention_of_the_format_stays() {
        for line in ["keys look like aigw-sk-…", "aigw-sk-short", "aigw-xx-0123456789", "aigw-", "aigw-aigw-sk-"] {
            assert_eq!(redact(line, &[]), line);
        }
    }

    #[test]
    fn a_record_stays_on_its_line() {
        let mut line = String::new();
        escape_controls("a\nb\u{1b}[0m", &mut line);
        assert_eq!(line, "a\\nb\\u{1b}[0m");
    }

    proptest! {
        #[test]
        fn no_credential_survives_whatever_surrounds_it(before in ".*", body in "[A-Za-z0-9]{8,49}", after in ".*", kind in "(sk|tk|ek)") {
            let key = format!("aigw-{kind}-{body}");
            let line = format!("{before}{key}{after}");
            prop_assert!(!redact(&line, &[]).contains(&key));
        }

        #[test]
        fn the_token_never_survives(before in ".*", after in ".*") {
            let token = "Zq9-a-token-of-thirty-two-characters";
            let line = format!("{before}{token}{after}");
            prop_assert!(!redact(&line, &[Secret::new(token)]).contains(token));
        }
    }
}
