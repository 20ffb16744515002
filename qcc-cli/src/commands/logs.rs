//! `qcc logs`: the log file, filtered, and as it grows.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anstyle::Style;
use qcc_core::time::Duration;
use serde_json::Value;

use crate::cli::Global;
use crate::config::{self, Environment, LEVELS, Log};
use crate::output::{BAD, DIM, Exit, Failure, STRONG, WARN, styled};
use crate::telemetry::generations;

/// How often a file that is followed is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The options of `logs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Go on with what is logged from now on, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long = "last", value_name = "N", default_value_t = 20)]
    last: usize,
    /// Only lines of this level or worse
    #[arg(long, value_name = "LEVEL", value_parser = LEVELS)]
    level: Option<String>,
    /// Only lines with `error` in them, in any case
    #[arg(long)]
    error: bool,
    /// Only lines of this user: the name of a client key
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only lines of this request
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

/// Runs the command.
pub(super) fn run(
    args: &Args,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let config = config::load(global.config.as_deref(), environment)?;
    let log = configured(config.log.as_ref())?;
    let mut stream = anstream::stdout().lock();
    match show(args, log, global.json, &mut stream) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => Err(unreadable(&log.file, &error)),
        Ok(()) => Ok(Exit::Success),
    }
}

fn configured(log: Option<&Log>) -> Result<&Log, Failure> {
    let message = "no log file is configured: the proxy logs to its standard error only\n  \
                   add log: { file: ~/.qcc/logs/app.log } to the configuration and start the \
                   proxy again";
    log.ok_or_else(|| Failure::new(Exit::Config, message))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    let file = file.display();
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no log yet: {file} does not exist\n  \
             `qcc serve` writes it; see that it was started with this configuration"
        ),
        _ => format!("the log {file} cannot be read: {error}"),
    };
    Failure::new(Exit::Failure, message)
}

fn show(args: &Args, log: &Log, json: bool, stream: &mut dyn Write) -> io::Result<()> {
    // Opened first: what is logged while the past is shown is not missed.
    let mut tail = Tail::open(&log.file)?;
    for line in last(args, log)? {
        write(&line, json, stream)?;
    }
    stream.flush()?;
    if !args.follow {
        return Ok(());
    }
    loop {
        thread::sleep(LOOK_AGAIN);
        for line in tail.more()? {
            if is_wanted(args, &line) {
                write(&line, json, stream)?;
            }
        }
        stream.flush()?;
    }
}

/// The last lines that are wanted, oldest first, of the file and those that it became.
fn last(args: &Args, log: &Log) -> io::Result<VecDeque<String>> {
    let mut found = VecDeque::new();
    for (age, path) in generations(&log.file, log.keep).enumerate() {
        let room = args.last - found.len();
        if room == 0 {
            break;
        }
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && age > 0 => break,
            file => file?,
        };
        let mut of_file = VecDeque::new();
        for line in BufReader::new(file).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if is_wanted(args, &line) {
                if of_file.len() == room {
                    of_file.pop_front();
                }
                of_file.push_back(line);
            }
        }
        of_file.extend(found);
        found = of_file;
    }
    Ok(found)
}

/// A file whose end is read again and again, also when another one takes its place.
struct Tail {
    path: PathBuf,
    file: File,
    /// A line whose end has not come.
    begun: Vec<u8>,
}

impl Tail {
    /// Begins at the end of what is there.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            begun: Vec::new(),
        })
    }

    /// The lines that came since.
    fn more(&mut self) -> io::Result<Vec<String>> {
        // Looked for first: what is put aside is read to its end before the new one is.
        let next = match File::open(&self.path) {
            Ok(file) if !same(&file, &self.file)? => Some(file),
            Ok(_) => None,
            // It is being put aside at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.file.read_to_end(&mut self.begun)?;
        if let Some(file) = next {
            self.file = file;
            self.file.read_to_end(&mut self.begun)?;
        }
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole else {
            return Ok(Vec::new());
        };
        let lines: Vec<_> = self.begun.drain(..=end).collect();
        let lines = String::from_utf8_lossy(&lines);
        Ok(lines.lines().map(str::to_owned).collect())
    }
}

