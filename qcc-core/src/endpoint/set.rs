use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Endpoint, EndpointId};

/// A set of endpoints, each id once.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    members: Vec<Arc<Endpoint>>,
    duplicates: Vec<Duplicate>,
}

/// An entry that is the same endpoint as an earlier one and was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Duplicate {
    /// The id of both.
    pub id: EndpointId,
    /// The name of the entry that stays.
    pub kept: Arc<str>,
    /// The name of the entry that was dropped.
    pub dropped: Arc<str>,
}

/// Two different endpoints have one name, so nobody could tell which is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two different endpoints are named `{name}`; give one of them another name")]
pub struct AmbiguousName {
    name: Arc<str>,
}

impl Endpoints {
    /// Collects endpoints. Entries with one id are one endpoint: the first is kept, the others
    /// are listed in [`duplicates`](Self::duplicates).
    ///
    /// # Errors
    ///
    /// [`AmbiguousName`] if two endpoints that differ have the same name.
    pub fn try_from_iter<I>(endpoints: I) -> Result<Self, AmbiguousName>
    where
        I: IntoIterator<Item = Endpoint>,
    {
        let mut set = Self::default();
        let mut ids = HashMap::new();
        let mut names = HashSet::new();
        for endpoint in endpoints {
            if let Some(&kept) = ids.get(&endpoint.id) {
                let kept: &Arc<Endpoint> = &set.members[kept];
                set.duplicates.push(Duplicate {
                    id: endpoint.id,
                    kept: kept.name.clone(),
                    dropped: endpoint.name,
                });
                continue;
            }
            if !names.insert(endpoint.name.clone()) {
                return Err(AmbiguousName {
                    name: endpoint.name,
                });
            }
            ids.insert(endpoint.id, set.members.len());
            set.members.push(Arc::new(endpoint));
        }
        Ok(set)
    }

    /// The endpoints, in the order in which they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Endpoint>> {
        self.members.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The entries that were dropped because they repeat another one.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Credential;

    fn endpoint(name: &str, key: &str) -> Endpoint {
        Endpoint::new(name, "https://api.example.com".parse().unwrap())
            .with_credential(Credential::new(name, key))
    }

    // SEL-02
    #[test]
    fn equal_entries_are_one_endpoint_with_the_weight_of_the_first() {
        let set = Endpoints::try_from_iter([
            endpoint("one", "sk-test-0001").with_weight(5),
            endpoint("again", "sk-test-0001").with_weight(9),
        ])
        .unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(set.iter().next().unwrap().weight(), 5);
        assert_eq!(&*set.duplicates()[0].dropped, "again");
    }

    #[test]
    fn two_endpoints_cannot_share_a_name() {
        let error =
            Endpoints::try_from_iter([endpoint("a", "sk-test-1"), endpoint("a", "sk-test-2")])
                .unwrap_err();
        assert!(error.to_string().contains("`a`"));
    }
}
