//! What is kept of one login: pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Duration, SystemTime};

/// The form that is written. One with a higher number is of a later release.
const VERSION: u32 = 1;

/// What is kept of one login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) struct Entry {
    version: u32,
    /// The refresh token that is good now.
    pub(in crate::source) refresh_token: String,
    /// What is known of a refresh whose answer is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::source) open: Option<Open>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::source) access: Option<Access>,
}

/// A refresh whose answer is not kept: the refresh token may be another one by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::source) enum Open {
    /// It is under way, or was when its process ended.
    UnderWay,
    /// It was not answered.
    Unanswered,
}

/// An access token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) struct Access {
    pub(in crate::source) token: String,
    /// When it was got, in milliseconds since 1970.
    got: u64,
    /// When it expires, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// Why a text is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Unreadable {
    /// It is of a later release.
    Newer,
    /// It is nothing of ours.
    Corrupt,
}

impl Entry {
    pub(in crate::source) fn new(refresh_token: String, access: Option<Access>) -> Self {
        Self {
            version: VERSION,
            refresh_token,
            open: None,
            access,
        }
    }

    /// The same with this known of a refresh.
    pub(in crate::source) const fn with(mut self, open: Option<Open>) -> Self {
        self.open = open;
        self
    }

    pub(in crate::source) fn read(text: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let version: Version = serde_json::from_slice(text).map_err(|_| Unreadable::Corrupt)?;
        if version.version > VERSION {
            return Err(Unreadable::Newer);
        }
        let entry: Self = serde_json::from_slice(text).map_err(|_| Unreadable::Corrupt)?;
        let whole = !entry.refresh_token.is_empty();
        Some(entry).filter(|_| whole).ok_or(Unreadable::Corrupt)
    }

    pub(in crate::source) fn write(&self) -> Vec<u8> {
        // Texts and numbers: there is nothing in it that JSON cannot say.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl Access {
    pub(in crate::source) fn new(
        token: String,
        got: SystemTime,
        expires: Option<SystemTime>,
    ) -> Self {
        Self {
            token,
            got: millis(got),
            expires: expires.map(millis),
        }
    }

    pub(in crate::source) fn got(&self) -> SystemTime {
        date(self.got)
    }

    pub(in crate::source) fn expires(&self) -> Option<SystemTime> {
        self.expires.map(date)
    }
}

fn millis(date: SystemTime) -> u64 {
    let since = date.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn date(millis: u64) -> SystemTime {
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    since.unwrap_or(SystemTime::UNIX_EPOCH)
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let got = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let access = Access::new("sk-test-a1".into(), got, Some(got + Duration::from_secs(9)));
        for entry in [
            Entry::new("sk-test-r1".into(), None).with(Some(Open::Unanswered)),
            Entry::new("sk-test-r1".into(), Some(access.clone())).with(Some(Open::UnderWay)),
            Entry::new(
                "sk-test-r1".into(),
                Some(Access::new("a".into(), got, None)),
            ),
        ] {
            assert_eq!(Entry::read(&entry.write()), Ok(entry));
        }
        assert_eq!(
            (access.got(), access.expires()),
            (got, Some(got + Duration::from_secs(9)))
        );
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is_newer() {
        for text in [
            "",
            "{",
            "[1]",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"refresh_token":""}"#,
            r#"{"version":-1,"refresh_token":"r"}"#,
            "{\"version\":1,\"refresh_token\":\"sk-test",
        ] {
            assert_eq!(
                Entry::read(text.as_bytes()),
                Err(Unreadable::Corrupt),
                "{text}"
            );
        }
        let newer = br#"{"version":2,"tokens":[]}"#;
        assert_eq!(Entry::read(newer), Err(Unreadable::Newer));
    }

    // SEC-02
    #[test]
    fn debug_shows_no_token() {
        let got = SystemTime::UNIX_EPOCH;
        let access = Access::new("sk-test-a1".into(), got, None);
        let shown = format!("{access:?} {:?}", Entry::new("sk-test-r1".into(), None));
        assert!(!shown.contains("sk-test"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_not(text: Vec<u8>) {
            let _ = Entry::read(&text);
        }

        #[test]
        fn an_entry_that_was_cut_is_never_taken_for_one(refresh in "\\PC{1,40}", token in "\\PC{0,40}",
                                                        got: u32, cut: proptest::sample::Index) {
            let got = SystemTime::UNIX_EPOCH + Duration::from_secs(got.into());
            let entry = Entry::new(refresh, Some(Access::new(token, got, Some(got)))).with(Some(Open::UnderWay));
            let text = entry.write();
            prop_assert_eq!(Entry::read(&text), Ok(entry));
            // Without the newline it is still whole.
            let cut = cut.index(text.len() - 1);
            prop_assert_eq!(Entry::read(&text[..cut]), Err(Unreadable::Corrupt));
        }
    }
}
