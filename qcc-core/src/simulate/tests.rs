//! The simulator as its users see it: bytes, statuses and faults of every behaviour in every
//! dialect, streamed and not.

use std::io::Read as _;

use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::facts::Dialect;
use crate::time::Duration;

/// A form of request: path and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    dialect: Dialect,
    stream: bool,
    path: &'static str,
    body: &'static str,
}

const FORMS: [Form; 9] = [
    Form {
        dialect: Dialect::Anthropic,
        stream: false,
        path: "/v1/messages",
        body: r#"{"model":"m","messages":[{"role":"user","content":"say: A1B2C3"}]}"#,
    },
    Form {
        dialect: Dialect::Anthropic,
        stream: true,
        path: "/v1/messages?beta=true",
        body: r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"say: A1B2C3"}]}"#,
    },
    Form {
        dialect: Dialect::Chat,
        stream: false,
        path: "/v1/chat/completions",
        body: r#"{"model":"m","messages":[{"role":"user","content":"say: A1B2C3"}]}"#,
    },
    Form {
        dialect: Dialect::Chat,
        stream: true,
        path: "/v1/chat/completions",
        body: r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"content":"say: A1B2C3"}]}"#,
    },
    Form {
        dialect: Dialect::Responses,
        stream: false,
        path: "/v1/responses",
        body: r#"{"model":"m","input":"say: A1B2C3"}"#,
    },
    Form {
        dialect: Dialect::Responses,
        stream: true,
        path: "/v1/responses",
        body: r#"{"model":"m","stream":true,"input":"say: A1B2C3"}"#,
    },
    Form {
        dialect: Dialect::Gemini,
        stream: false,
        path: "/v1beta/models/m:generateContent",
        body: r#"{"contents":[{"parts":[{"text":"say: A1B2C3"}]}]}"#,
    },
    Form {
        dialect: Dialect::Gemini,
        stream: true,
        path: "/v1beta/models/m:streamGenerateContent?alt=sse",
        body: r#"{"contents":[{"parts":[{"text":"say: A1B2C3"}]}]}"#,
    },
    Form {
        dialect: Dialect::Gemini,
        stream: true,
        path: "/v1beta/models/m:streamGenerateContent",
        body: r#"{"contents":[{"parts":[{"text":"say: A1B2C3"}]}]}"#,
    },
];

impl Form {
    fn of(dialect: Dialect, stream: bool) -> Self {
        *FORMS
            .iter()
            .find(|form| form.dialect == dialect && form.stream == stream)
            .unwrap()
    }

    fn request(self, key: &str) -> Request<RequestBody> {
        Request::post(format!("http://a.sim{}", self.path))
            .header("authorization", format!("Bearer {key}"))
            .body(self.body.into())
            .unwrap()
    }

    /// The number of events in a whole streamed answer.
    async fn events(self) -> usize {
        let text = meet(self, "ok").await.text();
        match self.path.ends_with("streamGenerateContent") {
            true => text.matches("responseId").count(),
            false => text.matches(self.blank_line()).count(),
        }
    }

    fn blank_line(self) -> &'static str {
        match self.dialect {
            Dialect::Gemini => "\r\n\r\n",
            _ => "\n\n",
        }
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Fault(SocketFault),
    Silence,
}

/// What a client meets.
#[derive(Debug)]
struct Met {
    /// `None` if there was no head.
    head: Option<http::response::Parts>,
    body: Vec<u8>,
    end: End,
    /// From the request to the head.
    until_head: Duration,
}

