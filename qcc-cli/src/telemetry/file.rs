//! The log file: JSON, one object a line, readable by its owner only.
//!
//! A file that has grown beyond its limit becomes `NAME.1`, the one before `NAME.2` and so on; the
//! oldest goes. So the room that logs take is bounded, whatever happens.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};

use crate::config::Log;

/// The file of `log`, opened to be appended to.
///
/// # Errors
///
/// It cannot be made or written.
pub(super) fn open(log: &Log) -> io::Result<FileRotate<AppendCount>> {
    if let Some(folder) = log.file.parent() {
        fs::create_dir_all(folder)?;
    }
    // A file that is there already may be open to others.
    owner_only(&options().open(&log.file)?)?;
    let size = usize::try_from(log.max_size).unwrap_or(usize::MAX).max(1);
    Ok(FileRotate::new(
        &log.file,
        AppendCount::new(log.keep as usize),
        // Lines come whole, so none is cut in two.
        ContentLimit::BytesSurpassed(size),
        Compression::None,
        Some(options()),
    ))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn owner_only(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn owner_only(_: &File) -> io::Result<()> {
    Ok(())
}

/// The file and those that it became, the newest first.
pub(crate) fn generations(file: &Path, keep: u32) -> impl Iterator<Item = PathBuf> {
    let older = (1..=keep).map(|number| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    std::iter::once(file.to_owned()).chain(older)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A folder that is gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("qcc-log-{:016x}", rand::random::<u64>());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    // OPS-10, SEC-06
    #[test]
    fn a_file_that_is_full_is_put_aside_and_the_oldest_goes() {
        let folder = Folder::new();
        let log = Log {
            file: folder.0.join("logs/app.log"),
            level: "info",
            max_size: 10,
            keep: 2,
        };
        let mut file = open(&log).unwrap();
        for line in 0..5 {
            file.write_all(format!("line number {line}\n").as_bytes())
                .unwrap();
        }
        drop(file);
        let all: Vec<_> = generations(&log.file, log.keep).collect();
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        let texts: Vec<_> = all.iter().map(text).collect();
        assert_eq!(
            texts,
            ["line number 4\n", "line number 3\n", "line number 2\n"]
        );
        assert_eq!(fs::read_dir(folder.0.join("logs")).unwrap().count(), 3);
        #[cfg(unix)]
        for path in all {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }

    // OPS-10
    #[test]
    fn a_file_that_cannot_be_written_is_an_error_and_no_panic() {
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        let log = Log {
            // A folder is no file.
            file: folder.0.clone(),
            level: "info",
            max_size: 10,
            keep: 2,
        };
        assert!(open(&log).is_err());
    }
}