#[cfg(unix)]
fn same(one: &File, other: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Where files have no identity, one that is shorter than what was read is another one.
#[cfg(not(unix))]
fn same(one: &File, other: &File) -> io::Result<bool> {
    let mut other = other;
    let read = io::Seek::stream_position(&mut other)?;
    Ok(one.metadata()?.len() >= read)
}

fn is_wanted(args: &Args, line: &str) -> bool {
    if line.is_empty() || args.error && !contains_error(line) {
        return false;
    }
    if args.level.is_none() && args.user.is_none() && args.request.is_none() {
        return true;
    }
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return false;
    };
    let is = |key: &str, wanted: &Option<String>| match wanted {
        Some(wanted) => entry[key].as_str() == Some(wanted),
        None => true,
    };
    let rank = |level: &str| {
        let mut levels = LEVELS.iter();
        levels.position(|known| known.eq_ignore_ascii_case(level))
    };
    let bad_enough = args
        .level
        .as_deref()
        .is_none_or(|most| rank(entry["level"].as_str().unwrap_or_default()) <= rank(most));
    bad_enough && is("user_id", &args.user) && is("request_id", &args.request)
}

fn contains_error(line: &str) -> bool {
    let (line, word) = (line.as_bytes(), b"error");
    line.windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word))
}

fn write(line: &str, json: bool, stream: &mut dyn Write) -> io::Result<()> {
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(entry)) if !json => writeln!(stream, "{}", told(&entry)),
        _ => writeln!(stream, "{line}"),
    }
}

/// A line as a person reads it: when, how bad, which module, what, and the rest as `key=value`.
fn told(entry: &serde_json::Map<String, Value>) -> String {
    let text = |key: &str| plain(entry.get(key).and_then(Value::as_str).unwrap_or_default());
    let level = text("level");
    let style = match &*level {
        "ERROR" => BAD,
        "WARN" => WARN,
        _ => Style::new(),
    };
    let mut told = format!(
        "{} {} {} {}",
        styled(DIM, text("timestamp")),
        styled(style, format_args!("{level:>5}")),
        styled(DIM, format_args!("{}:", text("target"))),
        styled(STRONG, text("message")),
    );
    for (key, value) in entry {
        if matches!(&**key, "timestamp" | "level" | "target" | "message") {
            continue;
        }
        let _ = match value {
            Value::String(text) => write!(told, " {key}={}", plain(text)),
            other => write!(told, " {key}={other}"),
        };
    }
    told
}

