use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::credential::Credential;
use crate::endpoint::Api;
use crate::recovery::Validity;

fn endpoint(api: Api) -> Endpoint {
    Endpoint::new("one", "https://one.example/api".parse().unwrap())
        .with_api(api)
        .with_credential(Credential::new("one", "sk-test-0001"))
}

fn judged(body: impl AsRef<[u8]>, code: &str) -> Finding {
    let body = Bytes::copy_from_slice(body.as_ref());
    LlmProbe::default().judge(&Response::new(body), &Code::new(code))
}

/// How an answer of Anthropic's with this text is judged.
fn validity(code: &str, text: &str) -> Validity {
    let body = json!({ "content": [{ "type": "text", "text": text }] });
    judged(body.to_string(), code).validity
}

/// A good answer of each dialect with `text`.
fn answers(text: &str) -> [Value; 4] {
    [
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn",
            "content": [{ "type": "text", "text": text }]
        }),
        json!({
            "id": "chatcmpl-1", "object": "chat.completion",
            "choices": [{
                "index": 0, "message": { "role": "assistant", "content": text },
                "finish_reason": "stop"
            }]
        }),
        json!({
            "id": "resp_1", "object": "response", "status": "completed", "error": null,
            "text": { "format": { "type": "text" } },
            "output": [
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }] },
                {
                    "type": "message", "role": "assistant",
                    "content": [{ "type": "output_text", "text": text, "annotations": [] }]
                }
            ]
        }),
        json!({
            "candidates": [{
                "content": {
                    "role": "model",
                    "parts": [{ "text": "hm", "thought": true }, { "text": text }]
                },
                "finishReason": "STOP"
            }]
        }),
    ]
}

// PRB-01, PRB-02, PRB-25
#[test]
fn a_hundred_codes_have_six_characters_each_and_hardly_two_are_equal() {
    let probe = LlmProbe::default();
    let codes: Vec<_> = (0..100).map(|_| probe.code().to_string()).collect();
    for code in &codes {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        assert!(code.len() == 6 && code.bytes().all(fits), "{code}");
    }
    let different: HashSet<_> = codes.iter().collect();
    assert!(different.len() > 90, "{}", different.len());
}

// PRB-05
#[test]
fn length_and_characters_of_a_code_can_be_set() {
    for (complexity, allowed) in [
        (Complexity::Digits, "0123456789"),
        (
            Complexity::Symbols,
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@#$%&*+=",
        ),
    ] {
        let probe = LlmProbe::default().with_complexity(complexity);
        let probe = probe.with_length(32).unwrap();
        let code = probe.code();
        assert_eq!(code.as_str().len(), 32);
        assert!(code.as_str().chars().all(|c| allowed.contains(c)), "{code}");
    }
    for length in [0, 3, 33] {
        assert!(LlmProbe::default().with_length(length).is_err(), "{length}");
    }
}

// PRB-03, PRB-04
#[test]
fn it_asks_in_chinese_unless_told_otherwise() {
    let code = Code::new("ABC123");
    let probe = LlmProbe::default();
    assert_eq!(probe.message(&code), "收到消息请仅回复这个验证码：ABC123");
    for (language, message) in [
        (Language::English, "Reply with this code: ABC123"),
        (Language::Japanese, "このコードで返信してください：ABC123"),
    ] {
        assert_eq!(
            probe.clone().with_language(language).message(&code),
            message
        );
    }
}

// PRB-13, PRB-14
#[test]
fn each_api_is_asked_in_its_dialect_with_a_cheap_model_and_twenty_tokens() {
    let code = Code::new("ABC123");
    let probe = LlmProbe::default();
    let message = probe.message(&code);
    let asked = json!([{ "role": "user", "content": message }]);
    for (api, path, body) in [
        (
            Api::Anthropic,
            "/v1/messages",
            json!({ "model": "claude-haiku-4-5", "max_tokens": 20, "messages": asked }),
        ),
        (
            Api::OpenAi,
            "/v1/chat/completions",
            json!({ "model": "gpt-4.1-nano", "max_tokens": 20, "messages": asked }),
        ),
        (
            Api::OpenAiResponses,
            "/v1/responses",
            json!({
                "model": "gpt-4.1-nano", "max_output_tokens": 20, "input": message, "store": false
            }),
        ),
        (
            Api::Gemini,
            "/v1beta/models/gemini-2.5-flash-lite:generateContent",
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": message }] }],
                "generationConfig": { "maxOutputTokens": 20 }
            }),
        ),
    ] {
        let request = probe.request(&endpoint(api), &code).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().path()),
            ("POST", path)
        );
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(
            serde_json::from_slice::<Value>(request.body()).unwrap(),
            body,
            "{api}"
        );
    }
}

