//! PostgreSQL server of a single test, which can be stopped and restarted. It uses TLS if it is
//! given a certificate.
//!
//! Wanted where `AIGW_TEST_POSTGRES_URL` is set, because that is where PostgreSQL is tested at all;
//! and where `initdb` and `pg_ctl` are installed. PostgreSQL refuses to run as root, so root runs
//! it as another user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::gateway::free_port;

/// A server, stopped when dropped.
pub struct Server {
    programs: PathBuf,
    directory: TempDir,
    user: Option<String>,
    pub port: u16,
    pub password: String,
}

/// Certificates: an authority's, and one for `localhost` that it vouches for.
pub struct Certificates {
    pub authority: String,
    server: String,
    key: String,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        Self { authority: authority.pem(), server: server.pem(), key: key.serialize_pem() }
    }
}

impl Server {
    /// Starts a server that requires passwords. Returns `None`, and prints the reason, where that
    /// is impossible.
    pub fn start(certificates: Option<&Certificates>) -> Option<Self> {
        if std::env::var("AIGW_TEST_POSTGRES_URL").is_err() {
            eprintln!("skipped: AIGW_TEST_POSTGRES_URL is not set");
            return None;
        }
        let Some(programs) = programs() else {
            eprintln!("skipped: initdb and pg_ctl are not installed");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("aigw-pg-").tempdir().unwrap();
        let user = rustix::process::geteuid()
            .is_root()
            .then(|| "postgres".to_owned())
            .map(|user| if is_user(&user) { user } else { "nobody".to_owned() });
        let server = Self { programs, directory, user, port: free_port(), password: "pass:w/ord".to_owned() };
        server.own(server.directory.path());
        let password = server.file("password", &server.password, 0o600);
        server.run("initdb", &["-D", &server.data(), "-U", "aigw", "-A", "scram-sha-256", "--pwfile", &password, "--no-sync"]);
        let mut settings = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 40\n",
            server.port,
            server.directory.path().display()
        );
        if let Some(certificates) = certificates {
            let (certificate, key) =
                (server.file("server.crt", &certificates.server, 0o600), server.file("server.key", &certificates.key, 0o600));
            settings.push_str(&format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n"));
            server.file("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n", 0o600);
        }
        server.file("data/postgresql.auto.conf", &settings, 0o600);
        server.resume();
        Some(server)
    }

    /// Returns the URL of the database, with this host name.
    pub fn url(&self, host: &str, more: &str) -> String {
        format!("postgres://aigw:pass%3Aw%2Ford@{host}:{}/postgres{more}", self.port)
    }

    /// Stops the server at once and cuts its connections.
    pub fn halt(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "fast", "-w", "stop"]);
    }

    /// Restarts it on the same port.
    pub fn resume(&self) {
        let log = self.directory.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "start"]);
    }

    /// Writes a file owned by the server's user and returns its path.
    pub fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self.own(&path);
        path.display().to_string()
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn own(&self, path: &Path) {
        if let Some(user) = &self.user {
            let id = Command::new("id").args(["-u", user]).output().unwrap().stdout;
            chown(path, Some(String::from_utf8(id).unwrap().trim().parse().unwrap()), None).unwrap();
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // The server inherits the file descriptors, so a pipe would never be closed.
        let status = command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(
            status.success(),
            "{} {arguments:?}: {}",
            program.display(),
            std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
    }
}

fn is_user(name: &str) -> bool {
    Command::new("id").arg(name).output().is_ok_and(|output| output.status.success())
}

/// Where `initdb` and `pg_ctl` are: Debian keeps them off the path, one directory a version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = versions.chain(std::env::split_paths(&paths)).filter(|path| path.join("initdb").is_file()).collect();
    found.sort();
    found.pop()
}
