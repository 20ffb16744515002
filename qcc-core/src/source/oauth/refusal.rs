//! What the answer of an issuer means: pure.

use http::StatusCode;
use serde_json::Value;

use super::super::answer::Answer;
use super::super::words;
use crate::credential::Credential;
use crate::token::NotRefreshed;

/// Codes that say that somebody has to log in again: of RFC 6749 and OpenID Connect, of OpenAI
/// and of Google's identity services.
const LOGGED_OUT: [&str; 14] = [
    "access_denied",
    "account_deactivated",
    "expired_token",
    "invalid_grant",
    "invalid_refresh_token",
    "invalid_token",
    "interaction_required",
    "login_required",
    "refresh_token_expired",
    "refresh_token_invalidated",
    "refresh_token_reused",
    "token_expired",
    "user_disabled",
    "user_not_found",
];

/// Codes that say that the request itself will never do.
const MISCONFIGURED: [&str; 8] = [
    "invalid_client",
    "invalid_grant_type",
    "invalid_request",
    "invalid_scope",
    "missing_grant_type",
    "missing_refresh_token",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// Why there is no new token.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: NotRefreshed,
    /// Whether the refresh token is certainly still the one that it was.
    pub(super) unchanged: bool,
}

impl Refusal {
    /// There was no answer, or none that can be read: the refresh token may be another one now.
    pub(super) fn unknown(text: String) -> Self {
        Self {
            error: NotRefreshed::for_now(text),
            unchanged: false,
        }
    }
}

/// What `host` answered to a refresh with `used`.
pub(super) fn judge(
    status: StatusCode,
    body: &[u8],
    host: &str,
    used: &Credential,
) -> Result<Answer, Refusal> {
    let number = status.as_u16();
    if status.is_success() {
        return Answer::of_issuer(body).map_err(|why| {
            Refusal::unknown(format!("the answer {number} of {host} has no token: {why}"))
        });
    }
    if status.is_redirection() {
        return Err(Refusal {
            error: NotRefreshed::for_now(format!(
                "{host} answered {number}: redirects are never followed; set the address that \
                 tokens are got from"
            )),
            unchanged: true,
        });
    }
    if !status.is_client_error() {
        return Err(Refusal::unknown(format!("{host} answered {number}")));
    }
    let told = Told::read(body);
    let what = told.describe(number, used);
    let code = told.code();
    let is_final = matches!(number, 400 | 401 | 403);
    let is_of = |codes: &[&str]| is_final && code.is_some_and(|code| is_among(codes, code));
    let error = if is_of(&LOGGED_OUT) {
        NotRefreshed::for_good(format!(
            "{host} refused the refresh token ({what}): log in again and put the new refresh \
             token in its place"
        ))
    } else if is_of(&MISCONFIGURED) {
        NotRefreshed::for_good(format!(
            "{host} refused the refresh itself ({what}): check its address, encoding, fields and \
             headers"
        ))
    } else {
        NotRefreshed::for_now(format!("{host} answered {what}"))
    };
    Err(Refusal {
        error,
        unchanged: true,
    })
}

/// What an error document says of itself.
#[derive(Default)]
struct Told {
    codes: Vec<String>,
    description: Option<String>,
}

