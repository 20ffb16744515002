//! Files of the store. Everything here blocks.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::entry::{Entry, Unreadable};

/// A longer file is none of ours.
const LONGEST: u64 = 1 << 20;

/// What stands in the file of a login.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) enum Stored {
    /// It is not there.
    Nothing,
    Entry(Entry),
    /// Something that is nothing of ours.
    Corrupt,
}

/// Reads the file of a login. An error says what to do.
pub(super) fn read(path: &Path) -> Result<Stored, String> {
    let failed = |error: &io::Error| format!("cannot read {}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Stored::Nothing),
        Err(error) => return Err(failed(&error)),
    };
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    check_mode(path, &metadata, 0o077, "600")?;
    let mut text = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    match Entry::read(&text) {
        Ok(entry) => Ok(Stored::Entry(entry)),
        Err(Unreadable::Corrupt) => Ok(Stored::Corrupt),
        Err(Unreadable::Newer) => Err(format!(
            "{} was written by a later release: use that one",
            path.display()
        )),
    }
}

/// Writes the file of a login: whole or not at all, and for good when this returns.
pub(super) fn write(path: &Path, entry: &Entry) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let new = path.with_extension("new");
    // Left behind by a process that was killed, perhaps.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let write = || {
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&new)?;
        file.write_all(&entry.write())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_dir(dir)
    };
    write().map_err(failed)
}

/// Moves a file out of the way, under a name that is free.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, String> {
    let mut aside = path.with_extension("corrupt");
    let mut number = 1;
    while aside.exists() {
        number += 1;
        aside = path.with_extension(format!("corrupt-{number}"));
    }
    match fs::rename(path, &aside) {
        Ok(()) => Ok(aside),
        Err(error) => Err(format!("cannot set {} aside: {error}", path.display())),
    }
}

/// Opens the file whose lock this process and others take in turn; makes it, and the directory,
/// if they are not there.
pub(super) fn open_lock(path: &Path) -> Result<File, String> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    make_dir(dir)?;
    let mut options = OpenOptions::new();
    let options = private(options.read(true).write(true).create(true).truncate(false));
    let failed = |error| format!("cannot open {}: {error}", path.display());
    options.open(path).map_err(failed)
}

/// Takes the lock; `false` if somebody else has it.
pub(super) fn try_lock(path: &Path, file: &File) -> Result<bool, String> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(format!(
            "cannot lock {}: {error}; put the tokens into a directory whose file system has locks",
            path.display()
        )),
    }
}

fn make_dir(dir: &Path) -> Result<(), String> {
    let failed = |error: &io::Error| format!("cannot make {}: {error}", dir.display());
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => check_mode(dir, &metadata, 0o022, "700"),
        Ok(_) => Err(format!("{} is not a directory", dir.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            let made = builder.create(dir).and_then(|()| match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
                _ => Ok(()),
            });
            made.map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Refuses what others may do more with than they should.
#[cfg(unix)]
fn check_mode(
    path: &Path,
    metadata: &fs::Metadata,
    forbidden: u32,
    good: &str,
) -> Result<(), String> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(format!(
        "{path} is open to others (mode {mode:03o}), and it holds tokens: run chmod {good} {path}",
        path = path.display(),
    ))
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata, _: u32, _: &str) -> Result<(), String> {
    Ok(())
}

/// Makes a rename last.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}
