//! The only way out: every new connection to an upstream passes the SSRF guard (spec/security.md 2.4).
//!
//! The rules are in [`crate::guard`]; this is where they meet sockets and the resolver. It is the connector that is guarded, and
//! not just its resolver: literal and preset addresses pass here too. What is sent over a connection is not known here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_service::Service;
use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::tcp::TcpConnectorService;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::Uri;
use actix_web::http::uri::Scheme;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Wire;
use crate::guard::{Denied, Origin, Policy, Reason, check_url, judge};

/// Looks names up. A trait so that tests can script the answers.
pub trait Resolve: Send + Sync {
    /// Every address of `host`. The port only goes into the answers.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver, asked on the blocking pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

/// Opens connections for one provider: resolves once, judges every address, dials what was judged, judges the peer.
#[derive(Clone)]
pub struct GuardedConnector {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolve>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The guard refused the address.
    #[error(transparent)]
    Denied(Denied),
    /// The name has no address.
    #[error("the name was not found")]
    Dns,
    /// Nobody answered at its addresses.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The peer is not who it should be, or speaks no TLS.
    #[error("no TLS: {0}")]
    Tls(io::Error),
    /// It took too long.
    #[error("no connection in time")]
    TimedOut,
}

/// TLS settings, one for the process: sessions are resumed across providers and workers.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls()));

/// The addresses of this machine's interfaces, for [`crate::guard::SelfListen`].
///
/// # Errors
/// The operating system does not tell.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

impl GuardedConnector {
    /// For one provider.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy: Arc::new(policy), resolver }
    }

    /// A connection to where `target` is, over TLS if it says https. `within` holds for TCP (with the look-up) and, apart, for TLS.
    ///
    /// # Errors
    /// As [`DialError`] says. Its text may name addresses: it is for the operator's log alone.
    pub async fn dial(&self, target: &Uri, within: Duration) -> Result<Wire, DialError> {
        let connecting = self.call(ConnectInfo::new(target.clone()));
        let connection = timeout(within, connecting).await.map_err(|_| DialError::TimedOut)??;
        if target.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Wire::Plain(connection.into_parts().0));
        }
        let shaking_hands = TlsConnector::service(Arc::clone(&TLS)).call(connection);
        let connection = timeout(within, shaking_hands).await.map_err(|_| DialError::TimedOut)?.map_err(DialError::Tls)?;
        Ok(Wire::Tls(Box::new(connection.into_parts().0)))
    }

    async fn connect(self, info: ConnectInfo<Uri>) -> Result<Connection<Uri, TcpStream>, ConnectError> {
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

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Resolver(source) => source.downcast().map_or(DialError::Dns, |denied| DialError::Denied(*denied)),
            ConnectError::NoRecords | ConnectError::Unresolved => DialError::Dns,
            ConnectError::Io(error) => DialError::Connect(error),
            other => DialError::Connect(io::Error::other(other.to_string())),
        }
    }
}

/// A refusal as connectors tell it; [`DialError`] finds it again.
fn refusal(denied: Denied) -> ConnectError {
    ConnectError::Resolver(Box::new(denied))
}

/// Mozilla's roots, ring, HTTP/1.1 alone.
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
pub(in crate::upstream) mod tests;
