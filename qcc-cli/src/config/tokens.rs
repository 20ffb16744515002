//! The token pool of an endpoint: its lists, read as forgivingly as people write them.
//!
//! A list may come out of one variable, so it is taken apart at commas and line ends; blanks and
//! quotes around an item do not matter. What is left out is told as a warning, without its value:
//! a pool that is poorer than it was meant to be still serves.

use std::path::PathBuf;
use std::sync::Arc;

use qcc_core::time::Duration;
use qcc_core::token::{SourceId, Tier};

use super::cluster::{Files, header_safe, text_of_file};
use super::reader::{Field, Reader};
use super::sources::{self, Origin, Refresh};
use super::{Secret, name_of};

/// The tiers with the keys of their lists, in their usual order.
pub(super) const TIERS: [(&str, Tier); 3] = [
    ("personal", Tier::Personal),
    ("shared", Tier::Shared),
    ("anonymous", Tier::Anonymous),
];

/// Where the personal tokens of a pool that names none come from, in this order.
const VARIABLES: [&str; 2] = ["WARP_REFRESH_TOKEN", "WARP_PERSONAL_TOKENS"];

const TOKENS: &str = "write it like tokens: { personal: [\"${TOKEN_1}\", \"${TOKEN_2}\"] }";
const LIST: &str = "write it like [\"${TOKEN_1}\", \"${TOKEN_2}\"], or \"a, b, c\" in one variable";
const ITEM: &str = "write { file: PATH }, { command: [get-token, --json] } or { url: https://… }";

/// Where rotated refresh tokens are kept unless told otherwise.
const STORE: &str = "~/.qcc/tokens";

/// The credentials of one endpoint.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// The tiers, the one that is used first before the others.
    pub(crate) order: Vec<Tier>,
    /// Every credential, tier by tier in their order.
    pub(crate) items: Vec<Token>,
    /// Who gives access tokens for its texts, which are refresh tokens then.
    pub(crate) refresh: Option<Refresh>,
    /// The directory where those are kept that were rotated; `~/.qcc/tokens`.
    pub(crate) store: PathBuf,
    /// So many failures in a row make one inactive; 3.
    pub(crate) max_failures: u32,
    /// For so long; 10 min.
    pub(crate) inactive_for: Duration,
}

/// One credential of a pool.
#[derive(Clone)]
pub(crate) struct Token {
    /// Its tier.
    pub(crate) tier: Tier,
    /// What people call it, like `Personal-1`.
    pub(crate) name: Arc<str>,
    /// What it comes from.
    pub(crate) origin: Origin,
}

impl Tokens {
    /// The credentials of `tier`.
    pub(crate) fn of(&self, tier: Tier) -> impl Iterator<Item = &Token> {
        self.items.iter().filter(move |item| item.tier == tier)
    }

    /// What makes each credential the one that it is, with its name. Nobody can read it.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (&Arc<str>, SourceId)> {
        let refresh = self.refresh.as_ref();
        let items = self.items.iter();
        items.map(move |item| (&item.name, item.origin.identity(refresh)))
    }

    /// Everything in it that nobody may see.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let items = self.items.iter().flat_map(|item| item.origin.secrets());
        let refresh = self.refresh.iter().flat_map(Refresh::secrets);
        items.chain(refresh)
    }
}

/// The name that configuration and listings use.
pub(crate) fn tier_name(tier: Tier) -> &'static str {
    name_of(&TIERS, tier)
}

