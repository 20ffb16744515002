//! The tables: one for each section of the file.

use qcc_core::endpoint::Marking;
use qcc_core::failure::Kind;

use super::{Form, Key, Shape, Usual, names};
use crate::config::checks::{COMPLEXITIES, LANGUAGES};
use crate::config::cluster::{AUTHS, KINDS};
use crate::config::sources::ENCODINGS;
use crate::config::tokens::TIERS;
use crate::config::{LEVELS, LastResort, Policy, WarmUp};

const fn key(name: &'static str, form: Form, usual: Usual, meaning: &'static str) -> Key {
    Key {
        name,
        form,
        usual,
        meaning,
    }
}

/// A section that may be left out as a whole.
const fn section(name: &'static str, keys: &'static [Key], meaning: &'static str) -> Key {
    key(name, Form::Map(keys), Usual::Words(""), meaning)
}

const fn from(least: u32) -> Form {
    Form::Whole {
        least,
        most: u32::MAX,
    }
}

const DURATION: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(ms|s|m|h|d)",
    example: "90s",
});

const DURATION_OR_OFF: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(ms|s|m|h|d)|off",
    example: "20s",
});

const PERCENT: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?%",
    example: "30%",
});

const SIZE: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(B|KB|kB|MB|GB|KiB|MiB|GiB)",
    example: "64KiB",
});

const FILE_SIZE: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(B|KB|kB|MB|GB|KiB|MiB|GiB)",
    example: "64MiB",
});

const ADDRESS: Form = Form::Shaped(&Shape {
    pattern: "(localhost|[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}",
    example: "127.0.0.1:7860",
});

/// Failures that mark an endpoint.
const MARKING: Form = Form::StatusOr(|| Marking::kinds().map(Kind::as_str).collect());

const URL: Form = Form::Shaped(&Shape {
    pattern: "https?://[^\\s?#]+",
    example: "https://api.example.com",
});

/// What [`URL`] is, and a query.
const TOKEN_URL: Form = Form::Shaped(&Shape {
    pattern: "https?://[^\\s#]+",
    example: "https://auth.example.com/token",
});

const DIGEST: Form = Form::Shaped(&Shape {
    pattern: "[0-9A-Fa-f]{64}",
    example: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
});

const SESSION: Form = Form::Shaped(&Shape {
    pattern: "(header|body):.+",
    example: "header:x-session-id",
});

/// The file as a whole.
pub(in crate::config) static FILE: Form = Form::Map(&[
    key(
        "listen",
        ADDRESS,
        Usual::Value("127.0.0.1:7860"),
        "where clients connect; `qcc serve --port N` takes another port. Off loopback it needs `client_keys`",
    ),
    section("admin", ADMIN, "the admin API, see below"),
    key(
        "client_keys",
        Form::List(&Form::Map(CLIENT_KEY)),
        Usual::Words("none"),
        "who may connect, see below. Without any, everybody who reaches the address",
    ),
    key(
        "max_connections",
        from(1),
        Usual::Value("10000"),
        "so many clients may be connected at a time. Further ones are not refused: they wait until a connection ends",
    ),
    section(
        "log",
        LOG,
        "a log file beside standard error, see below. Without it there is none",
    ),
    key(
        "shutdown",
        DURATION,
        Usual::Value("30s"),
        "how long open answers may take to end after SIGTERM or SIGINT; a second signal ends them at once",
    ),
    key(
        "warm_up",
        Form::Choice(|| names(&WarmUp::NAMES)),
        Usual::Value("connect"),
        "`connect` opens a connection to every endpoint at the start, without waiting for it; `verify` [checks](recovery.md) every endpoint, too; `off` does neither",
    ),
    section(
        "store",
        STORE,
        "where history and what must survive a restart are kept, see below",
    ),
    key(
        "clusters",
        Form::Named(CLUSTER),
        Usual::Required,
        "at least one, by name",
    ),
]);

