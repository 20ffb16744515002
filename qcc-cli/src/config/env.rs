//! The environment, read in this one place: the variables of the process and, where they are
//! silent, those of the file `.env` in the working directory.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Read if it is there.
const DOTENV: &str = ".env";

/// A shorter value is no secret: it would be a part of too much.
const SHORTEST_SECRET: usize = 6;

/// The variables that a configuration may use. Has no `Debug`: half of them are secrets.
pub(crate) struct Environment(BTreeMap<String, String>);

/// What is wrong with `.env`. Never contains a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadDotenv {
    /// This line, from 1, is no assignment.
    Line(usize),
    /// The file cannot be read.
    File(io::ErrorKind),
}

impl fmt::Display for BadDotenv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(
                f,
                "{DOTENV}:{line}: is no assignment and was left out\n  \
                 write NAME=value, and put a value with spaces or # in quotes"
            ),
            Self::File(kind) => write!(f, "{DOTENV}: cannot be read: {kind}"),
        }
    }
}

impl Environment {
    /// The variables of this process and of `.env`. Those that are no valid text are left out;
    /// what is wrong with `.env` is told and stops nothing.
    pub(crate) fn of_process() -> (Self, Vec<BadDotenv>) {
        let mut environment: Self = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let bad = match std::fs::read_to_string(DOTENV) {
            Ok(text) => environment.fill_up(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => vec![BadDotenv::File(error.kind())],
        };
        (environment, bad)
    }

    /// Adds the variables of `text`, which has the form of `.env`. Those that are there already
    /// stay as they are.
    fn fill_up(&mut self, text: &str) -> Vec<BadDotenv> {
        let mut bad = Vec::new();
        let mut line = 0;
        for assignment in dotenvy::from_read_iter(text.as_bytes()) {
            match assignment {
                Ok((name, value)) => {
                    self.0.entry(name).or_insert(value);
                }
                Err(dotenvy::Error::LineParse(wrong, _)) => {
                    // The parser does not count lines: it gives the end of one.
                    let end = wrong.lines().next().unwrap_or_default().trim_end();
                    let mut rest = text.lines().skip(line);
                    let ahead = rest.position(|line| line.trim_end().ends_with(end));
                    line += ahead.unwrap_or(0) + 1;
                    bad.push(BadDotenv::Line(line));
                }
                Err(_) => bad.push(BadDotenv::File(io::ErrorKind::InvalidData)),
            }
        }
        bad
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The names of the variables whose values are a part of `secret`, or all of it. Values that
    /// are too short to be a secret are none.
    pub(crate) fn holding<'e>(&'e self, secret: &'e str) -> impl Iterator<Item = &'e str> {
        let held = move |value: &str| value.len() >= SHORTEST_SECRET && secret.contains(value);
        self.0
            .iter()
            .filter(move |(_, value)| held(value.trim()))
            .map(|(name, _)| name.as_str())
    }

    /// The names of the variables that hold `secret` among other things, as lists do. One that is
    /// too short to be a secret is in none.
    pub(crate) fn listing<'e>(&'e self, secret: &'e str) -> impl Iterator<Item = &'e str> {
        let lists = move |value: &str| secret.len() >= SHORTEST_SECRET && value.contains(secret);
        self.0
            .iter()
            .filter(move |(_, value)| lists(value))
            .map(|(name, _)| name.as_str())
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

    // CFG-03
    #[test]
    fn dotenv_fills_up_what_the_environment_leaves_open() {
        let mut environment = Environment::from_iter([("A", "from the environment")]);
        let text = "# keys\nA=file\nexport B='sk-test-0001 #1'\n\nC=\n";
        assert_eq!(environment.fill_up(text), []);
        assert_eq!(environment.get("A"), Some("from the environment"));
        assert_eq!(environment.get("B"), Some("sk-test-0001 #1"));
        assert_eq!(environment.get("C"), Some(""));
    }

    // CFG-03
    #[test]
    fn a_bad_line_of_dotenv_is_told_without_its_value_and_the_others_are_read() {
        let mut environment = Environment::from_iter([("", ""); 0]);
        let bad = environment.fill_up("A=1\nB sk-test-0001\nC=2\nD=sk-test 0002\nE=3\n");
        assert_eq!(bad, [BadDotenv::Line(2), BadDotenv::Line(4)]);
        for bad in bad {
            assert!(!bad.to_string().contains("sk-test"), "{bad}");
        }
        let read = ["A", "C", "E"].map(|name| environment.get(name));
        assert_eq!(read, [Some("1"), Some("2"), Some("3")]);
    }

    // SIM-04
    #[test]
    fn the_variables_of_which_a_secret_is_made_are_known() {
        let variables = [
            ("A", "sk-test-0001"),
            ("B", "sk"),
            ("C", "other-0001"),
            ("D", ""),
        ];
        let environment = Environment::from_iter(variables);
        let names: Vec<_> = environment.holding("Bearer sk-test-0001").collect();
        assert_eq!(names, ["A"]);
        let environment = Environment::from_iter([("A", "'token-1', token-2"), ("B", "token")]);
        assert_eq!(environment.listing("token-2").collect::<Vec<_>>(), ["A"]);
        assert_eq!(environment.listing("tok").count(), 0);
    }

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
