//! Tokens that a command prints.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::fetched::Fetched;
use super::words;
use crate::time::Duration;
use crate::token::{NotRefreshed, SourceId};

/// A command that prints more is ended.
const LONGEST: usize = 64 << 10;

/// So much of the end of what it says to people is kept.
const WORDS: usize = 4 << 10;

/// A command that has ended may have left its output open to something that runs on; that is
/// waited for so long.
const CLOSING: Duration = Duration::from_millis(500);

impl Fetched {
    /// Tokens of this name that `program` prints when it is run with `args`. No shell reads them.
    ///
    /// It gets no input, and the directory and the environment of this process. What it prints
    /// may have 64 KiB. On Unix it has a process group of its own; if it takes
    /// [too long](Self::with_timeout), prints too much, or if the refresh is dropped, it is
    /// killed with all of its group. It needs a tokio runtime with I/O enabled.
    ///
    /// # Errors
    ///
    /// A refresh fails [for now](NotRefreshed::for_now) if the command cannot be run, prints too
    /// much, or ends with anything but 0. The text names the program, without its arguments, and
    /// the last line of what it said on the standard error, without anything that could be a
    /// secret.
    pub fn from_command<I>(name: impl Into<Arc<str>>, program: impl Into<OsString>, args: I) -> Self
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let program: OsString = program.into();
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let words = [OsStr::new("command"), &program].into_iter();
        let words = words.chain(args.iter().map(|arg| &**arg));
        let id = SourceId::of(words.map(OsStr::as_encoded_bytes));
        Self::new(name, id, move || run(program.clone(), args.clone()))
    }
}

async fn run(program: OsString, args: Vec<OsString>) -> Result<Bytes, NotRefreshed> {
    let shown = Path::new(&program).display().to_string();
    let failed = |text: String| NotRefreshed::for_now(format!("`{shown}` {text}"));
    let mut running = Running::start(&program, &args).map_err(|error| {
        failed(match error.kind() {
            io::ErrorKind::NotFound => "was not found: install it, or give its path".to_owned(),
            _ => format!("cannot be run: {error}"),
        })
    })?;
    let ended = running.end().await;
    match ended.map_err(|error| failed(format!("cannot be waited for: {error}")))? {
        Ended::TooLong => Err(failed(format!("printed more than {LONGEST} bytes"))),
        Ended::Exited(status) if status.success() => Ok(mem::take(&mut running.printed).into()),
        Ended::Exited(status) => {
            let said = words::last_words(&running.said);
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            Err(failed(format!("ended with {status}{said}")))
        }
    }
}

/// A command that runs. Dropping it kills the command.
struct Running {
    child: Child,
    #[cfg(unix)]
    group: Option<nix::unistd::Pid>,
    printed: Vec<u8>,
    said: Vec<u8>,
}

enum Ended {
    Exited(ExitStatus),
    TooLong,
}

impl Running {
    fn start(program: &OsStr, args: &[OsString]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Self {
            #[cfg(unix)]
            group: child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(nix::unistd::Pid::from_raw),
            child,
            printed: Vec::new(),
            said: Vec::new(),
        })
    }

    /// Reads what it prints until it has ended.
    async fn end(&mut self) -> io::Result<Ended> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let reading = futures_util::future::try_join(
            read(stdout, &mut self.printed, Keep::All),
            read(stderr, &mut self.said, Keep::End),
        );
        let mut reading = std::pin::pin!(reading);
        let exiting = std::pin::pin!(self.child.wait());
        let read = futures_util::future::select(reading.as_mut(), exiting).await;
        let status = match read {
            futures_util::future::Either::Left((Err(TooLong), _)) => return Ok(Ended::TooLong),
            futures_util::future::Either::Left((Ok(_), exiting)) => exiting.await?,
            futures_util::future::Either::Right((status, _)) => {
                let status = status?;
                match tokio::time::timeout(CLOSING, reading).await {
                    Ok(Err(TooLong)) => return Ok(Ended::TooLong),
                    Ok(Ok(_)) | Err(_) => status,
                }
            }
        };
        // Whatever it has left running was meant to run on.
        #[cfg(unix)]
        self.group.take();
        Ok(Ended::Exited(status))
    }
}

#[cfg(unix)]
impl Drop for Running {
    fn drop(&mut self) {
        // The child is not reaped before this, so the number is still that of its group.
        if let Some(group) = self.group {
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::SIGKILL);
        }
    }
}

/// What of an output is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    End,
}

struct TooLong;

