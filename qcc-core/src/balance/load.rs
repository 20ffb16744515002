//! How busy an endpoint is, and how much of the traffic is meant for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::config::Config;
use super::dynamic::Checked;
use super::weighing::Weighing;
use crate::time::{self, Duration, Instant, SystemTime};

/// After this many seconds without an answer the estimate of a latency halves, so that an
/// endpoint that was slow once is tried again some time, however little traffic there is.
const HALF_LIFE: u32 = 60;

/// How busy an endpoint is and how much it is to be given: its requests in flight, its latency,
/// and what its weight is multiplied by. A clone shares all of it.
#[derive(Clone)]
pub struct Load(Arc<Counts>);

struct Counts {
    in_flight: AtomicU32,
    today: AtomicU64,
    latency: AtomicU64,
    weighing: Weighing,
    // The origin of the times in `latency` and `weighing`.
    born: Instant,
}

impl Load {
    /// An idle endpoint of unknown latency.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Counts {
            in_flight: AtomicU32::new(0),
            today: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            weighing: Weighing::default(),
            born: time::now(),
        }))
    }

    /// How many requests are in flight. A request is in flight until its answer has ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// The time from the choice of the endpoint to the start of its answer, as a moving average
    /// over about 8 answers that halves with every minute without one; `None` while unknown.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let known = Estimate::unpack(self.0.latency.load(Ordering::Relaxed));
        match known.faded(self.seconds(now)) {
            0 => None,
            micros => Some(Duration::from_micros(micros.into())),
        }
    }

    /// A verification check of the endpoint has ended. With
    /// [dynamic weights](super::Config::dynamic_weights) its weight follows the results.
    pub fn checked(&self, checked: Checked) {
        self.0.weighing.checked(checked);
    }

    /// The endpoint can be used again after it was out: for the time of a
    /// [slow start](super::Config::slow_start) it gets less than its share.
    pub fn recovered(&self, now: Instant) {
        self.0.weighing.recovered(self.age(now));
    }

    /// What an endpoint that is configured with this weight has now: `weight` times the dynamic
    /// weight over 100, times the share of a slow start.
    #[must_use]
    pub fn weight(&self, weight: u32, now: Instant) -> f64 {
        f64::from(weight) * self.0.weighing.factor(|| self.age(now))
    }

    /// The share of its weight that the endpoint has for a slow start: from 0.1 to 1, and 1 if it
    /// does not start.
    #[must_use]
    pub fn share(&self, now: Instant) -> f64 {
        self.0.weighing.share(|| self.age(now))
    }

    pub(super) fn configure(&self, config: &Config) {
        self.0.weighing.configure(config);
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.born)
    }

    /// How many requests that came in on the day of `date`, in UTC, were sent here. Those of the
    /// newest day are known; of any other day there is nothing left.
    #[must_use]
    pub fn requests_on(&self, date: SystemTime) -> u32 {
        let known = Today::unpack(self.0.today.load(Ordering::Relaxed));
        if known.day == day_of(date) {
            known.requests
        } else {
            0
        }
    }

    /// Counts a request that came in on the day of `date`.
    pub(super) fn count(&self, date: SystemTime) {
        let day = day_of(date);
        self.0
            .today
            .update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                Today::unpack(packed).with(day).pack()
            });
    }

    pub(super) fn observe(&self, latency: Duration, now: Instant) {
        let sample = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let at = self.seconds(now);
        self.0
            .latency
            .update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                Estimate::unpack(packed).with(sample, at).pack()
            });
    }

    pub(super) fn enter(&self, limit: Option<u32>) -> Option<InFlight> {
        match limit {
            None => {
                self.0.in_flight.fetch_add(1, Ordering::Relaxed);
            }
            Some(limit) => {
                self.0
                    .in_flight
                    .try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                        (count < limit).then_some(count + 1)
                    })
                    .ok()?;
            }
        }
        Some(InFlight(self.clone()))
    }

    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX)
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// A request in flight; counted until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Load);