const STORE: &[Key] = &[
    key(
        "enabled",
        Form::Flag,
        Usual::Value("true"),
        "`false` keeps nothing; then a restart forgets everything",
    ),
    key(
        "path",
        Form::Text,
        Usual::Value("~/.qcc/qcc.db"),
        "the SQLite file. It is made with mode 0600, and its folder with 0700",
    ),
    key(
        "retention",
        DURATION,
        Usual::Value("30d"),
        "how long requests and figures are kept, at least `1m`",
    ),
    key(
        "max_size",
        FILE_SIZE,
        Usual::Value("1GiB"),
        "how much of the file may be in use, at least `1MiB`; then the oldest requests go first",
    ),
    key(
        "required",
        Form::Flag,
        Usual::Value("false"),
        "whether `qcc serve` ends if the file cannot be used. If not it says why and goes on without history",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "listen",
        ADDRESS,
        Usual::Value("127.0.0.1:7861"),
        "its own listener; `qcc serve --admin-port N` takes another port. Off loopback it needs a `token`",
    ),
    key(
        "token",
        Form::Text,
        Usual::Words("none"),
        "what requests bring as `authorization: Bearer …`; there is no default token",
    ),
];

const LOG: &[Key] = &[
    key(
        "file",
        Form::Text,
        Usual::Required,
        "its path, like `~/.qcc/logs/app.log`; readable by its owner only",
    ),
    key(
        "level",
        Form::Choice(|| LEVELS.to_vec()),
        Usual::Value("info"),
        "what is worth a line: `error`, `warn`, `info`, `debug`, `trace`",
    ),
    key(
        "max_size",
        SIZE,
        Usual::Value("50MiB"),
        "a file that has grown beyond this is put aside as `NAME.1`, the one before as `NAME.2`, …",
    ),
    key(
        "keep",
        Form::Whole {
            least: 1,
            most: 100,
        },
        Usual::Value("5"),
        "so many files that were put aside are kept, 1 to 100",
    ),
];

const CLIENT_KEY: &[Key] = &[
    key("name", Form::Text, Usual::Required, "a name of its own"),
    key(
        "sha256",
        DIGEST,
        Usual::Required,
        "the SHA-256 of the key in 64 hexadecimal digits: `printf %s \"$KEY\" \\| sha256sum`",
    ),
    key(
        "max_in_flight",
        from(1),
        Usual::Words("no limit"),
        "at most so many requests of it at a time, answers included; further ones are answered with 429",
    ),
];

const CLUSTER: &[Key] = &[
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
        "recovery",
        RECOVERY,
        "when endpoints that failed are [checked](recovery.md)",
    ),
    section("probe", PROBE, "how they are checked"),
];

