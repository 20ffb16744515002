//! One verdict for every failed answer.
//!
//! Evidence is read in a fixed order, and the first that says something decides:
//!
//! 1. a machine code of the dialect ([`CODES`], [`SENTENCES`], and what Gemini lists in
//!    `details`),
//! 2. the status, where it is one that decides: not 2xx, not 403 without an error of the
//!    dialect, which is a firewall's as often as an API's,
//! 3. the generic type ([`TYPES`]), then a status that the body names,
//! 4. [phrases](super::PHRASES) in error texts,
//! 5. the headers of an exhausted limit.
//!
//! What is left is unknown. Only error fields are read, never the output of a model, and digits
//! in a text are not evidence.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::codes::{CODES, SENTENCES, TYPES, look_up};
use super::{cooldown, phrases};
use crate::facts::{Facts, Operation};
use crate::failure::{Blame, Class, Kind, Verdict};
use crate::time::{Instant, SystemTime};

/// A failed answer, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// The facts of the request.
    pub(crate) facts: &'a Facts,
    /// The status of the answer. `None` for an error event in a stream.
    pub(crate) status: Option<StatusCode>,
    /// The headers of the answer.
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The body of the answer, or the data of the event.
    pub(crate) body: &'a [u8],
    /// The current instant.
    pub(crate) now: Instant,
    /// The current date, for answers without a `Date` of their own.
    pub(crate) date: SystemTime,
}

/// The verdict on a failed answer.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let json = serde_json::from_slice(evidence.body).unwrap_or_default();
    let body = ErrorBody::of(&json);
    let date = cooldown::date(evidence.headers, evidence.date);
    let kind = kind(evidence, &body, date);
    if evidence.facts.operation == Operation::CountTokens {
        // Many relays lack the route, and vendors limit it apart: it says nothing of messages.
        return Verdict::new(kind).blamed_on(Blame::Caller);
    }
    let until = cooldown::cool_down(kind, evidence.headers, &body, date)
        .and_then(|wait| evidence.now.checked_add(wait));
    let verdict = Verdict::new(kind).until(until);
    match kind.class() {
        Class::RateLimit => verdict.for_family(cooldown::family(evidence.headers, date)),
        _ => verdict,
    }
}

fn kind(evidence: &Evidence<'_>, body: &ErrorBody<'_>, date: SystemTime) -> Kind {
    let facts = evidence.facts;
    let status = evidence.status.filter(|status| !status.is_success());
    body.decisive(status)
        .or_else(|| of_status(status?, facts, body))
        .or_else(|| body.generic(facts))
        .or_else(|| of_status(body.number?, facts, body))
        .or_else(|| phrases::find(body.texts()).map(|kind| missing(kind, facts)))
        .or_else(|| cooldown::is_exhausted(evidence.headers, date).then_some(Kind::RateLimit))
        .unwrap_or(Kind::Unknown)
}

/// What a status means; `None` if it leaves the decision to others.
fn of_status(status: StatusCode, facts: &Facts, body: &ErrorBody<'_>) -> Option<Kind> {
    Some(match status.as_u16() {
        401 => Kind::Auth,
        402 => Kind::Quota,
        403 if body.form != Form::Nested => return None,
        // Claude Code tells a missing model from a refused key by the same text.
        403 if body.message.contains("model:") => Kind::NotFound,
        403 => Kind::Auth,
        404 => missing(Kind::NotFound, facts),
        408 | 409 => Kind::Server,
        429 => Kind::RateLimit,
        400..=499 => Kind::InvalidRequest,
        502..=504 | 529 => Kind::Overloaded,
        500..=599 => Kind::Server,
        _ => return None,
    })
}

/// Nothing but the model of a generation can be missing at one endpoint and be found at another;
/// anything else that is not found was asked for wrongly.
fn missing(kind: Kind, facts: &Facts) -> Kind {
    let names_model = facts.is_generation() && facts.model.is_some();
    if kind == Kind::NotFound && !names_model {
        Kind::InvalidRequest
    } else {
        kind
    }
}

/// How an error was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{"error":{…}}`, with whatever stands around it: the form of every dialect.
    Nested,
    /// `{"error":"text"}` or `{"message":…,"code":…}`, as gateways write it.
    Loose,
    /// No error that could be read.
    None,
}

