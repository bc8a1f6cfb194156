//! What is settled once a connection: how long it may leave our bytes unread, and how many of them an address may have.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

use crate::config::Server;

/// Bytes the kernel takes beyond what it can send at once. By its own lights that would be megabytes, which a slow reader needs
/// minutes for, and all the while it would look as if it read nothing.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 << 10;

/// All connections of the process.
pub struct Connections {
    write_timeout: Duration,
    most_per_address: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// What is known of one connection, from request to request.
#[derive(Debug, Default)]
pub struct Connection {
    /// It is to be closed: actix would still serve what has arrived behind the request that was to be its last.
    pub is_closing: Cell<bool>,
}

/// A connection's place among those of its address; given up when the connection is gone.
struct Seat {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// None so far.
    pub fn new(server: &Server) -> Arc<Self> {
        let (write_timeout, most_per_address) = (server.write_timeout, server.max_connections_per_address);
        Arc::new(Self { write_timeout, most_per_address, open: Mutex::default() })
    }

    /// A connection has been accepted.
    pub fn accepted(self: &Arc<Self>, io: &dyn Any, data: &mut Extensions) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
        data.insert(Connection::default());
        self.bound(stream);
        let Some(most) = self.most_per_address else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        match self.seat(peer.ip().to_canonical(), most) {
            Some(seat) => drop(data.insert(seat)),
            // It may be gone already.
            None => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
        }
    }

    /// actix waits for ever for a client to read on, and gives the kernel as much as it takes. So the kernel ends a connection
    /// on which what was sent stays unread for so long, and takes little more than it can send.
    #[cfg(target_os = "linux")]
    fn bound(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.write_timeout)).and_then(|()| socket.set_tcp_notsent_lowat(UNSENT)) {
            log::debug!("a connection has no bounds for what is not read: {error}");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn bound(&self, _: &TcpStream) {}

    fn seat(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = open.entry(address).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Seat { connections: Arc::clone(self), address })
    }
}

impl Drop for Seat {
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
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let connections = Connections::new(&Server::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let seats: Vec<_> = (0..2).map(|_| connections.seat(one, 2).unwrap()).collect();
        assert!(connections.seat(one, 2).is_none());
        assert!(connections.seat(other, 2).is_some());
        drop(seats);
        assert!(connections.open.lock().unwrap().is_empty());
        assert!(connections.seat(one, 2).is_some());
    }
}
