//! What the demo has shown, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use qcc_core::failover::EndpointStatus;
use qcc_core::time::Duration;
use serde::Serialize;

use super::cast::CAST;
use super::client::{Heard, TEXT};
use super::tally::{Row, Tally};
use super::traffic::Served;
use super::view::state;
use crate::output::{Align, BAD, Cell, DIM, GOOD, STRONG, Table, WARN, styled};

/// So many failures of clients are shown.
const SHOWN_FAILURES: usize = 5;

/// The summary.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every client got what it asked for, and the one after the commit point the truth.
    pub(super) ok: bool,
    pub(super) seconds: f64,
    pub(super) requests: Requests,
    /// The kinds of fault that requests met, and how often.
    pub(super) faults: Vec<FaultCount>,
    pub(super) endpoints: Vec<EndpointReport>,
    pub(super) sessions: Sessions,
    /// One more request, which is not among `requests`.
    pub(super) after_commit: AfterCommit,
    /// The id of the request that met the most failures.
    pub(super) hardest: Option<String>,
    /// What stays up afterwards, and where.
    pub(super) listening: Option<Listening>,
}

/// Where everything listens.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Listening {
    pub(super) proxy: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) simulator: SocketAddr,
}

/// What the clients got.
#[derive(Debug, Serialize)]
pub(super) struct Requests {
    pub(super) total: u64,
    pub(super) streamed: u64,
    pub(super) succeeded: u64,
    /// Why clients were not content.
    pub(super) failures: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct FaultCount {
    pub(super) name: &'static str,
    pub(super) count: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct EndpointReport {
    name: &'static str,
    /// What was sent there.
    sends: u64,
    answered: u64,
    /// What failed there, by kind.
    failed: BTreeMap<&'static str, u64>,
    /// How often it was not asked, by reason.
    left_out: BTreeMap<&'static str, u64>,
    /// How it is now.
    state: String,
    breaker: &'static str,
    status: &'static str,
    #[serde(skip)]
    style: anstyle::Style,
}

/// How sessions kept to their endpoints.
#[derive(Debug, Serialize)]
pub(super) struct Sessions {
    total: u64,
    /// The requests after the first of each.
    follow_ups: u64,
    /// Those that went to the endpoint of their session.
    stayed: u64,
}

/// What became of a stream that was cut after its commit point.
#[derive(Debug, Default, Serialize)]
pub(super) struct AfterCommit {
    /// Whether the client got the beginning, unchanged, and then an error that it can see.
    pub(super) told: bool,
    events: usize,
    text: String,
    error: Option<String>,
}

impl AfterCommit {
    pub(super) fn of(heard: Result<Heard, String>) -> Self {
        match heard {
            Ok(heard) => Self {
                told: !heard.text.is_empty()
                    && heard.text != TEXT
                    && TEXT.starts_with(&heard.text)
                    && !heard.is_complete
                    && heard.error.is_some(),
                events: heard.events,
                text: heard.text,
                error: heard.error,
            },
            Err(why) => Self {
                error: Some(why),
                ..Self::default()
            },
        }
    }
}

impl Report {
    pub(super) fn new(
        time: Duration,
        tally: &Tally,
        served: Served,
        status: &[EndpointStatus],
        after_commit: AfterCommit,
    ) -> Self {
        let failed = served.failures.len() as u64;
        let endpoints = CAST.iter().zip(status).map(|(role, status)| {
            let none = Row::default();
            let row = tally.rows.get(role.name).unwrap_or(&none);
            let (style, state) = state(status);
            EndpointReport {
                name: role.name,
                sends: row.sends,
                answered: row.answered,
                failed: row
                    .failed
                    .iter()
                    .map(|(kind, n)| (kind.as_str(), *n))
                    .collect(),
                left_out: row
                    .left_out
                    .iter()
                    .map(|(why, n)| (why.as_str(), *n))
                    .collect(),
                state,
                breaker: status.breaker.state.as_str(),
                status: status.status.as_str(),
                style,
            }
        });
        Self {
            ok: failed == 0 && served.requests > 0 && after_commit.told,
            seconds: (time.as_secs_f64() * 10.0).round() / 10.0,
            faults: tally
                .faults()
                .into_iter()
                .map(|(fault, count)| FaultCount {
                    name: fault.label(),
                    count,
                })
                .collect(),
            endpoints: endpoints.collect(),
            sessions: Sessions {
                total: served.sessions,
                follow_ups: served.requests.saturating_sub(served.sessions),
                stayed: tally.stayed,
            },
            requests: Requests {
                total: served.requests,
                streamed: served.streamed,
                succeeded: served.requests - failed,
                failures: served.failures,
            },
            after_commit,
            hardest: tally.hardest.as_ref().map(|(id, _)| id.clone()),
            listening: None,
        }
    }

    /// The summary for people.
    pub(super) fn write(&self, stream: &mut dyn Write) -> io::Result<()> {
        writeln!(stream, "\n{}", self.endpoints())?;
        self.write_faults(stream)?;
        let Sessions {
            total,
            follow_ups,
            stayed,
        } = self.sessions;
        writeln!(
            stream,
            "{total} sessions: {stayed} of {follow_ups} follow-ups went to the endpoint of their \
             session, the others had to move"
        )?;
        self.write_after_commit(stream)?;
        self.write_requests(stream)
    }

    fn endpoints(&self) -> Table {
        let mut table = Table::new(&[
            ("ENDPOINT", Align::Left),
            ("SENT", Align::Right),
            ("ANSWERED", Align::Right),
            ("FAILED", Align::Left),
            ("NOT ASKED", Align::Left),
            ("NOW", Align::Left),
        ]);
        for one in &self.endpoints {
            let failed = if one.failed.is_empty() {
                Cell::styled(DIM, "-")
            } else {
                Cell::styled(WARN, counted(&one.failed))
            };
            let left_out = match counted(&one.left_out) {
                text if text.is_empty() => Cell::styled(DIM, "-"),
                text => Cell::from(text),
            };
            table.row([
                Cell::styled(STRONG, one.name),
                Cell::from(one.sends),
                Cell::from(one.answered),
                failed,
                left_out,
                Cell::styled(one.style, &one.state),
            ]);
        }
        table
    }

    fn write_faults(&self, stream: &mut dyn Write) -> io::Result<()> {
        let kinds = self.faults.len();
        writeln!(
            stream,
            "{} of fault:",
            styled(STRONG, format_args!("{kinds} kinds"))
        )?;
        let mut rows = self.faults.chunks(2);
        rows.try_for_each(|row| {
            let cells: Vec<_> = row
                .iter()
                .map(|fault| format!("{:>4} x {:<38}", fault.count, fault.name))
                .collect();
            writeln!(stream, "{}", cells.concat().trim_end())
        })?;
        writeln!(stream)
    }

    fn write_after_commit(&self, stream: &mut dyn Write) -> io::Result<()> {
        let AfterCommit {
            told,
            events,
            text,
            error,
        } = &self.after_commit;
        let error = error.as_deref().unwrap_or("no error");
        if *told {
            let whole = events.saturating_sub(1);
            writeln!(
                stream,
                "1 more stream, not counted below, was cut after its first words, when nothing can be \
                 done unseen:\n  its client got {whole} whole events (\"{text}\")\n  \
                 and then an error event of its own dialect ({error})"
            )?;
        } else {
            let what = styled(BAD, "a stream that was cut was not told as it should be");
            writeln!(stream, "{what}: \"{text}\", then {error}")?;
        }
        writeln!(stream)
    }

    fn write_requests(&self, stream: &mut dyn Write) -> io::Result<()> {
        let Requests {
            total,
            streamed,
            succeeded,
            failures,
        } = &self.requests;
        let seconds = self.seconds;
        if failures.is_empty() {
            let all = styled(GOOD.bold(), "every client request succeeded");
            return writeln!(
                stream,
                "{all}: {succeeded} of {total} ({streamed} streamed) in {seconds:.1} s"
            );
        }
        let not_all = format!("{} of {total} client requests failed", failures.len());
        writeln!(stream, "{}", styled(BAD.bold(), not_all))?;
        for failure in failures.iter().take(SHOWN_FAILURES) {
            writeln!(stream, "  {failure}")?;
        }
        Ok(())
    }
}

/// Like `3 open, 1 probing`.
fn counted(counts: &BTreeMap<&'static str, u64>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn cut() -> Heard {
        Heard {
            status: StatusCode::OK,
            text: TEXT[..20].to_owned(),
            events: 7,
            is_complete: false,
            error: Some("api_error".to_owned()),
        }
    }

    fn report(failures: &[&str], heard: Heard) -> Report {
        let served = Served {
            requests: 300,
            streamed: 200,
            sessions: 50,
            failures: failures.iter().map(|&text| text.to_owned()).collect(),
        };
        let after_commit = AfterCommit::of(Ok(heard));
        let time = Duration::from_millis(9_876);
        Report::new(time, &Tally::new(), served, &[], after_commit)
    }

    fn text(report: &Report) -> String {
        let mut text = Vec::new();
        report.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }

    // SIM-03
    #[test]
    fn success_is_claimed_only_if_no_client_was_let_down() {
        let good = report(&[], cut());
        assert!(good.ok);
        assert!(text(&good).contains("every client request succeeded: 300 of 300"));

        let bad = report(&["client 3 (chat): status 503"], cut());
        assert!(!bad.ok);
        let text = text(&bad);
        assert!(text.contains("1 of 300 client requests failed"), "{text}");
        assert!(
            text.contains("status 503") && !text.contains("every client"),
            "{text}"
        );
        assert!(!report(&[], Heard::default()).ok);
    }

    // SIM-03
    #[test]
    fn a_cut_stream_is_told_truthfully_or_not_at_all() {
        assert!(AfterCommit::of(Ok(cut())).told);
        for not_told in [
            Heard {
                error: None,
                ..cut()
            },
            Heard {
                is_complete: true,
                ..cut()
            },
            Heard {
                text: String::new(),
                ..cut()
            },
            Heard {
                text: "Another text".to_owned(),
                ..cut()
            },
        ] {
            assert!(!AfterCommit::of(Ok(not_told.clone())).told, "{not_told:?}");
        }
        assert!(!AfterCommit::of(Err("reset".to_owned())).told);
    }
}
