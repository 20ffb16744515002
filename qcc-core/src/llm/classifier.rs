//! The classifier of LLM answers.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use memchr::memmem::{self, Finder};

use super::answer::{Answer, Limits};
use super::anthropic::Anthropic;
use super::chat::Chat;
use super::document::{Finding, Told, examine};
use super::errors::{Evidence, judge};
use super::gemini::Gemini;
use super::receipt::Receipt;
use super::resources::{is_id, values};
use super::responses::Responses;
use crate::classify::{Classify, Hold, Plan, Sent, Watch};
use crate::credential::Credential;
use crate::facts::{Dialect, Facts, Operation};
use crate::failure::{Kind, Verdict};
use crate::resource::{Named, Resource, ResourceKind, Resources, Role};
use crate::stream::{HOLD, Meaning};
use crate::time::{Instant, SystemClock, WallClock};

/// How long a JSON answer is held by default: to its end, but at most 8 MiB.
const DOCUMENT_HOLD: Hold = Hold {
    bytes: 8 * 1024 * 1024,
    time: None,
};

/// So many places of an answer that name a container are looked at.
const CONTAINERS: u32 = 64;

/// What upstreams say that do not have what the body of a request names.
const NOT_THERE: [(&[u8], ResourceKind); 6] = [
    (b"previous_response_not_found", ResourceKind::Response),
    (b"File not found: ", ResourceKind::File),
    (b"No such File object: ", ResourceKind::File),
    (b"permission to access the File ", ResourceKind::File),
    (b"CachedContent not found", ResourceKind::CachedContent),
    (b"Container with id ", ResourceKind::Container),
];

/// Judges the answers of LLM APIs.
///
/// Answers of generation routes are held to their commit point and watched to their end, as the
/// dialect of the route demands; what else succeeds is passed on untouched.
///
/// # Examples
///
/// ```
/// use qcc_core::classify::Hold;
/// use qcc_core::llm::LlmClassifier;
/// use qcc_core::time::Duration;
///
/// let impatient = LlmClassifier::default().with_stream_hold(Hold {
///     bytes: 16 * 1024,
///     time: Some(Duration::from_secs(5)),
/// });
/// ```
#[derive(Clone, Debug)]
pub struct LlmClassifier {
    clock: Arc<dyn WallClock>,
    limits: Limits,
}

impl LlmClassifier {
    /// The same with another clock for dates in answers. Default: the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same; streams without meaningful output are held as long as `hold` says. Default:
    /// 64 KiB and 15 s from the first byte of the body.
    #[must_use]
    pub fn with_stream_hold(mut self, hold: Hold) -> Self {
        self.limits.events = hold;
        self
    }

    /// The same; JSON answers that are not complete are held as long as `hold` says. Default:
    /// 8 MiB and no limit in time.
    #[must_use]
    pub fn with_document_hold(mut self, hold: Hold) -> Self {
        self.limits.document = hold;
        self
    }

    fn watch(&self, sent: Sent<'_>, dialect: Dialect, head: &Parts) -> Box<dyn Watch> {
        let judge = Judge::new(sent, self.clock.clone());
        let events = head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| is_event_stream(value.as_bytes()));
        let limits = self.limits;
        match dialect {
            Dialect::Anthropic => Box::new(Answer::<Anthropic>::new(judge, limits, events)),
            Dialect::Chat => Box::new(Answer::<Chat>::new(judge, limits, events)),
            Dialect::Responses => Box::new(Answer::<Responses>::new(judge, limits, events)),
            Dialect::Gemini => Box::new(Answer::<Gemini>::new(judge, limits, events)),
        }
    }
}

impl Default for LlmClassifier {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            limits: Limits {
                events: HOLD,
                document: DOCUMENT_HOLD,
            },
        }
    }
}

impl Classify for LlmClassifier {
    fn head(&self, sent: Sent<'_>, head: &Parts) -> Plan {
        let facts = sent.facts;
        if facts.operation != Operation::Generate {
            // A redirect or a 304 of a file is an answer like any other.
            let status = head.status;
            return match facts.makes {
                _ if status.is_client_error() || status.is_server_error() => Plan::Fail,
                Some(kind) if Receipt::is_one(head) => {
                    let about = |named: &Named| named.role != Role::Mention;
                    let about_another = facts.resources.iter().any(about);
                    Plan::Watch(Box::new(Receipt::new(kind, about_another)))
                }
                _ => Plan::Pass,
            };
        }
        match facts.dialect {
            _ if !head.status.is_success() || is_encoded(head) => Plan::Fail,
            Some(dialect) => Plan::Watch(self.watch(sent, dialect, head)),
            None => Plan::Pass,
        }
    }

