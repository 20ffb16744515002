//! How a cluster takes endpoints back, and what a check asks.

use super::forms::{DURATION, DURATION_OR_OFF, from, key};
use super::{Form, Key, Usual, names};
use crate::config::checks::{COMPLEXITIES, LANGUAGES};

pub(super) const RECOVERY: &[Key] = &[
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

pub(super) const PROBE: &[Key] = &[
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
