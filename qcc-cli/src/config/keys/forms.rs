//! How keys are declared, and the shapes that values of several sections have.

use qcc_core::endpoint::Marking;
use qcc_core::failure::Kind;

use super::{Form, Key, Shape, Usual};

pub(super) const fn key(
    name: &'static str,
    form: Form,
    usual: Usual,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        form,
        usual,
        meaning,
    }
}

/// A section that may be left out as a whole.
pub(super) const fn section(
    name: &'static str,
    keys: &'static [Key],
    meaning: &'static str,
) -> Key {
    key(name, Form::Map(keys), Usual::Words(""), meaning)
}

pub(super) const fn from(least: u32) -> Form {
    Form::Whole {
        least,
        most: u32::MAX,
    }
}

pub(super) const DURATION: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(ms|s|m|h|d)",
    example: "90s",
});

pub(super) const DURATION_OR_OFF: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(ms|s|m|h|d)|off",
    example: "20s",
});

pub(super) const PERCENT: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?%",
    example: "30%",
});

pub(super) const SIZE: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(B|KB|kB|MB|GB|KiB|MiB|GiB)",
    example: "64KiB",
});

pub(super) const FILE_SIZE: Form = Form::Shaped(&Shape {
    pattern: "[0-9][0-9.]* ?(B|KB|kB|MB|GB|KiB|MiB|GiB)",
    example: "64MiB",
});

pub(super) const ADDRESS: Form = Form::Shaped(&Shape {
    pattern: "(localhost|[0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}",
    example: "127.0.0.1:7860",
});

/// Failures that mark an endpoint.
pub(super) const MARKING: Form = Form::StatusOr(|| Marking::kinds().map(Kind::as_str).collect());

pub(super) const URL: Form = Form::Shaped(&Shape {
    pattern: "https?://[^\\s?#]+",
    example: "https://api.example.com",
});

/// What [`URL`] is, and a query.
pub(super) const TOKEN_URL: Form = Form::Shaped(&Shape {
    pattern: "https?://[^\\s#]+",
    example: "https://auth.example.com/token",
});

pub(super) const DIGEST: Form = Form::Shaped(&Shape {
    pattern: "[0-9A-Fa-f]{64}",
    example: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
});

pub(super) const SESSION: Form = Form::Shaped(&Shape {
    pattern: "(header|body):.+",
    example: "header:x-session-id",
});
