//! Scripted responses: answers produced in process, which the relay treats like those of a network upstream.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::headers::ResponseHeaders;
use crate::dialect::call::Script;
use crate::upstream::body::ResponseBody;
use crate::upstream::error::{Error, Stage};

/// Returns status, headers and body of a script, after the delay of its first chunk.
///
/// # Errors
/// That delay exceeds `head_timeout`.
pub async fn respond(mut script: Script, head_timeout: Duration) -> Result<(u16, ResponseHeaders, ResponseBody), Error> {
    if let Some((delay, _)) = script.pieces.first_mut() {
        let latency = std::mem::take(delay);
        if timeout(head_timeout, sleep(latency)).await.is_err() {
            return Err(Error::timeout(Stage::Head));
        }
    }
    let headers = ResponseHeaders { content_type: script.content_type.into(), headers: Vec::new() };
    Ok((script.status, headers, ResponseBody::scripted(script.pieces)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn script(latency: Duration) -> Script {
        Script { status: 200, content_type: "text/plain", pieces: vec![(latency, Bytes::from_static(b"a"))] }
    }

    #[actix_web::test]
    async fn the_head_arrives_after_the_delay_of_the_first_chunk() {
        let (status, headers, mut body) = respond(script(Duration::from_millis(1)), Duration::from_secs(60)).await.ok().unwrap();
        assert_eq!((status, headers.content_type.as_str()), (200, "text/plain"));
        assert_eq!(body.next(Duration::ZERO).await.unwrap().unwrap(), "a");
    }

    #[actix_web::test]
    async fn a_head_that_is_too_late_is_a_timeout() {
        let error = respond(script(Duration::from_secs(3_600)), Duration::from_millis(1)).await.err().unwrap();
        assert_eq!(error, Error::timeout(Stage::Head));
    }
}