/// The pool that `field` describes.
pub(super) fn tokens(
    field: &Field<'_>,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<Tokens> {
    let mut section = field.section(reader, TOKENS)?;
    let order_field = section.get("order");
    let order = order_field
        .as_ref()
        .and_then(|field| order(field, reader))
        .unwrap_or_else(|| Tier::ALL.to_vec());
    let mut given = false;
    let mut found = Vec::new();
    for (key, tier) in TIERS {
        let Some(list) = section.get(key) else {
            continue;
        };
        given = true;
        for item in list.each() {
            let origin = origin(&item, reader, files);
            found.extend(origin.map(|origin| (tier, item.clone(), origin)));
        }
        if !order.contains(&tier) {
            let remedy = format!("add {key} to `order`, or remove the list");
            list.warning(reader, "is not in `order` and is never used", remedy);
        }
    }
    if !given {
        found.extend(of_environment(field, reader));
    }
    let refresh_field = section.get("refresh");
    let refresh = refresh_field
        .as_ref()
        .and_then(|field| sources::refresh(field, reader));
    let store = section
        .get("store")
        .and_then(|field| field.text(reader, "write it like ~/.qcc/tokens"));
    let max_failures = section
        .get("max_failures")
        .and_then(|field| field.whole(reader));
    let inactive_for = section
        .get("inactive_for")
        .and_then(|field| field.duration(reader));
    section.close(reader);
    let items = items(&order, &found, reader);
    if items.is_empty() {
        field.warning(
            reader,
            "has no token: the pool is empty, and nothing is sent to this endpoint",
            "list at least one token, or set the variable that has them",
        );
    }
    let is_text = |item: &Token| matches!(item.origin, Origin::Text(_));
    if let Some(field) = refresh_field
        && !items.is_empty()
        && !items.iter().any(is_text)
    {
        let remedy = "list a refresh token, or remove it: commands and URLs give access tokens";
        field.warning(reader, "has no refresh token to refresh", remedy);
    }
    let store = store.as_deref().map_or(STORE, str::trim);
    Some(Tokens {
        order,
        items,
        refresh,
        store: reader.environment.expand(store),
        max_failures: max_failures.unwrap_or(3),
        inactive_for: inactive_for.unwrap_or(Duration::from_secs(600)),
    })
}

fn order(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<Tier>> {
    let remedy = "write it like [personal, shared, anonymous]";
    let items = field.items(reader, remedy)?;
    if items.is_empty() {
        field.problem(reader, "is empty", remedy);
    }
    let mut order = Vec::new();
    for item in items {
        let tier = item.choice(reader, &TIERS)?;
        if order.contains(&tier) {
            item.problem(reader, "is there twice", "name each tier once");
        }
        order.push(tier);
    }
    Some(order)
}

/// The personal tokens that a pool has which names none. They belong to one pool: sent to another
/// service than their own, they would be given away.
fn of_environment<'n>(
    field: &Field<'n>,
    reader: &mut Reader<'_>,
) -> Vec<(Tier, Field<'n>, Origin)> {
    let environment = reader.environment;
    let set: Vec<_> = VARIABLES
        .into_iter()
        .filter_map(|name| environment.get(name))
        .filter(|value| !value.trim().is_empty())
        .collect();
    if set.is_empty() {
        return Vec::new();
    }
    if std::mem::replace(&mut reader.environment_is_taken, true) {
        field.problem(
            reader,
            format!(
                "names no token, like another pool; {} can belong to one only",
                VARIABLES.join(" and ")
            ),
            "say which tokens are whose: personal: [\"${WARP_PERSONAL_TOKENS}\"]",
        );
        return Vec::new();
    }
    let texts = set.into_iter();
    texts
        .map(|text| {
            (
                Tier::Personal,
                field.clone(),
                Origin::Text(Secret::new(text)),
            )
        })
        .collect()
}

/// What one entry of a list comes from. A text, or that of a file, may hold several tokens still.
fn origin(item: &Field<'_>, reader: &mut Reader<'_>, files: Files<'_>) -> Option<Origin> {
    let text = |text: String| Origin::Text(Secret::new(text));
    if !item.is_map() {
        return item.text_or_empty(reader, LIST).map(text);
    }
    let mut section = item.section(reader, ITEM)?;
    let keys = ["file", "command", "url"];
    let [file, command, url] = keys.map(|key| section.get(key));
    let headers_field = section.get("headers");
    let headers = sources::headers(&mut section, reader);
    if let (Some(field), None) = (headers_field, &url) {
        field.warning(reader, "is sent with a url only", "remove it");
    }
    let origin = match (file, command, url) {
        (Some(file), None, None) => text_of_file(&file, reader, files).map(text),
        (None, Some(command), None) => sources::command(&command, reader),
        (None, None, Some(field)) => {
            sources::url(&field, reader).map(|url| Origin::Url { url, headers })
        }
        (None, None, None) => {
            section.missing(reader, "file", ITEM);
            None
        }
        _ => {
            let reason = "has more than one of file, command and url";
            item.problem(reader, reason, "make an entry of the list for each");
            None
        }
    };
    section.close(reader);
    origin
}

