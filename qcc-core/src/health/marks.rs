//! Which models an endpoint is not to be asked for: pure and bounded.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::time::{Duration, Instant};

/// How long an endpoint is skipped for a model that it does not have (Table 1, `not_found`) or
/// whose requests it wrongly called invalid (RTY-08).
pub(super) const SKIPPED_FOR: Duration = Duration::from_secs(10 * 60);

/// How often another endpoint must have answered what this one called invalid (RTY-08).
const OVERRULED_TIMES: usize = 3;

/// Within which time (RTY-08).
const OVERRULED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// At most this many models are remembered for each endpoint; the one that was touched least
/// recently goes first. Far more than an endpoint serves; the limit is there because clients
/// choose the names.
const MODELS: usize = 256;

/// A longer name belongs to no model, and is not kept.
const LONGEST_NAME: usize = 256;

/// What is remembered of models, by name.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<Arc<str>, Mark>);

#[derive(Debug)]
struct Mark {
    /// Until when the model is skipped.
    until: Option<Instant>,
    /// When this endpoint was overruled.
    overruled: SmallVec<[Instant; OVERRULED_TIMES]>,
    touched: Instant,
}

impl Marks {
    /// Whether any model is marked, perhaps one whose time has passed.
    pub(super) fn any(&self) -> bool {
        self.0.values().any(|mark| mark.until.is_some())
    }

    /// Until when `model` is skipped, if it is.
    pub(super) fn until(&self, model: &str, now: Instant) -> Option<Instant> {
        let until = self.0.get(model)?.until?;
        (now < until).then_some(until)
    }

    /// The models that are skipped.
    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, Instant)> {
        self.0.iter().filter_map(move |(model, mark)| {
            let until = mark.until.filter(|until| now < *until)?;
            Some((model, until))
        })
    }

    /// Skips `model` until `until`, or for longer if that was said before. Returns whether it
    /// was not skipped already.
    pub(super) fn skip(&mut self, model: &Arc<str>, until: Instant, now: Instant) -> bool {
        let Some(mark) = self.mark(model, now) else {
            return false;
        };
        let new = mark.until.is_none_or(|known| known <= now);
        mark.until = mark.until.max(Some(until));
        new
    }

    /// Counts that another endpoint answered what this one called invalid. Returns whether
    /// `model` is skipped from now on because of that.
    pub(super) fn overruled(&mut self, model: &Arc<str>, now: Instant) -> bool {
        let Some(mark) = self.mark(model, now) else {
            return false;
        };
        mark.overruled.retain(|at| is_recent(*at, now));
        mark.overruled.push(now);
        if mark.overruled.len() < OVERRULED_TIMES {
            return false;
        }
        mark.overruled.clear();
        self.skip(model, now + SKIPPED_FOR, now)
    }

    /// Forgets what matters no more.
    pub(super) fn purge(&mut self, now: Instant) {
        self.0.retain(|_, mark| {
            mark.until = mark.until.filter(|until| now < *until);
            mark.until.is_some() || mark.overruled.iter().any(|at| is_recent(*at, now))
        });
    }

    fn mark(&mut self, model: &Arc<str>, now: Instant) -> Option<&mut Mark> {
        if model.len() > LONGEST_NAME {
            return None;
        }
        if self.0.len() >= MODELS && !self.0.contains_key(model) {
            self.make_room(now);
        }
        let mark = self.0.entry(model.clone()).or_insert_with(|| Mark {
            until: None,
            overruled: SmallVec::new(),
            touched: now,
        });
        mark.touched = now;
        Some(mark)
    }

    fn make_room(&mut self, now: Instant) {
        self.purge(now);
        if self.0.len() < MODELS {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, mark)| mark.touched);
        if let Some(oldest) = oldest.map(|(model, _)| model.clone()) {
            self.0.remove(&oldest);
        }
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) <= OVERRULED_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn model(name: impl Into<Arc<str>>) -> Arc<str> {
        name.into()
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    // RTY-07
    #[test]
    fn a_mark_ends_by_itself_and_belongs_to_one_model() {
        let (mut marks, now) = (Marks::default(), time::now());
        assert!(marks.skip(&model("a"), now + SKIPPED_FOR, now));
        assert!(!marks.skip(&model("a"), now + minutes(1), now));
        assert_eq!(marks.until("a", now), Some(now + minutes(10)));
        assert_eq!(marks.until("b", now), None);
        assert_eq!(marks.until("a", now + minutes(10)), None);
        marks.purge(now + minutes(10));
        assert!(!marks.any());
    }

    // RTY-08
    #[test]
    fn the_third_time_within_ten_minutes_marks_the_model() {
        let (mut marks, now) = (Marks::default(), time::now());
        let a = model("a");
        assert!(!marks.overruled(&a, now));
        assert!(!marks.overruled(&a, now + minutes(1)));
        assert!(!marks.overruled(&model("b"), now + minutes(1)));
        // The first one is too long ago by now.
        assert!(!marks.overruled(&a, now + minutes(11)));
        assert_eq!(marks.until("a", now + minutes(11)), None);
        assert!(marks.overruled(&a, now + minutes(11)));
        assert_eq!(marks.until("a", now + minutes(11)), Some(now + minutes(21)));
        assert!(
            !marks.overruled(&a, now + minutes(22)),
            "counts from 0 again"
        );
    }

    // RTY-07
    #[test]
    fn the_number_of_models_is_bounded_and_the_oldest_goes() {
        let (mut marks, start) = (Marks::default(), time::now());
        for number in 0..MODELS as u64 + 1 {
            let now = start + Duration::from_millis(number);
            marks.skip(&model(number.to_string()), now + SKIPPED_FOR, now);
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(marks.iter(now).count(), MODELS);
        assert_eq!(marks.until("0", now), None);
        assert!(marks.until("1", now).is_some() && marks.until("256", now).is_some());
        let endless = model("x".repeat(LONGEST_NAME + 1));
        assert!(!marks.skip(&endless, now + SKIPPED_FOR, now));
        assert_eq!(marks.until(&endless, now), None);
    }
}