    fn failure(&self, sent: Sent<'_>, head: &Parts, body: &[u8], now: Instant) -> Verdict {
        let facts = sent.facts;
        if head.status.is_success() {
            // Encoded, so nobody could look into it.
            return Verdict::new(Kind::Unknown);
        }
        let judged = || {
            judge(&Evidence {
                facts,
                status: Some(head.status),
                headers: Some(&head.headers),
                body,
                now,
                date: self.clock.now(),
            })
        };
        let callers = Verdict::new(Kind::InvalidRequest);
        match facts.operation {
            Operation::Generate => judged(),
            // Many relays lack the route, which says nothing about their health.
            Operation::CountTokens => {
                let verdict = judged();
                match verdict.kind {
                    Kind::Auth | Kind::RateLimit | Kind::Quota => verdict,
                    _ => callers,
                }
            }
            Operation::Other => match head.status.as_u16() {
                401..=403 | 429 | 500.. => judged(),
                _ => callers,
            },
        }
    }

    fn missing(&self, sent: Sent<'_>, head: &Parts, body: &[u8]) -> Option<ResourceKind> {
        let facts = sent.facts;
        let gone = matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        match facts.operation {
            // The path names it, and the path is what is not found.
            Operation::Other if gone => {
                let mut named = facts.resources.iter();
                let subject = named.find(|named| named.role == Role::Subject)?;
                Some(subject.resource.kind())
            }
            _ if head.status.is_client_error() => {
                let mut known = NOT_THERE.iter();
                let said = known.find(|(text, _)| memmem::find(body, text).is_some())?;
                Some(said.1)
            }
            _ => None,
        }
    }
}

/// Judges what an answer says about itself: everything that is needed for it outlives the head.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    facts: Facts,
    pub(super) credential: Option<Credential>,
    clock: Arc<dyn WallClock>,
}

impl Judge {
    fn new(sent: Sent<'_>, clock: Arc<dyn WallClock>) -> Self {
        // Without the fields of sessions, which would have to be copied.
        let facts = Facts {
            dialect: sent.facts.dialect,
            operation: sent.facts.operation,
            model: sent.facts.model.clone(),
            stream: sent.facts.stream,
            client: sent.facts.client,
            makes: sent.facts.makes,
            ..Facts::default()
        };
        Self {
            facts,
            credential: sent.credential.cloned(),
            clock,
        }
    }

    /// What the request makes.
    pub(super) const fn makes(&self) -> Option<ResourceKind> {
        self.facts.makes
    }

    /// What `whole` tells of resources that were made, which is an answer that is not streamed.
    pub(super) fn made(&self, told: &Told<'_>, whole: &[u8]) -> Resources {
        static CONTAINER: LazyLock<Finder<'static>> =
            LazyLock::new(|| Finder::new("\"container_id"));
        let mut made = Resources::new();
        let mut note = |kind, id: &str| {
            let resource = Resource::new(kind, id);
            if is_id(id) && !made.contains(&resource) {
                made.push(resource);
            }
        };
        let Some(makes) = self.makes() else {
            return made;
        };
        if let (ResourceKind::Response, Some(id)) = (makes, &told.id) {
            note(makes, id);
        }
        if let Some(id) = &told.container {
            note(ResourceKind::Container, id);
        }
        if self.facts.dialect == Some(Dialect::Responses) {
            // Items name the containers in which they were made.
            let mut left = CONTAINERS;
            values(whole, &CONTAINER, |id| {
                note(ResourceKind::Container, id);
                left -= 1;
                if left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
        made
    }

    /// The verdict on the JSON of an error.
    pub(super) fn error(&self, body: &[u8], now: Instant) -> Verdict {
        judge(&Evidence {
            facts: &self.facts,
            status: None,
            headers: None,
            body,
            now,
            date: self.clock.now(),
        })
    }

    /// What JSON in a place where the dialect has none means. An error there is overlooked by
    /// clients, so it has to be said again; anything else is unknown.
    pub(super) fn odd(&self, json: &[u8], now: Instant) -> Meaning {
        match examine(json) {
            Finding::Error(error) => Meaning::Cut(self.error(error, now)),
            Finding::Answer(_) | Finding::Garbage => Meaning::Output,
        }
    }
}

/// Whether the body is encoded still, because no layer below has decoded it.
pub(super) fn is_encoded(head: &Parts) -> bool {
    head.headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    content_type
        .get(..NAME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(NAME))
}
