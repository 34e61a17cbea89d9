//! The answer as the caller gets it: as it comes, until it ends or is cut.

use crate::headers::for_caller;
use crate::passage::finish::Ending;
use crate::running::Registration;
use actix_web::HttpResponse;
use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::StatusCode;
use bytes::Bytes;
use futures::Stream;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::{Body, Incoming};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Hands the answer on.
pub(super) fn stream(
    answer: Response<Incoming>,
    method: &Method,
    registration: Registration,
    mut ending: Ending,
) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut builder = HttpResponse::build(status);
    for (name, value) in for_caller(&head.headers) {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    let announced = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if method == Method::HEAD || body.is_end_stream() {
        ending.complete();
    }
    let length = announced
        .filter(|_| method == Method::HEAD)
        .or(body.size_hint().exact());
    let cut = Box::pin(registration.exchange.cut().clone().cancelled_owned());
    let answer = Answer {
        body: body.into_data_stream(),
        cut,
        registration,
        ending,
        left: length,
        over: false,
    };
    match length {
        Some(length) => builder.body(SizedStream::new(length, answer)),
        None => builder.body(BodyStream::new(answer)),
    }
}

/// A body that never ends well once it has been cut: the connection closes without a last chunk (contract §4).
struct Answer {
    body: BodyDataStream<Incoming>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    registration: Registration,
    ending: Ending,
    /// What is left of an answer whose length was announced: with its last byte it is complete, and the caller may go.
    left: Option<u64>,
    over: bool,
}

/// Why a body did not end well.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the exchange was ended")]
    Cut,
    #[error("the upstream broke off")]
    Upstream(#[source] hyper::Error),
}

impl Stream for Answer {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.cut.as_mut().poll(context).is_ready() {
            self.over = true;
            let why = self.registration.exchange.why();
            self.ending.cut(why);
            return Poll::Ready(Some(Err(Broken::Cut)));
        }
        let next = ready!(Pin::new(&mut self.body).poll_next(context));
        self.over = !matches!(next, Some(Ok(_)));
        match &next {
            Some(Ok(chunk)) => {
                let length = chunk.len();
                self.ending.sent(length);
                self.left = self
                    .left
                    .map(|left| left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX)));
                if self.left == Some(0) {
                    self.ending.complete();
                }
            }
            Some(Err(_)) => self.ending.failed("upstream_failed"),
            None => self.ending.complete(),
        }
        Poll::Ready(next.map(|chunk| chunk.map_err(Broken::Upstream)))
    }
}
