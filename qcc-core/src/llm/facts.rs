//! The facts of a request to an LLM API: the route by its path, the rest by one pass over the
//! body.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use sha2::{Digest, Sha256};

use super::reader::{Malformed, Manner, Object, Reader, Result, outline};
use super::resources::{Naming, Place};
use super::session;
use crate::facts::{BodyField, ClientId, Dialect, Facts, Operation, ReadFacts};
use crate::resource::ResourceKind;

/// Reads the facts of requests in the four dialects.
///
/// The route is told by the path, with or without `/v1` in front (Gemini: any version) and
/// whatever the query. Only a `POST` generates. Of the body, nothing is needed: one that is not
/// JSON, is compressed or has fields of the wrong type leaves facts unknown and is no error.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LlmFacts;

impl LlmFacts {
    /// The one reader of facts there is.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl ReadFacts for LlmFacts {
    fn facts(&self, head: &Parts, body: Option<&[u8]>) -> Facts {
        let route = Route::of(&head.method, head.uri.path());
        let mut facts = Facts {
            dialect: route.dialect,
            operation: route.operation,
            stream: route.stream,
            client: client(&head.headers, &head.uri),
            ..Facts::default()
        };
        let json = body.unwrap_or_default();
        let mut files = Naming::default();
        let by_address = route.dialect == Some(Dialect::Gemini);
        let file = |string| files.file(string, by_address);
        let mut body: Body<'_> = match outline(json, file, Reader::object) {
            Ok(Some(body)) => body,
            Ok(None) | Err(Malformed) => {
                files = Naming::default();
                Body::default()
            }
        };
        body.names.append(files);
        let place = Place::of(head.uri.path());
        facts.makes = makes(&route, place, head, body.unstored);
        if let Some(named) = place.and_then(Place::named) {
            body.names.push(named);
        }
        facts.resources = body.names.into_inner();
        let model = route.model.map(Cow::Borrowed).or(body.model);
        facts.model = model.filter(|model| is_model(model)).map(Arc::from);
        if route.dialect != Some(Dialect::Gemini) {
            facts.stream = body.stream;
        }
        facts.session_fields = body.sessions;
        facts
    }
}

