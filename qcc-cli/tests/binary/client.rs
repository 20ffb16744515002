//! A client with one connection for one request.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A request of Anthropic's dialect.
pub(crate) const MESSAGE: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

/// The same for a stream.
pub(crate) const STREAM: &str =
    r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// The bytes of a request with this first line, which headers may follow.
pub(crate) fn request(head: &str, body: &str) -> String {
    format!(
        "{head}\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request, and gives all that comes back.
pub(crate) fn ask(to: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(request(head, body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn get(to: SocketAddr, path: &str) -> String {
    ask(to, &format!("GET {path} HTTP/1.1"), "")
}

pub(crate) fn post(to: SocketAddr, path: &str, body: &str) -> String {
    ask(to, &format!("POST {path} HTTP/1.1"), body)
}
