//! I/O errors that name the file and the remedy.

use std::io;
use std::path::Path;

/// Returns an error of the same kind whose text names the action that failed, the file, the cause
/// and, if known, the remedy.
pub fn describe(action: &str, path: &Path, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "; give the user that runs aigw write access",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space on this disk",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot {action} {}: {error}{remedy}", path.display()))
}
