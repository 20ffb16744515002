//! The store in an SQLite file: what survives, what is lost and counted, and what is refused.

#![cfg(feature = "sqlite")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use qcc_core::endpoint::{Endpoint, EndpointId};
use qcc_core::exchange::SendKind;
use qcc_core::record::{Answer, Record, RecordSink as _, SendRecord, SendResult, VisitRecord};
use qcc_core::store::{Config, OpenError, ReadError, Refusal, Sqlite, Standing, Work};
use qcc_core::time::{SystemClock, SystemTime, WallClock as _};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::task::JoinHandle;

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "store-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("inner/qcc.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A store whose work is run.
struct Open {
    store: Sqlite,
    work: JoinHandle<()>,
}

impl Open {
    async fn new(file: &Path) -> Self {
        Self::with(file, Config::default()).await
    }

    async fn with(file: &Path, config: Config) -> Self {
        let (store, work) = open(file, config).await.unwrap();
        let work = tokio::spawn(async {
            work.run().await;
        });
        tokio::task::yield_now().await;
        Self { store, work }
    }

    /// As a process ends that is killed: nothing more is written.
    async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
    }
}

async fn open(file: &Path, config: Config) -> Result<(Sqlite, Work), OpenError> {
    let describe = |record: &Record| format!("{{\"id\":\"{}\"}}", record.id);
    Sqlite::open(file, config, describe).await
}

/// A request that ended `age` ago, answered by the endpoint `name`.
fn record(id: &str, name: &str, age: Duration) -> Arc<Record> {
    let took = Duration::from_millis(40);
    let started = SystemClock.now() - age - took;
    let mut record = Record::new(id.parse().unwrap(), started);
    record.cluster = Some("claude".into());
    let mut visit = VisitRecord::new(Duration::ZERO);
    let base = format!("https://{name}.example").parse().unwrap();
    visit.endpoint = Some(Arc::new(Endpoint::new(name, base)));
    let mut send = SendRecord::new(SendKind::First, Duration::ZERO);
    send.result = SendResult::Clean;
    visit.sends.push(send);
    record.visits.push(visit);
    record.committed = Some(Duration::from_millis(30));
    record.duration = took;
    record.answer = Answer::Relayed {
        status: StatusCode::OK,
    };
    Arc::new(record)
}

fn document(id: &str) -> String {
    format!("{{\"id\":\"{id}\"}}")
}

fn day_ago() -> SystemTime {
    SystemClock.now() - Duration::from_secs(86_400)
}

fn id() -> EndpointId {
    EndpointId::new("https://one.example", "sk-test-0001")
}