impl InFlight {
    pub(super) fn load(&self) -> &Load {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The day of `date` in UTC, counted from 1970.
fn day_of(date: SystemTime) -> u32 {
    let since = date.duration_since(SystemTime::UNIX_EPOCH);
    let days = since.unwrap_or_default().as_secs() / (24 * 60 * 60);
    u32::try_from(days).unwrap_or(u32::MAX)
}

/// A day and how many requests came on it. Both fit one atomic word, so that no request is lost
/// or counted twice when the day changes.
#[derive(Clone, Copy)]
struct Today {
    day: u32,
    requests: u32,
}

impl Today {
    const fn unpack(packed: u64) -> Self {
        Self {
            day: (packed >> 32) as u32,
            requests: packed as u32,
        }
    }

    const fn pack(self) -> u64 {
        (self.day as u64) << 32 | self.requests as u64
    }

    /// With one request more of `day`. One that came in before midnight and is sent after it
    /// belongs to a day that is over.
    const fn with(self, day: u32) -> Self {
        if day < self.day {
            return self;
        }
        let before = if day == self.day { self.requests } else { 0 };
        Self {
            day,
            requests: before.saturating_add(1),
        }
    }
}

/// A moving average in microseconds (0 while unknown) and the second it was last fed in. Both
/// fit one atomic word; 32 bits of microseconds are 71 minutes.
#[derive(Clone, Copy)]
struct Estimate {
    micros: u32,
    at: u32,
}

impl Estimate {
    const fn unpack(packed: u64) -> Self {
        Self {
            micros: (packed >> 32) as u32,
            at: packed as u32,
        }
    }

    const fn pack(self) -> u64 {
        (self.micros as u64) << 32 | self.at as u64
    }

    fn faded(self, at: u32) -> u32 {
        let halvings = at.saturating_sub(self.at) / HALF_LIFE;
        self.micros.checked_shr(halvings).unwrap_or(0)
    }

    /// A new sample counts for one eighth, as in the smoothed round-trip time of RFC 6298.
    fn with(self, sample: u32, at: u32) -> Self {
        let micros = match self.faded(at) {
            0 => sample,
            known => known - known / 8 + sample / 8,
        };
        Self {
            micros: micros.max(1),
            at: at.max(self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_latency_is_a_moving_average_that_fades_without_answers() {
        let load = Load::new();
        let start = load.0.born;
        assert_eq!(load.latency(start), None);
        load.observe(MS(800), start);
        load.observe(MS(1600), start);
        assert_eq!(load.latency(start), Some(MS(900)));
        assert_eq!(load.latency(start + MS(59_999)), Some(MS(900)));
        assert_eq!(load.latency(start + MS(60_000)), Some(MS(450)));
        assert_eq!(load.latency(start + MS(86_400_000)), None);
    }

    #[test]
    fn a_latency_beyond_the_range_is_held_at_its_end() {
        let load = Load::new();
        let start = load.0.born;
        load.observe(Duration::MAX, start);
        load.observe(Duration::MAX, start);
        assert!(load.latency(start) > Some(MS(4_000_000)));
        load.observe(Duration::ZERO, start);
        assert!(load.latency(start).is_some());
    }

    // ACC-11
    #[test]
    fn requests_are_counted_for_the_day_on_which_they_came() {
        let load = Load::new();
        let day = |days: u64, seconds: u64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + seconds)
        };
        assert_eq!(load.requests_on(day(20_000, 0)), 0);
        load.count(day(20_000, 86_399));
        load.count(day(20_000, 86_399));
        assert_eq!(load.requests_on(day(20_000, 0)), 2);
        assert_eq!(
            load.requests_on(day(20_001, 0)),
            0,
            "nobody has to reset it"
        );
        load.count(day(20_001, 0));
        load.count(day(20_000, 86_399));
        assert_eq!(
            load.requests_on(day(20_001, 86_399)),
            1,
            "a late one is of the day before"
        );
        assert_eq!(load.requests_on(day(20_000, 0)), 0);
    }

    // ACC-11
    #[test]
    fn no_request_of_a_day_is_lost_among_threads_while_the_day_changes() {
        let load = Load::new();
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        load.count(day(1));
                    }
                    for _ in 0..500 {
                        load.count(day(2));
                    }
                });
            }
        });
        assert_eq!(load.requests_on(day(2)), 8 * 500);
    }

    // BAL-04
    #[test]
    fn threads_that_race_for_the_last_place_never_exceed_the_limit() {
        let load = Load::new();
        std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            let place = load.enter(Some(3));
                            assert!(load.in_flight() <= 3);
                            drop(place);
                        }
                    })
                })
                .collect();
            racers.into_iter().for_each(|racer| racer.join().unwrap());
        });
        assert_eq!(load.in_flight(), 0);
    }
}
