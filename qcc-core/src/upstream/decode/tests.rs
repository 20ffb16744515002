//! The layer as a whole, and its pure core under data that nobody would write down.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::flate::params::FlateEncoderParams;
use compression_codecs::{
    BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::mpsc::unbounded_channel;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::state::Decoder;
use super::*;
use crate::exchange::{Exchange, RequestId};
use crate::facts::{Facts, Operation};
use crate::failure::find;
use crate::testing::{Feed, Script, assert_keeps_readiness, drain};
use crate::upstream::coding::Coding;

const TEXT: &str = r#"{"answer":"yes"}"#;
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// How a server encodes.
#[derive(Clone, Copy, Debug)]
enum Form {
    Gzip,
    Zlib,
    Deflate,
    Brotli,
    Zstd,
}

const FORMS: [Form; 5] = [
    Form::Gzip,
    Form::Zlib,
    Form::Deflate,
    Form::Brotli,
    Form::Zstd,
];

impl Form {
    const fn coding(self) -> Coding {
        match self {
            Self::Gzip => Coding::Gzip,
            Self::Zlib | Self::Deflate => Coding::Deflate,
            Self::Brotli => Coding::Brotli,
            Self::Zstd => Coding::Zstd,
        }
    }

    fn encoder(self) -> Box<dyn EncodeV2> {
        let level = || FlateEncoderParams::from(Level::Fastest);
        match self {
            Self::Gzip => Box::new(GzipEncoder::new(level())),
            Self::Zlib => Box::new(ZlibEncoder::new(level())),
            Self::Deflate => Box::new(DeflateEncoder::new(level())),
            Self::Brotli => Box::new(BrotliEncoder::new(
                EncoderParams::default().quality(Level::Fastest),
            )),
            Self::Zstd => Box::new(ZstdEncoder::new(1)),
        }
    }

    /// `pieces`, each so that it can be decoded as soon as it came.
    fn encode<P: AsRef<[u8]>>(self, pieces: &[P]) -> Vec<Bytes> {
        let mut encoder = self.encoder();
        let mut encoded = Vec::new();
        for (number, piece) in (1..).zip(pieces) {
            let mut data = Vec::new();
            let mut input = PartialBuffer::new(piece.as_ref());
            while !input.unwritten().is_empty() {
                write(&mut data, |output| {
                    encoder.encode(&mut input, output).map(|()| true)
                });
            }
            while !write(&mut data, |output| match number == pieces.len() {
                true => encoder.finish(output),
                false => encoder.flush(output),
            }) {}
            encoded.push(data.into());
        }
        encoded
    }

    fn whole(self, body: &[u8]) -> Bytes {
        self.encode(&[body]).concat().into()
    }
}

fn write(data: &mut Vec<u8>, step: impl FnOnce(&mut WriteBuffer<'_>) -> io::Result<bool>) -> bool {
    let mut room = vec![0; 4096];
    let mut output = WriteBuffer::new_initialized(&mut room);
    let is_done = step(&mut output).unwrap();
    data.extend_from_slice(output.written());
    is_done
}

/// Everything that `pieces` decode to, and how it ended.
fn decode(codings: &[Coding], pieces: &[Bytes]) -> (Vec<u8>, Result<(), Undecodable>) {
    let mut decoder = Decoder::new(codings, u64::MAX);
    let mut decoded = Vec::new();
    for piece in pieces {
        decoder.push(piece.clone());
        loop {
            match decoder.pull() {
                Ok(Some(data)) => decoded.extend_from_slice(&data),
                Ok(None) => break,
                Err(error) => return (decoded, Err(error)),
            }
        }
    }
    (decoded, decoder.finish())
}

/// `data` in pieces, the lengths of which are given in turn.
fn cut(mut data: Bytes, lengths: &[usize]) -> Vec<Bytes> {
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    while !data.is_empty() {
        let length = lengths.next().map_or(data.len(), |&length| length);
        pieces.push(data.split_to(length.min(data.len())));
    }
    pieces
}

fn any_form() -> impl Strategy<Value = Form> {
    (0..FORMS.len()).prop_map(|number| FORMS[number])
}

/// Bytes with and without repetitions.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let text =
        (vec(any::<u8>(), 1..40), 0..3000_usize).prop_map(|(word, times)| word.repeat(times));
    prop_oneof![vec(any::<u8>(), 0..5000), text]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // UPS-14
    #[test]
    fn any_body_in_any_codings_and_any_frames_decodes_to_itself(
        body in any_body(),
        forms in vec(any_form(), 1..=3),
        lengths in vec(1..700_usize, 1..20),
    ) {
        let encoded = forms.iter().fold(Bytes::from(body.clone()), |data, form| form.whole(&data));
        let codings: Vec<_> = forms.iter().map(|form| form.coding()).collect();
        let (decoded, end) = decode(&codings, &cut(encoded, &lengths));
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert!(decoded == body);
    }

    // UPS-16
    #[test]
    fn whatever_comes_ends_without_a_panic(
        form in any_form(),
        body in any_body(),
        place in any::<prop::sample::Index>(),
        garbage in vec(any::<u8>(), 1..40),
        is_whole in any::<bool>(),
        lengths in vec(1..700_usize, 1..20),
    ) {
        let mut encoded = form.whole(&body).to_vec();
        let place = place.index(encoded.len());
        let end = if is_whole { 0 } else { place };
        let replaced = end..(end + garbage.len()).min(encoded.len());
        encoded.splice(replaced, garbage);
        let (decoded, _) = decode(&[form.coding()], &cut(encoded.into(), &lengths));
        prop_assert!(decoded.len() <= 16 * 1024 * 1024);
    }
}

// UPS-14, STR-10
#[test]
fn what_the_server_flushed_is_given_out_at_once() {
    let events = ["event: one\n\n", "event: two\n\n", "event: three\n\n"];
    for form in FORMS {
        let mut decoder = Decoder::new(&[form.coding()], u64::MAX);
        for (piece, event) in form.encode(&events).into_iter().zip(events) {
            decoder.push(piece);
            assert_eq!(decoder.pull().unwrap().unwrap(), event, "{form:?}");
            assert!(decoder.pull().unwrap().is_none(), "{form:?}");
        }
        assert!(decoder.finish().is_ok(), "{form:?}");
    }
}

// UPS-16
#[test]
fn data_that_are_cut_anywhere_end_early() {
    for form in FORMS {
        let whole = form.whole(TEXT.as_bytes());
        for length in 1..whole.len() {
            let (decoded, end) = decode(&[form.coding()], &[whole.slice(..length)]);
            assert!(TEXT.as_bytes().starts_with(&decoded), "{form:?}, {length}");
            let end = end.unwrap_err();
            assert!(end.is_truncated(), "{form:?}, {length}: {end}");
        }
        // A body of no bytes is empty in any coding.
        assert!(decode(&[form.coding()], &[]).1.is_ok());
    }
}

// UPS-16
#[test]
fn what_follows_the_data_is_corrupt_and_comes_after_them() {
    for form in FORMS {
        let trailing = [&form.whole(TEXT.as_bytes())[..], b"garbage"].concat();
        let (decoded, end) = decode(&[form.coding()], &[trailing.into()]);
        assert_eq!(decoded, TEXT.as_bytes(), "{form:?}");
        let end = end.unwrap_err();
        assert!(end.is_corrupt(), "{form:?}: {end}");
    }
    for form in [Form::Gzip, Form::Zstd] {
        let twice = form.whole(TEXT.as_bytes()).repeat(2);
        let (decoded, end) = decode(&[form.coding()], &[twice.into()]);
        assert!(end.is_ok(), "{form:?}");
        assert_eq!(decoded, TEXT.repeat(2).as_bytes(), "{form:?}");
    }
}

// UPS-16
#[test]
fn a_bomb_is_too_large_and_a_long_stream_is_not() {
    let zeros = vec![0; 1024 * 1024];
    for form in FORMS {
        let bomb = form.encode(&[&zeros; 12]);
        let (decoded, end) = decode(&[form.coding()], &bomb);
        assert!(end.unwrap_err().is_too_large(), "{form:?}");
        let came: usize = bomb.iter().map(Bytes::len).sum();
        let allowed = (8 * 1024 * 1024).max(200 * came);
        assert!(decoded.len() <= allowed, "{form:?}: {}", decoded.len());

        let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n".repeat(10);
        let pings = form.encode(&vec![ping; 27_000]);
        let (decoded, end) = decode(&[form.coding()], &pings);
        assert!(end.is_ok(), "{form:?}: {end:?}");
        assert!(decoded.len() > 9_000_000);
    }
    // One that is packed twice is stopped where the inner one grows.
    let inner = Form::Gzip.encode(&[&zeros; 12]).concat();
    let twice = Form::Gzip.whole(&inner);
    let (_, end) = decode(&[Coding::Gzip, Coding::Gzip], &[twice]);
    assert!(end.unwrap_err().is_too_large());
}

// UPS-16
#[test]
fn windows_that_no_honest_answer_needs_are_refused() {
    // A zstd frame with a window of 16 MiB, and brotli with a large window.
    let zstd: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x70, 0x01, 0x00, 0x00];
    let brotli: &[u8] = &[0x11, 0x1E, 0x03];
    for (coding, data) in [(Coding::Zstd, zstd), (Coding::Brotli, brotli)] {
        let (_, end) = decode(&[coding], &[Bytes::from_static(data)]);
        assert!(end.unwrap_err().is_corrupt(), "{coding}");
    }
    let in_bounds: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x68, 0x01, 0x00, 0x00];
    assert!(
        decode(&[Coding::Zstd], &[Bytes::from_static(in_bounds)])
            .1
            .is_ok()
    );
}

