//! HTTP/1.1 client: sends one request to one upstream and returns the head and the body of the response.
//!
//! [`pool`] keeps idle connections, [`connector`] opens new ones through the SSRF guard, [`resolver`] looks up names, [`h1`] reads and writes HTTP on a
//! [`connection`], [`body`] delivers the response body. Every failure is an [`error::Error`]. The client never retries and never
//! follows redirects. It knows no provider, no dialect and no header policy: the caller supplies all of them.

pub mod body;
pub mod connection;
pub mod connector;
pub mod error;
pub mod h1;
pub mod pool;
mod request;
pub mod resolver;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout_at;

use crate::guard::{Policy, SelfListen, Source};
use body::{NetworkBody, ResponseBody};
use connector::GuardedConnector;
use error::{Class, Error, Stage};
use h1::{Head, exchange};
use pool::Pool;
use resolver::Resolve;

pub use request::Request;

/// Settings that all upstreams of the process share.
#[derive(Clone)]
pub struct Network {
    /// Resolver of host names.
    pub resolver: Arc<dyn Resolve>,
    /// Addresses on which this process listens. The guard refuses them.
    pub self_listen: SelfListen,
}

/// Settings of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamPolicy {
    /// Origin of the URL, which decides the addresses that may be reached.
    pub source: Source,
    /// Time limit of name resolution and TCP together, and of TLS.
    pub connect_timeout: Duration,
}

/// Client of one upstream on one worker: its guard and its connection pool.
pub struct Upstream {
    pool: Rc<Pool>,
}

/// Response whose head has been read.
pub struct UpstreamResponse {
    /// Status and headers, unfiltered.
    pub head: Head,
    /// Body, not read yet.
    pub body: ResponseBody,
}

impl Upstream {
    /// Creates a client without connections.
    pub fn new(network: &Network, policy: UpstreamPolicy) -> Self {
        let guard = Policy { source: policy.source, self_listen: network.self_listen.clone() };
        let connector = GuardedConnector::new(guard, Arc::clone(&network.resolver));
        Self { pool: Rc::new(Pool::new(connector, policy.connect_timeout)) }
    }

    /// Sends one request and waits for the head of the response.
    ///
    /// # Errors
    /// No usable head arrived: name resolution, guard, TCP, TLS or a timeout failed the call, or the response is one that
    /// cannot be relayed faithfully.
    pub async fn exchange(&self, request: Request<'_>) -> Result<UpstreamResponse, Error> {
        let (deadline, target) = (request.head_deadline, request.target);
        let sending = async {
            let connection = match self.pool.take(target, request.started_at) {
                Some(connection) => connection,
                // Boxed: the dial future is large, and most calls reuse a connection.
                None => self.pool.open(target).boxed_local().await?,
            };
            let head = request.head();
            exchange(connection, head, request.body).await
        };
        let (head, reader) = timeout_at(deadline.into(), sending).await.map_err(|_| Error::timeout(Stage::Head))??;
        let unusable = |class| Error::new(Stage::Head, class);
        if head.status < 200 {
            return Err(unusable(Class::Informational));
        }
        if head.get("content-encoding").is_some_and(|value| !value.eq_ignore_ascii_case(b"identity")) {
            return Err(unusable(Class::Encoded).with_status(head.status));
        }
        if reader.ends_with_connection() && head.is_http_1_1 {
            // A truncated body would look complete. An error is better than half an answer.
            return Err(unusable(Class::Framing).with_status(head.status));
        }
        let body = ResponseBody::Network(NetworkBody::new(reader, &self.pool));
        Ok(UpstreamResponse { head, body })
    }
}

#[cfg(test)]
mod tests;
