//! The explanation in words.

use std::fmt::Write as _;

use anstyle::Style;

use super::{
    Explanation, Failure, Named, Out, PassedOver, Preference, SendStory, Tokens, VisitStory,
    because,
};
use crate::moment::{Date, brief, grouped, size};
use crate::output::{BAD, GOOD, STRONG as HEADING};
use crate::paragraph;

const PLAIN: Style = Style::new();

/// The story of one request, told at `now`, with styles that the output removes where they do
/// not belong. Dates are in UTC; `+` counts from the start of the request.
pub(crate) fn tell(explanation: &Explanation, now: Date) -> String {
    let mut story = Story::default();
    story.head(explanation, now);
    for visit in &explanation.visits {
        story.visit(visit, explanation.started_at);
    }
    story.end(explanation);
    story.0
}

#[derive(Default)]
struct Story(String);

impl Story {
    fn head(&mut self, request: &Explanation, now: Date) {
        self.line(HEADING, 0, &format!("Request {}", request.id));
        let came = format!(
            "It came at {}, {} ago",
            request.started_at.in_full(),
            brief(request.started_at.ago(now).as_secs_f64() * 1_000.0)
        );
        let mut asked = came;
        if let Some(cluster) = &request.cluster {
            let _ = write!(asked, ", to cluster {cluster}");
        }
        self.line(PLAIN, 1, &(asked + "."));
        self.line(PLAIN, 1, &wish(request));
        let (style, answer) = answer(request);
        self.line(style, 1, &answer);
    }

    fn visit(&mut self, visit: &VisitStory, start: Date) {
        self.0.push('\n');
        let title = format!("Visit {}, at +{}", visit.number, brief(visit.at_ms));
        self.line(HEADING, 0, &title);
        for out in &visit.left_out {
            self.line(PLAIN, 1, &left_out(out, start));
        }
        if !visit.others_left_out.is_empty() {
            let counts = counted(
                visit
                    .others_left_out
                    .iter()
                    .map(|(name, count)| (&**name, *count)),
            );
            self.line(PLAIN, 1, &format!("Also left out: {counts}."));
        }
        self.line(PLAIN, 1, &chosen(visit, start));
        for send in &visit.sends {
            let style = match &*send.result {
                "clean" => GOOD,
                "failed" | "broken" => BAD,
                _ => PLAIN,
            };
            self.line(style, 1, &sent(send, start));
        }
    }

    fn end(&mut self, request: &Explanation) {
        let mut lines = Vec::new();
        if let Some(at) = request.committed_at_ms {
            lines.push(format!(
                "Committed at +{}: from here on no other endpoint could take over.",
                brief(at)
            ));
        }
        lines.extend(request.usage.and_then(used));
        if let Some(binding) = &request.binding {
            lines.push(bound(binding).to_owned());
        }
        if !lines.is_empty() {
            self.0.push('\n');
            self.line(HEADING, 0, "In the end");
        }
        for line in lines {
            self.line(PLAIN, 1, &line);
        }
    }

    fn line(&mut self, style: Style, depth: usize, text: &str) {
        paragraph::push(&mut self.0, style, depth * 2, text);
    }
}

fn wish(request: &Explanation) -> String {
    let mut text = "It wanted".to_owned();
    text.push_str(match (request.stream, request.model.is_some()) {
        (true, true) => " a stream from",
        (true, false) => " a stream",
        (false, true) => " an answer from",
        (false, false) => " an answer",
    });
    if let Some(model) = &request.model {
        let _ = write!(text, " {model}");
    }
    if let Some(dialect) = &request.dialect {
        let _ = write!(text, " in dialect {dialect}");
    }
    if let Some(deadline) = request.deadline_ms {
        let _ = write!(text, ", within {}", brief(deadline));
    }
    match &request.session {
        Some(session) => {
            let _ = write!(text, ", for session {session}.");
        }
        None => text.push_str(", for no session."),
    }
    text
}

