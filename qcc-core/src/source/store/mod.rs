//! What must survive the process: refresh tokens that were rotated.

mod entry;
mod file;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;

pub(super) use self::entry::{Access, Entry, Open};
pub(super) use self::file::Stored;
use crate::hex;
use crate::time::{self, Duration};
use crate::token::{NotRefreshed, SourceId};

/// Another process that refreshes the same token is waited for so long.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How often it is looked whether it is done: at first, and at most.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];

/// A directory with a file for each login: the refresh token that is good now, because it may be
/// another one than the one that was configured, and the last access token.
///
/// Files and directory are made for their owner alone (0600 and 0700) and refused if others may
/// read the one or write the other. A file is replaced in one step: written beside, flushed to
/// the disk, renamed, the directory flushed. It is named by a hash of the *configured* refresh
/// token, so that whoever logs in again and configures the new one begins a file of its own, and
/// what was stored for the old one is not asked any more. Old files stay until you delete them.
///
/// # Several processes
///
/// They may share a directory. A refresh holds the lock of a file beside that of the login, which
/// the operating system lets go when a process ends, however it ends; whoever waited for it reads
/// the file again and finds that nothing is left to do. Nobody is blocked by the wait: it is
/// looked from time to time whether the lock is free, for at most 60 s. The directory has to lie
/// on a file system whose locks all of the processes see.
///
/// # A process that is killed
///
/// Before a refresh is sent, its login is marked, and the mark goes with the new refresh token.
/// A process that is killed between the two may have lost a refresh token that it never had; the
/// next one finds the mark, says so in [`TokenStatus::trouble`], and tries the token that it has.
/// Nothing is lost before the answer is there, nor after the file was flushed.
///
/// [`TokenStatus::trouble`]: crate::token::TokenStatus::trouble
#[derive(Clone)]
pub struct TokenStore(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    offload: Box<Offload>,
}

/// What is to be done where it blocks nobody.
pub type Work = Box<dyn FnOnce() + Send>;

type Offload = dyn Fn(Work) + Send + Sync;

impl TokenStore {
    /// The store in `dir`, which is made when something is stored for the first time.
    ///
    /// Reading, writing and flushing files blocks, and this crate has no threads of its own, so
    /// you say where that is done: `offload` has to run each [`Work`] soon, off the threads that
    /// poll futures. With tokio that is
    ///
    /// ```
    /// # use qcc_core::source::TokenStore;
    /// let store = TokenStore::new("/var/lib/mine/tokens", |work| {
    ///     tokio::task::spawn_blocking(work);
    /// });
    /// ```
    pub fn new<F>(dir: impl Into<PathBuf>, offload: F) -> Self
    where
        F: Fn(Work) + Send + Sync + 'static,
    {
        Self(Arc::new(Inner {
            dir: dir.into(),
            offload: Box::new(offload),
        }))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Where the login with this id is kept.
    pub(super) fn login(&self, id: &SourceId) -> Login {
        let mut name = String::new();
        // A text takes everything.
        let _ = hex::write(&mut name, *id.as_bytes());
        let path = self.0.dir.join(name);
        Login {
            store: self.clone(),
            path: Arc::from(path.with_extension("json")),
            lock: Arc::from(path.with_extension("lock")),
        }
    }

    async fn off<T, W>(&self, work: W) -> Result<T, NotRefreshed>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, String> + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        (self.0.offload)(Box::new(move || {
            // Whoever asked may be gone.
            let _ = done.send(work());
        }));
        match result.await {
            Ok(result) => result.map_err(NotRefreshed::for_now),
            Err(_) => Err(NotRefreshed::for_now(
                "the file of the token was not looked at: the process is ending",
            )),
        }
    }
}

impl fmt::Debug for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenStore").field(&self.0.dir).finish()
    }
}

/// Where one login is kept.
#[derive(Clone)]
pub(super) struct Login {
    store: TokenStore,
    path: Arc<Path>,
    lock: Arc<Path>,
}

/// The same while nobody else changes it.
pub(super) struct Locked {
    login: Login,
    /// Shared with the work that is under way: a write that nobody waits for any more has to be
    /// over before another process reads.
    file: Arc<File>,
}

impl Login {
    pub(super) fn dir(&self) -> &Path {
        self.store.dir()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept, and whether somebody is changing it. Blocks, for as long as it takes to
    /// read a small file.
    pub(super) fn look(&self) -> Result<(Stored, bool), String> {
        let stored = file::read(&self.path)?;
        if !matches!(&stored, Stored::Entry(entry) if entry.open == Some(Open::UnderWay)) {
            return Ok((stored, false));
        }
        let lock = file::open_lock(&self.lock)?;
        if !file::try_lock(&self.lock, &lock)? {
            return Ok((stored, true));
        }
        // It may have ended since it was read.
        Ok((file::read(&self.path)?, false))
    }

    /// Waits until nobody else changes it.
    pub(super) async fn lock(&self) -> Result<Locked, NotRefreshed> {
        let end = time::now() + LOCK_WAIT;
        let [mut pause, longest] = LOOK_AGAIN;
        let path = self.lock.clone();
        let mut file = self.store.off(move || file::open_lock(&path)).await?;
        loop {
            let path = self.lock.clone();
            let locked;
            (file, locked) = self
                .store
                .off(move || file::try_lock(&path, &file).map(|locked| (file, locked)))
                .await?;
            if locked {
                return Ok(Locked {
                    login: self.clone(),
                    file: Arc::new(file),
                });
            }
            if end <= time::now() {
                return Err(NotRefreshed::for_now(format!(
                    "another process has been refreshing this token for {LOCK_WAIT:?}: look at \
                     who holds {}",
                    self.lock.display()
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }
}

impl Locked {
    /// What is kept. What cannot be read is set aside first, and told with its new name.
    pub(super) async fn read(&self) -> Result<(Option<Entry>, Option<PathBuf>), NotRefreshed> {
        let (path, file) = (self.login.path.clone(), self.file.clone());
        let read = move || {
            let _file = file;
            match file::read(&path)? {
                Stored::Nothing => Ok((None, None)),
                Stored::Entry(entry) => Ok((Some(entry), None)),
                Stored::Corrupt => Ok((None, Some(file::set_aside(&path)?))),
            }
        };
        self.login.store.off(read).await
    }

    /// Keeps `entry`, for good when this is ready. It is kept also if nobody waits for that.
    pub(super) async fn write(&self, entry: Entry) -> Result<(), NotRefreshed> {
        let (path, file) = (self.login.path.clone(), self.file.clone());
        let write = move || {
            let _file = file;
            file::write(&path, &entry)
        };
        self.login.store.off(write).await
    }
}