// PRB-13
#[test]
fn the_model_is_the_configured_one_or_one_that_the_endpoint_has() {
    let code = Code::new("ABC123");
    let model = |probe: &LlmProbe, models: &[&str]| {
        let endpoint = endpoint(Api::Anthropic).with_models(models.iter().copied());
        let request = probe.request(&endpoint, &code).unwrap();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        body["model"].as_str().unwrap().to_owned()
    };
    let probe = LlmProbe::default();
    assert_eq!(model(&probe, &["claude-*"]), "claude-haiku-4-5");
    assert_eq!(model(&probe, &["relay-*", "relay-large"]), "relay-large");
    assert_eq!(model(&probe, &["relay-*"]), "claude-haiku-4-5");
    let probe = probe.with_model("mine");
    assert_eq!(model(&probe, &["claude-*"]), "mine");
}

// PRB-23
#[test]
fn services_that_do_not_chat_or_speak_nobody_knows_what_are_not_asked() {
    let code = Code::new("ABC123");
    let chats = endpoint(Api::Anthropic);
    let probe = LlmProbe::default();
    assert!(probe.request(&chats, &code).is_some());
    assert!(
        probe
            .clone()
            .without([chats.id()])
            .request(&chats, &code)
            .is_none()
    );
    let unknown = Endpoint::new("any", "https://any.example".parse().unwrap());
    assert!(probe.request(&unknown, &code).is_none());
}

// PRB-06, PRB-25
#[test]
fn the_code_in_any_case_and_anywhere_in_the_text_is_valid() {
    for (code, text) in [
        ("ABC123", "ABC123"),
        ("ABC123", "abc123"),
        ("ABC123", "前面文字 abc123 后面文字"),
        ("X9Y8Z7", "好的，验证码是：X9Y8Z7"),
        ("ABC123", "**ABC123**"),
        ("@#$%&*", "@#$%&*"),
    ] {
        assert_eq!(validity(code, text), Validity::Valid, "{text}");
    }
}

// PRB-06, PRB-07, PRB-25
#[test]
fn a_part_of_the_code_and_anything_else_is_invalid() {
    for text in [
        "ABC",
        "BC12",
        "ABC 123",
        "",
        "  ",
        "API key is disabled",
        "你好！",
    ] {
        assert_eq!(validity("ABC123", text), Validity::Invalid, "{text}");
    }
    for text in ["", "anything", "ABC123"] {
        assert_eq!(validity("", text), Validity::Invalid, "{text}");
    }
}

