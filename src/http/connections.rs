//! What is settled once a connection: how long a request's head may take, how long our bytes may stay unread, and how many
//! connections an address may have.

mod stream;

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::time::Instant;

use super::identity::LastKey;
use crate::config::Server;
pub use stream::ClientStream;

/// Bytes the kernel takes beyond what it can send at once. By its own lights that would be megabytes, which a slow reader needs
/// minutes for, and all the while it would look as if it read nothing.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 32 << 10;

/// All connections of the process.
pub struct Connections {
    header_timeout: Duration,
    write_timeout: Duration,
    most_per_address: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// What is known of one connection, from request to request.
#[derive(Debug)]
pub struct ClientConnection {
    /// It is to be closed: actix would still serve what has arrived behind the request that was to be its last.
    pub is_closing: Cell<bool>,
    /// What its last request presented.
    pub last_key: Cell<Option<LastKey>>,
    state: Cell<ConnState>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
enum ConnState {
    /// Nothing is owed.
    Idle,
    /// The client's: a head has been due since then.
    Head(Instant),
    /// Ours: a request is being served, or its body is on its way.
    Request,
}

/// A request's turn on its connection; what comes after it has ended is the next request's head.
#[derive(Debug)]
pub struct RequestGuard(Rc<ClientConnection>);

impl ClientConnection {
    fn new() -> Rc<Self> {
        Rc::new(Self { is_closing: Cell::new(false), last_key: Cell::default(), state: Cell::new(ConnState::Head(Instant::now())) })
    }

    /// A request's head is complete. Its turn lasts for as long as what is returned.
    pub fn begin(self: &Rc<Self>) -> RequestGuard {
        self.state.set(ConnState::Request);
        RequestGuard(Rc::clone(self))
    }

    /// Bytes have come.
    fn received(&self) {
        if let ConnState::Idle = self.state.get() {
            self.state.set(ConnState::Head(Instant::now()));
        }
    }

    /// Since when a head is due, if one is.
    fn head_due_since(&self) -> Option<Instant> {
        match self.state.get() {
            ConnState::Head(since) => Some(since),
            ConnState::Idle | ConnState::Request => None,
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.state.set(ConnState::Idle);
    }
}

/// A connection's place among those of its address; given up when the connection is gone.
struct ConnectionSlot {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// None so far.
    pub fn new(server: &Server) -> Arc<Self> {
        let Server { header_timeout, write_timeout, max_connections_per_address: most_per_address, .. } = *server;
        Arc::new(Self { header_timeout, write_timeout, most_per_address, open: Mutex::default() })
    }

    /// A connection has been accepted.
    pub fn accept(&self, socket: TcpStream) -> ClientStream {
        no_delay(&socket);
        self.bound(&socket);
        ClientStream::new(socket, self.header_timeout)
    }

    /// Gives a connection's requests what is known of it, and takes a slot for it.
    pub fn register(self: &Arc<Self>, client: &ClientStream, data: &mut Extensions) {
        let stream = client.socket();
        data.insert(Rc::clone(client.connection()));
        let Some(most) = self.most_per_address else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        match self.slot(peer.ip().to_canonical(), most) {
            Some(slot) => drop(data.insert(slot)),
            // It may be gone already.
            None => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
        }
    }

    /// actix waits for ever for a client to read on, and gives the kernel as much as it takes. So the kernel ends a connection
    /// on which what was sent stays unread for so long, and takes little more than it can send.
    #[cfg(target_os = "linux")]
    fn bound(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.write_timeout)).and_then(|()| socket.set_tcp_notsent_lowat(NOTSENT_LOWAT))
        {
            log::debug!("a connection has no bounds for what is not read: {error}");
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

/// Nagle's algorithm would hold a stream's small chunks back until the client has acknowledged the one before.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("a connection delays small writes: {error}");
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
    fn an_address_has_so_many_seats_and_gets_them_back() {
        let connections = Connections::new(&Server::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let seats: Vec<_> = (0..2).map(|_| connections.slot(one, 2).unwrap()).collect();
        assert!(connections.slot(one, 2).is_none());
        assert!(connections.slot(other, 2).is_some());
        drop(seats);
        assert!(connections.open.lock().unwrap().is_empty());
        assert!(connections.slot(one, 2).is_some());
    }
}
