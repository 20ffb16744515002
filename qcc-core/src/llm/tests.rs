//! Answers of all dialects, driven through the classifier as the layer drives it.

use bytes::Bytes;
use http::Response;
use http::response::Parts;

use super::LlmClassifier;
use crate::classify::{Classify, Plan, Progress, Sent, Watch};
use crate::credential::Credential;
use crate::facts::{Dialect, Facts, Operation};
use crate::failure::{Blame, Kind, Verdict};
use crate::record::Usage;
use crate::resource::{Named, Resource, ResourceKind, Resources, Role};
use crate::time::{self, Duration};

const EVENTS: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

// ===== what upstreams send =====

const ANTHROPIC: &[&str] = &[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01A\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":12,\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":5,\"cache_creation\":{\"ephemeral_5m_input_tokens\":3,\"ephemeral_1h_input_tokens\":0},\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi \u{1F600}, \\\"error\\\" event: error\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

const CHAT: &[&str] = &[
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi \u{1F600}\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"error\\\": [DONE]\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5,\"total_tokens\":25,\"prompt_tokens_details\":{\"cached_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
    "data: [DONE]\n\n",
];

const RESPONSES: &[&str] = &[
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"in_progress\",\"error\":null,\"model\":\"gpt-x\",\"output\":[],\"usage\":null}}\n\n",
    "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"in_progress\",\"model\":\"gpt-x\",\"output\":[]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],\"role\":\"assistant\"}}\n\n",
    "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":3,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi \u{1F600} \\\"sequence_number\\\":99\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":5,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hi\"}],\"role\":\"assistant\"}}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":6,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"completed\",\"error\":null,\"model\":\"gpt-x\",\"output\":[],\"usage\":{\"input_tokens\":20,\"input_tokens_details\":{\"cached_tokens\":5},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":25}}}\n\n",
];

const GEMINI: &[&str] = &[
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"totalTokenCount\":20},\"modelVersion\":\"gemini-x\",\"responseId\":\"r1\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi \u{1F600}\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"totalTokenCount\":20},\"modelVersion\":\"gemini-x\",\"responseId\":\"r1\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"!\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"cachedContentTokenCount\":5,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3,\"totalTokenCount\":25},\"modelVersion\":\"gemini-x\",\"responseId\":\"r1\"}\r\n\r\n",
];

/// A whole stream of a dialect, and where in it something is decided.
struct Stream {
    dialect: Dialect,
    events: &'static [&'static str],
    /// The event that commits it.
    commit: usize,
    /// The event with the terminal evidence.
    evidence: usize,
    closing: &'static str,
}

const STREAMS: [Stream; 4] = [
    Stream {
        dialect: Dialect::Anthropic,
        events: ANTHROPIC,
        commit: 3,
        evidence: 5,
        closing: ANTHROPIC_CLOSING,
    },
    Stream {
        dialect: Dialect::Chat,
        events: CHAT,
        commit: 1,
        evidence: 3,
        closing: CHAT_CLOSING,
    },
    Stream {
        dialect: Dialect::Responses,
        events: RESPONSES,
        commit: 4,
        evidence: 6,
        // With the sequence numbers after its third event.
        closing: RESPONSES_CLOSING,
    },
    Stream {
        dialect: Dialect::Gemini,
        events: GEMINI,
        commit: 1,
        evidence: 2,
        closing: GEMINI_CLOSING,
    },
];

const ANTHROPIC_CLOSING: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Stream interrupted\"}}\n\n";
const CHAT_CLOSING: &str = "data: {\"error\":{\"type\":\"server_error\",\"code\":\"upstream_stream_interrupted\",\"message\":\"Stream interrupted\"}}\n\n";
const GEMINI_CLOSING: &str = "data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\"message\":\"Stream interrupted\"}}\r\n\r\n";
const RESPONSES_CLOSING: &str = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":5,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"Stream interrupted\"},\"incomplete_details\":null,\"model\":\"gpt-x\",\"output\":[],\"usage\":null}}\n\nevent: error\ndata: {\"type\":\"error\",\"sequence_number\":6,\"code\":\"server_error\",\"message\":\"Stream interrupted\",\"param\":null,\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"Stream interrupted\",\"param\":null}}\n\n";

// ===== the layer =====

fn facts(dialect: Dialect) -> Facts {
    Facts {
        dialect: Some(dialect),
        operation: Operation::Generate,
        model: Some("m".into()),
        stream: true,
        ..Facts::default()
    }
}

fn head(status: u16, content_type: &str) -> Parts {
    let builder = Response::builder().status(status);
    let response = builder.header("content-type", content_type).body(());
    response.unwrap().into_parts().0
}

fn watch(dialect: Dialect, content_type: &str) -> Box<dyn Watch> {
    let credential = Credential::new("k", "sk-test-0001");
    let facts = facts(dialect);
    let sent = Sent::new(&facts, Some(&credential));
    match LlmClassifier::default().head(sent, &head(200, content_type)) {
        Plan::Watch(watch) => watch,
        plan => panic!("{plan:?}"),
    }
}

/// What became of an answer.
#[derive(Debug, Default)]
struct Seen {
    /// The pieces that committed it, completed it or showed that it is broken.
    progress: Vec<(usize, Progress)>,
    /// What went out, the closing included.
    out: String,
    /// `None` if it broke before its end.
    end: Option<Result<(), Verdict>>,
    closing: Option<String>,
    usage: Option<Usage>,
}

