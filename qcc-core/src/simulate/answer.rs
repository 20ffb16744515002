//! The bytes of good answers, as the vendors write them. Pure.
//!
//! Written out as text and not put together from values, so that keys stand in the order in
//! which vendors send them.

use bytes::Bytes;
use serde_json::Value;

use super::asked::{Asked, Operation};
use super::kept::Wanted;
use crate::facts::Dialect;

/// Tokens that every prompt has.
const INPUT: u32 = 12;

/// What a good answer says.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The end of all ids in the answer.
    pub(super) id: String,
    /// The end of the id of what is kept, which no other endpoint gives.
    pub(super) kept: String,
    pub(super) text: String,
    /// In how many events the text is streamed.
    pub(super) deltas: usize,
}

/// A streamed answer, in events that each end with a blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) frames: Vec<Bytes>,
    /// How many of them come before the first that says that the answer is complete.
    pub(super) incomplete: usize,
}

/// `text` as JSON.
pub(super) fn json(text: &str) -> Value {
    Value::from(text)
}

/// An answer that is not streamed.
pub(super) fn whole(asked: &Asked, reply: &Reply) -> String {
    match (asked.operation, asked.dialect) {
        (Operation::CountTokens, Dialect::Gemini) => format!(r#"{{"totalTokens":{INPUT}}}"#),
        (Operation::CountTokens, Dialect::Responses) => {
            format!(r#"{{"object":"response.input_tokens","input_tokens":{INPUT}}}"#)
        }
        (Operation::CountTokens, _) => format!(r#"{{"input_tokens":{INPUT}}}"#),
        (Operation::Models, dialect) => models(dialect),
        (Operation::Kept(collection, wanted), dialect) => {
            let id = match asked.named.first() {
                Some(id) if wanted != Wanted::Make => id,
                _ => &collection.id(&reply.kept),
            };
            collection.answer(dialect, id, wanted)
        }
        (_, dialect) => message(dialect, asked, reply),
    }
}

fn models(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => concat!(
            r#"{"data":[{"type":"model","id":"simulated","display_name":"Simulated","#,
            r#""created_at":"2026-01-01T00:00:00Z"}],"#,
            r#""has_more":false,"first_id":"simulated","last_id":"simulated"}"#,
        ),
        Dialect::Chat | Dialect::Responses => concat!(
            r#"{"object":"list","data":[{"id":"simulated","object":"model","created":1,"#,
            r#""owned_by":"qcc"}]}"#,
        ),
        Dialect::Gemini => concat!(
            r#"{"models":[{"name":"models/simulated","displayName":"Simulated","#,
            r#""supportedGenerationMethods":["generateContent","countTokens"]}]}"#,
        ),
    }
    .to_owned()
}

fn message(dialect: Dialect, asked: &Asked, reply: &Reply) -> String {
    let id = &reply.id;
    let model = json(&asked.model);
    let text = json(&reply.text);
    let output = reply.deltas;
    match dialect {
        Dialect::Anthropic => format!(
            concat!(
                r#"{{"id":"msg_{id}","type":"message","role":"assistant","model":{model},"#,
                r#""content":[{{"type":"text","text":{text}}}],"#,
                r#""stop_reason":"end_turn","stop_sequence":null,"#,
                r#""usage":{{"input_tokens":{input},"cache_creation_input_tokens":0,"#,
                r#""cache_read_input_tokens":0,"output_tokens":{output},"#,
                r#""service_tier":"standard"}}}}"#,
            ),
            id = id,
            model = model,
            text = text,
            input = INPUT,
            output = output,
        ),
        Dialect::Chat => format!(
            concat!(
                r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":1,"model":{model},"#,
                r#""choices":[{{"index":0,"message":{{"role":"assistant","content":{text}}},"#,
                r#""finish_reason":"stop"}}],"usage":{usage}}}"#,
            ),
            id = id,
            model = model,
            text = text,
            usage = chat_usage(output),
        ),
        Dialect::Responses => response(asked, reply, "completed"),
        Dialect::Gemini => gemini_chunk(asked, reply, &reply.text, true),
    }
}

/// A streamed answer.
pub(super) fn events(asked: &Asked, reply: &Reply, usage: bool) -> Events {
    match asked.dialect {
        Dialect::Anthropic => anthropic(asked, reply),
        Dialect::Chat => chat(asked, reply, usage),
        Dialect::Responses => responses(asked, reply),
        Dialect::Gemini => {
            let chunks = gemini(asked, reply);
            let frames = chunks
                .into_iter()
                .map(|chunk| format!("data: {chunk}\r\n\r\n"));
            Events::new(frames, 1)
        }
    }
}

/// A streamed answer of Gemini without SSE: the pieces of one array.
pub(super) fn array(asked: &Asked, reply: &Reply) -> Events {
    let chunks = gemini(asked, reply);
    let last = chunks.len() - 1;
    let frames = chunks.into_iter().enumerate().map(|(index, chunk)| {
        let before = if index == 0 { "[" } else { ",\n" };
        let after = if index == last { "]" } else { "" };
        format!("{before}{chunk}{after}")
    });
    Events::new(frames, 1)
}

impl Events {
    /// Events of which so many at the end say that the answer is complete.
    fn new(frames: impl IntoIterator<Item = String>, end: usize) -> Self {
        let frames: Vec<_> = frames.into_iter().map(Bytes::from).collect();
        let incomplete = frames.len() - end;
        Self { frames, incomplete }
    }
}

impl Reply {
    /// The id of a response.
    pub(super) fn response_id(&self) -> String {
        format!("resp_{}", self.kept)
    }

    /// The text in as many pieces as there are to be, at least one.
    fn pieces(&self) -> impl Iterator<Item = &str> {
        let ends: Vec<_> = self
            .text
            .char_indices()
            .map(|(start, char)| start + char.len_utf8())
            .collect();
        let count = self.deltas.clamp(1, ends.len().max(1));
        let end = move |piece: usize| match piece * ends.len() / count {
            0 => 0,
            chars => ends[chars - 1],
        };
        (0..count).map(move |piece| &self.text[end(piece)..end(piece + 1)])
    }
}

fn named(event: &str, data: &str) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

fn anthropic(asked: &Asked, reply: &Reply) -> Events {
    let id = &reply.id;
    let model = json(&asked.model);
    let output = reply.deltas;
    let start = format!(
        concat!(
            r#"{{"type":"message_start","message":{{"id":"msg_{id}","type":"message","#,
            r#""role":"assistant","model":{model},"content":[],"stop_reason":null,"#,
            r#""stop_sequence":null,"usage":{{"input_tokens":{input},"#,
            r#""cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1,"#,
            r#""service_tier":"standard"}}}}}}"#,
        ),
        id = id,
        model = model,
        input = INPUT,
    );
    let mut frames = vec![
        named("message_start", &start),
        named(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        named("ping", r#"{"type":"ping"}"#),
    ];
    frames.extend(reply.pieces().map(|piece| {
        let text = json(piece);
        let delta = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}}}"#
        );
        named("content_block_delta", &delta)
    }));
    let end = format!(
        concat!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","#,
            r#""stop_sequence":null}},"usage":{{"output_tokens":{output}}}}}"#,
        ),
        output = output,
    );
    frames.push(named(
        "content_block_stop",
        r#"{"type":"content_block_stop","index":0}"#,
    ));
    frames.push(named("message_delta", &end));
    frames.push(named("message_stop", r#"{"type":"message_stop"}"#));
    Events::new(frames, 2)
}

fn chat(asked: &Asked, reply: &Reply, usage: bool) -> Events {
    let head = format!(
        r#""id":"chatcmpl-{}","object":"chat.completion.chunk","created":1,"model":{}"#,
        reply.id,
        json(&asked.model)
    );
    let null = if usage { r#","usage":null"# } else { "" };
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{{head},\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]{null}}}\n\n"
        )
    };
    let mut frames = vec![chunk(r#"{"role":"assistant","content":""}"#, "null")];
    frames.extend(
        reply
            .pieces()
            .map(|piece| chunk(&format!(r#"{{"content":{}}}"#, json(piece)), "null")),
    );
    let before_end = frames.len();
    frames.push(chunk("{}", r#""stop""#));
    if usage {
        let usage = chat_usage(reply.deltas);
        frames.push(format!(
            "data: {{{head},\"choices\":[],\"usage\":{usage}}}\n\n"
        ));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    let end = frames.len() - before_end;
    Events::new(frames, end)
}

fn chat_usage(output: usize) -> String {
    format!(
        concat!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"#,
            r#""prompt_tokens_details":{{"cached_tokens":0}},"#,
            r#""completion_tokens_details":{{"reasoning_tokens":0}}}}"#,
        ),
        input = INPUT,
        output = output,
        total = INPUT as usize + output,
    )
}

fn responses(asked: &Asked, reply: &Reply) -> Events {
    let id = &reply.id;
    let mut frames = Vec::new();
    let mut push = |event: &str, rest: &str| {
        let number = frames.len();
        let data = format!(r#"{{"type":"{event}","sequence_number":{number},{rest}}}"#);
        frames.push(named(event, &data));
    };
    let begun = format!(r#""response":{}"#, response(asked, reply, "in_progress"));
    push("response.created", &begun);
    push("response.in_progress", &begun);
    let item = |status: &str, content: &str| {
        format!(
            r#""output_index":0,"item":{{"id":"msg_{id}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#
        )
    };
    let place = format!(r#""item_id":"msg_{id}","output_index":0,"content_index":0"#);
    let text = json(&reply.text);
    push("response.output_item.added", &item("in_progress", ""));
    push(
        "response.content_part.added",
        &format!(r#"{place},"part":{{"type":"output_text","text":"","annotations":[]}}"#),
    );
    for piece in reply.pieces() {
        push(
            "response.output_text.delta",
            &format!(r#"{place},"delta":{}"#, json(piece)),
        );
    }
    push(
        "response.output_text.done",
        &format!(r#"{place},"text":{text}"#),
    );
    let part = format!(r#"{{"type":"output_text","text":{text},"annotations":[]}}"#);
    push(
        "response.content_part.done",
        &format!(r#"{place},"part":{part}"#),
    );
    push("response.output_item.done", &item("completed", &part));
    push(
        "response.completed",
        &format!(r#""response":{}"#, response(asked, reply, "completed")),
    );
    Events::new(frames, 1)
}

/// The object that Responses answers with. Output and usage are there when it is completed; an
/// error when it failed.
pub(super) fn response(asked: &Asked, reply: &Reply, status: &str) -> String {
    let id = &reply.id;
    let model = json(&asked.model);
    let mut output = String::new();
    let mut usage = "null".to_owned();
    let mut error = "null";
    match status {
        "completed" => {
            let (text, tokens) = (json(&reply.text), reply.deltas);
            let total = INPUT as usize + tokens;
            output = format!(
                r#"{{"id":"msg_{id}","type":"message","status":"completed","role":"assistant","content":[{{"type":"output_text","text":{text},"annotations":[]}}]}}"#
            );
            usage = format!(
                r#"{{"input_tokens":{INPUT},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{tokens},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{total}}}"#
            );
        }
        "failed" => error = r#"{"code":"server_error","message":"simulated fault"}"#,
        _ => {}
    }
    format!(
        concat!(
            r#"{{"id":"{response}","object":"response","created_at":1,"status":"{status}","#,
            r#""error":{error},"incomplete_details":null,"model":{model},"#,
            r#""output":[{output}],"usage":{usage}}}"#,
        ),
        response = reply.response_id(),
        status = status,
        error = error,
        model = model,
        output = output,
        usage = usage,
    )
}

fn gemini(asked: &Asked, reply: &Reply) -> Vec<String> {
    let mut pieces = reply.pieces().peekable();
    let mut chunks = Vec::new();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        chunks.push(gemini_chunk(asked, reply, piece, is_last));
    }
    chunks
}

fn gemini_chunk(asked: &Asked, reply: &Reply, text: &str, is_last: bool) -> String {
    let output = reply.deltas;
    let (finish, usage) = if is_last {
        let total = INPUT as usize + output;
        let usage = format!(
            r#""promptTokenCount":{INPUT},"candidatesTokenCount":{output},"thoughtsTokenCount":0,"totalTokenCount":{total}"#
        );
        (r#""finishReason":"STOP","#, usage)
    } else {
        let usage = format!(r#""promptTokenCount":{INPUT},"totalTokenCount":{INPUT}"#);
        ("", usage)
    };
    format!(
        concat!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":{text}}}],"role":"model"}},"#,
            r#"{finish}"index":0}}],"usageMetadata":{{{usage}}},"#,
            r#""modelVersion":{model},"responseId":"{id}"}}"#,
        ),
        text = json(text),
        finish = finish,
        usage = usage,
        model = json(&asked.model),
        id = reply.id,
    )
}
