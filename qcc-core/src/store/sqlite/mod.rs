//! A store in one SQLite file.
//!
//! [`Sqlite::open`] gives two things: the store, a handle that layers and listings use, and its
//! [`Work`], which you run. The store never waits for the disk: a finished request goes into a
//! bounded queue, a changed standing into a map. The work takes them from there, writes the log
//! every second or every 1,024 requests, and a standing at once. Where it cannot write, it keeps
//! what it has, tries again every second, and what the queue has no room for meanwhile is dropped
//! and counted: [`Status`].
//!
//! The file is in WAL mode with `synchronous = FULL`: what was written survives a crash of the
//! process and of the machine. It holds no key, no prompt and no answer. What a record looks like
//! in it is up to whoever opens it: a function turns it into text, which comes back as it was.
//!
//! sqlx runs each of the two connections on a thread of its own, because SQLite blocks; they end
//! with the work.

mod config;
mod error;
mod open;
mod reader;
mod rows;
mod standings;
mod writer;

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join;
use sqlx::SqliteConnection;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::warn;

pub use self::config::{Config, InvalidConfig};
pub use self::error::{OpenError, ReadError};
use self::reader::{Ask, Reply};
pub use self::reader::{Bucket, History};
use self::standings::Standings;
use self::writer::Writer;
use crate::endpoint::EndpointId;
use crate::record::{Record, RecordSink};
use crate::standing::{Standing, StateStore};
use crate::time::{Instant, SystemTime};

/// So many questions wait to be answered; the next one waits for its turn.
const QUESTIONS: usize = 64;

/// A store in an SQLite file. A clone is the same store.
#[derive(Clone)]
pub struct Sqlite(Arc<Shared>);

struct Shared {
    records: mpsc::Sender<Arc<Record>>,
    asks: mpsc::Sender<Ask>,
    flushes: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    standings: Mutex<Standings>,
    /// Wakes the writer when a standing changed.
    changed: Notify,
    /// Wakes the writer when so many requests wait.
    crowded: Notify,
    crowd: usize,
    /// Whether somebody runs the work.
    running: AtomicBool,
    /// Whether records are being dropped, so that it is logged once.
    dropping: AtomicBool,
    lost: AtomicU64,
    written: AtomicU64,
    requests: AtomicU64,
    size: AtomicU64,
    /// Taken out of the queue and not written yet.
    held: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

/// How a store does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// How many requests are in the log.
    pub requests: u64,
    /// How many bytes of the file are in use.
    pub size: u64,
    /// How many requests were written since it was opened.
    pub written: u64,
    /// How many finished requests wait to be written.
    pub pending: u64,
    /// How many were dropped since it was opened, because too many waited.
    pub lost: u64,
    /// Why nothing can be written, as long as that is so.
    pub failing: Option<Failing>,
}

/// Why and since when nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failing {
    /// Since when, on the monotonic clock.
    pub since: Instant,
    /// What the database says.
    pub reason: String,
}

impl Sqlite {
    /// Opens the database in `file` and brings it to the newest format. If there is none it is
    /// made, with mode 0600 in a folder with mode 0700. `describe` turns the record of a request
    /// into the text that is kept of it; nothing but that and its figures is.
    ///
    /// # Errors
    ///
    /// It cannot be used. Then nothing of a file that was there is changed, but for steps to a
    /// newer format that were complete.
    ///
    /// # Cancel safety
    ///
    /// A step to a newer format is done as a whole or not at all.
    pub async fn open(
        file: &Path,
        config: Config,
        describe: impl Fn(&Record) -> String + Send + Sync + 'static,
    ) -> Result<(Self, Work), OpenError> {
        let opened = open::open(file, &config).await?;
        let (records, finished) = mpsc::channel(config.queue());
        let (asks, questions) = mpsc::channel(QUESTIONS);
        let (flushes, flush) = mpsc::channel(QUESTIONS);
        let shared = Arc::new(Shared {
            records,
            asks,
            flushes,
            standings: Mutex::new(Standings::of(opened.standings)),
            changed: Notify::new(),
            crowded: Notify::new(),
            crowd: config.crowd(),
            running: AtomicBool::new(false),
            dropping: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
            requests: AtomicU64::new(opened.requests),
            size: AtomicU64::new(opened.size),
            held: AtomicU64::new(0),
            failing: Mutex::new(None),
        });
        let work = Work {
            writer: Writer::new(
                shared.clone(),
                opened.writer,
                config,
                Box::new(describe),
                finished,
                flush,
            ),
            database: opened.reader,
            questions,
            shared: shared.clone(),
        };
        Ok((Self(shared), work))
    }

    /// The store for one cluster: two clusters may share an endpoint, and each has its own
    /// standing of it.
    #[must_use]
    pub fn cluster(&self, name: impl Into<Arc<str>>) -> Arc<dyn StateStore> {
        Arc::new(OfCluster {
            store: self.clone(),
            cluster: name.into(),
        })
    }

