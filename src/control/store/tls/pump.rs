//! One tunnel's thread: plain bytes on libpq's side, TLS on the server's.
//!
//! Each side is read only when what came last from it is on its way, so a tunnel holds a few kilobytes whatever passes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::ClientConnection;

use super::greeting::Greeting;

/// Both ends and what is between them.
pub struct Pump {
    local: UnixStream,
    server: TcpStream,
    tls: ClientConnection,
    greeting: Greeting,
    /// What libpq has still to get.
    down: Vec<u8>,
    buffer: Vec<u8>,
}

/// How long an end may take for the last bytes.
const FAREWELL: Option<Duration> = Some(Duration::from_secs(5));

impl Pump {
    /// Between libpq and a server that has shaken hands.
    pub fn new(local: UnixStream, server: TcpStream, tls: ClientConnection) -> Self {
        Self { local, server, tls, greeting: Greeting::default(), down: Vec::new(), buffer: vec![0; 16 * 1024] }
    }

    /// Pumps until either end closes.
    ///
    /// # Errors
    /// If an end is lost, or the TLS is broken.
    pub fn run(mut self) -> io::Result<()> {
        self.local.set_nonblocking(true)?;
        self.server.set_nonblocking(true)?;
        // What came with the handshake.
        self.decrypt()?;
        loop {
            let (from_local, from_server) = self.wait()?;
            if from_server && !self.read_server()? {
                self.local.set_nonblocking(false)?;
                self.local.set_write_timeout(FAREWELL)?;
                return self.local.write_all(&self.down);
            }
            if from_local && !self.read_local()? {
                self.tls.send_close_notify();
                self.server.set_nonblocking(false)?;
                self.server.set_write_timeout(FAREWELL)?;
                while self.tls.wants_write() {
                    self.tls.write_tls(&mut self.server)?;
                }
                return Ok(());
            }
            self.write_server()?;
            self.write_local()?;
        }
    }

    /// Until something can be done; says which end can be read.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let up = self.tls.wants_write();
        let wish = |reads: bool, writes: bool| match (reads, writes) {
            (true, true) => PollFlags::IN | PollFlags::OUT,
            (true, false) => PollFlags::IN,
            (false, true) => PollFlags::OUT,
            (false, false) => PollFlags::empty(),
        };
        let (local, server) = (wish(!up, !self.down.is_empty()), wish(self.down.is_empty(), up));
        let mut ends = Vec::with_capacity(2);
        // An end of which nothing is wanted would only report, over and over, that it has closed.
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
            Err(error) if is_later(&error) => Ok(true),
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
            // Less than rustls holds, and it holds nothing now: all of it is taken.
            Ok(count) => self.tls.writer().write_all(self.buffer.get(..count).unwrap_or_default()).map(|()| true),
            Err(error) if is_later(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn write_server(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.server) {
                Ok(_) => {}
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_local(&mut self) -> io::Result<()> {
        while !self.down.is_empty() {
            match self.local.write(&self.down) {
                Ok(count) => drop(self.down.drain(..count)),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
