//! What exists in one account alone: requests that name it go to the endpoint and the credential
//! that have it. Every simulated endpoint knows its own ids and refuses those of others, so an
//! answer is the proof.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use qcc_core::balance::RoundRobin;
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::Endpoint;
use qcc_core::error::Error;
use qcc_core::facts::Dialect;
use qcc_core::failover::Builder;
use qcc_core::token::{Pool, Tier};
use qcc_core::{llm, time, token};
use qcc_tests::harness::{ENDPOINTS, World, endpoints};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A world whose requests go to a, b, c and a again, unless something ties them.
fn world() -> World {
    World::with(|builder| builder.policy(RoundRobin::default()))
}

fn request(method: Method, path: &str, body: &Value) -> Request<RequestBody> {
    let body = match body {
        Value::Null => RequestBody::empty(),
        body => RequestBody::from(body.to_string()),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Bearer sk-test-client")
        .body(body)
        .unwrap()
}

async fn send(world: &World, request: Request<RequestBody>) -> Result<(StatusCode, Bytes), Error> {
    let response = world.failover.clone().oneshot(request).await?;
    let (head, body) = response.into_parts();
    Ok((head.status, body.collect().await.unwrap().to_bytes()))
}

async fn ask(world: &World, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let (status, body) = send(world, request(method, path, &body)).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn get(world: &World, path: &str) -> StatusCode {
    ask(world, Method::GET, path, Value::Null).await.0
}

/// Makes something and returns its id, or its name.
async fn make(world: &World, path: &str, body: Value) -> String {
    let (status, made) = ask(world, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {made}");
    let places = ["/id", "/name", "/file/name"];
    let id = places.iter().find_map(|place| made.pointer(place));
    id.and_then(Value::as_str).expect("an id").to_owned()
}

fn resources(world: &World) -> usize {
    world.handle.sessions().stats(time::now()).resources
}

fn response(previous: &str) -> Value {
    json!({ "model": "model-1", "input": "go on", "previous_response_id": previous })
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn what_was_made_is_found_at_its_owner_by_its_path() {
    for (path, below) in [
        ("/v1/files", "/content"),
        ("/v1/uploads", "/parts"),
        ("/v1/batches", "/cancel"),
        ("/v1/messages/batches", "/results"),
        ("/v1/containers", "/files/f"),
        ("/v1/conversations", "/items"),
        ("/v1/vector_stores", "/files"),
    ] {
        let world = world();
        for owner in ENDPOINTS {
            let id = make(&world, path, json!({})).await;
            let before = world.simulator.counts(owner).requests;
            for _ in 0..4 {
                assert_eq!(get(&world, &format!("{path}/{id}")).await, 200, "{path}");
                assert_eq!(get(&world, &format!("{path}/{id}{below}")).await, 200);
            }
            let after = world.simulator.counts(owner).requests;
            assert_eq!(after - before, 8, "{path} of {owner}");
        }
        assert_eq!(resources(&world), 3, "{path}");
        assert_eq!(world.left_over(), []);
    }
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn what_was_made_is_found_at_its_owner_by_the_body_that_names_it() {
    let content = |block: Value| json!([{ "role": "user", "content": [block] }]);
    let world = world();
    for _ in ENDPOINTS {
        let file = make(&world, "/v1/files", json!({})).await;
        let source = json!({ "type": "document", "source": { "type": "file", "file_id": file } });
        let container = make(&world, "/v1/containers", json!({})).await;
        let cached = make(&world, "/v1beta/cachedContents", json!({})).await;
        let address = make(&world, "/upload/v1beta/files", json!({})).await;
        let address = format!("https://h.example/v1beta/{address}");
        let part = json!({ "parts": [{ "fileData": { "fileUri": address } }] });
        let generate = "/v1beta/models/m:generateContent";
        for (path, body) in [
            (
                "/v1/messages",
                json!({ "model": "m", "messages": content(source) }),
            ),
            (
                "/v1/messages",
                json!({ "model": "m", "container": container }),
            ),
            (
                "/v1/chat/completions",
                json!({ "model": "m", "messages": content(json!({ "file_id": file })) }),
            ),
            (
                "/v1/responses",
                json!({ "model": "m", "input": [{ "file_id": file }] }),
            ),
            (
                "/v1/responses",
                json!({ "model": "m", "tools": [{ "type": "code_interpreter", "container": container }] }),
            ),
            ("/v1/batches", json!({ "input_file_id": file })),
            (generate, json!({ "cachedContent": cached })),
            (generate, json!({ "contents": [part] })),
        ] {
            for _ in 0..4 {
                let (status, answer) = ask(&world, Method::POST, path, body.clone()).await;
                assert_eq!(status, 200, "{path} {body}: {answer}");
            }
        }
    }
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn a_response_goes_on_where_it_began() {
    for stream in [false, true] {
        let world = world();
        let mut ask_for = json!({ "model": "model-1", "input": "hi", "stream": stream });
        for turn in 0..7 {
            let (status, answer) = send(&world, request(Method::POST, "/v1/responses", &ask_for))
                .await
                .unwrap();
            assert_eq!(status, 200, "turn {turn}");
            let text = String::from_utf8(answer.to_vec()).unwrap();
            let at = text.find("\"resp_").expect("an id") + 1;
            let id = text[at..].split('"').next().unwrap();
            assert_eq!(get(&world, &format!("/v1/responses/{id}")).await, 200);
            ask_for["previous_response_id"] = id.into();
        }
        let calls = world.calls();
        assert_eq!(calls, [14, 0, 0], "stream: {stream}");
        assert_eq!(resources(&world), 7);
    }
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_stored_is_not_remembered() {
    let world = world();
    for stream in [false, true] {
        let body = json!({ "model": "m", "input": "hi", "store": false, "stream": stream });
        ask(&world, Method::POST, "/v1/responses", body).await;
    }
    assert_eq!(resources(&world), 0);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn an_id_is_known_before_the_client_can_use_it() {
    let world = world();
    world.set_all("slow:0ms,1s");
    let body = json!({ "model": "m", "input": "hi", "stream": true });
    let first = request(Method::POST, "/v1/responses", &body);
    let mut streaming = world
        .failover
        .clone()
        .oneshot(first)
        .await
        .unwrap()
        .into_body();
    let mut seen = String::new();
    while !seen.contains("resp_") {
        let frame = streaming.frame().await.unwrap().unwrap();
        seen.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    // The answer is far from its end.
    let at = seen.find("\"resp_").unwrap() + 1;
    let id = seen[at..].split('"').next().unwrap();
    let (status, _) = ask(&world, Method::POST, "/v1/responses", response(id)).await;
    assert_eq!(status, 200);
    assert_eq!(world.calls(), [2, 0, 0]);
}

// AFF-19, RTY-13
#[tokio::test(start_paused = true)]
async fn without_its_owner_the_client_is_told_and_nobody_else_is_asked() {
    for (fault, status) in [("disabled", 503), ("refuse", 503), ("quota:0", 429)] {
        let world = world();
        let id = make(&world, "/v1/files", json!({})).await;
        match fault {
            "disabled" => assert!(world.endpoint("a").disable()),
            fault => world.set("a", fault),
        }
        let path = format!("/v1/files/{id}");
        let error = send(&world, request(Method::GET, &path, &Value::Null))
            .await
            .unwrap_err();
        let owner = error.owner().expect("an owner");
        assert_eq!(owner.name().map(|name| &**name), Some("a"), "{fault}");
        let answer = llm::respond(&error, Some(Dialect::Chat), time::now());
        assert_eq!(answer.status(), status, "{fault}");
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(answer["error"]["code"], "owner_unavailable", "{fault}");
        assert_eq!(world.calls()[1..], [0, 0], "{fault}");
        // It is still the owner.
        assert_eq!(resources(&world), 1);
    }
}

/// One endpoint with the credentials `one` and `two`.
fn pooled() -> World {
    let base = "http://pooled.sim".parse().unwrap();
    let endpoint = Endpoint::new("pooled", base).with_token_pool();
    let id = endpoint.id();
    let pool =
        ["one", "two"]
            .into_iter()
            .fold(Pool::new(token::Config::default()), |pool, name| {
                let key = Credential::new(name, format!("sk-test-{name}"));
                pool.with(Tier::Personal, name, Arc::new(key))
            });
    World::of([endpoint], |builder: Builder| builder.token_pool(id, pool))
}

fn by_key(world: &World) -> [u64; 2] {
    let keys = world.simulator.counts("pooled").keys;
    ["sk-test-one", "sk-test-two"].map(|key| keys.get(key).copied().unwrap_or_default())
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn of_two_credentials_the_one_that_made_it_is_used() {
    let world = pooled();
    let first = make(&world, "/v1/files", json!({})).await;
    let second = make(&world, "/v1/files", json!({})).await;
    assert_eq!(by_key(&world), [1, 1]);
    for _ in 0..3 {
        assert_eq!(get(&world, &format!("/v1/files/{first}")).await, 200);
    }
    assert_eq!(by_key(&world), [4, 1]);
    assert_eq!(get(&world, &format!("/v1/files/{second}")).await, 200);
    assert_eq!(by_key(&world), [4, 2]);

    // The limit of the one does not lead to the other.
    world.set("pooled", "status:429");
    let path = format!("/v1/files/{first}");
    for _ in 0..2 {
        let get = request(Method::GET, &path, &Value::Null);
        let error = send(&world, get).await.unwrap_err();
        assert!(
            error.is_rate_limited() && error.owner().is_some(),
            "{error}"
        );
    }
    assert_eq!(by_key(&world), [5, 2]);
    world.set("pooled", "ok");
    assert_eq!(get(&world, &format!("/v1/files/{second}")).await, 200);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn the_credential_that_answered_in_the_end_is_the_owner() {
    let world = pooled();
    world.set("pooled", "first:1:status:429");
    let id = make(
        &world,
        "/v1/responses",
        json!({ "model": "m", "input": "hi" }),
    )
    .await;
    assert_eq!(by_key(&world), [1, 1]);
    for _ in 0..2 {
        let (status, _) = ask(&world, Method::POST, "/v1/responses", response(&id)).await;
        assert_eq!(status, 200);
    }
    assert_eq!(by_key(&world), [1, 3]);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn what_is_deleted_is_forgotten() {
    let world = world();
    let id = make(&world, "/v1/files", json!({})).await;
    assert_eq!(resources(&world), 1);
    let (status, _) = ask(
        &world,
        Method::DELETE,
        &format!("/v1/files/{id}"),
        Value::Null,
    )
    .await;
    assert_eq!((status.as_u16(), resources(&world)), (200, 0));
}

/// Deletes something at `a`, past qcc.
async fn delete_behind(world: &World, path: &str) {
    let delete = Request::delete(format!("http://a.sim{path}")).header("x-api-key", "sk-test-a");
    let delete = delete.body(RequestBody::empty()).unwrap();
    let response = world.simulator.clone().oneshot(delete).await.unwrap();
    assert_eq!(response.status(), 200);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn what_its_owner_does_not_have_any_more_is_forgotten() {
    let world = world();
    let file = make(&world, "/v1/files", json!({})).await;
    let path = format!("/v1/files/{file}");
    delete_behind(&world, &path).await;
    // Something below it says nothing of it.
    assert_eq!(get(&world, &format!("{path}/content")).await, 404);
    assert_eq!(resources(&world), 1);
    assert_eq!(get(&world, &path).await, 404);
    assert_eq!(resources(&world), 0);
    assert_eq!(world.calls()[1..], [0, 0]);

    let world = self::world();
    let id = make(
        &world,
        "/v1/responses",
        json!({ "model": "m", "input": "hi" }),
    )
    .await;
    delete_behind(&world, &format!("/v1/responses/{id}")).await;
    let (status, answer) = ask(&world, Method::POST, "/v1/responses", response(&id)).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["code"], "previous_response_not_found");
    assert_eq!((resources(&world), world.calls()[1]), (0, 0));
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_balanced_and_where_it_is_found_its_owner_is() {
    let world = World::new();
    let make = Request::post("http://b.sim/v1/files").header("x-api-key", "sk-test-b");
    let make = make.body(RequestBody::from("{}")).unwrap();
    let made = world.simulator.clone().oneshot(make).await.unwrap();
    let made = made.into_body().collect().await.unwrap().to_bytes();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let before = world.calls();
    // `a` does not have it, which is no fault of `a`, and `b` is the second opinion.
    assert_eq!(get(&world, &path).await, 200);
    assert_eq!(get(&world, &path).await, 200);
    let after = world.calls();
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 2]);
    assert!(world.handle.status().iter().all(|status| status.is_healthy));
}

// AFF-19, AFF-05
#[tokio::test(start_paused = true)]
async fn two_clients_share_no_owner() {
    let world = world();
    let id = make(&world, "/v1/files", json!({})).await;
    let mut other = request(Method::GET, &format!("/v1/files/{id}"), &Value::Null);
    let key = "Bearer sk-test-other".parse().unwrap();
    other.headers_mut().insert("authorization", key);
    let (status, _) = send(&world, other).await.unwrap();
    // It is the turn of `b`, then of the second opinion.
    assert_eq!(status, 404);
    assert_eq!(world.calls(), [1, 1, 1]);
}

// AFF-19, AFF-20
#[tokio::test(start_paused = true)]
async fn a_session_is_bound_where_what_it_names_is() {
    let world = world();
    let id = make(
        &world,
        "/v1/responses",
        json!({ "model": "m", "input": "hi" }),
    )
    .await;
    let turn = |mut body: Value| {
        body["conversation_id"] = "session-1".into();
        body
    };
    // The session begins at `b` …
    let plain = turn(json!({ "model": "m", "input": "hi" }));
    ask(&world, Method::POST, "/v1/responses", plain.clone()).await;
    assert_eq!(world.bound("session-1").as_deref(), Some("b"));
    // … and moves to `a`, which has the response that it goes on from.
    let (status, _) = ask(&world, Method::POST, "/v1/responses", turn(response(&id))).await;
    assert_eq!(status, 200);
    assert_eq!(world.bound("session-1").as_deref(), Some("a"));
    ask(&world, Method::POST, "/v1/responses", plain).await;
    assert_eq!(world.calls(), [3, 1, 0]);

    // An owner that is out says nothing of the endpoint of a session that is elsewhere.
    let other = make(&world, "/v1/files", json!({})).await;
    assert_eq!(world.calls(), [3, 1, 1]);
    assert!(world.endpoint("c").disable());
    let mut get = request(Method::GET, &format!("/v1/files/{other}"), &Value::Null);
    let session = "session-1".parse().unwrap();
    get.headers_mut().insert("x-conversation-id", session);
    assert!(send(&world, get).await.unwrap_err().owner().is_some());
    assert_eq!(world.bound("session-1").as_deref(), Some("a"));
}

// AFF-19, AFF-21
#[tokio::test(start_paused = true)]
async fn what_only_looks_like_an_id_ties_nobody() {
    let world = world();
    world.script("a", qcc_core::simulate::Script::default());
    let tool = json!({ "type": "tool_use", "name": "read", "input": { "path": "x" } });
    let text = r#"{"file_id": "file-1"}"#;
    let body = json!({ "model": "m", "messages": [
        { "role": "assistant", "content": [tool] },
        { "role": "user", "content": [{ "type": "text", "text": text }] },
    ] });
    for _ in ENDPOINTS {
        let (status, _) = ask(&world, Method::POST, "/v1/messages", body.clone()).await;
        assert_eq!(status, 200);
    }
    assert_eq!(world.calls(), [1, 1, 1]);
    assert_eq!(resources(&world), 0);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn a_receipt_that_breaks_off_is_not_made_a_second_time() {
    let world = World::of(endpoints(), |builder| builder);
    world.set("a", "truncated");
    let post = request(Method::POST, "/v1/files", &json!({}));
    let response = world.failover.clone().oneshot(post).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(world.calls(), [1, 0, 0]);
    assert_eq!(world.left_over(), []);
}
