//! The token pool of an endpoint.

use super::forms::{DURATION, TOKEN_URL, from, key, section};
use super::{Form, Key, Usual, names};
use crate::config::sources::ENCODINGS;
use crate::config::tokens::TIERS;

/// The tokens of one tier.
const TIER: Form = Form::Many(&Form::TextOr(TOKEN));

pub(super) const TOKENS: &[Key] = &[
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
