//! A database has one proxy. Two would write what they know of refused credentials and of switches
//! over each other, so a proxy takes a lock beside the file, for as long as it lives.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::path::Path;

use qcc_core::store::Work;

use crate::config;
use crate::history::Store;
use crate::output::{Exit, Failure};

const TAKEN: &str = "is in use by another qcc proxy";
const REMEDY: &str = "end that one, or give this one a file of its own";

/// The right to a database. It ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

/// Opens the store that `config` wants, unless another proxy has it. That is told as if the database
/// were locked.
///
/// # Errors
///
/// It cannot be opened, and the configuration does not go on without it.
pub(super) async fn open(
    config: &config::Store,
) -> Result<(Option<Claim>, Store, Option<Work>), Failure> {
    let file = &config.path;
    // What else is wrong with the path is said by the store, in better words.
    let wanted = config.enabled && !file.starts_with("~");
    let claim = match wanted.then(|| Claim::take(file)) {
        None => None,
        Some(Ok(claim)) => Some(claim),
        Some(Err(TryLockError::WouldBlock)) if config.required => {
            let text = format!(
                "store.path: {}: {TAKEN}\n  {REMEDY}\n  or go on without history: \
                 store.required: false",
                file.display()
            );
            return Err(Failure::new(Exit::Failure, text));
        }
        Some(Err(TryLockError::WouldBlock)) => {
            tracing::error!(
                "store.path: {}: {TAKEN}; going on without history: refused credentials and \
                 switches of this run will not be kept. {REMEDY}",
                file.display()
            );
            let (file, reason) = (file.clone(), TAKEN.into());
            return Ok((None, Store::Missing { file, reason }, None));
        }
        Some(Err(TryLockError::Error(error))) => {
            tracing::debug!(%error, "store: a second proxy on its file will not be noticed");
            None
        }
    };
    let (store, work) = Store::open(config).await?;
    Ok((claim.filter(|_| work.is_some()), store, work))
}

impl Claim {
    /// Takes the database, which need not exist.
    fn take(database: &Path) -> Result<Self, TryLockError> {
        let lock = lock_file(database).map_err(TryLockError::Error)?;
        lock.try_lock()?;
        Ok(Self { _lock: lock })
    }
}

/// A file of its own: SQLite gives up its locks when any handle of the database is closed.
fn lock_file(database: &Path) -> io::Result<File> {
    // A link and what it leads to are one database.
    let mut path = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    path.as_mut_os_string().push(".lock");
    let mut folder = DirBuilder::new();
    folder.recursive(true);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

        folder.mode(0o700);
        options.mode(0o600);
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        folder.create(parent)?;
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("qcc-claim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn is_taken(database: &Path) -> bool {
        matches!(Claim::take(database), Err(TryLockError::WouldBlock))
    }

    // STO-06
    #[test]
    fn a_database_is_claimed_once_until_the_claim_ends_and_each_has_its_own() {
        let folder = folder("once");
        let (database, other) = (folder.join("a/qcc.db"), folder.join("a/other.db"));
        let claim = Claim::take(&database).unwrap();
        assert!(is_taken(&database));
        assert!(Claim::take(&other).is_ok());
        assert!(!database.exists(), "the database is left to the store");
        drop(claim);
        assert!(!is_taken(&database));
        fs::remove_dir_all(folder).unwrap();
    }

    // STO-06
    #[cfg(unix)]
    #[test]
    fn a_link_leads_to_the_same_claim() {
        let folder = folder("link");
        fs::create_dir_all(&folder).unwrap();
        let (database, link) = (folder.join("qcc.db"), folder.join("link.db"));
        fs::write(&database, "").unwrap();
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let _claim = Claim::take(&link).unwrap();
        assert!(is_taken(&database));
        fs::remove_dir_all(folder).unwrap();
    }
}
