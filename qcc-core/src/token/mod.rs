//! The token pool: gives each send a credential, and keeps limited and refused ones back.
//!
//! A limit belongs to a credential, not to the endpoint: an endpoint with three keys of which
//! one is exhausted is well. So the pool stands below breaker and health, and what goes up says
//! what a failure means for the endpoint. The refusal of one credential of several is no reason
//! to disable the endpoint; it goes up as a limit, which ends when the first other credential
//! can be used. Only when every credential is refused does kind `auth` go up.
//!
//! The credential goes down in [`Visit::credential`]; only the layer that makes the request for
//! the upstream puts it into a header. It is set for every request, to nothing where the
//! endpoint needs none, so that no credential can reach another endpoint than its own.
//!
//! The [`Tokens`] handle is a gate: the endpoint is left out while all credentials cool down or
//! are refused. A cool-down ends by itself, without a task that has to run.

mod handle;
mod layer;
mod source;
mod state;

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::handle::{Lease, TokenStatus, Tokens};
pub use self::layer::TokenPoolLayer;
pub use self::source::TokenSource;
pub use self::state::TokenState;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::failure::Refused;
use crate::guard::{Guarded, GuardedFuture};
use crate::record::Event;
use crate::time;
use crate::visit::Visit;

/// One endpoint's service, whose requests carry a credential.
#[derive(Clone, Debug)]
pub struct TokenPool<S> {
    inner: S,
    tokens: Tokens,
}

impl<S> TokenPool<S> {
    /// `inner`, with credentials of `tokens`.
    #[must_use]
    pub const fn new(inner: S, tokens: Tokens) -> Self {
        Self { inner, tokens }
    }

