//! TLS to PostgreSQL. libpq is built without TLS, so that the build needs no system library; this
//! implements `sslmode=require`, `verify-ca` and `verify-full` with the same rustls as calls to
//! providers.
//!
//! A [`Tunnel`] is one connection: opened and verified first, then given to libpq as a Unix socket
//! that only this user can reach and that is removed once libpq has connected. `trust` verifies
//! certificates, `pump` moves the bytes.

mod greeting;
mod pump;
mod trust;

use std::fs::DirBuilder;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::secret::Secret;
use pump::TlsPump;
use trust::Verify;

/// TLS settings of a database URL.
#[derive(Clone)]
pub struct Tls {
    host: String,
    port: u16,
    /// `hostaddr`: address to connect to instead of resolving the host.
    address: Option<String>,
    config: Arc<ClientConfig>,
}

/// A TLS connection that libpq has yet to use.
pub struct Tunnel {
    directory: PathBuf,
    port: u16,
}

/// An error of TLS. One line without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

const TIMEOUT: Duration = Duration::from_secs(5);
/// The SSLRequest message of PostgreSQL's protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Tls {
    /// Parses the TLS settings of a URL; `None` if it requires no TLS.
    ///
    /// # Errors
    /// If a setting is not supported: an unknown mode, unreadable files, several hosts.
    pub fn of(url: &str) -> Result<Option<Self>, TlsError> {
        let url = url::Url::parse(url).map_err(|error| TlsError(format!("invalid database.url: {error}")))?;
        let parameter = |name: &str| {
            let last = url.query_pairs().filter(|(known, _)| known == name).last();
            last.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
        };
        let mode = parameter("sslmode").or_else(|| std::env::var("PGSSLMODE").ok().filter(|mode| !mode.is_empty()));
        let mode = match mode.as_deref() {
            None | Some("disable" | "allow" | "prefer") => return Ok(None),
            Some("require") => Verify::Nothing,
            Some("verify-ca") => Verify::Chain,
            Some("verify-full") => Verify::Name,
            Some(other) => {
                return Err(TlsError(format!("unknown sslmode={other}; use disable, require, verify-ca or verify-full")));
            }
        };
        for unsupported in ["sslcrl", "sslcrldir", "sslpassword"] {
            if parameter(unsupported).is_some() {
                return Err(TlsError(format!("{unsupported} is not supported; remove it from database.url")));
            }
        }
        let host = parameter("host").or_else(|| url.host_str().map(decoded)).filter(|host| !host.is_empty());
        let host = match host {
            Some(host) if host.starts_with('/') => return Ok(None),
            Some(host) if !host.contains(',') => host.trim_matches(['[', ']']).to_owned(),
            _ => return Err(TlsError("TLS needs exactly one server in database.url".to_owned())),
        };
        let port = parameter("port").and_then(|port| port.parse().ok()).or(url.port()).unwrap_or(5432);
        let files = [parameter("sslrootcert"), parameter("sslcert"), parameter("sslkey")];
        let config = Arc::new(trust::config(mode, files).map_err(TlsError)?);
        Ok(Some(Self { host, port, address: parameter("hostaddr"), config }))
    }

    /// Connects, starts TLS and verifies the server.
    ///
    /// # Errors
    /// If one of these fails.
    pub fn open(&self) -> Result<Tunnel, TlsError> {
        let Self { host, port, .. } = self;
        let failed = |what: &str, error: &dyn std::fmt::Display| TlsError(format!("{what} {host}:{port}: {error}"));
        let mut server = self.connect().map_err(|error| failed("cannot connect to", &error))?;
        let tls = self.handshake(&mut server).map_err(|error| failed("no TLS connection to", &error))?;
        // Detects an unresponsive peer within a minute, as libpq does without TLS
        // (`connection::TIMEOUTS`).
        let _ = sockopt::set_socket_keepalive(&server, true);
        let _ = sockopt::set_tcp_keepidle(&server, Duration::from_secs(30));
        let _ = sockopt::set_tcp_keepintvl(&server, Duration::from_secs(10));
        let _ = sockopt::set_tcp_keepcnt(&server, 3);
        let _ = sockopt::set_tcp_user_timeout(&server, 30_000);

        let directory = std::env::temp_dir().join(format!("aigw-{:016x}", fastrand::u64(..)));
        let local_error = |error: std::io::Error| TlsError(format!("cannot create a socket in {}: {error}", directory.display()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(local_error)?;
        let tunnel = Tunnel { directory: directory.clone(), port: *port };
        let listener = UnixListener::bind(tunnel.socket()).map_err(local_error)?;
        let relay = move || {
            let (local, _) = listener.accept()?;
            drop(listener);
            TlsPump::new(local, server, tls).run()
        };
        let named = std::thread::Builder::new().name("postgres-tls".to_owned());
        named
            .spawn(move || relay().unwrap_or_else(|error: std::io::Error| log::debug!("a database connection ended: {error}")))
            .map_err(local_error)?;
        Ok(tunnel)
    }

    #[allow(clippy::disallowed_methods, reason = "the operator's database, on a blocking thread")]
    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        for address in (self.address.as_deref().unwrap_or(&self.host), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn handshake(&self, server: &mut TcpStream) -> Result<ClientConnection, Box<dyn std::error::Error>> {
        server.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        // Exactly one byte: everything after it must be TLS (CVE-2021-23222).
        server.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err("the server has TLS disabled; set ssl = on there, or use sslmode=disable".into());
        }
        let name = ServerName::try_from(self.host.clone())?;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), name)?;
        while tls.is_handshaking() {
            tls.complete_io(server)?;
        }
        Ok(tls)
    }
}

