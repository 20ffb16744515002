//! How commands talk to a running proxy: over its admin API, and in no other way.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Method, StatusCode};
use qcc_core::time::Duration;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::admin::LARGEST_PAGE;
use crate::admin::view::Page;
use crate::config::{Config, Environment, Secret};
use crate::moment::cut;
use crate::output::{Exit, Failure};

/// Where a proxy is looked for if nothing says otherwise.
const DEFAULT: &str = "http://127.0.0.1:7861";

/// A proxy on this machine answers in milliseconds; one that does not in this time is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks of many endpoints take their time; each has a time-out of its own.
const GREAT_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// So much is shown of an answer that is none of ours.
const EXCERPT: usize = 200;

/// Which proxy a command talks to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Target {
    /// The admin API of the running proxy; else QCC_ADMIN, else the one of the configuration
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) admin: Option<String>,
}

impl Target {
    /// What names the proxy, if not the configuration does.
    pub(crate) fn named<'a>(&'a self, environment: &'a Environment) -> Option<&'a str> {
        let option = self.admin.as_deref();
        option.or_else(|| environment.get("QCC_ADMIN"))
    }
}

/// A running proxy, seen from outside.
pub(crate) struct Client {
    base: String,
    token: Option<Secret>,
    transport: Transport,
}

enum Transport {
    Http(reqwest::Client),
    #[cfg(test)]
    Memory(axum::Router),
}

/// An error of the admin API.
#[derive(Deserialize)]
struct Problem {
    error: ProblemBody,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

impl Client {
    /// The proxy that `target` names, else the environment, else `config`. The token is
    /// QCC_ADMIN_TOKEN; that of the configuration is shown to its own address only.
    ///
    /// # Errors
    ///
    /// The address is none, or no HTTP client can be made.
    pub(crate) fn new(
        target: &Target,
        config: Option<&Config>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let named = target.named(environment);
        let configured = config.map(|config| &config.admin);
        let base = match (named, configured) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(admin)) => format!("http://{}", reachable(admin.listen)),
            (None, None) => DEFAULT.to_owned(),
        };
        let web = base.starts_with("http://") || base.starts_with("https://");
        if !web || base.parse::<reqwest::Url>().is_err() {
            let text = format!(
                "`{}` is no address of an admin API\n  write it like {DEFAULT}",
                cut(&base, EXCERPT)
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        let own = environment.get("QCC_ADMIN_TOKEN").map(Secret::new);
        let token = own.or_else(|| {
            configured
                .filter(|_| named.is_none())
                .and_then(|admin| admin.token.clone())
        });
        let http = reqwest::Client::builder()
            // A proxy of the environment is for the world outside.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(Exit::Failure, format!("no HTTP client: {error}")))?;
        Ok(Self {
            base,
            token,
            transport: Transport::Http(http),
        })
    }

    /// A proxy whose admin API is `router`.
    #[cfg(test)]
    pub(crate) fn in_memory(router: axum::Router) -> Self {
        Self {
            base: DEFAULT.to_owned(),
            token: None,
            transport: Transport::Memory(router),
        }
    }

    /// Reads `path`.
    ///
    /// # Errors
    ///
    /// [`Exit::NotRunning`] if nobody answers, [`Exit::Unknown`] if it does not know the name,
    /// [`Exit::Failure`] for everything else.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, PATIENCE).await
    }

