//! What the weight of an endpoint is multiplied by: its dynamic weight and its slow start.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::Config;
use super::dynamic::{BASE, Checked, Dynamic};
use crate::time::Duration;

/// The share with which a slow start begins.
const FIRST_SHARE: f64 = 0.1;

/// The shell around the pure cores. An endpoint whose weight is that of its configuration costs
/// one atomic load.
#[derive(Default)]
pub(super) struct Weighing {
    /// Both parts of the factor. 0 while there is nothing but 1 to multiply by.
    word: AtomicU64,
    is_dynamic: AtomicBool,
    /// In milliseconds; 0 for none.
    slow_start: AtomicU32,
    // Allocated by the first check.
    dynamic: Mutex<Option<Box<Dynamic>>>,
}

/// What `word` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    /// In hundredths; 0 if it is the base.
    dynamic: u32,
    /// When the endpoint recovered, in tenths of a second and one more; 0 if it did not.
    recovered: u32,
}

impl Word {
    const fn unpack(packed: u64) -> Self {
        Self {
            dynamic: (packed >> 32) as u32,
            recovered: packed as u32,
        }
    }

    const fn pack(self) -> u64 {
        (self.dynamic as u64) << 32 | self.recovered as u64
    }
}

impl Weighing {
    pub(super) fn configure(&self, config: &Config) {
        let millis = u32::try_from(config.slow_start.as_millis()).unwrap_or(u32::MAX);
        self.slow_start.store(millis, Ordering::Relaxed);
        self.is_dynamic
            .store(config.dynamic_weights, Ordering::Relaxed);
        self.publish(&self.dynamic());
    }

    pub(super) fn checked(&self, checked: Checked) {
        let mut dynamic = self.dynamic();
        let changed = dynamic
            .get_or_insert_with(|| Box::new(Dynamic::new()))
            .add(checked);
        if changed {
            self.publish(&dynamic);
        }
    }

    /// The endpoint recovered at this age.
    pub(super) fn recovered(&self, age: Duration) {
        if self.slow_start.load(Ordering::Relaxed) == 0 {
            return;
        }
        let recovered = tenths(age).saturating_add(1);
        self.change(|word| Word { recovered, ..word });
    }

    /// What the weight is multiplied by at this age.
    pub(super) fn factor(&self, age: impl FnOnce() -> Duration) -> f64 {
        let packed = self.word.load(Ordering::Relaxed);
        if packed == 0 {
            return 1.0;
        }
        let word = Word::unpack(packed);
        let dynamic = match word.dynamic {
            0 => 1.0,
            hundredths => f64::from(hundredths) / 100.0 / BASE,
        };
        dynamic * self.share_of(word, age)
    }

    /// The share of a slow start at this age.
    pub(super) fn share(&self, age: impl FnOnce() -> Duration) -> f64 {
        let word = Word::unpack(self.word.load(Ordering::Relaxed));
        self.share_of(word, age)
    }

    fn share_of(&self, word: Word, age: impl FnOnce() -> Duration) -> f64 {
        let Some(recovered) = word.recovered.checked_sub(1) else {
            return 1.0;
        };
        let length = f64::from(self.slow_start.load(Ordering::Relaxed)) / 100.0;
        let since = f64::from(tenths(age()).saturating_sub(recovered));
        if since >= length {
            return 1.0;
        }
        FIRST_SHARE + (1.0 - FIRST_SHARE) * since / length
    }

    fn publish(&self, dynamic: &Option<Box<Dynamic>>) {
        let weight = match dynamic {
            Some(dynamic) if self.is_dynamic.load(Ordering::Relaxed) => dynamic.weight(),
            _ => BASE,
        };
        // 10 to 200, so neither rounding nor sign matters.
        let hundredths = if weight == BASE {
            0
        } else {
            (weight * 100.0).round() as u32
        };
        self.change(|word| Word {
            dynamic: hundredths,
            ..word
        });
    }

    fn change(&self, change: impl Fn(Word) -> Word) {
        self.word
            .update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                change(Word::unpack(packed)).pack()
            });
    }

    fn dynamic(&self) -> MutexGuard<'_, Option<Box<Dynamic>>> {
        // A panic inside leaves at worst a result without its weight.
        self.dynamic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Weighing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Word::unpack(self.word.load(Ordering::Relaxed));
        f.debug_tuple("Weighing").field(&word).finish()
    }
}

fn tenths(age: Duration) -> u32 {
    u32::try_from(age.as_millis() / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    fn weighing(config: Config) -> Weighing {
        let weighing = Weighing::default();
        weighing.configure(&config);
        weighing
    }

    fn at(weighing: &Weighing, seconds: u64) -> f64 {
        (weighing.factor(|| SECONDS(seconds)) * 1e4).round() / 1e4
    }

    #[test]
    fn a_slow_start_grows_from_a_tenth_to_the_whole_in_a_minute() {
        let weighing = weighing(Config::default());
        assert_eq!(at(&weighing, 5), 1.0);
        weighing.recovered(SECONDS(10));
        for (seconds, factor) in [(10, 0.1), (40, 0.55), (69, 0.985), (70, 1.0), (9999, 1.0)] {
            assert_eq!(at(&weighing, seconds), factor, "{seconds}");
        }
        // A clock that is behind the one of the recovery.
        assert_eq!(at(&weighing, 0), 0.1);
        // Another recovery begins anew.
        weighing.recovered(SECONDS(100));
        assert_eq!(at(&weighing, 100), 0.1);
    }

    #[test]
    fn a_slow_start_can_be_switched_off_and_made_shorter() {
        let off = weighing(Config::default().with_slow_start(Duration::ZERO));
        off.recovered(SECONDS(10));
        assert_eq!(off.word.load(Ordering::Relaxed), 0);
        let short = weighing(Config::default().with_slow_start(SECONDS(10)));
        short.recovered(SECONDS(0));
        assert_eq!([at(&short, 5), at(&short, 10)], [0.55, 1.0]);
        short.configure(&Config::default().with_slow_start(Duration::ZERO));
        assert_eq!(at(&short, 0), 1.0);
    }

    // BAL-06
    #[test]
    fn dynamic_weights_are_off_unless_enabled_and_know_the_past_then() {
        let on = Config::default().with_dynamic_weights(true);
        let weighing = weighing(Config::default());
        for _ in 0..4 {
            weighing.checked(Checked::Failed);
        }
        assert_eq!(at(&weighing, 0), 1.0);
        weighing.configure(&on);
        assert!(at(&weighing, 0) < 0.4, "{weighing:?}");
        weighing.configure(&Config::default());
        assert_eq!(at(&weighing, 0), 1.0);
    }

    // BAL-06
    #[test]
    fn dynamic_weight_and_slow_start_multiply() {
        let weighing = weighing(Config::default().with_dynamic_weights(true));
        let passed = Checked::Passed(Duration::from_millis(200));
        (0..3).for_each(|_| weighing.checked(passed));
        assert_eq!(at(&weighing, 0), 1.567);
        weighing.recovered(SECONDS(0));
        assert_eq!(at(&weighing, 0), 0.1567);
        assert_eq!(at(&weighing, 60), 1.567);
    }
}
