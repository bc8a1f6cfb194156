//! A client on a raw socket: whole answers, streams frame by frame, and every way of going away.
//!
//! It decodes the framing and nothing else, so that what a test compares is what came over the
//! wire.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::LIMIT;

/// A request to be sent.
#[derive(Clone)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Whether the body was complete according to its framing.
    pub complete: bool,
}

/// Header fields in their order, names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
}

/// An answer whose head is in and whose body is still to come.
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    /// Whether the body was complete according to its framing; known at its end.
    pub complete: bool,
    connection: Connection,
    framing: Framing,
    unframed: Vec<u8>,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
    Over,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self { address, method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends a virtual key or an admin token.
    pub fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    pub fn json(self, value: &Value) -> Self {
        self.text(&value.to_string())
    }

    /// Sends this JSON body exactly as written.
    pub fn text(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body.as_bytes())
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    /// Returns the bytes of the request.
    pub fn wire(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.target, self.address);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut wire = head.into_bytes();
        wire.extend_from_slice(self.body.as_deref().unwrap_or_default());
        wire
    }

    /// Sends on a new connection and reads the whole answer.
    pub fn send(&self) -> Response {
        self.open().whole()
    }

    /// Sends and reads the head.
    pub fn open(&self) -> Reply {
        self.start().reply()
    }

    /// Sends without reading.
    pub fn start(&self) -> Connection {
        let mut connection = Connection::open(self.address);
        connection.write(&self.wire());
        connection
    }

    /// Sends over an open connection and reads the whole answer. The connection can be used again.
    pub fn send_over(&self, mut connection: Connection) -> (Response, Connection) {
        connection.write(&self.wire());
        let mut reply = connection.reply();
        let response = reply.drain();
        (response, reply.connection)
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Opens a connection to a peer that may not listen.
    pub fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, pending: Vec::new() })
    }

    /// Writes raw bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Writes bytes to a peer that may have closed the connection.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Closes the sending half.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Resets the connection.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Whether any byte of an answer arrives.
    pub fn try_answer(&mut self) -> bool {
        matches!(self.fill(), Ok(true))
    }

    /// Reads the head of an answer.
    ///
    /// # Panics
    /// If none arrives in time.
    pub fn reply(self) -> Reply {
        self.try_reply().unwrap_or_else(|what| panic!("no answer: {what}"))
    }

    /// Reads the head of an answer, or returns the error.
    pub fn try_reply(mut self) -> Result<Reply, String> {
        loop {
            let end = loop {
                if let Some(end) = find(&self.pending, b"\r\n\r\n") {
                    break end;
                }
                if !self.fill()? {
                    return Err(format!("the connection was closed after {:?}", String::from_utf8_lossy(&self.pending)));
                }
            };
            let head = String::from_utf8(self.pending.drain(..end + 4).collect()).map_err(|_| "a head that is not text".to_owned())?;
            let mut lines = head.split("\r\n");
            let status_line = lines.next().unwrap_or_default();
            let status: u16 =
                status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(format!("status line {status_line:?}"))?;
            if status == 100 {
                continue;
            }
            let headers = Headers(
                lines
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                    .collect(),
            );
            let framing = match (headers.get("transfer-encoding"), headers.get("content-length")) {
                (Some("chunked"), _) => Framing::Chunked,
                (_, Some(length)) => Framing::Length(length.parse().map_err(|_| format!("content-length {length:?}"))?),
                _ if status == 204 || status == 304 => Framing::Over,
                _ => Framing::UntilClose,
            };
            return Ok(Reply { status, headers, complete: false, connection: self, framing, unframed: Vec::new() });
        }
    }

    /// Reads more bytes. Returns `false` at the end.
    fn fill(&mut self) -> Result<bool, String> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.pending.extend_from_slice(&buffer[..read]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Err(format!("nothing came for {LIMIT:?}"))
            }
            Err(_) => Ok(false),
        }
    }

    fn take_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.pending, b"\r\n") {
                let line: Vec<u8> = self.pending.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().unwrap_or_else(|what| panic!("{what}")) {
                return None;
            }
        }
    }

    fn take(&mut self, wanted: usize) -> Vec<u8> {
        while self.pending.len() < wanted && self.fill().unwrap_or_else(|what| panic!("{what}")) {}
        let at = wanted.min(self.pending.len());
        self.pending.drain(..at).collect()
    }
}

impl Reply {
    /// Returns the next chunk of the body, `None` at the end.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        match self.framing {
            Framing::Over => None,
            Framing::Length(length) => {
                let body = self.connection.take(length);
                self.complete = body.len() == length;
                self.framing = Framing::Over;
                (!body.is_empty()).then_some(body)
            }
            Framing::UntilClose => {
                if self.connection.pending.is_empty() && !self.connection.fill().unwrap_or_else(|what| panic!("{what}")) {
                    self.complete = true;
                    self.framing = Framing::Over;
                    return None;
                }
                Some(std::mem::take(&mut self.connection.pending))
            }
            Framing::Chunked => {
                let size = self.connection.take_line().and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok());
                let piece = self.connection.take(size.unwrap_or(0));
                let whole = size == Some(piece.len()) && self.connection.take_line().is_some();
                if !whole || piece.is_empty() {
                    self.complete = whole;
                    self.framing = Framing::Over;
                }
                (!piece.is_empty()).then_some(piece)
            }
        }
    }

    /// Returns the next event of a stream without its blank line, `None` at the end.
    pub fn frame(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unframed, b"\n\n") {
                let frame: Vec<u8> = self.unframed.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&frame[..end]).into_owned());
            }
            match self.piece() {
                Some(piece) => self.unframed.extend_from_slice(&piece),
                None if self.unframed.is_empty() => return None,
                None => return Some(String::from_utf8_lossy(&std::mem::take(&mut self.unframed)).into_owned()),
            }
        }
    }

    /// Returns the data of all remaining events.
    pub fn frames(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.frame()).collect()
    }

    /// Reads to the end.
    pub fn whole(mut self) -> Response {
        self.drain()
    }

    fn drain(&mut self) -> Response {
        let mut body = std::mem::take(&mut self.unframed);
        while let Some(piece) = self.piece() {
            body.extend_from_slice(&piece);
        }
        Response { status: self.status, headers: self.headers.clone(), body, complete: self.complete }
    }

    /// Closes the connection before the end of the answer.
    pub fn disconnect(self) {
        drop(self);
    }

    /// Resets the connection before the end of the answer.
    pub fn reset(self) {
        self.connection.reset();
    }
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("status {}, not JSON ({error}): {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Checks the status and returns the body as JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that this is an error in the documented shape, and returns the error object.
    #[track_caller]
    pub fn error(&self, status: u16, kind: &str, code: &str) -> Value {
        let error = self.expect(status)["error"].clone();
        let fields: Vec<&str> =
            error.as_object().unwrap_or_else(|| panic!("no error object: {}", self.text())).keys().map(String::as_str).collect();
        for field in ["message", "type", "param", "code"] {
            assert!(fields.contains(&field), "the error has no `{field}`: {}", self.text());
        }
        assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some(kind), Some(code)), "{}", self.text());
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "an error without a message: {}", self.text());
        error
    }
}

impl Headers {
    /// Returns the first header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns all header names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
