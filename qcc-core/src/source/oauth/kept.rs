//! A login that is kept in a store: what happens around a refresh, so that a refresh token that
//! was rotated is lost neither by a crash nor to another process.

use std::path::Path;
use std::sync::Arc;

use tracing::{error, warn};

use super::OAuth;
use super::refusal::Refusal;
use crate::source::held::Token;
use crate::source::store::{Entry, Locked, Login, Open, Stored};
use crate::time;
use crate::token::NotRefreshed;

/// What is to be known of a refresh whose answer was not kept.
const fn told_of(open: Open) -> &'static str {
    match open {
        Open::UnderWay => {
            "a refresh was under way when the process ended; if it is refused now, log in again"
        }
        Open::Unanswered => {
            "the last refresh was not answered; if the next one is refused, log in again"
        }
    }
}

impl OAuth {
    /// Goes on with what was kept before this process began.
    pub(super) fn resume(&self, login: &Login) {
        match login.look() {
            Ok((Stored::Entry(entry), busy)) => {
                if let Some(open) = entry.open.filter(|_| !busy) {
                    self.tell(told_of(open));
                }
                self.adopt(&entry);
            }
            Ok((Stored::Nothing, _)) => {}
            // It is set aside when it is written.
            Ok((Stored::Corrupt, _)) => {
                self.tell(format!("{} holds no token of ours", login.path().display()));
            }
            Err(text) => self.tell(text),
        }
    }

    /// Gets another token than `before`, and keeps the refresh token that comes with it before
    /// it is used.
    pub(super) async fn renew_kept(
        &self,
        login: &Login,
        before: Option<&Token>,
    ) -> Result<(), NotRefreshed> {
        let locked = login.lock().await?;
        if self.keep_unkept(&locked).await? {
            return Ok(());
        }
        let kept = self.read(&locked).await?;
        if let Some(entry) = &kept
            && self.is_news(entry, before)
        {
            // Another process has refreshed it.
            self.adopt(entry);
            self.tell_nothing();
            return Ok(());
        }
        let kept = kept.unwrap_or_else(|| Entry::new(self.current().expose().to_owned(), None));
        let used = self.named(&kept.refresh_token);
        let marked = kept.clone().with(Some(Open::UnderWay));
        let marking = locked.write(marked).await;
        marking.map_err(|error| not_sent(&error))?;
        match self.ask(&used).await {
            Ok(answer) => {
                let access = Some(self.access(&answer));
                let another = |refresh: &String| *refresh != kept.refresh_token;
                let rotated = answer.refresh.as_ref().is_some_and(another);
                let refresh = answer.refresh.unwrap_or(kept.refresh_token);
                self.keep(&locked, Entry::new(refresh, access), rotated)
                    .await
            }
            Err(refusal) => {
                let known = kept.open;
                let open = known.or_else(|| (!refusal.unchanged).then_some(Open::Unanswered));
                // If this fails, too, the mark says too much, at worst.
                if let Err(error) = locked.write(kept.with(open)).await {
                    warn!(token = %self.login.name(), "{error}");
                }
                Err(explained(refusal, known))
            }
        }
    }

    /// What is kept. What cannot be read is set aside, and what was configured takes its place.
    async fn read(&self, locked: &Locked) -> Result<Option<Entry>, NotRefreshed> {
        let (kept, aside) = locked.read().await?;
        if let Some(aside) = aside {
            self.tell_set_aside(&aside);
        }
        Ok(kept)
    }

    /// Keeps what an issuer gave, and uses it from then on.
    async fn keep(&self, locked: &Locked, entry: Entry, rotated: bool) -> Result<(), NotRefreshed> {
        match locked.write(entry.clone()).await {
            Ok(()) => self.tell_nothing(),
            Err(error) if rotated => {
                let text = format!(
                    "{error}: the new token is not used before it is stored, and lost if this \
                     process ends before that"
                );
                self.lock().unkept = Some(entry);
                return Err(NotRefreshed::for_now(text));
            }
            Err(error) => {
                // The refresh token is still the same: nothing would be lost.
                warn!(token = %self.login.name(), "{error}");
                self.tell(&**error.text());
            }
        }
        self.adopt(&entry);
        Ok(())
    }

    /// Keeps what could not be kept when it came. Whether that gives a token that is good.
    async fn keep_unkept(&self, locked: &Locked) -> Result<bool, NotRefreshed> {
        let Some(entry) = self.lock().unkept.clone() else {
            return Ok(false);
        };
        self.keep(locked, entry.clone(), true).await?;
        self.lock().unkept = None;
        Ok(self.is_news(&entry, None))
    }