// PRB-06, PRB-09
#[test]
fn a_text_that_repeats_the_question_is_invalid_however_it_is_written() {
    let code = Code::new("ABC123");
    let languages = [Language::Chinese, Language::English, Language::Japanese];
    for language in languages {
        let probe = LlmProbe::default().with_language(language);
        let message = probe.message(&code);
        let escaped: String = message
            .encode_utf16()
            .map(|unit| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        for text in [
            message.clone(),
            format!("bad request: [{message}]"),
            message.to_uppercase(),
            format!("bad request: {{'content': '{escaped}'}}"),
        ] {
            for body in answers(&text) {
                let response = Response::new(body.to_string().into());
                let finding = probe.judge(&response, &code);
                assert_eq!(finding.validity, Validity::Invalid, "{body}");
                assert_eq!(finding.problem, Some("repeats the question"), "{body}");
            }
        }
    }
}

// PRB-08, PRB-09, PRB-25
#[test]
fn an_error_under_a_200_is_invalid_even_with_the_code_in_it() {
    let code = "ABC123";
    for body in [
        json!({ "error": { "type": "Bad Request", "message": "..." } }),
        json!({ "error": { "message": "Bad Request" } }),
        json!({ "error": { "message": "收到消息请仅回复这个验证码：ABC123" } }),
        json!({ "error": "ABC123" }),
        json!({ "error": {}, "content": [{ "type": "text", "text": "ABC123" }] }),
        json!({ "type": "error", "message": "ABC123" }),
        json!({ "content": [{ "type": "text", "text": "API key is disabled" }] }),
        json!({ "content": [] }),
        json!({ "content": "" }),
    ] {
        assert_eq!(
            judged(body.to_string(), code).validity,
            Validity::Invalid,
            "{body}"
        );
    }
    let said = judged(r#"{"error":{"message":"the key is disabled"}}"#, code);
    assert_eq!(said.content, "the key is disabled");
}

// PRB-12, PRB-14, PRB-25
#[test]
fn the_text_is_found_in_every_dialect_and_in_what_relays_make_of_them() {
    let code = "ABC123";
    for body in answers(code).into_iter().chain([
        json!({ "content": "ABC123" }),
        json!({ "content": ["ABC", "123"] }),
        json!({ "content": [
            { "type": "thinking", "thinking": "x" }, { "type": "text", "text": "ABC123" }
        ] }),
        json!({ "content": [{ "text": "ABC123" }] }),
        json!({ "content": null, "message": { "content": "ABC123" } }),
        json!({ "message": "ABC123" }),
        json!({ "text": "ABC123" }),
        json!({ "choices": [{ "text": "ABC123" }] }),
    ]) {
        let finding = judged(body.to_string(), code);
        assert_eq!(finding.validity, Validity::Valid, "{body}");
        assert_eq!(finding.content, code, "{body}");
    }
}

// PRB-12
#[test]
fn what_a_model_thought_is_not_what_it_answered() {
    for body in [
        json!({ "content": [{ "type": "thinking", "thinking": "ABC123", "text": "ABC123" }] }),
        json!({ "content": [{ "type": "tool_use", "text": "ABC123" }] }),
        json!({ "candidates": [{ "content": { "parts": [
            { "text": "ABC123", "thought": true }, { "text": "yes?" }
        ] } }] }),
        json!({ "output": [{ "type": "reasoning", "content": [
            { "type": "reasoning_text", "text": "ABC123" }
        ] }] }),
        json!({ "choices": [{ "message": { "content": "", "reasoning_content": "ABC123" } }] }),
    ] {
        assert_eq!(
            judged(body.to_string(), "ABC123").validity,
            Validity::Invalid,
            "{body}"
        );
    }
}

// PRB-07, PRB-12, PRB-25
#[test]
fn other_shapes_are_invalid_and_nothing_panics() {
    for body in [
        "",
        "null",
        "7",
        "\"ABC123\"",
        "[\"ABC123\"]",
        "{}",
        "{",
        "ABC123",
        "<html>ABC123</html>",
        r#"{"content":7}"#,
        r#"{"content":[7,null,[]]}"#,
        r#"{"message":[]}"#,
        r#"{"text":{}}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":[{}]}"#,
        r#"{"choices":{"0":"ABC123"}}"#,
        r#"{"output":"ABC123"}"#,
        r#"{"candidates":[{"content":{"parts":7}}]}"#,
        r#"{"id":"ABC123","model":"ABC123"}"#,
    ] {
        assert_eq!(judged(body, "ABC123").validity, Validity::Invalid, "{body}");
    }
    let deep = "{\"message\":".repeat(10_000);
    assert_eq!(judged(deep, "ABC123").validity, Validity::Invalid);
    assert_eq!(judged([0xff, 0xfe], "ABC123").validity, Validity::Invalid);
}

// PRB-13
#[test]
fn an_answer_that_met_its_limit_before_any_text_tells_nothing() {
    for body in [
        json!({ "content": [{ "type": "thinking", "thinking": "x" }], "stop_reason": "max_tokens" }),
        json!({ "choices": [{ "message": { "content": "" }, "finish_reason": "length" }] }),
        json!({ "choices": [{ "message": { "content": null }, "finish_reason": "length" }] }),
        json!({ "status": "incomplete", "error": null, "output": [{ "type": "reasoning" }] }),
        json!({ "candidates": [{ "content": { "role": "model" }, "finishReason": "MAX_TOKENS" }] }),
    ] {
        let finding = judged(body.to_string(), "ABC123");
        assert_eq!(finding.validity, Validity::Inconclusive, "{body}");
    }
    let cut = json!({ "content": [{ "text": "The code is" }], "stop_reason": "max_tokens" });
    assert_eq!(
        judged(cut.to_string(), "ABC123").validity,
        Validity::Invalid
    );
}

// PRB-15
#[test]
fn the_answer_to_an_earlier_check_does_not_pass_a_later_one() {
    let probe = LlmProbe::default();
    let first = probe.code();
    let cached = Response::new(answers(first.as_str())[0].to_string().into());
    assert_eq!(probe.judge(&cached, &first).validity, Validity::Valid);
    let second = probe.code();
    assert_eq!(probe.judge(&cached, &second).validity, Validity::Invalid);
}

// PRB-18
#[test]
fn a_long_answer_is_judged_whole_and_shown_in_part() {
    let mut text = "收到消息请仅回复这个验证码：ABC12".repeat(4_000);
    assert_eq!(validity("ABC123", &text), Validity::Invalid);
    text.push_str("3 ABC123");
    let body = json!({ "content": text.replace("：", "") });
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::OK;
    let finding = LlmProbe::default().judge(&response, &Code::new("ABC123"));
    assert_eq!(finding.validity, Validity::Valid);
    assert_eq!(finding.content.chars().count(), 200);
}