    /// Does what `path` stands for.
    ///
    /// # Errors
    ///
    /// As of [`get`](Self::get).
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::POST, path, PATIENCE).await
    }

    /// Does what `path` stands for, however long it takes: checks have time-outs of their own.
    ///
    /// # Errors
    ///
    /// As of [`get`](Self::get).
    pub(crate) async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, Failure> {
        self.call(Method::POST, path, GREAT_PATIENCE).await
    }

    /// At most `limit` entries of the list at `path`, page by page.
    ///
    /// # Errors
    ///
    /// As of [`get`](Self::get).
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        loop {
            let size = (limit - all.len()).min(LARGEST_PAGE);
            let offset = all.len();
            let page: Page<T> = self
                .get(&format!("{path}{mark}limit={size}&offset={offset}"))
                .await?;
            let empty = page.items.is_empty();
            all.extend(page.items);
            if empty || all.len() >= limit || all.len() >= page.total {
                return Ok(all);
            }
        }
    }

    /// The answer of `path` with every entry of its list, however many pages they fill.
    ///
    /// # Errors
    ///
    /// As of [`get`](Self::get).
    pub(crate) async fn whole<T: DeserializeOwned, I>(
        &self,
        path: &str,
        list: fn(&mut T) -> &mut Page<I>,
    ) -> Result<T, Failure> {
        let page = async |offset: usize| -> Result<T, Failure> {
            self.get(&format!("{path}?limit={LARGEST_PAGE}&offset={offset}"))
                .await
        };
        let mut whole = page(0).await?;
        loop {
            let known = list(&mut whole);
            known.limit = known.items.len();
            if known.items.len() >= known.total {
                return Ok(whole);
            }
            let mut next = page(known.limit).await?;
            let more = &mut list(&mut next).items;
            if more.is_empty() {
                return Ok(whole);
            }
            list(&mut whole).items.append(more);
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<T, Failure> {
        let (status, body) = self.send(method, path, patience).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| self.stranger(status, &body));
        }
        let Ok(Problem { error }) = serde_json::from_slice(&body) else {
            return Err(self.stranger(status, &body));
        };
        let exit = match &*error.kind {
            "not_found" | "ambiguous" => Exit::Unknown,
            "invalid_configuration" => Exit::Config,
            _ => Exit::Failure,
        };
        Err(Failure::new(exit, error.message))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let url = format!("{}{path}", self.base);
        match &self.transport {
            Transport::Http(http) => {
                let mut request = http.request(method, url).timeout(patience);
                if let Some(token) = &self.token {
                    request = request.bearer_auth(token.expose());
                }
                let silence = |error: reqwest::Error| self.silence(&error, patience);
                let response = request.send().await.map_err(silence)?;
                let status = response.status();
                let body = response.bytes().await.map_err(silence)?;
                Ok((status, body.to_vec()))
            }
            #[cfg(test)]
            Transport::Memory(router) => {
                use http_body_util::BodyExt as _;
                use tower::ServiceExt as _;

                let request = http::Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", "127.0.0.1:7861")
                    .body(axum::body::Body::empty())
                    .unwrap();
                let response = router.clone().oneshot(request).await.unwrap();
                let status = response.status();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                Ok((status, body.to_vec()))
            }
        }
    }

    /// Nobody answered.
    fn silence(&self, error: &reqwest::Error, patience: Duration) -> Failure {
        let base = &self.base;
        if error.is_connect() {
            return Failure::new(
                Exit::NotRunning,
                format!(
                    "the proxy does not run: nobody answers at {base}\n  \
                     start it with `qcc serve`, or name another address with --admin URL"
                ),
            );
        }
        let text = if error.is_timeout() {
            format!("no answer from {base} within {} s", patience.as_secs())
        } else {
            // Without the URL: it may hold what somebody wrote there by mistake.
            format!("the connection to {base} broke")
        };
        Failure::new(Exit::Failure, text)
    }

    /// Somebody answered who is no admin API of this version.
    fn stranger(&self, status: StatusCode, body: &[u8]) -> Failure {
        let text = String::from_utf8_lossy(body);
        let excerpt: String = cut(&text, EXCERPT)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Failure::new(
            Exit::Failure,
            format!(
                "what answers at {} is no admin API of this version: {} {}\n  \
                 see that the address and the version of the proxy are right",
                self.base,
                status.as_u16(),
                excerpt.trim()
            ),
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Where a listener at `listen` can be reached from this machine.
pub(crate) fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

/// `text` as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    use fmt::Write as _;
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::admin::view::EndpointView;

    fn client(target: &Target, environment: &Environment) -> Result<Client, Failure> {
        Client::new(target, None, environment)
    }

    fn at(url: &str) -> Target {
        Target {
            admin: Some(url.to_owned()),
        }
    }

    #[test]
    fn the_flag_goes_before_the_environment_and_the_environment_before_the_default() {
        let environment = Environment::from_iter([("QCC_ADMIN", "http://10.0.0.5:1/")]);
        let named = client(&at("http://10.0.0.6:2"), &environment).unwrap();
        assert_eq!(named.base, "http://10.0.0.6:2");
        let found = client(&Target::default(), &environment).unwrap();
        assert_eq!(found.base, "http://10.0.0.5:1");
        let none = Environment::from_iter([("", ""); 0]);
        assert_eq!(client(&Target::default(), &none).unwrap().base, DEFAULT);
        for bad in ["127.0.0.1:7861", "ftp://h", "http://", ""] {
            let failure = client(&at(bad), &none).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_listener_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:7861", "127.0.0.1:7861"),
            ("[::]:7861", "[::1]:7861"),
            ("10.0.0.5:7861", "10.0.0.5:7861"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }

    // CLI-05
    #[tokio::test]
    async fn a_proxy_that_does_not_run_is_told_apart_from_other_failures() {
        // A port that was free a moment ago.
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let none = Environment::from_iter([("", ""); 0]);
        let client = client(&at(&format!("http://127.0.0.1:{port}")), &none).unwrap();
        let failure = client.get::<()>("/admin/v1/clusters").await.unwrap_err();
        assert_eq!(failure.exit, Exit::NotRunning);
        assert!(failure.message.contains("qcc serve"), "{failure}");
    }

    // CLI-02
    #[tokio::test]
    async fn a_long_list_is_read_page_by_page() {
        let many = (0..1_234).map(|number| crate::admin::fake::healthy(&format!("e{number}")));
        let (_, router) = Fake::default().with("claude", many).admin();
        let client = Client::in_memory(router);
        let path = "/admin/v1/endpoints";
        let all: Vec<EndpointView> = client.list(path, usize::MAX).await.unwrap();
        assert_eq!(all.len(), 1_234);
        assert_eq!(all[1_233].name, "e1233");
        let some: Vec<EndpointView> = client.list(path, 1_001).await.unwrap();
        assert_eq!(some.len(), 1_001);
    }

    // OPS-12
    #[tokio::test]
    async fn an_answer_that_is_none_of_ours_is_shown_in_part() {
        let page = format!("{}ü\u{1b}[2J", "x".repeat(EXCERPT - 1));
        let router = axum::Router::new().fallback(|| async { page });
        let client = Client::in_memory(router);
        let failure = client.get::<u32>("/admin/v1/clusters").await.unwrap_err();
        assert_eq!(failure.exit, Exit::Failure);
        assert!(
            failure.message.contains(&"x".repeat(EXCERPT - 1)),
            "{failure}"
        );
        assert!(!failure.message.contains('ü'), "{failure}");
    }

    // SEC-02
    #[test]
    fn debug_does_not_show_the_token() {
        let environment = Environment::from_iter([("QCC_ADMIN_TOKEN", "admin-test-token")]);
        let client = client(&Target::default(), &environment).unwrap();
        assert!(client.token.is_some());
        assert!(!format!("{client:?}").contains("admin-test-token"));
    }

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        assert_eq!(segment("claude/official"), "claude%2Fofficial");
        assert_eq!(segment("größe ..?#"), "gr%C3%B6%C3%9Fe%20%2E%2E%3F%23");
    }
}
