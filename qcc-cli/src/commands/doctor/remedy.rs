//! What to do about a reason or a failure. The handbook has the same, at more length.

/// What to do about an endpoint that is out for `reason`.
pub(super) fn of_reason(reason: &str, endpoint: &str, until: Option<&str>) -> String {
    let wait = until.map_or_else(String::new, |until| format!("wait until {until}, or "));
    match reason {
        "disabled" => format!(
            "qcc endpoint enable {endpoint}; if it stays off, look for `enabled: false` in the \
             configuration"
        ),
        "auth_failed" => format!(
            "its key was refused: put a valid one into the configuration, then \
             qcc endpoint enable {endpoint}"
        ),
        "open" => format!(
            "it failed several times in a row: {wait}qcc breaker reset {endpoint} if it is mended"
        ),
        "probing" => "a request is trying it just now: wait a moment".to_owned(),
        "cooling" => format!(
            "its limit is reached: {wait}qcc endpoint clear-limit {endpoint} if the vendor has \
             lifted it; another key or endpoint helps for good"
        ),
        "queued" => format!(
            "it is checked again and again and comes back by itself; qcc endpoint enable \
             {endpoint} does not wait for that"
        ),
        "marked" => format!("{wait}qcc endpoint unmark {endpoint}"),
        "model" => "ask for another model, correct `models` of the endpoint in the configuration, \
                    or add an endpoint that has it"
            .to_owned(),
        "dialect" => "send it to a cluster whose `kind` speaks the dialect of the request: \
                      qcc cluster list"
            .to_owned(),
        "full" => "raise `max_in_flight` of the endpoint, or add another one".to_owned(),
        "excluded" => "it failed in this request before: see the attempts".to_owned(),
        _ => format!("qcc cluster status and qcc endpoint list say more of {endpoint}"),
    }
}

/// What to do about an attempt that failed as `kind`.
pub(super) fn of_kind(kind: &str, endpoint: &str) -> String {
    match kind {
        "transport" => format!(
            "look at `base_url` of {endpoint}, at the network and at DNS: qcc doctor tries to connect"
        ),
        "timeout" => "it was too slow: raise `timeouts.first_byte` of the cluster or `timeout` of \
                      the endpoint, or prefer a faster one"
            .to_owned(),
        "overloaded" => "the vendor has too much to do: another endpoint, or later".to_owned(),
        "rate_limit" => format!(
            "the key was used too fast: add another key or endpoint, or qcc endpoint clear-limit \
             {endpoint} if the vendor has lifted it"
        ),
        "quota" => "the account has used up what it may: pay, wait for its reset, or add another \
                    one"
        .to_owned(),
        "auth" => format!(
            "the key was refused: put a valid one into the configuration, then qcc endpoint enable \
             {endpoint}"
        ),
        "not_found" => format!(
            "{endpoint} does not have the model or the route: correct the name of the model, or \
             `base_url`"
        ),
        "invalid_request" => "the client's request is at fault: its answer says what".to_owned(),
        "server" => format!("{endpoint} failed by itself: another endpoint, or its maker"),
        "unknown" => format!(
            "what {endpoint} sent is no answer of this API: look at `base_url` and `kind`, and \
             whether a portal or a firewall answers in its place"
        ),
        _ => format!("qcc endpoint list says more of {endpoint}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use qcc_core::available::Reason;
    use qcc_core::failure::Kind;

    use super::*;

    // CLI-25, CLI-26
    #[test]
    fn every_reason_and_every_kind_of_failure_has_a_remedy_of_its_own() {
        let unknown = of_reason("?", "e", None);
        let reasons: BTreeSet<_> = Reason::ALL
            .map(|reason| of_reason(reason.as_str(), "e", None))
            .into();
        assert_eq!(reasons.len(), Reason::ALL.len());
        assert!(!reasons.contains(&unknown));
        let unknown = of_kind("?", "e");
        let kinds: BTreeSet<_> = Kind::ALL.map(|kind| of_kind(kind.as_str(), "e")).into();
        assert_eq!(kinds.len(), Kind::ALL.len());
        assert!(!kinds.contains(&unknown));
    }

    #[test]
    fn what_ends_by_itself_says_when() {
        let remedy = of_reason("marked", "relay", Some("12:00:00"));
        assert_eq!(remedy, "wait until 12:00:00, or qcc endpoint unmark relay");
    }
}
