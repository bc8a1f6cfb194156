//! The directory that quickstart keeps between runs, readable only by its owner.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::cli::error::CommandError;
use crate::secret::Secret;

/// The directory and the secrets in it.
pub(super) struct DataDirectory {
    /// Path of the directory.
    pub directory: PathBuf,
    /// The admin token.
    pub admin_token: Secret,
    /// The master key, 32 bytes in base64.
    pub master_key: Secret,
}

impl DataDirectory {
    /// Opens the directory. Creates it and its secrets if they are missing.
    ///
    /// # Errors
    /// If the directory or a secret cannot be read or written.
    pub fn open(directory: &Path) -> Result<Self, CommandError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed("create the directory", directory, &error))?;
        Ok(Self {
            admin_token: read_or_create(&directory.join("admin-token"), |random| URL_SAFE_NO_PAD.encode(random))?,
            master_key: read_or_create(&directory.join("master-key"), |random| STANDARD.encode(random))?,
            directory: directory.to_owned(),
        })
    }

    /// Path of the admin token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.directory.join("admin-token")
    }

    /// Path of the database.
    pub fn database(&self) -> PathBuf {
        self.directory.join("aigw.db")
    }

    /// Path of the ledger's journal.
    pub fn journal(&self) -> PathBuf {
        self.directory.join("journal")
    }
}

/// Reads the secret of a file, or creates it from 32 random bytes.
fn read_or_create(file: &Path, encode: impl Fn(&[u8]) -> String) -> Result<Secret, CommandError> {
    match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => {
            Err(CommandError::with_code(format!("{} is empty; restore it, or remove the directory to start over", file.display()), 78))
        }
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut random = zeroize::Zeroizing::new([0_u8; 32]);
            orion::util::secure_rand_bytes(random.as_mut_slice())
                .map_err(|_| CommandError::failed("the operating system returned no random bytes; try again"))?;
            let secret = Secret::new(encode(random.as_slice()));
            store(file, &secret).map_err(|error| failed("write", file, &error))?;
            Ok(secret)
        }
        Err(error) => Err(failed("read", file, &error)),
    }
}

/// Writes a new file atomically, readable only by its owner.
fn store(file: &Path, secret: &Secret) -> std::io::Result<()> {
    let draft = file.with_extension("new");
    if let Err(error) = std::fs::remove_file(&draft)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(out, "{}", secret.expose())?;
    out.sync_all()?;
    std::fs::rename(&draft, file)?;
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("cannot {verb} {}: {error}; choose another directory with --data", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_run_reads_the_secrets_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("some/where");
        let first = DataDirectory::open(&directory).unwrap();
        let second = DataDirectory::open(&directory).unwrap();
        assert_eq!(first.admin_token, second.admin_token);
        assert_eq!(first.master_key, second.master_key);
        assert_eq!(STANDARD.decode(first.master_key.expose()).unwrap().len(), 32);
        assert!(first.admin_token.expose().len() >= 32);
    }

    #[test]
    fn only_the_owner_may_read_the_secrets() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        DataDirectory::open(&directory).unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.clone()), 0o700);
        assert_eq!(mode(directory.join("master-key")), 0o600);
        assert_eq!(mode(directory.join("admin-token")), 0o600);
    }

    #[test]
    fn a_damaged_secret_is_refused_rather_than_replaced() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("master-key"), "\n").unwrap();
        assert!(DataDirectory::open(home.path()).is_err());
        assert_eq!(std::fs::read_to_string(home.path().join("master-key")).unwrap(), "\n");
    }
}