fn answer(request: &Explanation) -> (Style, String) {
    let took = format!("after {}", brief(request.duration_ms));
    let tried = match request.attempts {
        0 => "without an attempt".to_owned(),
        1 => "with 1 attempt".to_owned(),
        attempts => format!("with {attempts} attempts"),
    };
    let status = request
        .answer
        .status
        .map_or_else(|| "an answer".to_owned(), |status| status.to_string());
    let by = request
        .answered_by
        .as_ref()
        .map_or_else(|| "an upstream".to_owned(), |named| named.name.clone());
    let error = request.answer.error.as_deref().unwrap_or("unknown");
    match &*request.answer.outcome {
        "relayed" => {
            let good = request.answer.status.is_some_and(|status| status < 400);
            let style = if good { GOOD } else { BAD };
            (
                style,
                format!("The client got {status} from {by}, to its end, {took}, {tried}."),
            )
        }
        "interrupted" => (
            BAD,
            format!(
                "The client got {status} from {by}, which broke ({error}) and was closed {took}, \
                 {tried}."
            ),
        ),
        "failed" => (
            BAD,
            format!(
                "The client got our error {error} {took}, {tried}: {}.",
                ours(request, error)
            ),
        ),
        "canceled" => (PLAIN, format!("The client went away {took}, {tried}.")),
        _ => (PLAIN, format!("It has no answer yet, {took}, {tried}.")),
    }
}

/// Why there was an error of ours, in words.
fn ours(request: &Explanation, error: &str) -> String {
    let words = match error {
        "no_endpoint" => "no endpoint could be used",
        "all_failed" => "every endpoint that could be tried failed",
        "rate_limited" => "limits were all that stood in the way",
        "auth_failed" => "every credential was refused",
        "deadline" => "the deadline passed",
        "request_body" => "the client's own body could not be read",
        other => other,
    };
    let reasons = match request.visits.last() {
        Some(visit) if visit.endpoint.is_none() => counted(visit.reasons().into_iter()),
        _ => String::new(),
    };
    match &*reasons {
        "" => words.to_owned(),
        _ => format!("{words} ({reasons})"),
    }
}

fn left_out(out: &Out, start: Date) -> String {
    format!(
        "Left out {}, {}: {}{}.",
        called(&out.endpoint),
        out.reason,
        because(&out.reason),
        until(out.until, start)
    )
}

fn chosen(visit: &VisitStory, start: Date) -> String {
    let Some(endpoint) = &visit.endpoint else {
        return "Nobody could be chosen.".to_owned();
    };
    let mut text = format!("Chose {} at {}", called(endpoint), endpoint.base_url);
    match visit.tier.as_deref() {
        Some("ready") => text.push_str(", which was ready"),
        Some("degraded") => text.push_str(", degraded, because nobody was ready"),
        Some("last_resort") => text.push_str(", as the last resort, because nothing else was left"),
        Some(tier) => {
            let _ = write!(text, ", tier {tier}");
        }
        None => {}
    }
    if let Some(preference) = &visit.preference {
        text.push_str(&preferred(preference, start));
    }
    text + "."
}

fn preferred(preference: &Preference, start: Date) -> String {
    match (&*preference.fate, &preference.reason) {
        ("owned", _) => ", the only one that can answer".to_owned(),
        ("honoured", _) => ", where the session is at home".to_owned(),
        ("gone", _) => "; the endpoint of the session is no member any more".to_owned(),
        (_, Some(reason)) => format!(
            "; the endpoint of the session was passed over, {reason}: {}{}",
            because(reason),
            until(preference.until, start)
        ),
        (fate, None) => format!("; the endpoint of the session was {fate}"),
    }
}

fn sent(send: &SendStory, start: Date) -> String {
    let mut text = format!("Send {}", send.number);
    let _ = write!(text, " at +{}", brief(send.at_ms));
    let name = send
        .credential
        .as_deref()
        .map(|name| format!(" {name}"))
        .unwrap_or_default();
    let with = match &*send.kind {
        "rotation" => format!(", next credential{name}"),
        "refresh" => format!(", refreshed credential{name}"),
        "quick" => format!(", once more after a transport failure, credential{name}"),
        _ if name.is_empty() => ", no credential".to_owned(),
        _ => format!(", credential{name}"),
    };
    text.push_str(&with);
    text.push_str(&passed_over(&send.passed_over, start));
    text.push_str(": ");
    let took = brief(send.duration_ms);
    let status = send
        .status
        .map_or_else(|| "no status".to_owned(), |status| status.to_string());
    match (&*send.result, &send.failure) {
        ("refused", _) => {
            let reason = send.refused.as_deref().unwrap_or("unknown");
            let _ = write!(text, "not sent, {reason}: {}", because(reason));
        }
        ("failed", Some(failure)) => {
            let _ = write!(
                text,
                "failed with {status} after {took}, {}",
                blamed(failure, start)
            );
        }
        ("broken", Some(failure)) => {
            let _ = write!(
                text,
                "{status}, broke after {took}, past its commit point, {}{}",
                blamed(failure, start),
                flow(send)
            );
        }
        ("clean", _) => {
            let _ = write!(text, "{status}, ended well after {took}{}", flow(send));
        }
        ("canceled", _) => {
            let _ = write!(text, "{status}, given up after {took}{}", flow(send));
        }
        _ => {
            let _ = write!(text, "{status}, not ended yet{}", flow(send));
        }
    }
    text + "."
}