/// The fields of an error body that are evidence.
#[derive(Debug)]
pub(super) struct ErrorBody<'a> {
    form: Form,
    /// Machine codes, the most specific first, the type last.
    codes: SmallVec<[&'a str; 4]>,
    message: &'a str,
    /// A status named in the body.
    number: Option<StatusCode>,
    /// The object that holds the other fields.
    object: Option<&'a Map<String, Value>>,
}

impl<'a> ErrorBody<'a> {
    /// Reads any of the forms in which errors come. What is none is an empty error.
    pub(super) fn of(json: &'a Value) -> Self {
        // A streaming call to Gemini without `alt=sse` is answered with an array.
        let json = json.get(0).unwrap_or(json);
        let error = json
            .get("error")
            .or_else(|| json.get("response")?.get("error"));
        match (error, json) {
            (Some(Value::Object(object)), _) => Self::read(Form::Nested, object),
            (Some(Value::String(text)), Value::Object(around)) if !text.is_empty() => Self {
                form: Form::Loose,
                message: text,
                ..Self::read(Form::Loose, around)
            },
            (_, Value::Object(object)) if is_bare(object) => Self::read(Form::Loose, object),
            _ => Self {
                form: Form::None,
                codes: SmallVec::new(),
                message: "",
                number: None,
                object: None,
            },
        }
    }

    fn read(form: Form, object: &'a Map<String, Value>) -> Self {
        let text = |name| object.get(name).and_then(Value::as_str);
        let mut codes = SmallVec::new();
        match object.get("details") {
            Some(Value::Object(details)) => {
                codes.extend(details.get("error_code").and_then(Value::as_str));
            }
            Some(Value::Array(details)) => {
                codes.extend(details.iter().filter_map(|one| one.get("reason")?.as_str()));
            }
            _ => {}
        }
        codes.extend(["code", "status", "type"].into_iter().filter_map(text));
        let message = text("message").or_else(|| text("msg")).unwrap_or_default();
        let says_nothing = message.is_empty() && codes.is_empty();
        Self {
            form: if says_nothing { Form::None } else { form },
            codes,
            message,
            number: ["code", "status"]
                .into_iter()
                .find_map(|name| as_status(object.get(name)?)),
            object: Some(object),
        }
    }

    /// What decides before the status does.
    fn decisive(&self, status: Option<StatusCode>) -> Option<Kind> {
        if self.is_long_quota() {
            return Some(Kind::Quota);
        }
        let sentence = || {
            SENTENCES.iter().find(|sentence| {
                status.is_none_or(|status| status == sentence.status)
                    && self
                        .message
                        .get(..sentence.begins.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(sentence.begins))
            })
        };
        sentence()
            .map(|sentence| sentence.kind)
            .or_else(|| self.codes.iter().find_map(|code| look_up(CODES, code)))
    }

    /// Whether Gemini says that a quota is used up that does not come back within a minute: one
    /// of a day, or one of nothing. The same status stands for a limit of a minute.
    fn is_long_quota(&self) -> bool {
        self.codes.contains(&"RESOURCE_EXHAUSTED")
            && (is_limited_to_nothing(self.message)
                || self.details().any(|detail| {
                    let violations = detail.get("violations").and_then(Value::as_array);
                    violations.into_iter().flatten().any(|violation| {
                        let quota = violation.get("quotaId").and_then(Value::as_str);
                        quota.is_some_and(|id| id.contains("PerDay") || id.contains("Daily"))
                    })
                }))
    }

    fn generic(&self, facts: &Facts) -> Option<Kind> {
        let types = self.codes.iter().rev();
        types
            .filter_map(|code| look_up(TYPES, code))
            .map(|kind| missing(kind, facts))
            .next()
    }

    fn texts(&self) -> impl Iterator<Item = &'a str> {
        let codes = self.codes.clone().into_iter();
        std::iter::once(self.message).chain(codes)
    }

    /// The human text.
    pub(super) const fn message(&self) -> &'a str {
        self.message
    }

    /// A field beside the usual ones.
    pub(super) fn field(&self, name: &str) -> Option<&'a Value> {
        self.object?.get(name)
    }

    /// The entries of Gemini's `details`.
    pub(super) fn details(&self) -> impl Iterator<Item = &'a Value> {
        let details = self.field("details").and_then(Value::as_array);
        details.into_iter().flatten()
    }
}

