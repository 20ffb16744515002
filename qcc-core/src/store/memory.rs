//! A store that lives as long as the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::endpoint::EndpointId;
use crate::standing::{Standing, StateStore};

/// Keeps the standing of endpoints in memory: for a stack that is built anew in the same process.
/// A clone is the same store. It has an entry for each endpoint that is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<HashMap<EndpointId, Standing>>>);

impl Memory {
    /// A store that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl StateStore for Memory {
    fn load(&self, endpoint: EndpointId) -> Option<Standing> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&endpoint).cloned()
    }

    fn save(&self, endpoint: EndpointId, standing: &Standing) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.is_usual() {
            kept.remove(&endpoint);
        } else {
            kept.insert(endpoint, standing.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // EMB-03
    #[test]
    fn the_last_word_is_kept_and_what_is_usual_takes_no_room() {
        let store: Arc<dyn StateStore> = Arc::new(Memory::new());
        let id = EndpointId::new("https://a.example", "sk-test-0001");
        assert_eq!(store.load(id), None);
        store.save(id, &Standing::new(false, true));
        store.save(id, &Standing::new(true, false));
        assert_eq!(store.load(id), Some(Standing::new(true, false)));
        store.save(id, &Standing::new(true, true));
        assert_eq!(store.load(id), None);
    }
}
