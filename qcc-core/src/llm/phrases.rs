//! Phrases in error texts: the last evidence, where neither code nor status nor type decides.

use smallvec::SmallVec;

use crate::failure::Kind;

/// The phrases of each kind, in the order in which they are tried. Letters match in any case,
/// and only whole words do. No phrase is in two lists.
pub const PHRASES: [(Kind, &[&str]); 8] = [
    (
        Kind::Quota,
        &[
            "quota exceeded",
            "insufficient_quota",
            "no remaining quota",
            "no ai requests remaining",
            "credit balance",
            "billing",
        ],
    ),
    (
        Kind::RateLimit,
        &[
            "rate limit",
            "rate_limit_exceeded",
            "too many requests",
            "requests per minute",
            "requests per day",
            "throttled",
        ],
    ),
    (
        Kind::Auth,
        &[
            "unauthorized",
            "forbidden",
            "authentication failed",
            "authentication_error",
            "permission_denied",
            "invalid api key",
            "invalid_api_key",
            "api key is disabled",
            "token expired",
            "oauth token has expired",
        ],
    ),
    (
        Kind::NotFound,
        &["not found", "model not found", "invalid_model"],
    ),
    (
        Kind::InvalidRequest,
        &[
            "invalid request",
            "invalid_request_error",
            "bad request",
            "validation_error",
            "invalid_type",
            "malformed",
        ],
    ),
    (
        Kind::Overloaded,
        &[
            "overloaded",
            "service unavailable",
            "temporarily unavailable",
        ],
    ),
    (
        Kind::Timeout,
        &["timeout", "timed out", "connection timeout", "read timeout"],
    ),
    (
        Kind::Transport,
        &[
            "closing transport",
            "cannot write",
            "connection reset",
            "connection refused",
            "connection aborted",
            "broken pipe",
            "server disconnected",
        ],
    ),
];

/// How much of a text is searched. An error says what it is at its beginning; the rest may be
/// what the client sent.
const SEARCHED: usize = 4096;

/// The kind whose list is the first to have a phrase in one of `texts`.
pub(super) fn find<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Kind> {
    let texts: SmallVec<[String; 4]> = texts
        .into_iter()
        .map(|text| text[..text.floor_char_boundary(SEARCHED)].to_ascii_lowercase())
        .collect();
    PHRASES
        .iter()
        .find(|(_, phrases)| {
            phrases
                .iter()
                .any(|phrase| texts.iter().any(|text| has(text, phrase)))
        })
        .map(|(kind, _)| *kind)
}

/// Whether `phrase` stands in `text` between word boundaries.
fn has(text: &str, phrase: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    memchr::memmem::find_iter(bytes, phrase).any(|start| {
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(start + phrase.len());
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // CLS-05
    #[test]
    fn each_phrase_gives_the_kind_of_its_list() {
        for (kind, phrases) in PHRASES {
            for phrase in phrases {
                let text = format!("Upstream said: {}!", phrase.to_uppercase());
                assert_eq!(find([&*text]), Some(kind), "{phrase}");
                assert_eq!(find([&*format!("x{phrase}x")]), None, "{phrase}");
            }
        }
    }

    // CLS-05
    #[test]
    fn no_phrase_is_in_two_lists() {
        let mut all: Vec<&str> = PHRASES
            .iter()
            .flat_map(|(_, list)| *list)
            .copied()
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    // CLS-05
    #[test]
    fn the_order_of_the_lists_decides_and_not_that_of_the_words() {
        assert_eq!(find(["quota exceeded, then timeout"]), Some(Kind::Quota));
        assert_eq!(find(["timeout, then quota exceeded"]), Some(Kind::Quota));
        assert_eq!(
            find(["timeout", "broken pipe, forbidden"]),
            Some(Kind::Auth)
        );
    }

    // CLS-01
    #[test]
    fn only_whole_words_count() {
        assert_eq!(find(["no timeouts here"]), None);
        assert_eq!(find(["my_timeout"]), None);
        assert_eq!(find(["请求timeout了"]), Some(Kind::Timeout));
        assert_eq!(find(["(timeout)"]), Some(Kind::Timeout));
    }

    // CLS-11
    #[test]
    fn digits_never_classify() {
        assert_eq!(find(["request id 4290401503 failed"]), None);
        assert_eq!(find(["429", "401 503 500"]), None);
    }

    #[test]
    fn a_long_text_is_searched_at_its_beginning_only() {
        let text = format!("{} timeout", "ü".repeat(SEARCHED));
        assert_eq!(find([&*text]), None);
    }
}
