//! The store of the binary: what a kill, a lock and a full disk cost.

#![cfg(unix)]

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use qcc_core::time::Instant;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

/// How often the log is written, as it is documented.
const FLUSH: Duration = Duration::from_secs(1);

/// And how long the writing itself may take on a machine that does much else.
const WRITING: Duration = Duration::from_secs(1);

fn now() -> Instant {
    qcc_core::time::now()
}

fn qcc(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("qcc"));
    command.env_clear().env("HOME", "/nope").args(args);
    command
}

/// A process that ends with its test.
struct Process(Child);

impl Process {
    /// Kills it, and waits until it is gone.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A simulated upstream, and a configuration with one endpoint of it and a store.
struct World {
    _simulator: Process,
    folder: PathBuf,
    config: PathBuf,
}

impl World {
    fn new(name: &str, behaviour: &str, store: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let endpoint = format!("a={behaviour}");
        let mut simulator = qcc(&["simulate", "--port", "0", "--endpoint", &endpoint])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let stdout = simulator.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut first).unwrap();
        let upstream = first.trim().strip_prefix("listening on ").unwrap();
        let config = folder.join("qcc.yaml");
        let file = folder.join("kept/qcc.db");
        fs::write(
            &config,
            format!(
                "warm_up: off\nstore: {{ path: '{}'{store} }}\nclusters: {{ c: {{ kind: anthropic, \
                 retry: {{ attempts: 1 }}, endpoints: [{{ name: a, base_url: '{upstream}/a', \
                 api_key: sk-test-0001 }}] }} }}\n",
                file.display()
            ),
        )
        .unwrap();
        Self {
            _simulator: Process(simulator),
            folder,
            config,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("kept/qcc.db")
    }

    fn start(&self) -> Proxy {
        self.start_as(&[cargo_bin("qcc").to_str().unwrap()])
    }

    /// A proxy that `program` becomes with the arguments of one.
    fn start_as(&self, program: &[&str]) -> Proxy {
        let mut child = Command::new(program[0])
            .env_clear()
            .envs([("HOME", "/nope"), ("PATH", "/usr/bin:/bin")])
            .args(&program[1..])
            .args(["serve", "--json", "--port", "0", "--admin-port", "0"])
            .args(["--log", "warn", "--config", self.config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let started: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", self.log()));
        Proxy {
            process: Process(child),
            address: started["listen"].as_str().unwrap().parse().unwrap(),
            admin: format!("http://{}", started["admin"].as_str().unwrap()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Proxy {
    process: Process,
    address: SocketAddr,
    admin: String,
}

impl Proxy {
    /// What a command prints.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = qcc(args).args(["--admin", &self.admin]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        let text = String::from_utf8(output.stdout).unwrap() + &stderr;
        (output.status.code().unwrap(), text)
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, text) = self.run(&[args, &["--json"]].concat());
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

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
    until("it is told", || {
        world.log().contains("as before the restart")
    });
    let (code, text) = proxy.run(&["endpoint", "enable", "a"]);
    assert_eq!(code, 0, "{text}");
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
        .block_on(SqliteConnectOptions::new().filename(world.file()).connect())
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
    let log = world.log();
    assert_eq!(log.matches("nothing can be written").count(), 1, "{log}");
}

// STO-05
#[test]
fn on_a_full_disk_no_request_fails_and_the_loss_is_shown() {
    let world = World::new("full", "ok", "");
    let binary = cargo_bin("qcc");
    // Files may not grow beyond some hundred KiB, and trying to is an error and no signal.
    let script = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let program = ["/bin/sh", "-c", script, "sh", binary.to_str().unwrap()];
    let mut proxy = world.start_as(&program);
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
    assert!(
        world.log().contains("nothing can be written"),
        "{}",
        world.log()
    );
}

// STO-06
#[test]
fn a_second_proxy_on_the_same_file_says_so_and_leaves_the_history_to_the_first() {
    let world = World::new("twice", "ok", "");
    let mut first = world.start();
    let second = world.start();
    let log = world.log();
    let file = world.file().display().to_string();
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

    let required = fs::read_to_string(&world.config)
        .unwrap()
        .replace(".db' }", ".db', required: true }");
    fs::write(&world.config, required).unwrap();
    let output = qcc(&["serve", "--config", world.config.to_str().unwrap()])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
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
    fs::create_dir_all(world.file().parent().unwrap()).unwrap();
    fs::write(world.file(), "no database").unwrap();
    let proxy = world.start();
    assert_eq!(proxy.ask("one"), 200);
    assert_eq!(proxy.store()["state"], "missing");
    assert_eq!(proxy.requests(), ["one"]);
    let (code, text) = proxy.run(&["metrics", "export"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("runs without history"), "{text}");
    let log = world.log();
    let file = world.file().display().to_string();
    assert!(log.contains("store.path") && log.contains(&file), "{log}");
    assert!(log.contains("going on without history"), "{log}");
    drop(proxy);
    let required = fs::read_to_string(&world.config)
        .unwrap()
        .replace(".db' }", ".db', required: true }");
    fs::write(&world.config, required).unwrap();
    let output = qcc(&["serve", "--config", world.config.to_str().unwrap()])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("store.path") && stderr.contains("store.required"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(world.file()).unwrap(), "no database");
}
