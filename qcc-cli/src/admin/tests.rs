//! The routes over a fake, in memory.

use std::sync::atomic::Ordering;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::fake::{Fake, healthy};
use super::routes::Route;
use super::*;
use crate::history::Store;

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String, Response<()>) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (head.status, text, Response::from_parts(head, ()))
}

type Response<T> = http::Response<T>;

fn asking(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:7861")
        .body(Body::empty())
        .unwrap()
}

async fn json(router: &Router, method: Method, path: &str) -> (StatusCode, Value) {
    let (status, text, _) = send(router, asking(method, path)).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")),
    )
}

async fn fetch(router: &Router, path: &str) -> Value {
    let (status, body) = json(router, Method::GET, path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

// CLI-23
#[tokio::test]
async fn an_unknown_route_is_answered_with_its_path_and_the_known_routes() {
    let (_, router) = Fake::usual().admin();
    let (status, body) = json(&router, Method::GET, "/admin/v1/nodes?x=1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let error = &body["error"];
    assert_eq!(error["type"], "unknown_route");
    assert_eq!(error["path"], "/admin/v1/nodes");
    let listed = error["routes"].as_array().unwrap();
    assert_eq!(listed.len(), routes().len());
    assert!(listed.contains(&"POST /admin/v1/endpoints/{endpoint}/enable".into()));
    assert!(error["request_id"].as_str().unwrap().starts_with("qcc-"));
}

// CLI-23, DOC-07
#[tokio::test]
async fn every_route_of_the_table_is_served_with_its_method_only() {
    let fake = Fake::usual().with_session("sess-1", "relay");
    let fake = fake.with_client("laptop", 0, None).with_pool("official");
    let (_, router, _kept) = fake.with_reload(Ok(Vec::new())).with_history().await;
    let document = fetch(&router, "/admin/v1/openapi.json").await;
    for route in routes() {
        let path = route
            .path
            .replace("{cluster}", "claude")
            .replace("{endpoint}", "official")
            .replace("{request}", "qcc-test-1")
            .replace("{client}", "laptop")
            .replace("{session}", "sess-1");
        let method: Method = route.method.parse().unwrap();
        let (status, text, _) = send(&router, asking(method, &path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        assert_described(&document, &route, &text);
        for other in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            if other.as_str() == route.method {
                continue;
            }
            let (status, text, head) = send(&router, asking(other, &path)).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}: {text}");
            assert_eq!(head.headers()["allow"], route.method);
            assert!(text.contains("method_not_allowed"), "{text}");
        }
        let summary = &document["paths"][route.path][route.method.to_lowercase()]["summary"];
        assert_eq!(*summary, route.what);
    }
}

/// That an answer has the form which the document gives it.
fn assert_described(document: &Value, route: &Route, answer: &str) {
    let operation = &document["paths"][route.path][route.method.to_lowercase()];
    let Some(json) = operation["responses"]["200"]["content"].get("application/json") else {
        return;
    };
    // References are looked up in the schema itself.
    let mut schema = document.clone();
    schema["allOf"] = Value::Array(vec![json["schema"].clone()]);
    let answer = serde_json::from_str(answer).unwrap();
    if let Err(error) = jsonschema::validate(&schema, &answer) {
        panic!("{}: {error} in {}", route.path, error.instance_path());
    }
}

// OPS-08
#[tokio::test]
async fn an_error_has_a_type_a_message_and_the_id_of_the_client() {
    let (_, router) = Fake::usual().admin();
    let mut request = asking(Method::GET, "/admin/v1/clusters?limit=many");
    request
        .headers_mut()
        .insert("x-request-id", "mine-1".parse().unwrap());
    let (status, text, head) = send(&router, request).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(head.headers()[REQUEST_ID], "mine-1");
    assert_eq!(head.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["error"]["type"], "invalid_query");
    assert_eq!(body["error"]["request_id"], "mine-1");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("whole numbers")
    );
}

// OPS-12
#[tokio::test]
async fn what_a_caller_sent_is_repeated_in_part_and_cut_between_characters() {
    let (_, router) = Fake::usual().admin();
    // 199 bytes, then a character of two: the cut falls into it.
    let name = format!("{}{}", "x".repeat(199), "%C3%BC".repeat(50));
    let (status, body) = json(&router, Method::GET, &format!("/admin/v1/clusters/{name}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("There is no cluster `{}`;", "x".repeat(199))),
        "{message}"
    );
}

// SEC-05, SEC-08
#[tokio::test]
async fn a_foreign_host_is_refused_on_every_route() {
    let (fake, router) = Fake::usual().admin();
    for path in ["/healthz", "/metrics", "/admin/v1/clusters", "/nowhere"] {
        let mut request = asking(Method::GET, path);
        request
            .headers_mut()
            .insert("host", "evil.example".parse().unwrap());
        let (status, text, _) = send(&router, request).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(text.contains("host_not_allowed"), "{text}");
    }
    let mut post = asking(Method::POST, "/admin/v1/endpoints/official/disable");
    post.headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    let (status, text, _) = send(&router, post).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
    assert_eq!(fake.clusters()[0].eligible, 1);
}

// SEC-05
#[tokio::test]
async fn off_loopback_a_request_without_the_token_learns_nothing() {
    let admin = Admin {
        operations: Arc::new(Fake::usual()),
        history: History::new(Arc::default(), Store::Off),
        metrics: Arc::new(Metrics::new()),
        counts: Arc::default(),
        clock: Arc::new(fake::Standing),
    };
    let listen = "127.0.0.1:7861".parse().unwrap();
    let router = router(admin, Guard::new(listen, Some("admin-test-token")));
    for path in ["/metrics", "/admin/v1/clusters", "/admin/v1/nowhere"] {
        let (status, text, head) = send(&router, asking(Method::GET, path)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(head.headers()["www-authenticate"], "Bearer");
        assert!(
            !text.contains("claude") && !text.contains("admin-test-token"),
            "{text}"
        );
    }
    let mut request = asking(Method::GET, "/admin/v1/clusters");
    let bearer = "Bearer admin-test-token".parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    assert_eq!(send(&router, request).await.0, StatusCode::OK);
    assert_eq!(
        send(&router, asking(Method::GET, "/healthz")).await.0,
        StatusCode::OK
    );
}

// CLI-24
#[tokio::test]
async fn lists_are_paged_and_an_empty_one_is_an_empty_array() {
    let many = (0..150).map(|number| healthy(&format!("e{number:03}")));
    let (_, router) = Fake::default()
        .with("claude", many)
        .with("empty", [])
        .admin();
    let first = fetch(&router, "/admin/v1/endpoints").await;
    assert_eq!(first["items"].as_array().unwrap().len(), PAGE);
    assert_eq!(first["total"], 150);
    let rest = fetch(&router, "/admin/v1/endpoints?limit=100&offset=100").await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 50);
    assert_eq!(rest["items"][0]["name"], "e100");
    let all = fetch(&router, "/admin/v1/endpoints?limit=1000000").await;
    assert_eq!(all["limit"], LARGEST_PAGE);
    let beyond = fetch(&router, "/admin/v1/endpoints?offset=150").await;
    assert_eq!(beyond["items"], serde_json::json!([]));
    let empty = fetch(&router, "/admin/v1/clusters/empty").await;
    assert_eq!(empty["endpoints"]["items"], serde_json::json!([]));
    let (_, router) = Fake::default().admin();
    let none = fetch(&router, "/admin/v1/clusters").await;
    assert_eq!(none["items"], serde_json::json!([]));
}

// CLI-03, SEL-11
#[tokio::test]
async fn the_status_of_a_cluster_has_every_field_of_its_endpoints() {
    let (_, router) = Fake::usual().admin();
    let status = fetch(&router, "/admin/v1/clusters/claude").await;
    assert_eq!(status["cluster"]["eligible"], 1);
    let refused = &status["endpoints"]["items"][2];
    assert_eq!(refused["name"], "spare");
    assert_eq!(refused["base_url"], "https://spare.example");
    assert_eq!(refused["enabled"], false);
    assert_eq!(refused["operator_enabled"], true);
    assert_eq!(refused["status"], "unhealthy");
    assert_eq!(refused["is_healthy"], false);
    assert_eq!(refused["consecutive_failures"], 1);
    assert_eq!(refused["auth_failed"], true);
    assert_eq!(refused["breaker"]["state"], "closed");
    assert_eq!(refused["queued"], true);
    assert_eq!(refused["out"]["reason"], "auth_failed");
}

// CLI-04
#[tokio::test]
async fn an_unknown_cluster_is_answered_with_the_known_ones() {
    let (_, router) = Fake::usual().with("gpt", []).admin();
    let (status, body) = json(&router, Method::GET, "/admin/v1/clusters/cloud").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"]["known"], serde_json::json!(["claude", "gpt"]));
}

// CLI-20
#[tokio::test]
async fn a_sentence_names_a_few_of_many_endpoints_and_the_field_has_more() {
    let many = (0..150).map(|number| healthy(&format!("e{number:03}")));
    let (_, router) = Fake::default().with("claude", many).admin();
    let (_, body) = json(&router, Method::GET, "/admin/v1/endpoints/none").await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("and 130 more."), "{message}");
    assert_eq!(body["error"]["known"].as_array().unwrap().len(), 150);
}

// CLI-15, CLI-20
#[tokio::test]
async fn switching_says_what_changed_and_changes_nothing_the_second_time() {
    let (fake, router) = Fake::usual().admin();
    let off = "/admin/v1/endpoints/official/disable";
    let (status, body) = json(&router, Method::POST, off).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["changed"], true);
    assert_eq!(body["endpoints"][0]["enabled"], false);
    assert_eq!(fake.clusters()[0].eligible, 0);
    let (_, again) = json(&router, Method::POST, off).await;
    assert_eq!(again["changed"], false);
    let message = again["endpoints"][0]["message"].as_str().unwrap();
    assert!(message.contains("nothing changed"), "{message}");
    let (_, on) = json(&router, Method::POST, "/admin/v1/endpoints/official/enable").await;
    assert_eq!(on["changed"], true);
    assert_eq!(fake.clusters()[0].eligible, 1);
    let (status, unknown) = json(&router, Method::POST, "/admin/v1/endpoints/offcial/enable").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let known = unknown["error"]["known"].as_array().unwrap();
    assert_eq!(known.len(), 3);
}

fn found(fake: &Fake, text: &str) -> Result<Vec<String>, Refusal> {
    let found = resolve(&fake.members(), text)?;
    Ok(found.iter().map(Member::full_name).collect())
}

// CLI-20
#[test]
fn an_endpoint_is_found_by_name_full_name_and_id() {
    let fake = Fake::default()
        .with("claude", [healthy("official"), healthy("relay")])
        .with("spare", [healthy("official")]);
    let id = healthy("relay").id;
    for text in ["relay", "claude/relay", &id, &id.to_uppercase(), &id[..4]] {
        assert_eq!(found(&fake, text).unwrap(), ["claude/relay"], "{text}");
    }
    // The same address and key in two clusters are one endpoint.
    assert_eq!(
        found(&fake, "official").unwrap(),
        ["claude/official", "spare/official"]
    );
    assert_eq!(found(&fake, "spare/official").unwrap(), ["spare/official"]);
    for text in [&id[..3], "rel", "", "claude"] {
        assert!(found(&fake, text).is_err(), "{text}");
    }
}

// CLI-20
#[tokio::test]
async fn a_name_of_two_endpoints_is_not_guessed() {
    let mut other = healthy("official");
    other.base_url = "https://elsewhere.example".to_owned();
    let (_, router) = Fake::usual().with("gpt", [other]).admin();
    let path = "/admin/v1/endpoints/official/disable";
    let (status, body) = json(&router, Method::POST, path).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"]["candidates"].as_array().unwrap().len(), 2);
    let full = "/admin/v1/endpoints/gpt%2Fofficial/disable";
    assert_eq!(json(&router, Method::POST, full).await.0, StatusCode::OK);
}

// CLI-22
#[tokio::test]
async fn requests_are_listed_newest_first() {
    let (_, router) = Fake::usual().admin();
    let page = fetch(&router, "/admin/v1/requests?limit=3").await;
    let ids: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["client-8", "client-7", "qcc-test-2"]);
    assert_eq!(page["total"], 4);
    let last = fetch(&router, "/admin/v1/requests?offset=3").await;
    let item = &last["items"][0];
    assert_eq!(item["model"], "claude-sonnet-4-5");
    assert_eq!(item["answer"]["status"], 200);
    assert_eq!(item["endpoint"]["name"], "relay");
    assert_eq!(item["attempts"], 2);
    assert_eq!(item["input_tokens"], 12_034);
    assert_eq!(item["output_tokens"], 512);
    assert_eq!(item["duration_ms"], 4_310.0);
}