    /// Whether `entry` has an access token that is fresh and another one than `before`.
    fn is_news(&self, entry: &Entry, before: Option<&Token>) -> bool {
        let Some(access) = &entry.access else {
            return false;
        };
        before.is_none_or(|before| before.credential.expose() != access.token)
            && self.token(access).is_fresh(time::now())
    }

    /// Uses what is kept.
    fn adopt(&self, entry: &Entry) {
        self.lock().refresh = self.named(&entry.refresh_token);
        if let Some(access) = &entry.access {
            self.state.holder.set(self.token(access));
        }
    }

    fn tell(&self, text: impl Into<Arc<str>>) {
        self.lock().trouble = Some(text.into());
    }

    fn tell_nothing(&self) {
        self.lock().trouble = None;
    }

    fn tell_set_aside(&self, aside: &Path) {
        let text = format!(
            "the file of the token held none of ours and is {} now; the configured refresh token \
             is used, and if that is refused, log in again",
            aside.display()
        );
        error!(token = %self.login.name(), "{text}");
        self.tell(text);
    }
}

fn not_sent(error: &NotRefreshed) -> NotRefreshed {
    NotRefreshed::for_now(format!(
        "{error}: no refresh is sent while its answer could not be stored"
    ))
}

/// The refusal, with what is known of its reason.
fn explained(refusal: Refusal, known: Option<Open>) -> NotRefreshed {
    let error = refusal.error;
    if known.is_some() && error.is_permanent() {
        let text = format!("{error}; the answer of an earlier refresh was lost, which may be why");
        return NotRefreshed::for_good(text);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join;

    use super::super::tests::{Scripted, held, issuer, refreshed, source, token, wait};
    use super::*;
    use crate::source::TokenStore;
    use crate::time::Duration;
    use crate::token::TokenSource as _;

    /// A directory that is gone when the test is over.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("qcc-kept-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn store(&self) -> TokenStore {
            TokenStore::new(self.0.join("tokens"), |work| work())
        }

        /// The source of a process that begins.
        fn source(&self, scripted: &Scripted) -> OAuth {
            source(scripted).with_store(&self.store())
        }

        fn login(&self) -> Login {
            let source = self.source(&Scripted::default());
            source.kept.unwrap()
        }

        /// The file of the login.
        fn file(&self) -> PathBuf {
            self.files("json").next().unwrap()
        }

        fn files(&self, extension: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
            let files = fs::read_dir(self.0.join("tokens")).unwrap();
            let files = files.map(|file| file.unwrap().path());
            files.filter(move |path| path.extension().unwrap() == extension)
        }

        /// Makes every write fail, until it is undone.
        fn block(&self) -> PathBuf {
            let new = self.file().with_extension("new");
            fs::create_dir(&new).unwrap();
            new
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn rotating(number: usize) -> (u16, String) {
        let next = number + 1;
        let more = format!(r#","expires_in":3600,"refresh_token":"sk-test-r{next}""#);
        token(&format!("a{number}"), &more)
    }

    fn refused() -> (u16, String) {
        (400, r#"{"error":"invalid_grant"}"#.to_owned())
    }

    fn trouble(source: &OAuth) -> String {
        source.trouble().as_deref().unwrap_or("none").to_owned()
    }

    // TOK-09, TOK-26
    #[tokio::test(start_paused = true)]
    async fn a_process_goes_on_with_what_the_one_before_it_kept() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(2)]);
        let first = directory.source(&scripted);
        assert_eq!(held(&first), "nothing");
        refreshed(&first).await.unwrap();
        assert_eq!(held(&first), "sk-test-a1");
        let next = directory.source(&scripted);
        assert_eq!(
            (held(&next), trouble(&next)),
            ("sk-test-a1".into(), "none".into())
        );
        refreshed(&next).await.unwrap();
        assert_eq!(held(&next), "sk-test-a2");
        assert_eq!(scripted.seen(), ["sk-test-r1", "sk-test-r2"]);
        assert!(next.id() == first.id());
    }

    // TOK-22
    #[tokio::test(start_paused = true)]
    async fn a_kept_access_token_is_as_old_as_it_is() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        let first = directory.source(&scripted);
        refreshed(&first).await.unwrap();
        wait(3600 - 121).await;
        let later = |source: OAuth| {
            source
                .with_clock(first.clock.clone())
                .with_store(&directory.store())
        };
        assert_eq!(held(&later(source(&scripted))), "sk-test-a1");
        wait(2).await;
        assert_eq!(held(&later(source(&scripted))), "stale sk-test-a1");
    }

    // TOK-24
    #[tokio::test(start_paused = true)]
    async fn sources_that_share_a_store_make_one_refresh() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        let (one, other) = (directory.source(&scripted), directory.source(&scripted));
        let (first, second) = join(refreshed(&one), refreshed(&other)).await;
        first.unwrap();
        second.unwrap();
        assert_eq!(
            (held(&one), held(&other)),
            ("sk-test-a1".into(), "sk-test-a1".into())
        );
        assert_eq!(scripted.seen(), ["sk-test-r1"]);
    }

    // TOK-25
    #[tokio::test(start_paused = true)]
    async fn a_refusal_finds_what_another_process_has_got_meanwhile() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(2)]);
        let (one, other) = (directory.source(&scripted), directory.source(&scripted));
        refreshed(&one).await.unwrap();
        refreshed(&other).await.unwrap();
        refreshed(&one).await.unwrap();
        assert_eq!(
            (held(&one), held(&other)),
            ("sk-test-a2".into(), "sk-test-a1".into())
        );
        refreshed(&other).await.unwrap();
        assert_eq!(held(&other), "sk-test-a2");
        assert_eq!(scripted.seen(), ["sk-test-r1", "sk-test-r2"]);
    }

    // TOK-26
    #[tokio::test(start_paused = true)]
    async fn a_new_login_counts_and_not_what_was_kept_for_the_old_one() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(1)]);
        refreshed(&directory.source(&scripted)).await.unwrap();
        let login = crate::credential::Credential::new("mine", "sk-test-again");
        let again = OAuth::new(login, issuer(), scripted.upstream()).with_store(&directory.store());
        assert_eq!(held(&again), "nothing");
        refreshed(&again).await.unwrap();
        assert_eq!(scripted.seen(), ["sk-test-r1", "sk-test-again"]);
        assert_eq!(directory.files("json").count(), 2);
    }

    // TOK-26
    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_was_cut_off_is_told_until_one_succeeds() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        let cut = directory.source(&scripted).refresh().unwrap();
        tokio::select! {
            _ = cut => panic!("the issuer takes a second"),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let next = directory.source(&Scripted::new([refused(), rotating(1)]));
        assert_eq!(trouble(&next), told_of(Open::UnderWay));
        let error = refreshed(&next).await.unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(
            error.to_string(),
            "auth.example refused the refresh token (400 invalid_grant): log in again and put \
             the new refresh token in its place; the answer of an earlier refresh was lost, \
             which may be why"
        );
        assert_eq!(
            trouble(&directory.source(&scripted)),
            told_of(Open::UnderWay),
            "it is still so"
        );
        refreshed(&next).await.unwrap();
        assert_eq!(
            (held(&next), trouble(&next)),
            ("sk-test-a1".into(), "none".into())
        );
        assert_eq!(trouble(&directory.source(&scripted)), "none");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_another_process_has_under_way_is_no_trouble() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        let one = directory.source(&scripted);
        let (result, at_start) = join(refreshed(&one), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            trouble(&directory.source(&scripted))
        })
        .await;
        result.unwrap();
        assert_eq!(at_start, "none");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_rotated_nothing_leaves_no_mark_and_silence_does() {
        let directory = Directory::new();
        let clear = Scripted::new([(429, "{}"), (400, r#"{"error":"invalid_grant"}"#)]);
        let source = directory.source(&clear);
        for _ in 0..2 {
            let error = refreshed(&source).await.unwrap_err().to_string();
            assert!(!error.contains("lost"), "{error}");
            assert_eq!(trouble(&directory.source(&clear)), "none");
        }
        let silent = directory.source(&Scripted::default());
        refreshed(&silent).await.unwrap_err();
        let silence = told_of(Open::Unanswered);
        assert_eq!(trouble(&directory.source(&clear)), silence);
    }

    // TOK-26
    #[tokio::test(start_paused = true)]
    async fn a_rotated_token_that_cannot_be_stored_is_not_used_and_not_lost() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(2), rotating(3)]);
        let source = directory.source(&scripted);
        refreshed(&source).await.unwrap();
        let (result, block) = join(refreshed(&source), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            directory.block()
        })
        .await;
        let error = result.unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("cannot write ") && told.contains("not used before"),
            "{told}"
        );
        assert!(!error.is_permanent());
        assert_eq!(held(&source), "sk-test-a1");
        refreshed(&source).await.unwrap_err();
        fs::remove_dir(block).unwrap();
        refreshed(&source).await.unwrap();
        assert_eq!(held(&source), "sk-test-a2");
        assert_eq!(scripted.seen().len(), 2, "it was there already");
        refreshed(&source).await.unwrap();
        assert_eq!(scripted.seen()[2], "sk-test-r3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_rotates_nothing_is_used_although_it_cannot_be_stored() {
        let directory = Directory::new();
        let scripted = Scripted::new([token("a1", ""), token("a2", "")]);
        let source = directory.source(&scripted);
        refreshed(&source).await.unwrap();
        let (result, _) = join(refreshed(&source), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            directory.block()
        })
        .await;
        result.unwrap();
        assert_eq!(held(&source), "sk-test-a2");
        assert!(trouble(&source).starts_with("cannot write "));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_while_the_answer_could_not_be_stored() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(2)]);
        let source = directory.source(&scripted);
        refreshed(&source).await.unwrap();
        directory.block();
        let told = refreshed(&source).await.unwrap_err().to_string();
        assert!(
            told.ends_with("no refresh is sent while its answer could not be stored"),
            "{told}"
        );
        assert_eq!(scripted.seen().len(), 1);
    }

    // TOK-26
    #[tokio::test(start_paused = true)]
    async fn a_corrupt_file_is_set_aside_and_told() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), refused(), rotating(1)]);
        refreshed(&directory.source(&scripted)).await.unwrap();
        let file = directory.file();
        for (extension, text) in [("corrupt", &b"{\"version\":1,"[..]), ("corrupt-2", b"")] {
            fs::write(&file, text).unwrap();
            let source = directory.source(&scripted);
            let told = format!("{} holds no token of ours", file.display());
            assert_eq!(trouble(&source), told);
            let _ = refreshed(&source).await;
            let aside = file.with_extension(extension);
            assert_eq!(fs::read(&aside).unwrap(), text);
        }
        assert_eq!(scripted.seen()[1..], ["sk-test-r1", "sk-test-r1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_of_a_later_release_is_left_alone() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        refreshed(&directory.source(&scripted)).await.unwrap();
        let newer = r#"{"version":2}"#;
        fs::write(directory.file(), newer).unwrap();
        let source = directory.source(&scripted);
        let told = refreshed(&source).await.unwrap_err().to_string();
        assert!(
            told.ends_with("was written by a later release: use that one"),
            "{told}"
        );
        assert_eq!(trouble(&source), told);
        assert_eq!(fs::read_to_string(directory.file()).unwrap(), newer);
    }

    // SEC-06
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn what_others_may_read_or_write_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt;

        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1), rotating(2)]);
        refreshed(&directory.source(&scripted)).await.unwrap();
        let file = directory.file();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let chmod = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
        let dir = file.parent().unwrap();
        assert_eq!((mode(dir), mode(&file)), (0o700, 0o600));
        for (path, open, good) in [(&*file, 0o644, "600"), (dir, 0o777, "700")] {
            let before = mode(path);
            chmod(path, open).unwrap();
            let told = refreshed(&directory.source(&scripted))
                .await
                .unwrap_err()
                .to_string();
            let expected = format!(
                "{path} is open to others (mode {open:o}), and it holds tokens: run chmod {good} \
                 {path}",
                path = path.display()
            );
            assert_eq!(told, expected);
            chmod(path, before).unwrap();
        }
        assert_eq!(scripted.seen().len(), 1);
        refreshed(&directory.source(&scripted)).await.unwrap();
        assert_eq!(scripted.seen()[1], "sk-test-r2", "nothing was lost");
    }

    #[tokio::test(start_paused = true)]
    async fn another_process_is_waited_for_a_minute() {
        let directory = Directory::new();
        let _other = directory.login().lock().await.unwrap();
        let start = time::now();
        let source = directory.source(&Scripted::default());
        let told = refreshed(&source).await.unwrap_err().to_string();
        let expected = "another process has been refreshing this token for 60s: look at who holds ";
        assert!(told.starts_with(expected), "{told}");
        assert!((60..61).contains(&(time::now() - start).as_secs()));
    }

    // TOK-26
    #[tokio::test(start_paused = true)]
    async fn an_answer_is_stored_also_if_nobody_waits_for_it() {
        let directory = Directory::new();
        let scripted = Scripted::new([rotating(1)]);
        // Files are looked at when the test says so.
        let (works, mut todo) = tokio::sync::mpsc::unbounded_channel();
        let store = TokenStore::new(directory.0.join("tokens"), move |work| {
            let _ = works.send(work);
        });
        let source = source(&scripted).with_store(&store);
        let mut refresh = source.refresh().unwrap();
        for _ in 0..4 {
            tokio::select! {
                _ = &mut refresh => panic!("it is not over"),
                work = todo.recv() => work.unwrap()(),
            }
        }
        let last = tokio::select! {
            _ = &mut refresh => panic!("it is not over"),
            work = todo.recv() => work.unwrap(),
        };
        drop(refresh);
        let other = directory.login();
        let waiting = tokio::time::timeout(Duration::from_secs(1), other.lock());
        assert!(waiting.await.is_err(), "whoever writes has the lock");
        last();
        assert_eq!(held(&directory.source(&scripted)), "sk-test-a1");
        other.lock().await.unwrap();
    }
}
