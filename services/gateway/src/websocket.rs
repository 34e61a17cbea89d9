//! WebSocket (RFC 6455): the handshake passes, then bytes both ways; a cut is a close frame with status 1008.

mod frames;

use crate::beside::beside_request;
use crate::headers::for_caller;
use crate::passage::Ending;
use crate::running::Registration;
use crate::upload::Upload;
use crate::websocket::frames::Frames;
use actix_web::HttpResponse;
use actix_web::body::BodyStream;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::{CONNECTION, HeaderMap, HeaderName, UPGRADE};
use http::{Method, Response};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

const READ_AHEAD: usize = 16 * 1024;
/// FIN, opcode close, two bytes: 1008, "policy violation" (RFC 6455 §7.4.1). Frames of a server are not masked.
const CLOSE_POLICY_VIOLATION: [u8; 4] = [0x88, 0x02, 0x03, 0xF0];

/// Whether a call asks to become a WebSocket (RFC 6455 §4.1).
#[must_use]
pub fn is_handshake(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && names(headers, &UPGRADE, "websocket") && names(headers, &CONNECTION, "upgrade")
}

fn names(headers: &HeaderMap, header: &HeaderName, wanted: &str) -> bool {
    let lists = headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(wanted))
}

/// Joins caller and upstream after both have agreed to switch.
pub(crate) fn join(
    answer: &Response<Incoming>,
    upgraded: Upgraded,
    payload: Option<Payload>,
    registration: Registration,
    ending: Ending,
    upload: Arc<Upload>,
) -> HttpResponse {
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upgraded));
    let cut = registration.exchange.cut().clone();
    if let Some(payload) = payload {
        beside_request(carry(payload, to_upstream, cut.clone(), upload));
    }
    let mut builder = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in for_caller(answer.headers()) {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    builder.upgrade("websocket");
    let joined = Joined {
        from_upstream,
        cut,
        registration,
        ending,
        frames: Frames::default(),
    };
    builder.body(BodyStream::new(joined.into_stream()))
}

/// The caller's bytes, until either side is done.
async fn carry(
    mut payload: Payload,
    mut to_upstream: WriteHalf<TokioIo<Upgraded>>,
    cut: CancellationToken,
    upload: Arc<Upload>,
) {
    loop {
        let chunk = tokio::select! {
            biased;
            () = cut.cancelled() => break,
            chunk = payload.next() => chunk,
        };
        let Some(Ok(chunk)) = chunk else { break };
        if to_upstream.write_all(&chunk).await.is_err() || to_upstream.flush().await.is_err() {
            break;
        }
        upload.add(chunk.len());
    }
    // The other half may be closed already.
    let _ = to_upstream.shutdown().await;
}

struct Joined {
    from_upstream: ReadHalf<TokioIo<Upgraded>>,
    cut: CancellationToken,
    registration: Registration,
    ending: Ending,
    frames: Frames,
}

impl Joined {
    fn into_stream(self) -> impl Stream<Item = std::io::Result<Bytes>> {
        futures::stream::unfold(Some(self), |joined| async { joined?.next().await })
    }

    async fn next(mut self) -> Option<(std::io::Result<Bytes>, Option<Self>)> {
        let mut buffer = BytesMut::with_capacity(READ_AHEAD);
        let read = tokio::select! {
            biased;
            () = self.cut.cancelled() => return Some((self.close(), None)),
            read = self.from_upstream.read_buf(&mut buffer) => read,
        };
        match read {
            Ok(0) => {
                self.ending.complete();
                None
            }
            Ok(length) => {
                self.ending.sent(length);
                self.frames.pass(&buffer);
                Some((Ok(buffer.freeze()), Some(self)))
            }
            Err(error) => {
                self.ending.failed("upstream_failed");
                Some((Err(error), None))
            }
        }
    }

    /// A close frame stands only between frames; inside one the connection just ends.
    fn close(&mut self) -> std::io::Result<Bytes> {
        self.ending.cut(self.registration.exchange.why());
        if self.frames.is_between() {
            Ok(Bytes::from_static(&CLOSE_POLICY_VIOLATION))
        } else {
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
    }
}
