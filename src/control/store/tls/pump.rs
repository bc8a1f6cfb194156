//! The thread of a tunnel: plain bytes on libpq's side, TLS on the server's.
//!
//! A side is read only once the data read before has been forwarded, so a tunnel buffers a few
//! kilobytes at most.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::ClientConnection;

use super::greeting::Greeting;

/// Both ends of a tunnel and its buffers.
pub struct TlsPump {
    local: UnixStream,
    server: TcpStream,
    tls: ClientConnection,
    greeting: Greeting,
    /// Bytes that libpq has yet to receive.
    down: Vec<u8>,
    buffer: Vec<u8>,
}

/// Timeout for the last bytes to either end.
const FINAL_WRITE_TIMEOUT: Option<Duration> = Some(Duration::from_secs(5));

impl TlsPump {
    /// A pump between libpq and a server after the TLS handshake.
    pub fn new(local: UnixStream, server: TcpStream, tls: ClientConnection) -> Self {
        Self { local, server, tls, greeting: Greeting::default(), down: Vec::new(), buffer: vec![0; 16 * 1024] }
    }

    /// Pumps until either end closes.
    ///
    /// # Errors
    /// If a connection or TLS fails.
    pub fn run(mut self) -> io::Result<()> {
        self.local.set_nonblocking(true)?;
        self.server.set_nonblocking(true)?;
        // Data received together with the handshake.
        self.decrypt()?;
        loop {
            let (from_local, from_server) = self.wait()?;
            if from_server && !self.read_server()? {
                self.local.set_nonblocking(false)?;
                self.local.set_write_timeout(FINAL_WRITE_TIMEOUT)?;
                return self.local.write_all(&self.down);
            }
            if from_local && !self.read_local()? {
                self.tls.send_close_notify();
                self.server.set_nonblocking(false)?;
                self.server.set_write_timeout(FINAL_WRITE_TIMEOUT)?;
                while self.tls.wants_write() {
                    self.tls.write_tls(&mut self.server)?;
                }
                return Ok(());
            }
            self.write_server()?;
            self.write_local()?;
        }
    }

    /// Waits until an end is ready; returns whether libpq and the server can be read.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let up = self.tls.wants_write();
        let interest = |reads: bool, writes: bool| match (reads, writes) {
            (true, true) => PollFlags::IN | PollFlags::OUT,
            (true, false) => PollFlags::IN,
            (false, true) => PollFlags::OUT,
            (false, false) => PollFlags::empty(),
        };
        let (local, server) = (interest(!up, !self.down.is_empty()), interest(self.down.is_empty(), up));
        let mut ends = Vec::with_capacity(2);
        // Polled without interest, a closed end would report that it is closed over and over.
        if !local.is_empty() {
            ends.push(PollFd::new(&self.local, local));
        }
        if !server.is_empty() {
            ends.push(PollFd::new(&self.server, server));
        }
        match poll(&mut ends, None) {
            Err(rustix::io::Errno::INTR) => return Ok((false, false)),
            polled => polled?,
        };
        let mut ready = ends.iter().map(|end| end.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR));
        let from_local = !local.is_empty() && ready.next().unwrap_or(false);
        let from_server = !server.is_empty() && ready.next().unwrap_or(false);
        Ok((from_local && !up, from_server && self.down.is_empty()))
    }

    /// `false` when the server has closed.
    fn read_server(&mut self) -> io::Result<bool> {
        match self.tls.read_tls(&mut self.server) {
            Ok(0) => Ok(false),
            Ok(_) => self.decrypt(),
            Err(error) if is_retryable(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn decrypt(&mut self) -> io::Result<bool> {
        self.tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            match self.tls.reader().read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.greeting.pass(self.buffer.get(..count).unwrap_or_default(), &mut self.down),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// `false` when libpq has closed.
    fn read_local(&mut self) -> io::Result<bool> {
        match self.local.read(&mut self.buffer) {
            Ok(0) => Ok(false),
            // Fits the buffer of rustls, which is empty now.
            Ok(count) => self.tls.writer().write_all(self.buffer.get(..count).unwrap_or_default()).map(|()| true),
            Err(error) if is_retryable(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn write_server(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.server) {
                Ok(_) => {}
                Err(error) if is_retryable(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_local(&mut self) -> io::Result<()> {
        while !self.down.is_empty() {
            match self.local.write(&self.down) {
                Ok(count) => drop(self.down.drain(..count)),
                Err(error) if is_retryable(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
