//! The store of the binary: what a kill, a lock and a full disk cost.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use qcc_core::time::Instant;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::folder::folder;
use crate::process::run;
use crate::proxy::{Proxy, serve};
use crate::simulator::Simulator;

/// How often the log is written, as it is documented.
const FLUSH: Duration = Duration::from_secs(1);

/// And how long the writing itself may take on a machine that does much else.
const WRITING: Duration = Duration::from_secs(1);

fn now() -> Instant {
    qcc_core::time::now()
}

/// A simulated upstream, and a configuration with one endpoint of it and a store.
struct World {
    _simulator: Simulator,
    file: PathBuf,
    config: PathBuf,
}

impl World {
    fn new(name: &str, behaviour: &str, store: &str) -> Self {
        let folder = folder(&format!("store-{name}"));
        let simulator = Simulator::start(&[("a", behaviour)]);
        let (config, file) = (folder.join("qcc.yaml"), folder.join("kept/qcc.db"));
        fs::write(
            &config,
            format!(
                "warm_up: off\nstore: {{ path: '{}'{store} }}\nclusters: {{ c: {{ kind: anthropic, \
                 retry: {{ attempts: 1 }}, endpoints: [{{ name: a, base_url: 'http://{}/a', \
                 api_key: sk-test-0001 }}] }} }}\n",
                file.display(),
                simulator.address
            ),
        )
        .unwrap();
        Self {
            _simulator: simulator,
            file,
            config,
        }
    }

    /// Serves with it, and tells no more than warnings.
    fn serve(&self) -> Command {
        let mut command = serve(&self.config, 0);
        command.args(["--log", "warn"]);
        command
    }

    fn start(&self) -> Proxy {
        Proxy::start(&mut self.serve())
    }

    /// Serves with a store that is required: the exit code, and what it says.
    fn require(&self) -> (i32, String) {
        let required = fs::read_to_string(&self.config)
            .unwrap()
            .replace(".db' }", ".db', required: true }");
        fs::write(&self.config, required).unwrap();
        let args = ["serve", "--config", self.config.to_str().unwrap()];
        let (code, _, stderr) = run(&args, &[("HOME", "/nope")]);
        (code, stderr)
    }
}

impl Proxy {
    fn endpoint(&self) -> Value {
        self.json(&["endpoint", "list"])[0].clone()
    }

    fn store(&self) -> Value {
        self.json(&["store", "status"])
    }

    /// The ids of all requests of which there is history, the last one first.
    fn requests(&self) -> Vec<String> {
        let all = self.json(&["requests", "--last", "1000000"]);
        let id = |request: &Value| request["id"].as_str().unwrap().to_owned();
        all.as_array().unwrap().iter().map(id).collect()
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    fn ask(&self, id: &str) -> u16 {
        self.client().ask(id).unwrap()
    }
}

/// A client with one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    /// The status of an answer that came to its end; `None` if the proxy was gone before.
    fn ask(&mut self, id: &str) -> Option<u16> {
        let body = "{\"model\":\"claude-x\",\"max_tokens\":9,\"messages\":[]}";
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: h\r\nx-request-id: {id}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let (mut status, mut length) = (0, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = Some(rest.parse().unwrap());
            }
            if line.is_empty() {
                break;
            }
        }
        if let Some(length) = length {
            self.0.read_exact(&mut vec![0; length]).ok()?;
            return Some(status);
        }
        // In chunks.
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            self.0.read_exact(&mut vec![0; size + 2]).ok()?;
            if size == 0 {
                return Some(status);
            }
        }
    }
}

