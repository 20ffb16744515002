//! An explanation as the store keeps it.
//!
//! Every request is written and hardly one is read. So the text is short, its members are named by
//! single letters and left out where they are as usual, and it is written straight from the record.
//! It reads as the [`Explanation`] of that record; [`Kept`] says what the letters mean.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use qcc_core::record::{Fate, Record, SendRecord, Usage, VisitRecord};
use qcc_core::time::Duration;
use serde::{Deserialize, Serialize};

use super::{
    Explanation, Failure, Named, Out, Outcome, PassedOver, Preference, SendStory, Tokens,
    VisitStory, answered_by, result_of, told,
};
use crate::moment::{Anchor, Date, hundredths};

/// What the text of a request takes that succeeds at once, with names of usual length.
const USUAL: usize = 448;

/// A number of hundredths of a millisecond.
type Hundredths = u64;

/// A request. What a later version adds is optional.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "i")]
    id: String,
    /// Milliseconds since 1970.
    #[serde(rename = "t")]
    started_at: i64,
    #[serde(rename = "c")]
    cluster: Option<String>,
    #[serde(rename = "k")]
    client: Option<String>,
    #[serde(rename = "d")]
    dialect: Option<String>,
    #[serde(rename = "m")]
    model: Option<String>,
    #[serde(rename = "y", default)]
    stream: bool,
    #[serde(rename = "h")]
    session: Option<String>,
    #[serde(rename = "l")]
    deadline: Option<Hundredths>,
    #[serde(rename = "n", default = "one")]
    attempts: usize,
    #[serde(rename = "v", default)]
    visits: Vec<Visit>,
    #[serde(rename = "o")]
    committed: Option<Hundredths>,
    /// Input, cached and output tokens.
    #[serde(rename = "u")]
    usage: Option<(Option<u64>, Option<u64>, Option<u64>)>,
    #[serde(rename = "b")]
    binding: Option<String>,
    #[serde(rename = "a", default = "relayed")]
    outcome: String,
    #[serde(rename = "s")]
    status: Option<u16>,
    #[serde(rename = "e")]
    error: Option<String>,
    /// The number of the visit whose endpoint answered.
    #[serde(rename = "w")]
    answered_by: Option<usize>,
    #[serde(rename = "z", default)]
    duration: Hundredths,
}

#[derive(Deserialize)]
struct Visit {
    #[serde(rename = "t", default)]
    at: Hundredths,
    #[serde(rename = "x", default)]
    left_out: Vec<Out>,
    #[serde(rename = "y", default)]
    others_left_out: BTreeMap<String, u32>,
    /// Short id, name and address.
    #[serde(rename = "e")]
    endpoint: Option<(String, String, String)>,
    #[serde(rename = "r")]
    tier: Option<String>,
    /// Its fate, where there is nothing more to tell.
    #[serde(rename = "f")]
    fate: Option<String>,
    #[serde(rename = "p")]
    preference: Option<Preference>,
    #[serde(rename = "v", default)]
    sends: Vec<Send>,
}

#[derive(Deserialize)]
struct Send {
    #[serde(rename = "k", default = "first")]
    kind: String,
    #[serde(rename = "c")]
    credential: Option<String>,
    #[serde(rename = "p", default)]
    passed_over: Vec<PassedOver>,
    #[serde(rename = "t", default)]
    at: Hundredths,
    #[serde(rename = "f")]
    first_byte: Option<Hundredths>,
    #[serde(rename = "s")]
    status: Option<u16>,
    #[serde(rename = "z", default)]
    duration: Hundredths,
    #[serde(rename = "b", default)]
    bytes: u64,
    #[serde(rename = "a", default = "clean")]
    result: String,
    #[serde(rename = "r")]
    refused: Option<String>,
    #[serde(rename = "e")]
    failure: Option<Failure>,
}

const ONE: usize = 1;
const RELAYED: &str = "relayed";
const FIRST: &str = "first";
const CLEAN: &str = "clean";

fn one() -> usize {
    ONE
}

fn relayed() -> String {
    RELAYED.to_owned()
}

fn first() -> String {
    FIRST.to_owned()
}

fn clean() -> String {
    CLEAN.to_owned()
}

/// The explanation that was kept as `text`.
pub(crate) fn read(text: &str) -> Result<Explanation, serde_json::Error> {
    match serde_json::from_str::<Kept>(text) {
        Ok(kept) => Ok(kept.into()),
        // The first version kept all of it, under its own names.
        Err(_) => serde_json::from_str(text),
    }
}

