//! What people see while the demo runs: a line for everything that matters and, on a terminal,
//! a table below them that is drawn again and again.

use std::io::{self, IsTerminal as _, Write};

use qcc_core::available::Reason;
use qcc_core::breaker::Phase;
use qcc_core::failover::EndpointStatus;
use qcc_core::time::Duration;

use super::cast::CAST;
use super::tally::{Seen, Tally};
use crate::output::{BAD, DIM, GOOD, STRONG, WARN, styled};

/// The longest bar of the table.
const BAR: u64 = 30;

/// Where the demo is shown.
pub(super) struct View {
    out: Box<dyn Write>,
    /// Whether the cursor can be moved.
    live: bool,
    /// How many lines of the table stand below the last line.
    drawn: usize,
}

impl View {
    /// On standard output. The table needs a terminal that takes more than plain text.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let plain = anstream::AutoStream::choice(&stdout) == anstream::ColorChoice::Never;
        let live = stdout.is_terminal() && !plain;
        Self::new(Box::new(anstream::stdout()), live)
    }

    /// Nowhere.
    pub(super) fn hidden() -> Self {
        Self::new(Box::new(io::sink()), false)
    }

    fn new(out: Box<dyn Write>, live: bool) -> Self {
        Self {
            out,
            live,
            drawn: 0,
        }
    }

    /// Prints `text` above the table.
    pub(super) fn print(&mut self, text: &str) {
        let erase = self.erase();
        self.write(&format!("{erase}{text}\n"));
    }

    /// A scene begins, so long after the start.
    pub(super) fn scene(&mut self, at: Duration, title: &str) {
        let at = styled(DIM, format_args!("{:>5.1} s", at.as_secs_f64()));
        self.print(&format!("{at}  {}", styled(STRONG, title)));
    }

    /// Something followed from the scene.
    pub(super) fn follows(&mut self, text: &str) {
        self.print(&format!("         {text}"));
    }

    /// Draws the table, where there can be one.
    pub(super) fn draw(&mut self, tally: &Tally, status: &[EndpointStatus]) {
        if !self.live {
            return;
        }
        let table = table(tally, status);
        let erase = self.erase();
        self.drawn = table.lines().count();
        self.write(&format!("{erase}{table}"));
    }

    /// Takes the table away.
    pub(super) fn clear(&mut self) {
        let erase = self.erase();
        self.write(&erase);
    }

    /// What takes the table away.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        }
    }

    fn write(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes());
        if written.and_then(|()| self.out.flush()).is_err() {
            // Whoever read this has seen enough.
            *self = Self::hidden();
        }
    }
}

/// The table. It fits 80 columns, or a line that wraps would be erased by half.
fn table(tally: &Tally, status: &[EndpointStatus]) -> String {
    let most = CAST.iter().map(|role| tally.answered(role.name)).max();
    let most = most.unwrap_or(0).max(1);
    let head = format!(
        "{:<9} {:<17} {:<37} {:>7}",
        "ENDPOINT", "STATE", "ANSWERED", "FAILED"
    );
    let mut text = format!("\n  {}\n", styled(DIM, head));
    for (role, status) in CAST.iter().zip(status) {
        let (style, state) = state(status);
        let answered = tally.answered(role.name);
        let failed = tally.rows.get(role.name).map_or(0, |row| row.failures());
        let bar = "█".repeat((answered * BAR / most) as usize);
        // Padded before it is styled: escape sequences count as characters.
        let bar = format!("{:<37}", format!("{bar} {answered}"));
        let failed = format!("{failed:>7}");
        text.push_str(&format!(
            "  {} {} {} {}\n",
            styled(STRONG, format_args!("{:<9}", role.name)),
            styled(style, format_args!("{state:<17}")),
            styled(GOOD, bar),
            if failed.trim() == "0" {
                styled(DIM, failed)
            } else {
                styled(BAD, failed)
            },
        ));
    }
    text
}

