//! A request's body on its way to the upstream: counted, limited, and ended as broken when anything ends it early.

use crate::beside::beside_request;
use actix_web::web::Payload;
use bytes::Bytes;
use caracal_egress::BoxError;
use caracal_egress::body::{Body, empty, from_channel};
use futures::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The largest body that passes (contract §5).
pub const MAX_BODY_BYTES: u64 = 10 * 1024 * 1024;
/// Chunks read ahead of the upstream.
const CHUNKS_AHEAD: usize = 4;

/// How an upload is doing.
#[derive(Debug)]
pub struct Upload {
    bytes: AtomicU64,
    too_large: AtomicBool,
    moved: Mutex<Instant>,
}

/// Why a body ended early. Whoever reads it sees only that it is broken.
#[derive(Debug, Clone, Copy, thiserror::Error)]
enum Broken {
    #[error("the body is larger than the limit")]
    TooLarge,
    #[error("the exchange was ended")]
    Ended,
    #[error("the caller went away")]
    Caller,
}

impl Upload {
    /// Begins to read a body of the announced length.
    #[must_use]
    pub fn begin(payload: Payload, length: Option<u64>, cut: CancellationToken) -> (Body, Arc<Self>) {
        let upload = Self::nothing();
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let reader = Reader {
            payload,
            upload: Arc::clone(&upload),
            sender,
            cut,
        };
        beside_request(reader.read_all());
        (from_channel(receiver, length), upload)
    }

    /// There is no body.
    #[must_use]
    pub fn none() -> (Body, Arc<Self>) {
        (empty(), Self::nothing())
    }

    fn nothing() -> Arc<Self> {
        let moved = Mutex::new(Instant::now());
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            too_large: AtomicBool::new(false),
            moved,
        })
    }

    /// Bytes read from the caller.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether it went past the limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Acquire)
    }

    /// When the upstream last took something.
    #[must_use]
    pub fn moved(&self) -> Instant {
        *self.moved.lock()
    }

    /// Counts what passed.
    pub fn add(&self, bytes: usize) {
        self.bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        *self.moved.lock() = Instant::now();
    }
}

struct Reader {
    payload: Payload,
    upload: Arc<Upload>,
    sender: mpsc::Sender<Result<Bytes, BoxError>>,
    cut: CancellationToken,
}

impl Reader {
    async fn read_all(mut self) {
        if let Err(broken) = self.read().await {
            // Nobody may be left to hear it.
            let _ = self.sender.try_send(Err(broken.into()));
        }
    }

    async fn read(&mut self) -> Result<(), Broken> {
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.cut.cancelled() => return Err(Broken::Ended),
                () = self.sender.closed() => return Ok(()),
                chunk = self.payload.next() => chunk,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            let chunk = chunk.map_err(|_| Broken::Caller)?;
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if self.upload.bytes().saturating_add(length) > MAX_BODY_BYTES {
                self.upload.too_large.store(true, Ordering::Release);
                return Err(Broken::TooLarge);
            }
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return Err(Broken::Ended),
                sent = self.sender.send(Ok(chunk)) => if sent.is_err() { return Ok(()) },
            }
            self.upload.add(usize::try_from(length).unwrap_or(usize::MAX));
        }
    }
}
