//! What a pool of credentials costs a request whose first credential is good, in allocations,
//! beside one fixed credential.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::failover::Failover;
use qcc_core::source::{Issuer, OAuth};
use qcc_core::token::{Pool, Tier};
use tokio::runtime::Runtime;
use tower::{ServiceExt as _, service_fn};

/// How often a request is sent: it costs the same each time.
const TIMES: u64 = 16;

fn key(name: &str) -> Credential {
    Credential::new(name, format!("sk-test-{name}"))
}

/// Credentials that an issuer gives at once.
fn login() -> OAuth {
    let upstream = service_fn(|_: Request<RequestBody>| {
        let body = r#"{"access_token":"sk-test-a1","expires_in":3600}"#;
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            body,
        ))))
    });
    let issuer = Issuer::new("https://auth.example/token".parse().unwrap());
    OAuth::new(key("r1"), issuer, upstream)
}

/// How often a request allocates in the whole stack, once everything has been used before.
fn allocations(runtime: &Runtime, pool: Option<Pool>) -> u64 {
    let base = "https://api.example.com".parse().unwrap();
    let endpoint = Endpoint::new("a", base);
    let endpoint = match pool {
        Some(_) => endpoint.with_token_pool(),
        None => endpoint.with_credential(key("a")),
    };
    let id = endpoint.id();
    let mut builder = Failover::builder(Endpoints::try_from_iter([endpoint]).unwrap());
    if let Some(pool) = pool {
        builder = builder.token_pool(id, pool);
    }
    let failover = builder.build(|_| {
        service_fn(|_: Request<RequestBody>| {
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
                "ok",
            ))))
        })
    });
    let send = || {
        for _ in 0..TIMES {
            let request = Request::post("/v1/messages")
                .header("content-type", "application/json")
                .header("user-agent", "a client")
                .body(RequestBody::from("{}"))
                .unwrap();
            let answer = async {
                let response = failover.clone().oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            };
            assert_eq!(runtime.block_on(answer), "ok");
        }
    };
    send();
    allocation_counter::measure(send).count_total / TIMES
}

/// The head that is kept for another send: its headers, and its extensions with two values.
const COPY: u64 = 6;

// TOK-09
#[test]
fn a_pool_whose_first_credential_is_good_costs_the_copy_for_a_next_one_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let with = |pool: Pool, name: &&str| pool.with(Tier::Personal, *name, Arc::new(key(name)));
    let pool = |names: &[&str]| names.iter().fold(Pool::default(), with);
    let fixed = allocations(&runtime, None);
    let one = allocations(&runtime, Some(pool(&["a"])));
    assert_eq!(one, fixed, "nothing could be sent after it");
    let login = Pool::default().with(Tier::Personal, "a", Arc::new(login()));
    for (what, pool) in [("several keys", pool(&["a", "b", "c"])), ("a login", login)] {
        let pooled = allocations(&runtime, Some(pool));
        assert!(pooled <= fixed + COPY, "{what}: {pooled}, not {fixed}");
    }
}
