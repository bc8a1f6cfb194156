//! Name resolution for upstreams: asynchronous, on a thread of its own, cached for as long as the records allow.
//!
//! Tenants choose host names, and a zone may never answer. So a lookup occupies no thread of the data plane, the same name is
//! looked up once at a time, and every lookup has a time limit. The guard checks each answer at each use; nothing here decides
//! which addresses may be reached.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Resolver of host names. A trait, so that tests can script the answers.
pub trait Resolve: Send + Sync {
    /// Returns all addresses of `host`, with `port`.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// Longest time of one lookup, over all servers and repetitions.
const LIMIT: Duration = Duration::from_secs(5);
/// Time after which an unanswered query is repeated.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Names in the cache.
const CACHED_NAMES: u64 = 4_096;
/// Longest time an answer is cached, so that a changed address is found soon in any case.
const LONGEST_TTL: Duration = Duration::from_secs(300);
/// Longest time the absence of a name is cached.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// Interval at which a changed `/etc/resolv.conf` or `/etc/hosts` is noticed.
const CONFIGURATION_POLL: Duration = Duration::from_secs(5);
/// Threads for names that DNS does not have but the operating system may.
const SYSTEM_THREADS: usize = 4;

/// DNS resolver of the process.
pub struct DnsResolver {
    state: Arc<Lookups>,
    dns_thread: Handle,
    /// Ends the thread when the resolver is dropped.
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Lookups {
    pending: Mutex<HashMap<Box<str>, Shared<BoxFuture<'static, LookupResult>>>>,
    servers: Mutex<Servers>,
}

/// Addresses of a name, or the kind of error and its text.
type LookupResult = Result<Arc<[IpAddr]>, (io::ErrorKind, Arc<str>)>;

/// Name servers that `/etc/resolv.conf` names, and the names of `/etc/hosts`.
#[derive(Default)]
struct Servers {
    /// `None` if the file cannot be read; the operating system resolves then.
    resolver: Option<Arc<TokioResolver>>,
    /// Times of change of the files.
    modified: [Option<SystemTime>; 2],
    checked: Option<Instant>,
}

impl DnsResolver {
    /// Starts the resolver's thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::with(Arc::default())
    }

    fn with(state: Arc<Lookups>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(SYSTEM_THREADS).build()?;
        let dns_thread = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("aigw-dns".to_owned()).spawn(move || {
            // Resolves when the sender is dropped.
            let _ = runtime.block_on(stopped);
            // A lookup by the operating system may take long; the end of the process does not wait for it.
            runtime.shutdown_background();
        })?;
        Ok(Self { state, dns_thread, _stop: stop })
    }

    /// Returns the lookup of `host` that is under way, or starts one.
    fn pending(&self, host: &str) -> Shared<BoxFuture<'static, LookupResult>> {
        let mut pending = self.state.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = pending.get(host) {
            return lookup.clone();
        }
        let (state, name) = (Arc::clone(&self.state), Box::<str>::from(host));
        let task = self.dns_thread.spawn(async move {
            let answer = match timeout(LIMIT, state.resolve(&name)).await {
                Ok(answer) => answer.map_err(|error| (error.kind(), error.to_string().into())),
                Err(_) => Err((io::ErrorKind::TimedOut, "the name servers did not answer".into())),
            };
            state.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            answer
        });
        let stopped = |_| Err((io::ErrorKind::Interrupted, "the resolver has stopped".into()));
        let lookup = async move { task.await.unwrap_or_else(stopped) }.boxed().shared();
        pending.insert(host.into(), lookup.clone());
        lookup
    }
}

impl Resolve for DnsResolver {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async move {
            let addresses = self.pending(host).await.map_err(|(kind, text)| io::Error::new(kind, text.to_string()))?;
            Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
        }
        .boxed()
    }
}

impl Lookups {
    /// Asks the name servers. A name that they do not have may be known to the operating system alone (mDNS, NSS plugins).
    async fn resolve(&self, name: &str) -> io::Result<Arc<[IpAddr]>> {
        let Some(resolver) = self.resolver() else { return by_system(name).await };
        match resolver.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => by_system(name).await,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Returns the resolver for the current files.
    fn resolver(&self) -> Option<Arc<TokioResolver>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.checked.is_none_or(|checked| checked.elapsed() >= CONFIGURATION_POLL) {
            let modified = modified();
            if servers.checked.is_none() || modified != servers.modified {
                servers.resolver = new_resolver();
            }
            (servers.modified, servers.checked) = (modified, Some(Instant::now()));
        }
        servers.resolver.clone()
    }
}

/// Returns the times at which the resolver's files were changed. They are local, and the thread does nothing but resolve names.
fn modified() -> [Option<SystemTime>; 2] {
    ["/etc/resolv.conf", "/etc/hosts"].map(|file| fs::metadata(file).and_then(|file| file.modified()).ok())
}

fn new_resolver() -> Option<Arc<TokioResolver>> {
    let built = TokioResolver::builder_tokio().and_then(|mut builder| {
        let options = builder.options_mut();
        options.timeout = QUERY_TIMEOUT;
        options.cache_size = CACHED_NAMES;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        // All addresses, so that the guard checks all.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.max_active_requests = 1_024;
        builder.build()
    });
    match built {
        Ok(resolver) => Some(Arc::new(resolver)),
        Err(error) => {
            log::warn!("cannot read the name servers from /etc/resolv.conf ({error}); the operating system resolves names");
            None
        }
    }
}

/// Asks the operating system, on one of the few threads for that.
async fn by_system(name: &str) -> io::Result<Arc<[IpAddr]>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;

    use super::*;

    #[actix_web::test]
    async fn a_name_of_the_hosts_file_is_found() {
        let resolver = DnsResolver::start().unwrap();
        let addresses = resolver.lookup("localhost", 81).await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 81));
    }

    /// Returns a resolver that asks a name server which never answers, and the name server's socket.
    async fn deaf() -> (DnsResolver, tokio::net::UdpSocket) {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut address = NameServerConfig::udp(server.local_addr().unwrap().ip());
        address.connections[0].port = server.local_addr().unwrap().port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![address]);
        let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        let servers = Servers { resolver: Some(Arc::new(built)), modified: modified(), checked: Some(Instant::now()) };
        (DnsResolver::with(Arc::new(Lookups { servers: Mutex::new(servers), ..Lookups::default() })).unwrap(), server)
    }

    #[actix_web::test]
    async fn a_name_whose_server_never_answers_holds_up_no_other() {
        let (resolver, server) = deaf().await;
        let dead: Vec<_> = (0..200).map(|n| resolver.pending(&format!("dead-{n}.example."))).collect();
        server.recv(&mut [0; 512]).await.unwrap();
        assert!(!resolver.lookup("localhost", 1).await.unwrap().is_empty());
        assert!(dead.iter().all(|lookup| lookup.peek().is_none()));
    }

    #[actix_web::test]
    async fn lookups_of_one_name_share_one_query() {
        let resolver = DnsResolver::start().unwrap();
        let (first, second) = (resolver.pending("name.invalid"), resolver.pending("name.invalid"));
        assert!(first.ptr_eq(&second));
        let (first, second) = futures_util::future::join(first, second).await;
        assert_eq!(first.is_err(), second.is_err());
        assert!(resolver.state.pending.lock().unwrap().is_empty());
    }
}