/// What a request makes whose answer may tell the id of it.
fn makes(
    route: &Route<'_>,
    place: Option<Place<'_>>,
    head: &Parts,
    unstored: bool,
) -> Option<ResourceKind> {
    match (route.operation, route.dialect, place) {
        // A response that is not stored may still have been made with a container.
        (Operation::Generate, Some(Dialect::Responses), Some(Place::Collection(kind))) => {
            Some(if unstored {
                ResourceKind::Container
            } else {
                kind
            })
        }
        (Operation::Generate, Some(Dialect::Anthropic), _) => Some(ResourceKind::Container),
        (Operation::Other, _, Some(place)) if head.method != Method::DELETE => {
            place.makes(head.method == Method::POST)
        }
        (Operation::Other, Some(Dialect::Gemini), None) if head.method == Method::POST => {
            match head.uri.path().rsplit_once(':')?.1 {
                "batchGenerateContent" | "asyncBatchEmbedContent" => Some(ResourceKind::Batch),
                "predictLongRunning" => Some(ResourceKind::Operation),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether `model` can be the name of a model. Names become keys of tables and words of logs, so
/// neither a megabyte nor a line break is taken for one.
fn is_model(model: &str) -> bool {
    (1..=256).contains(&model.len()) && !model.contains(char::is_control)
}

/// What a path tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Route<'a> {
    dialect: Option<Dialect>,
    operation: Operation,
    model: Option<&'a str>,
    stream: bool,
}

impl<'a> Route<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        let path = path.trim_matches('/');
        let mut route = Self::by_verb(path)
            .unwrap_or_else(|| Self::by_name(path.strip_prefix("v1/").unwrap_or(path)));
        if method != Method::POST {
            route.operation = Operation::Other;
        }
        route
    }

    /// The routes of Gemini end in a verb: `models/gemini-x:generateContent`.
    fn by_verb(path: &'a str) -> Option<Self> {
        let (before, last) = path.rsplit_once('/').unwrap_or(("", path));
        let (name, verb) = last.rsplit_once(':').or_else(|| {
            let (name, verb) = last.rsplit_once('%')?;
            let verb = verb
                .strip_prefix("3A")
                .or_else(|| verb.strip_prefix("3a"))?;
            Some((name, verb))
        })?;
        let (operation, stream) = match verb {
            "generateContent" => (Operation::Generate, false),
            "streamGenerateContent" => (Operation::Generate, true),
            "countTokens" => (Operation::CountTokens, false),
            "embedContent" | "batchEmbedContents" | "batchGenerateContent" | "predict" => {
                (Operation::Other, false)
            }
            _ => return None,
        };
        Some(Self {
            dialect: Some(Dialect::Gemini),
            operation,
            // Code Assist has no model in its path (`/v1internal:generateContent`).
            model: (before.rsplit('/').next() == Some("models")).then_some(name),
            stream,
        })
    }

    fn by_name(path: &'a str) -> Self {
        let (dialect, operation) = match path {
            "messages" => (Dialect::Anthropic, Operation::Generate),
            "messages/count_tokens" => (Dialect::Anthropic, Operation::CountTokens),
            "chat/completions" => (Dialect::Chat, Operation::Generate),
            "responses" | "responses/compact" => (Dialect::Responses, Operation::Generate),
            "responses/input_tokens" => (Dialect::Responses, Operation::CountTokens),
            // OpenAI's other routes are served where Chat is.
            "completions" | "embeddings" | "moderations" => (Dialect::Chat, Operation::Other),
            _ => match path.split_once('/') {
                Some(("messages", _)) => (Dialect::Anthropic, Operation::Other),
                Some(("responses", _)) => (Dialect::Responses, Operation::Other),
                Some(("chat" | "images" | "audio", _)) => (Dialect::Chat, Operation::Other),
                Some(("v1beta" | "v1alpha", _)) => (Dialect::Gemini, Operation::Other),
                _ => return Self::default(),
            },
        };
        Self {
            dialect: Some(dialect),
            operation,
            ..Self::default()
        }
    }
}

/// A digest of the credential that the client came with; that of nobody if it came with none.
/// SDKs differ in where they put the same key, so the place is not part of it.
fn client(headers: &HeaderMap, uri: &Uri) -> ClientId {
    static NAMES: [HeaderName; 4] = [
        AUTHORIZATION,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("api-key"),
        HeaderName::from_static("x-goog-api-key"),
    ];
    let header = |name| headers.get(name).map(http::HeaderValue::as_bytes);
    let in_headers = || {
        let mut credentials = NAMES.iter().filter_map(header).map(without_scheme);
        credentials.find(|credential| !credential.is_empty())
    };
    let in_query = || {
        let mut pairs = uri.query()?.split('&');
        pairs.find_map(|pair| Some(pair.strip_prefix("key=")?.as_bytes()))
    };
    let Some(credential) = in_headers().or_else(in_query) else {
        return ClientId::default();
    };
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(credential)[..16]);
    ClientId(id)
}

fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => value,
    }
}

/// The fields of a body that are facts.
#[derive(Debug, Default)]
struct Body<'a> {
    model: Option<Cow<'a, str>>,
    stream: bool,
    sessions: smallvec::SmallVec<[(BodyField, Box<str>); 1]>,
    names: Naming,
    /// Whether the answer is not to be kept (`store: false`).
    unstored: bool,
}

