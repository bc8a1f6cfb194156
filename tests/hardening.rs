//! Hostile clients and hostile upstreams (spec/security.md section 7): what they send, how slowly, and how much of it.
//!
//! Each file is a row of 7.8.

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

/// Sends bytes as they are and gives whatever comes back until the connection is closed.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    // Whoever has had enough closes in the middle of it.
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

/// The statuses of the answers in what came back.
pub fn statuses(answers: &str) -> Vec<u16> {
    let status = |line: &str| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok();
    // An answer's head may follow a body that ends without a line end.
    answers.split("HTTP/1.1 ").skip(1).filter_map(|rest| status(&format!("HTTP/1.1 {rest}"))).filter(|status| *status != 100).collect()
}
