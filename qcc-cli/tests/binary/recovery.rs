//! Checks and the queue, as people operate them: a proxy over simulated upstreams on loopback.

use serde_json::Value;

use crate::client;
use crate::world::World;

impl World {
    /// Lets a simulated endpoint do something else.
    fn set(&self, endpoint: &str, behaviour: &str) {
        let path = format!("/_simulate/{endpoint}");
        let answer = client::post(self.simulator.address, &path, behaviour);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The line about `endpoint` in what a command prints.
    fn line(&self, args: &[&str], endpoint: &str) -> String {
        let (_, text) = self.run(args);
        let line = text
            .lines()
            .find(|line| line.contains(&format!("c/{endpoint}")));
        line.unwrap_or_else(|| panic!("{endpoint} in {text}"))
            .to_owned()
    }
}

const THREE: [(&str, &str); 3] = [
    ("well", "echo"),
    ("plausible", "ok"),
    ("refused", "status:401"),
];

// UPS-18, UPS-21, REC-01, PRB-11, CLI-03
#[test]
fn a_verifying_warm_up_finds_out_who_works_and_a_401_counts_as_one_of_traffic() {
    let world = World::with("verify", &THREE, "warm_up: verify\n", "");
    let log = world.proxy.process.log_until("warm-up: 1/3");
    assert!(log.contains("recognised as invalid endpoint"), "{log}");
    assert!(log.contains("enabled => disabled (auth_failed)"), "{log}");

    let (code, page) = world.run(&["cluster", "status"]);
    assert_eq!(code, 0, "{page}");
    assert!(page.contains("1 of 3 endpoints can be used"), "{page}");
    for text in [
        "in the queue, invalid response (no code): checked next at",
        "in the queue, HTTP 401: checked next at",
        "no code in the answer",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

// CLI-11, CLI-12, CLI-20, PRB-16, REC-12
#[test]
fn endpoints_are_checked_by_hand_and_come_back_with_the_queue() {
    let world = World::with("by-hand", &THREE, "warm_up: off\n", "");
    // Alone, the one that works.
    let (code, page) = world.run(&["probe", "well"]);
    assert_eq!(code, 0, "{page}");
    let (code, page) = world.run(&["queue", "status"]);
    assert_eq!(code, 0, "{page}");
    assert!(page.starts_with("The queue is empty."), "{page}");
    let (code, page) = world.run(&["queue", "retry"]);
    assert_eq!(
        (code, &*page),
        (0, "The queue is empty; nothing was checked.\n")
    );

    // All of them.
    let (code, page) = world.run(&["probe", "--all"]);
    assert_eq!(code, 1, "{page}");
    for (endpoint, verdict, queued) in [
        ("well", " valid", "no"),
        ("plausible", "invalid", "yes"),
        ("refused", "auth_failed", "yes"),
    ] {
        let line = page.lines().find(|line| line.contains(endpoint)).unwrap();
        assert!(line.contains(verdict) && line.contains(queued), "{page}");
    }
    let (code, data) = world.run(&["probe", "plausible", "--json"]);
    assert_eq!(code, 1, "{data}");
    let data: Value = serde_json::from_str(&data).unwrap();
    let check = &data["endpoints"][0]["check"];
    for field in [
        "id",
        "time",
        "message",
        "verification_code",
        "latency_ms",
        "score",
    ] {
        assert!(!check[field].is_null(), "{field}: {check}");
    }
    assert_eq!(
        (&check["result"], &check["valid"]),
        (&"answered".into(), &false.into())
    );
    assert_eq!(check["error"], "no code in the answer");
    assert!(!check["content"].as_str().unwrap().is_empty());

    let queue = ["queue", "status"];
    assert!(
        world
            .line(&queue, "plausible")
            .contains("invalid response (no code)")
    );
    assert!(world.line(&queue, "refused").contains("HTTP 401"));

    // One is mended.
    world.set("plausible", "echo");
    let (code, page) = world.run(&["queue", "retry"]);
    assert_eq!(code, 1, "one is still refused: {page}");
    let line = world.line(&["endpoint", "list"], "plausible");
    assert!(
        line.contains("healthy") && !line.contains("unhealthy"),
        "{line}"
    );
    // The other one, too.
    world.set("refused", "echo");
    let (code, page) = world.run(&["queue", "retry", "refused"]);
    assert_eq!(code, 0, "{page}");
    let (_, page) = world.run(&queue);
    assert!(page.starts_with("The queue is empty."), "{page}");
    assert!(page.contains("2 entered and 2 came back"), "{page}");

    let (code, page) = world.run(&["probe", "nobody"]);
    assert_eq!(code, 6, "{page}");
    assert!(page.contains("c/well"), "{page}");
}

// PRB-22, PRB-23, PRB-13
#[test]
fn the_settings_of_checks_are_those_of_the_file() {
    let settings = "    recovery: { enabled: false, daily: 2 }\n    \
                    probe: { timeout: 50ms, model: mine, language: en, length: 8 }\n";
    let behaviours = [("silent", "hang"), ("well", "echo")];
    let world = World::with("settings", &behaviours, "warm_up: off\n", settings);
    let (code, page) = world.run(&["probe", "silent"]);
    assert_eq!(code, 1, "{page}");
    assert!(page.contains("timeout"), "{page}");
    let (_, data) = world.run(&["probe", "well", "--json"]);
    let data: Value = serde_json::from_str(&data).unwrap();
    let check = &data["endpoints"][0]["check"];
    let code = check["verification_code"].as_str().unwrap();
    assert_eq!(code.len(), 8);
    assert_eq!(check["message"], format!("Reply with this code: {code}"));
    // The budget of the day.
    assert_eq!(world.run(&["probe", "well"]).0, 0);
    let (code, page) = world.run(&["probe", "well"]);
    assert_eq!(code, 1, "{page}");
    assert!(page.contains("not checked"), "{page}");
}

// XPL-02, REC-04, SEL-17
#[test]
fn the_story_of_a_request_tells_who_waits_in_the_queue() {
    let behaviours = [("plausible", "ok"), ("well", "echo")];
    let world = World::with("story", &behaviours, "warm_up: off\n", "");
    let (_, before) = world.run(&["explain", &world.send()]);
    assert!(!before.contains("queue"), "{before}");
    assert_eq!(world.run(&["probe", "plausible"]).0, 1);
    let (code, story) = world.run(&["explain", &world.send()]);
    assert_eq!(code, 0, "{story}");
    assert!(story.contains("plausible"), "{story}");
    assert!(story.contains("it waits in the recovery queue"), "{story}");
    assert!(story.contains("well"), "{story}");
}