impl Seen {
    fn kind(&self) -> Option<Kind> {
        match (self.progress.last().copied(), self.end) {
            (Some((_, Progress::Broken(verdict))), _) | (_, Some(Err(verdict))) => {
                Some(verdict.kind)
            }
            _ => None,
        }
    }

    fn committed(&self) -> Option<usize> {
        let first = self.progress.first()?;
        matches!(first.1, Progress::Commit | Progress::Complete).then_some(first.0)
    }
}

fn run(mut watch: Box<dyn Watch>, pieces: &[impl AsRef<[u8]>]) -> Seen {
    let mut seen = Seen::default();
    let mut out = Vec::new();
    let mut committed = false;
    let now = time::now();
    for (number, piece) in pieces.iter().enumerate() {
        let progress = watch.data(Bytes::copy_from_slice(piece.as_ref()), now);
        if progress != Progress::More {
            seen.progress.push((number, progress));
        }
        committed |= matches!(progress, Progress::Commit | Progress::Complete);
        while let Some(bytes) = watch.release() {
            assert!(committed, "{bytes:?} went out before the commit point");
            out.extend_from_slice(&bytes);
        }
        if matches!(progress, Progress::Broken(_)) {
            break;
        }
    }
    if seen.kind().is_none() {
        seen.end = Some(watch.end(now));
        committed |= seen.end == Some(Ok(()));
    }
    while let Some(bytes) = watch.release() {
        assert!(committed, "{bytes:?} went out before the commit point");
        out.extend_from_slice(&bytes);
    }
    if seen.kind().is_some() && committed {
        seen.closing = watch.closing().map(|closing| {
            out.extend_from_slice(&closing);
            String::from_utf8(closing.to_vec()).unwrap()
        });
    }
    seen.usage = watch.usage();
    seen.out = String::from_utf8(out).unwrap();
    seen
}

fn stream(dialect: Dialect, events: &[&str]) -> Seen {
    run(watch(dialect, EVENTS), events)
}

fn document(dialect: Dialect, body: &str) -> Seen {
    run(watch(dialect, JSON), &[body])
}

// ===== whole streams =====

#[test]
fn a_whole_stream_goes_out_unchanged_and_tells_its_tokens() {
    for Stream {
        dialect, events, ..
    } in STREAMS
    {
        let seen = stream(dialect, events);
        assert_eq!(seen.out, events.concat(), "{dialect}");
        assert_eq!(seen.end, Some(Ok(())), "{dialect}");
        let usage = Usage {
            input: Some(20),
            cached: Some(5),
            output: Some(5),
        };
        assert_eq!(seen.usage, Some(usage), "{dialect}");
    }
}

#[test]
fn a_chunk_without_tokens_takes_back_nothing() {
    let counted = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7}}\n\n";
    let seen = stream(Dialect::Chat, &[counted, CHAT[0], CHAT[3]]);
    assert_eq!(seen.usage.unwrap().input, Some(7));
}

// STR-05
#[test]
fn a_stream_in_single_bytes_goes_out_unchanged() {
    for Stream {
        dialect, events, ..
    } in STREAMS
    {
        let bytes: Vec<_> = events.concat().bytes().map(|byte| [byte]).collect();
        let seen = run(watch(dialect, EVENTS), &bytes);
        assert_eq!(seen.out, events.concat(), "{dialect}");
        assert_eq!(seen.end, Some(Ok(())), "{dialect}");
    }
}

// STR-01
#[test]
fn the_first_meaningful_event_commits() {
    for Stream {
        dialect,
        events,
        commit,
        ..
    } in STREAMS
    {
        assert_eq!(
            stream(dialect, events).committed(),
            Some(commit),
            "{dialect}"
        );
    }
}

// STR-01
#[test]
fn what_carries_no_output_does_not_commit() {
    let preambles = [
        (
            Dialect::Anthropic,
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
        ),
        (
            Dialect::Anthropic,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\n\n",
        ),
        (
            Dialect::Chat,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]},\"finish_reason\":\"\"}]}\n\n",
        ),
        (
            Dialect::Chat,
            "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
        ),
        (
            Dialect::Responses,
            "event: response.queued\ndata: {\"type\":\"response.queued\",\"response\":{\"id\":\"r\"}}\n\n",
        ),
        (
            Dialect::Responses,
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[]}}\n\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thought\":true}],\"role\":\"model\"}}]}\r\n\r\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"usageMetadata\":{\"promptTokenCount\":1}}\r\n\r\n",
        ),
        (Dialect::Chat, ": OPENROUTER PROCESSING\n\n"),
    ];
    for (dialect, event) in preambles {
        let seen = stream(dialect, &[event]);
        assert_eq!(seen.committed(), None, "{event}");
        assert_eq!(seen.kind(), Some(Kind::Unknown), "{event}");
    }
}