/// Why it was not the turn of others.
fn passed_over(passed_over: &[PassedOver], start: Date) -> String {
    let passed = |one: &PassedOver| {
        let PassedOver { name, state, until } = one;
        format!("{name} is {state}{}", self::until(*until, start))
    };
    let passed: Vec<_> = passed_over.iter().map(passed).collect();
    match &*passed {
        [] => String::new(),
        passed => format!(" ({})", passed.join(", ")),
    }
}

/// The bytes of an answer.
fn flow(send: &SendStory) -> String {
    let mut text = String::new();
    if let Some(first_byte) = send.first_byte_ms {
        let _ = write!(text, "; first byte after {}", brief(first_byte));
    }
    if send.bytes > 0 {
        let _ = write!(text, "; {} to the client", size(send.bytes));
    }
    text
}

fn blamed(failure: &Failure, start: Date) -> String {
    let mut text = format!("{}/{}", failure.class, failure.kind);
    match failure.wait.as_deref() {
        Some("connect") => text.push_str(", no connection came about"),
        Some("first_byte") => text.push_str(", the first byte did not come"),
        Some("idle") => text.push_str(", nothing more came"),
        Some("deadline") => text.push_str(", the deadline passed"),
        Some(_) | None => {}
    }
    let _ = write!(text, ", blamed on the {}", failure.blame);
    if failure.until.is_some() {
        let _ = write!(text, ", which rests{}", until(failure.until, start));
    }
    text
}

fn used(tokens: Tokens) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(input) = tokens.input {
        let cached = tokens
            .cached
            .filter(|cached| *cached > 0)
            .map(|cached| format!(" ({} from a cache)", grouped(cached)))
            .unwrap_or_default();
        parts.push(format!("{} in{cached}", grouped(input)));
    }
    parts.extend(
        tokens
            .output
            .map(|output| format!("{} out", grouped(output))),
    );
    (!parts.is_empty()).then(|| format!("Tokens: {}.", parts.join(", ")))
}

fn bound(binding: &str) -> &str {
    match binding {
        "bound" => "The session is now bound to this endpoint.",
        "refreshed" => "The session stays at its endpoint; its lifetime starts again.",
        "escaped" => "The session keeps its endpoint; only this request went elsewhere.",
        "rebound" => "The session moved to the endpoint that answered.",
        "invalidated" => "The session has no endpoint any more.",
        other => other,
    }
}

fn called(endpoint: &Named) -> String {
    format!("{} ({})", endpoint.name, endpoint.id)
}

