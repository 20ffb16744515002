//! What runs beside the requests: looks at every endpoint when something changed, and has those
//! checked that are due.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::handle::Recovery;
use crate::available::Bell;
use crate::time::{self, Instant};

/// An endpoint, as the queue looks after it.
pub(crate) trait Patient {
    /// Its place in the queue.
    fn recovery(&self) -> &Recovery;

    /// Takes in what is seen of it.
    fn observe(&self, now: Instant);

    /// Checks it, if that is still due when its turn comes. Returns whether it can be checked.
    fn check(&self) -> impl Future<Output = bool> + Send;
}

/// Looks after `patients`, for ever. `bell` rings when something changed at one of them.
///
/// # Cancel safety
///
/// Dropping it gives up the checks that are under way; they count as made and found nothing.
/// Begun anew, it goes on where it was.
pub(crate) async fn look_after<P: Patient>(
    patients: &[P],
    bell: &Bell,
    concurrency: usize,
) -> Infallible {
    let mut busy = vec![false; patients.len()];
    let mut running = FuturesUnordered::new();
    loop {
        let now = time::now();
        let mut next: Option<Instant> = None;
        for (index, patient) in patients.iter().enumerate() {
            patient.observe(now);
            if busy[index] {
                continue;
            }
            match patient.recovery().due() {
                Some(due) if now < due => next = [next, Some(due)].into_iter().flatten().min(),
                Some(_) if running.len() < concurrency => {
                    busy[index] = true;
                    running.push(async move { (index, patient.check().await) });
                }
                _ => {}
            }
        }
        let ended = pin!(async {
            match running.next().await {
                Some(ended) => ended,
                None => pending().await,
            }
        });
        let rang = pin!(bell.rang());
        let due = pin!(async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => pending().await,
            }
        });
        if let Either::Left(((index, can_be_checked), _)) = select(ended, select(rang, due)).await {
            // One that cannot be checked is left alone for as long as this runs.
            busy[index] = !can_be_checked;
        }
    }
}