/// The database as any other program sees it.
async fn raw(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn run(database: &mut SqliteConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(database)
        .await
        .unwrap();
}

// STO-01, STO-03, XPL-03
#[tokio::test]
async fn after_a_restart_the_history_can_be_queried() {
    let folder = Folder::new();
    let first = Open::new(&folder.file()).await;
    for (number, name) in ["a", "b", "a"].into_iter().enumerate() {
        let age = Duration::from_secs(3 - number as u64);
        first
            .store
            .finished(record(&format!("r{number}"), name, age));
    }
    first.store.flush().await.unwrap();
    first.kill().await;

    let second = Open::new(&folder.file()).await;
    let store = &second.store;
    assert_eq!(store.status().requests, 3);
    let all = store.requests(None, 0, 10).await.unwrap();
    assert_eq!(all, ["r2", "r1", "r0"].map(document));
    assert_eq!(store.requests(None, 1, 1).await.unwrap(), [document("r1")]);
    let two_seconds_ago = SystemClock.now() - Duration::from_millis(1_500);
    let older = store.requests(Some(two_seconds_ago), 0, 10).await.unwrap();
    assert_eq!(older, ["r1", "r0"].map(document));
    assert_eq!(store.request("r1").await.unwrap(), Some(document("r1")));
    assert_eq!(store.request("none").await.unwrap(), None);

    let history = store.history(day_ago()).await.unwrap();
    let [a, b] = &history[..] else {
        panic!("{history:?}")
    };
    assert_eq!(
        (&*a.cluster, &*a.name, a.totals.requests),
        ("claude", "a", 2)
    );
    assert_eq!(b.totals.requests, 1);
    assert_eq!(a.totals.latency_average(), Some(Duration::from_millis(30)));
    assert_eq!(a.totals.success_rate(), Some(100.0));
    let (buckets, total) = store.buckets(day_ago(), None, 0, 100).await.unwrap();
    assert_eq!(buckets.len(), total);
    let counted: u64 = buckets.iter().map(|one| one.history.totals.requests).sum();
    assert_eq!(counted, 3);
    assert!(
        store
            .history(SystemClock.now() + Duration::from_secs(99))
            .await
            .unwrap()
            .is_empty()
    );
}

// STO-03
#[tokio::test]
async fn figures_of_one_minute_that_are_written_apart_are_one_row() {
    let folder = Folder::new();
    let open = Open::new(&folder.file()).await;
    for number in 0..3 {
        // Long enough ago that all lie in the same minute, however the clock stands.
        let mut record = Record::clone(&record(&format!("r{number}"), "a", Duration::ZERO));
        record.started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        record.committed = Some(Duration::from_millis(10 * (number + 1)));
        open.store.finished(Arc::new(record));
        open.store.flush().await.unwrap();
    }
    let since = SystemTime::UNIX_EPOCH;
    let (rows, total) = open.store.buckets(since, None, 0, 10).await.unwrap();
    assert_eq!((rows.len(), total), (1, 1));
    let totals = rows[0].history.totals;
    assert_eq!((totals.requests, totals.timed), (3, 3));
    assert_eq!(totals.latency_min, Some(Duration::from_millis(10)));
    assert_eq!(totals.latency_max, Some(Duration::from_millis(30)));
    assert_eq!(totals.latency_average(), Some(Duration::from_millis(20)));
}

// SEL-15
#[tokio::test]
async fn a_standing_is_written_at_once_and_the_clusters_keep_theirs_apart() {
    let folder = Folder::new();
    let first = Open::new(&folder.file()).await;
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
    let refusal = Refusal::new(
        since,
        Some(StatusCode::UNAUTHORIZED),
        "req-1".parse().unwrap(),
    );
    let refused = Standing::new(true, true).with_refusal(refusal);
    first.store.cluster("claude").save(id(), &refused);
    first
        .store
        .cluster("other")
        .save(id(), &Standing::new(false, true));
    first
        .store
        .cluster("gone")
        .save(id(), &Standing::new(false, true));
    first
        .store
        .cluster("gone")
        .save(id(), &Standing::new(true, true));
    // Nobody flushes, and the log is far from due.
    let mut database = raw(&folder.file()).await;
    loop {
        let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM endpoint_state")
            .fetch_one(&mut database)
            .await
            .unwrap();
        if rows == 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    first.kill().await;
    // Read before anything is run.
    let (second, _work) = open(&folder.file(), Config::default()).await.unwrap();
    assert_eq!(second.cluster("claude").load(id()), Some(refused));
    assert_eq!(
        second.cluster("other").load(id()),
        Some(Standing::new(false, true))
    );
    assert_eq!(second.cluster("gone").load(id()), None);
}

// OPS-02
#[tokio::test]
async fn whoever_asks_before_it_runs_or_after_gets_a_typed_error() {
    let folder = Folder::new();
    let (store, work) = open(&folder.file(), Config::default()).await.unwrap();
    store.finished(record("early", "a", Duration::ZERO));
    assert_eq!(store.requests(None, 0, 1).await, Err(ReadError::NotReady));
    assert_eq!(store.flush().await, Err(ReadError::NotReady));
    let running = tokio::spawn(async {
        work.run().await;
    });
    tokio::task::yield_now().await;
    store.flush().await.unwrap();
    assert_eq!(
        store.requests(None, 0, 1).await.unwrap(),
        [document("early")]
    );
    running.abort();
    let _ = running.await;
    assert_eq!(store.request("early").await, Err(ReadError::NotReady));
}

// STO-07, SEC-02
#[cfg(unix)]
#[tokio::test]
async fn file_and_folder_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let open = Open::new(&folder.file()).await;
    open.store.finished(record("one", "a", Duration::ZERO));
    open.store.flush().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let inner = folder.0.join("inner");
    assert_eq!(mode(&inner), 0o700);
    let files: Vec<_> = fs::read_dir(inner)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert!(files.len() > 1, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

// OPS-04
#[tokio::test]
async fn steps_to_the_newest_format_are_done_once() {
    let folder = Folder::new();
    for round in 1..4 {
        let open = Open::new(&folder.file()).await;
        open.store
            .finished(record(&format!("r{round}"), "a", Duration::ZERO));
        open.store.flush().await.unwrap();
        assert_eq!(open.store.status().requests, round);
        open.kill().await;
    }
}

// OPS-04
#[tokio::test]
async fn a_database_of_every_older_version_is_brought_to_the_newest_format() {
    let fixtures = [
        ("1", include_str!("fixtures/store-1.sql")),
        ("2", include_str!("fixtures/store-2.sql")),
    ];
    for (version, dump) in fixtures {
        let folder = Folder::new();
        fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
        let mut database = raw(&folder.file()).await;
        run(&mut database, dump.to_owned()).await;
        database.close().await.unwrap();
        let open = Open::new(&folder.file()).await;
        let store = &open.store;
        let kept = store.cluster("claude").load(id()).unwrap();
        assert!(kept.wanted && kept.configured, "{version}");
        let refusal = kept.refused.unwrap();
        assert_eq!(refusal.status, Some(StatusCode::UNAUTHORIZED), "{version}");
        assert_eq!(refusal.request.to_string(), "req-1", "{version}");
        assert_eq!(
            store.request("r1").await.unwrap(),
            Some(document("r1")),
            "{version}"
        );
        let history = store.history(SystemTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(history[0].totals.requests, 2, "{version}");
    }
}

// STO-06, OPS-03, OPS-04
#[tokio::test]
async fn what_is_damaged_foreign_newer_or_out_of_reach_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let file = folder.file();
    let refused = async |what: &str| {
        let before = fs::read(&file).ok();
        let error = open(&file, Config::default()).await.unwrap_err();
        assert_eq!(fs::read(&file).ok(), before, "{what}");
        error
    };
    fs::create_dir_all(file.parent().unwrap()).unwrap();

    fs::write(&file, "listen: 127.0.0.1:7860\n").unwrap();
    let error = refused("a text").await;
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");

    fs::remove_file(&file).unwrap();
    let mut other = raw(&file).await;
    run(
        &mut other,
        "CREATE TABLE moz_places (id INTEGER)".to_owned(),
    )
    .await;
    other.close().await.unwrap();
    assert_eq!(refused("another program").await, OpenError::Foreign);

    fs::remove_file(&file).unwrap();
    let ours = Open::new(&file).await;
    for number in 0..200 {
        ours.store
            .finished(record(&format!("r{number}"), "a", Duration::ZERO));
    }
    ours.store.flush().await.unwrap();
    ours.kill().await;
    let mut database = raw(&file).await;
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)".to_owned()).await;
    run(
        &mut database,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', 1, x'00', 0); PRAGMA wal_checkpoint(TRUNCATE)"
            .to_owned(),
    )
    .await;
    database.close().await.unwrap();
    let error = refused("newer").await;
    assert_eq!(
        error,
        OpenError::Newer {
            found: 99,
            known: 2
        }
    );
    assert!(error.to_string().contains("newer version"), "{error}");

    // The middle of it is overwritten.
    let mut bytes = fs::read(&file).unwrap();
    let (from, to) = (bytes.len() / 4, bytes.len() / 2);
    bytes[from..to].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    let mut database = raw(&file).await;
    run(
        &mut database,
        "DELETE FROM _sqlx_migrations WHERE version = 99".to_owned(),
    )
    .await;
    let _ = database.close().await;
    let error = refused("damaged").await;
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");

    // A folder in the place of the file.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = open(&file, Config::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable(_)), "{error}");
}

/// Holds the database for itself.
async fn lock(file: &Path) -> SqliteConnection {
    let mut database = raw(file).await;
    run(&mut database, "BEGIN EXCLUSIVE".to_owned()).await;
    database
}

fn impatient() -> Config {
    Config::default().with_patience(Duration::from_millis(20))
}

// STO-06
#[tokio::test]
async fn a_database_that_somebody_holds_is_told_as_locked() {
    let folder = Folder::new();
    Open::new(&folder.file()).await.kill().await;
    let mut holder = raw(&folder.file()).await;
    // The threads of the store that was killed close its connections when they come to it.
    let alone = "PRAGMA journal_mode = DELETE";
    while sqlx::raw_sql(alone).execute(&mut holder).await.is_err() {
        tokio::task::yield_now().await;
    }
    run(&mut holder, "BEGIN EXCLUSIVE".to_owned()).await;
    let error = open(&folder.file(), impatient()).await.unwrap_err();
    assert_eq!(error, OpenError::Locked);
}

// STO-05
#[tokio::test]
async fn while_it_cannot_be_written_nobody_waits_and_what_is_lost_is_counted() {
    let folder = Folder::new();
    let room = NonZeroUsize::new(10).unwrap();
    let config = impatient()
        .with_queue(room)
        .with_flush(Duration::from_millis(1), room)
        .unwrap();
    let open = Open::with(&folder.file(), config).await;
    let store = &open.store;
    let holder = lock(&folder.file()).await;
    store
        .cluster("claude")
        .save(id(), &Standing::new(false, true));
    for number in 0..100 {
        store.finished(record(&format!("r{number}"), "a", Duration::ZERO));
        tokio::task::yield_now().await;
    }
    let reason = store.flush().await.unwrap_err();
    assert!(reason.to_string().contains("locked"), "{reason}");
    let status = store.status();
    assert_eq!(status.written, 0);
    assert!(status.failing.unwrap().reason.contains("locked"));
    assert_eq!(status.pending + status.lost, 100);
    assert!(status.lost >= 80, "{}", status.lost);

    drop(holder);
    while store.flush().await.is_err() {
        tokio::task::yield_now().await;
    }
    let after = store.status();
    assert_eq!((after.failing, after.pending), (None, 0));
    assert_eq!(after.written + after.lost, 100);
    let logged = store.requests(None, 0, 1_000).await.unwrap();
    assert_eq!(logged.len() as u64, after.written);
    open.kill().await;
    let (again, _work) = self::open(&folder.file(), config).await.unwrap();
    let kept = again.cluster("claude").load(id());
    assert_eq!(
        kept,
        Some(Standing::new(false, true)),
        "a standing is never lost"
    );
}

// STO-05
#[tokio::test]
async fn a_batch_that_is_full_is_written_before_its_time() {
    let folder = Folder::new();
    let [batch, queue] = [64, 128].map(|count| NonZeroUsize::new(count).unwrap());
    let config = Config::default()
        .with_queue(queue)
        .with_flush(Duration::from_secs(86_400), batch)
        .unwrap();
    let open = Open::with(&folder.file(), config).await;
    let store = &open.store;
    store.finished(record("first", "a", Duration::ZERO));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // The writer has had its look at the queue and waits for its time.
    for number in 0..batch.get() {
        store.finished(record(&format!("r{number}"), "a", Duration::ZERO));
    }
    while store.status().written == 0 {
        tokio::task::yield_now().await;
    }
    let status = store.status();
    assert_eq!((status.written, status.pending, status.lost), (64, 1, 0));
}

// XPL-02
#[tokio::test]
async fn of_an_id_that_was_used_twice_the_request_that_ended_last_is_found() {
    let folder = Folder::new();
    let describe = |record: &Record| record.duration.as_millis().to_string();
    let (store, work) = Sqlite::open(&folder.file(), Config::default(), describe)
        .await
        .unwrap();
    let work = tokio::spawn(async {
        work.run().await;
    });
    tokio::task::yield_now().await;
    for took in [2, 3, 1] {
        let mut record = Record::clone(&record("same", "a", Duration::ZERO));
        record.started_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        record.duration = Duration::from_millis(took);
        store.finished(Arc::new(record));
    }
    store.flush().await.unwrap();
    assert_eq!(store.request("same").await.unwrap().as_deref(), Some("3"));
    work.abort();
}

// STO-04
#[tokio::test]
async fn what_is_too_old_is_removed_step_by_step() {
    let folder = Folder::new();
    let day = Duration::from_secs(86_400);
    let config = Config::default().with_retention(day).unwrap();
    let first = Open::new(&folder.file()).await;
    for number in 0..1_200 {
        first
            .store
            .finished(record(&format!("old{number}"), "old", 2 * day));
        if number % 256 == 0 {
            first.store.flush().await.unwrap();
        }
    }
    first.store.finished(record("young", "young", day / 2));
    first.store.flush().await.unwrap();
    first.kill().await;

    let second = Open::with(&folder.file(), config).await;
    while second.store.status().requests > 1 {
        // Requests are written between the steps.
        second.store.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let left = second.store.requests(None, 0, 10).await.unwrap();
    assert_eq!(left, [document("young")]);
    let history = second.store.history(SystemTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].name, "young");
}

// STO-04
#[tokio::test]
async fn the_size_is_bounded_and_the_oldest_go_first() {
    let folder = Folder::new();
    let config = Config::default().with_max_size(Config::LEAST_SIZE).unwrap();
    let large = |record: &Record| format!("{}{}", record.id, " ".repeat(8 << 10));
    let (store, work) = Sqlite::open(&folder.file(), config, large).await.unwrap();
    let work = tokio::spawn(async {
        work.run().await;
    });
    tokio::task::yield_now().await;
    for number in 0..1_000 {
        store.finished(record(
            &format!("r{number:04}"),
            "a",
            Duration::from_secs(2_000 - number),
        ));
        if number % 100 == 99 {
            store.flush().await.unwrap();
        }
    }
    while store.status().size > Config::LEAST_SIZE {
        store.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let left = store.requests(None, 0, 1_000).await.unwrap();
    assert!(!left.is_empty() && left.len() < 200, "{}", left.len());
    assert!(left[0].starts_with("r0999"), "{}", left[0].trim());
    work.abort();
}

#[test]
fn settings_that_keep_nothing_are_refused() {
    let config = Config::default();
    assert!(config.with_retention(Duration::from_secs(59)).is_err());
    assert!(config.with_max_size(Config::LEAST_SIZE - 1).is_err());
    let batch = NonZeroUsize::MIN;
    assert!(config.with_flush(Duration::ZERO, batch).is_err());
}
