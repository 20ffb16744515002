//! One way to run the binary to its end, and one to start it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A key, as it is in an environment.
pub(crate) const KEY: (&str, &str) = ("ANTHROPIC_API_KEY", "sk-test-0001-abcd");

/// How long a line of a log may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, with nothing of the environment of its test.
pub(crate) fn qcc(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("qcc"));
    command.env_clear().args(args);
    command
}

/// Runs it to its end: its exit code, and what it printed on stdout and stderr.
pub(crate) fn run(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = qcc(args).envs(variables.iter().copied()).output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    (status.code().unwrap(), stdout, stderr)
}

/// A process of the binary that ends with its test.
pub(crate) struct Qcc {
    child: Child,
    log: Mutex<Log>,
    /// What it printed first: a JSON document, or a line.
    pub(crate) first: String,
}

/// The lines of a log, of which so many are told.
struct Log {
    coming: Receiver<String>,
    lines: Vec<String>,
    told: usize,
}

impl Qcc {
    /// Starts it, and waits until it says that it is there.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, coming) = mpsc::channel();
        // Somebody has to read, or a full pipe would hold it up.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut first = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            first.push_str(&line);
            if !first.starts_with('{') || line == "}" {
                break;
            }
        }
        let log = Log {
            coming,
            lines: Vec::new(),
            told: 0,
        };
        Self {
            child,
            log: Mutex::new(log),
            first,
        }
    }

    /// All that it has logged so far.
    pub(crate) fn log(&self) -> String {
        let mut log = self.log.lock().unwrap();
        let Log { coming, lines, .. } = &mut *log;
        lines.extend(coming.try_iter());
        lines.join("\n")
    }

    /// Its log from where the last call ended to a line that holds `text`.
    pub(crate) fn log_until(&self, text: &str) -> String {
        let mut log = self.log.lock().unwrap();
        let begin = log.told;
        loop {
            if log.told == log.lines.len() {
                let line = log.coming.recv_timeout(PATIENCE);
                let line = line.unwrap_or_else(|_| panic!("no {text} in {:#?}", log.lines));
                log.lines.push(line);
            }
            log.told += 1;
            if log.lines[log.told - 1].contains(text) {
                return log.lines[begin..log.told].join("\n");
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Asks it to stop, and waits: its exit code, and all that it logged.
    pub(crate) fn terminate(&mut self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        let code = self.child.wait().unwrap().code();
        let log = self.log.get_mut().unwrap();
        log.lines.extend(log.coming.iter());
        (code, log.lines.join("\n"))
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qcc {
    fn drop(&mut self) {
        self.kill();
    }
}
