//! Refusals of the host that keep a half from starting. The gateway half knows no other errors, and
//! none of the control half.

use std::io;
use std::net::SocketAddr;

/// A resource that the host refuses. The message is one line and names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The address is in use or does not belong to this host.
    #[error("cannot listen on {listen}: {source}; set {key} or stop what listens there")]
    Listen {
        /// `server.listen` or `admin.listen`.
        key: &'static str,
        /// The configured address.
        listen: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The journal directory cannot be used.
    #[error("cannot use the ledger's journal: {0}")]
    Journal(io::Error),
    /// The operating system refused a resource.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}
