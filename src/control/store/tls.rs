//! TLS to PostgreSQL. libpq is built without it, so that the build needs no system library; here is what `sslmode=require`,
//! `verify-ca` and `verify-full` ask for, by the rustls that speaks to providers.
//!
//! A [`Tunnel`] is one connection: made and verified first, then handed to libpq as the end of a Unix socket that only this user
//! can reach and that is gone again when libpq has connected. What the modes trust is in `trust`, the bytes in `pump`.

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
use pump::Pump;
use trust::Verify;

/// How to reach a server over TLS, as its URL says.
#[derive(Clone)]
pub struct Tls {
    host: String,
    port: u16,
    /// What is connected to, if not the host's own addresses.
    address: Option<String>,
    config: Arc<ClientConfig>,
}

/// A connection that waits for libpq.
pub struct Tunnel {
    directory: PathBuf,
    port: u16,
}

/// Why there is no TLS. One line, no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

const TIMEOUT: Duration = Duration::from_secs(5);
/// "Shall we speak TLS?" in PostgreSQL's protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Tls {
    /// What the URL asks for; `None` if it asks for no TLS.
    ///
    /// # Errors
    /// If it asks for what cannot be had: a mode that is none, files that cannot be read, several hosts.
    pub fn of(url: &str) -> Result<Option<Self>, TlsError> {
        let url = url::Url::parse(url).map_err(|error| TlsError(format!("database.url cannot be read: {error}")))?;
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
                return Err(TlsError(format!("sslmode={other} is none; write disable, require, verify-ca or verify-full")));
            }
        };
        for unsupported in ["sslcrl", "sslcrldir", "sslpassword"] {
            if parameter(unsupported).is_some() {
                return Err(TlsError(format!("{unsupported} is not supported; leave it out of database.url")));
            }
        }
        let host = parameter("host").or_else(|| url.host_str().map(decoded)).filter(|host| !host.is_empty());
        let host = match host {
            Some(host) if host.starts_with('/') => return Ok(None),
            Some(host) if !host.contains(',') => host.trim_matches(['[', ']']).to_owned(),
            _ => return Err(TlsError("TLS needs the name of one server in database.url".to_owned())),
        };
        let port = parameter("port").and_then(|port| port.parse().ok()).or(url.port()).unwrap_or(5432);
        let files = [parameter("sslrootcert"), parameter("sslcert"), parameter("sslkey")];
        let config = Arc::new(trust::config(mode, files).map_err(TlsError)?);
        Ok(Some(Self { host, port, address: parameter("hostaddr"), config }))
    }

    /// Connects, asks for TLS and verifies who answers.
    ///
    /// # Errors
    /// Says what failed.
    pub fn open(&self) -> Result<Tunnel, TlsError> {
        let Self { host, port, .. } = self;
        let failed = |what: &str, error: &dyn std::fmt::Display| TlsError(format!("{what} {host}:{port}: {error}"));
        let mut server = self.connect().map_err(|error| failed("cannot connect to", &error))?;
        let tls = self.shake_hands(&mut server).map_err(|error| failed("no TLS with", &error))?;
        // A far end that is silently gone is noticed within a minute, as libpq does without TLS (`connection::PATIENCE`).
        let _ = sockopt::set_socket_keepalive(&server, true);
        let _ = sockopt::set_tcp_keepidle(&server, Duration::from_secs(30));
        let _ = sockopt::set_tcp_keepintvl(&server, Duration::from_secs(10));
        let _ = sockopt::set_tcp_keepcnt(&server, 3);
        let _ = sockopt::set_tcp_user_timeout(&server, 30_000);

        let directory = std::env::temp_dir().join(format!("aigw-{:016x}", fastrand::u64(..)));
        let here = |error: std::io::Error| TlsError(format!("cannot make a socket in {}: {error}", directory.display()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(here)?;
        let tunnel = Tunnel { directory: directory.clone(), port: *port };
        let listener = UnixListener::bind(tunnel.socket()).map_err(here)?;
        let relay = move || {
            let (local, _) = listener.accept()?;
            drop(listener);
            Pump::new(local, server, tls).run()
        };
        let named = std::thread::Builder::new().name("postgres-tls".to_owned());
        named
            .spawn(move || relay().unwrap_or_else(|error: std::io::Error| log::debug!("a database connection ended: {error}")))
            .map_err(here)?;
        Ok(tunnel)
    }

    #[allow(clippy::disallowed_methods, reason = "the operator's own database, on a thread of its own")]
    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address");
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

    fn shake_hands(&self, server: &mut TcpStream) -> Result<ClientConnection, Box<dyn std::error::Error>> {
        server.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        // One byte, and no more: what follows must be TLS (CVE-2021-23222).
        server.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err("the server does not speak it; switch ssl on there, or use sslmode=disable".into());
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
    /// The URL by which libpq finds the tunnel. What comes later in a URL wins.
    pub fn url(&self, url: &str) -> Secret {
        let separator = if url.contains('?') { '&' } else { '?' };
        let (directory, port) = (self.directory.display().to_string(), self.port);
        let directory: String = url::form_urlencoded::byte_serialize(directory.as_bytes()).collect();
        Secret::new(format!("{url}{separator}host={directory}&hostaddr=&port={port}&sslmode=disable&sslnegotiation=postgres"))
    }

    /// Where libpq looks for a server of that port.
    fn socket(&self) -> PathBuf {
        self.directory.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl Drop for Tunnel {
    /// Nobody is waited for any more. If libpq never came, the tunnel's thread sees a visitor who leaves at once.
    fn drop(&mut self) {
        let _ = UnixStream::connect(self.socket());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn decoded(host: &str) -> String {
    // The host of a URL whose scheme is not a web's is left percent-encoded.
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
    fn only_the_modes_that_demand_tls_get_it_and_an_unknown_one_is_refused() {
        for plain in
            ["", "?sslmode=disable", "?sslmode=prefer", "?connect_timeout=3&sslmode=allow", "?sslmode=require&host=/run/postgresql"]
        {
            assert_eq!(of(plain), Ok(false), "{plain}");
        }
        for demanded in ["?sslmode=require", "?sslmode=verify-ca", "?connect_timeout=3&sslmode=verify-full&sslrootcert=system"] {
            assert_eq!(of(demanded), Ok(true), "{demanded}");
        }
        for (refused, why) in [
            ("?sslmode=on", "sslmode=on is none"),
            ("?sslmode=verify-full&sslrootcert=/no/such.pem", "/no/such.pem"),
            ("?sslmode=require&sslcrl=x", "sslcrl"),
            ("?sslmode=require&host=a,b", "one server"),
            ("?sslmode=require&sslcert=/no/such.crt", "sslkey"),
        ] {
            let said = of(refused).unwrap_err();
            assert!(said.contains(why) && !said.contains("pw"), "{refused}: {said}");
        }
    }

    #[test]
    fn libpq_is_sent_to_the_tunnel_whatever_the_url_says() {
        let tunnel = Tunnel { directory: "/tmp/no such".into(), port: 5432 };
        let url = tunnel.url("postgres://u:p@db/d?sslmode=require");
        assert_eq!(
            url.expose(),
            "postgres://u:p@db/d?sslmode=require&host=%2Ftmp%2Fno+such&hostaddr=&port=5432&sslmode=disable&sslnegotiation=postgres"
        );
    }

    #[test]
    fn the_server_is_named_as_the_url_says() {
        let host = |url: &str| Tls::of(url).unwrap().map(|tls| (tls.host, tls.port, tls.address)).unwrap();
        assert_eq!(host("postgres://u@db/d?sslmode=require"), ("db".to_owned(), 5432, None));
        assert_eq!(host("postgres://u@[::1]:7/d?sslmode=require"), ("::1".to_owned(), 7, None));
        let given = host("postgresql:///d?sslmode=require&host=db&port=7&hostaddr=10.0.0.1");
        assert_eq!(given, ("db".to_owned(), 7, Some("10.0.0.1".to_owned())));
    }
}
