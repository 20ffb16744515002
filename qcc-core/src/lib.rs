//! qcc keeps LLM traffic flowing when upstreams fail.
//!
//! Several API keys, accounts or relays can answer the same request. This crate is a set of
//! [Tower](tower) layers that you put around *your own* HTTP client: they choose an endpoint, judge
//! its answer, and go to the next one while the client has seen nothing. Until the first
//! meaningful output of an answer exists, a failure of any form is invisible: a status, an error
//! under status 200, an error as the first event of a stream, a truncated document, silence.
//! After it the client gets every whole event that came, then the error event of its own dialect.
//!
//! Four dialects are told apart and never translated: Anthropic Messages, OpenAI Chat Completions,
//! OpenAI Responses and Gemini. What belongs to none of them passes through untouched.
//!
//! # The stack
//!
//! ```text
//!  your service
//!    │
//!  Inspect              reads the body once, so that all below know what is asked
//!  RetryWithExclusion   above Balance, or a retry would go to the same endpoint again
//!  Affinity             below Retry: each visit may prefer another endpoint
//!  Balance              picks in `call`, where it sees the request
//!    ├──────────────── one way per endpoint ─────────────────────────────────────
//!  CircuitBreaker       outermost: it counts visits, and one mended below is no failure
//!  TrackHealth          hears of a refused key only when no other key is left below
//!  TokenPool            above QuickRetry, which repeats a send with the key that it had
//!  QuickRetry           above ErrorClassify, which tells it what a transport failure is
//!  ErrorClassify        below all that act on a verdict; holds the answer to its commit point
//!  Decode               below ErrorClassify, which has to be able to read what it judges
//!  Origin               last: address, Host, credential, headers that may not pass
//!    │
//!  your client          any `Service<http::Request<RequestBody>>`: reqwest, hyper-util, a mock
//! ```
//!
//! Layers never import each other. They meet in two types in the extensions of a request:
//! [`Exchange`](exchange::Exchange), one for each client request, and [`Visit`](visit::Visit), one
//! for each stay at an endpoint. Layers of your own may stand anywhere in between.
//!
//! # A first program
//!
//! [`Failover`](failover::Failover) is the stack above, ready to use:
//!
#![cfg_attr(feature = "llm", doc = "```")]
#![cfg_attr(not(feature = "llm"), doc = "```ignore")]
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt as _, Full};
//! use qcc_core::body::RequestBody;
//! use qcc_core::credential::Credential;
//! use qcc_core::endpoint::{Api, Endpoint, Endpoints};
//! use qcc_core::error::BoxError;
//! use qcc_core::failover::Failover;
//! use tower::{ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of an HTTP client: one host is overloaded, the other one answers.
//! let upstream = service_fn(|request: Request<RequestBody>| async move {
//!     let (status, body) = match request.uri().host() {
//!         Some("api.example.com") => (529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#),
//!         _ => (200, r#"{"type":"message","content":[{"type":"text","text":"hello"}]}"#),
//!     };
//!     let mut response = Response::new(Full::<bytes::Bytes>::from(body));
//!     *response.status_mut() = StatusCode::from_u16(status)?;
//!     Ok::<_, BoxError>(response)
//! });
//!
//! let endpoints = Endpoints::try_from_iter([
//!     Endpoint::new("primary", "https://api.example.com".parse()?)
//!         .with_api(Api::Anthropic)
//!         .with_credential(Credential::new("primary", "sk-test-0001")),
//!     Endpoint::new("backup", "https://relay.example.net/api".parse()?)
//!         .with_api(Api::Anthropic)
//!         .with_credential(Credential::new("backup", "sk-test-0002"))
//!         .with_priority(2),
//! ])?;
//! let failover = Failover::builder(endpoints).llm().build(|_endpoint| upstream);
//!
//! let request = Request::post("/v1/messages")
//!     .header("content-type", "application/json")
//!     .body(RequestBody::from(r#"{"model":"claude-x","max_tokens":9,"messages":[]}"#))?;
//! let response = failover.clone().oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! let answer = response.into_body().collect().await?.to_bytes();
//! assert!(answer.ends_with(br#""text":"hello"}]}"#));
//!
//! // What became of it, endpoint by endpoint.
//! let failed: Vec<_> = failover.handle().status().iter().map(|one| one.failed).collect();
//! assert_eq!(failed, [1, 0]);
//! # Ok(())
//! # }
//! ```
//!
//! With `reqwest`, the upstream is `upstream::Reqwest`. The examples in the repository are whole
//! programs: `embed.rs` over reqwest, `plain.rs` without an LLM in sight, `custom_policy.rs` with a
//! policy of its own, `long_form.rs` with the same stack put together by hand. The long form and
//! what breaks if two layers are swapped stand in
//! `docs/stack-order.md`; more about
//! embedding in `docs/embedding.md`.
//!
//! # What you can replace
//!
//! | trait | decides | comes with |
//! |---|---|---|
//! | [`BalancePolicy`](balance::BalancePolicy) | which endpoint serves a visit | [`Priority`](balance::Priority), [`Weighted`](balance::Weighted), [`RoundRobin`](balance::RoundRobin), [`Random`](balance::Random), [`LeastLoaded`](balance::LeastLoaded), [`PowerOfTwo`](balance::PowerOfTwo) |
//! | [`Classify`](classify::Classify) | what an answer means | [`ByStatus`](classify::ByStatus), `llm::LlmClassifier` |
//! | [`ReadFacts`](facts::ReadFacts) | what a request asks for | [`NoFacts`](facts::NoFacts), `llm::LlmFacts` |
//! | [`AffinityKey`](affinity::AffinityKey) | which session a request belongs to | [`NoAffinity`](affinity::NoAffinity), `llm::SessionKey` |
//! | [`RetryPolicy`](retry::RetryPolicy) | what follows a failed visit | [`Standard`](retry::Standard) |
//! | [`Probe`](recovery::Probe) | whether an endpoint really answers | `llm::LlmProbe` |
//! | [`TokenSource`](token::TokenSource) | which secret a credential has now | [`Credential`](credential::Credential), `source::OAuth`, `source::Fetched` |
//! | [`RecordSink`](record::RecordSink) | what is done with the record of a request | |
//! | [`StateStore`](store::StateStore) | what survives a restart | [`Memory`](store::Memory), `store::Sqlite` |
//! | [`WallClock`](time::WallClock) | which date it is | [`SystemClock`](time::SystemClock) |
//!
//! All are synchronous and object-safe.
//!
//! # Cancel safety
//!
//! Everything that is counted, lent or reserved lives in the future and then in the body of the
//! answer. Dropping either at any point gives back every permit, lease and place in flight,
//! cancels the request at the upstream, and is counted against nobody. More in
//! `docs/cancel-safety.md`.
//!
//! # What it does not do
//!
//! - It is no HTTP client and no server: you bring both.
//! - It translates nothing: a Messages request goes to endpoints that speak Messages.
//! - It never reads the environment, never spawns a task and has no global state. What has to be
//!   done from time to time is a future for you to run:
//!   [`Handle::maintenance`](failover::Handle::maintenance), and
//!   [`Failover::recovery`](failover::Failover::recovery) for endpoints that failed.
//! - It keeps its state in memory. After a restart every session is free and every endpoint is
//!   tried again, but for those that a [`store`] remembers as refused or switched off.
//! - It does not help to evade the limits of a vendor: it has no credentials of its own, and what
//!   a client sends goes up as it came but for address, credentials and headers of the connection.
//!
//! # Features
//!
//! Features only add; none changes what another one does.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `llm` | yes | the four dialects: facts, session keys, verdicts, error answers (`llm`) |
//! | `reqwest` | yes | the adapter over `reqwest::Client` (`upstream::Reqwest`) |
//! | `source` | no | credentials that are refreshed: OAuth, a URL, what you have (`source`) |
//! | `command` | no | credentials that a command prints (`source::Fetched::from_command`); implies `source` |
//! | `sqlite` | no | a store in an SQLite database (`store::Sqlite`) |
//! | `hyper` | no | the client of hyper-util with rustls, which costs less (`upstream::Hyper`) |
//! | `simulate` | no | a fault-injecting LLM upstream as a service, for tests (`simulate`); implies `llm` |
//!
//! # Minimum supported Rust version
//!
//! Rust 1.95, as `rust-version` says. It runs on tokio: its timers need a runtime with time
//! enabled.

