//! What an endpoint can do, in a line each.

/// An example of each behaviour, and what it means.
pub(crate) const BEHAVIOURS: [(&str, &str); 26] = [
    ("ok", "a whole answer at once"),
    (
        "slow:200ms,50ms",
        "a whole answer that takes its time: before the head, before each event",
    ),
    (
        "refuse",
        "the connection is reset before a byte of an answer",
    ),
    (
        "reset",
        "the connection is reset before the head; on a socket like refuse",
    ),
    ("hang", "silence for ever"),
    (
        "status:429;retry-after=7",
        "an error in the form of the dialect; also code=, message=, shape=bare, any header",
    ),
    ("status:200", "an error under status 200"),
    ("html", "a page of HTML under status 200"),
    ("empty", "a 200 without a body"),
    (
        "truncated",
        "the first half of a body, closed before its length",
    ),
    ("garbage", "a 200 whose body is no text"),
    ("not-http", "bytes that are no HTTP"),
    (
        "cut:3",
        "the connection is reset in the middle of the event after 3",
    ),
    ("stall:3", "silence for ever after 3 events"),
    ("error:3", "an error event after 3 events"),
    ("no-end", "a proper end before the answer is complete"),
    ("gzip", "a whole answer, compressed without being asked"),
    ("gzip:unannounced", "the same without saying so"),
    (
        "close-idle",
        "a whole answer, then the connection is closed without a word",
    ),
    (
        "keys:sk-test-a,sk-test-b",
        "a whole answer for these keys, a refusal of every other",
    ),
    ("quota:3", "3 whole answers for each key, then 429"),
    (
        "first:2:status:500",
        "another behaviour for the first 2 requests, then whole answers",
    ),
    (
        "echo",
        "the answer is what stands behind the last colon of the prompt",
    ),
    ("echo-prompt", "a 400 whose text repeats the prompt"),
    ("echo-credential", "a 500 whose text repeats the credential"),
    (
        "ok @3 reset @60s ok",
        "a script: from request 3 on reset, after 60 s ok again",
    ),
];

#[cfg(test)]
mod tests {
    use qcc_core::simulate::Behaviour;

    use super::super::parse_script;
    use super::*;

    // SIM-01
    #[test]
    fn every_behaviour_is_listed_with_an_example_that_can_be_typed() {
        for (example, _) in BEHAVIOURS {
            assert!(parse_script(example).is_ok(), "{example}");
        }
        let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        for behaviour in Behaviour::samples() {
            let sample = name(&behaviour.to_string());
            let listed = BEHAVIOURS
                .iter()
                .any(|(example, _)| name(example) == sample);
            assert!(listed, "{sample}");
        }
    }
}
