use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use qcc_core::record::RecordSink as _;
use qcc_core::time::{self, Duration};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::*;
use crate::config;
use crate::explain::{samples, tell};
use crate::output::Exit;

/// A store in a folder of its own, whose work is run; the folder is gone with it.
pub(crate) struct Kept {
    pub(crate) store: Store,
    folder: PathBuf,
    work: Option<JoinHandle<()>>,
}

impl Kept {
    pub(crate) async fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("qcc-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self::open(folder).await
    }

    async fn open(folder: PathBuf) -> Self {
        let (store, work) = Store::open(&settings(&folder)).await.unwrap();
        let work = work.map(|work| {
            tokio::spawn(async {
                work.run().await;
            })
        });
        tokio::task::yield_now().await;
        Self {
            store,
            folder,
            work,
        }
    }

    /// The samples, as a proxy keeps them.
    pub(crate) async fn samples() -> Self {
        let kept = Self::new().await;
        let sink = kept.store.sink().unwrap();
        for record in samples::all() {
            sink.finished(Arc::new(record));
        }
        kept.store.flush().await;
        kept
    }

    /// The same file, in another process.
    async fn restart(mut self) -> Self {
        if let Some(work) = self.work.take() {
            work.abort();
            let _ = work.await;
        }
        Self::open(std::mem::take(&mut self.folder)).await
    }

    /// The history over it, with a ring of so many records.
    fn history(&self, ring: usize) -> (Arc<Records>, History) {
        let records = Arc::new(Records::new(NonZeroUsize::new(ring).unwrap()));
        (records.clone(), History::new(records, self.store.clone()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn settings(folder: &std::path::Path) -> config::Store {
    config::Store {
        path: folder.join("qcc.db"),
        // The samples are of long ago.
        retention: Duration::from_secs(u32::MAX.into()),
        ..config::Store::default()
    }
}

fn now() -> Anchor {
    Anchor {
        instant: time::now(),
        date: SystemClock.now().into(),
    }
}

/// Without the dates that were made of instants: those of two moments differ by their distance.
fn without_dates(explanation: &Explanation) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("until");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(explanation).unwrap();
    strip(&mut value);
    value
}

// STO-01, XPL-02, XPL-03
#[tokio::test]
async fn after_a_restart_a_request_is_explained_as_before() {
    let kept = Kept::samples().await.restart().await;
    let (records, history) = kept.history(10);
    assert_eq!(records.len(), 0);
    for record in samples::all() {
        let before = Explanation::of(&record, &now());
        let after = history.find(&before.id, &now()).await.unwrap().unwrap();
        assert_eq!(without_dates(&after), without_dates(&before));
        let date = SystemClock.now().into();
        assert_eq!(tell(&after, date).len(), tell(&before, date).len());
    }
    assert_eq!(history.find("nobody", &now()).await.unwrap(), None);
}

// XPL-03, CLI-22, CLI-24
#[tokio::test]
async fn a_list_goes_on_in_the_store_where_the_ring_ends() {
    let kept = Kept::samples().await.restart().await;
    let (records, history) = kept.history(3);
    let sink = kept.store.sink().unwrap();
    let started = SystemClock.now();
    for number in 0..5_u64 {
        let mut record = samples::nobody();
        record.id = format!("new-{number}").parse().unwrap();
        record.started_at = started + Duration::from_millis(10 * number);
        let record = Arc::new(record);
        records.finished(record.clone());
        sink.finished(record);
    }
    kept.store.flush().await;
    let ids = async |offset, limit| {
        let (page, total) = history.page(offset, limit).await;
        assert_eq!(total, 9);
        page.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let all = ids(0, 100).await;
    assert_eq!(all[..5], ["new-4", "new-3", "new-2", "new-1", "new-0"]);
    assert_eq!(all.len(), 9);
    for (offset, limit) in [(0, 2), (2, 2), (2, 3), (3, 1), (4, 9), (7, 9), (9, 9)] {
        let end = all.len().min(offset + limit);
        assert_eq!(
            ids(offset, limit).await,
            all[offset..end],
            "{offset} {limit}"
        );
    }
}

// STO-07, SEC-02
#[tokio::test]
async fn no_key_and_no_text_of_a_request_is_in_the_file() {
    let kept = Kept::samples().await;
    let mut found = Vec::new();
    for file in std::fs::read_dir(&kept.folder).unwrap() {
        found.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let text = String::from_utf8_lossy(&found);
    assert!(text.contains("qcc-test-1"), "the samples are in it");
    assert!(!text.contains("sk-test"));
}

/// A text that a version kept is never changed here; each form has one of its own.
#[test]
fn what_an_older_version_kept_is_read() {
    for text in [include_str!("kept-1.json"), include_str!("kept-2.json")] {
        let explanation = read(text).unwrap();
        assert_eq!(explanation.id, "qcc-test-1");
        assert_eq!(explanation.attempts, 2);
        assert_eq!(explanation.visits.len(), 2);
        assert_eq!(explanation.visits[1].sends[1].bytes, 18_637);
        assert_eq!(explanation.answered_by.unwrap().name, "relay");
    }
}

// OPS-03, STO-06
#[tokio::test]
async fn a_store_that_cannot_be_opened_is_told_with_its_key_and_file_and_is_gone_without() {
    let folder = Kept::new().await;
    let mut settings = settings(&folder.folder);
    settings.path = folder.folder.join("text.db");
    std::fs::write(&settings.path, "no database").unwrap();
    let (store, work) = Store::open(&settings).await.unwrap();
    assert!(work.is_none());
    let view = store.view(SystemClock.now().into());
    assert_eq!(view.state, "missing");
    assert!(view.reason.unwrap().contains("damaged"));
    assert!(store.sink().is_none() && store.cluster(&"c".into()).is_none());

    settings.required = true;
    let failure = Store::open(&settings).await.err().unwrap();
    assert_eq!(failure.exit, Exit::Failure);
    let file = settings.path.display().to_string();
    for part in [
        "store.path: ",
        &file,
        "damaged",
        "move it away",
        "store.required",
    ] {
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
    let text = std::fs::read_to_string(&settings.path).unwrap();
    assert_eq!(text, "no database");
    settings.enabled = false;
    let (store, _) = Store::open(&settings).await.unwrap();
    assert_eq!(store.view(SystemClock.now().into()).state, "off");
}
