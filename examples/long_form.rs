//! The recommended stack by hand: what `Failover::builder(endpoints).llm()` puts together.
use std::sync::Arc;

use qcc_core::affinity::{AffinityLayer, Sessions};
use qcc_core::available::Available;
use qcc_core::balance::{self, Balance, Member, Priority};
use qcc_core::body::RequestBody;
use qcc_core::breaker::{Breaker, CircuitBreakerLayer};
use qcc_core::classify::ErrorClassifyLayer;
use qcc_core::endpoint::Endpoint;
use qcc_core::error::BoxError;
use qcc_core::health::{Health, TrackHealthLayer};
use qcc_core::inspect::InspectLayer;
use qcc_core::llm::{LlmClassifier, LlmFacts, SessionKey};
use qcc_core::retry::{self, Budget, QuickRetryLayer, RetryWithExclusionLayer};
use qcc_core::simulate::{Behaviour, Simulator};
use qcc_core::token::{TokenPoolLayer, Tokens};
use qcc_core::upstream::{DecodeLayer, OriginLayer};
use tower::{ServiceBuilder, ServiceExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // Two endpoints in memory: the first is overloaded.
    let upstream = Simulator::new()
        .endpoint("first", "status:529".parse::<Behaviour>()?)
        .endpoint("second", Behaviour::Ok);
    let endpoints = [
        Endpoint::new("first", "http://first.sim".parse()?),
        Endpoint::new("second", "http://second.sim".parse()?).with_priority(2),
    ];

    let budget = Budget::default();
    let classifier = Arc::new(LlmClassifier::default());
    let members = endpoints.map(|endpoint| {
        let endpoint = Arc::new(endpoint);
        // The state of the endpoint: each handle goes into its layer and stands as a gate.
        let breaker = Breaker::new(endpoint.clone());
        let health = Health::new(endpoint.clone());
        let tokens = Tokens::fixed(endpoint.clone());
        let gates: [Arc<dyn Available>; 3] = [
            Arc::new(health.clone()),
            Arc::new(tokens.clone()),
            Arc::new(breaker.clone()),
        ];
        let way = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::new(breaker))
            .layer(TrackHealthLayer::new(health))
            .layer(TokenPoolLayer::new(tokens))
            .layer(QuickRetryLayer::new(budget.clone()))
            .layer(ErrorClassifyLayer::new(classifier.clone()))
            .layer(DecodeLayer)
            .layer(OriginLayer::new(endpoint.clone()))
            .service(upstream.clone());
        (Member::new(endpoint, gates), way)
    });

    let policy = Arc::new(Priority::default());
    let key = Arc::new(SessionKey::default());
    let stack = ServiceBuilder::new()
        .layer(InspectLayer::new(LlmFacts::default()))
        .layer(RetryWithExclusionLayer::new(retry::Config::default()).with_budget(budget))
        .layer(AffinityLayer::new(Sessions::default(), key))
        .service(Balance::new(members, policy, balance::Config::default()));

    let body = r#"{ "model": "claude-x", "messages": [] }"#;
    let request = http::Request::post("/v1/messages").body(RequestBody::from(body))?;
    let response = stack.oneshot(request).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.counts("first").requests, 1);
    assert_eq!(upstream.counts("second").requests, 1);
    Ok(())
}
