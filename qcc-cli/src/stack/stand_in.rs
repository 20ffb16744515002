//! Answers in the place of the layers: every request gets a 503.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::{BoxError, Error};
use qcc_core::exchange::{Exchange, RequestId};
use qcc_core::facts::{Dialect, Facts, Operation, ReadFacts};
use qcc_core::record::RecordSink;
use qcc_core::time::{Duration, Instant};
use tower::Service;

/// Stands for `qcc_core::upstream::Reqwest`.
#[derive(Clone)]
pub(crate) struct Reqwest;

impl Reqwest {
    pub(crate) const fn new(_connect: Duration) -> Self {
        Self
    }
}

/// Stands for `qcc_core::failover::Builder`.
pub(crate) struct Builder {
    endpoints: Endpoints,
}

impl Builder {
    pub(crate) fn record_to(self, _sink: impl RecordSink) -> Self {
        self
    }

    pub(crate) fn build<S>(self, mut upstream: impl FnMut(&Endpoint) -> S) -> Failover<S> {
        for endpoint in self.endpoints.iter() {
            upstream(endpoint);
        }
        Failover(PhantomData)
    }
}

/// Stands for `qcc_core::failover::Failover`.
pub(crate) struct Failover<S>(PhantomData<fn() -> S>);

impl Failover<()> {
    pub(crate) const fn builder(endpoints: Endpoints) -> Builder {
        Builder { endpoints }
    }
}

impl<S> Failover<S> {
    pub(crate) fn handle(&self) -> Handle {
        Handle
    }
}

impl<S> Clone for Failover<S> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<S, B> Service<Request<B>> for Failover<S> {
    type Response = Response<Full<Bytes>>;
    type Error = Error;
    type Future = Ready<Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let absent = RequestId::random();
        let exchange = Exchange::get(request.extensions());
        let response = error_response(
            exchange.and_then(|exchange| exchange.facts().dialect),
            StatusCode::SERVICE_UNAVAILABLE,
            "no_available_account",
            "no endpoint may be used now",
            exchange.map_or_else(|| &absent, Exchange::id),
        );
        ready(Ok(response.map(Full::new)))
    }
}

/// Stands for `qcc_core::failover::Handle`.
#[derive(Clone)]
pub(crate) struct Handle;

impl Handle {
    pub(crate) fn maintenance(&self) -> impl Future<Output = ()> + Send + use<> {
        std::future::pending()
    }
}

/// Stands for `qcc_core::inspect::Inspect`.
#[derive(Clone)]
pub(crate) struct Inspect<S>(S);

impl<S> Inspect<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S, B> Service<Request<B>> for Inspect<S>
where
    S: Service<Request<RequestBody>, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.0.clone();
        let mut inner = std::mem::replace(&mut self.0, clone);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let exchange = Exchange::of(&mut head.extensions);
            let body = RequestBody::collect(body, 32 << 20).await?;
            let bytes = body.as_bytes().map(|bytes| &**bytes);
            exchange.set_facts(LlmFacts.facts(&head, bytes));
            let request = Request::from_parts(head, body);
            inner.call(request).await.map_err(Into::into)
        })
    }
}

/// Stands for `qcc_core::llm::LlmFacts`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LlmFacts;

impl ReadFacts for LlmFacts {
    fn facts(&self, head: &Parts, body: Option<&[u8]>) -> Facts {
        let path = head.uri.path();
        let mut facts = Facts::default();
        facts.dialect = if path.ends_with("/messages") {
            Some(Dialect::Anthropic)
        } else if path.ends_with("/chat/completions") {
            Some(Dialect::Chat)
        } else if path.ends_with("/responses") {
            Some(Dialect::Responses)
        } else if path.contains("enerateContent") {
            Some(Dialect::Gemini)
        } else {
            None
        };
        if facts.dialect.is_some() {
            facts.operation = Operation::Generate;
        }
        let json: Option<serde_json::Value> =
            body.and_then(|body| serde_json::from_slice(body).ok());
        facts.model = json.and_then(|json| Some(json.get("model")?.as_str()?.into()));
        facts
    }
}

/// Stands for `qcc_core::llm::error_response`.
pub(crate) fn error_response(
    dialect: Option<Dialect>,
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: &RequestId,
) -> Response<Bytes> {
    let request_id = request_id.to_string();
    let body = match dialect {
        Some(Dialect::Anthropic) => serde_json::json!({
            "type": "error",
            "error": { "type": code, "message": message },
            "request_id": request_id,
        }),
        Some(Dialect::Gemini) => serde_json::json!({
            "error": {
                "code": status.as_u16(), "message": message, "status": code,
                "request_id": request_id,
            },
        }),
        _ => serde_json::json!({
            "error": { "type": code, "code": code, "message": message, "param": null,
                "request_id": request_id },
        }),
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Stands for `qcc_core::llm::respond`.
pub(crate) fn respond(error: &Error, dialect: Option<Dialect>, _now: Instant) -> Response<Bytes> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    error_response(
        dialect,
        status,
        "no_available_account",
        &error.to_string(),
        error.request_id(),
    )
}
