//! What a simulated endpoint does with a request, and how people write it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::time::Duration;

/// What a simulated endpoint does with a request.
///
/// Every behaviour has a text form, which `FromStr` reads and `Display` writes; it is given in
/// brackets. Counts of events include the first events of a stream, which carry no output; a
/// fault comes at the latest before the event that would complete the answer. An answer that is
/// not streamed has no events: a fault after `0` events leaves nothing of it, a fault after more
/// leaves its first half.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// A whole answer at once (`ok`).
    Ok,
    /// A whole answer that takes its time (`slow:200ms`, `slow:200ms,50ms`).
    Slow {
        /// Before the head.
        first: Duration,
        /// Before each event, or before the body of an answer that is not streamed.
        each: Duration,
    },
    /// The connection is refused (`refuse`).
    Refuse,
    /// The connection is reset before the head (`reset`).
    Reset,
    /// Silence for ever (`hang`).
    Hang,
    /// An error in the form of the dialect, or in a form that no dialect has (`status:429`, see
    /// [`ErrorAnswer`]).
    Status(ErrorAnswer),
    /// A page of HTML with status 200 (`html`).
    Html,
    /// A 200 without a body (`empty`).
    Empty,
    /// The first half of a body that then ends before its announced length (`truncated`).
    Truncated,
    /// A 200 whose body is no text (`garbage`).
    Garbage,
    /// Bytes that are no HTTP in the place of an answer (`not-http`).
    NotHttp,
    /// The connection is reset in the middle of the event after so many (`cut:3`).
    Cut(u32),
    /// Silence for ever after so many events (`stall:3`).
    Stall(u32),
    /// An error event after so many events, then a proper end (`error:3`); `error:0` begins with
    /// it. Not streamed: a 200 with an error in its body.
    ErrorAfter(u32),
    /// A proper end before anything that says that the answer is complete (`no-end`). Not
    /// streamed: the first half of the answer.
    NoEnd,
    /// A whole answer, compressed although nobody asked for it (`gzip`, `gzip:unannounced`).
    Gzip {
        /// Whether `content-encoding` says so.
        announced: bool,
    },
    /// A whole answer, after which the connection is closed without a word (`close-idle`). In
    /// memory there is no connection, and the answer is marked with
    /// [`CloseIdle`](super::CloseIdle).
    CloseIdle,
    /// A whole answer for these keys, a refusal of every other (`keys:sk-test-a,sk-test-b`): a
    /// 401, or Gemini's 400 with `API_KEY_INVALID`.
    Keys(Vec<Arc<str>>),
    /// So many whole answers for each key since the script was set, then 429 (`quota:3`).
    Quota(u32),
    /// Another behaviour for so many requests since the script was set, then whole answers
    /// (`first:2:status:500`).
    First(u32, Box<Self>),
    /// The answer is the code that the prompt asks for (`echo`): what stands behind its last
    /// colon. A prompt without one gets the usual answer.
    Echo,
    /// A 400 whose text repeats the prompt (`echo-prompt`).
    EchoPrompt,
    /// A 500 whose text repeats the credential (`echo-credential`).
    EchoCredential,
}

impl Behaviour {
    /// An error answer with this status.
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self::Status(ErrorAnswer::new(status))
    }

    /// One or more of each kind, with small parameters: the rows of a fault matrix.
    pub fn samples() -> impl Iterator<Item = Self> {
        SAMPLES.iter().map(|text| {
            #[expect(clippy::expect_used, reason = "a test reads all of the constants")]
            text.parse().expect("the samples are well-formed")
        })
    }
}

