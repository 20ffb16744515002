//! An endpoint of a cluster.

use super::forms::{DURATION, MARKING, URL, from, key};
use super::tokens::TOKENS;
use super::{Form, Key, Usual, names};
use crate::config::cluster::{AUTHS, KINDS};

pub(super) const ENDPOINT: &[Key] = &[
    key(
        "base_url",
        URL,
        Usual::Required,
        "`http` or `https`, a host, perhaps a path. Request paths are appended: `https://h/api` and `/v1/messages` give `https://h/api/v1/messages`",
    ),
    key(
        "api_key",
        Form::TextOr(KEY_FILE),
        Usual::OneOf(&[], "this or `tokens`"),
        "the key, or `{ file: PATH }` for a file that holds it",
    ),
    key(
        "tokens",
        Form::Map(TOKENS),
        Usual::OneOf(&["name"], "or `api_key`"),
        "a [pool of credentials](tokens.md) in the place of one key, see below. It needs a `name`",
    ),
    key(
        "name",
        Form::Text,
        Usual::Words("the host, then `host-2`, …"),
        "what people call it; unique in the cluster",
    ),
    key(
        "kind",
        Form::Choice(|| names(&KINDS)),
        Usual::Words("the cluster's, else by the vendor's host, else any"),
        "as above",
    ),
    key(
        "auth",
        Form::Choice(|| names(&AUTHS)),
        Usual::Words("by kind"),
        "how the key is sent: `x-api-key`, `bearer`, `both`, `x-goog-api-key`",
    ),
    key(
        "weight",
        from(0),
        Usual::Value("100"),
        "its share among equals; 0 is allowed",
    ),
    key(
        "priority",
        from(0),
        Usual::Value("1"),
        "its rank; smaller is preferred",
    ),
    key(
        "max_in_flight",
        from(1),
        Usual::Words("no limit"),
        "at most so many requests at a time, answers included",
    ),
    key(
        "max_failures",
        from(1),
        Usual::Words("the breaker's"),
        "how many failures in a row open its breaker",
    ),
    key(
        "timeout",
        DURATION,
        Usual::Words("none"),
        "how long to wait for the first byte of any answer, streamed or not",
    ),
    key(
        "models",
        Form::List(&Form::Text),
        Usual::Words("all"),
        "patterns of models it serves: `*` stands for anything, a pattern without `*` is a prefix, letters match in any case",
    ),
    key(
        "mark_on",
        Form::List(&MARKING),
        Usual::Words("the cluster's"),
        "failures that mark it unavailable; `[]`: none",
    ),
    key(
        "unavailable_ttl",
        DURATION,
        Usual::Words("the cluster's"),
        "how long such a mark of it lasts",
    ),
    key(
        "enabled",
        Form::Flag,
        Usual::Value("true"),
        "whether it is used at start",
    ),
    key(
        "probe",
        Form::Flag,
        Usual::Value("true"),
        "whether it is [checked](recovery.md) when it failed; `false` for a service that does not chat",
    ),
];

const KEY_FILE: &[Key] = &[key(
    "file",
    Form::Text,
    Usual::Required,
    "the path of a file that holds the key and nothing else",
)];
