//! The only way out: an awc client whose every new connection passes the SSRF guard (spec/security.md 2.4).
//!
//! The rules are in [`crate::guard`]; this is where they meet sockets and the resolver. Wrapping the whole connector, and not
//! just its resolver, is what makes literal and preset addresses pass here too. What is sent over a connection is not known here.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_service::Service;
use actix_tls::connect::tcp::TcpConnectorService;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::Uri;
use awc::error::SendRequestError;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::guard::{Denied, Origin, Policy, Reason, check_url, judge};

/// Looks names up. A trait so that tests can script the answers.
pub trait Resolve: Send + Sync {
    /// Every address of `host`. The port only goes into the answers.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver, asked on the blocking pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

/// How many connections one client has opened: what tells a call over a pooled connection from one over a fresh one.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCount(Rc<Cell<u64>>);

impl ConnectionCount {
    /// Connections so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Opens connections for one provider: resolves once, judges every address, dials what was judged, judges the peer.
#[derive(Clone)]
pub struct GuardedConnector {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolve>,
    opened: ConnectionCount,
}

/// How long an idle connection is kept: shorter than providers keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a connection is used at all, so that changes in DNS are noticed.
const LIFETIME: Duration = Duration::from_secs(300);

/// TLS settings, one for the process: sessions are resumed across providers and workers.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls()));

/// The client of one provider on one worker. A client keeps its connections by authority alone and does not judge them again:
/// never share one between policies, and make a new one when the policy changes.
///
/// There is no limit to requests in flight and no time-out but `connect_timeout`, which holds for TCP (with the look-up) and,
/// apart, for TLS: awc's own would cut bodies short. Redirects are answers like any other. HTTP/1.1 only.
#[allow(clippy::disallowed_methods, reason = "the guarded client is made of the bare one, here alone")]
pub fn client(policy: Policy, resolver: Arc<dyn Resolve>, connect_timeout: Duration, opened: ConnectionCount) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(GuardedConnector::new(policy, resolver, opened))
        .rustls_0_23(Arc::clone(&TLS))
        .limit(0)
        .timeout(connect_timeout)
        .handshake_timeout(connect_timeout)
        .conn_keep_alive(KEEP_ALIVE)
        .conn_lifetime(LIFETIME);
    awc::Client::builder().connector(connector).disable_redirects().disable_timeout().finish()
}

/// The guard's refusal, if that is why a request failed.
pub fn denied(error: &SendRequestError) -> Option<&Denied> {
    match error {
        SendRequestError::Connect(awc::error::ConnectError::Resolver(source)) => source.downcast_ref(),
        _ => None,
    }
}

/// The addresses of this machine's interfaces, for [`crate::guard::SelfListen`].
///
/// # Errors
/// The operating system does not tell.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

impl GuardedConnector {
    /// For one provider.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>, opened: ConnectionCount) -> Self {
        Self { policy: Arc::new(policy), resolver, opened }
    }

    async fn connect(self, info: ConnectInfo<Uri>) -> Result<Connection<Uri, TcpStream>, ConnectError> {
        self.opened.0.set(self.opened.0.get() + 1);
        let origin = self.admit(&info).map_err(refusal)?;
        let addresses = self.resolve(&origin).await?;
        let connection = TcpConnectorService::default().call(info.set_addrs(addresses)).await?;
        let peer = connection.io_ref().peer_addr().map_err(ConnectError::Io)?;
        judge(peer, origin.scheme(), &self.policy).map_err(refusal)?;
        connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
        Ok(connection)
    }

    /// What is to be dialled, judged anew: whoever built the URI, it is read by the rules of configuration.
    fn admit(&self, info: &ConnectInfo<Uri>) -> Result<Origin, Denied> {
        if info.addrs().len() != 0 {
            return Err(Denied::new(Reason::PresetAddress, "a request with an address of its own"));
        }
        let uri = info.request();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(Denied::new(Reason::UrlForm, "a request without scheme or host"));
        };
        check_url(&format!("{scheme}://{authority}"), &self.policy)
    }

    /// The addresses of an origin, each of them judged. One that is refused refuses them all.
    async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, ConnectError> {
        let Some(name) = origin.name() else {
            return Ok(origin.literal().into_iter().collect());
        };
        let mut addresses = self.resolver.lookup(name, origin.port()).await.map_err(|error| ConnectError::Resolver(Box::new(error)))?;
        if addresses.is_empty() {
            return Err(refusal(Denied::new(Reason::NoAddress, format!("host {name:?}"))));
        }
        for address in &mut addresses {
            address.set_port(origin.port());
            judge(*address, origin.scheme(), &self.policy).map_err(refusal)?;
        }
        Ok(addresses)
    }
}

impl Service<ConnectInfo<Uri>> for GuardedConnector {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        self.clone().connect(info).boxed_local()
    }
}

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }
}

/// A refusal as connectors tell it; [`denied`] finds it again.
fn refusal(denied: Denied) -> ConnectError {
    ConnectError::Resolver(Box::new(denied))
}

/// Mozilla's roots, ring, HTTP/1.1: awc's HTTP/2 sends stray requests.
fn tls() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[allow(clippy::expect_used, reason = "ring has suites for both TLS versions, whatever the input")]
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring can do TLS 1.2 and 1.3");
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests;