// ===== the layer =====

fn request(method: Method, operation: Operation) -> Request<RequestBody> {
    let exchange = Exchange::new(RequestId::random());
    exchange.set_facts(Facts {
        operation,
        ..Facts::default()
    });
    let mut request = Request::new(RequestBody::empty());
    *request.method_mut() = method;
    request.extensions_mut().insert(Visit::new(exchange));
    request
}

fn generation() -> Request<RequestBody> {
    request(Method::POST, Operation::Generate)
}

fn answer<B>(status: u16, kind: &str, coding: &str, body: B) -> Response<B> {
    let mut response = Response::builder().status(status);
    for (name, value) in [(CONTENT_TYPE, kind), (CONTENT_ENCODING, coding)] {
        if !value.is_empty() {
            response = response.header(name, value);
        }
    }
    response.body(body).unwrap()
}

/// The same with the length of its body in its head.
fn measured(mut response: Response<Bytes>) -> Response<Full<Bytes>> {
    let length = response.body().len();
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.map(Full::new)
}

/// What becomes of `response`.
async fn through<B>(
    request: Request<RequestBody>,
    response: Response<B>,
) -> Response<DecodedBody<B>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut response = Some(response);
    let upstream = service_fn(move |_| {
        let response = response.take().unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    DecodeLayer.layer(upstream).oneshot(request).await.unwrap()
}

// UPS-14, UPS-15
#[tokio::test]
async fn an_encoded_answer_is_decoded_whether_it_says_so_or_not() {
    let gzip = Form::Gzip.whole(TEXT.as_bytes());
    let twice = Form::Brotli.whole(&gzip);
    for (kind, coding, body) in [
        (JSON, "gzip", gzip.clone()),
        (JSON, "x-gzip", gzip.clone()),
        ("", "deflate", Form::Zlib.whole(TEXT.as_bytes())),
        (EVENTS, "deflate", Form::Deflate.whole(TEXT.as_bytes())),
        ("image/png", "br", Form::Brotli.whole(TEXT.as_bytes())),
        (JSON, "zstd", Form::Zstd.whole(TEXT.as_bytes())),
        (JSON, "gzip, br", twice),
        ("", "", gzip.clone()),
        (EVENTS, "", gzip.clone()),
        ("Application/Problem+JSON; charset=utf-8", "", gzip.clone()),
        ("text/plain", "identity", gzip),
    ] {
        for status in [200, 429, 500] {
            let response = measured(answer(status, kind, coding, body.clone()));
            let response = through(generation(), response).await;
            let headers = response.headers().clone();
            assert!(!headers.contains_key(CONTENT_LENGTH), "{kind}, {coding}");
            assert!(
                !headers.contains_key(CONTENT_ENCODING) || coding == "identity",
                "{kind}, {coding}"
            );
            assert_eq!(
                drain(response.into_body()).await.unwrap(),
                TEXT,
                "{kind}, {coding}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_encoded_is_not_touched() {
    for (kind, text) in [
        (JSON, TEXT),
        (EVENTS, ": ping\n\n"),
        ("", "\u{1f}?"),
        (JSON, ""),
    ] {
        let body = Bytes::from_static(text.as_bytes());
        let mut response =
            through(generation(), measured(answer(200, kind, "", body.clone()))).await;
        assert_eq!(response.headers()[CONTENT_LENGTH], text.len().to_string());
        assert_eq!(response.body().size_hint().exact(), Some(text.len() as u64));
        if !text.is_empty() {
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().as_ptr(), body.as_ptr());
        }
        assert!(response.body().is_end_stream());
        assert!(response.body_mut().frame().await.is_none());
    }
}

// UPS-14
#[tokio::test]
async fn what_has_no_whole_body_or_an_unknown_coding_is_left_as_it_is() {
    let gzip = Form::Gzip.whole(TEXT.as_bytes());
    for (method, status, coding) in [
        (Method::HEAD, 200, "gzip"),
        (Method::GET, 204, "gzip"),
        (Method::GET, 304, "gzip"),
        (Method::GET, 206, "gzip"),
        (Method::GET, 206, ""),
        (Method::GET, 200, "compress"),
    ] {
        let response = measured(answer(status, JSON, coding, gzip.clone()));
        let headers = response.headers().clone();
        let response = through(request(method, Operation::Other), response).await;
        assert_eq!(*response.headers(), headers, "{status}, {coding}");
        assert_eq!(drain(response.into_body()).await.unwrap(), gzip);
    }
    let file = answer(200, "application/gzip", "", gzip.clone()).map(Full::new);
    let file = through(request(Method::GET, Operation::Other), file).await;
    assert_eq!(drain(file.into_body()).await.unwrap(), gzip);
}

// UPS-15
#[tokio::test]
async fn a_client_gets_the_coding_that_it_asked_for_where_nobody_looks() {
    let gzip = Form::Gzip.whole(TEXT.as_bytes());
    for (operation, status, accepted, is_left) in [
        (Operation::Other, 200, "br, gzip", true),
        (Operation::Other, 200, "br", false),
        (Operation::Other, 200, "gzip;q=0", false),
        (Operation::Other, 401, "gzip", false),
        (Operation::Generate, 200, "gzip", false),
    ] {
        let mut request = request(Method::GET, operation);
        request
            .headers_mut()
            .insert("accept-encoding", accepted.parse().unwrap());
        let response = measured(answer(status, JSON, "gzip", gzip.clone()));
        let response = through(request, response).await;
        assert_eq!(response.headers().contains_key(CONTENT_ENCODING), is_left);
        assert_eq!(response.headers().contains_key(CONTENT_LENGTH), is_left);
        let body = drain(response.into_body()).await.unwrap();
        assert_eq!(body == gzip, is_left, "{operation:?}, {status}, {accepted}");
    }
}

// UPS-14, STR-10
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_event_by_event_and_its_head_does_not_wait() {
    let events = ["data: 1\n\n", "data: 2\n\n"];
    for coding in ["gzip", ""] {
        let (feeder, feed) = unbounded_channel();
        let response = through(generation(), answer(200, EVENTS, coding, Feed(feed))).await;
        let mut body = response.into_body();
        for (piece, event) in Form::Gzip.encode(&events).into_iter().zip(events) {
            // The first byte alone says it.
            for part in [piece.slice(..1), piece.slice(1..)] {
                feeder.send(Ok(part)).unwrap();
            }
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event);
            let more = tokio::time::timeout(Duration::from_secs(1), body.frame());
            assert!(more.await.is_err(), "something came out of nothing");
        }
        drop(feeder);
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }
}

// UPS-16
#[tokio::test]
async fn a_body_that_cannot_be_decoded_ends_with_an_error_that_says_why() {
    let gzip = Form::Gzip.whole(TEXT.as_bytes());
    for (body, expected) in [
        (gzip.slice(..gzip.len() - 1), "the gzip data ends early"),
        (Bytes::from_static(b"plain"), "the gzip data is corrupt"),
    ] {
        let response = through(generation(), answer(200, JSON, "gzip", Full::new(body))).await;
        let error = drain(response.into_body()).await.unwrap_err();
        let undecodable = find::<Undecodable>(&*error).unwrap();
        assert_eq!(undecodable.to_string(), expected);
    }
    // An error that fits in little comes as large as any.
    let zeros = vec![0; 1024 * 1024];
    let bomb: Bytes = Form::Zstd.encode(&[&zeros; 12]).concat().into();
    let response = through(generation(), answer(500, JSON, "zstd", Full::new(bomb))).await;
    let error = drain(response.into_body()).await.unwrap_err();
    assert!(find::<Undecodable>(&*error).unwrap().is_too_large());
}

#[tokio::test]
async fn an_error_of_the_upstream_stays_what_it_is() {
    for coding in ["gzip", ""] {
        for announced in [false, true] {
            let reset = io::Error::from(io::ErrorKind::ConnectionReset);
            let mut response = answer(200, JSON, coding, Script::new([Err(reset.into())]));
            if announced {
                response.headers_mut().insert(CONTENT_LENGTH, 9.into());
            }
            let response = through(generation(), response).await;
            let error = drain(response.into_body()).await.unwrap_err();
            let error = find::<io::Error>(&*error).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test]
async fn the_readiness_of_the_inner_service_is_kept() {
    let probe = crate::testing::ReadinessProbe::new(|_| crate::testing::answer("x"));
    assert_keeps_readiness(DecodeLayer.layer(probe)).await;
}