impl Tunnel {
    /// The URL by which libpq connects to the tunnel. Later parameters override earlier ones.
    pub fn url(&self, url: &str) -> Secret {
        let separator = if url.contains('?') { '&' } else { '?' };
        let (directory, port) = (self.directory.display().to_string(), self.port);
        let directory: String = url::form_urlencoded::byte_serialize(directory.as_bytes()).collect();
        Secret::new(format!("{url}{separator}host={directory}&hostaddr=&port={port}&sslmode=disable&sslnegotiation=postgres"))
    }

    /// Path where libpq expects the socket of a server at that port.
    fn socket(&self) -> PathBuf {
        self.directory.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl Drop for Tunnel {
    /// Unblocks the tunnel's thread if libpq never connected: it accepts a connection that closes
    /// at once.
    fn drop(&mut self) {
        let _ = UnixStream::connect(self.socket());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn decoded(host: &str) -> String {
    // `url` leaves the host of a non-web scheme percent-encoded.
    url::form_urlencoded::parse(format!("h={}", host.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(String::new, |(_, host)| host.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<bool, String> {
        Tls::of(&format!("postgres://aigw:pw@db.example.com:6432/aigw{query}")).map(|tls| tls.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn modes_that_require_tls_get_it_and_unknown_modes_are_refused() {
        for plain in
            ["", "?sslmode=disable", "?sslmode=prefer", "?connect_timeout=3&sslmode=allow", "?sslmode=require&host=/run/postgresql"]
        {
            assert_eq!(of(plain), Ok(false), "{plain}");
        }
        for demanded in ["?sslmode=require", "?sslmode=verify-ca", "?connect_timeout=3&sslmode=verify-full&sslrootcert=system"] {
            assert_eq!(of(demanded), Ok(true), "{demanded}");
        }
        for (refused, reason) in [
            ("?sslmode=on", "unknown sslmode=on"),
            ("?sslmode=verify-full&sslrootcert=/no/such.pem", "/no/such.pem"),
            ("?sslmode=require&sslcrl=x", "sslcrl"),
            ("?sslmode=require&host=a,b", "exactly one server"),
            ("?sslmode=require&sslcert=/no/such.crt", "sslkey"),
        ] {
            let error = of(refused).unwrap_err();
            assert!(error.contains(reason) && !error.contains("pw"), "{refused}: {error}");
        }
    }

    #[test]
    fn libpq_connects_to_the_tunnel_regardless_of_the_url() {
        let tunnel = Tunnel { directory: "/tmp/no such".into(), port: 5432 };
        let url = tunnel.url("postgres://u:p@db/d?sslmode=require");
        assert_eq!(
            url.expose(),
            "postgres://u:p@db/d?sslmode=require&host=%2Ftmp%2Fno+such&hostaddr=&port=5432&sslmode=disable&sslnegotiation=postgres"
        );
    }

    #[test]
    fn host_port_and_address_are_those_of_the_url() {
        let host = |url: &str| Tls::of(url).unwrap().map(|tls| (tls.host, tls.port, tls.address)).unwrap();
        assert_eq!(host("postgres://u@db/d?sslmode=require"), ("db".to_owned(), 5432, None));
        assert_eq!(host("postgres://u@[::1]:7/d?sslmode=require"), ("::1".to_owned(), 7, None));
        let given = host("postgresql:///d?sslmode=require&host=db&port=7&hostaddr=10.0.0.1");
        assert_eq!(given, ("db".to_owned(), 7, Some("10.0.0.1".to_owned())));
    }
}
