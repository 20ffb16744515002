//! Upstreams that speak HTTP/2, over TLS and by choice of ALPN, as the public ones do.
//!
//! The proxy trusts what the platform trusts. On Linux that can be said for one process, so the
//! whole way is tried there: certificate, ALPN, pool, streams.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::client::{MESSAGE, STREAM, request};
use crate::folder::folder;
use crate::proxy::{Proxy, serve};

type Answer = Either<Full<Bytes>, Channel<Bytes>>;

const WHOLE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

const BEGIN: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n";

const END: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// An upstream with TLS that offers HTTP/2 and HTTP/1.1.
struct Upstream {
    address: SocketAddr,
    /// What the proxy has to trust.
    authority: String,
    seen: Arc<Seen>,
    /// The open ends of streams, in the order in which they were asked for.
    streams: mpsc::UnboundedReceiver<Sender<Bytes>>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    versions: Mutex<Vec<Version>>,
}

impl Upstream {
    async fn start() -> Self {
        let (authority, config) = certified();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (began, streams) = mpsc::unbounded_channel();
        let server = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, seen, began) = (acceptor.clone(), server.clone(), began.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    seen.connections.fetch_add(1, Ordering::Relaxed);
                    let service = service_fn(move |request| {
                        let (seen, began) = (seen.clone(), began.clone());
                        async move { Ok::<_, Infallible>(answer(request, &seen, &began).await) }
                    });
                    let io = TokioIo::new(stream);
                    // The proxy ends when its test does.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                });
            }
        });
        Self {
            address,
            authority,
            seen,
            streams,
        }
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

/// An authority, and what a server on the loopback needs that it vouches for.
fn certified() -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (issuer.pem(), config)
}

/// A message at once, or a stream whose end the test has.
async fn answer(
    request: Request<Incoming>,
    seen: &Seen,
    began: &mpsc::UnboundedSender<Sender<Bytes>>,
) -> Response<Answer> {
    seen.versions.lock().unwrap().push(request.version());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    if asked["stream"] != true {
        return answered(Answer::Left(Full::from(WHOLE)), "application/json");
    }
    let (mut sender, body) = Channel::new(8);
    sender
        .send_data(Bytes::from_static(BEGIN.as_bytes()))
        .await
        .unwrap();
    began.send(sender).unwrap();
    answered(Answer::Right(body), "text/event-stream")
}

fn answered(body: Answer, kind: &str) -> Response<Answer> {
    Response::builder()
        .header("content-type", kind)
        .body(body)
        .unwrap()
}

/// A proxy before the upstream, which trusts its authority.
fn proxy(upstream: &Upstream) -> Proxy {
    let folder = folder("http2");
    let (config, authority) = (folder.join("qcc.yaml"), folder.join("authority.pem"));
    fs::write(&authority, &upstream.authority).unwrap();
    let text = format!(
        "warm_up: off\nstore: {{ enabled: false }}\nclusters: {{ c: {{ kind: anthropic, \
         endpoints: [{{ name: a, base_url: 'https://{}', api_key: sk-test-0001 }}] }} }}\n",
        upstream.address
    );
    fs::write(&config, text).unwrap();
    Proxy::start(serve(&config, 0).env("SSL_CERT_FILE", authority))
}

/// Asks, and gives the connection on which the answer comes.
async fn ask(proxy: &Proxy, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = request("POST /v1/messages HTTP/1.1", body);
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

async fn rest(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads up to `text`.
async fn read_until(client: &mut TcpStream, text: &str) {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(text) {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
}

// UPS-01
#[tokio::test]
async fn requests_streams_and_canceled_streams_share_one_connection_of_http2() {
    let mut upstream = Upstream::start().await;
    let proxy = proxy(&upstream);

    let answer = rest(ask(&proxy, MESSAGE).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("msg_1"), "{answer}");

    // A stream is open while others are answered, and ends when the upstream ends it.
    let mut client = ask(&proxy, STREAM).await;
    let mut open = upstream.streams.recv().await.unwrap();
    read_until(&mut client, "text_delta").await;
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(ask(&proxy, MESSAGE).await);
    }
    for other in others {
        assert!(rest(other).await.contains("msg_1"));
    }
    open.send_data(Bytes::from_static(END.as_bytes()))
        .await
        .unwrap();
    drop(open);
    let answer = rest(client).await;
    assert!(answer.contains("event: message_stop"), "{answer}");
    assert!(!answer.contains("event: error"), "{answer}");

    // One whose client leaves is reset, and nothing else is.
    let mut client = ask(&proxy, STREAM).await;
    let mut open = upstream.streams.recv().await.unwrap();
    read_until(&mut client, "text_delta").await;
    let mut staying = ask(&proxy, STREAM).await;
    let mut stays = upstream.streams.recv().await.unwrap();
    drop(client);
    while open
        .send_data(Bytes::from_static(b": more\n\n"))
        .await
        .is_ok()
    {}
    read_until(&mut staying, "text_delta").await;
    stays
        .send_data(Bytes::from_static(END.as_bytes()))
        .await
        .unwrap();
    drop(stays);
    assert!(rest(staying).await.contains("event: message_stop"));
    assert!(rest(ask(&proxy, MESSAGE).await).await.contains("msg_1"));

    let versions = upstream.seen.versions.lock().unwrap();
    assert!(
        versions.iter().all(|version| *version == Version::HTTP_2),
        "{versions:?}"
    );
    assert_eq!((versions.len(), upstream.connections()), (15, 1));
}
