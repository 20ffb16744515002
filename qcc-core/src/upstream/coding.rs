//! Content codings, and the two headers that name them. Pure.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// A content coding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// The zlib format as the standard says, or raw deflate as some servers do.
    Deflate,
    Brotli,
    Zstd,
}

/// Codings in the order in which they were applied. More than three are nobody's honest answer.
pub(super) type Codings = SmallVec<[Coding; 3]>;

/// What `content-encoding` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Known(Codings),
    /// A coding that nobody here knows, or too many of them.
    Unknown,
}

impl Coding {
    fn of(name: &[u8]) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else if is("br") {
            Some(Self::Brotli)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }
}

/// How the body under `headers` says that it is encoded.
pub(super) fn announced(headers: &HeaderMap) -> Announced {
    let mut codings = Codings::new();
    for name in elements(headers, &header::CONTENT_ENCODING) {
        match Coding::of(name) {
            Some(_) if codings.len() == codings.inline_size() => return Announced::Unknown,
            Some(coding) => codings.push(coding),
            None if is_identity(name) => {}
            None => return Announced::Unknown,
        }
    }
    if codings.is_empty() {
        Announced::Nothing
    } else {
        Announced::Known(codings)
    }
}

/// The codings that somebody takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted(u8);

impl Accepted {
    /// What the client with these headers takes.
    pub(super) fn by(headers: &HeaderMap) -> Self {
        elements(headers, &header::ACCEPT_ENCODING)
            .filter(|element| !is_refusal(element))
            .filter_map(|element| Coding::of(name(element)))
            .fold(Self::default(), |all, coding| Self(all.0 | bit(coding)))
    }

    pub(super) fn has_all(self, codings: &[Coding]) -> bool {
        codings.iter().all(|&coding| self.0 & bit(coding) != 0)
    }
}

const fn bit(coding: Coding) -> u8 {
    1 << coding as u8
}

/// Asks for an answer that needs no decoding.
pub(super) fn ask_for_plain(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, IDENTITY);
}

/// Takes out of `accept-encoding` what nobody here could decode.
pub(super) fn ask_for_known(headers: &mut HeaderMap) {
    let is_known = |element: &[u8]| {
        let name = name(element);
        Coding::of(name).is_some() || is_identity(name)
    };
    if elements(headers, &header::ACCEPT_ENCODING).all(is_known) {
        return;
    }
    let known: Vec<_> = elements(headers, &header::ACCEPT_ENCODING)
        .filter(|element| is_known(element))
        .collect();
    let value = HeaderValue::from_bytes(&known.join(&b", "[..]));
    let value = value.ok().filter(|value| !value.is_empty());
    headers.insert(header::ACCEPT_ENCODING, value.unwrap_or(IDENTITY));
}

/// The elements of a list that may be spread over several headers.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The name in front of the parameters.
fn name(element: &[u8]) -> &[u8] {
    let end = element.iter().position(|&byte| byte == b';');
    element[..end.unwrap_or(element.len())].trim_ascii()
}

fn is_identity(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"identity")
}

/// Whether the weight of an element is zero.
fn is_refusal(element: &[u8]) -> bool {
    element.split(|&byte| byte == b';').skip(1).any(|parameter| {
        matches!(
            parameter.trim_ascii(),
            [b'q' | b'Q', b'=', b'0', rest @ ..] if rest.iter().all(|byte| matches!(byte, b'.' | b'0'))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        values.map(|value| (name.clone(), value)).collect()
    }

    // UPS-14
    #[test]
    fn codings_are_read_in_the_order_in_which_they_were_applied() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        let known = |codings: &[Coding]| Announced::Known(codings.into());
        for (values, expected) in [
            (&[][..], Announced::Nothing),
            (&[""], Announced::Nothing),
            (&["identity"], Announced::Nothing),
            (&["gzip"], known(&[Gzip])),
            (&["X-GZip"], known(&[Gzip])),
            (&["Deflate, identity"], known(&[Deflate])),
            (&["br", "zstd"], known(&[Brotli, Zstd])),
            (&["gzip, gzip ,gzip"], known(&[Gzip, Gzip, Gzip])),
            (&["gzip, gzip, gzip, gzip"], Announced::Unknown),
            (&["gzip, compress"], Announced::Unknown),
        ] {
            let headers = headers(&header::CONTENT_ENCODING, values);
            assert_eq!(announced(&headers), expected, "{values:?}");
        }
    }

    // UPS-15
    #[test]
    fn only_what_can_be_decoded_is_asked_for() {
        for (values, expected) in [
            (&["gzip, deflate, br, zstd"][..], "gzip, deflate, br, zstd"),
            (&["gzip;q=0.5,identity"], "gzip;q=0.5,identity"),
            (&["gzip, dcb, br;q=0.9, *;q=0.1"], "gzip, br;q=0.9"),
            (&["compress"], "identity"),
            (&["*"], "identity"),
        ] {
            let mut headers = headers(&header::ACCEPT_ENCODING, values);
            ask_for_known(&mut headers);
            assert_eq!(headers[header::ACCEPT_ENCODING], expected);
            assert_eq!(headers.len(), 1);
        }
        let mut none = HeaderMap::new();
        ask_for_known(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn a_coding_of_no_weight_is_not_taken() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        let headers = headers(
            &header::ACCEPT_ENCODING,
            &["gzip, br;q=0, zstd; Q=0.00", "Deflate;q=0.01"],
        );
        let accepted = Accepted::by(&headers);
        assert!(accepted.has_all(&[Gzip, Deflate]));
        assert!(!accepted.has_all(&[Brotli]));
        assert!(!accepted.has_all(&[Gzip, Zstd]));
    }
}