/// The credentials from these origins, numbered within their tiers.
fn items(
    order: &[Tier],
    found: &[(Tier, Field<'_>, Origin)],
    reader: &mut Reader<'_>,
) -> Vec<Token> {
    let mut items = Vec::new();
    let mut known = Vec::new();
    for tier in order {
        let mut number = 0;
        for (_, field, origin) in found.iter().filter(|(of, ..)| of == tier) {
            let origins = match origin {
                Origin::Text(list) => parts(list.expose())
                    .filter_map(|part| accepted(part, field, reader))
                    .map(|secret| Origin::Text(Secret::new(secret)))
                    .collect(),
                other => vec![other.clone()],
            };
            for origin in origins {
                let identity = origin.identity(None);
                if known.contains(&identity) {
                    let remedy = "remove one of them; the first one counts";
                    field.warning(reader, "has a token that is there already", remedy);
                    continue;
                }
                known.push(identity);
                number += 1;
                items.push(Token {
                    tier: *tier,
                    name: name(*tier, number),
                    origin,
                });
            }
        }
    }
    items
}

/// `Personal-1` and so on.
fn name(tier: Tier, number: usize) -> Arc<str> {
    let kind = match tier {
        Tier::Personal => "Personal",
        Tier::Shared => "Shared",
        _ => "Anonymous",
    };
    format!("{kind}-{number}").into()
}

/// The items of a list in one text, without what only separates or surrounds them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let around = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    let parts = text.split([',', '\n']);
    parts
        .map(move |part| part.trim_matches(around))
        .filter(|part| !part.is_empty())
}

/// `token`, unless it is none.
fn accepted(token: &str, field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    if is_placeholder(token) {
        let remedy = "put a token into its place, or remove it";
        field.warning(reader, "has a placeholder in the place of a token", remedy);
        return None;
    }
    if token.starts_with(['[', '{']) || token.ends_with([']', '}']) {
        let reason = "has a token that begins or ends with a bracket, as in JSON";
        field.problem(
            reader,
            reason,
            "write the tokens with commas between them: a, b, c",
        );
        return None;
    }
    header_safe(token, field, reader)
}

/// Whether `token` is what examples have, like `your_token_here`.
fn is_placeholder(token: &str) -> bool {
    let token = token.to_ascii_lowercase();
    let rest = token.strip_prefix("your");
    let rest = rest.and_then(|rest| rest.strip_suffix("here"));
    rest.is_some_and(|rest| rest.starts_with(['_', '-']) && rest.ends_with(['_', '-']))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Problem, Shown, from_str};

    /// A file whose only endpoint has these tokens.
    fn pool(tokens: &str) -> String {
        format!(
            "clusters: {{ c: {{ endpoints: [{{ name: pooled, base_url: 'https://p.example', \
             tokens: {tokens} }}] }} }}\n"
        )
    }

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let environment: Environment = variables.iter().copied().collect();
        let config = from_str(text, Path::new("f.yaml"), &environment);
        config.map_err(|problems| {
            assert!(!problems.to_string().contains("sk-test"), "{problems}");
            problems.problems
        })
    }

    /// The names and the secrets of the pool in `text`, and what is warned of.
    fn listed(text: &str, variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let config = load(text, variables).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let tokens = config.clusters[0].tokens.values().next().unwrap();
        let items = tokens.items.iter();
        let items = items.map(|item| format!("{}={}", item.name, item.origin.secrets().concat()));
        let warnings = config.warnings.problems.iter();
        let warnings = warnings.map(|warning| {
            assert!(!warning.reason.contains("sk-test"));
            format!("{}: {}", warning.key, warning.reason)
        });
        (items.collect(), warnings.collect())
    }

    const POOL: &str = "clusters.c.endpoints[0].tokens";

    // TOK-01, TOK-03, TOK-07
    #[test]
    fn lists_of_the_file_and_of_variables_become_named_tokens() {
        let text = pool(
            "{ personal: ['${LIST}', sk-test-4], shared: \"'sk-test-5'\", \
             anonymous: your_token_here }",
        );
        let list = "sk-test-1, 'sk-test-2',, sk-test-1,\"sk-test-3\"";
        let (items, warnings) = listed(&text, &[("LIST", list)]);
        let expected = [
            "Personal-1=sk-test-1",
            "Personal-2=sk-test-2",
            "Personal-3=sk-test-3",
            "Personal-4=sk-test-4",
            "Shared-1=sk-test-5",
        ];
        assert_eq!(items, expected);
        let expected = [
            format!("{POOL}.personal[0]: has a token that is there already"),
            format!("{POOL}.anonymous: has a placeholder in the place of a token"),
        ];
        assert_eq!(warnings, expected);
    }

    // TOK-05
    #[test]
    fn the_order_of_the_tiers_is_that_of_the_file_or_the_usual_one() {
        let tiers = "shared: sk-test-2, personal: sk-test-1, anonymous: sk-test-3";
        let (items, _) = listed(&pool(&format!("{{ {tiers} }}")), &[]);
        assert_eq!(
            items,
            [
                "Personal-1=sk-test-1",
                "Shared-1=sk-test-2",
                "Anonymous-1=sk-test-3"
            ]
        );
        let (items, warnings) = listed(
            &pool(&format!("{{ order: [shared, personal], {tiers} }}")),
            &[],
        );
        assert_eq!(items, ["Shared-1=sk-test-2", "Personal-1=sk-test-1"]);
        assert_eq!(
            warnings,
            [format!(
                "{POOL}.anonymous: is not in `order` and is never used"
            )]
        );
    }

    // TOK-01, TOK-04
    #[test]
    fn a_pool_that_names_no_token_has_those_of_the_environment() {
        let variables = [
            ("WARP_REFRESH_TOKEN", "sk-test-1"),
            ("WARP_PERSONAL_TOKENS", "'sk-test-2,sk-test-3,sk-test-4'"),
        ];
        let (items, warnings) = listed(&pool("{}"), &variables);
        let expected = (1..=4).map(|n| format!("Personal-{n}=sk-test-{n}"));
        assert_eq!(items, expected.collect::<Vec<_>>());
        assert_eq!(warnings, [""; 0]);
        let (items, _) = listed(&pool("{}"), &variables[..1]);
        assert_eq!(items, ["Personal-1=sk-test-1"]);
        // Whoever names tokens has named all of them.
        let (items, _) = listed(&pool("{ shared: sk-test-9 }"), &variables);
        assert_eq!(items, ["Shared-1=sk-test-9"]);
    }

    // TOK-01
    #[test]
    fn the_tokens_of_the_environment_belong_to_one_pool_only() {
        let text = "clusters: { c: { endpoints: [\
            { name: a, base_url: 'https://a.example', tokens: {} }, \
            { name: b, base_url: 'https://b.example', tokens: {} }] } }";
        let problems = load(text, &[("WARP_REFRESH_TOKEN", "sk-test-1")])
            .err()
            .unwrap();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].key, "clusters.c.endpoints[1].tokens");
        assert!(load(text, &[]).is_ok());
    }

    // TOK-30
    #[test]
    fn a_pool_without_a_token_is_a_warning_and_no_problem() {
        for (tokens, variables) in [
            ("{}", &[][..]),
            ("{ personal: '${LIST}' }", &[("LIST", " , ")]),
            ("{ personal: [your_token_here] }", &[]),
        ] {
            let (items, warnings) = listed(&pool(tokens), variables);
            assert_eq!(items, [""; 0], "{tokens}");
            let told = format!("{POOL}: has no token");
            let mut warnings = warnings.iter();
            assert!(
                warnings.any(|warning| warning.starts_with(&told)),
                "{tokens}"
            );
        }
    }

    // TOK-03, CFG-06
    #[test]
    fn what_cannot_be_meant_is_a_problem_with_a_remedy() {
        for (tokens, key, reason) in [
            (
                "{ personal: '[\"sk-test-1\",\"sk-test-2\"]' }",
                "personal",
                "bracket",
            ),
            ("{ personal: 'sk-test-1 sk-test-2' }", "personal", "blanks"),
            ("{ personal: '${NONE}' }", "personal", "NONE is not set"),
            (
                "{ personal: { file: /no/such } }",
                "personal.file",
                "cannot be read",
            ),
            ("{ order: [personal, personal] }", "order[1]", "twice"),
            ("{ order: [] }", "order", "is empty"),
        ] {
            let problems = load(&pool(tokens), &[]).err().unwrap();
            assert_eq!(problems[0].key, format!("{POOL}.{key}"), "{tokens}");
            assert!(
                problems[0].reason.contains(reason),
                "{tokens}: {problems:#?}"
            );
        }
    }

    // SEL-01, CFG-06
    #[test]
    fn a_pool_takes_the_place_of_a_key_and_its_endpoint_needs_a_name_of_its_own() {
        let endpoints = |one: &str, other: &str| {
            format!(
                "clusters: {{ c: {{ endpoints: [{{ base_url: 'https://p.example', {one} }}, \
                 {{ base_url: 'https://p.example', {other} }}] }} }}"
            )
        };
        let one = "tokens: { personal: sk-test-1 }";
        let other = "name: b, api_key: sk-test-2";
        for (first, second, key, reason) in [
            (one, other, "endpoints[0].name", "is missing"),
            (
                "name: a, tokens: {}, api_key: sk-test-1",
                other,
                "endpoints[0].tokens",
                "api_key",
            ),
            (
                "name: b, tokens: {}",
                "name: b, tokens: {}",
                "endpoints[1]",
                "another endpoint",
            ),
            ("name: a", other, "endpoints[0].api_key", "is missing"),
        ] {
            let problems = load(&endpoints(first, second), &[]).err().unwrap();
            assert_eq!(problems[0].key, format!("clusters.c.{key}"), "{first}");
            assert!(problems[0].reason.contains(reason), "{problems:#?}");
        }
        let config = load(&endpoints(&format!("name: a, {one}"), other), &[])
            .ok()
            .unwrap();
        let cluster = &config.clusters[0];
        let id = cluster.endpoints.iter().next().unwrap().id();
        let expected = qcc_core::endpoint::EndpointId::new("https://p.example", "a");
        assert_eq!(id, expected);
        assert!(cluster.tokens.contains_key(&id));
    }

    // CLI-06, SEC-01
    #[test]
    fn a_shown_pool_has_its_numbers_and_nothing_of_its_tokens() {
        let text = pool("{ personal: [sk-test-0001-abcd, sk-test-0002-efgh], inactive_for: 1m }");
        let config = load(&text, &[]).ok().unwrap();
        let shown = serde_json::to_value(Shown::of(&config)).unwrap();
        let tokens = &shown["clusters"]["c"]["endpoints"][0]["tokens"];
        assert_eq!(tokens["personal"], serde_json::json!(["****", "****"]));
        assert_eq!(tokens["inactive_for"], "1m");
        let endpoint = config.clusters[0].endpoints.iter().next().unwrap();
        assert_eq!(config.clusters[0].shown_key(endpoint), "2 tokens");
    }

    // TOK-03
    #[test]
    fn a_list_is_taken_apart_at_commas_whatever_surrounds_its_items() {
        for (text, expected) in [
            ("a, b,,a", &["a", "b", "a"][..]),
            ("'a','b'", &["a", "b"]),
            (" 'a, b , c' ", &["a", "b", "c"]),
            ("\"a\"\n\"b\"\n", &["a", "b"]),
            (" ,, ", &[]),
            ("", &[]),
        ] {
            assert_eq!(parts(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    // TOK-03
    #[test]
    fn what_examples_have_in_the_place_of_a_token_is_known() {
        for text in [
            "your_token_here",
            "YOUR_REFRESH_TOKEN_HERE",
            "your-key-here",
            "your_here",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in [
            "yours",
            "your_token",
            "token_here",
            "yourselfhere",
            "sk-test-here",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    // TOK-07
    #[test]
    fn every_tier_has_the_name_that_the_library_uses() {
        for tier in Tier::ALL {
            assert_eq!(tier_name(tier), tier.as_str());
            assert_eq!(name(tier, 2).to_ascii_lowercase(), format!("{tier}-2"));
        }
    }
}