impl From<Kept> for Explanation {
    fn from(kept: Kept) -> Self {
        let mut sends = 0;
        let visits = kept.visits.into_iter().enumerate();
        let visits: Vec<_> = visits
            .map(|(index, visit)| visit.into_story(index + 1, &mut sends))
            .collect();
        let answered_by = kept.answered_by.and_then(|index| visits.get(index));
        Self {
            id: kept.id,
            started_at: Date::from_millis(kept.started_at),
            cluster: kept.cluster,
            client: kept.client,
            dialect: kept.dialect,
            model: kept.model,
            stream: kept.stream,
            session: kept.session,
            deadline_ms: kept.deadline.map(millis),
            attempts: kept.attempts,
            committed_at_ms: kept.committed.map(millis),
            usage: kept.usage.map(|(input, cached, output)| Tokens {
                input,
                cached,
                output,
            }),
            binding: kept.binding,
            answer: Outcome {
                outcome: kept.outcome,
                status: kept.status,
                error: kept.error,
            },
            answered_by: answered_by.and_then(|visit| visit.endpoint.clone()),
            visits,
            duration_ms: millis(kept.duration),
        }
    }
}

impl Visit {
    fn into_story(self, number: usize, sends: &mut usize) -> VisitStory {
        VisitStory {
            number,
            at_ms: millis(self.at),
            left_out: self.left_out,
            others_left_out: self.others_left_out,
            endpoint: self
                .endpoint
                .map(|(id, name, base_url)| Named { id, name, base_url }),
            tier: self.tier,
            preference: self.preference.or_else(|| {
                self.fate.map(|fate| Preference {
                    fate,
                    reason: None,
                    until: None,
                })
            }),
            sends: self
                .sends
                .into_iter()
                .map(|send| {
                    *sends += 1;
                    send.into_story(*sends)
                })
                .collect(),
        }
    }
}

impl Send {
    fn into_story(self, number: usize) -> SendStory {
        SendStory {
            number,
            kind: self.kind,
            credential: self.credential,
            passed_over: self.passed_over,
            at_ms: millis(self.at),
            first_byte_ms: self.first_byte.map(millis),
            status: self.status,
            duration_ms: millis(self.duration),
            bytes: self.bytes,
            result: self.result,
            refused: self.refused,
            failure: self.failure,
        }
    }
}

fn millis(hundredths: Hundredths) -> f64 {
    hundredths as f64 / 100.0
}

/// The text that is kept of `record`. `now` turns its instants into dates.
pub(crate) fn write(record: &Record, now: &Anchor) -> String {
    let mut json = Json(String::with_capacity(USUAL));
    json.shown("{\"i\":", &record.id);
    json.number(",\"t\":", Date::from(record.started_at).as_millis());
    json.text(",\"c\":", record.cluster.as_deref());
    json.text(",\"k\":", record.client.as_deref());
    json.word(",\"d\":", record.dialect.map(|dialect| dialect.as_str()));
    json.text(",\"m\":", record.model.as_deref());
    if record.stream {
        json.put(",\"y\":true");
    }
    if let Some(session) = &record.session {
        json.shown(",\"h\":", session);
    }
    json.duration(",\"l\":", record.deadline);
    if let Some(attempts) = unusual(record.attempts(), ONE) {
        json.number(",\"n\":", attempts);
    }
    json.put(",\"v\":");
    json.list(&record.visits, |json, visit| json.visit(visit, now));
    json.duration(",\"o\":", record.committed);
    if let Some(usage) = record.usage {
        json.usage(usage);
    }
    json.word(",\"b\":", record.binding.map(|binding| binding.as_str()));
    let (outcome, status, error) = told(record.answer);
    json.word(",\"a\":", unusual(outcome, RELAYED));
    if let Some(status) = status {
        json.number(",\"s\":", status);
    }
    json.word(",\"e\":", error);
    if let Some(endpoint) = answered_by(record) {
        let is_its = |visit: &VisitRecord| {
            let own = visit.endpoint.as_ref();
            own.is_some_and(|own| own.id() == endpoint.id())
        };
        if let Some(index) = record.visits.iter().rposition(is_its) {
            json.number(",\"w\":", index);
        }
    }
    json.duration(",\"z\":", Some(record.duration));
    json.put("}");
    json.0
}

fn unusual<T: Copy + PartialEq>(value: T, usual: T) -> Option<T> {
    (value != usual).then_some(value)
}

/// JSON as it grows. A `key` is what stands before the value: comma, name and colon.
struct Json(String);

