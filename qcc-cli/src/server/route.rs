//! Which cluster serves a request. Pure: nothing here waits or keeps anything.
//!
//! A cluster is named by the header `x-qcc-cluster` or by the first part of the path; else the
//! first one that serves dialect and model is taken. A dialect that nobody speaks is no unknown
//! route: the first cluster answers that it has no endpoint for it, with the reasons counted.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use qcc_core::endpoint::Endpoints;
use qcc_core::facts::{Dialect, Facts};

use crate::config::API_SEGMENTS;

/// Names the cluster that is to serve a request.
const CLUSTER: HeaderName = HeaderName::from_static("x-qcc-cluster");

/// Of a text of the client, at most so much is repeated.
const REPEATED: usize = 64;

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// The stable code.
    pub(super) code: &'static str,
    /// What is wrong and what to do.
    pub(super) message: String,
}

/// A name with what it stands for.
pub(super) trait Candidate {
    /// Its name.
    fn name(&self) -> &Arc<str>;

    /// Its endpoints.
    fn endpoints(&self) -> &Endpoints;
}

/// The cluster that `head` names, if it names one. The name is taken out of the head, so that
/// the route is what remains and no upstream sees the name.
pub(super) fn named<C: Candidate>(
    head: &mut Parts,
    clusters: &[C],
) -> Result<Option<usize>, Refusal> {
    if let Some(name) = head.headers.remove(CLUSTER) {
        return match position(clusters, name.as_bytes()) {
            Some(index) => {
                strip(&mut head.uri, &clusters[index]);
                Ok(Some(index))
            }
            None => Err(unknown_cluster(
                &String::from_utf8_lossy(name.as_bytes()),
                clusters,
            )),
        };
    }
    let (first, _) = split(head.uri.path());
    let index = position(clusters, first.as_bytes());
    if let Some(index) = index {
        strip(&mut head.uri, &clusters[index]);
    }
    Ok(index)
}

fn position<C: Candidate>(clusters: &[C], name: &[u8]) -> Option<usize> {
    clusters
        .iter()
        .position(|cluster| cluster.name().as_bytes() == name)
}

/// The first part of a path, and the path that follows it.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.find('/') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    }
}

/// Takes the name of `cluster` off the path, if that begins with it.
fn strip<C: Candidate>(uri: &mut Uri, cluster: &C) {
    let (first, rest) = split(uri.path());
    if first != &**cluster.name() {
        return;
    }
    let rest = if rest.is_empty() { "/" } else { rest };
    let target: Cow<'_, str> = match uri.query() {
        Some(query) => format!("{rest}?{query}").into(),
        None => rest.into(),
    };
    // A part of a valid target that begins with a slash is one itself.
    if let Ok(target) = PathAndQuery::try_from(target.as_ref()) {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(target);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// The cluster that serves a request which names none.
pub(super) fn choose<C: Candidate>(head: &Parts, facts: &Facts, clusters: &[C]) -> usize {
    let guessed = facts.dialect.is_none().then(|| {
        let mut guessed = facts.clone();
        guessed.dialect = Some(guess(head));
        guessed
    });
    let facts = guessed.as_ref().unwrap_or(facts);
    let serves = |wanted: &dyn Fn(&C) -> bool| clusters.iter().position(wanted);
    serves(&|cluster| {
        let mut endpoints = cluster.endpoints().iter();
        endpoints.any(|endpoint| endpoint.speaks(facts) && endpoint.serves(facts))
    })
    .or_else(|| {
        serves(&|cluster| {
            cluster
                .endpoints()
                .iter()
                .any(|endpoint| endpoint.speaks(facts))
        })
    })
    .unwrap_or(0)
}

/// The vendor of a request that belongs to no dialect, such as a list of models.
fn guess(head: &Parts) -> Dialect {
    if head.headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else if head.headers.contains_key("x-goog-api-key") || head.uri.path().starts_with("/v1beta")
    {
        Dialect::Gemini
    } else {
        Dialect::Chat
    }
}

/// Whether anything behind the proxy may know the route.
///
/// # Errors
///
/// The refusal, if not.
pub(super) fn check<C: Candidate>(
    head: &Parts,
    dialect: Option<Dialect>,
    clusters: &[C],
) -> Result<(), Refusal> {
    let path = head.uri.path();
    let (first, rest) = split(path);
    if API_SEGMENTS.contains(&first) {
        return Ok(());
    }
    // `/claud/v1/messages` is a slip in the name of the cluster, not in the route.
    if API_SEGMENTS.contains(&split(rest).0) {
        return Err(unknown_cluster(first, clusters));
    }
    if dialect.is_some() {
        return Ok(());
    }
    let (method, path) = (&head.method, clip(path));
    let cluster = clusters.first().map_or("NAME", |cluster| cluster.name());
    Err(Refusal {
        status: StatusCode::NOT_FOUND,
        code: "unknown_route",
        message: format!(
            "{method} {path} is no route of an API that this proxy serves. Use /v1/messages, \
             /v1/chat/completions, /v1/responses or /v1beta/models/…, or name a cluster first: \
             /{cluster}/v1/messages"
        ),
    })
}

/// The refusal of a protocol switch: clients that know another way take it then.
///
/// # Errors
///
/// The refusal, if `headers` ask for one.
pub(super) fn check_upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    let websocket = headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !websocket {
        return Ok(());
    }
    Err(Refusal {
        status: StatusCode::UPGRADE_REQUIRED,
        code: "websocket_unsupported",
        message: "this proxy does not tunnel WebSockets; use the HTTP API with stream: true".into(),
    })
}

