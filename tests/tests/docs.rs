//! The documents say what the code does: their tables are those of the library, their lists are
//! complete, their links lead somewhere.

use std::collections::BTreeSet;
use std::future::pending;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use qcc_core::available::Reason;
use qcc_core::balance::{Balance, Member, Priority};
use qcc_core::body::RequestBody;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::Error;
use qcc_core::facts::Dialect;
use qcc_core::failover::Failover;
use qcc_core::failure::Kind;
use qcc_core::limit::{Caller, ConcurrencyLimitLayer};
use qcc_core::llm::{self, CODES, CodeList, PHRASES, SENTENCES, SessionKey, TYPES, respond};
use qcc_core::retry::{self, RetryWithExclusionLayer};
use qcc_core::simulate::{Behaviour, Simulator};
use qcc_core::time;
use qcc_core::visit::{Preferred, Visit};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of a document under this heading, up to the next one.
fn section<'d>(doc: &'d str, heading: &str) -> &'d str {
    let mut parts = doc.split("\n#").filter_map(|part| {
        let (title, text) = part.split_once('\n')?;
        (title.trim_start_matches('#').trim() == heading).then_some(text)
    });
    let found = parts.next();
    found.unwrap_or_else(|| panic!("there is no section {heading:?}"))
}

/// The cells of the rows of the first table in `text`, without its head.
fn table(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with("|--"));
    rows.skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

fn list(entries: &[&str]) -> String {
    entries.join("`, `")
}

fn lists(lists: &[CodeList]) -> Vec<Vec<String>> {
    lists
        .iter()
        .map(|one| vec![one.vendor.into(), one.kind.to_string(), list(one.codes)])
        .collect()
}

// DOC-07, CLS-01, CLS-05
#[test]
fn the_classification_lists_are_those_of_the_library() {
    let doc = read("docs/failures.md");
    assert_eq!(table(section(&doc, "Codes")), lists(CODES));
    assert_eq!(table(section(&doc, "Types")), lists(TYPES));
    let phrases: Vec<_> = PHRASES
        .iter()
        .map(|(kind, phrases)| vec![kind.to_string(), list(phrases)])
        .collect();
    assert_eq!(table(section(&doc, "Phrases")), phrases);
    let sentences: Vec<_> = SENTENCES
        .iter()
        .map(|one| {
            let (status, kind) = (one.status.to_string(), one.kind.to_string());
            vec![one.vendor.into(), status, kind, one.begins.into()]
        })
        .collect();
    assert_eq!(table(section(&doc, "Sentences")), sentences);
}

// DOC-07
#[test]
fn the_kinds_have_the_class_and_the_blame_that_the_page_says() {
    let doc = read("docs/failures.md");
    let described: Vec<_> = table(section(&doc, "Kinds"))
        .into_iter()
        .map(|row| row[..4].to_vec())
        .collect();
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let counts = if kind.counts() { "counts" } else { "-" };
            let (class, blame) = (kind.class(), kind.blame());
            [kind.as_str(), class.as_str(), blame.as_str(), counts].map(str::to_owned)
        })
        .collect();
    assert_eq!(described, kinds);
}

// DOC-07
#[test]
fn the_reasons_and_cool_downs_are_those_of_the_library() {
    let doc = read("docs/failures.md");
    let described: Vec<_> = table(section(&doc, "Why an endpoint is left out"))
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(described, Reason::ALL.map(Reason::as_str));

    let seconds = |text: &str| {
        let (number, unit) = text.split_once(' ').unwrap();
        let unit = match &unit[..1] {
            "s" => 1,
            "h" => 3600,
            other => panic!("{other} is no unit"),
        };
        Duration::from_secs(number.parse::<u64>().unwrap() * unit)
    };
    let rows = table(section(&doc, "Cool-downs"));
    let described: Vec<_> = rows[..4].iter().map(|row| seconds(&row[1])).collect();
    let constants = [
        llm::RATE_LIMIT_COOL_DOWN,
        llm::QUOTA_COOL_DOWN,
        llm::SHORTEST_COOL_DOWN,
        llm::LONGEST_COOL_DOWN,
    ];
    assert_eq!(described, constants);
    let longest = format!("at most {} s", llm::LONGEST_RETRY_AFTER.as_secs());
    assert!(section(&doc, "Error types of our own answers").contains(&longest));
}

// DOC-07, AFF-03
#[test]
fn the_session_id_sources_are_those_of_the_library_in_their_order() {
    let doc = read("docs/failures.md");
    let described: Vec<_> = section(&doc, "Session ids")
        .lines()
        .filter_map(|line| line.split_once(". `")?.1.strip_suffix('`'))
        .collect();
    let key = SessionKey::default();
    let sources: Vec<_> = key.sources().iter().map(ToString::to_string).collect();
    assert_eq!(described, sources);
}

/// The code and the status of the answer that the library makes of `error`.
fn code(error: &Error) -> [String; 2] {
    let answer = respond(error, Some(Dialect::Anthropic), time::now());
    let json: Value = serde_json::from_slice(answer.body()).unwrap();
    let code = json["error"]["code"].as_str().unwrap().to_owned();
    [code, answer.status().as_u16().to_string()]
}