impl Json {
    fn put(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn visit(&mut self, visit: &VisitRecord, now: &Anchor) {
        self.duration("{\"t\":", Some(visit.started));
        if !visit.left_out.is_empty() {
            self.put(",\"x\":");
            self.list(&visit.left_out, |json, out| json.value(&Out::of(out, now)));
        }
        let mut key = ",\"y\":{\"";
        for (reason, count) in visit.others.iter() {
            self.put(key);
            self.put(reason.as_str());
            self.number("\":", count);
            key = ",\"";
        }
        if visit.others.iter().next().is_some() {
            self.put("}");
        }
        if let Some(endpoint) = &visit.endpoint {
            self.shown(",\"e\":[", &endpoint.id());
            self.text(",", Some(endpoint.name()));
            self.text(",", Some(endpoint.base_url().as_str()));
            self.put("]");
        }
        self.word(",\"r\":", visit.tier.map(|tier| tier.as_str()));
        match visit.preference {
            None => {}
            Some(Fate::Honoured) => self.word(",\"f\":", Some("honoured")),
            Some(fate) => {
                self.put(",\"p\":");
                self.value(&Preference::of(fate, now));
            }
        }
        self.put(",\"v\":");
        self.list(&visit.sends, |json, send| json.send(send, now));
        self.put("}");
    }

    fn send(&mut self, send: &SendRecord, now: &Anchor) {
        self.duration("{\"t\":", Some(send.started));
        self.word(",\"k\":", unusual(send.kind.as_str(), FIRST));
        self.text(",\"c\":", send.credential.as_deref());
        if !send.passed_over.is_empty() {
            self.put(",\"p\":");
            self.list(&send.passed_over, |json, passed| {
                json.value(&PassedOver::of(passed, now));
            });
        }
        self.duration(",\"f\":", send.first_byte);
        if let Some(status) = send.status {
            self.number(",\"s\":", status.as_u16());
        }
        self.duration(",\"z\":", Some(send.duration));
        self.number(",\"b\":", send.bytes);
        let (result, refused, failure) = result_of(send, now);
        self.word(",\"a\":", unusual(result, CLEAN));
        self.word(",\"r\":", refused);
        if let Some(failure) = failure {
            self.put(",\"e\":");
            self.value(&failure);
        }
        self.put("}");
    }

    fn usage(&mut self, usage: Usage) {
        let mut key = ",\"u\":[";
        for count in [usage.input, usage.cached, usage.output] {
            match count {
                Some(count) => self.number(key, count),
                None => {
                    self.put(key);
                    self.put("null");
                }
            }
            key = ",";
        }
        self.put("]");
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.put("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.put(",");
            }
            write(self, item);
        }
        self.put("]");
    }

    fn number(&mut self, key: &str, number: impl itoa::Integer) {
        self.put(key);
        self.put(itoa::Buffer::new().format(number));
    }

    fn duration(&mut self, key: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.number(key, hundredths(duration));
        }
    }

    /// A name of ours, which holds nothing to escape.
    fn word(&mut self, key: &str, word: Option<&str>) {
        if let Some(word) = word {
            self.put(key);
            self.put("\"");
            self.put(word);
            self.put("\"");
        }
    }

    /// An id, which holds nothing to escape.
    fn shown(&mut self, key: &str, id: &impl fmt::Display) {
        self.put(key);
        self.put("\"");
        // Text has room for everything.
        let _ = write!(self.0, "{id}");
        self.put("\"");
    }

    /// Somebody else's name, of whatever characters.
    fn text(&mut self, key: &str, text: Option<&str>) {
        let escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        match text {
            // Without a branch for each byte.
            Some(text) if text.bytes().fold(false, |any, byte| any | escaped(byte)) => {
                self.put(key);
                self.value(text);
            }
            plain => self.word(key, plain),
        }
    }

    /// What is not there in most records, as it is explained.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Without a map whose keys are no text this does not fail.
        self.put(&serde_json::to_string(value).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::samples;

    // STO-01, XPL-02
    #[test]
    fn what_is_kept_reads_as_the_explanation_of_its_record() {
        for mut record in samples::all() {
            for nanos in [0, 4_999, 5_000, 15_000, 1_100_000, 86_400_000_000_123] {
                record.duration = Duration::from_nanos(nanos);
                let explanation = Explanation::of(&record, &samples::now());
                let text = write(&record, &samples::now());
                assert_eq!(read(&text).unwrap(), explanation, "{text}");
                let whole = serde_json::to_string(&explanation).unwrap();
                assert!(text.len() < whole.len(), "{text}");
            }
        }
    }

    // XPL-02
    #[test]
    fn a_name_may_hold_whatever_it_likes() {
        let mut record = samples::nobody();
        for name in ["", "a \"b\" \\ c", "line\nline", "\u{1}", "über"] {
            record.model = Some(name.into());
            record.cluster = Some(name.into());
            let text = write(&record, &samples::now());
            let explanation = Explanation::of(&record, &samples::now());
            assert_eq!(read(&text).unwrap(), explanation, "{text}");
        }
    }
}
