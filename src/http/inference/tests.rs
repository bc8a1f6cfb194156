//! An operation with forms and binary answers, which exists in these tests only: from the client's
//! request through the gateway to an upstream on a socket and back.

use std::pin::Pin;
use std::sync::Mutex;

use actix_http::Request;
use actix_web::body::{self, BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, rt};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::catalog::caller::{Caller, Tenant};
use crate::catalog::directory::Directory;
use crate::catalog::snapshot::Snapshot;
use crate::config::{Server, UpstreamLimits};
use crate::credential::{Credential, CredentialKind};
use crate::dialect::call::{AnswerFormat, Call, Prepared};
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::opaque::OpaqueReader;
use crate::dialect::openai::OpenAi;
use crate::dialect::request::{DialectRequest, Refused};
use crate::gateway::fixture::{LONG, TestLedger, TestProvider, network, offerings};
use crate::gateway::worker::{WorkerOptions, Workers};
use crate::http::identity::Authenticator;
use crate::http::probes::Probes;
use crate::ledger::entry::{Entry, Outcome, UsageSource};
use crate::memory::MemoryCapacity;
use crate::metrics::Metrics;
use crate::payload::PayloadFormat;
use crate::surface::chat::Chat;
use crate::terms::Operation;

/// The row of the operation. It borrows a variant, because it has none of its own.
static SPEECH: OperationSpec = OperationSpec {
    operation: Operation::Chat,
    path: "/v1/test/speech",
    surface: &Chat,
    payload: PayloadFormat::Form,
    may_stream: false,
    prompt: &["note"],
};

/// A dialect that sends the form as it is but for the model, and passes the answer unread.
struct FormDialect;

impl Dialect for FormDialect {
    fn name(&self) -> &'static str {
        "form"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        OpenAi.path(operation)
    }

    fn request(&self, request: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        let Payload::Form(form) = request.payload else { panic!("not a form") };
        Ok(Prepared {
            call: Call::Http {
                headers: Vec::new(),
                content_type: form.content_type().to_owned().into(),
                body: form.splice("model", "spoken/1").unwrap(),
            },
            reader: Box::new(OpaqueReader::default()),
            format: AnswerFormat::Opaque,
            dropped: Vec::new(),
        })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        OpenAi.failure(status, body)
    }
}

/// An upstream that gives every request the same answer and closes the connection.
struct OneAnswer {
    base_url: String,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl OneAnswer {
    async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (base_url, requests) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<Mutex<Vec<_>>>::default());
        let seen = Arc::clone(&requests);
        rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !is_whole(&request) && stream.read_buf(&mut request).await.unwrap() > 0 {}
                seen.lock().unwrap().push(request);
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { base_url, requests }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(request, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    request.len() >= end + 4 + length
}

const CONTENT: &str = "multipart/form-data; charset=utf-8; boundary=\"b:0\"";
const FILE: &[u8] = b"RIFF\0\xff\r\n\r\n--b:1\r\n--";

fn form(model: &str) -> Vec<u8> {
    let head = b"--b:0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n";
    let rest = format!("\r\n--b:0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b:0--\r\n");
    [head, FILE, rest.as_bytes()].concat()
}

/// An application with the operation, whose providers all give the same answer.
struct TestApp<S> {
    service: S,
    key: String,
    ledger: TestLedger,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

async fn app(answer: &[u8]) -> TestApp<impl Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>> {
    let upstream = OneAnswer::start(answer.to_vec()).await;
    let ledger = TestLedger::start();
    let credential = Credential::mint(CredentialKind::Virtual).unwrap();
    let (_, lookup) = Credential::lookup_of(credential.text().expose()).unwrap();
    let tenant = Arc::new(Tenant::minimal("acme".into()));
    let caller = Arc::new(Caller::minimal(Arc::clone(&tenant), "key_1".into(), lookup));
    let provider = |name| TestProvider { name, dialect: &FormDialect, base_url: upstream.base_url.clone() };
    let snapshot = Snapshot {
        offerings: Arc::new(offerings(&[provider("alpha"), provider("beta")])),
        directory: Arc::new(Directory::build([tenant], [caller])),
    };
    let options = WorkerOptions { max_in_flight: 1, fail_static: LONG, edge: None, cache: LONG, admission: None, filter: None };
    let state = web::Data::new(AppState {
        workers: Workers::new(snapshot, ledger.handle.clone(), network(), options),
        authenticator: Authenticator::new(1),
        server: Server::default(),
        limits: UpstreamLimits::default(),
        memory: MemoryCapacity::new(1 << 20),
        metrics: Arc::new(Metrics::new()),
        probes: Probes { database: Box::new(|| Box::pin(async { true })), metrics: Box::new(|| (String::new(), "")) },
    });
    let service = init_service(App::new().app_data(state).service(web::resource(SPEECH.path).route(route(&SPEECH)))).await;
    TestApp { service, key: credential.text().expose().to_owned(), ledger, requests: upstream.requests }
}

impl<S: Service<Request, Response = ServiceResponse<BoxBody>, Error = actix_web::Error>> TestApp<S> {
    async fn send(&self, content_type: &'static str, payload: Vec<u8>) -> ServiceResponse<BoxBody> {
        let request = TestRequest::post()
            .uri(SPEECH.path)
            .insert_header(("authorization", format!("Bearer {}", self.key)))
            .insert_header(("x-request-id", "speech"))
            .insert_header(("content-type", content_type))
            .set_payload(payload);
        call_service(&self.service, request.to_request()).await
    }

