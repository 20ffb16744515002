//! When the configuration is read again without being asked: SIGHUP, and a change of its file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use qcc_core::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::reload::{Cause, Reload};

/// Editors write in several steps. The file is read once nothing has happened to it for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Reloads whenever there is a cause to, for ever.
pub(super) async fn run(reload: Arc<Reload>) {
    let changed = Arc::new(Notify::new());
    let file = reload.file();
    let mut watch = None;
    let mut hangups = match Hangups::new() {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be listened for");
            Hangups::none()
        }
    };
    loop {
        if let Some(file) = &file {
            Watch::keep(&mut watch, file, &changed);
        }
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

/// Watches the configuration, as long as it lives.
struct Watch {
    files: Vec<PathBuf>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Has `watch` tell `changed` when `file` may have changed, also if it leads elsewhere now.
    fn keep(watch: &mut Option<Self>, file: &Path, changed: &Arc<Notify>) {
        let files = spellings(file);
        if watch.as_ref().is_some_and(|watch| watch.files == files) {
            return;
        }
        match Self::over(files, changed.clone()) {
            Ok(other) => {
                *watch = Some(other);
                // What happened between being read and being watched counts, too.
                changed.notify_one();
            }
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "the configuration is not watched; reload it with SIGHUP or `qcc refresh`");
            }
        }
    }

    /// Folders are watched, because editors and deployments put a new file in the place of one.
    fn over(files: Vec<PathBuf>, changed: Arc<Notify>) -> notify::Result<Self> {
        let concerned = files.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| concerns(&event, &concerned)) {
                changed.notify_one();
            }
        })?;
        for folder in files.iter().filter_map(|file| file.parent()) {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self {
            files,
            _watcher: watcher,
        })
    }
}

/// The file, and what it is if it is a link.
fn spellings(file: &Path) -> Vec<PathBuf> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let target = std::fs::canonicalize(&file).ok();
    let target = target.filter(|target| *target != file);
    [Some(file), target].into_iter().flatten().collect()
}

/// Whether `event` is about one of `files`: others are written in their folders all the time, the
/// database of the proxy among them.
fn concerns(event: &Event, files: &[PathBuf]) -> bool {
    // Kubernetes swaps a link of this name to which the files are links.
    let swapped = |path: &Path| path.file_name().is_some_and(|name| name == "..data");
    let is_ours = |path: &PathBuf| files.contains(path) || swapped(path);
    // Some events were lost.
    event.need_rescan() || !event.kind.is_access() && event.paths.iter().any(is_ours)
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

#[cfg(test)]
mod tests {
    use notify::EventKind;
    use notify::event::{AccessKind, CreateKind, Flag, ModifyKind, RemoveKind};

    use super::*;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Any);

    fn is_followed(kind: EventKind, paths: &[&str]) -> bool {
        let files = ["/etc/qcc/config.yaml", "/srv/qcc/second.yaml"].map(PathBuf::from);
        let event = paths.iter().fold(Event::new(kind), |event, path| {
            event.add_path(PathBuf::from(path))
        });
        concerns(&event, &files)
    }

    // CFG-07
    #[test]
    fn only_what_happens_to_the_configuration_or_to_its_target_is_followed() {
        for path in [
            "/etc/qcc/config.yaml",
            "/srv/qcc/second.yaml",
            "/etc/qcc/..data",
        ] {
            let made = EventKind::Create(CreateKind::Any);
            for kind in [WRITTEN, made, EventKind::Remove(RemoveKind::Any)] {
                assert!(is_followed(kind, &[path]), "{kind:?} {path}");
            }
            assert!(is_followed(WRITTEN, &["/etc/qcc/.config.swp", path]));
            let read = EventKind::Access(AccessKind::Any);
            assert!(!is_followed(read, &[path]), "{path}");
        }
        for path in [
            "/etc/qcc/qcc.db",
            "/etc/qcc/qcc.db-wal",
            "/etc/qcc/config.yaml.new",
            "/etc/qcc/second.yaml",
            "/etc/qcc",
        ] {
            assert!(!is_followed(WRITTEN, &[path]), "{path}");
        }
    }

    // CFG-07
    #[test]
    fn events_that_were_lost_could_have_been_about_it() {
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(concerns(&lost, &[PathBuf::from("/etc/qcc/config.yaml")]));
        assert!(!is_followed(EventKind::Other, &[]));
    }
}
