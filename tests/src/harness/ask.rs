//! Requests of a client, and what endpoints say to them.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::facts::Dialect;
use qcc_core::simulate::{Script, Simulator};
use tower::ServiceExt as _;

use super::{MODEL, PROMPT, SESSION};

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(super) dialect: Dialect,
    stream: bool,
    session: Option<String>,
}

impl Ask {
    /// A request of the session [`SESSION`].
    #[must_use]
    pub fn new(dialect: Dialect, stream: bool) -> Self {
        Self {
            dialect,
            stream,
            session: Some(SESSION.to_owned()),
        }
    }

    /// A request for a stream.
    #[must_use]
    pub fn streamed(dialect: Dialect) -> Self {
        Self::new(dialect, true)
    }

    /// A request for an answer in one piece.
    #[must_use]
    pub fn whole(dialect: Dialect) -> Self {
        Self::new(dialect, false)
    }

    /// The same of another session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// The same of no session.
    #[must_use]
    pub fn without_session(mut self) -> Self {
        self.session = None;
        self
    }

    /// The request as a client sends it, with a key of its own.
    #[must_use]
    pub fn request(&self) -> Request<RequestBody> {
        self.to("")
    }

    fn to(&self, origin: &str) -> Request<RequestBody> {
        let stream = self.stream;
        let path = match (self.dialect, stream) {
            (Dialect::Anthropic, _) => "/v1/messages".to_owned(),
            (Dialect::Chat, _) => "/v1/chat/completions".to_owned(),
            (Dialect::Responses, _) => "/v1/responses".to_owned(),
            (_, false) => format!("/v1beta/models/{MODEL}:generateContent"),
            (_, true) => format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"),
        };
        let body = match self.dialect {
            Dialect::Anthropic | Dialect::Chat => format!(
                r#"{{"model":"{MODEL}","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            ),
            Dialect::Responses => {
                format!(r#"{{"model":"{MODEL}","stream":{stream},"input":"{PROMPT}"}}"#)
            }
            _ => format!(r#"{{"contents":[{{"parts":[{{"text":"{PROMPT}"}}]}}]}}"#),
        };
        let mut request = Request::post(format!("{origin}{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, "Bearer sk-test-client");
        if let Some(session) = &self.session {
            request = request.header("x-session-id", session);
        }
        request.body(body.into()).expect("a request")
    }

    /// What an endpoint that follows `script` says to its request number `number`, in the
    /// pieces in which it comes: the measure of what the client has to see.
    pub async fn answer_of(
        &self,
        name: &str,
        script: impl Into<Script>,
        number: u64,
    ) -> Vec<Bytes> {
        let simulator = Simulator::new().endpoint(name, script);
        let request = || self.to(&format!("http://{name}.sim"));
        for _ in 1..number {
            drop(simulator.clone().oneshot(request()).await);
        }
        let response = simulator.oneshot(request()).await.expect("an answer");
        let mut body = response.into_body();
        let mut pieces = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            pieces.extend(frame.into_data());
        }
        pieces
    }
}
