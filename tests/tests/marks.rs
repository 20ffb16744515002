//! Failures that mark an endpoint unavailable, through the whole stack.

use qcc_core::balance::LastResort;
use qcc_core::endpoint::{MarkOn, Marking};
use qcc_core::time::Duration;
use qcc_tests::harness::{Ask, DIALECTS, World, endpoints, visits};

const MINUTE: Duration = Duration::from_secs(60);

/// A world whose endpoints are marked for two minutes by these failures.
fn world(failures: &[&str]) -> World {
    let failures = failures.iter().map(|text| text.parse::<Marking>().unwrap());
    let rule = MarkOn::new(failures).with_ttl(2 * MINUTE);
    let endpoints = endpoints().map(|endpoint| endpoint.with_mark_on(rule.clone()));
    World::of(endpoints, |builder| builder.last_resort(LastResort::Probe))
}

// ACC-07, ACC-04
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_marked_by_its_answer_is_skipped_until_its_time_whatever_the_route() {
    for dialect in DIALECTS {
        for stream in [false, true] {
            let world = world(&["502"]);
            let ask = Ask::new(dialect, stream).without_session();
            world.set("a", "first:1:status:502");
            assert!(world.send(&ask).await.is_answer());
            let marked = Some(("marked", Some(2 * MINUTE)));
            assert_eq!(world.state("a").out, marked, "{dialect}");
            tokio::time::advance(2 * MINUTE - Duration::from_millis(1)).await;
            let seen = world.send(&ask).await;
            assert_eq!(visits(&seen.record.unwrap()), "b: first clean");
            tokio::time::advance(Duration::from_millis(1)).await;
            let seen = world.send(&ask).await;
            assert_eq!(visits(&seen.record.unwrap()), "a: first clean");
            assert_eq!(world.calls(), [2, 2, 0], "{dialect}");
        }
    }
}

// ACC-07
#[tokio::test(start_paused = true)]
async fn the_rule_of_a_kind_holds_for_every_form_of_it_and_for_nothing_else() {
    for (fault, marks) in [
        ("status:529", true),
        ("status:503;code=overloaded_error", true),
        ("status:500", false),
        ("status:429", false),
        ("status:400", false),
        ("reset", false),
        ("ok", false),
    ] {
        let world = world(&["overloaded"]);
        world.set("a", fault);
        world.send(&Ask::whole(DIALECTS[0]).without_session()).await;
        let out = world.state("a").out;
        let is_marked = out.is_some_and(|(reason, _)| reason == "marked");
        assert_eq!(is_marked, marks, "{fault}: {out:?}");
    }
}

// ACC-07
#[tokio::test(start_paused = true)]
async fn where_everybody_is_marked_nobody_is_asked_until_one_is_back() {
    let world = world(&["503"]);
    world.set_all("first:1:status:503");
    let ask = Ask::whole(DIALECTS[0]).without_session();
    assert!(!world.send(&ask).await.is_answer());
    let seen = world.send(&ask).await;
    assert_eq!(seen.status, 503);
    assert_eq!(seen.json()["error"]["reasons"]["marked"], 3);
    assert_eq!(world.calls(), [1, 1, 1], "no last resort");
    tokio::time::advance(2 * MINUTE).await;
    assert!(world.send(&ask).await.is_answer());
}
