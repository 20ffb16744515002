//! Behaviours over time.

use std::sync::Arc;

use super::behaviour::Behaviour;
use crate::time::Duration;

/// What a simulated endpoint does, and when: a first behaviour, then others that take its place
/// from a certain request or time on, both counted from when the script was set.
///
/// ```
/// use qcc_core::simulate::{Behaviour, Script};
/// use std::time::Duration;
///
/// let outage = Script::new(Behaviour::Ok)
///     .from_request(3, "status:503".parse()?)
///     .after(Duration::from_secs(60), Behaviour::Ok)
///     .with_text("pong");
/// # Ok::<(), qcc_core::simulate::InvalidBehaviour>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    first: Behaviour,
    steps: Vec<(Begin, Behaviour)>,
    pub(super) text: Option<Arc<str>>,
    pub(super) deltas: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Request(u64),
    Time(Duration),
}

impl Script {
    /// Always `behaviour`.
    #[must_use]
    pub const fn new(behaviour: Behaviour) -> Self {
        Self {
            first: behaviour,
            steps: Vec::new(),
            text: None,
            deltas: 3,
        }
    }

    /// `behaviour` from this request on; the first is number 1. Of several steps that have
    /// begun, the one that was added last counts.
    #[must_use]
    pub fn from_request(mut self, number: u64, behaviour: Behaviour) -> Self {
        self.steps.push((Begin::Request(number), behaviour));
        self
    }

    /// `behaviour` from this time on. Of several steps that have begun, the one that was added
    /// last counts.
    #[must_use]
    pub fn after(mut self, time: Duration, behaviour: Behaviour) -> Self {
        self.steps.push((Begin::Time(time), behaviour));
        self
    }

    /// Answers with this text; by default it names the endpoint.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Arc<str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Streams the text in so many events, 3 by default; at least one, and at most one for each
    /// character.
    #[must_use]
    pub const fn with_deltas(mut self, deltas: usize) -> Self {
        self.deltas = deltas;
        self
    }

    /// The behaviour for request `number`, which comes so long after the script was set.
    pub(super) fn at(&self, number: u64, time: Duration) -> &Behaviour {
        self.steps
            .iter()
            .rev()
            .find(|(begin, _)| match begin {
                Begin::Request(first) => number >= *first,
                Begin::Time(start) => time >= *start,
            })
            .map_or(&self.first, |(_, behaviour)| behaviour)
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new(Behaviour::Ok)
    }
}

impl From<Behaviour> for Script {
    fn from(behaviour: Behaviour) -> Self {
        Self::new(behaviour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SIM-02
    #[test]
    fn the_last_step_that_has_begun_counts() {
        let script = Script::new(Behaviour::Ok)
            .from_request(3, Behaviour::Reset)
            .after(Duration::from_secs(60), Behaviour::Hang);
        let at = |number, seconds| script.at(number, Duration::from_secs(seconds)).clone();
        assert_eq!(at(2, 59), Behaviour::Ok);
        assert_eq!(at(3, 59), Behaviour::Reset);
        assert_eq!(at(1, 60), Behaviour::Hang);
        assert_eq!(at(9, 60), Behaviour::Hang);
    }
}
