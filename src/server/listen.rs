//! Listening sockets and the worker threads that serve them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_server::ServerBuilder;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Blocking threads of a worker: only admin reads use them.
const BLOCKING_THREADS: usize = 8;

/// Opens a listening socket.
///
/// `SO_REUSEADDR` lets a restart bind while connections of the previous process linger. With
/// `is_shared`, `SO_REUSEPORT` lets a new process listen while the old one drains, provided that
/// both ask for it.
///
/// # Errors
/// The system's error if the address is in use or is not one of this host.
pub fn bind(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, is_shared)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Returns a builder of `number` worker threads that leave the signals to this crate.
pub fn server_builder(number: usize) -> ServerBuilder {
    ServerBuilder::new().workers(number).worker_max_blocking_threads(BLOCKING_THREADS).disable_signals()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_second_listener_is_refused_unless_both_share_the_port() {
        let first = bind(local(), false).unwrap();
        let refused = bind(first.local_addr().unwrap(), true).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);

        let first = bind(local(), true).unwrap();
        bind(first.local_addr().unwrap(), true).unwrap();
    }

    #[test]
    fn a_listener_does_not_block() {
        let listener = bind(local(), false).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        assert_eq!(bind(foreign, false).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
