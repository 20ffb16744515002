//! What an issuer, a command or a URL answers: pure.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::expiry::{self, Expiry};
use super::jwt;
use crate::time::Duration;

/// A token in the form in which it was answered.
#[derive(PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) access: String,
    /// The refresh token that takes the place of the one that was used.
    pub(super) refresh: Option<String>,
    pub(super) expiry: Expiry,
}

/// Why an answer is none. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoToken {
    #[error("it is empty")]
    Empty,
    #[error("it is not a JSON object")]
    NoObject,
    #[error("it is neither one token nor a JSON object")]
    NeitherForm,
    #[error("its JSON has no `access_token`")]
    Missing,
    #[error("the token in it has characters that no header can have")]
    Unfit,
}

#[derive(Deserialize)]
struct Document {
    access_token: Option<String>,
    token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<Value>,
    expires_at: Option<Value>,
    expiry: Option<Value>,
}

impl Answer {
    /// The answer of an issuer: a JSON object with `access_token`, perhaps `refresh_token`, and
    /// an end. The end is `expires_in` in seconds, or `expires_at` or `expiry` in seconds or
    /// milliseconds since 1970 or as a date of RFC 3339, or else the `exp` of a token that is a
    /// JWT.
    pub(super) fn of_issuer(body: &[u8]) -> Result<Self, NoToken> {
        // A list would be read as the members of the object in their order.
        let object = body.trim_ascii();
        if !object.starts_with(b"{") {
            return Err(NoToken::NoObject);
        }
        let document: Document = serde_json::from_slice(object).map_err(|_| NoToken::NoObject)?;
        let Document {
            access_token,
            token,
            refresh_token,
            ..
        } = &document;
        let access = given(access_token.as_deref()).or_else(|| given(token.as_deref()));
        let access = access.ok_or(NoToken::Missing)?;
        if !is_fit(access) {
            return Err(NoToken::Unfit);
        }
        let expiry = document.expiry().or_else(|| jwt::expiry(access));
        Ok(Self {
            access: access.to_owned(),
            refresh: given(refresh_token.as_deref()).map(str::to_owned),
            expiry: expiry.unwrap_or(Expiry::Unknown),
        })
    }

    /// What a command or a URL gives: the token and nothing else, or a JSON object as of an
    /// issuer, where the token may also be called `token`.
    pub(super) fn of_any(body: &[u8]) -> Result<Self, NoToken> {
        let text = std::str::from_utf8(body).map_err(|_| NoToken::NeitherForm)?;
        match text.trim() {
            "" => Err(NoToken::Empty),
            object if object.starts_with('{') => Self::of_issuer(object.as_bytes()),
            token if is_fit(token) => Ok(Self {
                access: token.to_owned(),
                refresh: None,
                expiry: jwt::expiry(token).unwrap_or(Expiry::Unknown),
            }),
            _ => Err(NoToken::NeitherForm),
        }
    }
}