/// The refusal of a client without a key of this proxy.
pub(super) fn bad_key() -> Refusal {
    Refusal {
        status: StatusCode::UNAUTHORIZED,
        code: "invalid_client_key",
        message: "this proxy wants one of its own client keys: send it as x-api-key or as \
                  authorization: Bearer, and add its SHA-256 to client_keys in the configuration"
            .into(),
    }
}

fn unknown_cluster<C: Candidate>(name: &str, clusters: &[C]) -> Refusal {
    let names: Vec<_> = clusters.iter().map(|cluster| &**cluster.name()).collect();
    let hint = match crate::config::closest(name, &names) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("known: {}", names.join(", ")),
    };
    Refusal {
        status: StatusCode::NOT_FOUND,
        code: "unknown_cluster",
        message: format!("there is no cluster {}; {hint}", clip(name)),
    }
}

/// The start of `text`, cut at a character.
fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPEATED)]
}

#[cfg(test)]
mod tests {
    use http::Request;
    use qcc_core::endpoint::{Api, Endpoint};

    use super::*;

    struct Named(Arc<str>, Endpoints);

    impl Candidate for Named {
        fn name(&self) -> &Arc<str> {
            &self.0
        }

        fn endpoints(&self) -> &Endpoints {
            &self.1
        }
    }

    fn cluster(name: &str, api: Api, models: &[&str]) -> Named {
        let base = "https://h.example".parse().unwrap();
        let endpoint = Endpoint::new("one", base)
            .with_api(api)
            .with_models(models.iter().copied());
        Named(name.into(), Endpoints::try_from_iter([endpoint]).unwrap())
    }

    fn clusters() -> [Named; 4] {
        [
            cluster("haiku", Api::Anthropic, &["claude-haiku"]),
            cluster("claude", Api::Anthropic, &[]),
            cluster("codex", Api::OpenAiResponses, &[]),
            cluster("openai", Api::OpenAi, &[]),
        ]
    }

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn facts(dialect: Option<Dialect>, model: &str) -> Facts {
        let mut facts = Facts::default();
        facts.dialect = dialect;
        facts.model = (!model.is_empty()).then(|| model.into());
        facts
    }

    fn chosen(
        uri: &str,
        headers: &[(&str, &str)],
        dialect: Option<Dialect>,
        model: &str,
    ) -> String {
        let clusters = clusters();
        let index = choose(&head(uri, headers), &facts(dialect, model), &clusters);
        clusters[index].0.to_string()
    }

    // ACC-01, ACC-02
    #[test]
    fn the_first_cluster_that_serves_dialect_and_model_is_chosen() {
        for (dialect, model, expected) in [
            (Dialect::Anthropic, "claude-haiku-9", "haiku"),
            (Dialect::Anthropic, "claude-opus-9", "claude"),
            (Dialect::Responses, "gpt", "codex"),
            (Dialect::Chat, "gpt", "openai"),
            // Nobody speaks it: the first one says so.
            (Dialect::Gemini, "gemini", "haiku"),
        ] {
            assert_eq!(
                chosen("/", &[], Some(dialect), model),
                expected,
                "{dialect} {model}"
            );
        }
    }

    // ACC-02
    #[test]
    fn responses_go_to_openai_where_nothing_else_is() {
        let clusters = [
            cluster("claude", Api::Anthropic, &[]),
            cluster("openai", Api::OpenAi, &[]),
        ];
        let facts = facts(Some(Dialect::Responses), "");
        assert_eq!(choose(&head("/v1/responses", &[]), &facts, &clusters), 1);
    }

