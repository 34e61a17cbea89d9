//! Request bodies.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body of any kind.
pub type Body = BoxBody<Bytes, BoxError>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body that is all there.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body that arrives chunk by chunk, such as one read from a caller while it is forwarded. An `Err` ends it as broken,
/// never as complete. `length` is what the caller announced, if it did.
#[must_use]
pub fn from_channel(chunks: Receiver<Result<Bytes, BoxError>>, length: Option<u64>) -> Body {
    Channel { chunks, left: length }.boxed()
}

struct Channel {
    chunks: Receiver<Result<Bytes, BoxError>>,
    left: Option<u64>,
}

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.chunks.poll_recv(context).map(|chunk| {
            let chunk = match chunk? {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(error)),
            };
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            }
            Some(Ok(Frame::data(chunk)))
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
