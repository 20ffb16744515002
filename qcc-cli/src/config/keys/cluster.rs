//! A cluster, and how its layers behave.

use super::endpoint::ENDPOINT;
use super::forms::{
    DURATION, DURATION_OR_OFF, MARKING, PERCENT, SESSION, SIZE, from, key, section,
};
use super::recovery::{PROBE, RECOVERY};
use super::{Form, Key, Usual, names};
use crate::config::cluster::KINDS;
use crate::config::{LastResort, Policy};

pub(super) const CLUSTER: &[Key] = &[
    key(
        "kind",
        Form::Choice(|| names(&KINDS)),
        Usual::Words("by endpoint"),
        "the API of its endpoints: `anthropic`, `openai` (Chat and Responses), `openai-responses` (Responses only), `gemini`",
    ),
    key(
        "policy",
        Form::Choice(|| names(&Policy::NAMES)),
        Usual::Value("priority"),
        "how an endpoint is chosen, see below",
    ),
    key(
        "last_resort",
        Form::Choice(|| names(&LastResort::NAMES)),
        Usual::Value("probe"),
        "what happens if no endpoint may be used: `probe` lets one request at a time [try one](failures.md#last-resort), `refuse` nobody",
    ),
    key(
        "slow_start",
        DURATION_OR_OFF,
        Usual::Value("60s"),
        "how long an endpoint that has recovered gets less than its share: it begins with a tenth. `off`: not at all",
    ),
    key(
        "dynamic_weights",
        Form::Flag,
        Usual::Value("false"),
        "whether the `weight` of an endpoint follows how it passes its checks, from a tenth of it to twice as much",
    ),
    key(
        "mark_on",
        Form::List(&MARKING),
        Usual::Words("nothing"),
        "failures that [mark](failures.md#marks) an endpoint unavailable: statuses and kinds, like `[503, overloaded]`",
    ),
    key(
        "unavailable_ttl",
        DURATION,
        Usual::Value("5m"),
        "how long such a mark lasts",
    ),
    key(
        "endpoints",
        Form::List(&Form::Map(ENDPOINT)),
        Usual::Required,
        "at least one",
    ),
    section("breaker", BREAKER, "when an endpoint is left alone"),
    section(
        "affinity",
        AFFINITY,
        "how long sessions stay where they are",
    ),
    section("retry", RETRY, "how often a request is tried"),
    section("timeouts", TIMEOUTS, "how long to wait"),
    section(
        "connections",
        CONNECTIONS,
        "how connections to upstreams are kept",
    ),
    section(
        "recovery",
        RECOVERY,
        "when endpoints that failed are [checked](recovery.md)",
    ),
    section("probe", PROBE, "how they are checked"),
];

const BREAKER: &[Key] = &[
    key(
        "max_failures",
        from(1),
        Usual::Value("3"),
        "so many failures in a row open it",
    ),
    key(
        "open_for",
        DURATION,
        Usual::Value("60s"),
        "how long it stays open the first time; doubled after each failed probe, ±10 % from the second time on",
    ),
    key(
        "max_open_for",
        DURATION,
        Usual::Value("600s"),
        "and at most; not less than `open_for`, which it follows if it is not set",
    ),
    key(
        "probes",
        Form::Whole {
            least: 1,
            most: 1000,
        },
        Usual::Value("1"),
        "how many requests at a time may try a half-open endpoint, 1 to 1000",
    ),
];

const AFFINITY: &[Key] = &[
    key(
        "sources",
        Form::List(&SESSION),
        Usual::Words("see [session ids](failures.md#session-ids)"),
        "where the id of a session is looked for, in this order: `header:NAME`, `header:x-*-session-id` for any such header, `body:FIELD`. An empty list: no sessions",
    ),
    key(
        "ttl",
        DURATION,
        Usual::Value("5h"),
        "how long a session stays bound after its last success",
    ),
    key(
        "patience",
        DURATION,
        Usual::Value("30s"),
        "a bound endpoint that cools down for no longer than this keeps its sessions",
    ),
    key(
        "max_bindings",
        from(1),
        Usual::Value("100000"),
        "at most so many sessions are bound, and of so many resources the account is known; the least recently used goes first",
    ),
    key(
        "resource_ttl",
        DURATION,
        Usual::Value("30d"),
        "how long it is known which account has a file, a batch or a response, after the last answer that showed it",
    ),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        Form::Whole {
            least: 1,
            most: 100,
        },
        Usual::Value("5"),
        "sends of one request, 1 to 100. A change of credential is none",
    ),
    key(
        "budget",
        PERCENT,
        Usual::Value("20%"),
        "at most this share of the requests of the last 10 s are retries, but 10 a second are always allowed",
    ),
    key(
        "second_opinion",
        Form::Flag,
        Usual::Value("true"),
        "whether one other endpoint is asked when one calls a request invalid",
    ),
    key(
        "max_body",
        SIZE,
        Usual::Value("32MiB"),
        "bodies up to this size are kept for another try; a larger one is sent once",
    ),
];

const TIMEOUTS: &[Key] = &[
    key(
        "connect",
        DURATION,
        Usual::Value("5s"),
        "for a connection, TLS included",
    ),
    key(
        "first_byte",
        DURATION,
        Usual::Value("60s"),
        "for the first byte of a streamed answer; an answer that is not streamed has the rest of the deadline",
    ),
    key(
        "idle",
        DURATION,
        Usual::Words("`60s` Anthropic, `300s` others"),
        "for the next byte of an answer that has begun",
    ),
    key(
        "keep_alive",
        DURATION_OR_OFF,
        Usual::Value("15s"),
        "after so long without output of a stream its client gets a [sign of life](streaming.md#signs-of-life); `off` for never",
    ),
    key(
        "deadline",
        DURATION,
        Usual::Value("600s"),
        "for a request up to the first byte that the client gets, over all attempts",
    ),
];

const CONNECTIONS: &[Key] = &[
    key(
        "max_idle",
        Form::Whole {
            least: 0,
            most: 10_000,
        },
        Usual::Value("20"),
        "how many idle connections are kept for each host, 0 to 10000; with 0 each request makes its own",
    ),
    key(
        "idle_timeout",
        DURATION,
        Usual::Value("60s"),
        "how long an idle connection is kept",
    ),
    key(
        "keepalive",
        DURATION,
        Usual::Value("30s"),
        "how long a connection is silent before TCP asks whether the other side is still there, `1s` to `9h`",
    ),
];