impl<'a> Object<'a> for Body<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"model" => self.model = value.text()?,
            b"stream" => self.stream = value.truth()? == Some(true),
            b"store" => self.unstored = value.truth()? == Some(false),
            b"tools" => self.names.tools(value)?,
            b"cached_content" | b"cachedContent" => {
                self.names.mention_name(value.text()?.as_deref());
            }
            b"previous_response_id" => self.mention(ResourceKind::Response, value)?,
            b"container" => self.mention(ResourceKind::Container, value)?,
            b"input_file_id" | b"training_file" | b"validation_file" => {
                self.mention(ResourceKind::File, value)?;
            }
            b"conversation_id" => self.name_session(BodyField::ConversationId, value.text()?),
            b"session_id" => self.name_session(BodyField::SessionId, value.text()?),
            b"prompt_cache_key" => self.name_session(BodyField::PromptCacheKey, value.text()?),
            b"conversation" => {
                let id = value.text_or_member(b"id")?;
                self.names
                    .mention(ResourceKind::Conversation, id.as_deref());
                self.name_session(BodyField::Conversation, id);
            }
            b"metadata" => {
                let user_id = value.text_of_member(b"user_id")?;
                let session = user_id.as_deref().and_then(session_of_user);
                self.name_session(BodyField::UserIdSession, session);
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl<'a> Body<'a> {
    fn mention<M: Manner<'a>>(
        &mut self,
        kind: ResourceKind,
        value: &mut Reader<'a, M>,
    ) -> Result<()> {
        let id = value.text_or_member(b"id")?;
        self.names.mention(kind, id.as_deref());
        Ok(())
    }

    fn name_session(&mut self, field: BodyField, value: Option<Cow<'_, str>>) {
        self.sessions.retain(|(known, _)| *known != field);
        if let Some(value) = value.filter(|value| session::is_id(value)) {
            self.sessions.push((field, value.into()));
        }
    }
}

/// The session part of `metadata.user_id`: Claude Code writes a string of JSON, and before
/// version 2.1.78 wrote `user_…_account_…_session_…`.
fn session_of_user(user_id: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct User<'a> {
        #[serde(borrow)]
        device_id: Cow<'a, str>,
        #[serde(borrow)]
        session_id: Cow<'a, str>,
    }

    if user_id.starts_with('{') {
        let user: User<'_> = serde_json::from_str(user_id).ok()?;
        (!user.device_id.is_empty()).then_some(user.session_id)
    } else {
        let account = behind(user_id.strip_prefix("user_")?, "_account_")?;
        behind(account, "_session_").map(Cow::Borrowed)
    }
}

