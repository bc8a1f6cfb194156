//! Errors that keep the process from starting, and the exit code of each.

use std::io;
use std::net::SocketAddr;

use crate::control::sealing::rewrap::RotateError;
use crate::control::sealing::start::KeyMaterialError;
use crate::control::store::StoreError;

/// A failure to start. The message is one line and names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database and the configured keys do not match.
    #[error(transparent)]
    Sealing(#[from] KeyMaterialError),
    /// A rotation of the master key failed.
    #[error(transparent)]
    Rotation(#[from] RotateError),
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

impl StartError {
    /// Returns the exit code of the process: 78 (`EX_CONFIG`) for refused key material, 1 for
    /// anything that cannot be reached or bound.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Sealing(error) | StartError::Rotation(RotateError::Start(error)) => match error {
                KeyMaterialError::Store(_) => 1,
                _ => 78,
            },
            StartError::Rotation(RotateError::NoMasterKey) => 78,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_key_material_exits_with_78_and_failures_with_1() {
        let refused = [
            StartError::Sealing(KeyMaterialError::NoMasterKey),
            StartError::Rotation(RotateError::NoMasterKey),
            StartError::Rotation(RotateError::Start(KeyMaterialError::NoMasterKey)),
        ];
        assert!(refused.iter().all(|error| error.exit_code() == 78));
        let in_use = || io::Error::from(io::ErrorKind::AddrInUse);
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let failed = [
            StartError::Journal(in_use()),
            StartError::System(in_use()),
            StartError::Listen { key: "server.listen", listen, source: in_use() },
        ];
        assert!(failed.iter().all(|error| error.exit_code() == 1));
    }
}