pub mod available;
pub mod body;
pub mod credential;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod facts;
pub mod failure;
pub mod guard;
mod hex;
pub mod inspect;
pub mod record;
pub mod resource;
pub mod standing;
pub mod time;
pub mod visit;

pub mod affinity;
pub mod balance;
pub mod breaker;
pub mod classify;
pub mod failover;
pub mod health;
pub mod limit;
#[cfg(feature = "llm")]
pub mod llm;
pub mod recovery;
pub mod retry;
#[cfg(feature = "simulate")]
pub mod simulate;
#[cfg(feature = "source")]
pub mod source;
pub mod store;
pub mod stream;
pub mod token;
pub mod upstream;

#[cfg(test)]
pub(crate) mod testing;

// The Rust in the documents compiles and does what they say.
#[cfg(all(
    doctest,
    feature = "llm",
    feature = "reqwest",
    feature = "simulate",
    feature = "source",
    feature = "sqlite"
))]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[doc = include_str!("../../docs/architecture.md")]
    struct Architecture;

    #[doc = include_str!("../../docs/cancel-safety.md")]
    struct CancelSafety;

    #[doc = include_str!("../../docs/configuration.md")]
    struct Configuration;

    #[doc = include_str!("../../docs/embedding.md")]
    struct Embedding;

    #[doc = include_str!("../../docs/failures.md")]
    struct Failures;

    #[doc = include_str!("../../docs/recovery.md")]
    struct RecoveryPage;

    #[doc = include_str!("../../docs/stack-order.md")]
    struct StackOrder;

    #[doc = include_str!("../../docs/streaming.md")]
    struct Streaming;

    #[doc = include_str!("../../docs/writing-a-policy.md")]
    struct WritingAPolicy;
}