    /// How it does. Changes nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.0;
        Status {
            requests: shared.requests.load(Ordering::Relaxed),
            size: shared.size.load(Ordering::Relaxed),
            written: shared.written.load(Ordering::Relaxed),
            pending: shared.held.load(Ordering::Relaxed) + shared.waiting() as u64,
            lost: shared.lost.load(Ordering::Relaxed),
            failing: shared.failing().clone(),
        }
    }

    /// Writes what was handed over so far. Await it before the process ends.
    ///
    /// # Errors
    ///
    /// Nobody runs the [`Work`], or the database cannot be written; then what waits still waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the writing to the work.
    pub async fn flush(&self) -> Result<(), ReadError> {
        let (done, written) = oneshot::channel();
        self.ready()?;
        let sent = self.0.flushes.send(done).await;
        sent.map_err(|_| ReadError::NotReady)?;
        match written.await {
            Ok(written) => written.map_err(ReadError::Failed),
            Err(_) => Err(ReadError::NotReady),
        }
    }

    /// The texts of at most `limit` requests, the one that ended last first, without the first
    /// `skip`; with `before` only of those that ended before that date.
    ///
    /// # Errors
    ///
    /// The store is not ready, or the database cannot be read.
    pub async fn requests(
        &self,
        before: Option<SystemTime>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<String>, ReadError> {
        self.ask(|reply| Ask::Requests {
            before,
            skip,
            limit,
            reply,
        })
        .await
    }

    /// The text of the request with this id; of the last one, if a client used it twice.
    ///
    /// # Errors
    ///
    /// As of [`requests`](Self::requests).
    pub async fn request(&self, id: &str) -> Result<Option<String>, ReadError> {
        let id = id.to_owned();
        self.ask(|reply| Ask::Request { id, reply }).await
    }

    /// The figures of every endpoint since the minute that `since` lies in, by cluster and name.
    ///
    /// # Errors
    ///
    /// As of [`requests`](Self::requests).
    pub async fn history(&self, since: SystemTime) -> Result<Vec<History>, ReadError> {
        self.ask(|reply| Ask::History { since, reply }).await
    }

    /// The same minute by minute, oldest first: at most `limit` of them without the first `skip`,
    /// and how many there are in all; of one endpoint or of all.
    ///
    /// # Errors
    ///
    /// As of [`requests`](Self::requests).
    pub async fn buckets(
        &self,
        since: SystemTime,
        endpoint: Option<EndpointId>,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<Bucket>, usize), ReadError> {
        self.ask(|reply| Ask::Buckets {
            since,
            endpoint,
            skip,
            limit,
            reply,
        })
        .await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.ready()?;
        let sent = self.0.asks.send(ask(reply)).await;
        sent.map_err(|_| ReadError::NotReady)?;
        answer.await.unwrap_or(Err(ReadError::NotReady))
    }

    fn ready(&self) -> Result<(), ReadError> {
        if self.0.running.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(ReadError::NotReady)
        }
    }
}

impl RecordSink for Sqlite {
    fn finished(&self, record: Arc<Record>) {
        let shared = &self.0;
        if shared.records.try_send(record).is_err() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            if !shared.dropping.swap(true, Ordering::Relaxed) {
                let waiting = shared.records.max_capacity();
                warn!(
                    waiting,
                    "store: requests are missing in the history from here on, the database is too slow"
                );
            }
        } else if shared.waiting() >= shared.crowd {
            shared.crowded.notify_one();
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// How many requests are in the queue.
    fn waiting(&self) -> usize {
        self.records.max_capacity() - self.records.capacity()
    }

    fn standings(&self) -> MutexGuard<'_, Standings> {
        // Each critical section is one call that changes a map.
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store as one cluster sees it.
#[derive(Debug)]
struct OfCluster {
    store: Sqlite,
    cluster: Arc<str>,
}

impl StateStore for OfCluster {
    fn load(&self, endpoint: EndpointId) -> Option<Standing> {
        let key = (self.cluster.clone(), endpoint);
        self.store.0.standings().get(&key).cloned()
    }

    fn save(&self, endpoint: EndpointId, standing: &Standing) {
        let key = (self.cluster.clone(), endpoint);
        self.store.0.standings().set(key, standing);
        self.store.0.changed.notify_one();
    }
}

/// What a store needs done: run it as long as the store is used. It writes, removes what is too
/// old or too much, and answers questions.
///
/// # Cancel safety
///
/// What is being written is written as a whole or not at all. What waits is lost: await
/// [`Sqlite::flush`] before you drop it.
pub struct Work {
    writer: Writer,
    database: SqliteConnection,
    questions: mpsc::Receiver<Ask>,
    shared: Arc<Shared>,
}

impl Work {
    /// Does it, for ever.
    pub async fn run(mut self) -> Infallible {
        let _running = Running::new(self.shared);
        let answering = async {
            while let Some(ask) = self.questions.recv().await {
                ask.answer(&mut self.database).await;
            }
            // The store itself holds the other end.
            std::future::pending::<()>().await;
        };
        join(self.writer.run(), answering).await.0
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// Says that the work is run, until it is dropped.
struct Running(Arc<Shared>);

impl Running {
    fn new(shared: Arc<Shared>) -> Self {
        shared.running.store(true, Ordering::Release);
        Self(shared)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}