/// Whether an object without `error` is one all the same: `{"message":…,"code":…}`, or an event
/// `{"type":"error","message":…}`.
fn is_bare(object: &Map<String, Value>) -> bool {
    let told = object.contains_key("message") || object.contains_key("msg");
    let coded = object.get("code").is_some_and(|code| !code.is_null());
    told && (coded || object.get("type").is_some_and(|kind| kind == "error"))
}

/// Whether a message of Gemini says `limit: 0`, which is no limit that time lifts.
fn is_limited_to_nothing(message: &str) -> bool {
    let mut tails = message.split("limit: 0").skip(1);
    tails.any(|tail| !tail.starts_with(|next: char| next.is_ascii_digit() || next == '.'))
}

/// A status of failure, as a number or as digits and nothing else.
fn as_status(value: &Value) -> Option<StatusCode> {
    let number = match value {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    StatusCode::from_u16(number)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Dialect;
    use crate::failure::Class;
    use crate::time::{self, Duration};

    fn generation() -> Facts {
        Facts {
            dialect: Some(Dialect::Anthropic),
            operation: Operation::Generate,
            model: Some("claude-x".into()),
            ..Facts::default()
        }
    }

    fn judge_with(facts: &Facts, status: impl Into<Option<u16>>, body: &str) -> Verdict {
        judge(&Evidence {
            facts,
            status: status
                .into()
                .map(|status| StatusCode::from_u16(status).unwrap()),
            headers: None,
            body: body.as_bytes(),
            now: time::now(),
            date: SystemTime::UNIX_EPOCH,
        })
    }

    fn kind_of(status: impl Into<Option<u16>>, body: &str) -> Kind {
        judge_with(&generation(), status, body).kind
    }

    fn anthropic(kind: &str) -> String {
        format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}},"request_id":"r"}}"#)
    }

    fn openai(kind: &str, code: &str) -> String {
        format!(r#"{{"error":{{"message":"m","type":"{kind}","param":null,"code":{code}}}}}"#)
    }

    // CLS-01
    #[test]
    fn a_decisive_code_goes_before_the_status() {
        for (status, body, kind) in [
            (
                429,
                openai("insufficient_quota", r#""insufficient_quota""#),
                Kind::Quota,
            ),
            (429, openai("insufficient_quota", "null"), Kind::Quota),
            (
                429,
                openai("x", r#""organization_spend_limit_exceeded""#),
                Kind::Quota,
            ),
            (429, openai("usage_limit_reached", "null"), Kind::Quota),
            (400, anthropic("billing_error"), Kind::Quota),
            (500, anthropic("overloaded_error"), Kind::Overloaded),
            (
                403,
                openai("invalid_request_error", r#""model_not_found""#),
                Kind::NotFound,
            ),
            (
                403,
                openai("x", r#""unsupported_country_region_territory""#),
                Kind::Server,
            ),
            (
                403,
                openai("new_api_error", r#""insufficient_user_quota""#),
                Kind::Quota,
            ),
            (
                500,
                openai("server_error", r#""context_length_exceeded""#),
                Kind::InvalidRequest,
            ),
        ] {
            assert_eq!(kind_of(status, &body), kind, "{status} {body}");
        }
        let coded = r#"{"type":"error","error":{"type":"invalid_request_error","message":"m",
            "details":{"error_code":"organization_on_hold"}}}"#;
        assert_eq!(kind_of(400, coded), Kind::Auth);
        let gemini = r#"{"error":{"code":400,"message":"API key not valid","status":
            "INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
            "reason":"API_KEY_INVALID"}]}}"#;
        assert_eq!(kind_of(400, gemini), Kind::Auth);
    }

    // CLS-01
    #[test]
    fn a_sentence_counts_only_at_the_beginning_of_a_message() {
        let body = |text: &str| {
            format!(r#"{{"error":{{"type":"invalid_request_error","message":"{text}"}}}}"#)
        };
        for sentence in SENTENCES {
            let text = sentence.begins.to_uppercase();
            assert_eq!(kind_of(sentence.status, &body(&text)), sentence.kind);
            assert_eq!(
                kind_of(400, &body(&format!("bad value: {text}"))),
                Kind::InvalidRequest
            );
            assert_eq!(kind_of(402, &body(&text)), Kind::Quota, "not under 402");
        }
    }

    // CLS-01
    #[test]
    fn the_status_goes_before_type_and_phrases() {
        assert_eq!(
            kind_of(500, &anthropic("authentication_error")),
            Kind::Server
        );
        assert_eq!(kind_of(429, &anthropic("api_error")), Kind::RateLimit);
        let text = r#"{"error":{"type":"x","message":"invalid api key"}}"#;
        assert_eq!(kind_of(503, text), Kind::Overloaded);
        // With neither, the type goes before the phrases.
        let text = r#"{"error":{"type":"rate_limit_error","message":"service unavailable"}}"#;
        assert_eq!(kind_of(200, text), Kind::RateLimit);
    }

    // CLS-06, CLS-07, CLS-09, CLS-10
    #[test]
    fn each_status_has_its_kind() {
        for (status, kind) in [
            (400, Kind::InvalidRequest),
            (401, Kind::Auth),
            (402, Kind::Quota),
            (403, Kind::Auth),
            (404, Kind::NotFound),
            (405, Kind::InvalidRequest),
            (408, Kind::Server),
            (409, Kind::Server),
            (413, Kind::InvalidRequest),
            (418, Kind::InvalidRequest),
            (422, Kind::InvalidRequest),
            (429, Kind::RateLimit),
            (499, Kind::InvalidRequest),
            (500, Kind::Server),
            (501, Kind::Server),
            (502, Kind::Overloaded),
            (503, Kind::Overloaded),
            (504, Kind::Overloaded),
            (520, Kind::Server),
            (529, Kind::Overloaded),
            (599, Kind::Server),
            (200, Kind::Unknown),
            (302, Kind::Unknown),
        ] {
            assert_eq!(
                kind_of(status, &openai("strange", "null")),
                kind,
                "{status}"
            );
        }
    }

    // CLS-07
    #[test]
    fn a_403_is_of_the_key_only_in_the_form_of_the_dialect() {
        assert_eq!(kind_of(403, &anthropic("permission_error")), Kind::Auth);
        for foreign in [
            "",
            "<html>Forbidden</html>",
            r#"{"error":{}}"#,
            r#"{"message":"Forbidden"}"#,
        ] {
            assert_eq!(kind_of(403, foreign), Kind::Unknown, "{foreign}");
        }
        // A gateway's own words have to say it.
        assert_eq!(kind_of(403, r#"{"error":"invalid api key"}"#), Kind::Auth);
        assert_eq!(
            kind_of(403, r#"{"error":"access denied by rule 7"}"#),
            Kind::Unknown
        );
        let model = r#"{"type":"error","error":{"type":"permission_error",
            "message":"no access to model: claude-x"}}"#;
        assert_eq!(kind_of(403, model), Kind::NotFound);
    }

    // CLS-07
    #[test]
    fn only_the_model_of_a_generation_can_be_missing() {
        let body = anthropic("not_found_error");
        let without_model = Facts {
            model: None,
            ..generation()
        };
        let other = Facts {
            operation: Operation::Other,
            ..generation()
        };
        for status in [Some(404), None] {
            assert_eq!(
                judge_with(&generation(), status, &body).kind,
                Kind::NotFound
            );
            for facts in [&without_model, &other] {
                let verdict = judge_with(facts, status, &body);
                assert_eq!(verdict, Verdict::new(Kind::InvalidRequest));
            }
        }
    }

    // CLS-08
    #[test]
    fn an_invalid_request_never_blames_the_key() {
        for body in [
            anthropic("invalid_request_error"),
            r#"{"type":"error","error":{"type":"invalid_request_error",
                "message":"messages.0: unauthorized is not a role"}}"#
                .to_owned(),
            anthropic("authentication_error"),
        ] {
            let verdict = judge_with(&generation(), 400, &body);
            assert_eq!(verdict, Verdict::new(Kind::InvalidRequest));
            assert_eq!(verdict.kind.class(), Class::Permanent);
        }
    }

    // CLS-02, CLS-03
    #[test]
    fn an_error_body_under_200_is_judged_by_its_type() {
        for status in [Some(200), None] {
            for (body, kind) in [
                (r#"{"error":{"type":"authentication_error"}}"#, Kind::Auth),
                (r#"{"error":{"type":"permission_error"}}"#, Kind::Auth),
                (r#"{"error":{"type":"rate_limit_error"}}"#, Kind::RateLimit),
                (r#"{"error":{"type":"overloaded_error"}}"#, Kind::Overloaded),
                (r#"{"error":{"type":"api_error"}}"#, Kind::Server),
                (r#"{"error":{"type":"timeout_error"}}"#, Kind::Timeout),
                (
                    r#"{"error":{"type":"invalid_request_error"}}"#,
                    Kind::InvalidRequest,
                ),
                (
                    r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#,
                    Kind::Overloaded,
                ),
                (
                    r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#,
                    Kind::RateLimit,
                ),
                (
                    r#"{"error":{"code":"rate_limit_exceeded"}}"#,
                    Kind::RateLimit,
                ),
                (r#"{"error":{"message":"something odd"}}"#, Kind::Unknown),
            ] {
                assert_eq!(kind_of(status, body), kind, "{status:?} {body}");
            }
        }
    }

    // CLS-02
    #[test]
    fn every_form_of_an_error_is_read() {
        for (body, kind) in [
            (r#"{"error":{"message":"rate limit"}}"#, Kind::RateLimit),
            (r#"{"error":"rate limit"}"#, Kind::RateLimit),
            (r#"{"message":"rate limit","code":"x"}"#, Kind::RateLimit),
            (r#"{"msg":"rate limit","code":1}"#, Kind::RateLimit),
            (r#"[{"error":{"message":"rate limit"}}]"#, Kind::RateLimit),
            (
                r#"{"type":"error","message":"rate limit","code":null}"#,
                Kind::RateLimit,
            ),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"server_error"}}}"#,
                Kind::Server,
            ),
            // A status that the body names, where there is no other.
            (r#"{"error":{"code":401,"message":"no"}}"#, Kind::Auth),
            (
                r#"{"error":{"code":"502","message":"no"}}"#,
                Kind::Overloaded,
            ),
            (r#"{"code":403,"message":"no"}"#, Kind::Unknown),
        ] {
            assert_eq!(kind_of(200, body), kind, "{body}");
        }
    }

    // CLS-04
    #[test]
    fn the_output_of_a_model_is_no_evidence() {
        for body in [
            r#"{"content":[{"type":"text","text":"rate limit, quota exceeded"}]}"#,
            r#"{"choices":[{"message":{"content":"invalid api key"}}],"error":null}"#,
            r#"{"error":{"message":"odd","partial":{"text":"rate limit"}}}"#,
            r#"{"message":"rate limit"}"#,
        ] {
            assert_eq!(kind_of(200, body), Kind::Unknown, "{body}");
        }
    }

    // CLS-05
    #[test]
    fn the_first_list_of_phrases_decides() {
        let body = r#"{"error":{"message":"quota exceeded, then timeout"}}"#;
        assert_eq!(kind_of(None, body), Kind::Quota);
    }

    // CLS-06, CLS-07, CLS-09
    #[test]
    fn the_words_of_the_sources_have_their_class() {
        for (text, kind, class) in [
            ("connection refused", Kind::Transport, Class::Transient),
            (
                "connection reset by peer",
                Kind::Transport,
                Class::Transient,
            ),
            ("broken pipe", Kind::Transport, Class::Transient),
            ("timeout", Kind::Timeout, Class::Transient),
            ("rate limit", Kind::RateLimit, Class::RateLimit),
            ("quota exceeded", Kind::Quota, Class::RateLimit),
            ("invalid api key", Kind::Auth, Class::Auth),
            ("invalid request", Kind::InvalidRequest, Class::Permanent),
            ("service unavailable", Kind::Overloaded, Class::Transient),
        ] {
            let body = format!(r#"{{"error":{{"message":"{text}"}}}}"#);
            assert_eq!(kind_of(200, &body), kind, "{text}");
            assert_eq!(kind.class(), class, "{text}");
        }
    }

    // CLS-10
    #[test]
    fn an_empty_or_broken_body_is_unknown() {
        for body in [
            "",
            " ",
            "{",
            "[]",
            "null",
            "0",
            "\"x\"",
            "<html>",
            r#"{"error":null}"#,
        ] {
            for status in [None, Some(200), Some(403)] {
                assert_eq!(kind_of(status, body), Kind::Unknown, "{status:?} {body}");
            }
        }
        let deep = "[".repeat(10_000);
        assert_eq!(kind_of(200, &deep), Kind::Unknown);
    }

    // CLS-11
    #[test]
    fn digits_in_a_text_are_no_evidence() {
        let body = r#"{"error":{"message":"request id 4290401503 failed"}}"#;
        assert_eq!(kind_of(200, body), Kind::Unknown);
        let body = r#"{"error":{"message":"429 401 503"}}"#;
        assert_eq!(kind_of(200, body), Kind::Unknown);
    }

    // CLS-12
    #[test]
    fn the_blame_follows_the_kind() {
        assert_eq!(judge_with(&generation(), 400, "").blame, Blame::Caller);
        assert_eq!(judge_with(&generation(), 429, "").blame, Blame::Credential);
        assert_eq!(judge_with(&generation(), 500, "").blame, Blame::Endpoint);
        // One request larger than the limit of a minute says nothing of the key.
        let body = r#"{"error":{"message":"Request too large for gpt-x on tokens per min (TPM)",
            "type":"tokens","code":"rate_limit_exceeded"}}"#;
        assert_eq!(judge_with(&generation(), 429, body).blame, Blame::Caller);
    }

    // CLS-14
    #[test]
    fn a_count_of_tokens_penalises_nobody() {
        let facts = Facts {
            operation: Operation::CountTokens,
            ..generation()
        };
        for status in [401, 404, 405, 429, 500, 529] {
            let verdict = judge_with(&facts, status, &anthropic("x"));
            assert_eq!(verdict.blame, Blame::Caller, "{status}");
            assert_eq!(verdict.until, None, "{status}");
        }
        assert_eq!(judge_with(&facts, 404, "").kind, Kind::InvalidRequest);
    }

    // CLS-01
    #[test]
    fn gemini_tells_a_limit_of_a_minute_from_a_quota_of_a_day() {
        let body = |quota: &str, message: &str| {
            format!(
                r#"{{"error":{{"code":429,"message":"{message}","status":"RESOURCE_EXHAUSTED",
                "details":[{{"violations":[{{"quotaId":"{quota}"}}]}},
                {{"reason":"RATE_LIMIT_EXCEEDED"}},{{"retryDelay":"38s"}}]}}}}"#
            )
        };
        let minute = body("GenerateRequestsPerMinutePerProjectPerModel", "limit: 05");
        let day = body("GenerateRequestsPerDayPerProjectPerModel", "m");
        let nothing = body("x", "quota exceeded, limit: 0, model: m");
        for status in [Some(429), None] {
            assert_eq!(kind_of(status, &minute), Kind::RateLimit);
            assert_eq!(kind_of(status, &day), Kind::Quota);
            assert_eq!(kind_of(status, &nothing), Kind::Quota);
        }
        let full = r#"{"error":{"status":"RESOURCE_EXHAUSTED","message":"m",
            "details":[{"reason":"MODEL_CAPACITY_EXHAUSTED"}]}}"#;
        assert_eq!(kind_of(429, full), Kind::Overloaded);
    }

    // CLS-13
    #[test]
    fn the_cool_down_starts_now_and_has_a_default() {
        let facts = generation();
        let now = time::now();
        let judge_at = |status, headers: &HeaderMap| {
            judge(&Evidence {
                facts: &facts,
                status: StatusCode::from_u16(status).ok(),
                headers: Some(headers),
                body: b"",
                now,
                date: SystemTime::UNIX_EPOCH,
            })
        };
        let mut headers = HeaderMap::new();
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(judge_at(429, &headers).until, after(30));
        assert_eq!(judge_at(402, &headers).until, after(3600));
        assert_eq!(judge_at(503, &headers).until, None);
        headers.insert("retry-after", 7.into());
        assert_eq!(judge_at(429, &headers).until, after(7));
        assert_eq!(judge_at(503, &headers).until, after(7));
        assert_eq!(judge_at(500, &headers).until, None);
        assert_eq!(judge_at(401, &headers).until, None);
    }

    // CLS-01
    #[test]
    fn an_exhausted_limit_is_the_last_evidence() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining-requests", 0.into());
        headers.insert("x-ratelimit-reset-requests", "6m0s".parse().unwrap());
        let now = time::now();
        let facts = generation();
        let judge_body = |body: &str| {
            judge(&Evidence {
                facts: &facts,
                status: Some(StatusCode::FORBIDDEN),
                headers: Some(&headers),
                body: body.as_bytes(),
                now,
                date: SystemTime::UNIX_EPOCH,
            })
        };
        let verdict = judge_body("");
        assert_eq!(verdict.kind, Kind::RateLimit);
        assert_eq!(verdict.until, Some(now + Duration::from_secs(360)));
        assert_eq!(judge_body(&anthropic("permission_error")).kind, Kind::Auth);
    }
}
