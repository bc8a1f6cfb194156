//! Client of the admin API: takes paths and JSON, returns JSON or a one-line error.
//!
//! The operator's own gateway is not an upstream and usually listens on loopback, so the guard
//! against private addresses does not apply here.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::rt::{System, SystemRunner};
use awc::error::{ConnectError, SendRequestError};
use clap::Args;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use url::Url;

use super::error::CommandError;
use super::table::escape_controls;
use crate::secret::Secret;

/// Options of every command that calls the admin API.
#[derive(Debug, Clone, Args)]
pub(super) struct AdminOptions {
    /// URL of the gateway
    #[arg(long, env = "AIGW_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub url: Url,
    /// Print the admin API's JSON response
    #[arg(long, global = true)]
    pub json: bool,
}

/// Client of the admin API of one gateway.
pub(super) struct AdminClient {
    base: Url,
    token: Secret,
    tenant_key: Option<Secret>,
    system: SystemRunner,
    client: OnceCell<awc::Client>,
}

/// Query parameters.
pub(super) type Query<'a> = &'a [(&'a str, String)];

/// Environment variable with the admin token.
const TOKEN: &str = "AIGW_ADMIN_TOKEN";
/// Environment variable with the tenant key, for tenants with custody `tenant`.
const TENANT_KEY: &str = "AIGW_TENANT_KEY";
/// Limit for a response body in bytes: lists can be long.
const MAX_RESPONSE: usize = 64 << 20;

impl AdminOptions {
    /// Creates a client with the token from the environment. Sends nothing yet.
    ///
    /// # Errors
    /// If the token is missing or the URL is not an HTTP URL.
    pub fn connect(&self) -> Result<AdminClient, CommandError> {
        let token = std::env::var(TOKEN).unwrap_or_default();
        if token.is_empty() {
            return Err(CommandError::failed(format!(
                "{TOKEN} is not set; export the admin token of the gateway (quickstart keeps its own in aigw-data/admin-token)"
            )));
        }
        AdminClient::new(self.url.clone(), Secret::new(token))
    }
}

impl AdminClient {
    /// Creates a client for the gateway at `base`.
    ///
    /// # Errors
    /// If `base` is not an HTTP URL.
    pub fn new(base: Url, token: Secret) -> Result<Self, CommandError> {
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(CommandError::usage(format!(
                "{base} is not an http or https URL; set AIGW_URL to one such as http://127.0.0.1:8080"
            )));
        }
        let tenant_key = std::env::var(TENANT_KEY).ok().filter(|key| !key.is_empty()).map(Secret::new);
        Ok(Self { base, token, tenant_key, system: System::new(), client: OnceCell::new() })
    }

    /// `GET /admin/v1/{path}`
    pub fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, CommandError> {
        self.send(Method::GET, path, query, None)
    }

    /// Fetches all pages of a list and joins them.
    pub fn list(&self, path: &[&str], query: Query<'_>) -> Result<Value, CommandError> {
        let mut whole = self.get(path, query)?;
        while let Some(cursor) = next_cursor(&whole) {
            let mut next_query = query.to_vec();
            next_query.push(("cursor", cursor));
            let mut page = self.get(path, &next_query)?;
            let rows = page.get_mut("data").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            let last = rows.is_empty();
            if let Some(data) = whole.get_mut("data").and_then(Value::as_array_mut) {
                data.extend(rows);
            }
            for field in ["has_more", "next_cursor"] {
                whole[field] = if last { Value::Null } else { page[field].take() };
            }
        }
        Ok(whole)
    }

    /// `POST /admin/v1/{path}`
    pub fn post(&self, path: &[&str], body: &Value) -> Result<Value, CommandError> {
        self.send(Method::POST, path, &[], Some(body))
    }

    /// `PUT /admin/v1/{path}`
    pub fn put(&self, path: &[&str], body: &Value) -> Result<Value, CommandError> {
        self.send(Method::PUT, path, &[], Some(body))
    }

    /// `PATCH /admin/v1/{path}`
    pub fn patch(&self, path: &[&str], body: &Value) -> Result<Value, CommandError> {
        self.send(Method::PATCH, path, &[], Some(body))
    }

    /// `DELETE /admin/v1/{path}`
    pub fn delete(&self, path: &[&str]) -> Result<Value, CommandError> {
        self.send(Method::DELETE, path, &[], None)
    }

    fn send(&self, method: Method, path: &[&str], query: Query<'_>, body: Option<&Value>) -> Result<Value, CommandError> {
        let url = address(&self.base, path, query)?;
        let (status, bytes) = self.system.block_on(self.exchange(method, &url, body)).map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let response = serde_json::from_slice(&bytes);
        match response {
            Ok(response) if status.is_success() => Ok(response),
            Err(_) if status.is_success() => {
                Err(CommandError::failed(format!("{} did not return JSON; is it an aigw gateway?", self.base)))
            }
            response => Err(refusal(status, &response.unwrap_or(Value::Null), &self.base)),
        }
    }

    async fn exchange(&self, method: Method, url: &Url, body: Option<&Value>) -> Result<(StatusCode, Vec<u8>), SendRequestError> {
        let client = self.client.get_or_init(client);
        // One connection per request: a kept one may have been closed by the time of the next
        // request.
        let mut request = client.request(method, url.as_str()).force_close().bearer_auth(self.token.expose());
        if let Some(key) = &self.tenant_key {
            request = request.insert_header(("x-aigw-tenant-key", key.expose()));
        }
        let mut response = match body {
            Some(body) => request.content_type("application/json").send_body(body.to_string()).await?,
            None => request.send().await?,
        };
        match response.body().limit(MAX_RESPONSE).await {
            Ok(bytes) => Ok((response.status(), bytes.to_vec())),
            Err(error) => Err(SendRequestError::Custom(Box::new(error), Box::new("response"))),
        }
    }

    fn unreachable(&self, error: &SendRequestError) -> CommandError {
        let reason = match error {
            SendRequestError::Connect(ConnectError::Io(error)) => error.kind().to_string(),
            SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => String::from("host not found"),
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => String::from("timeout"),
            other => other.to_string(),
        };
        CommandError::failed(format!("cannot reach {}: {reason}; check that aigw runs there, or set AIGW_URL or --url", self.base))
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the operator's own gateway is not an upstream and usually on loopback, which the guard refuses"
)]
fn client() -> awc::Client {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = awc::Connector::new().timeout(Duration::from_secs(5)).rustls_0_23(Arc::new(tls));
    awc::Client::builder().connector(connector).disable_redirects().timeout(Duration::from_secs(60)).finish()
}

/// Returns `{base}/admin/v1/{path}?{query}` with every part percent-encoded.
fn address(base: &Url, path: &[&str], query: Query<'_>) -> Result<Url, CommandError> {
    let mut url = base.clone();
    if let Some(dots) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
        return Err(CommandError::usage(format!("{dots:?} is not a valid id")));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["admin", "v1"]).extend(path);
    }
    url.set_query(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn next_cursor(page: &Value) -> Option<String> {
    let more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
    more.then(|| page.get("next_cursor").and_then(Value::as_str).map(str::to_owned)).flatten()
}

fn refusal(status: StatusCode, response: &Value, base: &Url) -> CommandError {
    let error = response.get("error").unwrap_or(&Value::Null);
    let field = |name| error.get(name).and_then(Value::as_str);
    CommandError::failed(match (status, field("code")) {
        (StatusCode::UNAUTHORIZED, _) => {
            format!("{base} rejected the admin token; set {TOKEN} to the token that the gateway was started with")
        }
        (StatusCode::NOT_FOUND, None | Some("unknown_endpoint")) => {
            format!("{base} has no such admin API; start the gateway with {TOKEN} set, in the same version as this program")
        }
        (_, Some("tenant_key_required")) => format!("this tenant has custody `tenant`; set {TENANT_KEY} to its tenant key"),
        _ => {
            let message = escape_controls(field("message").unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given")));
            let param = field("param").filter(|param| !message.contains(param)).map(|param| format!(" ({})", escape_controls(param)));
            message.trim_end_matches('.').to_owned() + &param.unwrap_or_default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn base() -> Url {
        "http://127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn ids_and_filters_are_encoded() {
        let url = address(&base(), &["tenants", "a/b?c"], &[("tag", String::from("project=a&b"))]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/admin/v1/tenants/a%2Fb%3Fc?tag=project%3Da%26b");
    }

    #[test]
    fn a_base_url_with_a_path_keeps_it() {
        let url = address(&"https://example.com/aigw/".parse().unwrap(), &["ledger"], &[]).unwrap();
        assert_eq!(url.as_str(), "https://example.com/aigw/admin/v1/ledger");
    }

    #[test]
    fn path_traversal_in_an_id_is_refused() {
        assert!(address(&base(), &["tenants", ".."], &[]).is_err());
        assert!(address(&base(), &["tenants", ""], &[]).is_err());
    }

    #[test]
    fn an_error_names_the_problem_and_the_remedy() {
        let message = |status, response| format!("{:?}", refusal(status, &response, &base()));
        let bad =
            json!({"error": {"message": "id must be a slug.", "type": "invalid_request_error", "param": "id", "code": "invalid_value"}});
        assert!(message(StatusCode::BAD_REQUEST, bad).contains("id must be a slug"));
        assert!(message(StatusCode::UNAUTHORIZED, Value::Null).contains(TOKEN));
        let off = json!({"error": {"message": "no such endpoint", "code": "unknown_endpoint"}});
        assert!(message(StatusCode::NOT_FOUND, off).contains("no such admin API"));
    }

    #[test]
    fn only_a_page_that_has_more_is_followed() {
        assert_eq!(next_cursor(&json!({"has_more": true, "next_cursor": "c"})), Some(String::from("c")));
        assert_eq!(next_cursor(&json!({"has_more": false, "next_cursor": "c"})), None);
        assert_eq!(next_cursor(&json!({"data": []})), None);
    }
}