impl Met {
    fn status(&self) -> StatusCode {
        self.head.as_ref().unwrap().status
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref().unwrap().headers.get(name)?.to_str().ok()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

const FOREVER: Duration = Duration::from_secs(3600);

async fn send(simulator: &Simulator, request: Request<RequestBody>) -> Met {
    let began = time::now();
    let met = |head, body, end| Met {
        head,
        body,
        end,
        until_head: Duration::ZERO,
    };
    let fault = |error: BoxError| End::Fault(ConnectionFault::find(&*error).unwrap().action());
    let response = match tokio::time::timeout(FOREVER, simulator.clone().oneshot(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return met(None, Vec::new(), fault(error)),
        Err(_) => return met(None, Vec::new(), End::Silence),
    };
    let until_head = time::now() - began;
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let end = loop {
        match tokio::time::timeout(FOREVER, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Ok(Some(Err(error))) => break fault(error),
            Ok(None) => break End::Clean,
            Err(_) => break End::Silence,
        }
    };
    Met {
        until_head,
        ..met(Some(head), bytes, end)
    }
}

/// What the first request meets at an endpoint with this behaviour.
async fn meet(form: Form, behaviour: &str) -> Met {
    let simulator = Simulator::new().endpoint("a", behaviour.parse::<Behaviour>().unwrap());
    send(&simulator, form.request("sk-test-a")).await
}

async fn text(dialect: Dialect, stream: bool, behaviour: &str) -> String {
    meet(Form::of(dialect, stream), behaviour).await.text()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn an_anthropic_stream_is_as_the_vendor_writes_it() {
    let simulator =
        Simulator::new().endpoint("a", Script::default().with_text("Hi!").with_deltas(2));
    let met = send(
        &simulator,
        Form::of(Dialect::Anthropic, true).request("sk-test-a"),
    )
    .await;
    assert_eq!(met.header("content-type"), Some("text/event-stream"));
    assert_eq!(met.header("request-id"), Some("req_sim_1"));
    assert_eq!(
        met.text(),
        r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_sim_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"H"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"i!"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#
    );
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_chat_stream_is_as_the_vendor_writes_it() {
    let simulator =
        Simulator::new().endpoint("a", Script::default().with_text("Hi").with_deltas(1));
    let met = send(
        &simulator,
        Form::of(Dialect::Chat, true).request("sk-test-a"),
    )
    .await;
    assert_eq!(
        met.text(),
        r#"data: {"id":"chatcmpl-sim_1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-sim_1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-sim_1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-sim_1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":1,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"#
    );
    let unasked = Request::post("http://a.sim/v1/chat/completions")
        .body(r#"{"stream":true}"#.into())
        .unwrap();
    assert!(!send(&simulator, unasked).await.text().contains("usage"));
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_responses_stream_has_its_events_in_order_and_numbered() {
    let text = text(Dialect::Responses, true, "ok").await;
    let mut names = Vec::new();
    for (number, event) in text.split_terminator("\n\n").enumerate() {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let name = name.strip_prefix("event: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            (&data["type"], &data["sequence_number"]),
            (&name.into(), &number.into())
        );
        names.push(name.strip_prefix("response.").unwrap().to_owned());
    }
    names.dedup();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert!(text.contains(r#""usage":{"input_tokens":12"#));
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_gemini_stream_is_as_the_vendor_writes_it() {
    let simulator =
        Simulator::new().endpoint("a", Script::default().with_text("Hi!").with_deltas(2));
    let request = || Form::of(Dialect::Gemini, true).request("sk-test-a");
    let met = send(&simulator, request()).await;
    assert_eq!(
        met.text(),
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"H\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":12,\"totalTokenCount\":12},\"modelVersion\":\"m\",\"responseId\":\"sim_1\"}\r\n\r\n\
         data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"i!\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":12,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":0,\"totalTokenCount\":14},\"modelVersion\":\"m\",\"responseId\":\"sim_1\"}\r\n\r\n"
    );
    let array = send(&simulator, FORMS[8].request("sk-test-a")).await;
    assert_eq!(array.header("content-type"), Some("application/json"));
    assert_eq!(array.json().as_array().unwrap().len(), 2);
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_whole_answer_has_id_text_and_usage_in_every_dialect() {
    for (dialect, id, text, output) in [
        (
            Dialect::Anthropic,
            "/id",
            "/content/0/text",
            "/usage/output_tokens",
        ),
        (
            Dialect::Chat,
            "/id",
            "/choices/0/message/content",
            "/usage/completion_tokens",
        ),
        (
            Dialect::Responses,
            "/id",
            "/output/0/content/0/text",
            "/usage/output_tokens",
        ),
        (
            Dialect::Gemini,
            "/responseId",
            "/candidates/0/content/parts/0/text",
            "/usageMetadata/candidatesTokenCount",
        ),
    ] {
        let met = meet(Form::of(dialect, false), "ok").await;
        assert_eq!((met.status(), met.end), (StatusCode::OK, End::Clean));
        assert_eq!(
            met.header("content-length"),
            Some(&*met.body.len().to_string())
        );
        let json = met.json();
        let at = |path: &str| json.pointer(path).unwrap().clone();
        assert!(at(id).as_str().unwrap().ends_with("sim_1"), "{dialect}");
        assert_eq!(at(text), "Hello, this is the simulated endpoint a.");
        assert_eq!(at(output), 3, "{dialect}");
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn models_counts_and_unknown_paths_are_answered_in_each_dialect() {
    let simulator = Simulator::new();
    let get = |path: &str, header: &str| {
        Request::get(format!("http://a.sim{path}"))
            .header(header, "sk-test-a")
            .body(RequestBody::empty())
            .unwrap()
    };
    let post = |path: &str| {
        Request::post(format!("http://a.sim{path}"))
            .body(RequestBody::from("{}"))
            .unwrap()
    };
    for (request, status, pointer, expected) in [
        (
            get("/v1/models", "x-api-key"),
            200,
            "/data/0/type",
            Value::from("model"),
        ),
        (
            get("/v1/models", "authorization"),
            200,
            "/data/0/object",
            "model".into(),
        ),
        (
            get("/v1beta/models", "x-goog-api-key"),
            200,
            "/models/0/name",
            "models/simulated".into(),
        ),
        (
            post("/v1/messages/count_tokens"),
            200,
            "/input_tokens",
            12.into(),
        ),
        (
            post("/v1/responses/input_tokens"),
            200,
            "/input_tokens",
            12.into(),
        ),
        (
            post("/v1beta/models/m:countTokens"),
            200,
            "/totalTokens",
            12.into(),
        ),
        (
            get("/v1/odd", "x-api-key"),
            404,
            "/error/type",
            "not_found_error".into(),
        ),
        (
            get("/v1/odd", "authorization"),
            404,
            "/error/code",
            "unknown_url".into(),
        ),
        (
            get("/v1beta/odd", "authorization"),
            404,
            "/error/status",
            "NOT_FOUND".into(),
        ),
        (
            get("/v1/messages", "x-api-key"),
            404,
            "/type",
            "error".into(),
        ),
    ] {
        let uri = request.uri().clone();
        let met = send(&simulator, request).await;
        assert_eq!(met.status().as_u16(), status, "{uri}");
        assert_eq!(met.json().pointer(pointer), Some(&expected), "{uri}");
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn every_behaviour_ends_as_it_says_in_every_form() {
    for form in FORMS {
        let good = meet(form, "ok").await.text();
        for behaviour in Behaviour::samples() {
            let name = behaviour.to_string();
            let met = meet(form, &name).await;
            let context = format!("{name} {form:?}");
            let has_head = !matches!(name.as_str(), "refuse" | "reset" | "not-http" | "hang");
            let expected = match &behaviour {
                Behaviour::Refuse => End::Fault(SocketFault::Refuse),
                Behaviour::Reset | Behaviour::Cut(_) => End::Fault(SocketFault::Reset),
                Behaviour::Truncated => End::Fault(SocketFault::Truncate),
                Behaviour::NotHttp => End::Fault(SocketFault::NotHttp),
                Behaviour::Hang | Behaviour::Stall(_) => End::Silence,
                _ => End::Clean,
            };
            assert_eq!(met.end, expected, "{context}");
            assert_eq!(met.head.is_some(), has_head, "{context}");
            if !has_head {
                continue;
            }
            let is_whole = matches!(
                behaviour,
                Behaviour::Ok | Behaviour::Slow { .. } | Behaviour::CloseIdle | Behaviour::Quota(1)
            );
            let is_echo = behaviour == Behaviour::Echo;
            assert_eq!(met.body == good.as_bytes(), is_whole, "{context}");
            if !is_whole && !is_echo && met.status() == StatusCode::OK {
                let plain = match behaviour {
                    Behaviour::Gzip { .. } => gunzip(&met.body),
                    _ => Vec::new(),
                };
                assert_eq!(plain == good.as_bytes(), !plain.is_empty(), "{context}");
            }
        }
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn faults_in_a_stream_come_after_the_events_that_were_asked_for() {
    for form in FORMS.into_iter().filter(|form| form.stream) {
        let good = meet(form, "ok").await.text();
        assert!(form.events().await > 2);
        for events in [0, 1, 2] {
            let stalled = meet(form, &format!("stall:{events}")).await.text();
            assert!(good.starts_with(&stalled), "{form:?}");
            assert_eq!(stalled.is_empty(), events == 0, "{form:?}");

            // A cut leaves a piece of the next event behind.
            let cut = meet(form, &format!("cut:{events}")).await.text();
            assert!(good.starts_with(&cut), "{form:?}");
            assert_eq!(cut.len() > stalled.len(), events > 0, "{form:?}");

            let failed = meet(form, &format!("error:{events}")).await.text();
            let event = failed.strip_prefix(&*stalled).unwrap();
            assert!(event.contains("error") && !good.contains(event), "{form:?}");
        }
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_fault_in_a_stream_comes_before_the_answer_is_complete() {
    for form in FORMS.into_iter().filter(|form| form.stream) {
        let incomplete = meet(form, "no-end").await.text();
        assert_eq!(meet(form, "stall:99").await.text(), incomplete, "{form:?}");
        let cut = meet(form, "cut:99").await.text();
        assert!(cut.starts_with(&incomplete) && cut.len() > incomplete.len());
        let failed = meet(form, "error:99").await.text();
        assert!(failed.starts_with(&incomplete) && failed.contains("simulated fault"));
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn an_error_event_has_the_form_of_its_dialect() {
    let first = |dialect| text(dialect, true, "error:0");
    assert_eq!(
        first(Dialect::Anthropic).await,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"simulated fault\"},\"request_id\":\"req_sim_1\"}\n\n"
    );
    assert_eq!(
        first(Dialect::Chat).await,
        "data: {\"error\":{\"message\":\"simulated fault\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n"
    );
    assert_eq!(
        first(Dialect::Responses).await,
        "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"server_error\",\"message\":\"simulated fault\",\"param\":null}\n\n"
    );
    assert_eq!(
        first(Dialect::Gemini).await,
        "data: {\"error\":{\"code\":503,\"message\":\"simulated fault\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n"
    );
    let late = text(Dialect::Responses, true, "error:5").await;
    let (_, failed) = late.split_once("event: response.failed\ndata: ").unwrap();
    let failed: Value = serde_json::from_str(failed).unwrap();
    assert_eq!(failed["sequence_number"], 5);
    assert_eq!(failed["response"]["id"], "resp_a_sim_1");
    for behaviour in ["error:0", "error:1"] {
        let array = meet(FORMS[8], behaviour).await.json();
        let last = array.as_array().unwrap().last().unwrap();
        assert_eq!(last["error"]["status"], "UNAVAILABLE");
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn without_its_end_marker_an_answer_has_no_other_evidence_of_its_end() {
    for (dialect, evidence) in [
        (Dialect::Anthropic, &["message_stop", "end_turn"][..]),
        (Dialect::Chat, &["[DONE]", r#""finish_reason":"stop""#]),
        (Dialect::Responses, &["response.completed"]),
        (Dialect::Gemini, &["finishReason"]),
    ] {
        let good = text(dialect, true, "ok").await;
        let broken = text(dialect, true, "no-end").await;
        assert!(broken.ends_with(Form::of(dialect, true).blank_line()));
        for word in evidence {
            assert!(
                good.contains(word) && !broken.contains(word),
                "{dialect} {word}"
            );
        }
        let half = meet(Form::of(dialect, false), "no-end").await;
        assert!(serde_json::from_slice::<Value>(&half.body).is_err());
        assert_eq!(
            (half.end, half.header("content-length")),
            (End::Clean, None)
        );
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn an_error_status_has_the_body_and_headers_of_its_dialect() {
    for (dialect, behaviour, pointer, expected) in [
        (
            Dialect::Anthropic,
            "status:401",
            "/error/type",
            "authentication_error",
        ),
        (
            Dialect::Anthropic,
            "status:429",
            "/error/type",
            "rate_limit_error",
        ),
        (
            Dialect::Anthropic,
            "status:529",
            "/error/type",
            "overloaded_error",
        ),
        (Dialect::Anthropic, "status:500", "/type", "error"),
        (
            Dialect::Anthropic,
            "status:400;code=billing_error",
            "/error/type",
            "billing_error",
        ),
        (
            Dialect::Chat,
            "status:401",
            "/error/code",
            "invalid_api_key",
        ),
        (
            Dialect::Chat,
            "status:429",
            "/error/code",
            "rate_limit_exceeded",
        ),
        (
            Dialect::Chat,
            "status:429;code=insufficient_quota",
            "/error/type",
            "insufficient_quota",
        ),
        (
            Dialect::Responses,
            "status:503",
            "/error/code",
            "server_is_overloaded",
        ),
        (
            Dialect::Gemini,
            "status:429",
            "/error/status",
            "RESOURCE_EXHAUSTED",
        ),
        (
            Dialect::Gemini,
            "status:429;retry-after=7",
            "/error/details/0/retryDelay",
            "7s",
        ),
        (
            Dialect::Gemini,
            "status:503",
            "/error/status",
            "UNAVAILABLE",
        ),
        (
            Dialect::Gemini,
            "status:400;code=API_KEY_INVALID",
            "/error/details/0/reason",
            "API_KEY_INVALID",
        ),
        (Dialect::Anthropic, "status:200", "/error/type", "api_error"),
        (
            Dialect::Chat,
            "status:200;shape=bare",
            "/error/type",
            "Bad Request",
        ),
    ] {
        for stream in [false, true] {
            let met = meet(Form::of(dialect, stream), behaviour).await;
            assert_eq!(met.status().as_str(), &behaviour[7..10]);
            assert_eq!(met.header("content-type"), Some("application/json"));
            let json = met.json();
            assert_eq!(
                json.pointer(pointer),
                Some(&expected.into()),
                "{behaviour} {json}"
            );
        }
    }
    let limited = meet(
        FORMS[0],
        "status:429;retry-after=7;x-ratelimit-remaining-requests=0",
    )
    .await;
    assert_eq!(limited.header("retry-after"), Some("7"));
    assert_eq!(limited.header("x-ratelimit-remaining-requests"), Some("0"));
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn an_error_of_openai_without_a_code_has_null_there() {
    let text = text(Dialect::Chat, false, "status:500").await;
    assert!(text.contains(r#""param":null,"code":null"#), "{text}");
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn answers_that_are_none_look_as_they_do_in_the_wild() {
    for form in FORMS {
        let html = meet(form, "html").await;
        assert_eq!(html.header("content-type"), Some("text/html"));
        assert!(html.text().starts_with("<!DOCTYPE html>"));
        let empty = meet(form, "empty").await;
        assert_eq!(
            (empty.body.len(), empty.header("content-length")),
            (0, Some("0"))
        );
        let garbage = meet(form, "garbage").await;
        assert!(String::from_utf8(garbage.body).is_err());
        let plain = meet(form, "gzip:unannounced").await;
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.body[..2], [0x1f, 0x8b]);
        let gzip = meet(form, "gzip").await;
        assert_eq!(gzip.header("content-encoding"), Some("gzip"));
        let idle = meet(form, "close-idle").await.head.unwrap();
        assert!(idle.extensions.get::<CloseIdle>().is_some());
    }
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_truncated_body_is_shorter_than_its_announced_length() {
    let met = meet(FORMS[0], "truncated").await;
    let announced: usize = met.header("content-length").unwrap().parse().unwrap();
    assert_eq!(
        (met.body.len(), met.end),
        (announced / 2, End::Fault(SocketFault::Truncate))
    );
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn only_some_keys_are_valid() {
    for form in FORMS {
        let simulator = Simulator::new().endpoint("a", Behaviour::Keys(vec!["sk-test-a".into()]));
        let good = send(&simulator, form.request("sk-test-a")).await;
        assert_eq!(good.status(), StatusCode::OK);
        let bad = send(&simulator, form.request("sk-test-b")).await;
        if form.dialect == Dialect::Gemini {
            assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
            assert_eq!(
                bad.json()["error"]["details"][0]["reason"],
                "API_KEY_INVALID"
            );
        } else {
            assert_eq!(bad.status(), StatusCode::UNAUTHORIZED);
        }
    }
}

// SIM-01, TOK-08
#[tokio::test(start_paused = true)]
async fn a_key_past_its_quota_is_limited_and_the_next_one_is_not() {
    let simulator = Simulator::new().endpoint("a", Behaviour::Quota(1));
    let mut statuses = Vec::new();
    for key in ["sk-test-1", "sk-test-1", "sk-test-2"] {
        statuses.push(
            send(&simulator, FORMS[0].request(key))
                .await
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 429, 200]);
    let keys = simulator.counts("a").keys;
    assert_eq!((keys["sk-test-1"], keys["sk-test-2"]), (2, 1));
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_verification_code_comes_back_only_from_an_echo() {
    for form in FORMS {
        // Streamed, the code is spread over several events.
        let simulator = Simulator::new().endpoint("a", Script::new(Behaviour::Echo).with_deltas(1));
        let whole = send(&simulator, form.request("sk-test-a")).await.text();
        assert!(
            whole.contains("A1B2C3") && !whole.contains("say"),
            "{form:?}"
        );
        assert!(!meet(form, "ok").await.text().contains("A1B2C3"));
    }
}

// SIM-01, SEC-07
#[tokio::test(start_paused = true)]
async fn error_texts_repeat_prompt_or_credential() {
    for form in FORMS {
        let prompt = meet(form, "echo-prompt").await;
        assert_eq!(prompt.status(), StatusCode::BAD_REQUEST);
        assert!(prompt.text().contains("say: A1B2C3"));
        let credential = meet(form, "echo-credential").await;
        assert_eq!(credential.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(credential.text().contains("sk-test-a"));
        let both = meet(form, "status:200;message={prompt} by {credential}").await;
        assert!(both.text().contains("say: A1B2C3 by sk-test-a"));
    }
}

// SIM-01, SIM-02
#[tokio::test(start_paused = true)]
async fn slowness_takes_the_time_that_it_says_and_no_real_one() {
    let simulator = Simulator::new().endpoint("a", "slow:2s,10s".parse::<Behaviour>().unwrap());
    for form in FORMS {
        let events = if form.stream {
            form.events().await as u32
        } else {
            1
        };
        let began = time::now();
        let met = send(&simulator, form.request("sk-test-a")).await;
        assert_eq!(met.until_head.as_secs(), 2, "{form:?}");
        let expected = 2 + 10 * u64::from(events);
        assert_eq!((time::now() - began).as_secs(), expected, "{form:?}");
    }
}

// SIM-02
#[tokio::test(start_paused = true)]
async fn a_script_changes_behaviour_by_request_and_by_time() {
    let script = Script::new(Behaviour::Ok)
        .from_request(2, "status:503".parse().unwrap())
        .after(Duration::from_secs(60), Behaviour::Ok);
    let simulator = Simulator::new().endpoint("a", script);
    let status = async || {
        send(&simulator, FORMS[0].request("sk-test-a"))
            .await
            .status()
            .as_u16()
    };
    assert_eq!(
        (status().await, status().await, status().await),
        (200, 503, 503)
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(status().await, 200);
    simulator.set("a", "first:1:status:500".parse::<Behaviour>().unwrap());
    assert_eq!((status().await, status().await), (500, 200));
}

// SIM-02
#[tokio::test(start_paused = true)]
async fn host_or_first_segment_names_the_endpoint() {
    let simulator = Simulator::new()
        .endpoint("a", Behaviour::Ok)
        .endpoint("b.example", Behaviour::Ok);
    for (uri, host) in [
        ("http://a.sim/v1/messages", None),
        ("http://a/v1/messages", None),
        ("http://a:8080/v1/messages", None),
        ("http://127.0.0.1:7862/a/v1/messages", None),
        ("/a/v1/messages", Some("127.0.0.1:7862")),
        ("/v1/messages", Some("a.sim:80")),
        ("https://b.example/v1/messages", None),
        ("https://c.example/v1/messages", None),
    ] {
        let mut request = Request::post(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        send(&simulator, request.body("{}".into()).unwrap()).await;
    }
    let requests = |name| simulator.counts(name).requests;
    assert_eq!(
        (requests("a"), requests("b.example"), requests("default")),
        (6, 1, 1)
    );
}

// SIM-02
#[tokio::test(start_paused = true)]
async fn counts_tell_ends_faults_and_those_who_gave_up_apart() {
    let simulator = Simulator::new().endpoint("a", Behaviour::Ok);
    let ask = || simulator.clone().oneshot(FORMS[1].request("sk-test-a"));

    let one = ask().await.unwrap();
    let two = ask().await.unwrap();
    assert_eq!(simulator.counts("a").in_flight, 2);
    one.into_body().collect().await.unwrap();
    drop(two);

    simulator.set("a", Behaviour::Hang);
    let given_up = tokio::time::timeout(Duration::from_secs(1), ask()).await;
    assert!(given_up.is_err());
    simulator.set("a", Behaviour::Refuse);
    assert!(ask().await.is_err());
    simulator.set("a", Behaviour::Cut(1));
    assert!(ask().await.unwrap().into_body().collect().await.is_err());

    let counts = simulator.counts("a");
    assert_eq!(
        (counts.requests, counts.in_flight, counts.peak_in_flight),
        (5, 0, 2)
    );
    assert_eq!(
        (counts.completed, counts.broken, counts.canceled),
        (1, 2, 2)
    );
}

// SIM-02
#[tokio::test(start_paused = true)]
async fn the_last_request_is_kept_as_it_came_and_shown_to_nobody() {
    let simulator = Simulator::new().endpoint("a", Behaviour::Ok);
    send(&simulator, FORMS[3].request("sk-test-a")).await;
    let last = simulator.last_request("a").unwrap();
    assert_eq!(last.uri(), "http://a.sim/v1/chat/completions");
    assert_eq!(last.headers()["authorization"], "Bearer sk-test-a");
    assert_eq!(last.body(), FORMS[3].body);
    assert!(!format!("{simulator:?}").contains("sk-test"));
}

// SIM-01
#[tokio::test(start_paused = true)]
async fn a_fault_has_the_error_of_a_real_connection_as_its_source() {
    for (behaviour, kind) in [
        ("refuse", std::io::ErrorKind::ConnectionRefused),
        ("reset", std::io::ErrorKind::ConnectionReset),
    ] {
        let simulator = Simulator::new().endpoint("a", behaviour.parse::<Behaviour>().unwrap());
        let error = simulator
            .oneshot(FORMS[0].request("sk-test-a"))
            .await
            .unwrap_err();
        let io = crate::failure::find::<std::io::Error>(&*error).unwrap();
        assert_eq!(io.kind(), kind);
    }
}

// SIM-02
#[test]
fn the_simulator_is_an_upstream() {
    fn assert_upstream<U: crate::upstream::Upstream>() {}
    assert_upstream::<Simulator>();
    fn assert_send<T: Send + Unpin>() {}
    assert_send::<SimulatedBody>();
}
