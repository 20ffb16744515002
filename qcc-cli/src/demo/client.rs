//! The clients of the demo: what they ask, and whether they understood the answer.

use bytes::Bytes;
use http::StatusCode;
use qcc_core::facts::Dialect;
use serde_json::{Value, json};

/// What every simulated endpoint says. A client that got anything else was not served.
pub(super) const TEXT: &str =
    "Every word of this answer arrived, whichever endpoint said it in the end.";

/// A request as a client makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
}

impl Ask {
    /// The path, with its query.
    pub(super) const fn path(self) -> &'static str {
        match (self.dialect, self.stream) {
            (Dialect::Anthropic, _) => "/v1/messages",
            (Dialect::Responses, _) => "/v1/responses",
            (Dialect::Gemini, false) => "/v1beta/models/simulated:generateContent",
            (Dialect::Gemini, true) => "/v1beta/models/simulated:streamGenerateContent?alt=sse",
            _ => "/v1/chat/completions",
        }
    }

    /// The body.
    pub(super) fn body(self) -> String {
        let prompt = "Does every word arrive?";
        let messages = json!([{ "role": "user", "content": prompt }]);
        match self.dialect {
            Dialect::Anthropic => json!({
                "model": "simulated", "max_tokens": 64, "stream": self.stream,
                "messages": messages,
            }),
            Dialect::Responses => json!({
                "model": "simulated", "stream": self.stream, "input": prompt,
            }),
            Dialect::Gemini => json!({
                "contents": [{ "role": "user", "parts": [{ "text": prompt }] }],
            }),
            _ => json!({
                "model": "simulated", "stream": self.stream, "messages": messages,
            }),
        }
        .to_string()
    }

    /// What the client makes of an answer.
    pub(super) fn read(self, status: StatusCode, body: &Bytes) -> Heard {
        let text = String::from_utf8_lossy(body);
        let mut heard = Heard {
            status,
            ..Heard::default()
        };
        if !self.stream {
            match serde_json::from_str(&text) {
                Ok(answer) => heard.note(self.whole(&answer), true, &answer),
                Err(_) => heard.error = Some("the answer is no JSON".to_owned()),
            }
            return heard;
        }
        for event in text.replace("\r\n", "\n").split_terminator("\n\n") {
            heard.events += 1;
            let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else {
                continue;
            };
            if data == "[DONE]" {
                heard.is_complete = true;
            } else if let Ok(event) = serde_json::from_str(data) {
                let (piece, is_end) = self.event(&event);
                heard.note(piece, is_end, &event);
            }
        }
        heard
    }

    /// The text of an answer that is not streamed.
    fn whole(self, answer: &Value) -> Option<&str> {
        let pointer = match self.dialect {
            Dialect::Anthropic => "/content/0/text",
            Dialect::Responses => "/output/0/content/0/text",
            Dialect::Gemini => "/candidates/0/content/parts/0/text",
            _ => "/choices/0/message/content",
        };
        answer.pointer(pointer)?.as_str()
    }

    /// The text that an event adds, and whether it is the end of the answer.
    fn event(self, event: &Value) -> (Option<&str>, bool) {
        let at = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let kind = at("/type").unwrap_or_default();
        match self.dialect {
            Dialect::Anthropic => (at("/delta/text"), kind == "message_stop"),
            Dialect::Responses => {
                let delta = at("/delta").filter(|_| kind == "response.output_text.delta");
                (delta, kind == "response.completed")
            }
            Dialect::Gemini => (
                at("/candidates/0/content/parts/0/text"),
                at("/candidates/0/finishReason") == Some("STOP"),
            ),
            // The end is a line that is no JSON.
            _ => (at("/choices/0/delta/content"), false),
        }
    }
}

/// What a client understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// Whole events of a stream, one that tells an error included.
    pub(super) events: usize,
    /// Whether the answer said that it is complete.
    pub(super) is_complete: bool,
    /// What the answer said about a failure.
    pub(super) error: Option<String>,
}

impl Heard {
    fn note(&mut self, piece: Option<&str>, is_end: bool, value: &Value) {
        self.text.push_str(piece.unwrap_or_default());
        self.is_complete |= is_end;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            let kind = error.get("type").and_then(Value::as_str);
            self.error = Some(kind.unwrap_or("error").to_owned());
        }
    }

    /// Whether the client got what it asked for, all of it and nothing else.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.status != StatusCode::OK {
            return Err(format!("status {}", self.status.as_u16()));
        }
        if let Some(error) = &self.error {
            return Err(format!("an error in the answer: {error}"));
        }
        if !self.is_complete || self.text != TEXT {
            return Err("the answer is not complete".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use qcc_core::simulate::{Behaviour, Script, Simulator};
    use tower::ServiceExt as _;

    use super::*;

    /// What a client hears of an endpoint that does this.
    async fn heard(ask: Ask, behaviour: &str) -> Heard {
        let behaviour: Behaviour = behaviour.parse().unwrap();
        let script = Script::new(behaviour).with_text(TEXT).with_deltas(6);
        let simulator = Simulator::new().endpoint("a", script);
        let request = Request::post(format!("http://a.sim{}", ask.path()))
            .body(ask.body().into())
            .unwrap();
        let response = simulator.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        ask.read(status, &body)
    }

    fn asks() -> impl Iterator<Item = Ask> {
        let forms = |dialect| [false, true].map(|stream| Ask { dialect, stream });
        Dialect::ALL.into_iter().flat_map(forms)
    }

    // SIM-03
    #[tokio::test(start_paused = true)]
    async fn a_client_understands_a_whole_answer_in_every_form() {
        for ask in asks() {
            let heard = heard(ask, "ok").await;
            assert_eq!(heard.check(), Ok(()), "{ask:?} {heard:?}");
        }
    }

    // SIM-03
    #[tokio::test(start_paused = true)]
    async fn a_client_is_not_content_with_less() {
        for ask in asks() {
            for behaviour in [
                "status:503",
                "status:200",
                "error:4",
                "no-end",
                "html",
                "empty",
            ] {
                let heard = heard(ask, behaviour).await;
                assert!(heard.check().is_err(), "{ask:?} {behaviour} {heard:?}");
            }
        }
    }
}
