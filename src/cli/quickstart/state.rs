//! What a trial keeps between its runs: a directory of its own, for its owner's eyes only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::cli::failure::Failure;
use crate::secret::Secret;

/// The directory and the secrets in it.
pub(super) struct State {
    /// Where it is.
    pub directory: PathBuf,
    /// Opens the admin API.
    pub admin_token: Secret,
    /// 32 bytes in base64.
    pub master_key: Secret,
}

impl State {
    /// Opens the directory; makes it, and what is missing in it.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| failed("create the directory", directory, &error))?;
        Ok(Self {
            admin_token: kept(&directory.join("admin-token"), |random| URL_SAFE_NO_PAD.encode(random))?,
            master_key: kept(&directory.join("master-key"), |random| STANDARD.encode(random))?,
            directory: directory.to_owned(),
        })
    }

    /// The file of the admin token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.directory.join("admin-token")
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.directory.join("aigw.db")
    }

    /// Where entries wait for the database.
    pub fn journal(&self) -> PathBuf {
        self.directory.join("journal")
    }
}

/// The secret in a file, or a new one of 32 random bytes, stored there.
fn kept(file: &Path, spell: impl Fn(&[u8]) -> String) -> Result<Secret, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => {
            Err(Failure::with_code(format!("{}: is empty; restore it, or remove the directory to begin again", file.display()), 78))
        }
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut random = zeroize::Zeroizing::new([0_u8; 32]);
            orion::util::secure_rand_bytes(random.as_mut_slice())
                .map_err(|_| Failure::failed("the system gave no random bytes; try again"))?;
            let secret = Secret::new(spell(random.as_slice()));
            store(file, &secret).map_err(|error| failed("write", file, &error))?;
            Ok(secret)
        }
        Err(error) => Err(failed("read", file, &error)),
    }
}

/// Writes a new file for its owner alone, whole or not at all.
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

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot {verb} {}: {error}; choose another place with --data", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_run_finds_the_secrets_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("some/where");
        let first = State::open(&directory).unwrap();
        let second = State::open(&directory).unwrap();
        assert_eq!(first.admin_token, second.admin_token);
        assert_eq!(first.master_key, second.master_key);
        assert_eq!(STANDARD.decode(first.master_key.expose()).unwrap().len(), 32);
        assert!(first.admin_token.expose().len() >= 32);
    }

    #[test]
    fn nobody_else_may_read_them() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        State::open(&directory).unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.clone()), 0o700);
        assert_eq!(mode(directory.join("master-key")), 0o600);
        assert_eq!(mode(directory.join("admin-token")), 0o600);
    }

    #[test]
    fn a_damaged_secret_is_refused_rather_than_replaced() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("master-key"), "\n").unwrap();
        assert!(State::open(home.path()).is_err());
        assert_eq!(std::fs::read_to_string(home.path().join("master-key")).unwrap(), "\n");
    }
}