/// Reads to the end. An output that cannot be read has ended.
async fn read<R>(from: Option<R>, to: &mut Vec<u8>, keep: Keep) -> Result<(), TooLong>
where
    R: AsyncRead + Unpin,
{
    let Some(mut from) = from else {
        return Ok(());
    };
    while from.read_buf(to).await.is_ok_and(|read| read > 0) {
        match keep {
            Keep::All if to.len() > LONGEST => return Err(TooLong),
            Keep::End if to.len() > 2 * WORDS => {
                to.drain(..to.len() - WORDS);
            }
            Keep::All | Keep::End => {}
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::process;

    use super::*;
    use crate::time;
    use crate::token::{Held, TokenSource as _};

    fn shell(script: &str) -> Fetched {
        Fetched::from_command("last", "sh", ["-c", script])
    }

    async fn refreshed(source: &Fetched) -> Result<String, String> {
        let result = source.refresh().unwrap().await;
        result.map_err(|error| {
            assert!(!error.is_permanent());
            error.to_string()
        })?;
        match source.held(time::now()) {
            Held::Fresh(held) => Ok(held.expose().to_owned()),
            Held::Stale(_) => panic!("it is fresh"),
        }
    }

    // TOK-02
    #[tokio::test]
    async fn a_command_prints_a_token_or_json() {
        let bare = shell("echo sk-test-1");
        assert_eq!(refreshed(&bare).await.unwrap(), "sk-test-1");
        assert_eq!(bare.lifetime(), None);
        let json = shell(r#"echo '{"token":"sk-test-2","expires_in":600}'"#);
        assert_eq!(refreshed(&json).await.unwrap(), "sk-test-2");
        let life = json.lifetime().unwrap();
        assert_eq!(life.expires - life.since, Duration::from_secs(600));
    }

    #[tokio::test]
    async fn it_gets_no_input_and_no_shell_reads_its_arguments() {
        let source = Fetched::from_command(
            "last",
            "sh",
            ["-c", "cat; printf %s \"$1\"", "sh", "$HOME;x"],
        );
        assert_eq!(refreshed(&source).await.unwrap(), "$HOME;x");
    }

    // SEC-01, SEC-02
    #[tokio::test]
    async fn a_command_that_fails_is_named_with_its_last_words_and_no_secret() {
        let source =
            shell("echo first >&2; echo \"no login for 0123456789abcdefghij\" >&2; exit 3");
        assert_eq!(
            refreshed(&source).await.unwrap_err(),
            "`sh` ended with exit status: 3: no login for [redacted]"
        );
        assert_eq!(
            refreshed(&shell("kill -9 $$")).await.unwrap_err(),
            "`sh` ended with signal: 9 (SIGKILL)"
        );
        let missing = Fetched::from_command("last", "/none/get-token", ["sk-test-1"]);
        assert_eq!(
            refreshed(&missing).await.unwrap_err(),
            "`/none/get-token` was not found: install it, or give its path"
        );
    }

    #[tokio::test]
    async fn a_command_without_end_of_output_is_ended() {
        let error = refreshed(&shell("yes")).await.unwrap_err();
        assert_eq!(error, "`sh` printed more than 65536 bytes");
        let chatty = shell("yes | head -c 1000000 >&2; echo sk-test-1");
        assert_eq!(refreshed(&chatty).await.unwrap(), "sk-test-1");
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_is_not_waited_for() {
        let source = shell("sleep 600 & echo sk-test-$!");
        let token = refreshed(&source).await.unwrap();
        let left = token.strip_prefix("sk-test-").unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL)
            .unwrap();
    }

    #[tokio::test]
    async fn a_refresh_that_is_dropped_kills_the_command_with_all_that_it_began() {
        let pipe = std::env::temp_dir().join(format!("qcc-command-{}", process::id()));
        let make = process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(make.success());
        let source = shell(&format!("sleep 600 > {} & wait", pipe.display()));
        let refresh = tokio::spawn(source.refresh().unwrap());
        let path = pipe.clone();
        // Open as soon as somebody else has it open to write.
        let mut end = tokio::task::spawn_blocking(move || File::open(path))
            .await
            .unwrap()
            .unwrap();
        refresh.abort();
        assert!(refresh.await.unwrap_err().is_cancelled());
        let mut written = String::new();
        let read = tokio::task::spawn_blocking(move || end.read_to_string(&mut written));
        assert_eq!(
            read.await.unwrap().unwrap(),
            0,
            "nobody has it open to write any more"
        );
        std::fs::remove_file(pipe).unwrap();
    }

    #[test]
    fn another_argument_is_another_source() {
        let of = |args: &[&str]| Fetched::from_command("last", "sh", args.iter().copied()).id();
        assert!(of(&["a", "b"]) != of(&["ab"]));
        assert!(of(&["a", "b"]) == of(&["a", "b"]));
    }
}