impl Told {
    fn read(body: &[u8]) -> Self {
        let Ok(Value::Object(document)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let mut told = Self::default();
        match document.get("error") {
            Some(Value::Object(error)) => {
                let places = ["code", "type", "message", "status"];
                let codes = places.into_iter().filter_map(|key| text(error.get(key)));
                told.codes.extend(codes);
                told.description = text(error.get("message"));
            }
            error => told.codes.extend(text(error)),
        }
        told.codes.extend(text(document.get("code")));
        if let Some(description) = text(document.get("error_description")) {
            told.description = Some(description);
        }
        told
    }

    /// The code that says the most: one that is known, or else the first.
    fn code(&self) -> Option<&str> {
        let mut codes = self.codes.iter().filter_map(|text| word(text));
        let known = |code: &&str| is_among(&LOGGED_OUT, code) || is_among(&MISCONFIGURED, code);
        codes.clone().find(known).or_else(|| codes.next())
    }

    /// `400 invalid_grant: the token has expired`.
    fn describe(&self, status: u16, used: &Credential) -> String {
        let mut text = status.to_string();
        if let Some(code) = self.code() {
            text.push(' ');
            text.push_str(code);
        }
        let description = self.description.as_deref().map(|description| {
            let clean = used.redact(description.as_bytes());
            let clean = clean.as_deref().map(String::from_utf8_lossy);
            words::in_one_line(clean.as_deref().unwrap_or(description))
        });
        match description {
            Some(description) if Some(&*description) != self.code() && !description.is_empty() => {
                format!("{text}: {}", description.trim_end_matches('.'))
            }
            _ => text,
        }
    }
}

/// The code that a text begins with, if it is one.
fn word(text: &str) -> Option<&str> {
    let is_of_code = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let end = text.find(|c| !is_of_code(c)).unwrap_or(text.len());
    let code = &text[..end];
    // A code stands alone, or a colon and its explanation follow.
    let alone = text[end..].trim_start().is_empty() || text[end..].trim_start().starts_with(':');
    (alone && (1..=40).contains(&end)).then_some(code)
}

fn is_among(codes: &[&str], code: &str) -> bool {
    codes.iter().any(|known| known.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used() -> Credential {
        Credential::new("me", "sk-test-r1")
    }

    fn refusal(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        judge(status, body.as_bytes(), "auth.example", &used()).unwrap_err()
    }

    #[test]
    fn a_refresh_token_that_is_no_good_is_refused_for_good() {
        for (status, body, what) in [
            (400, r#"{"error":"invalid_grant"}"#, "400 invalid_grant"),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"It has expired."}"#,
                "400 invalid_grant: It has expired",
            ),
            (
                401,
                r#"{"error":{"code":"refresh_token_reused","message":"Used before"}}"#,
                "401 refresh_token_reused: Used before",
            ),
            (
                401,
                r#"{"code":"refresh_token_expired"}"#,
                "401 refresh_token_expired",
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"TOKEN_EXPIRED","status":"INVALID_ARGUMENT"}}"#,
                "400 TOKEN_EXPIRED",
            ),
        ] {
            let Refusal { error, unchanged } = refusal(status, body);
            assert!(error.is_permanent() && unchanged, "{body}");
            assert_eq!(
                error.to_string(),
                format!(
                    "auth.example refused the refresh token ({what}): log in again and put the \
                     new refresh token in its place"
                )
            );
        }
    }

    #[test]
    fn a_request_that_will_never_do_is_refused_for_good_and_says_what_to_check() {
        let Refusal { error, .. } = refusal(401, r#"{"error":"invalid_client"}"#);
        assert!(error.is_permanent());
        assert_eq!(
            error.to_string(),
            "auth.example refused the refresh itself (401 invalid_client): check its address, \
             encoding, fields and headers"
        );
    }

    #[test]
    fn whatever_else_is_answered_may_be_over_soon() {
        for (status, body, text, unchanged) in [
            (
                429,
                r#"{"error":"slow_down"}"#,
                "auth.example answered 429 slow_down",
                true,
            ),
            (
                429,
                r#"{"error":"invalid_grant"}"#,
                "auth.example answered 429 invalid_grant",
                true,
            ),
            (
                403,
                "<html>blocked</html>",
                "auth.example answered 403",
                true,
            ),
            (
                400,
                r#"{"error":"odd"}"#,
                "auth.example answered 400 odd",
                true,
            ),
            (
                503,
                r#"{"error":"invalid_grant"}"#,
                "auth.example answered 503",
                false,
            ),
            (
                200,
                "<html>",
                "the answer 200 of auth.example has no token: it is not a JSON object",
                false,
            ),
            (
                200,
                "{}",
                "the answer 200 of auth.example has no token: its JSON has no `access_token`",
                false,
            ),
        ] {
            let refusal = refusal(status, body);
            assert!(!refusal.error.is_permanent(), "{status} {body}");
            assert_eq!(refusal.error.to_string(), text);
            assert_eq!(refusal.unchanged, unchanged, "{status} {body}");
        }
    }

    // SEC-08
    #[test]
    fn a_redirect_is_not_followed_and_says_so() {
        let Refusal { error, .. } = refusal(307, "");
        assert_eq!(
            error.to_string(),
            "auth.example answered 307: redirects are never followed; set the address that \
             tokens are got from"
        );
    }

    // SEC-02, SEC-07
    #[test]
    fn an_echoed_refresh_token_is_not_shown() {
        let body = r#"{"error":"invalid_grant","error_description":"bad sk-test-r1\u0007\n!"}"#;
        let text = refusal(400, body).error.to_string();
        assert!(text.contains("bad [redacted] !"), "{text}");
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_and_no_secret_shown(status in 100_u16..600, body in "\\PC{0,200}",
                                                   description in "\\PC{0,20}") {
            let body = if body.len() % 2 == 0 {
                serde_json::json!({ "error": body, "error_description":
                    format!("{description}sk-test-r1{body}") }).to_string()
            } else {
                body
            };
            let status = StatusCode::from_u16(status).unwrap();
            if let Err(Refusal { error, .. }) = judge(status, body.as_bytes(), "h", &used()) {
                prop_assert!(!error.text().contains("sk-test-r1"));
            }
        }
    }
}
