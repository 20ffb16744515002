//! Where the tokens of a pool come from that do not stay the same: an issuer, a command, a URL.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use qcc_core::source::{Encoding, TokenUrl};
use qcc_core::time::Duration;
use qcc_core::token::SourceId;

use super::Secret;
use super::reader::{Field, Reader, Section};

/// How refresh requests may be written.
pub(super) const ENCODINGS: [(&str, Encoding); 2] =
    [("form", Encoding::Form), ("json", Encoding::Json)];

const COMMAND: &str = "write it like command: [get-token, --json]";
const URL: &str = "write it like https://auth.example.com/token";
const REFRESH: &str = "write it like refresh: { url: https://auth.example.com/token }";
const HEADERS: &str = "write it like headers: { authorization: \"Bearer ${NAME}\" }";
const FIELDS: &str = "write it like fields: { client_id: \"${NAME}\" }";

/// What a credential of a pool comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// The credential itself; a refresh token where the pool has a [`Refresh`].
    Text(Secret),
    /// What this program prints when it is run with these arguments, which may hold secrets.
    Command {
        /// What is run.
        program: Box<str>,
        /// With what.
        args: Vec<Secret>,
    },
    /// What a `GET` of this address gives.
    Url {
        /// Where it is got.
        url: TokenUrl,
        /// With these headers.
        headers: Vec<Header>,
    },
}

/// A header that is sent for a token.
#[derive(Clone)]
pub(crate) struct Header {
    /// Its name.
    pub(crate) name: HeaderName,
    /// Fit for a header, and perhaps a secret.
    value: Secret,
}

impl Header {
    /// Its value, marked as a secret.
    pub(crate) fn value(&self) -> HeaderValue {
        // The reader took it, so the empty one is never used.
        let value = HeaderValue::from_str(self.value.expose());
        let mut value = value.unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// Who gives access tokens for refresh tokens, and how it is asked.
#[derive(Clone)]
pub(crate) struct Refresh {
    /// Where.
    pub(crate) url: TokenUrl,
    /// So long before its end an access token is refreshed; 120 s.
    pub(crate) margin: Duration,
    /// How requests are written; as a form.
    pub(crate) encoding: Encoding,
    /// Further headers.
    pub(crate) headers: Vec<Header>,
    /// Further fields, with their names.
    pub(crate) fields: Vec<(Box<str>, Secret)>,
    /// How long a refresh may take; 30 s.
    pub(crate) timeout: Duration,
}

impl Origin {
    /// The headers that go with it.
    pub(crate) fn headers(&self) -> HeaderMap {
        let headers = match self {
            Self::Url { headers, .. } => headers.iter(),
            Self::Text(_) | Self::Command { .. } => [].iter(),
        };
        headers
            .map(|header| (header.name.clone(), header.value()))
            .collect()
    }

    /// What makes it the one that it is. Nobody can read it.
    pub(super) fn identity(&self, refresh: Option<&Refresh>) -> SourceId {
        match self {
            Self::Text(secret) => {
                let refresh = refresh.map(Refresh::parts).unwrap_or_default();
                let parts = refresh.iter().map(String::as_str);
                SourceId::of([secret.expose()].into_iter().chain(parts))
            }
            Self::Command { program, args } => {
                let args = args.iter().map(Secret::expose);
                SourceId::of(["command", program].into_iter().chain(args))
            }
            Self::Url { url, headers } => {
                let uri = url.uri().to_string();
                let headers = headers.iter();
                let headers =
                    headers.flat_map(|header| [header.name.as_str(), header.value.expose()]);
                SourceId::of(["url", &uri].into_iter().chain(headers))
            }
        }
    }

    /// Everything in it that nobody may see. Arguments are not: every listing of processes shows
    /// them.
    pub(super) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Text(secret) => vec![secret.expose()],
            Self::Command { .. } => Vec::new(),
            Self::Url { url, headers } => {
                let query = url.uri().query();
                query.into_iter().chain(values(headers)).collect()
            }
        }
    }
}

impl Refresh {
    /// Everything in it that nobody may see.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().map(|(_, value)| value.expose());
        let query = self.url.uri().query();
        query.into_iter().chain(values(&self.headers)).chain(fields)
    }

    /// What is in it, hidden or not.
    fn parts(&self) -> Vec<String> {
        let mut parts = vec![
            self.url.uri().to_string(),
            format!("{:?} {:?} {:?}", self.margin, self.timeout, self.encoding),
        ];
        for header in &self.headers {
            parts
                .extend(["header", header.name.as_str(), header.value.expose()].map(str::to_owned));
        }
        for (name, value) in &self.fields {
            parts.extend(["field", &**name, value.expose()].map(str::to_owned));
        }
        parts
    }
}

