//! The sections at the top of the file.

use super::cluster::CLUSTER;
use super::forms::{ADDRESS, DIGEST, DURATION, FILE_SIZE, SIZE, from, key, section};
use super::{Form, Key, Usual, names};
use crate::config::{LEVELS, WarmUp};

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
