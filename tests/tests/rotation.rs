//! Processes that refresh one token: killed at every point that matters, and two at once.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const CUT_OFF: &str =
    "trouble a refresh was under way when the process ended; if it is refused now, log in again";

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("qcc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An issuer with one login, which answers when the test says so.
struct Issuer {
    listener: TcpListener,
    /// The refresh token that is good.
    good: String,
    rotations: usize,
}

/// A refresh that waits for its answer.
struct Asked {
    stream: TcpStream,
    used: String,
}

impl Issuer {
    fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            good: "sk-test-r1".into(),
            rotations: 0,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/token", self.listener.local_addr().unwrap())
    }

    /// The next refresh.
    fn asked(&self) -> Asked {
        let (mut stream, _) = self.listener.accept().unwrap();
        let mut read = Vec::new();
        let body = loop {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the whole request comes");
            read.extend_from_slice(&piece[..length]);
            let text = String::from_utf8(read.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                break body.to_owned();
            }
        };
        let used = body.strip_prefix("grant_type=refresh_token&refresh_token=");
        let used = used.unwrap().to_owned();
        Asked { stream, used }
    }

    /// Answers: whoever has the good refresh token gets another one and an access token.
    fn answer(&mut self, asked: Asked) {
        let Asked { mut stream, used } = asked;
        let (status, body) = if used == self.good {
            self.rotations += 1;
            let (access, next) = (self.rotations, self.rotations + 1);
            self.good = format!("sk-test-r{next}");
            let body = format!(
                r#"{{"access_token":"sk-test-a{access}","refresh_token":"{}","expires_in":3600}}"#,
                self.good
            );
            ("200 OK", body)
        } else {
            ("400 Bad Request", r#"{"error":"invalid_grant"}"#.to_owned())
        };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
    }

    /// Fails if a refresh is waiting.
    fn assert_silent(&self) {
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "nobody refreshes");
        self.listener.set_nonblocking(false).unwrap();
    }
}

/// A process that refreshes. It is killed, as by SIGKILL, when it is dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    read: VecDeque<String>,
}

impl Process {
    fn start(directory: &Path, issuer: &Issuer) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_refresher"))
            .arg(directory)
            .arg(issuer.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            read: VecDeque::new(),
        }
    }

    /// What it says next.
    fn says(&mut self) -> String {
        let line = self.read.pop_front();
        line.unwrap_or_else(|| self.output.next().unwrap().unwrap())
    }

    /// Lets it touch a file.
    fn go_on(&mut self) {
        assert_eq!(self.says(), "file");
        writeln!(self.input, "go on").unwrap();
    }

    /// Lets it touch files until it says something else.
    fn says_at_last(&mut self) -> String {
        loop {
            match self.says() {
                line if line == "file" => {
                    self.read.push_front(line);
                    self.go_on();
                }
                line => return line,
            }
        }
    }

    /// Lets it touch files until it asks the issuer.
    fn asks(&mut self, issuer: &Issuer) -> Asked {
        // Opened the lock, taken it, read what there is, marked it.
        for _ in 0..4 {
            self.go_on();
        }
        issuer.asked()
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_says(process: &mut Process, lines: &[&str]) {
    for line in lines {
        assert_eq!(process.says_at_last(), *line);
    }
}

// TOK-26
#[test]
fn a_process_that_is_killed_before_the_answer_loses_nothing() {
    let (directory, mut issuer) = (Directory::new("before"), Issuer::new());
    let mut process = Process::start(&directory.0, &issuer);
    assert_says(&mut process, &["holds nothing", "trouble none"]);
    let asked = process.asks(&issuer);
    process.kill();
    // It was never answered, and so never rotated.
    drop(asked);

    let mut next = Process::start(&directory.0, &issuer);
    assert_says(&mut next, &["holds nothing", CUT_OFF]);
    let asked = next.asks(&issuer);
    assert_eq!(asked.used, "sk-test-r1");
    issuer.answer(asked);
    assert_says(&mut next, &["ok", "holds sk-test-a1", "trouble none"]);
}

// TOK-26
#[test]
fn a_process_that_is_killed_between_answer_and_file_says_what_to_do_when_it_is_back() {
    let (directory, mut issuer) = (Directory::new("between"), Issuer::new());
    let mut process = Process::start(&directory.0, &issuer);
    assert_says(&mut process, &["holds nothing", "trouble none"]);
    let asked = process.asks(&issuer);
    issuer.answer(asked);
    // It has the answer and is about to write it.
    assert_eq!(process.says(), "file");
    process.kill();

    let mut next = Process::start(&directory.0, &issuer);
    assert_says(&mut next, &["holds nothing", CUT_OFF]);
    let asked = next.asks(&issuer);
    assert_eq!(asked.used, "sk-test-r1", "it has no other");
    issuer.answer(asked);
    assert_says(
        &mut next,
        &[
            "error 127.0.0.1 refused the refresh token (400 invalid_grant): log in again and put \
             the new refresh token in its place; the answer of an earlier refresh was lost, which \
             may be why",
            "holds nothing",
            CUT_OFF,
        ],
    );
}

// TOK-09, TOK-26
#[test]
fn a_process_that_is_killed_after_the_file_is_written_loses_nothing() {
    let (directory, mut issuer) = (Directory::new("after"), Issuer::new());
    let mut process = Process::start(&directory.0, &issuer);
    assert_says(&mut process, &["holds nothing", "trouble none"]);
    let asked = process.asks(&issuer);
    issuer.answer(asked);
    process.go_on();
    assert_says(&mut process, &["ok", "holds sk-test-a1", "trouble none"]);
    process.kill();

    let mut next = Process::start(&directory.0, &issuer);
    assert_says(&mut next, &["holds sk-test-a1", "trouble none"]);
    issuer.assert_silent();
    let asked = next.asks(&issuer);
    assert_eq!(asked.used, "sk-test-r2");
    issuer.answer(asked);
    assert_says(&mut next, &["ok", "holds sk-test-a2", "trouble none"]);
}

// TOK-24
#[test]
fn two_processes_that_share_a_directory_make_one_refresh() {
    let (directory, mut issuer) = (Directory::new("shared"), Issuer::new());
    let mut first = Process::start(&directory.0, &issuer);
    assert_says(&mut first, &["holds nothing", "trouble none"]);
    let asked = first.asks(&issuer);

    let mut second = Process::start(&directory.0, &issuer);
    assert_says(&mut second, &["holds nothing", "trouble none"]);
    // It opens the lock, tries to take it, and again.
    for _ in 0..3 {
        second.go_on();
    }
    issuer.assert_silent();
    issuer.answer(asked);
    for process in [&mut first, &mut second] {
        assert_says(process, &["ok", "holds sk-test-a1", "trouble none"]);
    }
    issuer.assert_silent();
    assert_eq!(issuer.rotations, 1);
}

// SEC-06
#[cfg(unix)]
#[test]
fn directory_and_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let (directory, mut issuer) = (Directory::new("modes"), Issuer::new());
    let mut process = Process::start(&directory.0, &issuer);
    assert_says(&mut process, &["holds nothing", "trouble none"]);
    let asked = process.asks(&issuer);
    issuer.answer(asked);
    assert_eq!(process.says_at_last(), "ok");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.0), 0o700);
    let files: Vec<_> = fs::read_dir(&directory.0)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(files.len(), 2, "the login and its lock");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{:?}", file.path());
        let name = file.file_name().into_string().unwrap();
        assert!(!name.contains("sk-test"), "{name}");
    }
}
