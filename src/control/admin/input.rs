//! Reading a request strictly: a body or a query parameter that is unknown, repeated or malformed is refused by name.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::AdminError;
use crate::control::error::ControlError;

/// A JSON body. An empty one counts as `{}`.
pub struct Body<T>(pub T);

/// The query's parameters, taken out one by one.
pub struct Parameters {
    left: Vec<(String, String)>,
    fingerprint: u32,
    /// The name of one whose value no database takes.
    with_nul: Option<String>,
}

/// What says which part of an answer is wanted, and not what is asked. A list that is read from the newest on may also be asked
/// to go back to another moment than the page before was (`from`): who says "the last hour" means another one each time.
const PAGING: [&str; 4] = ["limit", "cursor", "page", "from"];

/// The longest body, in bytes.
const MAX_BODY: usize = 256 * 1024;

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = AdminError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, AdminError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|error| AdminError::InvalidJson(error.to_string()))?;
            let bytes = match payload.to_bytes_limited(MAX_BODY).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(_)) => return Err(AdminError::InvalidJson("it ends early".to_owned())),
                Err(_) => return Err(AdminError::TooLarge(MAX_BODY)),
            };
            parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(Body)
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AdminError> {
    // Is it JSON at all? Only then do its fields matter.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| AdminError::InvalidJson(error.to_string()))?;
    // serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ControlError::invalid("body", "the body must be a JSON object").into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, &error.into_inner()).into()
    })
}

/// serde says which field is missing, unknown or there twice only in words.
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
    /// The parameters of `request`.
    pub fn of(request: &HttpRequest) -> Self {
        let left: Vec<_> = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        let mut asked: Vec<_> = left.iter().filter(|(name, _)| !PAGING.contains(&name.as_str())).collect();
        asked.sort_unstable();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(request.path().as_bytes());
        for (name, value) in asked {
            for text in [name, value] {
                hasher.update(&[0]);
                hasher.update(text.as_bytes());
            }
        }
        let with_nul = left.iter().find(|(_, value)| value.contains('\0')).map(|(name, _)| name.clone());
        Self { left, fingerprint: hasher.finalize(), with_nul }
    }

    /// The same for every page of one question, in all likelihood another for another.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Whether a parameter is given and not yet taken.
    pub fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(given, _)| given == name)
    }

    /// The values of a parameter that may be given more than once.
    pub fn many(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(given, _)| given == name);
        self.left = left;
        taken.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// If it is given more often or is empty.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, ControlError> {
        let mut values = self.many(name).into_iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ControlError::invalid(name, format!("{name} is given more than once"))),
            (Some(value), None) if value.is_empty() => Err(ControlError::invalid(name, format!("{name} is empty; leave it out"))),
            (value, None) => Ok(value),
        }
    }

    /// As [`one`](Self::one), as a whole number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&mut self, name: &str) -> Result<Option<i64>, ControlError> {
        let invalid = |_| ControlError::invalid(name, format!("{name} must be a whole number"));
        self.one(name)?.map(|value| value.parse().map_err(invalid)).transpose()
    }

    /// Refuses what nobody asked for, and text with NUL in it.
    ///
    /// # Errors
    /// Names the first parameter that is left.
    pub fn finish(self) -> Result<(), ControlError> {
        if let Some(name) = self.with_nul {
            return Err(ControlError::invalid(&name, format!("{name} holds a NUL")));
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
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["{", "{} x", "nonsense", "{\"a\" 1}", "\u{feff}{}"] {
            assert!(matches!(parse::<KeyFields>(text.as_bytes()), Err(AdminError::InvalidJson(_))), "{text}");
        }
    }
}
