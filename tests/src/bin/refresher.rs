//! A process that refreshes one token, for the tests that kill it: `refresher DIRECTORY URL`.
//!
//! It says each step in a line on its output. Before it touches a file it says `file` and waits
//! for a line of input, so that whoever runs it decides how far it gets.

use std::error::Error;
use std::future::pending;
use std::io::{self, Write as _};

use qcc_core::credential::Credential;
use qcc_core::source::{Issuer, OAuth, TokenStore, Work};
use qcc_core::time;
use qcc_core::token::{Held, TokenSource as _};
use qcc_core::upstream::{Reqwest, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(directory), Some(url)) = (args.next(), args.next()) else {
        return Err("refresher DIRECTORY URL".into());
    };
    let store = TokenStore::new(directory, |work: Work| {
        tokio::task::spawn_blocking(|| {
            say("file");
            let mut line = String::new();
            // At the end of the input nobody decides any more.
            if io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
                work();
            }
        });
    });
    let client = Reqwest::with_settings(&Settings::default())?;
    let login = Credential::new("mine", "sk-test-r1");
    let source = OAuth::new(login, Issuer::new(url.parse()?), client).with_store(&store);
    say_state(&source);
    if let Some(refresh) = source.refresh() {
        match refresh.await {
            Ok(()) => say("ok"),
            Err(error) => say(&format!("error {error}")),
        }
    }
    say_state(&source);
    pending().await
}

/// What is held, and what is the matter.
fn say_state(source: &OAuth) {
    let held = match source.held(time::now()) {
        Held::Fresh(held) | Held::Stale(Some(held)) => held.expose().to_owned(),
        _ => "nothing".to_owned(),
    };
    say(&format!("holds {held}"));
    let trouble = source.trouble();
    say(&format!("trouble {}", trouble.as_deref().unwrap_or("none")));
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Whoever reads it may be gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