/// How an endpoint is, in two words.
pub(super) fn state(status: &EndpointStatus) -> (anstyle::Style, String) {
    let left = |left: Option<Duration>| {
        left.map_or_else(String::new, |left| format!(", {:.1} s", left.as_secs_f64()))
    };
    match (status.out, status.breaker.state) {
        (Some((Reason::AuthFailed, _)), _) => (BAD, "key refused".to_owned()),
        (Some((Reason::Cooling, time)), _) => (WARN, format!("cooling{}", left(time))),
        (_, Phase::Open) => (BAD, format!("open{}", left(status.breaker.remaining))),
        (_, Phase::HalfOpen) => (WARN, "half-open".to_owned()),
        (Some((reason, _)), _) => (WARN, reason.to_string()),
        (None, Phase::Closed) => (GOOD, "ok".to_owned()),
    }
}

/// What happened to a request that was saved.
pub(super) fn story(seen: &Seen) -> Option<String> {
    let (failed, answered) = seen.story()?;
    let mut parts: Vec<(String, usize)> = Vec::new();
    for sent in failed {
        let fault = sent.fault.map_or("failed", |fault| fault.label());
        let part = format!("{}: {fault}", sent.endpoint);
        match parts.last_mut() {
            Some((same, count)) if *same == part => *count += 1,
            _ => parts.push((part, 1)),
        }
    }
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(part, count)| match count {
            1 => part,
            count => format!("{part} ({count}x)"),
        })
        .collect();
    let mut text = parts.join(", ");
    if text.chars().count() > 66 {
        text = format!("{} and {} more", parts[0], parts.len() - 1);
    }
    let answered = styled(GOOD, format_args!("{answered} answered"));
    Some(format!("{text} → {answered}"))
}

/// What became of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
    Refused,
    Cooling,
}

impl Change {
    /// What changed from one look at an endpoint to the next.
    pub(super) fn between(before: &EndpointStatus, after: &EndpointStatus) -> Option<Self> {
        let is_closed = |status: &EndpointStatus| status.breaker.state == Phase::Closed;
        let is_cooling = |status: &EndpointStatus| matches!(status.out, Some((Reason::Cooling, _)));
        if after.auth_failed && !before.auth_failed {
            Some(Self::Refused)
        } else if is_closed(before) != is_closed(after) {
            Some(if is_closed(after) {
                Self::Closed
            } else {
                Self::Opened
            })
        } else if is_cooling(after) && !is_cooling(before) {
            Some(Self::Cooling)
        } else {
            None
        }
    }

    /// What people read.
    pub(super) fn describe(self, status: &EndpointStatus) -> String {
        let name = status.endpoint.name();
        let failures = status.breaker.threshold;
        match self {
            Self::Opened => {
                let what = styled(BAD, format_args!("breaker of {name} opens"));
                format!("{what} after {failures} failures in a row")
            }
            Self::Closed => {
                let what = styled(GOOD, format_args!("breaker of {name} closes"));
                format!("{what}: a trial request was answered")
            }
            Self::Refused => {
                let what = styled(BAD, format_args!("{name} is out"));
                format!("{what} after one refusal, until somebody enables it")
            }
            Self::Cooling => {
                let what = styled(WARN, format_args!("{name} rests"));
                format!("{what} for as long as it asked for; its breaker does not count that")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use qcc_core::failure::Kind;

    use super::super::cast::Fault;
    use super::super::tally::{End, Sent};
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Rc<RefCell<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(live: bool) -> String {
        let memory = Memory::default();
        let mut view = View::new(Box::new(memory.clone()), live);
        view.draw(&Tally::new(), &[]);
        view.follows("this");
        view.clear();
        String::from_utf8(memory.0.take()).unwrap()
    }

    // SIM-03
    #[test]
    fn without_a_terminal_there_are_lines_and_nothing_moves_the_cursor() {
        assert_eq!(shown(false), "         this\n");
        assert!(shown(true).contains("\u{1b}[2A\u{1b}[J         this\n"));
    }

    // SIM-03
    #[test]
    fn a_story_names_who_failed_why_and_who_answered() {
        let sent = |endpoint: &str, fault, end| Sent {
            endpoint: endpoint.to_owned(),
            fault,
            end,
        };
        let failed = sent("aurora", Some(Fault::Reset), End::Failed(Kind::Transport));
        let seen = Seen {
            sends: vec![failed.clone(), failed, sent("delta", None, End::Answered)],
            ..Seen::default()
        };
        let story = story(&seen).unwrap();
        let story = anstream::adapter::strip_str(&story).to_string();
        assert_eq!(story, "aurora: connection reset (2x) → delta answered");
    }
}