/// How a request ends whose only endpoint behaves so.
async fn ending(behaviour: Option<&str>, request: Request<RequestBody>) -> [String; 2] {
    let upstream = Simulator::new();
    let mut endpoints = Vec::new();
    if let Some(behaviour) = behaviour {
        upstream.set("a", behaviour.parse::<Behaviour>().unwrap());
        endpoints.push(Endpoint::new("a", "http://a.sim".parse().unwrap()));
    }
    let endpoints = Endpoints::try_from_iter(endpoints).unwrap();
    let builder = Failover::builder(endpoints).llm();
    let failover = builder.build(|_endpoint| upstream.clone());
    let answer: Result<Response<_>, Error> = failover.oneshot(request).await;
    code(&answer.expect_err("an answer is relayed"))
}

/// How a request ends that belongs to an endpoint that is not there.
async fn ending_without_owner(request: Request<RequestBody>) -> [String; 2] {
    let owner = Endpoint::new("a", "http://a.sim".parse().unwrap()).id();
    let nobody: [(Member, Simulator); 0] = [];
    let balance = Balance::new(nobody, Arc::new(Priority::default()), Default::default());
    let bound = balance.map_request(move |mut request: Request<RequestBody>| {
        Visit::of(request.extensions_mut()).preferred = Some(Preferred::hard(owner, None));
        request
    });
    let retry = RetryWithExclusionLayer::new(retry::Config::default()).layer(bound);
    let answer: Result<Response<_>, Error> = retry.oneshot(request).await;
    code(&answer.expect_err("an answer is relayed"))
}

/// The same for a client that has as many requests in flight as it may have.
async fn ending_of_a_full_caller(mut request: Request<RequestBody>) -> [String; 2] {
    let caller = Caller::new("laptop", NonZeroU32::new(1));
    request.extensions_mut().insert(caller.clone());
    let mut first = ask("");
    first.extensions_mut().insert(caller);
    let never = |_: Request<RequestBody>| pending::<Result<Response<RequestBody>, Error>>();
    let limited = ConcurrencyLimitLayer.layer(service_fn(never));
    tokio::select! {
        biased;
        _ = limited.clone().oneshot(first) => panic!("it is answered"),
        answer = limited.oneshot(request) => code(&answer.expect_err("it has a place")),
    }
}

/// The body of a client whose connection breaks.
struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

fn ask(body: impl Into<RequestBody>) -> Request<RequestBody> {
    Request::post("/v1/messages").body(body.into()).unwrap()
}

// DOC-07, OPS-08
#[tokio::test(start_paused = true)]
async fn every_error_of_ours_is_described_with_its_status() {
    const STREAMED: &str = r#"{"model":"m","stream":true}"#;
    const WHOLE: &str = r#"{"model":"m"}"#;
    let mut endings = BTreeSet::new();
    for (behaviour, request) in [
        (None, ask(WHOLE)),
        (Some("refuse"), ask(WHOLE)),
        (Some("error:0"), ask(STREAMED)),
        (Some("hang"), ask(STREAMED)),
        (Some("status:429"), ask(WHOLE)),
        (Some("status:401"), ask(WHOLE)),
        (Some("hang"), ask(WHOLE)),
        (Some("ok"), ask(RequestBody::new(Broken))),
    ] {
        endings.insert(ending(behaviour, request).await);
    }
    endings.insert(ending_without_owner(ask(WHOLE)).await);
    endings.insert(ending_of_a_full_caller(ask(WHOLE)).await);
    let doc = read("docs/failures.md");
    let described: BTreeSet<_> = table(section(&doc, "Error types of our own answers"))
        .into_iter()
        .map(|row| {
            let status = row[1].split(';').next().unwrap_or_default();
            [row[0].clone(), status.to_owned()]
        })
        .collect();
    assert_eq!(described, endings);
}

// DOC-07
#[test]
fn last_resort_and_restart_are_described() {
    let doc = read("docs/failures.md");
    let resort = section(&doc, "Last resort");
    for word in [
        "one request at a time",
        "`last_resort: refuse`",
        "never tried",
    ] {
        assert!(resort.contains(word), "{word}");
    }
    let lost = section(&doc, "What is lost at a restart");
    for word in [
        "session",
        "breakers",
        "cool-downs",
        "refused",
        "switched off or on",
        "records",
    ] {
        assert!(lost.contains(word), "{word}");
    }
}

/// The texts in quotation marks in the files of `folder`, tests aside, if what stands before one
/// is `wanted`.
fn quoted(folder: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if is_test || path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let pieces: Vec<_> = code.split('"').collect();
        for pair in pieces.windows(2) {
            if wanted(pair[0]) {
                found.insert(pair[1].to_owned());
            }
        }
    }
    found
}