/// ` until 08:00:34 UTC (+34 s)`, or nothing.
fn until(date: Option<Date>, start: Date) -> String {
    date.map_or_else(String::new, |date| {
        let later = start.ago(date).as_secs_f64() * 1_000.0;
        format!(" until {} (+{})", date.beside(start), brief(later))
    })
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, u32)>) -> String {
    let parts: Vec<_> = counts
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::super::samples;
    use super::*;

    fn told(record: &qcc_core::record::Record) -> String {
        let now = samples::now();
        let story = tell(&Explanation::of(record, &now), now.date);
        strip_str(&story).to_string()
    }

    // XPL-01, XPL-02
    #[test]
    fn a_failover_is_told_visit_by_visit() {
        assert_eq!(
            told(&samples::failed_over()),
            "\
Request qcc-test-1
  It came at 2026-01-31 08:00:00.250 UTC, 3 min 20 s ago, to cluster claude.
  It wanted a stream from claude-sonnet-4-5 in dialect anthropic, within 10 min, for session
      07070707070707070707070707070707.
  The client got 200 from relay, to its end, after 4.31 s, with 2 attempts.

Visit 1, at +0 ms
  Left out spare (54a88919), auth_failed: its credential was refused.
  Left out third (04f3b2c6), open: its breaker is open until 08:00:34 UTC (+34 s).
  Also left out: 2 cooling, 1 full.
  Chose official (e914401d) at https://api.anthropic.com, which was ready, where the session is at
      home.
  Send 1 at +1 ms, credential main: failed with 529 after 842 ms, transient/overloaded, blamed on
      the endpoint, which rests until 08:01:01 UTC (+1 min 1 s).

Visit 2, at +850 ms
  Left out official (e914401d), excluded: it failed in this request before.
  Chose relay (4da93578) at https://relay.example/api, which was ready; the endpoint of the session
      was passed over, excluded: it failed in this request before.
  Send 2 at +851 ms, credential main: failed with 429 after 9 ms, rate_limit/rate_limit, blamed on
      the credential, which rests until 08:00:31 UTC (+30.9 s).
  Send 3 at +860 ms, next credential shared-2 (shared-1 is cooling until 08:00:10 UTC (+10 s)): 200,
      ended well after 3.45 s; first byte after 310 ms; 18.2 KiB to the client.

In the end
  Committed at +1.17 s: from here on no other endpoint could take over.
  Tokens: 12 034 in (11 000 from a cache), 512 out.
  The session moved to the endpoint that answered.
"
        );
    }

    // XPL-02, RTY-14
    #[test]
    fn a_request_that_nobody_could_serve_is_told_with_the_reasons() {
        assert_eq!(
            told(&samples::nobody()),
            "\
Request qcc-test-2
  It came at 2026-01-31 08:00:00.250 UTC, 3 min 20 s ago, to cluster claude.
  It wanted an answer from claude-sonnet-4-5 in dialect anthropic, within 10 min, for no session.
  The client got our error no_endpoint after 1 ms, without an attempt: no endpoint could be used (1
      cooling, 1 disabled).

Visit 1, at +0 ms
  Left out official (e914401d), cooling: it cools down until 2026-02-01 08:00:00 UTC (+1 d).
  Left out relay (4da93578), disabled: an operator switched it off.
  Nobody could be chosen.
"
        );
    }

    // XPL-01
    #[test]
    fn a_broken_stream_is_told_with_its_commit_point() {
        assert_eq!(
            told(&samples::broken()),
            "\
Request client-7
  It came at 2026-01-31 08:00:00.250 UTC, 3 min 20 s ago, to cluster claude.
  It wanted a stream from claude-sonnet-4-5 in dialect anthropic, within 10 min, for no session.
  The client got 200 from relay, which broke (transport) and was closed after 1 min 3 s, with 2
      attempts.

Visit 1, at +0 ms
  Chose official (e914401d) at https://api.anthropic.com, which was ready.
  Send 1 at +0 ms, credential main: failed with no status after 1 min, transient/timeout, the first
      byte did not come, blamed on the endpoint.

Visit 2, at +1 min
  Chose relay (4da93578) at https://relay.example/api, as the last resort, because nothing else was
      left.
  Send 2 at +1 min, credential main: 200, broke after 2.50 s, past its commit point,
      transient/transport, blamed on the endpoint; first byte after 400 ms; 700 B to the client.

In the end
  Committed at +1 min: from here on no other endpoint could take over.
"
        );
    }

    // XPL-01
    #[test]
    fn a_client_that_went_away_blames_nobody() {
        assert_eq!(
            told(&samples::canceled()),
            "\
Request client-8
  It came at 2026-01-31 08:00:00.250 UTC, 3 min 20 s ago, to cluster claude.
  It wanted a stream from claude-sonnet-4-5 in dialect anthropic, within 10 min, for no session.
  The client went away after 1.20 s, with 1 attempt.

Visit 1, at +0 ms
  Chose relay (4da93578) at https://relay.example/api, which was ready.
  Send 1 at +0 ms, credential main: not sent, probing: its breaker is half-open and a probe is under
      way.

Visit 2, at +1 ms
  Chose official (e914401d) at https://api.anthropic.com, which was ready.
  Send 2 at +1 ms, credential main: no status, given up after 1.20 s.
"
        );
    }

    #[test]
    fn a_model_name_cannot_move_the_cursor() {
        let mut record = samples::nobody();
        record.model = Some("x\u{1b}[2J\r".into());
        let now = samples::now();
        let story = tell(&Explanation::of(&record, &now), now.date);
        assert!(story.contains("x\u{fffd}[2J\u{fffd}"), "{story}");
    }

    // XPL-02
    #[test]
    fn no_line_of_a_story_is_wider_than_100_columns() {
        for record in samples::all() {
            for line in told(&record).lines() {
                assert!(line.chars().count() <= paragraph::WIDTH, "{line}");
            }
        }
    }
}
