//! The admin API as the commands see it: paths and JSON in, JSON or one line of failure out.
//!
//! The operator's own gateway is not an upstream, so this client is not guarded: loopback is where it usually is.

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

use super::failure::Failure;
use super::table::clean;
use crate::secret::Secret;

/// Where the gateway is and how to print what it answers: options of every command of the admin API.
#[derive(Debug, Clone, Args)]
pub(super) struct Remote {
    /// Where the gateway serves
    #[arg(long, env = "AIGW_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub url: Url,
    /// Print the admin API's JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// A connection to the admin API of a running gateway.
pub(super) struct Admin {
    base: Url,
    token: Secret,
    tenant_key: Option<Secret>,
    system: SystemRunner,
    client: OnceCell<awc::Client>,
}

/// Query parameters.
pub(super) type Query<'a> = &'a [(&'a str, String)];

/// The variable that holds the admin token.
const TOKEN: &str = "AIGW_ADMIN_TOKEN";
/// The variable that holds the key of a tenant that keeps its own root.
const TENANT_KEY: &str = "AIGW_TENANT_KEY";
/// Answers may be long lists.
const MAX_ANSWER: usize = 64 << 20;

impl Remote {
    /// Gets ready to ask, with the token from the environment. Nothing is sent yet.
    pub fn connect(&self) -> Result<Admin, Failure> {
        let token = std::env::var(TOKEN).unwrap_or_default();
        if token.is_empty() {
            return Err(Failure::failed(format!(
                "{TOKEN} is not set; export the admin token of the gateway (quickstart keeps its own in aigw-data/admin-token)"
            )));
        }
        Admin::new(self.url.clone(), Secret::new(token))
    }
}

impl Admin {
    /// Speaks to the gateway at `base` with this token.
    pub fn new(base: Url, token: Secret) -> Result<Self, Failure> {
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(Failure::usage(format!("{base} is no http or https address; set AIGW_URL to one such as http://127.0.0.1:8080")));
        }
        let tenant_key = std::env::var(TENANT_KEY).ok().filter(|key| !key.is_empty()).map(Secret::new);
        Ok(Self { base, token, tenant_key, system: System::new(), client: OnceCell::new() })
    }

    /// `GET /admin/v1/{path}`
    pub fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        self.ask(Method::GET, path, query, None)
    }

    /// Every page of a list, as one list.
    pub fn list(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        let mut whole = self.get(path, query)?;
        while let Some(cursor) = next_cursor(&whole) {
            let mut further = query.to_vec();
            further.push(("cursor", cursor));
            let mut page = self.get(path, &further)?;
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
    pub fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, &[], Some(body))
    }

    /// `PUT /admin/v1/{path}`
    pub fn put(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PUT, path, &[], Some(body))
    }

    /// `PATCH /admin/v1/{path}`
    pub fn patch(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PATCH, path, &[], Some(body))
    }

    /// `DELETE /admin/v1/{path}`
    pub fn delete(&self, path: &[&str]) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, &[], None)
    }

    fn ask(&self, method: Method, path: &[&str], query: Query<'_>, body: Option<&Value>) -> Result<Value, Failure> {
        let url = address(&self.base, path, query)?;
        let (status, bytes) = self.system.block_on(self.exchange(method, &url, body)).map_err(|error| self.unreachable(&error))?;
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let answer = serde_json::from_slice(&bytes);
        match answer {
            Ok(answer) if status.is_success() => Ok(answer),
            Err(_) if status.is_success() => Err(Failure::failed(format!("{} did not answer in JSON; is it an aigw?", self.base))),
            answer => Err(refusal(status, &answer.unwrap_or(Value::Null), &self.base)),
        }
    }

    async fn exchange(&self, method: Method, url: &Url, body: Option<&Value>) -> Result<(StatusCode, Vec<u8>), SendRequestError> {
        let client = self.client.get_or_init(client);
        // A connection each: one kept from the last question may be gone by the next.
        let mut request = client.request(method, url.as_str()).force_close().bearer_auth(self.token.expose());
        if let Some(key) = &self.tenant_key {
            request = request.insert_header(("x-aigw-tenant-key", key.expose()));
        }
        let mut response = match body {
            Some(body) => request.content_type("application/json").send_body(body.to_string()).await?,
            None => request.send().await?,
        };
        match response.body().limit(MAX_ANSWER).await {
            Ok(bytes) => Ok((response.status(), bytes.to_vec())),
            Err(error) => Err(SendRequestError::Custom(Box::new(error), Box::new("answer"))),
        }
    }

    fn unreachable(&self, error: &SendRequestError) -> Failure {
        let what = match error {
            SendRequestError::Connect(ConnectError::Io(error)) => error.kind().to_string(),
            SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => String::from("no such host"),
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => String::from("no answer in time"),
            other => other.to_string(),
        };
        Failure::failed(format!("cannot reach {}: {what}; is aigw serving there? (AIGW_URL or --url says where)", self.base))
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the operator's own gateway is no upstream: it is usually on loopback, which the guard refuses"
)]
fn client() -> awc::Client {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = awc::Connector::new().timeout(Duration::from_secs(5)).rustls_0_23(Arc::new(tls));
    awc::Client::builder().connector(connector).disable_redirects().timeout(Duration::from_secs(60)).finish()
}

