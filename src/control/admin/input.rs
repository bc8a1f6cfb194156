//! Strict parsing of requests: unknown, repeated or malformed fields and query parameters are
//! refused, and the error names them.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::AdminError;
use crate::control::error::ControlError;

/// A JSON body. An empty body counts as `{}`.
pub struct JsonBody<T>(pub T);

/// Query parameters, which handlers remove one by one.
pub struct Parameters {
    left: Vec<(String, String)>,
    fingerprint: u32,
    /// Name of a parameter whose value contains NUL, which databases reject.
    with_nul: Option<String>,
}

/// Parameters that select a page of a result and so are not part of the fingerprint. `from` is one
/// of them: lists are read from the newest row on, and a client that asks for the last hour sends
/// another `from` with each page.
const PAGING: [&str; 4] = ["limit", "cursor", "page", "from"];

/// Maximum size of a body in bytes.
const MAX_BODY: usize = 256 * 1024;

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = AdminError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, AdminError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|error| AdminError::InvalidJson(error.to_string()))?;
            let bytes = match payload.to_bytes_limited(MAX_BODY).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(_)) => return Err(AdminError::InvalidJson("unexpected end of body".to_owned())),
                Err(_) => return Err(AdminError::TooLarge(MAX_BODY)),
            };
            parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(JsonBody)
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AdminError> {
    // Checks the syntax first: errors about fields only make sense for valid JSON.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| AdminError::InvalidJson(error.to_string()))?;
    // serde would accept an array with the fields in order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ControlError::invalid("body", "request body must be a JSON object").into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, &error.into_inner()).into()
    })
}

/// Extracts the field name from the message of serde, which has no other way to get it.
fn refusal(path: &str, error: &serde_json::Error) -> ControlError {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    let field = message.split('`').nth(1).filter(|_| message.contains(" field `"));
    let param = match (field, path) {
        (Some(field), "." | "?") => field.to_owned(),
        (Some(field), path) if path != field && !path.ends_with(&format!(".{field}")) => format!("{path}.{field}"),
        (_, path) => path.trim_matches('.').to_owned(),
    };
    ControlError::invalid(param, message)
}

impl Parameters {
    /// Parses the query parameters of `request`.
    pub fn of(request: &HttpRequest) -> Self {
        let left: Vec<_> = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        let mut relevant: Vec<_> = left.iter().filter(|(name, _)| !PAGING.contains(&name.as_str())).collect();
        relevant.sort_unstable();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(request.path().as_bytes());
        for (name, value) in relevant {
            for text in [name, value] {
                hasher.update(&[0]);
                hasher.update(text.as_bytes());
            }
        }
        let with_nul = left.iter().find(|(_, value)| value.contains('\0')).map(|(name, _)| name.clone());
        Self { left, fingerprint: hasher.finalize(), with_nul }
    }

    /// A checksum of path and parameters that all pages of one query share.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Returns whether a parameter is given and not removed yet.
    pub fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(given, _)| given == name)
    }

    /// Removes a parameter that may be repeated and returns its values.
    pub fn many(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(given, _)| given == name);
        self.left = left;
        taken.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// Removes a parameter that may be given once and returns its value.
    ///
    /// # Errors
    /// If it is repeated or empty.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, ControlError> {
        let mut values = self.many(name).into_iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ControlError::invalid(name, format!("{name} must not be repeated"))),
            (Some(value), None) if value.is_empty() => Err(ControlError::invalid(name, format!("{name} must not be empty; omit it"))),
            (value, None) => Ok(value),
        }
    }

    /// Like [`one`](Self::one), for an integer.
    ///
    /// # Errors
    /// If it is not an integer.
    pub fn number(&mut self, name: &str) -> Result<Option<i64>, ControlError> {
        let invalid = |_| ControlError::invalid(name, format!("{name} must be an integer"));
        self.one(name)?.map(|value| value.parse().map_err(invalid)).transpose()
    }

    /// Refuses parameters that the handler did not remove, and values with NUL.
    ///
    /// # Errors
    /// Names the first such parameter.
    pub fn finish(self) -> Result<(), ControlError> {
        if let Some(name) = self.with_nul {
            return Err(ControlError::invalid(&name, format!("{name} must not contain NUL")));
        }
        match self.left.into_iter().next() {
            Some((name, _)) => Err(ControlError::invalid(&name, format!("unknown parameter {name:?}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::keys::KeyFields;
    use crate::control::tenants::NewTenant;

    fn param<T: DeserializeOwned>(text: &str) -> String {
        match parse::<T>(text.as_bytes()).err() {
            Some(AdminError::Control(ControlError::Invalid { param, .. })) => param,
            Some(other) => other.to_string(),
            None => panic!("{text} passed"),
        }
    }

    #[test]
    fn a_refused_body_names_the_field() {
        assert_eq!(param::<NewTenant>("{}"), "id");
        assert_eq!(param::<NewTenant>(r#"{"id": 7}"#), "id");
        assert_eq!(param::<NewTenant>(r#"{"id": "a", "colour": 1}"#), "colour");
        assert_eq!(param::<NewTenant>(r#"{"id": "a", "id": "b"}"#), "id");
        assert_eq!(param::<NewTenant>(r#"["acme"]"#), "body");
        assert_eq!(param::<NewTenant>("null"), "body");
        assert_eq!(param::<KeyFields>(r#"{"rpm": -1}"#), "rpm");
        assert_eq!(param::<KeyFields>(r#"{"rpm": 1.5}"#), "rpm");
        assert_eq!(param::<KeyFields>(r#"{"tags": {"a": 1}}"#), "tags.a");
        assert_eq!(param::<KeyFields>(r#"{"allowed_models": ["a", 2]}"#), "allowed_models[1]");
    }

    #[test]
    fn invalid_json_is_refused_as_such() {
        for text in ["{", "{} x", "nonsense", "{\"a\" 1}", "\u{feff}{}"] {
            assert!(matches!(parse::<KeyFields>(text.as_bytes()), Err(AdminError::InvalidJson(_))), "{text}");
        }
    }
}
