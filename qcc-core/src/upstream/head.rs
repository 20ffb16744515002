//! Which headers pass, and which do not. Pure.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Headers to be taken out; a head rarely has more of them.
type Names = SmallVec<[HeaderName; 12]>;

/// Takes out of a request what belongs to the client's connection, to the client's identity or
/// to this crate.
pub(super) fn clean_request(headers: &mut HeaderMap) {
    remove(headers, |name| {
        is_hop_by_hop(name)
            || is_ours_to_set(name)
            || is_credential(name)
            || is_client_address(name)
    });
}

/// Takes out of an answer what belongs to the upstream's connection or to the account behind
/// it. The limits of an account mean nothing to the clients of a pool; a failed answer keeps
/// them until it was judged.
pub(super) fn clean_response(headers: &mut HeaderMap, is_success: bool) {
    remove(headers, |name| {
        is_hop_by_hop(name) || is_account(name) || (is_success && is_limit(name))
    });
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let mut names: Names = headers
        .keys()
        .filter(|name| unwanted(name.as_str()))
        .cloned()
        .collect();
    for value in headers.get_all(header::CONNECTION) {
        names.extend(
            value
                .as_bytes()
                .split(|&byte| byte == b',')
                .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok()),
        );
    }
    for name in names {
        if let Entry::Occupied(entry) = headers.entry(name) {
            entry.remove_entry_mult();
        }
    }
}

/// RFC 9110, section 7.6.1, and two that it forgot.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// `Host` comes from the endpoint's address. `Expect` was answered by the server that took the
/// request.
fn is_ours_to_set(name: &str) -> bool {
    matches!(name, "host" | "expect") || name.starts_with("x-qcc-")
}

/// What may authenticate a client, or name the account that it means to use.
fn is_credential(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "cookie"
            | "chatgpt-account-id"
            | "openai-organization"
            | "openai-project"
            | "x-organization-uuid"
    )
}

/// Where the client is concerns no upstream.
fn is_client_address(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

fn is_account(name: &str) -> bool {
    matches!(
        name,
        "set-cookie" | "anthropic-organization-id" | "openai-organization"
    )
}

fn is_limit(name: &str) -> bool {
    const PREFIXES: [&str; 5] = [
        "anthropic-ratelimit-",
        "anthropic-priority-",
        "x-ratelimit-",
        "x-codex-",
        "ratelimit",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Sets `name` to `value`, in the place of all values that it had.
pub(super) fn set_secret(headers: &mut HeaderMap, name: HeaderName, mut value: HeaderValue) {
    value.set_sensitive(true);
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    const HOP_BY_HOP: [(&str, &str); 11] = [
        ("connection", "keep-alive, X-Private"),
        ("connection", "x-other"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-private", "1"),
        ("x-other", "1"),
    ];

    // UPS-11
    #[test]
    fn hop_by_hop_headers_and_those_that_connection_names_pass_in_neither_direction() {
        let mut headers = map(&HOP_BY_HOP);
        headers.insert("x-kept", HeaderValue::from_static("1"));
        let mut answer = headers.clone();
        clean_request(&mut headers);
        assert_eq!(names(&headers), ["x-kept"]);
        clean_response(&mut answer, true);
        assert_eq!(names(&answer), ["x-kept"]);
    }

    // UPS-08
    #[test]
    fn all_credentials_of_the_client_are_removed_in_any_case() {
        let mut headers = map(&[
            ("Authorization", "Bearer sk-test-client"),
            ("X-API-KEY", "sk-test-client"),
            ("Api-Key", "sk-test-client"),
            ("x-Goog-Api-Key", "sk-test-client"),
            ("COOKIE", "session=sk-test-client"),
            ("Proxy-Authorization", "Basic sk-test-client"),
            ("ChatGPT-Account-Id", "a"),
            ("OpenAI-Organization", "o"),
            ("OpenAI-Project", "p"),
            ("X-Organization-Uuid", "u"),
            ("authorization", "Bearer sk-test-second"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-qcc-cluster", "c"),
            ("expect", "100-continue"),
            ("host", "localhost:7860"),
        ]);
        clean_request(&mut headers);
        assert_eq!(names(&headers), [""; 0]);
    }

    // UPS-12
    #[test]
    fn other_headers_pass_with_all_their_values_in_order() {
        let mut headers = map(&[
            ("anthropic-beta", "one"),
            ("anthropic-beta", "two"),
            ("anthropic-version", "2026-10-21"),
            ("user-agent", "client/1"),
            ("content-type", "application/json"),
        ]);
        let before = headers.clone();
        clean_request(&mut headers);
        assert_eq!(headers, before);
    }

    // UPS-11
    #[test]
    fn limits_of_an_account_are_kept_in_failed_answers_alone() {
        let limits = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("x-ratelimit-reset-tokens", "1s"),
            ("x-codex-primary-used-percent", "99"),
            ("set-cookie", "a=b"),
            ("anthropic-organization-id", "o"),
            ("openai-organization", "o"),
            ("request-id", "req_1"),
        ];
        let mut failed = map(&limits);
        clean_response(&mut failed, false);
        assert_eq!(
            names(&failed),
            [
                "anthropic-ratelimit-requests-remaining",
                "request-id",
                "x-codex-primary-used-percent",
                "x-ratelimit-reset-tokens",
            ]
        );
        let mut good = map(&limits);
        clean_response(&mut good, true);
        assert_eq!(names(&good), ["request-id"]);
    }
}
