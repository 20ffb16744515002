//! A stream that is silent for long: its client hears that it lives, in its own dialect, until
//! the upstream counts as dead.

use http_body_util::BodyExt as _;
use qcc_core::classify::Timeouts;
use qcc_core::facts::Dialect;
use qcc_core::time;
use qcc_tests::harness::{Ask, DIALECTS, World};
use tower::ServiceExt as _;

/// The seconds from the first frame at which each later one came, with its text.
async fn heard(world: &World, ask: &Ask) -> Vec<(u64, String)> {
    let response = world.failover.clone().oneshot(ask.request()).await.unwrap();
    let mut body = response.into_body();
    let start = time::now();
    let mut heard = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        let text = String::from_utf8(data.to_vec()).unwrap();
        // Timers of a paused clock may be a millisecond off.
        let second = ((time::now() - start).as_millis() + 500) / 1000;
        heard.push((u64::try_from(second).unwrap(), text));
    }
    heard
}

fn keep_alive(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        Dialect::Gemini => "\r\n",
        _ => ": keep-alive\n\n",
    }
}

/// A world without keep-alives.
fn without() -> World {
    let off = Timeouts::default().with_keep_alive(None).unwrap();
    World::with(|builder| builder.timeouts(off))
}

/// Anthropic pings itself, so its silence is trusted for a minute only.
fn idle(dialect: Dialect) -> u64 {
    match dialect {
        Dialect::Anthropic => 60,
        _ => 300,
    }
}

// STR-13
#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_every_15_seconds_until_it_counts_as_dead() {
    for dialect in DIALECTS {
        let world = World::new();
        world.set_all("stall:5");
        let heard = heard(&world, &Ask::streamed(dialect)).await;
        let alive: Vec<_> = heard
            .iter()
            .filter(|(second, text)| *second > 0 && text == keep_alive(dialect))
            .map(|(second, _)| *second)
            .collect();
        let expected: Vec<_> = (15..idle(dialect)).step_by(15).collect();
        assert_eq!(alive, expected, "{dialect}");
        let (second, closing) = heard.last().unwrap();
        assert_eq!(*second, idle(dialect), "{dialect}");
        assert!(closing.contains("error"), "{dialect}: {closing}");

        // It is no output: what is counted is what the upstream sent.
        let output = heard.iter().filter(|(second, _)| *second == 0);
        let output: usize = output.map(|(_, text)| text.len()).sum();
        let record = world.records().pop().unwrap();
        let (_, send) = record.sends().last().unwrap();
        assert_eq!(send.bytes, output as u64, "{dialect}");
    }
}

// STR-13
#[tokio::test(start_paused = true)]
async fn a_stream_that_speaks_is_not_interrupted_by_signs_of_life() {
    for dialect in DIALECTS {
        let (on, off) = (World::new(), without());
        for world in [&on, &off] {
            world.set_all("slow:14000ms,14000ms");
        }
        let ask = Ask::streamed(dialect);
        assert_eq!(heard(&on, &ask).await, heard(&off, &ask).await, "{dialect}");
    }
}

// STR-13
#[tokio::test(start_paused = true)]
async fn keep_alives_can_be_switched_off_and_an_answer_in_one_piece_gets_none() {
    for dialect in DIALECTS {
        let world = without();
        world.set_all("stall:5");
        let heard_nothing = heard(&world, &Ask::streamed(dialect)).await;
        let seconds: Vec<_> = heard_nothing.iter().map(|(second, _)| *second).collect();
        assert!(
            seconds
                .iter()
                .all(|second| [0, idle(dialect)].contains(second)),
            "{dialect}: {seconds:?}"
        );

        let world = World::new();
        world.set_all("slow:100000ms");
        let whole = heard(&world, &Ask::whole(dialect)).await;
        assert!(whole.iter().all(|(_, text)| text != keep_alive(dialect)));
        serde_json::from_str::<serde_json::Value>(&whole[0].1).expect("JSON and nothing else");
    }
}

// STR-01, STR-13
#[tokio::test(start_paused = true)]
async fn a_model_that_thinks_for_minutes_is_committed_after_15_seconds_and_kept_alive() {
    let world = World::new();
    // Its first event, which says nothing yet, comes after 40 s, and so do the others.
    world.set_all("slow:0ms,40000ms");
    let heard = heard(&world, &Ask::streamed(Dialect::Chat)).await;
    let alive = |(_, text): &&(u64, String)| text == keep_alive(Dialect::Chat);
    assert!(heard.iter().filter(alive).count() > 5, "{heard:?}");
    // From the commit to the next event 25 s pass, from one event to the next 40 s.
    let alive: Vec<_> = heard
        .iter()
        .filter(alive)
        .map(|(second, _)| *second)
        .collect();
    assert_eq!(alive[..3], [15, 40, 55], "{heard:?}");
    assert!(heard.last().unwrap().1.contains("[DONE]"), "{heard:?}");
}
