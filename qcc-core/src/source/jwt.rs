//! When a JWT expires: read and never verified, because it is only a hint. Pure.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::expiry::{self, Expiry};

/// Longer ones are not decoded.
const LONGEST: usize = 16 << 10;

/// Without padding, as it has to be, or with, as some write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent),
);

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// What `token` says of its end, if it is a JWT: three parts, of which the first is a header.
pub(super) fn expiry(token: &str) -> Option<Expiry> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let header = decode(header)?;
    serde_json::from_slice::<serde_json::Map<_, _>>(&header).ok()?;
    let exp = decode(claims)
        .and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok())
        .and_then(|claims| expiry::seconds_since_1970(claims.exp));
    Some(exp.map_or(Expiry::Unreadable, Expiry::At))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    let short = Some(part).filter(|part| part.len() <= LONGEST)?;
    BASE64.decode(short).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Duration, SystemTime};

    /// A token with these claims and a signature that nobody checks.
    pub(crate) fn jwt(claims: &str) -> String {
        let part = |text: &str| BASE64.encode(text).trim_end_matches('=').to_owned();
        format!("{}.{}.c2ln", part(r#"{"alg":"none"}"#), part(claims))
    }

    // TOK-22
    #[test]
    fn exp_is_read_without_a_look_at_the_signature() {
        let at = |seconds| Some(Expiry::At(SystemTime::UNIX_EPOCH + seconds));
        let seconds = Duration::from_secs(1_790_000_000);
        let whole = jwt(r#"{"sub":"x","exp":1790000000}"#);
        assert_eq!(expiry(&whole), at(seconds));
        let half = Duration::from_millis(500);
        assert_eq!(
            expiry(&jwt(r#"{"exp":1790000000.5}"#)),
            at(seconds + half),
            "a date may have a fraction"
        );
        let padded = whole.replacen('.', "=.", 1);
        assert_eq!(expiry(&padded), at(seconds));
    }

    // TOK-23
    #[test]
    fn a_jwt_without_a_readable_exp_counts_as_expired() {
        for claims in [
            "{}",
            r#"{"exp":null}"#,
            r#"{"exp":"1790000000"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
            "[]",
            "no",
        ] {
            assert_eq!(expiry(&jwt(claims)), Some(Expiry::Unreadable), "{claims}");
        }
        let broken = jwt("{}").replacen('.', ".!", 1);
        assert_eq!(expiry(&broken), Some(Expiry::Unreadable));
        let long = jwt(&format!(r#"{{"exp":1,"x":"{}"}}"#, "x".repeat(LONGEST)));
        assert_eq!(expiry(&long), Some(Expiry::Unreadable));
    }

    #[test]
    fn what_only_looks_like_a_jwt_is_none() {
        for token in [
            "sk-test-0001",
            "a.b.c",
            "..",
            "",
            "e30.e30",
            "e30.e30.e30.e30.e30",
        ] {
            assert_eq!(expiry(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(token in "\\PC*|[A-Za-z0-9_=.-]{0,99}|(e30\\.){1,4}[A-Za-z0-9]*") {
            let _ = expiry(&token);
        }

        #[test]
        fn any_exp_is_a_date_or_unreadable(exp: f64) {
            let read = expiry(&jwt(&format!(r#"{{"exp":{exp:?}}}"#)));
            prop_assert!(matches!(read, Some(Expiry::At(_) | Expiry::Unreadable)));
        }
    }
}
