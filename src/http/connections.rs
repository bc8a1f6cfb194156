//! Limits of client connections: the time for a request's head, the time that written bytes may stay unread, and the number of
//! connections per address.

mod client;
mod stream;

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

use crate::config::Server;
pub use client::{ClientConnection, RequestGuard};
pub use stream::ClientStream;

/// Unsent bytes that the kernel accepts per connection. Its default is megabytes, for which a slow reader needs minutes while it
/// seems to read nothing.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 32 << 10;

/// All connections of the process.
pub struct Connections {
    header_timeout: Duration,
    write_timeout: Duration,
    most_per_address: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's slot among those of its address. Freed on drop.
struct ConnectionSlot {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// Creates a registry without connections.
    pub fn new(server: &Server) -> Arc<Self> {
        let Server { header_timeout, write_timeout, max_connections_per_address: most_per_address, .. } = *server;
        Arc::new(Self { header_timeout, write_timeout, most_per_address, open: Mutex::default() })
    }

    /// Prepares an accepted connection.
    pub fn accept(&self, socket: TcpStream) -> ClientStream {
        no_delay(&socket);
        self.bound(&socket);
        ClientStream::new(socket, self.header_timeout)
    }

    /// Makes a connection's state available to its requests, and takes a slot for it. A connection without a slot is closed.
    pub fn register(self: &Arc<Self>, client: &ClientStream, data: &mut Extensions) {
        let stream = client.socket();
        data.insert(Rc::clone(client.connection()));
        let Some(most) = self.most_per_address else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        match self.slot(peer.ip().to_canonical(), most) {
            Some(slot) => drop(data.insert(slot)),
            // The client may have closed it already.
            None => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
        }
    }

    /// Bounds unread data. actix waits forever for a client to read, and hands the kernel as much as it accepts. So the kernel
    /// accepts little more than it can send, and closes a connection whose sent bytes stay unread for too long.
    #[cfg(target_os = "linux")]
    fn bound(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.write_timeout)).and_then(|()| socket.set_tcp_notsent_lowat(NOTSENT_LOWAT))
        {
            log::debug!("cannot bound unread data of a connection: {error}");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn bound(&self, _: &TcpStream) {}

    fn slot(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<ConnectionSlot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = open.entry(address).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(ConnectionSlot { connections: Arc::clone(self), address })
    }
}

/// Turns off Nagle's algorithm, which delays small chunks of a stream until the client has acknowledged the one before.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("cannot set TCP_NODELAY: {error}");
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = open.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_an_address_are_limited_and_freed() {
        let connections = Connections::new(&Server::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let slots: Vec<_> = (0..2).map(|_| connections.slot(one, 2).unwrap()).collect();
        assert!(connections.slot(one, 2).is_none());
        assert!(connections.slot(other, 2).is_some());
        drop(slots);
        assert!(connections.open.lock().unwrap().is_empty());
        assert!(connections.slot(one, 2).is_some());
    }
}