// STR-01
#[test]
fn output_of_any_form_and_unknown_events_commit() {
    let meaningful = [
        (
            Dialect::Anthropic,
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n\n",
        ),
        (Dialect::Anthropic, "event: brand_new\ndata: {}\n\n"),
        (
            Dialect::Anthropic,
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\n",
        ),
        (
            Dialect::Chat,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"Hm\"}}]}\n\n",
        ),
        (
            Dialect::Chat,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
        ),
        (Dialect::Chat, "data: {\"something\":\"new\"}\n\n"),
        (
            Dialect::Responses,
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"\"}}\n\n",
        ),
        (
            Dialect::Responses,
            "data: {\"type\":\"response.reasoning_text.delta\",\"delta\":\"Hm\"}\n\n",
        ),
        (
            Dialect::Responses,
            "event: response.brand_new\ndata: {\"type\":\"response.brand_new\"}\n\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]}}]}\r\n\r\n",
        ),
        (Dialect::Gemini, "data: {\"something\":\"new\"}\r\n\r\n"),
    ];
    for (dialect, event) in meaningful {
        assert_eq!(stream(dialect, &[event]).committed(), Some(0), "{event}");
    }
}

#[test]
fn a_stream_may_be_committed_from_outside() {
    let mut watch = watch(Dialect::Anthropic, EVENTS);
    let now = time::now();
    assert_eq!(watch.hold().bytes, 64 * 1024);
    assert_eq!(watch.hold().time, Some(Duration::from_secs(15)));
    let (whole, part) = ("event: ping\ndata: {}\n\n", "event: pi");
    let data = Bytes::from([whole, part].concat());
    assert_eq!(watch.data(data, now), Progress::More);
    assert_eq!(watch.release(), None);
    watch.commit();
    assert_eq!(watch.release().unwrap(), whole);
    assert_eq!(watch.release(), None);
    let rest = Bytes::from(format!("ng\ndata: {{}}\n\n{}", ANTHROPIC[3]));
    assert_eq!(watch.data(rest, now), Progress::More);
    assert_eq!(watch.release().unwrap(), "event: ping\ndata: {}\n\n");
    assert_eq!(watch.release().unwrap(), ANTHROPIC[3]);
}

// ===== breaks =====

// STR-03, STR-04, STR-05, STR-07
#[test]
fn a_stream_cut_anywhere_gives_whole_events_and_one_closing() {
    for Stream {
        dialect,
        events,
        commit,
        evidence,
        closing,
    } in STREAMS
    {
        let whole = events.concat();
        for cut in 0..whole.len() {
            let seen = run(watch(dialect, EVENTS), &[&whole.as_bytes()[..cut]]);
            let mut end = 0;
            let ends = events.iter().map(|event| {
                end += event.len();
                end
            });
            let came = ends.take_while(|end| *end <= cut).count();
            let prefix = events[..came].concat();
            let context = format!("{dialect} cut at {cut}");
            if came <= commit {
                assert_eq!(seen.out, "", "{context}");
                assert_eq!(seen.kind(), Some(Kind::Unknown), "{context}");
            } else if came <= evidence {
                assert_eq!(seen.kind(), Some(Kind::Transport), "{context}");
                let closing = match dialect {
                    Dialect::Responses => closing
                        .replace("number\":6", &format!("number\":{}", came + 1))
                        .replace("number\":5", &format!("number\":{came}")),
                    _ => closing.to_owned(),
                };
                assert_eq!(seen.out, prefix + &closing, "{context}");
            } else {
                assert_eq!(seen.out, prefix, "{context}");
                assert_eq!(seen.end, Some(Ok(())), "{context}");
            }
        }
    }
}

// STR-07
#[test]
fn the_end_marker_of_chat_alone_is_no_end_and_does_not_go_out() {
    let seen = stream(Dialect::Chat, &[CHAT[0], CHAT[1], "data: [DONE]\n\n"]);
    assert_eq!(seen.kind(), Some(Kind::Transport));
    assert_eq!(seen.out, [CHAT[0], CHAT[1], CHAT_CLOSING].concat());

    let seen = stream(Dialect::Chat, &[CHAT[0], "data: [DONE]\n\n"]);
    assert_eq!((seen.kind(), &*seen.out), (Some(Kind::Unknown), ""));
}

// STR-07
#[test]
fn every_choice_has_to_finish() {
    let chunk = |index: u32, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"x\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let both = [chunk(0, "null"), chunk(1, "null"), chunk(0, "\"stop\"")];
    let both: Vec<_> = both.iter().map(String::as_str).collect();
    assert_eq!(stream(Dialect::Chat, &both).kind(), Some(Kind::Transport));
    let last = chunk(1, "\"length\"");
    let all = [&both[..], &[&last]].concat();
    assert_eq!(stream(Dialect::Chat, &all).end, Some(Ok(())));
}

// STR-07
#[test]
fn other_terminal_evidence_is_accepted() {
    let incomplete = "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{\"id\":\"resp_1\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n";
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n";
    let stop = ANTHROPIC[6];
    for (dialect, event) in [
        (Dialect::Responses, incomplete),
        (Dialect::Gemini, blocked),
        (Dialect::Anthropic, stop),
    ] {
        let seen = stream(dialect, &[event]);
        assert_eq!((seen.end, &*seen.out), (Some(Ok(())), event), "{dialect}");
    }
}

#[test]
fn what_follows_the_end_marker_passes() {
    let mut events = RESPONSES.to_vec();
    events.push("data: [DONE]\n\n");
    let seen = stream(Dialect::Responses, &events);
    assert_eq!(seen.end, Some(Ok(())));
    assert_eq!(seen.out, events.concat());
    let complete = (RESPONSES.len() - 1, Progress::Complete);
    assert_eq!(seen.progress.last(), Some(&complete));
}

