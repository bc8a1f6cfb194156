use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::guard::{Policy, SelfListen};
use crate::upstream::connection::Transport;
use crate::upstream::connector::tests::private;
use crate::upstream::resolver::DnsResolver;

const LIMIT: Duration = Duration::from_secs(10);

/// A pool, a peer it may reach, and the URI of the peer.
struct Fixture {
    pool: Rc<Pool>,
    listener: TcpListener,
    target: Uri,
}

impl Fixture {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let policy = Policy { source: private(), self_listen: SelfListen::default() };
        Self { pool: Rc::new(Pool::new(GuardedConnector::new(policy, Arc::new(DnsResolver::start().unwrap())), LIMIT)), listener, target }
    }

    async fn open(&self) -> (Connection, TcpStream) {
        let connection = self.pool.open(&self.target).await.unwrap();
        (connection, self.listener.accept().await.unwrap().0)
    }

    fn take(&self) -> Option<Connection> {
        self.pool.take(&self.target, Instant::now())
    }
}

fn port(connection: &Connection) -> u16 {
    match &connection.transport {
        Transport::Plain(stream) => stream.local_addr().unwrap().port(),
        Transport::Tls(_) => panic!("the peer speaks no TLS"),
    }
}

/// Waits until `stream` has something to read: bytes or the end.
async fn readable(connection: &Connection) {
    match &connection.transport {
        Transport::Plain(stream) => stream.readable().await.unwrap(),
        Transport::Tls(_) => panic!("the peer speaks no TLS"),
    }
}

#[actix_web::test]
async fn the_connection_used_last_is_taken_first() {
    let fixture = Fixture::new().await;
    let ((first, _peer), (second, _other)) = (fixture.open().await, fixture.open().await);
    let ports = [port(&first), port(&second)];
    assert!(!first.is_reused && fixture.take().is_none());
    fixture.pool.put(first);
    fixture.pool.put(second);
    let (newest, oldest) = (fixture.take().unwrap(), fixture.take().unwrap());
    assert_eq!([port(&oldest), port(&newest)], ports);
    assert!(newest.is_reused && fixture.take().is_none());
}

#[actix_web::test]
async fn a_connection_is_reused_for_its_own_origin_only() {
    let fixture = Fixture::new().await;
    let (connection, _peer) = fixture.open().await;
    fixture.pool.put(connection);
    let other = format!("https://{}/", fixture.target.authority().unwrap()).parse().unwrap();
    assert!(fixture.pool.take(&other, Instant::now()).is_none());
    assert!(fixture.take().is_some());
}

#[actix_web::test]
async fn a_connection_that_was_idle_for_too_long_is_closed() {
    let fixture = Fixture::new().await;
    let (connection, _peer) = fixture.open().await;
    fixture.pool.put(connection);
    let now = Instant::now();
    assert!(fixture.pool.take(&fixture.target, now + KEEP_ALIVE + Duration::from_secs(1)).is_none());
    assert!(fixture.pool.idle.borrow().is_empty());
}

#[actix_web::test]
async fn a_sweep_closes_idle_connections_without_another_call() {
    let fixture = Fixture::new().await;
    let (connection, mut peer) = fixture.open().await;
    fixture.pool.put(connection);
    time::pause();
    // The paused clock advances to the sweep as soon as nothing else is left to do.
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    assert!(fixture.pool.idle.borrow().is_empty() && !fixture.pool.is_swept.get());
    time::resume();
    let (connection, _peer) = fixture.open().await;
    fixture.pool.put(connection);
    assert!(fixture.pool.is_swept.get());
}

#[actix_web::test]
async fn idle_connections_to_one_origin_are_bounded() {
    let fixture = Fixture::new().await;
    let mut peers = Vec::new();
    for _ in 0..=MAX_IDLE {
        let (connection, peer) = fixture.open().await;
        fixture.pool.put(connection);
        peers.push(peer);
    }
    assert_eq!(fixture.pool.idle.borrow().len(), MAX_IDLE);
    assert_eq!(peers[0].read(&mut [0]).await.unwrap(), 0);
}

#[actix_web::test]
async fn a_connection_that_is_too_old_is_closed() {
    let fixture = Fixture::new().await;
    let (mut connection, _peer) = fixture.open().await;
    let Some(opened_at) = Instant::now().checked_sub(LIFETIME) else { return };
    connection.opened_at = opened_at;
    fixture.pool.put(connection);
    assert!(fixture.take().is_none() && fixture.pool.idle.borrow().is_empty());
}

#[actix_web::test]
async fn a_connection_is_not_reused_after_it_was_closed_or_received_unsolicited_bytes() {
    let fixture = Fixture::new().await;
    let (closed, peer) = fixture.open().await;
    drop(peer);
    readable(&closed).await;
    fixture.pool.put(closed);
    let (noisy, mut peer) = fixture.open().await;
    peer.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    readable(&noisy).await;
    fixture.pool.put(noisy);
    assert!(fixture.take().is_none() && fixture.pool.idle.borrow().is_empty());
}
