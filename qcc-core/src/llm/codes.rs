//! The machine codes of the dialects, as tables.
//!
//! [`CODES`] hold what decides at once, whatever the status says: a key that has no money left
//! is `quota` under 400, 402, 403 and 429 alike. [`TYPES`] hold the generic types, which are
//! asked only where no status decides: for an error inside a stream or under a 200. Relays mix
//! the forms of the vendors, so every table is searched for every dialect.
//!
//! Sources: the error enumerations of the vendors' official SDKs and API references, Google's
//! `google.rpc.Code` and `ErrorInfo` reasons, and the Codex and Gemini command lines.

use crate::failure::Kind;

/// Codes of one vendor that mean the same.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CodeList {
    /// Who issues them.
    pub vendor: &'static str,
    /// What they mean.
    pub kind: Kind,
    /// The codes; letters match in any case, a `*` at the end stands for any rest.
    pub codes: &'static [&'static str],
}

/// Codes that decide before the status does. No code is in two lists.
pub const CODES: &[CodeList] = &[
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Overloaded,
        codes: &["overloaded_error"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Quota,
        codes: &[
            "billing_error",
            "contract_spend_limit_reached",
            "credits_required",
            "enforced_spend_limit_reached",
            "linked_organization_billing_unavailable",
            "linked_organization_spend_limit_reached",
        ],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::RateLimit,
        codes: &["ramp_limit_exceeded"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Auth,
        codes: &["organization_on_hold"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::Quota,
        codes: &[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "project_spend_limit_exceeded",
            // The subscription backend of Codex.
            "usage_limit_reached",
            "usage_not_included",
        ],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::RateLimit,
        // Gemini's `RATE_LIMIT_EXCEEDED` is the same word.
        codes: &["rate_limit_exceeded"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::Auth,
        codes: &["invalid_api_key", "account_deactivated", "token_expired"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::NotFound,
        codes: &["model_not_found"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::Overloaded,
        codes: &["server_is_overloaded", "slow_down"],
    },
    CodeList {
        vendor: "OpenAI",
        // The country is the one that the endpoint is reached from.
        kind: Kind::Server,
        codes: &["unsupported_country_region_territory"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::InvalidRequest,
        codes: &[
            "context_length_exceeded",
            "string_above_max_length",
            "invalid_prompt",
            "invalid_value",
            "unsupported_value",
            "unsupported_parameter",
            "previous_response_not_found",
            "content_policy_violation",
            "content_filter",
            "bio_policy",
            "cyber_policy",
            "misalignment_policy_violation",
            "data_residency_mismatch",
            "vector_store_timeout",
            "invalid_image*",
            "image_*",
            "empty_image_file",
            "failed_to_download_image",
            "unsupported_image_media_type",
        ],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Auth,
        codes: &["API_KEY_INVALID"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Quota,
        codes: &["BILLING_DISABLED", "INSUFFICIENT_G1_CREDITS_BALANCE"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Overloaded,
        codes: &["MODEL_CAPACITY_EXHAUSTED", "MODEL_CAPACITY_EXCEEDED"],
    },
    CodeList {
        vendor: "New API",
        kind: Kind::Quota,
        codes: &["insufficient_user_quota", "pre_consume_token_quota_failed"],
    },
];

/// Generic types, asked where no status decides. No type is in two lists.
pub const TYPES: &[CodeList] = &[
    CodeList {
        vendor: "Anthropic",
        kind: Kind::InvalidRequest,
        // OpenAI uses the first one, too.
        codes: &["invalid_request_error", "request_too_large"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Auth,
        codes: &["authentication_error", "permission_error"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::NotFound,
        codes: &["not_found_error"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::RateLimit,
        codes: &["rate_limit_error"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Timeout,
        codes: &["timeout_error"],
    },
    CodeList {
        vendor: "Anthropic",
        kind: Kind::Server,
        codes: &["api_error", "conflict_error"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::Server,
        codes: &["server_error", "internal_server_error"],
    },
    CodeList {
        vendor: "OpenAI",
        kind: Kind::Overloaded,
        codes: &["service_unavailable_error"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::InvalidRequest,
        codes: &["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Auth,
        codes: &["UNAUTHENTICATED", "PERMISSION_DENIED"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::NotFound,
        codes: &["NOT_FOUND"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::RateLimit,
        codes: &["RESOURCE_EXHAUSTED"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Overloaded,
        codes: &["UNAVAILABLE"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Timeout,
        codes: &["DEADLINE_EXCEEDED"],
    },
    CodeList {
        vendor: "Gemini",
        kind: Kind::Server,
        codes: &["INTERNAL", "ABORTED"],
    },
];

/// A sentence that a vendor uses where it should have used a code.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sentence {
    /// Who says it.
    pub vendor: &'static str,
    /// The status that it comes under.
    pub status: u16,
    /// How the message begins, in lower case. Only the beginning counts: what a client sent may
    /// be quoted later in it.
    pub begins: &'static str,
    /// What it means.
    pub kind: Kind,
}

/// Sentences that decide like [`CODES`], because the code beside them is wrong or missing.
pub const SENTENCES: &[Sentence] = &[
    // With type `invalid_request_error`.
    Sentence {
        vendor: "Anthropic",
        status: 400,
        begins: "your credit balance is too low",
        kind: Kind::Quota,
    },
    // With code `rate_limit_exceeded`: one request is larger than the limit of a whole minute,
    // so no wait helps it, and the credential is good for everybody else.
    Sentence {
        vendor: "OpenAI",
        status: 429,
        begins: "request too large",
        kind: Kind::InvalidRequest,
    },
    // Both with status `FAILED_PRECONDITION`.
    Sentence {
        vendor: "Gemini",
        status: 400,
        begins: "user location is not supported",
        kind: Kind::Server,
    },
    Sentence {
        vendor: "Gemini",
        status: 400,
        begins: "gemini api free tier is not available",
        kind: Kind::Quota,
    },
    // What the request names is not in this account, or is there no more. The status alone would
    // blame the credential or the model.
    Sentence {
        vendor: "Anthropic",
        status: 404,
        begins: "file not found",
        kind: Kind::InvalidRequest,
    },
    Sentence {
        vendor: "OpenAI",
        status: 404,
        begins: "no such file object",
        kind: Kind::InvalidRequest,
    },
    Sentence {
        vendor: "OpenAI",
        status: 404,
        begins: "container with id",
        kind: Kind::InvalidRequest,
    },
    Sentence {
        vendor: "Gemini",
        status: 403,
        begins: "you do not have permission to access the file",
        kind: Kind::InvalidRequest,
    },
    Sentence {
        vendor: "Gemini",
        status: 403,
        begins: "cachedcontent not found",
        kind: Kind::InvalidRequest,
    },
];

/// What `code` means according to `table`.
pub(super) fn look_up(table: &[CodeList], code: &str) -> Option<Kind> {
    table
        .iter()
        .find(|list| list.codes.iter().any(|entry| matches(entry, code)))
        .map(|list| list.kind)
}

fn matches(entry: &str, code: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => code
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => code.eq_ignore_ascii_case(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CLS-01
    #[test]
    fn no_code_has_two_meanings() {
        for table in [CODES, TYPES] {
            for list in table {
                for code in list.codes {
                    let written = code.replace('*', "_unsupported");
                    assert_eq!(look_up(table, &written), Some(list.kind), "{code}");
                    let homes = table
                        .iter()
                        .flat_map(|list| list.codes)
                        .filter(|entry| matches(entry, &written))
                        .count();
                    assert_eq!(homes, 1, "{code}");
                }
            }
        }
        assert_eq!(look_up(CODES, "INVALID_API_KEY"), Some(Kind::Auth));
        assert_eq!(look_up(CODES, "imagé"), None);
    }
}
