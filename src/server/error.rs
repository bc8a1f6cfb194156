//! Errors that keep the process from starting, and the exit code of each.

use std::io;

use super::host_error::HostError;
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
    /// The host refuses a resource.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Host(error.into())
    }
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
    use std::net::SocketAddr;

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
            StartError::from(HostError::Journal(in_use())),
            StartError::from(in_use()),
            StartError::from(HostError::Listen { key: "server.listen", listen, source: in_use() }),
        ];
        assert!(failed.iter().all(|error| error.exit_code() == 1));
    }
}
