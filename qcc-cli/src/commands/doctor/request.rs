//! Where one request failed: whether it found a cluster, an endpoint, an answer. Pure.

use super::{Finding, remedy};
use crate::explain::{Explanation, SendStory, VisitStory};
use crate::moment::{Date, brief};
use crate::output::Exit;

/// The steps of a request, in the order in which it took them.
pub(super) fn examine(request: &Explanation) -> Vec<Finding> {
    let served = request.answer.outcome == "relayed"
        && request.answer.status.is_none_or(|status| status < 400);
    let mut findings = vec![arrival(request), endpoints(request)];
    for visit in &request.visits {
        let sends = visit.sends.iter();
        findings.extend(sends.filter_map(|send| attempt(visit, send, served)));
    }
    findings.push(answer(request, served));
    findings.push(
        Finding::ok(
            "log",
            format!("the log has its lines under request_id={}", request.id),
        )
        .remedy(format!(
            "qcc logs --request {} if there is a log file; under systemd journalctl -u qcc --grep {}",
            request.id, request.id
        )),
    );
    findings
}

fn arrival(request: &Explanation) -> Finding {
    let Explanation { id, model, .. } = request;
    let dialect = request.dialect.as_deref().unwrap_or("no known dialect");
    let model = model.as_deref().unwrap_or("no model");
    let Some(cluster) = &request.cluster else {
        let found = format!("{id} ({dialect}, {model}) reached no cluster");
        return Finding::failed("request", Exit::Failure, found)
            .remedy("name one that there is, in x-qcc-cluster or in the path: qcc cluster list");
    };
    let came = request.started_at.in_full();
    Finding::ok(
        "request",
        format!("{id} came at {came}: {dialect}, {model}, cluster {cluster}"),
    )
}

fn endpoints(request: &Explanation) -> Finding {
    let names: Vec<_> = request
        .visits
        .iter()
        .filter_map(|visit| Some(visit.endpoint.as_ref()?.name.as_str()))
        .collect();
    let Some(first) = request.visits.first() else {
        return Finding::failed("endpoints", Exit::Failure, "none was looked for")
            .remedy("the answer says why");
    };
    if !names.is_empty() {
        return Finding::ok(
            "endpoints",
            format!("it was sent to {}", names.join(", then ")),
        );
    }
    let mut out: Vec<_> = first
        .left_out
        .iter()
        .map(|out| {
            format!(
                "{} is {}{}",
                out.endpoint.name,
                out.reason,
                until(out.until)
            )
        })
        .collect();
    out.extend(
        first
            .others_left_out
            .iter()
            .map(|(reason, count)| format!("{count} more are {reason}")),
    );
    let found = format!("none could be used: {}", out.join(", "));
    let finding = Finding::failed("endpoints", Exit::Failure, found);
    match first.left_out.first() {
        Some(out) => {
            let until = out.until.map(Date::in_full);
            let name = &out.endpoint.name;
            finding.remedy(remedy::of_reason(&out.reason, name, until.as_deref()))
        }
        None => finding.remedy("qcc cluster status says why and until when"),
    }
}

fn until(date: Option<Date>) -> String {
    date.map_or_else(String::new, |date| format!(" until {}", date.in_full()))
}

/// A send that failed. One that was made good is worth a note.
fn attempt(visit: &VisitStory, send: &SendStory, served: bool) -> Option<Finding> {
    let failure = send.failure.as_ref()?;
    let endpoint = visit
        .endpoint
        .as_ref()
        .map_or("?", |endpoint| &endpoint.name);
    let status = send
        .status
        .map_or_else(String::new, |status| format!(", status {status}"));
    let found = format!(
        "{} to {endpoint}: {}{status} after {}, blamed on the {}",
        send.number,
        failure.kind,
        brief(send.duration_ms),
        failure.blame,
    );
    let finding = if served {
        Finding::note("attempt", found)
    } else {
        Finding::failed("attempt", Exit::Failure, found)
    };
    Some(finding.remedy(remedy::of_kind(&failure.kind, endpoint)))
}

fn answer(request: &Explanation, served: bool) -> Finding {
    let took = brief(request.duration_ms);
    let of = &request.answer;
    let status = of.status.unwrap_or(0);
    let error = of.error.as_deref().unwrap_or("an error");
    match &*of.outcome {
        _ if served => Finding::ok("answer", format!("{status} after {took}")),
        "relayed" => Finding::failed(
            "answer",
            Exit::Failure,
            format!("the upstream's own {status} after {took}"),
        )
        .remedy("its body says what the upstream does not like"),
        "interrupted" => Finding::failed(
            "answer",
            Exit::Failure,
            format!("it broke off after its begin: {error}"),
        )
        .remedy("send it again: what a client has seen cannot be taken back"),
        "canceled" => Finding::note("answer", format!("the client left after {took}"))
            .remedy("if it did not mean to, raise its own time-out"),
        "pending" => Finding::note("answer", "it is still under way"),
        _ => Finding::failed(
            "answer",
            Exit::Failure,
            format!("{error}, in our words, after {took}"),
        )
        .remedy("docs/failures.md says what each error means"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Report, State};
    use super::*;
    use crate::explain::samples;

    fn report(record: &qcc_core::record::Record) -> Report {
        Report::of(examine(&Explanation::of(record, &samples::now())))
    }

    // CLI-26
    #[test]
    fn a_request_that_was_served_elsewhere_fails_nowhere() {
        let report = report(&samples::failed_over());
        assert!(report.healthy, "{report:#?}");
        let notes = report
            .findings
            .iter()
            .filter(|one| one.state == State::Note);
        assert!(notes.count() > 0, "what went wrong on the way is told");
    }

    // CLI-26
    #[test]
    fn without_a_usable_endpoint_that_is_the_step_and_the_reason_has_its_remedy() {
        let report = report(&samples::nobody());
        assert_eq!(report.first_failure, Some("endpoints"), "{report:#?}");
        let finding = &report.findings[1];
        assert!(
            finding.found.starts_with("none could be used: "),
            "{finding:?}"
        );
        assert!(
            finding.remedy.as_ref().unwrap().contains("qcc "),
            "{finding:?}"
        );
    }

    // CLI-26
    #[test]
    fn a_broken_stream_names_the_attempt_that_broke() {
        let report = report(&samples::broken());
        assert_eq!(report.first_failure, Some("attempt"), "{report:#?}");
        assert_eq!(report.findings.last().unwrap().step, "log");
    }

    // CLI-26
    #[test]
    fn a_client_that_left_is_no_failure() {
        let report = report(&samples::canceled());
        assert!(report.healthy, "{report:#?}");
    }
}