// STR-04
#[test]
fn without_an_id_responses_are_closed_by_the_error_event_alone() {
    let seen = stream(Dialect::Responses, &[RESPONSES[4]]);
    let (_, error) = RESPONSES_CLOSING.split_at(RESPONSES_CLOSING.find("event: error").unwrap());
    assert_eq!(
        seen.closing.unwrap(),
        error.replace("number\":6", "number\":5")
    );
}

// STR-04
#[test]
fn an_idle_stream_that_has_ended_is_not_closed_by_an_error() {
    let mut watch = watch(Dialect::Chat, EVENTS);
    for chunk in &CHAT[..4] {
        watch.data(Bytes::from_static(chunk.as_bytes()), time::now());
    }
    assert_eq!(watch.closing().unwrap(), "");
}

// ===== errors inside of a stream =====

const ANTHROPIC_ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy, sk-test-0001\"},\"request_id\":\"req_x\"}\n\n";
const CHAT_ERROR: &str = "data: {\"error\":{\"message\":\"busy, sk-test-0001\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n";
const OPENROUTER_ERROR: &str = "data: {\"id\":\"gen-1\",\"object\":\"chat.completion.chunk\",\"error\":{\"code\":\"server_error\",\"message\":\"busy, sk-test-0001\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
const NESTED_ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":5,\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"busy, sk-test-0001\",\"param\":null}}\n\n";
const FLAT_ERROR: &str = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":5,\"code\":\"server_error\",\"message\":\"busy, sk-test-0001\",\"param\":null}\n\n";
const FAILED: &str = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":5,\"response\":{\"id\":\"resp_1\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"busy, sk-test-0001\"},\"output\":[]}}\n\n";
const GEMINI_ERROR: &str = "data: {\"error\":{\"code\":503,\"message\":\"busy, sk-test-0001\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n";

const ERRORS: [(Dialect, &str, Kind); 7] = [
    (Dialect::Anthropic, ANTHROPIC_ERROR, Kind::Overloaded),
    (Dialect::Chat, CHAT_ERROR, Kind::Server),
    (Dialect::Chat, OPENROUTER_ERROR, Kind::Server),
    (Dialect::Responses, NESTED_ERROR, Kind::Server),
    (Dialect::Responses, FLAT_ERROR, Kind::Server),
    (Dialect::Responses, FAILED, Kind::Server),
    (Dialect::Gemini, GEMINI_ERROR, Kind::Overloaded),
];

fn stream_of(dialect: Dialect) -> &'static Stream {
    let mut streams = const { &STREAMS }.iter();
    streams.find(|stream| stream.dialect == dialect).unwrap()
}

// STR-03, CLS-02
#[test]
fn an_error_before_the_commit_point_leaves_nothing_behind() {
    for (dialect, error, kind) in ERRORS {
        let Stream { events, commit, .. } = stream_of(dialect);
        for first in 0..=*commit {
            let seen = stream(dialect, &[&events[..first], &[error]].concat());
            assert_eq!(seen.kind(), Some(kind), "{error}");
            assert_eq!(seen.out, "", "{error}");
        }
    }
}

// STR-03
#[test]
fn an_error_in_the_frame_that_would_commit_is_not_seen_by_the_client() {
    for (dialect, error, kind) in ERRORS {
        let Stream { events, commit, .. } = stream_of(dialect);
        let frame = events[..=*commit].concat() + error;
        let seen = stream(dialect, &[&frame]);
        assert_eq!((seen.kind(), &*seen.out), (Some(kind), ""), "{error}");
    }
}

// STR-04
#[test]
fn the_upstreams_own_error_goes_out_redacted_and_nothing_after_it() {
    for (dialect, error, kind) in ERRORS {
        let Stream { events, commit, .. } = stream_of(dialect);
        let begin = &events[..=*commit];
        let last = format!("{error}{}", events[*commit]);
        let seen = stream(dialect, &[begin, &[&last]].concat());
        assert_eq!(seen.kind(), Some(kind), "{error}");
        let clean = error.replace("sk-test-0001", "[redacted]");
        let expected = begin.concat() + &clean;
        assert!(seen.out.starts_with(&expected), "{}", seen.out);
        let afterword = seen.closing.unwrap();
        assert_eq!(seen.out, expected + &afterword);
        if ![FLAT_ERROR, FAILED].contains(&error) {
            assert_eq!(afterword, "", "{error}");
        }
    }
}

// STR-04
#[test]
fn an_error_that_sdks_overlook_is_said_again() {
    let expected = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":6,\"code\":\"server_error\",\"message\":\"busy, [redacted]\",\"param\":null,\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"busy, [redacted]\",\"param\":null}}\n\n";
    for error in [FLAT_ERROR, FAILED] {
        let seen = stream(Dialect::Responses, &[&RESPONSES[..5], &[error]].concat());
        assert_eq!(seen.closing.unwrap(), expected, "{error}");

        let callers = error.replace("server_error", "invalid_prompt");
        let seen = stream(
            Dialect::Responses,
            &[&RESPONSES[..5], &[&*callers]].concat(),
        );
        assert_eq!(seen.kind(), Some(Kind::InvalidRequest), "{error}");
        assert_eq!(seen.closing.unwrap(), "", "{error}");
    }
}