    /// The service that gets the credentials.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service that gets the credentials.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service that gets the credentials.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for TokenPool<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Lease>>;
    type Error = BoxError;
    type Future = GuardedFuture<S::Future, Lease>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let now = time::now();
        match self.tokens.lease(now) {
            Ok((lease, credential)) => {
                let visit = Visit::of(request.extensions_mut());
                if let Some(credential) = &credential {
                    let name = credential.name().clone();
                    visit.exchange.note(Event::Credential(name), now);
                }
                visit.credential = credential;
                GuardedFuture::new(self.inner.call(request), lease)
            }
            Err((reason, until)) => GuardedFuture::refused(Refused::new(reason, until, request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::future::ready;
    use std::sync::{Arc, Mutex};

    use http::StatusCode;
    use tower::Layer as _;

    use super::*;
    use crate::available::{Availability, Available as _, Query, Reason};
    use crate::credential::Credential;
    use crate::endpoint::Endpoint;
    use crate::exchange::{Exchange, RequestId, SendKind};
    use crate::facts::Facts;
    use crate::failure::{Blame, Failed, Interrupted, Kind, Verdict};
    use crate::testing::{
        Answer, Logs, ReadinessProbe, answer, assert_keeps_readiness, broken, drain, endpoint,
        failed, failed_with, request, send,
    };
    use crate::time::{Duration, Instant};

    fn pooled(names: &[&'static str]) -> Tokens {
        let base = "https://pooled.example".parse().unwrap();
        let endpoint = Endpoint::new("pooled", base).with_token_pool();
        let credentials = names
            .iter()
            .map(|name| Credential::new(*name, format!("sk-test-{name}")));
        Tokens::new(Arc::new(endpoint), credentials)
    }

    fn without_credential() -> Tokens {
        let base = "http://127.0.0.1:8080".parse().unwrap();
        Tokens::fixed(Arc::new(Endpoint::new("local", base)))
    }

    fn behind<F>(tokens: &Tokens, upstream: F) -> TokenPool<ReadinessProbe<F>> {
        TokenPoolLayer::new(tokens.clone()).layer(ReadinessProbe::new(upstream))
    }

    /// Sends one request, reads its answer to the end, and tells the secret that it carried.
    async fn visit(tokens: &Tokens, answer: Answer) -> (Option<String>, Result<(), BoxError>) {
        let sent = Mutex::new(None);
        let mut answer = Some(answer);
        let mut service = behind(tokens, |request: Request<RequestBody>| {
            let visit = request.extensions().get::<Visit>().unwrap();
            let secret = visit.credential.as_ref().map(Credential::expose);
            *sent.lock().unwrap() = secret.map(str::to_owned);
            answer.take().unwrap()
        });
        let result = match send(&mut service, request()).await {
            Ok(response) => drain(response.into_body()).await.map(drop),
            Err(error) => Err(error),
        };
        drop(service);
        (sent.into_inner().unwrap(), result)
    }

    async fn fail(tokens: &Tokens, answer: Answer) -> BoxError {
        visit(tokens, answer).await.1.unwrap_err()
    }

    async fn sent(tokens: &Tokens) -> String {
        let (secret, result) = visit(tokens, answer("ok")).await;
        result.unwrap();
        secret.unwrap()
    }

    fn verdict(error: &BoxError) -> Verdict {
        Failed::find(&**error).unwrap().verdict()
    }

    fn unauthorized() -> Answer {
        failed(Verdict::new(Kind::Auth), 401)
    }

    fn availability(tokens: &Tokens) -> Availability {
        let (head, _) = request().into_parts();
        tokens.availability(&Query::new(&head, &Facts::default(), time::now()))
    }

    fn after(seconds: u64) -> Option<Instant> {
        Some(time::now() + Duration::from_secs(seconds))
    }

    async fn wait(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test]
    async fn the_layer_keeps_the_readiness_of_its_inner_service() {
        assert_keeps_readiness(behind(&pooled(&["a"]), |_| answer("ok"))).await;
    }

    // TOK-06
    #[tokio::test(start_paused = true)]
    async fn credentials_take_turns() {
        let tokens = pooled(&["a", "b"]);
        assert_eq!(sent(&tokens).await, "sk-test-a");
        assert_eq!(sent(&tokens).await, "sk-test-b");
        assert_eq!(sent(&tokens).await, "sk-test-a");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_with_one_credential_sends_it() {
        let tokens = Tokens::fixed(Arc::new(endpoint("one")));
        assert_eq!(sent(&tokens).await, "sk-test-one");
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_names_the_credential() {
        let exchange = Exchange::new(RequestId::random());
        let now = time::now();
        exchange.begin_send(SendKind::First, now).unwrap();
        let mut request = request();
        request.extensions_mut().insert(exchange.clone());
        let mut service = behind(&pooled(&["a"]), |_| answer("ok"));
        send(&mut service, request).await.unwrap();
        let record = exchange.seal(now).unwrap();
        let (_, send) = record.sends().next().unwrap();
        assert_eq!(send.credential.as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_need_for_a_credential_carries_none_of_another_endpoint() {
        let mut request = request();
        Visit::of(request.extensions_mut()).credential =
            Some(Credential::new("other", "sk-test-other"));
        let mut service = behind(&without_credential(), |request: Request<RequestBody>| {
            let visit = request.extensions().get::<Visit>().unwrap();
            assert!(visit.credential.is_none());
            answer("ok")
        });
        send(&mut service, request).await.unwrap();
    }

    // RTY-05
    #[tokio::test(start_paused = true)]
    async fn an_endpoint_without_credential_rests_after_a_limit_too() {
        let tokens = without_credential();
        let error = fail(&tokens, failed_with(Kind::RateLimit)).await;
        assert_eq!(verdict(&error).until, after(30));
        let out = Availability::out(Reason::Cooling, after(30));
        assert_eq!(availability(&tokens), out);
        assert!(tokens.snapshot(time::now()).is_empty());
    }

    // RTY-05, ACC-03, ACC-05
    #[tokio::test(start_paused = true)]
    async fn a_limited_credential_is_used_by_no_request_until_its_cool_down_is_over() {
        let tokens = pooled(&["a", "b"]);
        let limited = Verdict::new(Kind::RateLimit).until(after(10));
        let error = fail(&tokens, failed(limited, 429)).await;
        assert_eq!(verdict(&error), limited);
        for _ in 0..3 {
            assert_eq!(sent(&tokens).await, "sk-test-b");
        }
        wait(10).await;
        let turns = [sent(&tokens).await, sent(&tokens).await];
        assert!(turns.contains(&"sk-test-a".to_owned()), "{turns:?}");
    }

    // SEL-16, ACC-03, ACC-05
    #[tokio::test(start_paused = true)]
    async fn while_all_credentials_cool_the_endpoint_is_out_until_the_first_is_back() {
        let tokens = pooled(&["a", "b"]);
        fail(&tokens, failed_with(Kind::Quota)).await;
        assert_eq!(availability(&tokens), Availability::Ready);
        fail(&tokens, failed_with(Kind::RateLimit)).await;
        let out = Availability::out(Reason::Cooling, after(30));
        assert_eq!(availability(&tokens), out);
        wait(30).await;
        assert_eq!(availability(&tokens), Availability::Ready);
        assert_eq!(sent(&tokens).await, "sk-test-b");
    }

    // SEL-16
    #[tokio::test(start_paused = true)]
    async fn a_request_that_no_credential_can_serve_is_given_back_unsent() {
        let tokens = pooled(&["a"]);
        fail(&tokens, failed_with(Kind::RateLimit)).await;
        let mut service = behind(&tokens, |_| -> Answer { unreachable!("no credential") });
        let unsent = Request::new(RequestBody::from("body"));
        let error = send(&mut service, unsent).await.unwrap_err();
        let refused = Refused::find(&*error).unwrap();
        assert_eq!(
            (refused.reason(), refused.until()),
            (Reason::Cooling, after(30))
        );
        let body = refused.take_request().unwrap().into_body();
        assert_eq!(body.as_bytes().unwrap(), "body");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_without_a_credential_where_one_is_needed() {
        let tokens = pooled(&[]);
        let out = Availability::out(Reason::AuthFailed, None);
        assert_eq!(availability(&tokens), out);
        let error = fail(&tokens, answer("never sent")).await;
        assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::AuthFailed);
    }

    // RTY-06, SEL-10
    #[tokio::test(start_paused = true)]
    async fn a_refused_credential_is_not_used_again_until_it_is_recovered() {
        let tokens = pooled(&["a", "b"]);
        fail(&tokens, unauthorized()).await;
        wait(30 * 24 * 3600).await;
        assert_eq!(sent(&tokens).await, "sk-test-b");
        assert_eq!(sent(&tokens).await, "sk-test-b");
        let error = fail(&tokens, unauthorized()).await;
        assert_eq!(verdict(&error), Verdict::new(Kind::Auth));
        let out = Availability::out(Reason::AuthFailed, None);
        assert_eq!(availability(&tokens), out);
        assert!(tokens.recover());
        assert!(!tokens.recover());
        assert_eq!(availability(&tokens), Availability::Ready);
    }

    // SEL-10
    #[tokio::test(start_paused = true)]
    async fn a_refusal_goes_up_as_a_limit_while_another_credential_is_left() {
        let tokens = pooled(&["a", "b"]);
        fail(&tokens, failed_with(Kind::RateLimit)).await;
        let error = fail(&tokens, unauthorized()).await;
        let limited = Verdict::new(Kind::RateLimit).until(after(30));
        let outer = error.downcast_ref::<Failed>().unwrap();
        assert_eq!(outer.verdict(), limited);
        assert!(outer.response().is_none(), "a 401 is no answer to a limit");
        let source = std::error::Error::source(outer).unwrap();
        let inner = Failed::find(source).unwrap();
        assert_eq!(inner.kind(), Kind::Auth);
        assert_eq!(inner.status(), Some(StatusCode::UNAUTHORIZED));
    }

    /// What a layer of the user may put around an error.
    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    // RTY-05
    #[tokio::test(start_paused = true)]
    async fn a_limit_goes_up_with_its_end_and_its_answer_also_when_it_is_wrapped() {
        for wrap in [false, true] {
            let tokens = pooled(&["a"]);
            let mut error = failed(Verdict::new(Kind::Quota), 402).await.unwrap_err();
            if wrap {
                error = Wrapped(error).into();
            }
            let error = fail(&tokens, ready(Err(error))).await;
            let failed = Failed::find(&*error).unwrap();
            assert_eq!(failed.until(), after(3600));
            assert_eq!(failed.status(), Some(StatusCode::PAYMENT_REQUIRED));
        }
    }

    // CLS-12
    #[tokio::test(start_paused = true)]
    async fn failures_of_endpoint_and_caller_leave_the_credential_alone() {
        let tokens = pooled(&["a"]);
        let untouched = |tokens: &Tokens| {
            let status = &tokens.snapshot(time::now())[0];
            status.failures == 0 && status.state == TokenState::Active
        };
        for kind in Kind::ALL {
            for blame in [Blame::Endpoint, Blame::Caller] {
                let verdict = Verdict::new(kind).blamed_on(blame);
                fail(&tokens, failed(verdict, 500)).await;
                assert!(untouched(&tokens), "{kind} {blame}");
            }
        }
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        fail(&tokens, ready(Err(reset.into()))).await;
        assert!(untouched(&tokens));
    }

    // RTY-05, CLS-12
    #[tokio::test(start_paused = true)]
    async fn a_limit_inside_a_committed_answer_rests_the_credential() {
        let tokens = pooled(&["a"]);
        let cut = |kind| broken("half an", Interrupted::new(Verdict::new(kind), None));
        fail(&tokens, cut(Kind::Server)).await;
        assert_eq!(availability(&tokens), Availability::Ready);
        fail(&tokens, cut(Kind::RateLimit)).await;
        let out = Availability::out(Reason::Cooling, after(30));
        assert_eq!(availability(&tokens), out);
        assert!(tokens.clear_limits());
        assert!(!tokens.clear_limits());
        assert_eq!(availability(&tokens), Availability::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_shows_names_and_states_and_a_success_clears_the_failures() {
        let tokens = pooled(&["a", "b"]);
        fail(&tokens, failed_with(Kind::RateLimit)).await;
        let until = after(30).unwrap();
        fail(&tokens, unauthorized()).await;
        let since = time::now();
        let states = |tokens: &Tokens| {
            let statuses = tokens.snapshot(time::now());
            statuses
                .into_iter()
                .map(|status| (status.state, status.failures))
        };
        assert!(states(&tokens).eq([
            (TokenState::Cooling { until }, 1),
            (TokenState::Refused { since }, 1),
        ]));
        wait(30).await;
        sent(&tokens).await;
        assert!(states(&tokens).eq([(TokenState::Active, 0), (TokenState::Refused { since }, 1),]));
        let first = &tokens.snapshot(time::now())[0];
        assert_eq!((&*first.name, first.last_use), ("a", Some(time::now())));
    }

    #[derive(Debug)]
    struct Empty(Arc<str>);

    impl TokenSource for Empty {
        fn name(&self) -> &Arc<str> {
            &self.0
        }

        fn snapshot(&self, _: Instant) -> Option<Credential> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_whose_sources_have_nothing_refuses() {
        let base = "https://pooled.example".parse().unwrap();
        let endpoint = Arc::new(Endpoint::new("pooled", base).with_token_pool());
        let source: Arc<dyn TokenSource> = Arc::new(Empty("empty".into()));
        let tokens = Tokens::from_sources(endpoint, [source]);
        let error = fail(&tokens, answer("never sent")).await;
        let refused = Refused::find(&*error).unwrap();
        assert_eq!((refused.reason(), refused.until()), (Reason::Cooling, None));
    }

    // SEC-01, SEC-02
    #[tokio::test(start_paused = true)]
    async fn debug_listings_and_logs_show_names_and_no_secret() {
        let logs = Logs::capture();
        let tokens = pooled(&["a", "b"]);
        let limited = fail(&tokens, failed_with(Kind::RateLimit)).await;
        let refused = fail(&tokens, unauthorized()).await;
        let (lease, credential) = pooled(&["c"]).lease(time::now()).unwrap();
        let shown: [&dyn fmt::Debug; 7] = [
            &tokens,
            &TokenPoolLayer::new(tokens.clone()),
            &tokens.snapshot(time::now()),
            &(lease, credential),
            &limited,
            &refused,
            &logs.lines(),
        ];
        let text = format!("{shown:?}");
        assert!(!text.contains("sk-test"), "{text}");
        assert!(logs.lines()[0].contains("credential=\"a\""), "{text}");
        assert_eq!(logs.lines().len(), 2);
    }
}