/// `{base}/admin/v1/{path}?{query}`, every part encoded.
fn address(base: &Url, path: &[&str], query: Query<'_>) -> Result<Url, Failure> {
    let mut url = base.clone();
    if let Some(dots) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
        return Err(Failure::usage(format!("{dots:?} is no id")));
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

fn refusal(status: StatusCode, answer: &Value, base: &Url) -> Failure {
    let error = answer.get("error").unwrap_or(&Value::Null);
    let field = |name| error.get(name).and_then(Value::as_str);
    Failure::failed(match (status, field("code")) {
        (StatusCode::UNAUTHORIZED, _) => format!("{base} refuses the admin token; {TOKEN} must be the one it was started with"),
        (StatusCode::NOT_FOUND, None | Some("unknown_endpoint")) => {
            format!("{base} has no such admin API; start the gateway with {TOKEN} set, and in the version of this program")
        }
        (_, Some("tenant_key_required")) => format!("this tenant keeps its own key; set {TENANT_KEY} to it"),
        _ => {
            let message = clean(field("message").unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given")));
            let param = field("param").filter(|param| !message.contains(param)).map(|param| format!(" ({})", clean(param)));
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
    fn a_gateway_below_a_path_is_found_there() {
        let url = address(&"https://example.com/aigw/".parse().unwrap(), &["ledger"], &[]).unwrap();
        assert_eq!(url.as_str(), "https://example.com/aigw/admin/v1/ledger");
    }

    #[test]
    fn an_id_that_would_climb_out_of_its_path_is_refused() {
        assert!(address(&base(), &["tenants", ".."], &[]).is_err());
        assert!(address(&base(), &["tenants", ""], &[]).is_err());
    }

    #[test]
    fn a_refusal_names_what_is_wrong_and_the_remedy() {
        let said = |status, answer| format!("{:?}", refusal(status, &answer, &base()));
        let bad =
            json!({"error": {"message": "id must be a slug.", "type": "invalid_request_error", "param": "id", "code": "invalid_value"}});
        assert!(said(StatusCode::BAD_REQUEST, bad).contains("id must be a slug"));
        assert!(said(StatusCode::UNAUTHORIZED, Value::Null).contains(TOKEN));
        let off = json!({"error": {"message": "no such endpoint", "code": "unknown_endpoint"}});
        assert!(said(StatusCode::NOT_FOUND, off).contains("no such admin API"));
    }

    #[test]
    fn only_a_page_that_has_more_is_followed() {
        assert_eq!(next_cursor(&json!({"has_more": true, "next_cursor": "c"})), Some(String::from("c")));
        assert_eq!(next_cursor(&json!({"has_more": false, "next_cursor": "c"})), None);
        assert_eq!(next_cursor(&json!({"data": []})), None);
    }
}