// STR-04
#[test]
fn an_error_in_a_form_that_clients_skip_is_replaced_by_the_closing() {
    let unnamed = ANTHROPIC_ERROR.strip_prefix("event: error\n").unwrap();
    let bare = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"busy\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n";
    let bare_event = format!("{bare}\n");
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n";
    let named = "event: error\ndata: {\"message\":\"busy\",\"code\":\"server_error\"}\n\n";
    for (dialect, error, kind) in [
        (Dialect::Anthropic, unnamed, Kind::Overloaded),
        (Dialect::Gemini, bare, Kind::Overloaded),
        (Dialect::Gemini, &bare_event, Kind::Overloaded),
        (Dialect::Chat, finish, Kind::Unknown),
        (Dialect::Chat, named, Kind::Server),
    ] {
        let Stream {
            events,
            commit,
            closing,
            ..
        } = stream_of(dialect);
        let begin = &events[..=*commit];
        let seen = stream(dialect, &[begin, &[error]].concat());
        assert_eq!(seen.kind(), Some(kind), "{error}");
        assert_eq!(seen.out, begin.concat() + closing, "{error}");

        let seen = stream(dialect, &[&events[..*commit], &[error]].concat());
        assert_eq!((seen.kind(), &*seen.out), (Some(kind), ""), "{error}");
    }
}

// CLS-04
#[test]
fn output_that_speaks_of_errors_is_output() {
    let text = "\\\"error\\\": rate limit, unauthorized, quota exceeded";
    for (dialect, event) in [
        (
            Dialect::Anthropic,
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
            ),
        ),
        (
            Dialect::Chat,
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
            ),
        ),
        (
            Dialect::Chat,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"error\"}}]}\n\n".to_owned(),
        ),
        (
            Dialect::Responses,
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"{text}\"}}\n\n"
            ),
        ),
        (
            Dialect::Gemini,
            format!(
                "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}\r\n\r\n"
            ),
        ),
    ] {
        let Stream { events, .. } = stream_of(dialect);
        let seen = stream(dialect, &[&[&*event, &*event], *events].concat());
        assert_eq!(seen.end, Some(Ok(())), "{event}");
    }
    let answer =
        r#"{"type":"message","content":[{"type":"text","text":"{\"error\":\"rate limit\"}"}]}"#;
    assert_eq!(document(Dialect::Anthropic, answer).end, Some(Ok(())));
}

// ===== documents =====

const ANSWERS: [(Dialect, &str); 4] = [
    (
        Dialect::Anthropic,
        r#"{"id":"msg_1","type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":15,"cache_read_input_tokens":5,"output_tokens":5}}"#,
    ),
    (
        Dialect::Chat,
        r#"{"id":"c","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":5}}}"#,
    ),
    (
        Dialect::Responses,
        r#"{"id":"resp_1","object":"response","error":null,"output":[],"usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":5},"output_tokens":5}}"#,
    ),
    (
        Dialect::Gemini,
        "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]},\n{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":20,\"cachedContentTokenCount\":5,\"candidatesTokenCount\":5}}]",
    ),
];

// STR-12
#[test]
fn a_document_is_held_until_it_is_complete() {
    for (dialect, answer) in ANSWERS {
        for content_type in [JSON, EVENTS] {
            let bytes: Vec<_> = answer.bytes().map(|byte| [byte]).collect();
            let seen = run(watch(dialect, content_type), &bytes);
            assert_eq!(seen.progress, [], "{dialect}");
            assert_eq!((seen.end, &*seen.out), (Some(Ok(())), answer), "{dialect}");
            let usage = Usage {
                input: Some(20),
                cached: Some(5),
                output: Some(5),
            };
            assert_eq!(seen.usage, Some(usage), "{dialect}");
        }
    }
}

// STR-12
#[test]
fn a_truncated_document_is_no_answer() {
    for (dialect, answer) in ANSWERS {
        for cut in 0..answer.len() {
            let seen = document(dialect, &answer[..cut]);
            assert_eq!(seen.kind(), Some(Kind::Unknown), "{dialect} cut at {cut}");
            assert_eq!(seen.out, "", "{dialect} cut at {cut}");
        }
    }
}