    // ACC-01
    #[test]
    fn a_model_that_no_cluster_lists_goes_where_its_dialect_is_spoken() {
        let clusters = [
            cluster("openai", Api::OpenAi, &[]),
            cluster("haiku", Api::Anthropic, &["claude-haiku"]),
        ];
        let facts = facts(Some(Dialect::Anthropic), "claude-opus");
        assert_eq!(choose(&head("/", &[]), &facts, &clusters), 1);
    }

    #[test]
    fn a_request_of_no_dialect_goes_to_the_vendor_that_its_head_speaks_of() {
        let anthropic = &[("anthropic-version", "2023-06-01")];
        assert_eq!(chosen("/v1/models", anthropic, None, ""), "haiku");
        assert_eq!(chosen("/v1/models", &[], None, ""), "openai");
    }

    #[test]
    fn a_cluster_is_named_by_header_or_path_and_the_name_goes_no_further() {
        let clusters = clusters();
        for (uri, header, index, path) in [
            (
                "/claude/v1/messages?beta=true",
                None,
                Some(1),
                "/v1/messages?beta=true",
            ),
            ("/v1/messages", Some("openai"), Some(3), "/v1/messages"),
            (
                "/claude/v1/messages",
                Some("claude"),
                Some(1),
                "/v1/messages",
            ),
            ("/v1/messages", None, None, "/v1/messages"),
            ("/claude", None, Some(1), "/"),
            (
                "/claudette/v1/messages",
                None,
                None,
                "/claudette/v1/messages",
            ),
            (
                "http://h.example/claude/v1/m%20x:y",
                None,
                Some(1),
                "/v1/m%20x:y",
            ),
        ] {
            let headers: Vec<_> = header
                .map(|name| ("x-qcc-cluster", name))
                .into_iter()
                .collect();
            let mut head = head(uri, &headers);
            assert_eq!(named(&mut head, &clusters), Ok(index), "{uri}");
            assert_eq!(head.uri.path_and_query().unwrap(), path);
            assert!(!head.headers.contains_key("x-qcc-cluster"));
        }
    }

    // OPS-08
    #[test]
    fn an_unknown_cluster_is_refused_with_the_known_ones() {
        let clusters = clusters();
        let mut named_badly = head("/v1/messages", &[("x-qcc-cluster", "nope")]);
        let refusal = named(&mut named_badly, &clusters).unwrap_err();
        assert_eq!(refusal.code, "unknown_cluster");
        assert!(
            refusal.message.contains("haiku, claude, codex, openai"),
            "{refusal:?}"
        );

        let dialect = Some(Dialect::Anthropic);
        let refusal = check(&head("/claud/v1/messages", &[]), dialect, &clusters).unwrap_err();
        assert_eq!(refusal.code, "unknown_cluster");
        assert!(
            refusal.message.contains("did you mean claude?"),
            "{refusal:?}"
        );
    }

    // OPS-08, OPS-12
    #[test]
    fn an_unknown_route_is_refused_with_the_known_ones() {
        let clusters = clusters();
        let path = format!("/{}", "%C3%A4".repeat(100));
        for path in ["/", "/favicon.ico", &path] {
            let refusal = check(&head(path, &[]), None, &clusters).unwrap_err();
            assert_eq!(
                (refusal.status.as_u16(), refusal.code),
                (404, "unknown_route")
            );
            assert!(refusal.message.contains("/v1/messages"), "{refusal:?}");
            assert!(refusal.message.len() < 400, "{refusal:?}");
        }
        assert_eq!(clip(&"ä".repeat(100)).len(), 64);
        assert_eq!(clip(&format!("x{}", "ä".repeat(100))).len(), 63);
    }

    #[test]
    fn what_an_upstream_may_know_passes() {
        let clusters = clusters();
        for path in ["/v1/files", "/v1beta/models", "/models", "/v1/whatever"] {
            assert_eq!(check(&head(path, &[]), None, &clusters), Ok(()), "{path}");
        }
        let dialect = Some(Dialect::Anthropic);
        assert_eq!(
            check(&head("/x/y/messages", &[]), dialect, &clusters),
            Ok(())
        );
    }

    #[test]
    fn a_websocket_is_refused_so_that_the_client_takes_http() {
        let upgrade = head("/v1/responses", &[("upgrade", "WebSocket")]);
        let refusal = check_upgrade(&upgrade.headers).unwrap_err();
        assert_eq!(refusal.status, StatusCode::UPGRADE_REQUIRED);
        assert_eq!(check_upgrade(&head("/", &[]).headers), Ok(()));
    }
}