    /// The request's one entry.
    async fn entry(self) -> Entry {
        self.ledger.entries().await.remove("speech").unwrap()
    }
}

fn header<'a>(response: &'a ServiceResponse<BoxBody>, name: &str) -> &'a str {
    response.headers().get(name).unwrap().to_str().unwrap()
}

/// Reads a body to its end, or to where it breaks off.
async fn read(response: ServiceResponse<BoxBody>) -> (Vec<u8>, bool) {
    let (mut body, mut all) = (response.into_body(), Vec::new());
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            Some(Ok(piece)) => all.extend_from_slice(&piece),
            Some(Err(_)) => return (all, false),
            None => return (all, true),
        }
    }
}

async fn error(response: ServiceResponse<BoxBody>) -> Value {
    let body: Bytes = body::to_bytes(response.into_body()).await.unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["error"].take()
}

#[actix_web::test]
async fn a_form_goes_up_with_its_boundary_and_bytes_come_back_unread() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 7\r\n\r\nID3\0\xff{\"";
    let app = app(answer).await;
    let response = app.send(CONTENT, form("pair")).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, "audio/mpeg"));
    assert_eq!(header(&response, "x-aigw-provider"), "alpha");
    assert_eq!(response.response().body().size(), body::BodySize::Stream);
    assert_eq!(read(response).await, (b"ID3\0\xff{\"".to_vec(), true));
    let [request] = &std::mem::take(&mut *app.requests.lock().unwrap())[..] else { panic!("not one request") };
    let head = String::from_utf8_lossy(request);
    assert!(head.contains(&format!("\r\ncontent-type: {CONTENT}\r\n")), "{head}");
    assert!(request.ends_with(&form("spoken/1")), "{head}");
    let entry = app.entry().await;
    assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::Ok, 200, UsageSource::Estimated));
}

#[actix_web::test]
async fn a_binary_answer_that_is_cut_ends_the_connection() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 70\r\n\r\nID3";
    let app = app(answer).await;
    let response = app.send(CONTENT, form("pair")).await;
    assert_eq!(read(response).await, (b"ID3".to_vec(), false));
    let entry = app.entry().await;
    assert_eq!((entry.outcome, entry.error_code.as_deref()), (Outcome::Interrupted, Some("upstream_interrupted")));
}

#[actix_web::test]
async fn a_json_answer_is_read_whole() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"text\":\"\"}";
    let app = app(answer).await;
    let response = app.send(CONTENT, form("pair")).await;
    assert_eq!(response.response().body().size(), body::BodySize::Sized(11));
    assert_eq!(read(response).await, (b"{\"text\":\"\"}".to_vec(), true));
    assert_eq!(app.entry().await.outcome, Outcome::Ok);
}

#[actix_web::test]
async fn an_answer_without_a_content_type_is_bytes() {
    let app = app(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\0").await;
    let response = app.send(CONTENT, form("pair")).await;
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    assert_eq!(read(response).await, (vec![0], true));
    assert_eq!(app.entry().await.outcome, Outcome::Ok);
}

#[actix_web::test]
async fn an_upstreams_error_passes() {
    let answer =
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"error\":{\"message\":\"no\"}} ";
    let app = app(answer).await;
    let response = app.send(CONTENT, form("pair")).await;
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(error(response).await, json!({"message": "no"}));
    assert_eq!(app.entry().await.outcome, Outcome::ClientError);
}

#[actix_web::test]
async fn a_body_in_another_format_is_refused() {
    let app = app(b"").await;
    for (content_type, payload, param, part) in [
        ("application/json", b"{}".to_vec(), json!(null), "send multipart/form-data"),
        ("multipart/form-data", form("pair"), json!(null), "invalid boundary"),
        (CONTENT, form("pair")[1..].to_vec(), json!(null), "expected the boundary at byte 0"),
        (CONTENT, form(""), json!("model"), "`model` has to be a model id"),
        (CONTENT, [&form("pair")[..form("pair").len() - 9], &form("pair")].concat(), json!("model"), "`model` has to be a string"),
    ] {
        let response = app.send(content_type, payload).await;
        assert_eq!(response.status().as_u16(), 400);
        let error = error(response).await;
        assert_eq!((&error["code"], &error["param"]), (&json!("invalid_value"), &param), "{error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    assert!(app.requests.lock().unwrap().is_empty() && app.ledger.entries().await.is_empty());
}
