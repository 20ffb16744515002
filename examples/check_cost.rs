//! What it costs to judge the answer to a check of an endpoint.
//!
//! ```sh
//! cargo run --release -p qcc-examples --example check_cost
//! ```

use bytes::Bytes;
use http::Response;
use qcc_core::llm::LlmProbe;
use qcc_core::recovery::{Probe as _, Validity};
use qcc_core::time::{self, Duration};

const TIMES: u32 = 200;

fn main() {
    for (kib, each) in costs(&[0, 1, 4, 16, 64]) {
        println!("{kib:>3} KiB: {:>8.1} µs", each.as_secs_f64() * 1e6);
    }
}

/// How long it takes to judge an answer of so many KiB.
fn costs(sizes: &[usize]) -> Vec<(usize, Duration)> {
    let probe = LlmProbe::default();
    let code = probe.code();
    // The beginning of the question again and again, which is what takes the longest.
    let almost = probe.message(&code).replace(code.as_str(), "");
    let cost = |&kib: &usize| {
        let text = almost.repeat(kib * 1024 / almost.len()) + code.as_str();
        let body = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
        let answer = Response::new(Bytes::from(body));
        let start = time::now();
        for _ in 0..TIMES {
            let found = probe.judge(&answer, &code);
            // The end of the last beginning and the code are the question.
            assert_eq!(found.validity == Validity::Valid, kib == 0);
        }
        (kib, (time::now() - start) / TIMES)
    };
    sizes.iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // PRB-18
    #[test]
    fn the_answers_that_cost_most_are_judged_for_what_they_are() {
        let costs = costs(&[0, 1, 64]);
        assert_eq!(costs.len(), 3);
    }
}
