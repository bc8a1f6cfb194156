//! Connector through which every connection to an upstream is opened, guarded against SSRF (spec/security.md 2.4).
//!
//! [`crate::guard`] holds the rules; this module applies them to the resolver's answers and to sockets. The connector is guarded
//! rather than the resolver alone, so that literal and preset addresses are checked as well.

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
use futures_util::future::LocalBoxFuture;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Transport;
use super::error::{Class, Error, Stage};
use super::resolver::Resolve;
use crate::guard::{Denied, Origin, Policy, Reason, check_address, check_url};

/// Connector of one upstream. It resolves once, checks every address, connects to the checked addresses only, and checks the
/// peer.
#[derive(Clone)]
pub struct GuardedConnector {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolve>,
}

/// TLS settings of the process. They are shared, so that sessions are resumed across upstreams and workers.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(tls()));

/// Returns the addresses of this machine's interfaces, for [`crate::guard::SelfListen`].
///
/// # Errors
/// The operating system cannot list them.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

impl GuardedConnector {
    /// Creates the connector of one upstream.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy: Arc::new(policy), resolver }
    }

    /// Opens a connection to the origin of `target`, with TLS for https. `limit` applies to name resolution and TCP together, and
    /// again to TLS.
    ///
    /// # Errors
    /// No address may be reached or none accepts the connection, the TLS handshake fails, or a stage takes too long. A refusal of
    /// the guard is logged.
    pub async fn open(&self, target: &Uri, limit: Duration) -> Result<Transport, Error> {
        let connecting = self.call(ConnectInfo::new(target.clone()));
        let connection = timeout(limit, connecting).await.map_err(|_| timed_out(Stage::Connect))?.map_err(failure)?;
        if target.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Transport::Plain(connection.into_parts().0));
        }
        let handshake = TlsConnector::service(Arc::clone(&TLS)).call(connection);
        let connection =
            timeout(limit, handshake).await.map_err(|_| timed_out(Stage::Tls))?.map_err(|_| Error::new(Stage::Tls, Class::Tls))?;
        Ok(Transport::Tls(Box::new(connection.into_parts().0)))
    }

    async fn connect(self, info: ConnectInfo<Uri>) -> Result<Connection<Uri, TcpStream>, ConnectError> {
        let origin = self.admit(&info).map_err(refusal)?;
        let addresses = self.resolve(&origin).await?;
        let connection = TcpConnectorService::default().call(info.set_addrs(addresses)).await?;
        let peer = connection.io_ref().peer_addr().map_err(ConnectError::Io)?;
        check_address(peer, origin.scheme(), &self.policy).map_err(refusal)?;
        connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
        Ok(connection)
    }

    /// Checks the URI by the same rules as the configuration does, regardless of its source.
    fn admit(&self, info: &ConnectInfo<Uri>) -> Result<Origin, Denied> {
        if info.addrs().len() != 0 {
            return Err(Denied::new(Reason::PresetAddress, "a request with a preset address"));
        }
        let uri = info.request();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(Denied::new(Reason::UrlForm, "a request without scheme or host"));
        };
        check_url(&format!("{scheme}://{authority}"), &self.policy)
    }

    /// Returns the addresses of an origin. If one of them is refused, all are.
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
            check_address(*address, origin.scheme(), &self.policy).map_err(refusal)?;
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

fn timed_out(stage: Stage) -> Error {
    Error::new(stage, Class::ConnectTimeout)
}

/// Returns the failure without its text, which may name addresses. A refusal of the guard is logged for the operator.
fn failure(error: ConnectError) -> Error {
    match error {
        ConnectError::Resolver(source) => match source.downcast::<Denied>() {
            Ok(denied) => {
                log::warn!("the network guard refused an upstream address: {denied}");
                Error::new(Stage::Guard, Class::Denied(denied.reason()))
            }
            Err(_) => Error::new(Stage::Resolve, Class::Dns),
        },
        ConnectError::NoRecords | ConnectError::Unresolved => Error::new(Stage::Resolve, Class::Dns),
        _ => Error::new(Stage::Connect, Class::Connect),
    }
}

/// Wraps a refusal in the error type of actix's connectors, from which [`failure`] recovers it.
fn refusal(denied: Denied) -> ConnectError {
    ConnectError::Resolver(Box::new(denied))
}

/// Returns TLS settings with Mozilla's root certificates, the ring provider, and HTTP/1.1 as the only protocol.
fn tls() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[allow(clippy::expect_used, reason = "independent of input: ring supports both TLS versions")]
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring supports TLS 1.2 and 1.3");
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
pub(in crate::upstream) mod tests;
