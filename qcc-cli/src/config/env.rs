//! The environment, read in this one place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variables that a configuration may use. Has no `Debug`: half of them are secrets.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Those that are no valid text are left out.
    pub(crate) fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.get("HOME")
            .or_else(|| self.get("USERPROFILE"))
            .filter(|home| !home.is_empty())
            .map(Path::new)
    }

    /// `path` with a `~` at its start replaced by the home directory.
    pub(crate) fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), self.home()) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
            _ => PathBuf::from(path),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_at_the_start_is_the_home_directory() {
        let environment = Environment::from_iter([("HOME", "/home/ada")]);
        for (path, expected) in [
            ("~/.qcc/key", "/home/ada/.qcc/key"),
            ("~", "/home/ada"),
            ("~bob/key", "~bob/key"),
            ("/a/~/b", "/a/~/b"),
        ] {
            assert_eq!(environment.expand(path), PathBuf::from(expected));
        }
    }
}