/// What stands behind the first `name` in `text`. A search that prepares itself for long texts
/// costs more than all of this one.
fn behind<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut underscores = text.match_indices('_');
    underscores.find_map(|(at, _)| text[at..].strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::resource::Resource;

    fn read(method: &str, target: &str, body: Option<&str>) -> Facts {
        let (head, ()) = Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .unwrap()
            .into_parts();
        LlmFacts::new().facts(&head, body.map(str::as_bytes))
    }

    fn post(target: &str, body: &str) -> Facts {
        read("POST", target, Some(body))
    }

    // ACC-01, ACC-02
    #[test]
    fn the_path_tells_dialect_and_operation() {
        use Dialect::{Anthropic, Chat, Gemini, Responses};
        use Operation::{CountTokens, Generate, Other};
        for (target, dialect, operation) in [
            ("/v1/messages", Some(Anthropic), Generate),
            ("/v1/messages?beta=true", Some(Anthropic), Generate),
            ("/messages", Some(Anthropic), Generate),
            ("//v1/messages/", Some(Anthropic), Generate),
            ("/v1/messages/count_tokens", Some(Anthropic), CountTokens),
            (
                "/v1/messages/count_tokens?beta=true",
                Some(Anthropic),
                CountTokens,
            ),
            ("/v1/messages/batches", Some(Anthropic), Other),
            ("/v1/chat/completions", Some(Chat), Generate),
            ("/chat/completions", Some(Chat), Generate),
            ("/v1/embeddings", Some(Chat), Other),
            ("/v1/responses", Some(Responses), Generate),
            ("/responses", Some(Responses), Generate),
            ("/v1/responses/compact", Some(Responses), Generate),
            ("/responses/compact", Some(Responses), Generate),
            ("/v1/responses/input_tokens", Some(Responses), CountTokens),
            ("/v1/responses/resp_1/cancel", Some(Responses), Other),
            ("/v1beta/models/m:generateContent", Some(Gemini), Generate),
            (
                "/v1/models/m:streamGenerateContent?alt=sse",
                Some(Gemini),
                Generate,
            ),
            ("/v1alpha/models/m:generateContent", Some(Gemini), Generate),
            ("/models/m:generateContent", Some(Gemini), Generate),
            ("/v1beta/models/m%3AgenerateContent", Some(Gemini), Generate),
            ("/v1internal:streamGenerateContent", Some(Gemini), Generate),
            ("/v1beta/models/m:countTokens", Some(Gemini), CountTokens),
            ("/v1beta/models/m:embedContent", Some(Gemini), Other),
            ("/v1beta/files", Some(Gemini), Other),
            ("/v1/files", None, Other),
            ("/v1/threads/t/messages", None, Other),
            ("/v1/messagesx", None, Other),
            ("/", None, Other),
            ("/v1/models/m:unheardOf", None, Other),
        ] {
            let facts = post(target, "");
            assert_eq!(
                (facts.dialect, facts.operation),
                (dialect, operation),
                "{target}"
            );
            let facts = read("GET", target, None);
            assert_eq!(
                (facts.dialect, facts.operation),
                (dialect, Other),
                "{target}"
            );
        }
    }

    // ACC-02
    #[test]
    fn gemini_names_model_and_stream_in_its_path() {
        let body = r#"{"model":"from-body","stream":true}"#;
        let facts = post("/v1beta/models/gemini-x:generateContent", body);
        assert_eq!(facts.model.as_deref(), Some("gemini-x"));
        assert!(!facts.stream);
        let facts = post("/v1/models/gemini-x:streamGenerateContent", "{}");
        assert_eq!(facts.model.as_deref(), Some("gemini-x"));
        assert!(facts.stream);
        let facts = post("/v1internal:streamGenerateContent", body);
        assert_eq!(facts.model.as_deref(), Some("from-body"));
        let vertex = "/v1/projects/p/locations/l/publishers/google/models/g:generateContent";
        assert_eq!(post(vertex, "").model.as_deref(), Some("g"));
    }

    // AFF-02, AFF-03
    #[test]
    fn the_body_is_read_in_one_pass() {
        let facts = post(
            "/v1/messages",
            r#"{"messages":[{"model":"inner","session_id":"inner"}],"session_id":"s",
                "stream":true,"conversation":{"x":{"id":"deep"},"id":"c"},"model":"cl\u0061ude",
                "metadata":{"user_id":"user_ab_account__session_u-1"}}"#,
        );
        assert_eq!(facts.model.as_deref(), Some("claude"));
        assert!(facts.stream);
        let found: Vec<_> = facts
            .session_fields
            .iter()
            .map(|(field, value)| (*field, &**value))
            .collect();
        assert_eq!(
            found,
            [
                (BodyField::SessionId, "s"),
                (BodyField::Conversation, "c"),
                (BodyField::UserIdSession, "u-1"),
            ]
        );
        let facts = post(
            "/v1/responses",
            r#"{"conversation":"conv_1","prompt_cache_key":"k"}"#,
        );
        assert_eq!(facts.session_field(BodyField::Conversation), Some("conv_1"));
        assert_eq!(facts.session_field(BodyField::PromptCacheKey), Some("k"));
    }

    // AFF-03
    #[test]
    fn both_forms_of_the_user_id_name_a_session() {
        let session = |user_id: &str| {
            let body = serde_json::json!({ "metadata": { "user_id": user_id } }).to_string();
            let facts = post("/v1/messages", &body);
            facts
                .session_field(BodyField::UserIdSession)
                .map(str::to_owned)
        };
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let legacy = format!("user_{}_account__session_{uuid}", "a".repeat(64));
        assert_eq!(session(&legacy).as_deref(), Some(uuid));
        let json =
            format!(r#"{{"extra":[1],"device_id":"d","account_uuid":"","session_id":"{uuid}"}}"#);
        assert_eq!(session(&json).as_deref(), Some(uuid));
        for none in [
            "alice",
            "user_1",
            "user_1_account_2",
            "user_1_account_2_session_",
            "{",
            r#"{"device_id":"","session_id":"s"}"#,
            r#"{"device_id":"d","session_id":""}"#,
            r#"{"device_id":"d"}"#,
        ] {
            assert_eq!(session(none), None, "{none}");
        }
    }

    // AFF-06
    #[test]
    fn a_field_of_the_wrong_type_is_ignored() {
        let facts = post(
            "/v1/messages",
            r#"{"session_id":7,"conversation_id":null,"prompt_cache_key":["k"],"stream":"true",
                "conversation":{"id":{"id":"x"}},"metadata":"user_1_account_2_session_3",
                "model":"claude-x"}"#,
        );
        assert_eq!(facts.model.as_deref(), Some("claude-x"));
        assert!(!facts.stream);
        assert!(facts.session_fields.is_empty());
        let facts = post(
            "/v1/messages",
            r#"{"model":{"a":1},"stream":1,"session_id":"s"}"#,
        );
        assert_eq!(facts.model, None);
        assert_eq!(facts.session_field(BodyField::SessionId), Some("s"));
    }

    // AFF-06
    #[test]
    fn a_body_that_is_not_json_leaves_the_head() {
        let broken = [
            "",
            "not json",
            "{",
            "[]",
            "\"x\"",
            r#"{"model":"m""#,
            "\u{1f}\u{8b}",
        ];
        for body in broken.into_iter().map(Some).chain([None]) {
            let facts = read("POST", "/v1/messages", body);
            assert_eq!(facts.dialect, Some(Dialect::Anthropic), "{body:?}");
            assert!(facts.is_generation(), "{body:?}");
            assert_eq!(facts.model, None, "{body:?}");
            assert!(facts.session_fields.is_empty(), "{body:?}");
        }
    }

    #[test]
    fn a_model_has_a_sane_name() {
        let model = |name: &str| {
            let body = serde_json::json!({ "model": name }).to_string();
            post("/v1/messages", &body).model
        };
        assert!(model(&"m".repeat(256)).is_some());
        for bad in ["", "a\nb", &*"m".repeat(257)] {
            assert_eq!(model(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn of_a_field_that_comes_twice_the_last_is_believed() {
        let body = r#"{"model":"a","session_id":"a","model":"b","session_id":"b"}"#;
        let facts = post("/v1/messages", body);
        assert_eq!(facts.model.as_deref(), Some("b"));
        assert_eq!(facts.session_field(BodyField::SessionId), Some("b"));
        assert_eq!(facts.session_fields.len(), 1);
    }

    // AFF-19
    #[test]
    fn what_a_request_names_stands_in_path_and_body() {
        use ResourceKind::{
            Batch, CachedContent, Container, Conversation, File, Response, VectorStore,
        };
        for (target, body, kind, id) in [
            ("/v1/files/f", "", File, "f"),
            ("/v1/batches", r#"{"input_file_id":"f"}"#, File, "f"),
            (
                "/v1/fine_tuning/jobs",
                r#"{"training_file":"f"}"#,
                File,
                "f",
            ),
            ("/v1/messages/batches/b", "", Batch, "b"),
            (
                "/v1/responses",
                r#"{"previous_response_id":"r"}"#,
                Response,
                "r",
            ),
            (
                "/v1/responses",
                r#"{"conversation":{"id":"c"}}"#,
                Conversation,
                "c",
            ),
            ("/v1/messages", r#"{"container":"c"}"#, Container, "c"),
            (
                "/v1/messages",
                r#"{"container":{"id":"c","skills":[]}}"#,
                Container,
                "c",
            ),
            (
                "/v1/responses",
                r#"{"tools":[{"container":"c"},7]}"#,
                Container,
                "c",
            ),
            (
                "/v1/responses",
                r#"{"tools":[{"vector_store_ids":["v"]}]}"#,
                VectorStore,
                "v",
            ),
            (
                "/v1/messages",
                r#"{"messages":[{"content":[{"file_id":"f"}]}]}"#,
                File,
                "f",
            ),
            (
                "/v1beta/models/m:generateContent",
                r#"{"cachedContent":"cachedContents/c"}"#,
                CachedContent,
                "c",
            ),
            (
                "/v1beta/models/m:generateContent",
                r#"{"a":{"fileUri":"https://h/v1beta/files/f"}}"#,
                File,
                "f",
            ),
        ] {
            let facts = post(target, body);
            let named: Vec<_> = facts.resources.iter().map(|named| named.resource).collect();
            assert_eq!(named, [Resource::new(kind, id)], "{target} {body}");
        }
        for (target, body) in [
            (
                "/v1/messages",
                r#"{"metadata":{"user_id":"u"},"container":{"skills":[]}}"#,
            ),
            (
                "/v1/responses",
                r#"{"previous_response_id":null,"tools":{"container":"c"}}"#,
            ),
            (
                "/v1/responses",
                r#"{"tools":[{"container":{"type":"auto"}}]}"#,
            ),
            ("/v1/files", "--boundary\r\n\"file_id\":\"x\""),
            ("/v1/models", ""),
        ] {
            assert!(post(target, body).resources.is_empty(), "{target} {body}");
        }
    }

    // AFF-19
    #[test]
    fn what_a_request_makes_is_told_by_route_and_method() {
        use ResourceKind::{Batch, Container, File, Operation, Response};
        for (method, target, body, makes) in [
            ("POST", "/v1/responses", r#"{"model":"m"}"#, Some(Response)),
            ("POST", "/v1/responses", r#"{"store":null}"#, Some(Response)),
            (
                "POST",
                "/v1/responses",
                r#"{"store":false}"#,
                Some(Container),
            ),
            ("POST", "/v1/responses/compact", "{}", None),
            ("POST", "/v1/messages", "{}", Some(Container)),
            ("POST", "/v1/messages/count_tokens", "{}", None),
            ("POST", "/v1/chat/completions", "{}", None),
            ("POST", "/v1/messages/batches", "{}", Some(Batch)),
            ("POST", "/v1/files", "", Some(File)),
            ("GET", "/v1/files", "", None),
            ("GET", "/v1/files/f", "", None),
            ("GET", "/v1/batches/b", "", Some(File)),
            ("DELETE", "/v1/batches/b", "", None),
            ("POST", "/v1/uploads/u/complete", "", Some(File)),
            (
                "POST",
                "/v1beta/models/m:batchGenerateContent",
                "",
                Some(Batch),
            ),
            (
                "POST",
                "/v1beta/models/m:predictLongRunning",
                "",
                Some(Operation),
            ),
        ] {
            let facts = read(method, target, Some(body));
            assert_eq!(facts.makes, makes, "{method} {target} {body}");
        }
    }

    // AFF-05
    #[test]
    fn a_client_is_its_key_wherever_it_stands() {
        let client = |target: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            LlmFacts::new().facts(&head, None).client
        };
        let key = "sk-test-1";
        let one = client("/", &[("authorization", "Bearer sk-test-1")]);
        assert_ne!(one, ClientId::default());
        assert_eq!(one, client("/", &[("authorization", "bearer  sk-test-1 ")]));
        for name in ["x-api-key", "api-key", "x-goog-api-key"] {
            assert_eq!(one, client("/", &[(name, key)]), "{name}");
            assert_eq!(
                one,
                client("/?key=other", &[("authorization", ""), (name, key)])
            );
        }
        assert_eq!(one, client("/?alt=sse&key=sk-test-1", &[]));
        assert_ne!(one, client("/", &[("x-api-key", "sk-test-2")]));
        assert_eq!(client("/?alt=sse", &[]), ClientId::default());
        assert_eq!(client("/", &[("x-api-key", "")]), ClientId::default());
        assert_eq!(one.0, Sha256::digest(key)[..16]);
    }
}