fn values(headers: &[Header]) -> impl Iterator<Item = &str> {
    headers.iter().map(|header| header.value.expose())
}

/// The settings that `field` describes.
pub(super) fn refresh(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Refresh> {
    let mut section = field.section(reader, REFRESH)?;
    let url = match section.get("url") {
        Some(field) => url(&field, reader),
        None => {
            section.missing(reader, "url", REFRESH);
            None
        }
    };
    let margin = section
        .get("margin")
        .and_then(|field| field.duration(reader));
    let encoding = section
        .get("encoding")
        .and_then(|field| field.choice(reader, &ENCODINGS));
    let headers = headers(&mut section, reader);
    let fields = section
        .get("fields")
        .map(|field| named(&field, reader, FIELDS))
        .unwrap_or_default();
    let timeout = section
        .get("timeout")
        .and_then(|field| field.duration(reader));
    section.close(reader);
    let fields = fields.into_iter();
    Some(Refresh {
        url: url?,
        margin: margin.unwrap_or(Duration::from_secs(120)),
        encoding: encoding.unwrap_or_default(),
        headers,
        fields: fields
            .map(|(name, _, value)| (name.into(), Secret::new(value)))
            .collect(),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
    })
}

/// The program and its arguments in `field`.
pub(super) fn command(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Origin> {
    let items = field.items(reader, COMMAND)?;
    let Some((program, args)) = items.split_first() else {
        field.problem(reader, "is empty", COMMAND);
        return None;
    };
    let program = program.text(reader, COMMAND);
    let args: Vec<_> = args
        .iter()
        .map(|arg| arg.text_or_empty(reader, COMMAND).map(Secret::new))
        .collect();
    let program = reader.environment.expand(program?.trim());
    Some(Origin::Command {
        program: program.to_string_lossy().into(),
        args: args.into_iter().collect::<Option<_>>()?,
    })
}

/// An address that tokens are got from.
pub(super) fn url(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<TokenUrl> {
    let url: TokenUrl = field.typed(reader, URL)?;
    if url.uri().scheme_str() == Some("http") && !is_loopback(url.host()) {
        let reason = "is http off this machine: everybody on the way can read the tokens";
        field.warning(reader, reason, "write https://…");
    }
    Some(url)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// What stands at `headers`.
pub(super) fn headers(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Header> {
    let Some(field) = section.get("headers") else {
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, field, value) in named(&field, reader, HEADERS) {
        let value = value.trim();
        match name.parse::<HeaderName>() {
            Ok(_) if HeaderValue::from_str(value).is_err() => field.problem(
                reader,
                "has characters that no header has",
                "copy the value again, as one line",
            ),
            Ok(name) => headers.push(Header {
                name,
                value: Secret::new(value),
            }),
            Err(_) => {
                let remedy = "use letters, digits and `-`";
                reader.problem(field.key_at, &field.path, "is no name of a header", remedy);
            }
        }
    }
    headers
}

/// The texts in the map at `field`, with their names.
fn named<'n>(
    field: &Field<'n>,
    reader: &mut Reader<'_>,
    remedy: &str,
) -> Vec<(&'n str, Field<'n>, String)> {
    let section = field.section(reader, remedy);
    let entries = section.into_iter().flat_map(Section::named);
    entries
        .filter_map(|(name, field)| {
            let text = field.text(reader, remedy)?;
            Some((name, field, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Problem, Shown, Tokens, from_str};

    fn load(tokens: &str) -> Result<Config, Vec<Problem>> {
        let text = format!(
            "clusters: {{ c: {{ endpoints: [{{ name: pooled, base_url: 'https://p.example', \
             tokens: {tokens} }}] }} }}\n"
        );
        let environment = Environment::from_iter([("SECRET", "sk-test-header-0001")]);
        let config = from_str(&text, Path::new("f.yaml"), &environment);
        config.map_err(|problems| {
            assert!(!problems.to_string().contains("sk-test"), "{problems}");
            problems.problems
        })
    }

    fn config(tokens: &str) -> Config {
        load(tokens).unwrap_or_else(|problems| panic!("{tokens}: {problems:#?}"))
    }

    fn pool(config: &Config) -> &Tokens {
        config.clusters[0].tokens.values().next().unwrap()
    }

    fn shown(config: &Config) -> serde_json::Value {
        let shown = serde_json::to_value(Shown::of(config)).unwrap();
        assert!(!shown.to_string().contains("sk-test"), "{shown}");
        shown["clusters"]["c"]["endpoints"][0]["tokens"].clone()
    }

    const COMMAND: &str = "{ command: [get-token, --key, sk-test-argument-1] }";
    const URL: &str = "{ url: 'https://v.example/token?key=sk-test-query-0001', \
                       headers: { x-vault: '${SECRET}' } }";
    const REFRESH: &str = "{ url: 'https://auth.example/token', margin: 60s, encoding: json, \
                           headers: { authorization: 'Basic ${SECRET}' }, \
                           fields: { client_id: sk-test-field-00001 }, timeout: 5s }";

    // TOK-02, CFG-04
    #[test]
    fn a_token_comes_from_a_text_a_command_or_a_url() {
        let config = config(&format!(
            "{{ personal: [sk-test-1, {COMMAND}], shared: {URL}, anonymous: {COMMAND} }}"
        ));
        let pool = pool(&config);
        let names: Vec<_> = pool.items.iter().map(|item| &*item.name).collect();
        assert_eq!(names, ["Personal-1", "Personal-2", "Shared-1"]);
        assert!(matches!(pool.items[0].origin, Origin::Text(_)));
        let Origin::Command { program, args } = &pool.items[1].origin else {
            panic!("no command");
        };
        assert_eq!(&**program, "get-token");
        let args: Vec<_> = args.iter().map(Secret::expose).collect();
        assert_eq!(args, ["--key", "sk-test-argument-1"]);
        let headers = pool.items[2].origin.headers();
        assert_eq!(headers["x-vault"], "sk-test-header-0001");
        assert!(headers["x-vault"].is_sensitive());
        // The second time the command is no other token.
        let warning = &config.warnings.problems[0];
        assert!(warning.reason.contains("there already"), "{warning:?}");

        let shown = shown(&config);
        let command = serde_json::json!({ "command": ["get-token", "****", "****"] });
        assert_eq!(shown["personal"], serde_json::json!(["****", command]));
        assert_eq!(
            shown["shared"][0],
            serde_json::json!({
                "url": "https://v.example/token", "headers": { "x-vault": "****" }
            })
        );
    }

    // TOK-22, CFG-04
    #[test]
    fn the_settings_of_a_refresh_are_those_of_the_file_or_the_usual_ones() {
        let config = config(&format!("{{ personal: sk-test-1, refresh: {REFRESH} }}"));
        let refresh = pool(&config).refresh.as_ref().unwrap();
        assert_eq!(refresh.margin, Duration::from_secs(60));
        assert_eq!(refresh.timeout, Duration::from_secs(5));
        assert_eq!(refresh.encoding, Encoding::Json);
        assert_eq!(refresh.headers[0].value(), "Basic sk-test-header-0001");
        assert_eq!(refresh.fields[0].1.expose(), "sk-test-field-00001");
        assert_eq!(shown(&config)["refresh"]["fields"]["client_id"], "****");
        let secrets: Vec<_> = pool(&config).secrets().collect();
        let expected = [
            "sk-test-1",
            "Basic sk-test-header-0001",
            "sk-test-field-00001",
        ];
        assert_eq!(secrets, expected);

        let config = self::config("{ personal: sk-test-1, refresh: { url: 'https://a.example' } }");
        let usual = shown(&config);
        assert_eq!(
            usual["refresh"],
            serde_json::json!({
                "url": "https://a.example/", "margin": "2m", "encoding": "form", "timeout": "30s"
            })
        );
        assert_eq!(usual["store"], "~/.qcc/tokens");
    }

    // TOK-33
    #[test]
    fn what_a_reload_compares_covers_commands_and_the_settings_of_a_refresh() {
        let identities = |tokens: &str| {
            let config = config(tokens);
            let identities = pool(&config).identities();
            identities.map(|(_, id)| id).collect::<Vec<_>>()
        };
        let refreshed =
            |refresh: &str| identities(&format!("{{ personal: sk-test-1, refresh: {refresh} }}"));
        let before = refreshed(REFRESH);
        assert!(before == refreshed(REFRESH));
        assert!(before != identities("{ personal: sk-test-1 }"));
        for (from, to) in [
            ("auth.example", "other.example"),
            ("60s", "61s"),
            ("json", "form"),
            ("Basic", "Bearer"),
            ("field-00001", "field-00002"),
            ("client_id", "client"),
        ] {
            assert!(before != refreshed(&REFRESH.replace(from, to)), "{from}");
        }
        let last = |origin: &str| identities(&format!("{{ anonymous: {origin} }}"));
        assert!(last(COMMAND) == last(COMMAND));
        assert!(last(COMMAND) != last(&COMMAND.replace("argument-1", "argument-2")));
        assert!(last(URL) != last(&URL.replace("query-0001", "query-0002")));
        assert!(last(URL) != last(&URL.replace("${SECRET}", "other")));
    }

    // CFG-06, TOK-02
    #[test]
    fn a_mistake_names_its_key_and_what_to_write() {
        for (tokens, key, reason) in [
            (
                "{ anonymous: { command: [a], url: 'https://v.example' } }",
                "anonymous",
                "more than one of file, command and url",
            ),
            (
                "{ anonymous: { command: [] } }",
                "anonymous.command",
                "is empty",
            ),
            (
                "{ anonymous: { command: [''] } }",
                "anonymous.command[0]",
                "is empty",
            ),
            (
                "{ anonymous: { command: get }, }",
                "anonymous.command",
                "must be a list",
            ),
            (
                "{ anonymous: { headers: { a: b } } }",
                "anonymous.file",
                "is missing",
            ),
            (
                "{ anonymous: { url: 'ftp://v.example' } }",
                "anonymous.url",
                "scheme must be http or https",
            ),
            (
                "{ personal: a, refresh: { margin: 1m } }",
                "refresh.url",
                "is missing",
            ),
            (
                "{ personal: a, refresh: { url: 'https://me:sk-test-1@v.example' } }",
                "refresh.url",
                "user name or password",
            ),
            (
                "{ personal: a, refresh: { url: 'https://v.example', encoding: xml } }",
                "refresh.encoding",
                "must be one of: form, json",
            ),
            (
                "{ personal: a, refresh: { url: 'https://v.example', headers: { 'a b': c } } }",
                "refresh.headers.a b",
                "no name of a header",
            ),
            (
                "{ personal: a, refresh: { url: 'https://v.example', headers: { a: \"b\\nc\" } } }",
                "refresh.headers.a",
                "characters that no header has",
            ),
            (
                "{ personal: a, refresh: { url: 'https://v.example', fields: [] } }",
                "refresh.fields",
                "must be a map",
            ),
        ] {
            let problems = load(tokens).err().unwrap_or_else(|| panic!("{tokens}"));
            let expected = format!("clusters.c.endpoints[0].tokens.{key}");
            assert_eq!(problems[0].key, expected, "{problems:#?}");
            assert!(problems[0].reason.contains(reason), "{problems:#?}");
            assert!(!problems[0].remedy.is_empty());
        }
    }

    // SEC-02
    #[test]
    fn what_is_odd_is_a_warning() {
        for (tokens, key, reason) in [
            (
                "{ personal: a, refresh: { url: 'http://auth.example/token' } }",
                "refresh.url",
                "http off this machine",
            ),
            (
                "{ anonymous: { url: 'http://v.example' } }",
                "anonymous.url",
                "http off this machine",
            ),
            (
                "{ anonymous: { command: [a], headers: { a: b } } }",
                "anonymous.headers",
                "with a url only",
            ),
            (
                "{ anonymous: { command: [a] }, refresh: { url: 'https://v.example' } }",
                "refresh",
                "no refresh token",
            ),
        ] {
            let config = config(tokens);
            let [warning] = &config.warnings.problems[..] else {
                panic!("{tokens}: {:#?}", config.warnings);
            };
            let expected = format!("clusters.c.endpoints[0].tokens.{key}");
            assert_eq!(warning.key, expected);
            assert!(warning.reason.contains(reason), "{warning:?}");
        }
        for host in ["127.0.0.1:9", "localhost", "'[::1]:9'"] {
            let host = host.trim_matches('\'');
            let url = format!("{{ personal: a, refresh: {{ url: 'http://{host}/token' }} }}");
            assert!(config(&url).warnings.problems.is_empty(), "{host}");
        }
    }
}
