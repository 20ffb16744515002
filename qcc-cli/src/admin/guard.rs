//! Who may talk to the admin API.
//!
//! - `Host` is checked on every request. A page of a foreign site whose name was made to point
//!   here (DNS rebinding) still sends that name, and is refused. Addresses cannot be rebound.
//! - `GET` changes nothing; what changes something is `POST`. A page can post a form across
//!   sites, but not as `application/json`, and a browser that posts without a body names its
//!   `Origin`: any that is not the listener itself is refused.
//! - With a token, every request but the two probes brings it. Digests are compared in constant
//!   time, so neither the time nor a length tells anything; the token itself is not kept.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::refusal::Refusal;

/// The paths that need no token: they say nothing but whether the process works.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Decides who may talk to the admin API.
#[derive(Clone)]
pub(crate) struct Guard {
    listen: IpAddr,
    token: Option<[u8; 32]>,
}

impl Guard {
    /// The guard of a listener at `listen` that wants `token`, if there is one. The
    /// configuration sees to it that there is one off loopback.
    pub(crate) fn new(listen: SocketAddr, token: Option<&str>) -> Self {
        Self {
            listen: listen.ip(),
            token: token.map(|token| Sha256::digest(token).into()),
        }
    }

    /// Lets `request` pass or says why not.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<(), Refusal> {
        let host = self.host(request)?;
        if let Some(origin) = request.headers().get(ORIGIN) {
            let own = origin.to_str().ok().and_then(|origin| {
                let (_, authority) = origin.split_once("://")?;
                Some(authority.eq_ignore_ascii_case(host.as_str()))
            });
            if own != Some(true) {
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "origin_not_allowed",
                    "A page of another site may not talk to the admin API; use a command.",
                ));
            }
        }
        if !PROBES.contains(&request.uri().path()) && !self.authenticates(request) {
            return Err(Refusal::unauthorized());
        }
        if request.method() == Method::POST && !is_json_or_empty(request) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send `content-type: application/json`, or no body and no content-type.",
            ));
        }
        Ok(())
    }

    fn host(&self, request: &Request<Body>) -> Result<Authority, Refusal> {
        let refused = |host: &str| {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                format!(
                    "The admin API does not answer to the host `{}`; use the address that it \
                     listens on.",
                    Refusal::echo(host)
                ),
            )
        };
        let mut named = request.headers().get_all(HOST).iter();
        let host = match (named.next(), named.next(), request.uri().authority()) {
            (Some(host), None, _) => host.to_str().map_err(|_| refused(""))?,
            // HTTP/2 names it in the request line alone.
            (None, None, Some(authority)) => authority.as_str(),
            _ => return Err(refused("")),
        };
        let authority: Authority = host.parse().map_err(|_| refused(host))?;
        // A request line may name an authority, too; the two have to agree.
        let line = request.uri().authority();
        let plain = !host.contains('@') && line.is_none_or(|line| *line == authority);
        if !plain || !self.answers_to(authority.host()) {
            return Err(refused(host));
        }
        Ok(authority)
    }

    fn answers_to(&self, host: &str) -> bool {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host).parse::<IpAddr>() {
            // Who listens everywhere is reached by addresses that nobody wrote down.
            Ok(ip) => {
                ip.to_canonical().is_loopback() || ip == self.listen || self.listen.is_unspecified()
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }

    fn authenticates(&self, request: &Request<Body>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
        given.is_some_and(|(_, given)| {
            let given: [u8; 32] = Sha256::digest(given).into();
            given.ct_eq(token).into()
        })
    }
}

