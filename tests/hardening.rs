//! Hostile clients and upstreams (spec/security.md section 7): content, speed and size of their
//! input.
//!
//! Each file covers a row of 7.8.

mod canary;
mod decoding;
mod headers;
mod limits;
mod slow;
mod smuggling;
mod uniform;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::LIMIT;

/// Sends raw bytes and returns everything received until the connection is closed.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    // The peer may close the connection early.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection is not closed ({error}) after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the statuses of the received answers.
pub fn statuses(answers: &str) -> Vec<u16> {
    let status = |line: &str| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok();
    // An answer's head may follow a body that ends without a line end.
    answers.split("HTTP/1.1 ").skip(1).filter_map(|rest| status(&format!("HTTP/1.1 {rest}"))).filter(|status| *status != 100).collect()
}