const SAMPLES: &[&str] = &[
    "ok",
    "slow:200ms",
    "slow:200ms,50ms",
    "refuse",
    "reset",
    "hang",
    "status:400",
    "status:401",
    "status:402",
    "status:403",
    "status:404",
    "status:429",
    "status:429;retry-after=7",
    "status:500",
    "status:502",
    "status:503",
    "status:529",
    "status:200",
    "status:200;shape=bare",
    "html",
    "empty",
    "truncated",
    "garbage",
    "not-http",
    "cut:0",
    "cut:1",
    "cut:5",
    "stall:0",
    "stall:1",
    "stall:5",
    "error:0",
    "error:1",
    "error:5",
    "no-end",
    "gzip",
    "gzip:unannounced",
    "close-idle",
    "keys:sk-test-valid",
    "quota:1",
    "first:2:status:500",
    "echo",
    "echo-prompt",
    "echo-credential",
];

/// An answer that is an error.
///
/// As text: the status, then options behind semicolons: `code`, `message`, `shape=bare`, and
/// every other name is a header: `status:429;code=insufficient_quota;retry-after=30`. In the
/// message, `{prompt}` and `{credential}` stand for those of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    pub(super) status: StatusCode,
    pub(super) shape: Shape,
    pub(super) code: Option<Arc<str>>,
    pub(super) message: Option<Arc<str>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The form of an error body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// As the vendor of the dialect writes it.
    #[default]
    Dialect,
    /// `{"error":{"type":"Bad Request","message":"…"}}`, as some relays do.
    Bare,
}

impl ErrorAnswer {
    /// The error that the dialect usually has under `status`. Under a 2xx it is the one that
    /// belongs to a 500.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            shape: Shape::Dialect,
            code: None,
            message: None,
            headers: Vec::new(),
        }
    }

    /// Another machine code: Anthropic's `error.type`, OpenAI's `error.code`, Gemini's
    /// `error.status` or, if it is none of those, the reason in its details.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Arc<str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Another text, in which `{prompt}` and `{credential}` are filled in.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Arc<str>>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Another form.
    #[must_use]
    pub const fn with_shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// One more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A text that is no [`Behaviour`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no behaviour; write it like ok, slow:200ms, status:503, cut:3 or first:2:reset"
)]
pub struct InvalidBehaviour {
    text: String,
}

impl FromStr for Behaviour {
    type Err = InvalidBehaviour;