// DOC-07, CLI-23
#[test]
fn every_admin_route_is_described() {
    let doc = read("docs/failures.md");
    let described: BTreeSet<_> = table(section(&doc, "Admin routes"))
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let document: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let mut known = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            known.insert(format!("{} {path}", method.to_ascii_uppercase()));
        }
    }
    assert_eq!(described, known, "docs/failures.md and docs/openapi.json");
    // That the document is up to date is tested with the program; this only asks before.
    let source = read("qcc-cli/src/admin/routes.rs");
    let (_, routes) = source.split_once("fn routes() -> Vec<Route> {").unwrap();
    for piece in routes.split("\"/").skip(1) {
        let path = format!("/{}", piece.split('"').next().unwrap());
        assert!(
            document["paths"].get(&path).is_some(),
            "{path} is missing; cargo run -p qcc-cli -- openapi > docs/openapi.json"
        );
    }
}

// DOC-07
#[test]
fn every_refusal_of_the_proxy_and_of_its_admin_api_is_described() {
    let doc = read("docs/failures.md");
    let codes = quoted("qcc-cli/src/server", |before| before.ends_with("code: "));
    assert!(codes.contains("unknown_route"), "{codes:?}");
    for code in codes {
        assert!(doc.contains(&format!("| `{code}` |")), "{code}");
    }
    // A status, then the type.
    let mut types = quoted("qcc-cli/src/admin", |before| {
        let argument = before.rsplit("StatusCode::").next().unwrap_or_default();
        let status = argument.trim_end().strip_suffix(',');
        before.contains("StatusCode::") && status.is_some_and(is_constant)
    });
    // A status may as well stand before a message.
    types.retain(|kind| {
        kind.bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
    });
    assert!(types.contains("ambiguous"), "{types:?}");
    for kind in types {
        assert!(
            section(&doc, "Admin routes").contains(&format!("`{kind}`")),
            "{kind}"
        );
    }
}

fn is_constant(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

// DOC-06
#[test]
fn the_readme_is_short_and_compares_with_the_three_by_name() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 120, "{}", readme.lines().count());
    let comparison = section(&readme, "Compared with");
    for peer in [
        "1rgs/claude-code-proxy",
        "snipeship/ccflare",
        "fuergaosi233/claude-code-proxy",
    ] {
        assert!(
            comparison.contains(&format!("[{peer}](https://github.com/{peer})")),
            "{peer}"
        );
    }
    assert!(comparison.contains("As of "), "the comparison has no date");
}

#[test]
fn the_long_form_in_the_document_is_the_example() {
    let doc = read("docs/stack-order.md");
    let (_, code) = doc.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let example = read("examples/long_form.rs");
    let program = example.lines().skip_while(|line| line.starts_with("//!"));
    let program: Vec<_> = program.collect();
    assert_eq!(code.trim(), program.join("\n").trim());
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    let text: String = heading
        .to_lowercase()
        .chars()
        .filter(|c| kept(*c))
        .collect();
    text.replace(' ', "-")
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut pages = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name();
        pages.push(Path::new("docs").join(name));
    }
    let mut links = 0;
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|e| e == "md"))
    {
        let text = read(page.to_str().unwrap());
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let target = root().join(target);
            assert!(target.exists(), "{}: {link}", page.display());
            if !fragment.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut headings = text.lines().filter_map(|line| {
                    let title = line.trim_start_matches('#');
                    (title.len() < line.len()).then(|| anchor(title.trim()))
                });
                assert!(
                    headings.any(|one| one == fragment),
                    "{}: {link}",
                    page.display()
                );
            }
        }
    }
    assert!(links > 10, "{links}");
}

// DOC-04
#[test]
fn the_guide_to_tokens_covers_set_up_formats_and_what_to_do() {
    let doc = read("docs/tokens.md");
    let keys = [
        "personal:",
        "shared:",
        "anonymous:",
        "refresh:",
        "command:",
        "url:",
    ];
    for key in keys {
        assert!(doc.contains(key), "{key}");
    }
    let lists = table(section(&doc, "Lists"));
    let wrong = lists.iter().filter(|row| row[1].starts_with("an error"));
    assert_eq!(wrong.count(), 3);
    assert!(lists.len() > 6, "and right ones");
    assert_eq!(table(section(&doc, "Kinds of credential")).len(), 4);
    assert_eq!(table(section(&doc, "Commands and URLs")).len(), 5);
    let remedies = section(&doc, "When something is wrong");
    for entry in [
        "The pool is empty",
        "The endpoint is disabled, reason `auth_failed`",
        "The client still gets 429s",
        "The refresh is refused",
        "The client gets a 500",
    ] {
        assert!(remedies.contains(&format!("**{entry}")), "{entry}");
    }
}

// DOC-05
#[test]
fn the_page_of_benchmarks_tells_means_and_connections_and_whose_figures_they_are() {
    let doc = read("docs/benchmarks.md");
    let measured = section(&doc, "What was measured");
    assert!(measured.contains("32 connections"));
    for name in ["2KB", "stream", "100KB"] {
        let part = section(&doc, name);
        assert!(part.contains("mean, ms"), "{name}");
        assert_eq!(table(part).len(), 4, "{name}: two proxies under two loads");
    }
    let rows = table(section(&doc, "Expectations"));
    assert!(rows.iter().all(|row| row[1] == "expected, not measured"));
}