const ENDPOINT: &[Key] = &[
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

/// The tokens of one tier.
const TIER: Form = Form::Many(&Form::TextOr(TOKEN));

const TOKENS: &[Key] = &[
    key(
        "order",
        Form::List(&Form::Choice(|| names(&TIERS))),
        Usual::Words("`personal`, `shared`, `anonymous`"),
        "the tiers; one is used only while no token of those before it can be",
    ),
    key(
        "personal",
        TIER,
        Usual::Words("none"),
        "your own tokens: a text or a list of texts, each of which may hold several with commas between them, `{ file: PATH }` for a file with one a line, or `{ command: […] }` or `{ url: … }` for what gives one, see below",
    ),
    key(
        "shared",
        TIER,
        Usual::Words("none"),
        "tokens that others use, too",
    ),
    key("anonymous", TIER, Usual::Words("none"), "the last resort"),
    section(
        "refresh",
        REFRESH,
        "the texts and files are refresh tokens, and this is who gives access tokens for them, see below",
    ),
    key(
        "store",
        Form::Text,
        Usual::Value("~/.qcc/tokens"),
        "the directory where rotated refresh tokens are kept, readable by you only",
    ),
    key(
        "max_failures",
        from(1),
        Usual::Value("3"),
        "so many failures in a row make a token inactive",
    ),
    key(
        "inactive_for",
        DURATION,
        Usual::Value("10m"),
        "an inactive token is tried again after so long",
    ),
];

const TOKEN: &[Key] = &[
    key(
        "file",
        Form::Text,
        Usual::OneOf(&[], "this, `command` or `url`"),
        "the path of a file that holds tokens and nothing else",
    ),
    key(
        "command",
        Form::List(&Form::Text),
        Usual::OneOf(&[], "or `file` or `url`"),
        "a program and its arguments; it prints an access token, alone or in JSON. No shell reads them",
    ),
    key(
        "url",
        TOKEN_URL,
        Usual::OneOf(&[], "or `file` or `command`"),
        "a `GET` of it gives an access token, alone or in JSON",
    ),
    key(
        "headers",
        Form::Texts,
        Usual::Words("none"),
        "what a request for `url` brings, by name; each may be a secret",
    ),
];

const REFRESH: &[Key] = &[
    key(
        "url",
        TOKEN_URL,
        Usual::Required,
        "where the issuer refreshes tokens: the token endpoint of RFC 6749",
    ),
    key(
        "margin",
        DURATION,
        Usual::Value("120s"),
        "an access token is refreshed so long before its end; one that lives for less than twice that, when half of its life is over",
    ),
    key(
        "encoding",
        Form::Choice(|| names(&ENCODINGS)),
        Usual::Value("form"),
        "how the issuer wants requests: `form` as in RFC 6749, or `json`",
    ),
    key(
        "headers",
        Form::Texts,
        Usual::Words("none"),
        "further headers by name, like `authorization`; each may be a secret",
    ),
    key(
        "fields",
        Form::Texts,
        Usual::Words("none"),
        "further fields by name, like `client_id`, `client_secret` or `scope`; each may be a secret",
    ),
    key(
        "timeout",
        DURATION,
        Usual::Value("30s"),
        "a refresh may take so long",
    ),
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

const RECOVERY: &[Key] = &[
    key(
        "enabled",
        Form::Flag,
        Usual::Value("true"),
        "whether endpoints that failed are checked; `qcc probe` and `qcc queue retry` check all the same",
    ),
    key(
        "first",
        DURATION,
        Usual::Value("60s"),
        "how long after it failed an endpoint is checked first; each interval after that is twice as long",
    ),
    key(
        "max",
        DURATION,
        Usual::Value("10m"),
        "the longest interval; not less than `first`, which it follows if it is not set",
    ),
    key(
        "auth_every",
        DURATION_OR_OFF,
        Usual::Value("30m"),
        "how often an endpoint is checked whose credential was refused; `off` for never",
    ),
    key(
        "concurrency",
        Form::Whole {
            least: 1,
            most: 1000,
        },
        Usual::Value("5"),
        "how many endpoints are checked at a time, 1 to 1000; of each endpoint there is one check at a time",
    ),
    key(
        "daily",
        from(0),
        Usual::Value("200"),
        "at most so many checks of one endpoint in a day of UTC, whoever asks for them",
    ),
];

const PROBE: &[Key] = &[
    key(
        "model",
        Form::Text,
        Usual::Words("a cheap one of the API"),
        "the model that is asked; without it one that the endpoint has",
    ),
    key(
        "language",
        Form::Choice(|| names(&LANGUAGES)),
        Usual::Value("zh"),
        "the language of the question: `zh`, `en`, `ja`",
    ),
    key(
        "length",
        Form::Whole { least: 4, most: 32 },
        Usual::Value("6"),
        "how many characters the code has, 4 to 32",
    ),
    key(
        "complexity",
        Form::Choice(|| names(&COMPLEXITIES)),
        Usual::Value("alphanumeric"),
        "which ones: `digits`, `alphanumeric`, or with `symbols`",
    ),
    key(
        "timeout",
        DURATION,
        Usual::Value("30s"),
        "how long a check may take",
    ),
    key(
        "max_tokens",
        from(1),
        Usual::Value("20"),
        "so many tokens for the answer",
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