/// `text` without what could move the cursor: a client chose a part of it.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anstream::adapter::strip_str;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("qcc-logs-{:016x}", rand::random::<u64>());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn log(&self) -> Log {
            Log {
                file: self.0.join("app.log"),
                level: "info",
                max_size: 1 << 20,
                keep: 2,
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn line(level: &str, message: &str, request: &str, user: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-01-31T08:03:20Z","level":"{level}","message":"{message}","request_id":"{request}","user_id":"{user}","target":"qcc::request"}}"#
        )
    }

    fn append(file: &Path, line: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    fn shown(args: &Args, log: &Log, json: bool) -> Vec<String> {
        let mut text = Vec::new();
        show(args, log, json, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let text = strip_str(&text).to_string();
        text.lines().map(str::to_owned).collect()
    }

    // CLI-21, OPS-11
    #[test]
    fn lines_are_filtered_by_error_level_user_and_request() {
        let (folder, all) = (
            Folder::new(),
            Args {
                last: 20,
                ..Args::default()
            },
        );
        let log = folder.log();
        for (level, message, request, user) in [
            ("INFO", "answered", "req-1", "laptop"),
            ("WARN", "an Error of somebody", "req-2", "laptop"),
            ("ERROR", "disabled", "req-3", "server"),
            ("INFO", "answered", "req-3", "server"),
        ] {
            append(&log.file, &(line(level, message, request, user) + "\n"));
        }
        assert_eq!(shown(&all, &log, false).len(), 4);
        let with = |change: &dyn Fn(&mut Args)| {
            let mut args = all.clone();
            change(&mut args);
            shown(&args, &log, false)
        };
        let errors = with(&|args| args.error = true);
        assert_eq!(errors.len(), 2, "{errors:#?}");
        let warnings = with(&|args| args.level = Some("warn".to_owned()));
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        let laptop = with(&|args| args.user = Some("laptop".to_owned()));
        assert_eq!(laptop.len(), 2, "{laptop:#?}");
        let both = with(&|args| {
            args.request = Some("req-3".to_owned());
            args.error = true;
        });
        assert_eq!(
            both,
            ["2026-01-31T08:03:20Z ERROR qcc::request: disabled request_id=req-3 user_id=server"]
        );
        let none = with(&|args| args.user = Some("lap".to_owned()));
        assert!(none.is_empty(), "a part of a name is no name");
        let raw = shown(&all, &log, true);
        assert_eq!(raw[0], line("INFO", "answered", "req-1", "laptop"));
    }

    // CLI-21
    #[test]
    fn the_last_lines_are_found_in_files_that_were_put_aside_too() {
        let folder = Folder::new();
        let log = folder.log();
        let files: Vec<_> = generations(&log.file, 2).collect();
        for (file, lines) in files.iter().zip([["e", "f"], ["c", "d"], ["a", "b"]]) {
            for text in lines {
                append(file, &(line("INFO", text, "r", "u") + "\n"));
            }
        }
        let args = |last| Args {
            last,
            ..Args::default()
        };
        let messages = |last| {
            let lines = shown(&args(last), &log, true);
            let message = |line: &String| {
                let entry: Value = serde_json::from_str(line).unwrap();
                entry["message"].as_str().unwrap().to_owned()
            };
            lines.iter().map(message).collect::<String>()
        };
        assert_eq!(messages(1), "f");
        assert_eq!(messages(3), "def");
        assert_eq!(messages(20), "abcdef");
        assert_eq!(messages(0), "");
    }

    // CLI-21
    #[test]
    fn a_log_is_followed_line_by_line_into_the_file_that_takes_its_place() {
        let folder = Folder::new();
        let log = folder.log();
        append(&log.file, "old\n");
        let mut tail = Tail::open(&log.file).unwrap();
        assert!(tail.more().unwrap().is_empty());
        append(&log.file, "one\ntw");
        assert_eq!(tail.more().unwrap(), ["one"]);
        append(&log.file, "o\nthree\n");
        fs::rename(&log.file, folder.0.join("app.log.1")).unwrap();
        append(&log.file, "four\n");
        assert_eq!(tail.more().unwrap(), ["two", "three", "four"]);
        assert!(tail.more().unwrap().is_empty());
    }

    // CLI-21
    #[test]
    fn without_a_log_file_it_says_what_to_do() {
        let failure = configured(None).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains("log: { file:"), "{failure}");
        let folder = Folder::new();
        let log = folder.log();
        let error = show(&Args::default(), &log, false, &mut Vec::new()).unwrap_err();
        let failure = unreadable(&log.file, &error);
        assert!(failure.message.contains("qcc serve"), "{failure}");
    }

    #[test]
    fn what_a_client_chose_moves_no_cursor() {
        let entry = serde_json::json!({ "message": "a\u{1b}[2J\nb", "model": "c\u{9b}2J" });
        let told = strip_str(&told(entry.as_object().unwrap())).to_string();
        assert!(told.ends_with("a [2J b model=c 2J"), "{told:?}");
    }
}
