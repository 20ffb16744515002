//! A balancing policy of one's own and its test, which needs no runtime and no network.
use http::request::Parts;
use qcc_core::balance::{BalancePolicy, Candidate, Candidates, Lineup};
use qcc_core::endpoint::Endpoint;

/// Batches go where the weight is largest, everything else where the fewest requests are.
#[derive(Debug)]
struct BatchesAside;

impl BalancePolicy for BatchesAside {
    fn pick<'a>(&self, request: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        if request.headers.contains_key("x-batch") {
            candidates.iter().max_by_key(|candidate| candidate.weight())
        } else {
            candidates.iter().min_by_key(|one| one.in_flight())
        }
    }
}

fn lineup() -> Lineup {
    let endpoint = |name| Endpoint::new(name, "https://api.example.com".parse().expect("a URL"));
    Lineup::new([endpoint("large").with_weight(900), endpoint("small")]).with_in_flight("large", 5)
}

fn main() {
    let picked = lineup().pick(&BatchesAside).map(str::to_owned);
    println!("an ordinary request goes to {picked:?}");
}

// EMB-03
#[test]
fn a_batch_goes_to_the_largest_and_others_to_the_idlest() {
    let batch = http::Request::builder().header("x-batch", "1").body(());
    let lineup = lineup();
    assert_eq!(lineup.pick(&BatchesAside), Some("small"));
    let lineup = lineup.with_request(batch.unwrap());
    assert_eq!(lineup.pick(&BatchesAside), Some("large"));
}
