//! Where a test has its files.

use std::fs;
use std::path::{Path, PathBuf};

/// An empty folder with a name that no other test uses.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A configuration in such a folder.
pub(crate) fn config(name: &str, text: &str) -> PathBuf {
    let path = folder(name).join("qcc.yaml");
    fs::write(&path, text).unwrap();
    path
}