/// Whether a page of another site could not have sent it as a form.
fn is_json_or_empty(request: &Request<Body>) -> bool {
    match request.headers().get(CONTENT_TYPE) {
        None => request.body().is_end_stream() || request.body().size_hint().exact() == Some(0),
        Some(kind) => kind.to_str().is_ok_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        }),
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("listen", &self.listen)
            .field("token", &self.token.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "admin-test-token";

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        Guard::new(listen.parse().unwrap(), token)
    }

    fn request(method: Method, host: &str, headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri("/metrics")
            .header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn get(guard: &Guard, host: &str) -> bool {
        guard.check(&request(Method::GET, host, &[])).is_ok()
    }

    // SEC-08
    #[test]
    fn a_foreign_name_in_host_is_refused_and_loopback_is_not() {
        let local = guard("127.0.0.1:7861", None);
        for good in [
            "127.0.0.1:7861",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:7861",
            "localhost:9000",
            "LOCALHOST",
        ] {
            assert!(get(&local, good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:7861",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1:7861",
            "0.0.0.0:7861",
            "user@127.0.0.1",
            "",
        ] {
            assert!(!get(&local, bad), "{bad}");
        }
    }

    // SEC-08
    #[test]
    fn a_listener_answers_to_its_own_address_and_one_that_listens_everywhere_to_any_address() {
        let one = guard("10.0.0.5:7861", None);
        assert!(get(&one, "10.0.0.5:7861"));
        assert!(!get(&one, "10.0.0.6:7861"));
        let all = guard("0.0.0.0:7861", None);
        assert!(get(&all, "10.0.0.6:7861"));
        assert!(!get(&all, "evil.example"));
    }

    // SEC-08
    #[test]
    fn a_missing_repeated_or_contradicted_host_is_refused() {
        let local = guard("127.0.0.1:7861", None);
        let none = Request::builder()
            .uri("/healthz")
            .body(Body::empty())
            .unwrap();
        assert!(local.check(&none).is_err());
        let mut second = none;
        *second.uri_mut() = "http://evil.example/healthz".parse().unwrap();
        assert!(local.check(&second).is_err());
        *second.uri_mut() = "http://127.0.0.1:7861/healthz".parse().unwrap();
        assert!(local.check(&second).is_ok());
        let two = request(Method::GET, "127.0.0.1", &[("host", "evil.example")]);
        assert!(local.check(&two).is_err());
        let mut absolute = request(Method::GET, "127.0.0.1", &[]);
        *absolute.uri_mut() = "http://evil.example/metrics".parse().unwrap();
        assert!(local.check(&absolute).is_err());
    }

    // SEC-05, SEC-08
    #[test]
    fn with_a_token_only_probes_pass_without_it() {
        let remote = guard("10.0.0.5:7861", Some(TOKEN));
        let with = |value: &str| {
            let request = request(Method::GET, "10.0.0.5", &[("authorization", value)]);
            remote.check(&request).is_ok()
        };
        assert!(with("Bearer admin-test-token"));
        assert!(with("bearer admin-test-token"));
        for bad in [
            "Bearer admin-test-toke",
            "Bearer admin-test-token2",
            "Bearer ",
            "Basic admin-test-token",
            "admin-test-token",
            "é",
        ] {
            assert!(!with(bad), "{bad}");
        }
        assert!(!get(&remote, "10.0.0.5"));
        for probe in PROBES {
            let mut request = request(Method::GET, "10.0.0.5", &[]);
            *request.uri_mut() = probe.parse().unwrap();
            assert!(remote.check(&request).is_ok(), "{probe}");
        }
    }

    // SEC-02
    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", guard("10.0.0.5:7861", Some(TOKEN)));
        assert!(shown.contains("token: true"), "{shown}");
    }

    // SEC-08
    #[test]
    fn a_page_of_another_site_cannot_post() {
        let local = guard("127.0.0.1:7861", None);
        let post = |headers: &[(&str, &str)]| {
            local
                .check(&request(Method::POST, "127.0.0.1:7861", headers))
                .is_ok()
        };
        assert!(post(&[]));
        assert!(post(&[("content-type", "application/json; charset=utf-8")]));
        assert!(post(&[("origin", "http://127.0.0.1:7861")]));
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
        ] {
            assert!(!post(&[("content-type", form)]), "{form}");
        }
        for origin in ["https://evil.example", "null", "http://127.0.0.1:8080"] {
            assert!(!post(&[("origin", origin)]), "{origin}");
        }
        let mut untyped = request(Method::POST, "127.0.0.1", &[]);
        *untyped.body_mut() = Body::from("{}");
        assert!(local.check(&untyped).is_err());
    }
}