    fn from_str(text: &str) -> Result<Self, InvalidBehaviour> {
        parse(text.trim()).ok_or_else(|| InvalidBehaviour {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Behaviour> {
    let (name, argument) = match text.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    Some(match (name, argument) {
        ("ok", None) => Behaviour::Ok,
        ("refuse", None) => Behaviour::Refuse,
        ("reset", None) => Behaviour::Reset,
        ("hang", None) => Behaviour::Hang,
        ("html", None) => Behaviour::Html,
        ("empty", None) => Behaviour::Empty,
        ("truncated", None) => Behaviour::Truncated,
        ("garbage", None) => Behaviour::Garbage,
        ("not-http", None) => Behaviour::NotHttp,
        ("no-end", None) => Behaviour::NoEnd,
        ("gzip", None) => Behaviour::Gzip { announced: true },
        ("gzip", Some("unannounced")) => Behaviour::Gzip { announced: false },
        ("close-idle", None) => Behaviour::CloseIdle,
        ("echo", None) => Behaviour::Echo,
        ("echo-prompt", None) => Behaviour::EchoPrompt,
        ("echo-credential", None) => Behaviour::EchoCredential,
        ("slow", Some(times)) => {
            let (first, each) = times.split_once(',').unwrap_or((times, "0ms"));
            let (first, each) = (parse_duration(first)?, parse_duration(each)?);
            Behaviour::Slow { first, each }
        }
        ("status", Some(answer)) => Behaviour::Status(parse_error_answer(answer)?),
        ("cut", Some(events)) => Behaviour::Cut(events.parse().ok()?),
        ("stall", Some(events)) => Behaviour::Stall(events.parse().ok()?),
        ("error", Some(events)) => Behaviour::ErrorAfter(events.parse().ok()?),
        ("keys", Some(keys)) if !keys.is_empty() => {
            Behaviour::Keys(keys.split(',').map(Into::into).collect())
        }
        ("quota", Some(requests)) => Behaviour::Quota(requests.parse().ok()?),
        ("first", Some(rest)) => {
            let (requests, behaviour) = rest.split_once(':')?;
            Behaviour::First(requests.parse().ok()?, Box::new(parse(behaviour)?))
        }
        _ => return None,
    })
}

fn parse_error_answer(text: &str) -> Option<ErrorAnswer> {
    let mut options = text.split(';');
    let mut answer = ErrorAnswer::new(options.next()?.parse().ok()?);
    for option in options {
        let (name, value) = option.split_once('=')?;
        answer = match name {
            "code" => answer.with_code(value),
            "message" => answer.with_message(value),
            "shape" if value == "bare" => answer.with_shape(Shape::Bare),
            "shape" => return None,
            _ => answer.with_header(name.parse().ok()?, value.parse().ok()?),
        };
    }
    Some(answer)
}

fn parse_duration(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    let seconds = text.strip_suffix('s')?;
    seconds.parse().ok().map(Duration::from_secs)
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Slow { first, each } if each.is_zero() => {
                write!(f, "slow:{}ms", first.as_millis())
            }
            Self::Slow { first, each } => {
                write!(f, "slow:{}ms,{}ms", first.as_millis(), each.as_millis())
            }
            Self::Refuse => f.write_str("refuse"),
            Self::Reset => f.write_str("reset"),
            Self::Hang => f.write_str("hang"),
            Self::Status(answer) => write!(f, "status:{answer}"),
            Self::Html => f.write_str("html"),
            Self::Empty => f.write_str("empty"),
            Self::Truncated => f.write_str("truncated"),
            Self::Garbage => f.write_str("garbage"),
            Self::NotHttp => f.write_str("not-http"),
            Self::Cut(events) => write!(f, "cut:{events}"),
            Self::Stall(events) => write!(f, "stall:{events}"),
            Self::ErrorAfter(events) => write!(f, "error:{events}"),
            Self::NoEnd => f.write_str("no-end"),
            Self::Gzip { announced: true } => f.write_str("gzip"),
            Self::Gzip { announced: false } => f.write_str("gzip:unannounced"),
            Self::CloseIdle => f.write_str("close-idle"),
            Self::Keys(keys) => write!(f, "keys:{}", keys.join(",")),
            Self::Quota(requests) => write!(f, "quota:{requests}"),
            Self::First(requests, behaviour) => write!(f, "first:{requests}:{behaviour}"),
            Self::Echo => f.write_str("echo"),
            Self::EchoPrompt => f.write_str("echo-prompt"),
            Self::EchoCredential => f.write_str("echo-credential"),
        }
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.as_str())?;
        if self.shape == Shape::Bare {
            f.write_str(";shape=bare")?;
        }
        if let Some(code) = &self.code {
            write!(f, ";code={code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ";message={message}")?;
        }
        self.headers.iter().try_for_each(|(name, value)| {
            write!(f, ";{name}={}", String::from_utf8_lossy(value.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SIM-01
    #[test]
    fn every_behaviour_reads_what_it_writes() {
        let samples: Vec<_> = Behaviour::samples().collect();
        assert_eq!(samples.len(), SAMPLES.len());
        for (behaviour, text) in samples.iter().zip(SAMPLES) {
            assert_eq!(behaviour.to_string(), *text);
        }
        let text =
            "status:429;shape=bare;code=insufficient_quota;message=no {prompt};retry-after=3";
        assert_eq!(text.parse::<Behaviour>().unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_behaviour_is_named_in_the_error() {
        for text in [
            "",
            "okay",
            "ok:1",
            "status",
            "status:9",
            "status:429;x",
            "status:429;shape=odd",
            "slow:1",
            "slow:-1s",
            "cut:-1",
            "keys:",
            "first:reset",
            "first:1:odd",
        ] {
            let error = text.parse::<Behaviour>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
