//! Requests that another server on the way could read otherwise, and methods that make no sense
//! here. Pure.
//!
//! hyper refuses what is malformed. What it lets pass and two readers could take for different
//! requests is refused here, and its connection ends: what follows on it may be meant to be read
//! as something else.

use http::header::{ALLOW, CONNECTION, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use super::route::Refusal;

/// The methods that upstreams may know, for the answer to one that none does.
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Whether there is one way only to read the head of a request.
///
/// # Errors
///
/// The refusal, if not.
pub(super) fn check(head: &Parts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(method(
            "this is no proxy for a network; take it for the address of the API instead, as in \
             ANTHROPIC_BASE_URL or OPENAI_BASE_URL",
        ));
    }
    if head.method == Method::TRACE {
        return Err(method("requests are not sent back"));
    }
    if !has_one_host(head) {
        return Err(refused(
            "name one host: in `Host`, and nowhere else another one",
        ));
    }
    if !has_one_length(&head.headers) {
        return Err(refused("the only transfer coding is `chunked`, once"));
    }
    Ok(())
}

/// Completes `response`, the refusal of `head`: nothing more is read from its connection.
pub(super) fn close<B>(head: &Parts, response: &mut Response<B>) {
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, METHODS);
    }
    // On HTTP/2 a stream has bounds of its own.
    if head.version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn has_one_host(head: &Parts) -> bool {
    let mut named = head.headers.get_all(HOST).iter();
    let line = head.uri.authority();
    match (named.next(), named.next()) {
        (Some(host), None) => match (host.to_str(), line) {
            // It may be empty where the request names no host either.
            (Ok(""), None) => true,
            (Ok(host), None) => host.parse::<Authority>().is_ok(),
            (Ok(host), Some(line)) => line.as_str().eq_ignore_ascii_case(host),
            (Err(_), _) => false,
        },
        (None, _) => line.is_some() || head.version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

fn has_one_length(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    let chunked = |coding: &HeaderValue| {
        let coding = coding.as_bytes().trim_ascii();
        coding.eq_ignore_ascii_case(b"chunked")
    };
    first.is_none_or(chunked) && codings.next().is_none()
}

fn refused(message: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "ambiguous_request",
        message: format!("the request can be read in two ways; {message}"),
    }
}

fn method(message: &str) -> Refusal {
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn code(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head).map_or_else(|refusal| refusal.code.to_owned(), |()| "fine".to_owned())
    }

    fn host(target: &str, hosts: &[&str]) -> String {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        code("POST", target, Version::HTTP_11, &headers)
    }

    // OPS-13
    #[test]
    fn a_request_names_one_host() {
        for (target, hosts) in [
            ("/v1/messages", &["h"][..]),
            ("/v1/messages", &["127.0.0.1:7860"]),
            ("/v1/messages", &[""]),
            ("http://h:80/v1/messages", &["H:80"]),
            ("http://h/v1/messages", &[]),
        ] {
            assert_eq!(host(target, hosts), "fine", "{target} {hosts:?}");
        }
        for (target, hosts) in [
            ("/v1/messages", &[][..]),
            ("/v1/messages", &["h", "h"]),
            ("/v1/messages", &["a b"]),
            ("/v1/messages", &["h/x"]),
            ("http://evil.example/v1/messages", &["h"]),
            ("http://h/v1/messages", &["h", "i"]),
            ("http://h/v1/messages", &[""]),
        ] {
            assert_eq!(
                host(target, hosts),
                "ambiguous_request",
                "{target} {hosts:?}"
            );
        }
        assert_eq!(code("GET", "/", Version::HTTP_10, &[]), "fine");
    }

    // OPS-13
    #[test]
    fn the_end_of_a_body_is_told_in_one_way() {
        let codings = |codings: &[&'static str]| {
            let mut headers = vec![("host", "h")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            code("POST", "/", Version::HTTP_11, &headers)
        };
        assert_eq!(codings(&["Chunked "]), "fine");
        for bad in [
            &["chunked", "chunked"][..],
            &["chunked, chunked"],
            &["gzip, chunked"],
        ] {
            assert_eq!(codings(bad), "ambiguous_request", "{bad:?}");
        }
    }

    // OPS-13
    #[test]
    fn methods_that_make_no_sense_here_are_refused() {
        for (method, target) in [
            ("CONNECT", "api.example.com:443"),
            ("TRACE", "/v1/messages"),
        ] {
            let headers = [("host", "h")];
            let code = code(method, target, Version::HTTP_11, &headers);
            assert_eq!(code, "method_not_allowed", "{method}");
        }
    }
}
