//! Takes what waits and writes it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Moment, sleep_until};
use tracing::{debug, error, info};

use super::config::Config;
use super::error::reason;
use super::rows::{self, Figures, Removed, micros};
use super::{Failing, Shared};
use crate::record::Record;
use crate::time::{self, Duration, SystemClock, WallClock as _};

/// So long after a failed attempt follows the next one.
const AGAIN: Duration = Duration::from_secs(1);

/// How often it is looked whether something is too old.
const LOOK: Duration = Duration::from_secs(60);

/// Between two steps of a removal requests are written.
const BREATH: Duration = Duration::from_millis(20);

pub(super) type Describe = Box<dyn Fn(&Record) -> String + Send + Sync>;

/// Told when everything that was there is written, or why not.
type Flushed = oneshot::Sender<Result<(), String>>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    database: SqliteConnection,
    config: Config,
    describe: Describe,
    finished: mpsc::Receiver<Arc<Record>>,
    flushes: mpsc::Receiver<Flushed>,
    /// Out of the queue and not written yet.
    batch: Vec<Arc<Record>>,
    /// When it is written, at the latest.
    due: Option<Moment>,
    removal: Moment,
}

/// Why the writer wakes.
enum Wake {
    Standing,
    Flush(Flushed),
    Removal,
    Records,
    Due,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        database: SqliteConnection,
        config: Config,
        describe: Describe,
        finished: mpsc::Receiver<Arc<Record>>,
        flushes: mpsc::Receiver<Flushed>,
    ) -> Self {
        Self {
            shared,
            database,
            config,
            describe,
            finished,
            flushes,
            batch: Vec::with_capacity(config.batch()),
            due: None,
            removal: now(),
        }
    }

    pub(super) async fn run(mut self) -> Infallible {
        loop {
            match self.wake().await {
                Wake::Standing => {
                    let written = self.write_standings().await;
                    // What failed stays, for another attempt.
                    let _ = self.settle(written);
                }
                Wake::Flush(done) => {
                    // Whoever waits may be gone.
                    let _ = done.send(self.flush().await);
                }
                Wake::Removal => self.remove().await,
                Wake::Records => {
                    self.take();
                    if self.is_full() {
                        let _ = self.write().await;
                    } else if !self.batch.is_empty() {
                        self.due
                            .get_or_insert_with(|| now() + self.config.flush_every());
                    }
                }
                Wake::Due => {
                    self.take();
                    let _ = self.write().await;
                }
            }
        }
    }

    /// Waits for the next thing to do. Of the requests that come until the next write only the
    /// first wakes it, and the one that makes them many.
    async fn wake(&mut self) -> Wake {
        let free = self.config.batch() - self.batch.len();
        tokio::select! {
            biased;
            () = self.shared.changed.notified() => Wake::Standing,
            Some(done) = self.flushes.recv() => Wake::Flush(done),
            () = sleep_until(self.removal) => Wake::Removal,
            () = until(self.due) => Wake::Due,
            () = self.shared.crowded.notified(), if free > 0 => Wake::Records,
            _ = self.finished.recv_many(&mut self.batch, free), if self.due.is_none() => {
                Wake::Records
            }
        }
    }

    /// Takes out of the queue what the batch has room for.
    fn take(&mut self) {
        while !self.is_full()
            && let Ok(record) = self.finished.try_recv()
        {
            self.batch.push(record);
        }
        self.show_held();
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= self.config.batch()
    }

    /// Writes all that waits now.
    async fn flush(&mut self) -> Result<(), String> {
        // Those that come while it is written are for the next time.
        let mut left = self.finished.len() + self.batch.len();
        loop {
            self.take();
            left = left.saturating_sub(self.batch.len());
            self.write().await?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Writes the standings and the batch. If that fails they stay, for another attempt.
    async fn write(&mut self) -> Result<(), String> {
        let mut written = self.write_standings().await;
        if written.is_ok() {
            written = self.write_batch().await;
        }
        self.settle(written)
    }

    async fn write_standings(&mut self) -> Result<(), sqlx::Error> {
        let taken = self.shared.standings().take();
        if taken.is_empty() {
            return Ok(());
        }
        let written = async {
            let mut transaction = self.database.begin_with("BEGIN IMMEDIATE").await?;
            for (key, standing) in &taken {
                let date = SystemClock.now();
                rows::write_standing(&mut transaction, key, standing.as_ref(), date).await?;
            }
            transaction.commit().await
        }
        .await;
        if written.is_err() {
            self.shared.standings().give_back(taken);
        }
        written
    }

    async fn write_batch(&mut self) -> Result<(), sqlx::Error> {
        if self.batch.is_empty() && self.shared.failing().is_none() {
            self.due = None;
            return Ok(());
        }
        // With an empty batch it tells whether writing works again.
        let mut transaction = self.database.begin_with("BEGIN IMMEDIATE").await?;
        rows::write_requests(&mut transaction, &self.batch, &self.describe).await?;
        let mut figures = Figures::default();
        for record in &self.batch {
            figures.add(record);
        }
        figures.write(&mut transaction).await?;
        transaction.commit().await?;
        let count = self.batch.len() as u64;
        self.shared.written.fetch_add(count, Ordering::Relaxed);
        self.shared.requests.fetch_add(count, Ordering::Relaxed);
        self.batch.clear();
        self.due = None;
        self.show_held();
        self.show_size().await?;
        if self.shared.size.load(Ordering::Relaxed) > self.config.max_size() {
            self.removal = self.removal.min(now());
        }
        Ok(())
    }

    /// Removes one step of what is too old or too much.
    async fn remove(&mut self) {
        let removed = self.remove_step().await;
        let more = removed.as_ref().is_ok_and(|removed| removed.is_full());
        self.removal = now() + if more { BREATH } else { LOOK };
        match removed {
            Ok(removed) if removed != Removed::default() => {
                let Removed { requests, figures } = removed;
                debug!(requests, figures, "store: history removed");
            }
            Ok(_) => {}
            Err(error) => {
                let _ = self.settle(Err(error));
            }
        }
    }

    async fn remove_step(&mut self) -> Result<Removed, sqlx::Error> {
        let limit = SystemClock.now().checked_sub(self.config.retention());
        let mut transaction = self.database.begin_with("BEGIN IMMEDIATE").await?;
        let mut removed = match limit {
            Some(limit) => rows::remove_older(&mut transaction, micros(limit)).await?,
            None => Removed::default(),
        };
        if !removed.is_full() && rows::size(&mut transaction).await? > self.config.max_size() {
            let more = rows::remove_oldest(&mut transaction).await?;
            removed.requests += more.requests;
            removed.figures += more.figures;
        }
        transaction.commit().await?;
        self.shared
            .requests
            .fetch_sub(removed.requests, Ordering::Relaxed);
        self.show_size().await?;
        Ok(removed)
    }

    /// Notes and tells, once each time, that writing fails or works again.
    fn settle(&mut self, written: Result<(), sqlx::Error>) -> Result<(), String> {
        match written {
            Ok(()) => {
                let failed = self.shared.failing().take();
                let dropped = self.shared.dropping.swap(false, Ordering::Relaxed);
                if failed.is_some() || dropped {
                    let lost = self.shared.lost.load(Ordering::Relaxed);
                    info!(lost, "store: written again");
                }
                Ok(())
            }
            Err(error) => {
                let reason = reason(&error);
                self.due = Some(now() + AGAIN);
                let mut failing = self.shared.failing();
                if failing.is_none() {
                    error!(%reason, "store: nothing can be written; traffic goes on, it is tried again");
                }
                let since = failing
                    .as_ref()
                    .map_or_else(time::now, |before| before.since);
                *failing = Some(Failing {
                    since,
                    reason: reason.clone(),
                });
                Err(reason)
            }
        }
    }

    fn show_held(&self) {
        let held = self.batch.len() as u64;
        self.shared.held.store(held, Ordering::Relaxed);
    }

    async fn show_size(&mut self) -> Result<(), sqlx::Error> {
        let size = rows::size(&mut self.database).await?;
        self.shared.size.store(size, Ordering::Relaxed);
        Ok(())
    }
}

fn now() -> Moment {
    Moment::from_std(time::now())
}

async fn until(due: Option<Moment>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
