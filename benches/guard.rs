//! Cost of the SSRF guard on a kept-alive connection: one exchange through a guarded pool and the
//! same exchange over a bare socket, alternately in one run.
//!
//! `cargo bench --bench guard`. A new connection costs more, once: its name is resolved and each
//! address is checked.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the peers are the benchmark's own")]

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use actix_web::rt;
use aigw::guard::NetworkAccess;
use aigw::guard::{Policy, SelfListen, Source};
use aigw::upstream::connection::{Connection, ConnectionOrigin, Transport};
use aigw::upstream::connector::GuardedConnector;
use aigw::upstream::h1::exchange;
use aigw::upstream::pool::Pool;
use aigw::upstream::resolver::DnsResolver;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-length: 2\r\n\r\n";
const BODY: &[u8] = b"{}";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const TURNS: usize = 400;
const EXCHANGES: u32 = 250;

/// Upstream on this thread that answers at once. The cost of waking another thread varies by
/// connection.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            rt::spawn(async move {
                let mut request = [0; HEAD.len() + BODY.len()];
                while stream.read_exact(&mut request).await.is_ok() {
                    stream.write_all(ANSWER).await.unwrap();
                }
            });
        }
    });
    address
}

/// Runs one exchange and returns the connection for the next one.
async fn call(connection: Connection) -> Connection {
    let answered = exchange(connection, Bytes::from_static(HEAD), Bytes::from_static(BODY)).await;
    let Ok((head, mut body)) = answered else { panic!("no answer") };
    assert!(head.status == 200);
    while body.chunk().await.unwrap().is_some() {}
    body.into_connection().unwrap()
}

async fn guarded(pool: &Rc<Pool>, target: &Uri) -> Duration {
    let begun = Instant::now();
    for _ in 0..EXCHANGES {
        let connection = match pool.take(target, Instant::now()) {
            Some(connection) => connection,
            None => pool.open(target).await.unwrap(),
        };
        pool.put(call(connection).await);
    }
    begun.elapsed() / EXCHANGES
}

async fn bare(line: &mut Option<Connection>) -> Duration {
    let begun = Instant::now();
    for _ in 0..EXCHANGES {
        let connection = line.take().unwrap();
        *line = Some(call(connection).await);
    }
    begun.elapsed() / EXCHANGES
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e6
}

fn main() {
    rt::System::new().block_on(async {
        let address = upstream().await;
        let target: Uri = format!("http://{address}/v1/chat/completions").parse().unwrap();
        let reach = NetworkAccess { allow_private: true, allow_cidrs: Vec::new(), allow_ports: vec![address.port()] };
        let policy = Policy { source: Source::Operator(reach), self_listen: SelfListen::default() };
        let pool = Rc::new(Pool::new(GuardedConnector::new(policy, Arc::new(DnsResolver::start().unwrap())), Duration::from_secs(5)));
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut line = Some(Connection::new(Transport::Plain(socket), ConnectionOrigin::of(&target), Instant::now()));
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            without.push(bare(&mut line).await);
            with.push(guarded(&pool, &target).await);
        }
        let (with, without) = (median(with), median(without));
        println!("an exchange over a kept connection: {without:.2} us bare, {with:.2} us through the guarded pool: {:.3}", with / without);
    });
}