/// Asks on two connections for `time`, then does `end`. What was answered, and when.
fn load(
    proxy: &mut Proxy,
    name: &str,
    time: Duration,
    end: impl FnOnce(&mut Proxy),
) -> Vec<(String, Instant)> {
    let answered = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let clients = [proxy.client(), proxy.client()];
    thread::scope(|scope| {
        for (number, mut client) in clients.into_iter().enumerate() {
            let (answered, stop) = (&answered, &stop);
            scope.spawn(move || {
                for count in 0.. {
                    let id = format!("{name}-{number}-{count}");
                    match client.ask(&id) {
                        Some(status) => assert_eq!(status, 200, "{id}"),
                        None => break,
                    }
                    answered.lock().unwrap().push((id, now()));
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Slower than the machine, as clients are.
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        thread::sleep(time);
        end(proxy);
        stop.store(true, Ordering::Relaxed);
    });
    answered.into_inner().unwrap()
}

// STO-01, STO-05, OPS-06
#[test]
fn twenty_kills_under_load_lose_what_was_not_written_and_nothing_else() {
    let opened = AtomicUsize::new(0);
    thread::scope(|scope| {
        for lane in 0..5 {
            let opened = &opened;
            scope.spawn(move || {
                let world = World::new(&format!("kill-{lane}"), "ok", ", required: true");
                let mut clients_saw = HashSet::new();
                let mut known = HashSet::new();
                for round in 0..4 {
                    let mut proxy = world.start();
                    let mut killed = now();
                    let time = FLUSH + WRITING + Duration::from_millis(700);
                    let name = format!("r{lane}-{round}");
                    let answered = load(&mut proxy, &name, time, |proxy| {
                        killed = now();
                        proxy.process.kill();
                    });
                    assert!(answered.len() > 50, "{}", answered.len());

                    let next = world.start();
                    opened.fetch_add(1, Ordering::Relaxed);
                    let logged = next.requests();
                    let before = known.len();
                    known = logged.iter().cloned().collect::<HashSet<_>>();
                    assert_eq!(known.len(), logged.len(), "nothing is logged twice");
                    assert!(known.len() > before);
                    for (id, at) in &answered {
                        let old = killed.saturating_duration_since(*at) > FLUSH + WRITING;
                        assert!(!old || known.contains(id), "{id} is missing");
                    }
                    clients_saw.extend(answered.into_iter().map(|(id, _)| id));
                    // One request on each connection may have been answered and not seen.
                    let unseen = known.difference(&clients_saw).count();
                    assert!(unseen <= 2 * (round + 1), "{unseen}");
                    let figures = next.json(&["metrics", "show"]);
                    assert_eq!(figures[0]["requests"], known.len(), "log and figures agree");
                }
            });
        }
    });
    assert_eq!(opened.into_inner(), 20);
}

// SEL-15, SEL-14, SEL-13
#[test]
fn a_refused_endpoint_is_out_after_a_kill_until_it_is_enabled() {
    let world = World::new("refused", "slow:700ms,1ms @2 status:401 @3 ok", "");
    let mut proxy = world.start();
    let mut slow = proxy.client();
    thread::scope(|scope| {
        let slow = scope.spawn(move || slow.ask("slow"));
        while proxy.endpoint()["current_load"] == 0 {
            thread::yield_now();
        }
        assert_ne!(proxy.ask("refused"), 200);
        assert!(!slow.is_finished());
        assert_eq!(slow.join().unwrap(), Some(200), "an old success");
    });
    let before = proxy.endpoint();
    assert_eq!(before["auth_failed"], true, "{before}");
    proxy.process.kill();

    let mut proxy = world.start();
    let after = proxy.endpoint();
    assert_eq!(after["auth_failed"], true, "{after}");
    assert_eq!(after["enabled"], false);
    assert_eq!(after["out"]["reason"], "auth_failed");
    assert_eq!(after["last_failure"]["status"], 401);
    assert_eq!(after["last_failure"]["request_id"], "refused");
    let second =
        |endpoint: &Value| endpoint["last_failure"]["at"].as_str().unwrap()[..17].to_owned();
    assert_eq!(second(&after), second(&before), "to the minute");
    until("it waits in the queue", || {
        proxy.endpoint()["queued"] == true
    });
    assert_eq!(proxy.ask("early"), 503);
    proxy.process.log_until("as before the restart");
    let (code, _, stderr) = proxy.run(&["endpoint", "enable", "a"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(proxy.ask("next"), 200);
    proxy.process.kill();
    let mut proxy = world.start();
    assert_eq!(proxy.endpoint()["enabled"], true);
    assert_eq!(proxy.ask("after"), 200);
    // What an operator switches survives as well.
    assert_eq!(proxy.run(&["endpoint", "disable", "a"]).0, 0);
    proxy.process.kill();
    let proxy = world.start();
    assert_eq!(proxy.endpoint()["out"]["reason"], "disabled");
}

/// Waits for something that happens within seconds.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = now();
    while !happened() {
        assert!(now() - begun < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

// STO-05
#[test]
fn while_another_program_locks_the_file_no_request_fails_and_the_loss_is_shown() {
    let world = World::new("locked", "ok", "");
    let mut proxy = world.start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut holder: SqliteConnection = runtime
        .block_on(SqliteConnectOptions::new().filename(&world.file).connect())
        .unwrap();
    let mut lock = |sql: &'static str| {
        runtime
            .block_on(sqlx::raw_sql(sql).execute(&mut holder))
            .unwrap();
    };
    lock("BEGIN EXCLUSIVE");
    let mut shown = Value::Null;
    let answered = load(&mut proxy, "locked", Duration::from_secs(10), |proxy| {
        shown = proxy.store();
    });
    assert_eq!(shown["state"], "failing", "{shown}");
    assert!(
        shown["reason"].as_str().unwrap().contains("locked"),
        "{shown}"
    );
    assert!(shown["pending"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(shown["written"], 0);
    assert!(proxy.endpoint()["total"].as_u64().unwrap() >= answered.len() as u64);
    lock("ROLLBACK");
    until("it is written again", || proxy.store()["state"] == "open");
    until("each is written or counted as lost", || {
        let store = proxy.store();
        let [written, lost] = ["written", "lost"].map(|field| store[field].as_u64().unwrap());
        assert!(written + lost <= answered.len() as u64, "{store}");
        written + lost == answered.len() as u64
    });
    let (_, log) = proxy.process.terminate();
    assert_eq!(log.matches("nothing can be written").count(), 1, "{log}");
}

// STO-05
#[test]
fn on_a_full_disk_no_request_fails_and_the_loss_is_shown() {
    let world = World::new("full", "ok", "");
    let serve = world.serve();
    // Files may not grow beyond some hundred KiB, and trying to is an error and no signal.
    let script = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let mut shell = Command::new("/bin/sh");
    shell
        .env_clear()
        .env("HOME", "/nope")
        .args(["-c", script, "sh"]);
    shell.arg(serve.get_program()).args(serve.get_args());
    let mut proxy = Proxy::start(&mut shell);
    let mut shown = Value::Null;
    let mut answered = load(&mut proxy, "full", Duration::from_secs(1), |proxy| {
        until("the disk is full", || proxy.store()["state"] == "failing");
        shown = proxy.store();
    });
    assert!(shown["pending"].as_u64().unwrap() > 0, "{shown}");
    assert!(
        shown["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{shown}"
    );
    answered.extend(load(&mut proxy, "later", Duration::from_secs(1), |_| {}));
    let store = proxy.store();
    let count = |field: &str| store[field].as_u64().unwrap();
    let all = count("written") + count("pending") + count("lost");
    assert_eq!(all, answered.len() as u64, "{store}");
    proxy.process.log_until("nothing can be written");
}

// STO-06
#[test]
fn a_second_proxy_on_the_same_file_says_so_and_leaves_the_history_to_the_first() {
    let world = World::new("twice", "ok", "");
    let mut first = world.start();
    let second = world.start();
    let log = second.process.log_until("without history");
    let file = world.file.display().to_string();
    for part in ["store.path", &file, "another qcc proxy", "without history"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!((first.ask("one"), second.ask("two")), (200, 200));
    assert_eq!(first.requests(), ["one"]);
    assert_eq!(second.requests(), ["two"], "as far as it remembers");
    assert_eq!(first.store()["state"], "open");
    let store = second.store();
    assert_eq!(store["state"], "missing");
    assert_eq!(store["reason"], "is in use by another qcc proxy");

    let (code, stderr) = world.require();
    assert_eq!(code, 1, "{stderr}");
    for part in ["store.path", &file, "another qcc proxy", "store.required"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }

    // However the first one ends, the file is free.
    first.process.kill();
    assert_eq!(world.start().store()["state"], "open");
}

// STO-06, OPS-03
#[test]
fn a_damaged_file_is_told_with_its_key_and_left_as_it_is() {
    let world = World::new("damaged", "ok", "");
    fs::create_dir_all(world.file.parent().unwrap()).unwrap();
    fs::write(&world.file, "no database").unwrap();
    let proxy = world.start();
    assert_eq!(proxy.ask("one"), 200);
    assert_eq!(proxy.store()["state"], "missing");
    assert_eq!(proxy.requests(), ["one"]);
    let (code, _, stderr) = proxy.run(&["metrics", "export"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("runs without history"), "{stderr}");
    let log = proxy.process.log_until("going on without history");
    let file = world.file.display().to_string();
    assert!(log.contains("store.path") && log.contains(&file), "{log}");
    drop(proxy);
    let (code, stderr) = world.require();
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("store.path") && stderr.contains("store.required"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(&world.file).unwrap(), "no database");
}
