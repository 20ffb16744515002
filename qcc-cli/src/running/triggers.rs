//! When the configuration is read again without being asked: SIGHUP, and a change of its file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use notify::{Event, RecursiveMode, Watcher};
use qcc_core::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::reload::{Cause, Reload};

/// Editors write in several steps. The file is read once nothing has happened to it for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Reloads whenever there is a cause to, for ever.
pub(super) async fn run(reload: Arc<Reload>) {
    let changed = Arc::new(Notify::new());
    // Kept: it watches as long as it lives.
    let _watcher = reload
        .file()
        .and_then(|file| match watch(&file, changed.clone()) {
            Ok(watcher) => {
                // What happened to it between being read and being watched counts, too.
                changed.notify_one();
                Some(watcher)
            }
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "the configuration is not watched; reload it with SIGHUP or `qcc refresh`");
                None
            }
        });
    let mut hangups = match Hangups::new() {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be listened for");
            Hangups::none()
        }
    };
    loop {
        let cause = tokio::select! {
            () = hangups.next() => Cause::Signal,
            () = quiet(&changed) => Cause::File,
        };
        let reload = reload.clone();
        // What became of it is in the log.
        let _ = tokio::task::spawn_blocking(move || reload.reload(cause)).await;
    }
}

/// Waits for a change, and then until there are no more.
async fn quiet(changed: &Notify) {
    changed.notified().await;
    while timeout(QUIET, changed.notified()).await.is_ok() {}
}

/// Tells `changed` when `file` may have changed. Its folder is watched, because editors and
/// deployments put a new file in its place.
fn watch(file: &Path, changed: Arc<Notify>) -> notify::Result<impl Watcher + use<>> {
    let file = std::path::absolute(file)?;
    let folder = file.parent().unwrap_or(&file).to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| concerns(&event, &file)) {
            changed.notify_one();
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn concerns(event: &Event, file: &Path) -> bool {
    // Kubernetes swaps a link of this name to which the files are links.
    let swapped = |path: &Path| path.file_name().is_some_and(|name| name == "..data");
    !event.kind.is_access() && event.paths.iter().any(|path| path == file || swapped(path))
}

#[cfg(unix)]
struct Hangups(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangups {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Some).map(Self)
    }

    const fn none() -> Self {
        Self(None)
    }

    async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    const fn none() -> Self {
        Self
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}