// CLS-02, CLS-03
#[test]
fn a_success_whose_body_is_an_error_is_judged_by_the_body() {
    for (error, kind) in [
        (r#"{"error":{"type":"authentication_error"}}"#, Kind::Auth),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#,
            Kind::Overloaded,
        ),
        (
            r#"[{"error":{"code":503,"status":"UNAVAILABLE"}}]"#,
            Kind::Overloaded,
        ),
        (r#"{"error":"text"}"#, Kind::Unknown),
        (r#"{"code":1,"message":"text"}"#, Kind::Unknown),
    ] {
        for dialect in Dialect::ALL {
            for content_type in [JSON, EVENTS, "text/html"] {
                let seen = run(watch(dialect, content_type), &[error]);
                assert_eq!(seen.kind(), Some(kind), "{dialect} {error}");
                assert_eq!((seen.closing, &*seen.out), (None, ""), "{dialect} {error}");
            }
        }
    }
}

// CLS-02
#[test]
fn html_garbage_and_nothing_are_unknown() {
    for body in [
        "",
        "\r\n",
        "<html>busy</html>",
        "Bad gateway",
        "null",
        "[]",
        "{\"a\":1}}",
    ] {
        for dialect in Dialect::ALL {
            for content_type in [JSON, EVENTS, "text/html"] {
                let seen = run(watch(dialect, content_type), &[body]);
                assert_eq!(seen.kind(), Some(Kind::Unknown), "{dialect} {body:?}");
                assert_eq!(seen.out, "", "{dialect} {body:?}");
            }
        }
    }
}

// STR-12
#[test]
fn past_its_limit_a_document_goes_on_as_it_comes() {
    let (dialect, answer) = ANSWERS[1];
    for cut in 1..answer.len() {
        let mut watch = watch(dialect, JSON);
        let now = time::now();
        assert_eq!(watch.hold().bytes, 8 * 1024 * 1024);
        assert_eq!(watch.hold().time, None);
        watch.data(Bytes::from_static(&answer.as_bytes()[..cut]), now);
        assert_eq!(watch.release(), None);
        watch.commit();
        assert_eq!(watch.release().unwrap(), &answer[..cut]);
        watch.data(Bytes::from_static(&answer.as_bytes()[cut..]), now);
        assert_eq!(watch.release().unwrap(), &answer[cut..]);
        assert_eq!(watch.end(now), Ok(()));
    }
}

// STR-06
#[test]
fn a_document_that_breaks_past_its_limit_is_aborted() {
    let (dialect, answer) = ANSWERS[1];
    let mut watch = watch(dialect, JSON);
    let part = &answer.as_bytes()[..answer.len() - 1];
    watch.commit();
    watch.data(Bytes::from_static(part), time::now());
    assert_eq!(watch.release().unwrap(), part);
    assert_eq!(watch.end(time::now()), Err(Verdict::new(Kind::Transport)));
    assert_eq!(watch.closing(), None);
}

// STR-05
#[test]
fn an_array_that_breaks_past_its_limit_is_closed_behind_a_whole_element() {
    let (dialect, answer) = ANSWERS[3];
    for cut in 1..answer.len() {
        let mut watch = watch(dialect, JSON);
        watch.data(Bytes::from_static(&answer.as_bytes()[..cut]), time::now());
        watch.commit();
        assert!(watch.end(time::now()).is_err(), "cut at {cut}");
        let mut out = Vec::new();
        while let Some(bytes) = watch.release() {
            out.extend_from_slice(&bytes);
        }
        out.extend_from_slice(&watch.closing().unwrap());
        let out: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let last = out.as_array().unwrap().last().unwrap();
        assert_eq!(last["error"]["status"], "UNAVAILABLE", "cut at {cut}");
    }
}

#[test]
fn a_stream_with_the_content_type_of_a_document_is_a_stream() {
    for Stream {
        dialect,
        events,
        commit,
        ..
    } in STREAMS
    {
        let seen = run(watch(dialect, JSON), events);
        assert_eq!(seen.committed(), Some(commit), "{dialect}");
        assert_eq!(seen.out, events.concat(), "{dialect}");
        let bytes: Vec<_> = events.concat().bytes().map(|byte| [byte]).collect();
        assert_eq!(run(watch(dialect, JSON), &bytes).out, events.concat());
    }
}

// ===== heads =====

fn plan(operation: Operation, head: &Parts) -> Plan {
    let facts = Facts {
        operation,
        ..facts(Dialect::Anthropic)
    };
    LlmClassifier::default().head(Sent::new(&facts, None), head)
}

fn failure(operation: Operation, head: &Parts, body: &str) -> Verdict {
    let facts = Facts {
        operation,
        ..facts(Dialect::Anthropic)
    };
    assert!(matches!(plan(operation, head), Plan::Fail));
    let sent = Sent::new(&facts, None);
    LlmClassifier::default().failure(sent, head, body.as_bytes(), time::now())
}

// STR-02
#[test]
fn an_error_status_fails_before_a_byte_of_the_body() {
    for (status, kind) in [
        (401, Kind::Auth),
        (429, Kind::RateLimit),
        (500, Kind::Server),
    ] {
        let error = r#"{"type":"error","error":{"type":"x","message":"y"}}"#;
        let verdict = failure(Operation::Generate, &head(status, EVENTS), error);
        assert_eq!(verdict.kind, kind, "{status}");
    }
}

#[test]
fn only_answers_of_generation_routes_are_watched() {
    let head = head(200, JSON);
    assert!(matches!(plan(Operation::Generate, &head), Plan::Watch(_)));
    assert!(matches!(plan(Operation::CountTokens, &head), Plan::Pass));
    assert!(matches!(plan(Operation::Other, &head), Plan::Pass));
}

#[test]
fn an_answer_that_is_encoded_still_is_garbage() {
    let mut head = head(200, EVENTS);
    head.headers
        .insert("content-encoding", "gzip".parse().unwrap());
    let verdict = failure(Operation::Generate, &head, "");
    assert_eq!(verdict, Verdict::new(Kind::Unknown));
    head.headers
        .insert("content-encoding", "Identity".parse().unwrap());
    assert!(matches!(plan(Operation::Generate, &head), Plan::Watch(_)));
}

// CLS-14
#[test]
fn a_failed_count_of_tokens_never_blames_the_endpoint() {
    for status in [400, 404, 405, 413, 500, 502, 503, 529] {
        let verdict = failure(Operation::CountTokens, &head(status, JSON), "{}");
        assert_eq!(verdict, Verdict::new(Kind::InvalidRequest), "{status}");
    }
    let error = r#"{"type":"error","error":{"type":"authentication_error","message":"no"}}"#;
    let verdict = failure(Operation::CountTokens, &head(401, JSON), error);
    assert_eq!(verdict.kind, Kind::Auth);
    assert_ne!(verdict.blame, Blame::Endpoint);
}

#[test]
fn on_other_routes_a_bad_request_is_the_callers() {
    for (status, blame) in [
        (400, Blame::Caller),
        (404, Blame::Caller),
        (409, Blame::Caller),
        (401, Blame::Credential),
        (429, Blame::Credential),
        (503, Blame::Endpoint),
    ] {
        let verdict = failure(Operation::Other, &head(status, JSON), "{}");
        assert_eq!(verdict.blame, blame, "{status}");
    }
}

// ===== what was made =====

/// What an answer to a request that makes `makes` has told when all of it came.
fn made(dialect: Dialect, makes: ResourceKind, kind: &str, pieces: &[&str]) -> Resources {
    let mut facts = facts(dialect);
    facts.makes = Some(makes);
    told(&facts, kind, pieces)
}

fn told(facts: &Facts, kind: &str, pieces: &[&str]) -> Resources {
    let (head, ()) = Response::builder()
        .header("content-type", kind)
        .body(())
        .unwrap()
        .into_parts();
    let Plan::Watch(mut watch) = LlmClassifier::default().head(Sent::new(facts, None), &head)
    else {
        panic!("not watched");
    };
    let mut made = Resources::new();
    let mut released = 0;
    for piece in pieces {
        watch.data(Bytes::copy_from_slice(piece.as_bytes()), time::now());
        made.extend(watch.made());
        released += std::iter::from_fn(|| watch.release())
            .map(|bytes| bytes.len())
            .sum::<usize>();
    }
    assert_eq!(watch.end(time::now()), Ok(()));
    made.extend(watch.made());
    released += std::iter::from_fn(|| watch.release())
        .map(|bytes| bytes.len())
        .sum::<usize>();
    assert_eq!(
        released,
        pieces.iter().map(|piece| piece.len()).sum::<usize>()
    );
    made
}

fn one(kind: ResourceKind, id: &str) -> Resources {
    [Resource::new(kind, id)].into_iter().collect()
}

// AFF-19
#[test]
fn a_response_tells_its_id_and_its_containers() {
    use ResourceKind::{Container, Response};
    let (responses, stream) = (Dialect::Responses, EVENTS);
    assert_eq!(
        made(responses, Response, stream, RESPONSES),
        one(Response, "resp_1")
    );
    assert_eq!(
        made(responses, Container, stream, RESPONSES),
        Resources::new()
    );
    let item = "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":7,\"item\":{\"type\":\"code_interpreter_call\",\"container_id\":\"cntr_1\"}}\n\n";
    let mut events = RESPONSES.to_vec();
    events.insert(5, item);
    assert_eq!(
        made(responses, Container, stream, &events),
        one(Container, "cntr_1")
    );

    let whole = r#"{"id":"resp_1","object":"response","output":[{"container_id":"cntr_1"},
        {"container_id":"cntr_1","text":"\"container_id\":\"x\""}]}"#;
    let both = one(Response, "resp_1")
        .into_iter()
        .chain(one(Container, "cntr_1"));
    assert_eq!(
        made(responses, Response, JSON, &[whole]),
        both.collect::<Resources>()
    );
    assert_eq!(
        made(responses, Container, JSON, &[whole]),
        one(Container, "cntr_1")
    );
}