impl Document {
    fn expiry(&self) -> Option<Expiry> {
        if let Some(life) = &self.expires_in {
            let life = number(life).and_then(|life| Duration::try_from_secs_f64(life).ok());
            return Some(life.map_or(Expiry::Unreadable, Expiry::After));
        }
        let date = self.expires_at.as_ref().or(self.expiry.as_ref())?;
        let read = match (number(date), date) {
            (Some(number), _) => expiry::since_1970(number),
            (None, Value::String(text)) => {
                let date: Option<jiff::Timestamp> = text.trim().parse().ok();
                date.map(Into::into)
            }
            _ => None,
        };
        Some(read.map_or(Expiry::Unreadable, Expiry::At))
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// A number, which some write as a text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
}

/// Whether it can stand in a header as one word.
fn is_fit(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::jwt::tests::jwt;
    use super::*;
    use crate::time::SystemTime;

    fn at(seconds: u64) -> Expiry {
        Expiry::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn expiry_of(members: &str) -> Expiry {
        let body = format!(r#"{{"access_token":"sk-test-1"{members}}}"#);
        Answer::of_issuer(body.as_bytes()).unwrap().expiry
    }

    #[test]
    fn an_answer_has_a_token_and_perhaps_the_next_refresh_token() {
        let body = br#"{"access_token":"sk-test-1","token_type":"Bearer","expires_in":3600,
            "refresh_token":"sk-test-r2","scope":"a b","id_token":null}"#;
        let answer = Answer::of_issuer(body).unwrap();
        assert_eq!(answer.access, "sk-test-1");
        assert_eq!(answer.refresh.as_deref(), Some("sk-test-r2"));
        assert_eq!(answer.expiry, Expiry::After(Duration::from_secs(3600)));
        let body = br#"{"access_token":"sk-test-1","refresh_token":""}"#;
        assert_eq!(Answer::of_issuer(body).unwrap().refresh, None);
    }

    // TOK-22
    #[test]
    fn the_end_is_read_in_every_usual_form() {
        let hour = Expiry::After(Duration::from_secs(3600));
        for (members, expected) in [
            ("", Expiry::Unknown),
            (r#","expires_in":3600"#, hour),
            (r#","expires_in":"3600""#, hour),
            (r#","expires_in":3600,"expires_at":1"#, hour),
            (
                r#","expires_in":null,"expires_at":1790000000"#,
                at(1_790_000_000),
            ),
            (r#","expires_at":1790000000000"#, at(1_790_000_000)),
            (r#","expires_at":"1790000000""#, at(1_790_000_000)),
            (r#","expiry":"2026-01-01T00:00:00Z""#, at(1_767_225_600)),
            (
                r#","expiry":"2026-01-01T02:00:00+02:00""#,
                at(1_767_225_600),
            ),
            (r#","expires_in":-1"#, Expiry::Unreadable),
            (r#","expires_in":"soon""#, Expiry::Unreadable),
            (r#","expires_in":{}"#, Expiry::Unreadable),
            (r#","expiry":"tomorrow""#, Expiry::Unreadable),
            (r#","expiry":[]"#, Expiry::Unreadable),
        ] {
            assert_eq!(expiry_of(members), expected, "{members}");
        }
    }

    // TOK-22, TOK-23
    #[test]
    fn without_another_end_that_of_the_jwt_counts() {
        let answer = |token: &str, members: &str| {
            let body = format!(r#"{{"access_token":"{token}"{members}}}"#);
            Answer::of_issuer(body.as_bytes()).unwrap().expiry
        };
        let token = jwt(r#"{"exp":1790000000}"#);
        assert_eq!(answer(&token, ""), at(1_790_000_000));
        let minute = Expiry::After(Duration::from_secs(60));
        assert_eq!(answer(&token, r#","expires_in":60"#), minute);
        assert_eq!(answer(&jwt("{}"), ""), Expiry::Unreadable);
        assert_eq!(answer(&jwt("{}"), r#","expires_in":60"#), minute);
    }

    // TOK-02
    #[test]
    fn a_command_gives_the_token_alone_or_in_json() {
        for (text, token, expiry) in [
            ("sk-test-1\n", "sk-test-1", Expiry::Unknown),
            ("  sk-test-1\r\n", "sk-test-1", Expiry::Unknown),
            (r#"{"token":"sk-test-1"}"#, "sk-test-1", Expiry::Unknown),
            (
                "{\"access_token\":\"sk-test-1\",\"expires_in\":9}\n",
                "sk-test-1",
                Expiry::After(Duration::from_secs(9)),
            ),
        ] {
            let answer = Answer::of_any(text.as_bytes()).unwrap();
            assert_eq!((&*answer.access, answer.expiry), (token, expiry), "{text}");
        }
        let token = jwt(r#"{"exp":1790000000}"#);
        let answer = Answer::of_any(token.as_bytes()).unwrap();
        assert_eq!(answer.expiry, at(1_790_000_000));
    }

    #[test]
    fn what_is_no_token_is_told_and_not_shown() {
        for (text, expected) in [
            (&b""[..], NoToken::Empty),
            (b" \n", NoToken::Empty),
            (b"error: not logged in", NoToken::NeitherForm),
            (b"one\ntwo", NoToken::NeitherForm),
            (b"\xff\xfe", NoToken::NeitherForm),
            (b"{\"access_token\":1}", NoToken::NoObject),
            (b"{", NoToken::NoObject),
            (b"{}", NoToken::Missing),
            (b"{\"access_token\":\"\"}", NoToken::Missing),
            (b"{\"access_token\":\"a\\nb\"}", NoToken::Unfit),
        ] {
            assert_eq!(Answer::of_any(text).unwrap_err(), expected, "{text:?}");
        }
        assert_eq!(Answer::of_issuer(b"[]").unwrap_err(), NoToken::NoObject);
    }

    // SEC-02
    #[test]
    fn debug_shows_no_token() {
        let answer = Answer::of_any(b"sk-test-1").unwrap();
        assert_eq!(format!("{answer:?}"), "Answer { expiry: Unknown, .. }");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_token_or_not(body: Vec<u8>) {
            let answers = [Answer::of_any(&body), Answer::of_issuer(&body)];
            for answer in answers.into_iter().flatten() {
                prop_assert!(!answer.access.is_empty() && is_fit(&answer.access));
            }
        }

        #[test]
        fn any_end_is_read_or_not(end in prop_oneof![
            any::<f64>().prop_map(|number| format!("{number:?}")),
            any::<i64>().prop_map(|number| number.to_string()),
            "\"[0-9TZ:+. -]{0,30}\"",
        ], key in "expires_in|expires_at|expiry") {
            let body = format!(r#"{{"token":"t","{key}":{end}}}"#);
            let got = SystemTime::UNIX_EPOCH;
            if let Ok(answer) = Answer::of_any(body.as_bytes()) {
                prop_assert!(answer.expiry.date(got) > Some(got));
            }
        }
    }
}