// XPL-02, XPL-05
#[tokio::test]
async fn a_request_is_explained_by_its_id() {
    let (_, router) = Fake::usual().admin();
    let body = fetch(&router, "/admin/v1/requests/qcc-test-1").await;
    assert_eq!(body["visits"][1]["endpoint"]["name"], "relay");
    assert!(!body.to_string().contains("sk-test"));
    let (status, body) = json(&router, Method::GET, "/admin/v1/requests/qcc-none").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"]["known"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_proxy_is_ready_while_an_endpoint_can_be_used_and_nobody_asked_it_to_stop() {
    let (fake, router) = Fake::usual().admin();
    assert_eq!(
        json(&router, Method::GET, "/readyz").await.0,
        StatusCode::OK
    );
    json(
        &router,
        Method::POST,
        "/admin/v1/endpoints/official/disable",
    )
    .await;
    let (status, body) = json(&router, Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["ready"], false);
    json(&router, Method::POST, "/admin/v1/endpoints/official/enable").await;
    fake.stopping.store(true, Ordering::Relaxed);
    let (status, _) = json(&router, Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_text(&router, "/healthz").await, "ok\n");
}

async fn json_text(router: &Router, path: &str) -> String {
    let (status, text, _) = send(router, asking(Method::GET, path)).await;
    assert_eq!(status, StatusCode::OK);
    text
}

// ACC-08, ACC-11
#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let (_, router) = Fake::usual().with_client("laptop", 3, Some(4)).admin();
    let (_, text, head) = send(&router, asking(Method::GET, "/metrics")).await;
    let kind = head.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(
        text.contains("# TYPE qcc_endpoint_in_flight gauge"),
        "{text}"
    );
    assert!(
        text.contains(r#"qcc_client_in_flight{client="laptop"} 3"#),
        "{text}"
    );
    let today = "qcc_endpoint_daily_requests{cluster=\"claude\",endpoint=\"official\"";
    assert!(text.contains(today), "{text}");
}
