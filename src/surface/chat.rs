//! OpenAI's language: Chat Completions and the operations that share its errors and its model list.

use bytes::Bytes;
use serde::Serialize;
use smol_str::SmolStr;

use super::{ClientError, ErrorAnswer, ModelFacts, Pricing, RoutingMembers, Surface};
use crate::dialect::failure::Failure;
use crate::payload::Payload;
use crate::terms::Wire;

/// Surface of Chat Completions, Completions and Embeddings.
pub struct Chat;

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

/// OpenAI's model object and the members that aigw adds to it.
#[derive(Serialize)]
struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
    aliases: &'a [String],
    kinds: &'a [&'a str],
    context_length: Option<u64>,
    max_completion_tokens: Option<u64>,
    pricing: &'a Pricing,
}

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

impl Surface for Chat {
    fn wire(&self) -> Wire {
        Wire::Chat
    }

    fn members(&self) -> RoutingMembers {
        RoutingMembers { model: "model", stream: "stream" }
    }

    fn user(&self, payload: &Payload) -> Option<SmolStr> {
        payload.text("user")?.ok()
    }

    fn error(&self, error: &ClientError<'_>) -> ErrorAnswer {
        let ClientError { status, message, kind, param, code, .. } = *error;
        ErrorAnswer { status, body: to_json(&ErrorEnvelope { error: ErrorObject { message, r#type: kind, param, code } }) }
    }

    /// An event like any other, which clients tell by its `error` (DESIGN.md section 6).
    fn last_frame(&self, failure: &Failure, _: &str) -> Bytes {
        let Failure { message, kind, .. } = failure;
        let error = ErrorObject { message, r#type: kind, param: None, code: Some("upstream_interrupted") };
        let mut frame = Vec::from(b"data: ");
        frame.extend_from_slice(&to_json(&ErrorEnvelope { error }));
        frame.extend_from_slice(b"\n\n");
        frame.into()
    }

    fn model(&self, model: &ModelFacts<'_>) -> Bytes {
        to_json(&ModelObject::from(model))
    }

    fn models(&self, models: &[ModelFacts<'_>]) -> Bytes {
        to_json(&ModelList { object: "list", data: models.iter().map(ModelObject::from).collect() })
    }
}

impl<'a> From<&'a ModelFacts<'a>> for ModelObject<'a> {
    fn from(model: &'a ModelFacts<'a>) -> Self {
        let ModelFacts { id, created, owned_by, aliases, kinds, context_length, max_completion_tokens, pricing } = model;
        Self {
            id,
            object: "model",
            created: *created,
            owned_by,
            aliases,
            kinds,
            context_length: *context_length,
            max_completion_tokens: *max_completion_tokens,
            pricing,
        }
    }
}

/// Serializes an object of strings and numbers, which cannot fail.
fn to_json(object: &impl Serialize) -> Bytes {
    serde_json::to_vec(object).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::failure::{FailureOrigin, Original};

    fn reported(original: Option<Box<Original>>) -> Failure {
        Failure {
            status: 404,
            message: "no such \"model\"".to_owned(),
            kind: "invalid_request_error".into(),
            code: None,
            origin: FailureOrigin::Upstream,
            original,
            ..Failure::interrupted("")
        }
    }

    #[test]
    fn an_error_has_all_four_members_in_their_order() {
        let error = ClientError { status: 400, message: "m", kind: "t", param: Some("p"), code: Some("c"), request_id: "req_1" };
        let expected = r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#;
        assert_eq!(Chat.error(&error), ErrorAnswer { status: 400, body: expected.into() });
    }

    #[test]
    fn an_error_in_the_clients_language_passes_as_it_came() {
        let body = Bytes::from_static(b"{ \"error\":\"no\"}");
        let answer = Chat.failure(reported(Some(Box::new(Original { wire: Wire::Chat, body: body.clone() }))), "req_1");
        assert_eq!(answer, ErrorAnswer { status: 404, body });
    }

    #[test]
    fn an_error_in_another_language_is_made_of_its_facts() {
        let expected = r#"{"error":{"message":"no such \"model\"","type":"invalid_request_error","param":null,"code":null}}"#;
        for original in [None, Some(Box::new(Original { wire: Wire::Messages, body: Bytes::from_static(b"{}") }))] {
            assert_eq!(Chat.failure(reported(original), "req_1"), ErrorAnswer { status: 404, body: expected.into() });
        }
    }

    #[test]
    fn the_last_frame_of_a_broken_stream_has_our_code_and_their_type() {
        let frame =
            Chat.last_frame(&Failure { code: Some("theirs".into()), kind: "server_error".into(), ..Failure::interrupted("cut") }, "");
        let error = r#"{"error":{"message":"cut","type":"server_error","param":null,"code":"upstream_interrupted"}}"#;
        assert_eq!(frame, format!("data: {error}\n\n"));
    }
}