// AFF-19
#[test]
fn a_message_tells_its_container_and_nothing_else() {
    use ResourceKind::Container;
    let whole = r#"{"id":"msg_1","type":"message","content":[],"container":{"id":"container_1"}}"#;
    assert_eq!(
        made(Dialect::Anthropic, Container, JSON, &[whole]),
        one(Container, "container_1")
    );
    let mut events = ANTHROPIC.to_vec();
    assert_eq!(
        made(Dialect::Anthropic, Container, EVENTS, &events),
        Resources::new()
    );
    events[5] = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"container\":{\"id\":\"container_1\"}},\"usage\":{\"output_tokens\":5}}\n\n";
    assert_eq!(
        made(Dialect::Anthropic, Container, EVENTS, &events),
        one(Container, "container_1")
    );
}

// AFF-19
#[test]
fn a_receipt_tells_what_was_made_in_the_words_of_each_vendor() {
    use ResourceKind::{Batch, CachedContent, File, Upload};
    let facts = |makes| Facts {
        makes: Some(makes),
        ..Facts::default()
    };
    for (makes, receipt, expected) in [
        (
            File,
            r#"{"id":"file-1","object":"file"}"#,
            one(File, "file-1"),
        ),
        (Upload, r#"{"id":"upload_1"}"#, one(Upload, "upload_1")),
        (
            Batch,
            r#"{"id":"msgbatch_1","type":"message_batch"}"#,
            one(Batch, "msgbatch_1"),
        ),
        (Batch, r#"{"name":"batches/1"}"#, one(Batch, "1")),
        (
            CachedContent,
            r#"{"name":"cachedContents/c"}"#,
            one(CachedContent, "c"),
        ),
        (
            File,
            r#"{"file":{"name":"files/f","uri":"https://h/v1beta/files/f"}}"#,
            one(File, "f"),
        ),
        (File, r#"{"id":7,"name":null}"#, Resources::new()),
        (File, r#"[{"id":"x"}]"#, Resources::new()),
    ] {
        for cut in [0, 1, receipt.len() / 2] {
            let (begin, rest) = receipt.split_at(cut);
            let pieces: Vec<_> = [begin, rest]
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect();
            assert_eq!(told(&facts(makes), JSON, &pieces), expected, "{receipt}");
        }
    }

    // An answer about a batch or an upload tells of files.
    let mut about = facts(File);
    let named = Named::new(Resource::new(Batch, "b"), Role::Subject);
    about.resources.push(named);
    for (answer, expected) in [
        (
            r#"{"id":"b","status":"in_progress","output_file_id":null}"#,
            Resources::new(),
        ),
        (
            r#"{"id":"b","output_file_id":"file-2"}"#,
            one(File, "file-2"),
        ),
        (r#"{"id":"u","file":{"id":"file-3"}}"#, one(File, "file-3")),
    ] {
        assert_eq!(told(&about, JSON, &[answer]), expected, "{answer}");
    }
}

// AFF-19
#[test]
fn only_a_short_json_answer_is_read_for_what_was_made() {
    let facts = Facts {
        makes: Some(ResourceKind::File),
        ..Facts::default()
    };
    let plan = |headers: &[(&str, &str)]| {
        let builder = headers
            .iter()
            .fold(Response::builder(), |builder, (name, value)| {
                builder.header(*name, *value)
            });
        let (head, ()) = builder.body(()).unwrap().into_parts();
        format!(
            "{:?}",
            LlmClassifier::default().head(Sent::new(&facts, None), &head)
        )
    };
    let json = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(plan(&[json]), "Watch");
    assert_eq!(plan(&[json, ("content-length", "65536")]), "Watch");
    assert_eq!(plan(&[json, ("content-length", "65537")]), "Pass");
    assert_eq!(plan(&[json, ("content-encoding", "gzip")]), "Pass");
    assert_eq!(plan(&[("content-type", "application/x-jsonl")]), "Pass");
    assert_eq!(plan(&[]), "Pass");

    // One that turns out to be long goes on as it comes, unread.
    let long = format!("{{\"x\":\"{}\",\"id\":\"file-1\"}}", "y".repeat(70_000));
    let (begin, rest) = long.split_at(69_000);
    assert_eq!(told(&facts, JSON, &[begin, rest]), Resources::new());
}

// AFF-19
#[test]
fn what_is_not_there_is_told_apart_from_what_fails() {
    use ResourceKind::{Batch, File, Response};
    let missing = |operation, named: ResourceKind, role, status: u16, body: &str| {
        let mut facts = facts(Dialect::Responses);
        facts.operation = operation;
        facts
            .resources
            .push(Named::new(Resource::new(named, "x"), role));
        let (head, ()) = http::Response::builder()
            .status(status)
            .body(())
            .unwrap()
            .into_parts();
        let sent = Sent::new(&facts, None);
        LlmClassifier::default().missing(sent, &head, body.as_bytes())
    };
    let (generate, other) = (Operation::Generate, Operation::Other);
    let lost = r#"{"error":{"code":"previous_response_not_found"}}"#;
    assert_eq!(
        missing(generate, Response, Role::Mention, 400, lost),
        Some(Response)
    );
    assert_eq!(missing(generate, Response, Role::Mention, 500, lost), None);
    assert_eq!(missing(generate, Response, Role::Mention, 404, "{}"), None);
    assert_eq!(missing(other, Batch, Role::Subject, 404, "{}"), Some(Batch));
    assert_eq!(missing(other, Batch, Role::Parent, 404, "{}"), None);
    assert_eq!(missing(other, Batch, Role::Subject, 403, "{}"), None);
    let gemini = "You do not have permission to access the File x or it may not exist.";
    assert_eq!(
        missing(generate, File, Role::Mention, 403, gemini),
        Some(File)
    );
}

// AFF-19, CLS-12
#[test]
fn an_account_without_a_file_is_not_to_blame() {
    for (dialect, status, body) in [
        (
            Dialect::Anthropic,
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"File not found: file_1"}}"#,
        ),
        (
            Dialect::Chat,
            404,
            r#"{"error":{"message":"No such File object: file-1","type":"invalid_request_error"}}"#,
        ),
        (
            Dialect::Responses,
            404,
            r#"{"error":{"message":"Container with id 'cntr_1' not found.","type":"invalid_request_error"}}"#,
        ),
        (
            Dialect::Gemini,
            403,
            r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"You do not have permission to access the File f or it may not exist."}}"#,
        ),
        (
            Dialect::Gemini,
            403,
            r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"CachedContent not found (or permission denied)"}}"#,
        ),
    ] {
        let facts = facts(dialect);
        let (head, ()) = Response::builder()
            .status(status)
            .body(())
            .unwrap()
            .into_parts();
        let verdict = LlmClassifier::default().failure(
            Sent::new(&facts, None),
            &head,
            body.as_bytes(),
            time::now(),
        );
        assert_eq!(verdict.kind, Kind::InvalidRequest, "{body}");
    }
}
