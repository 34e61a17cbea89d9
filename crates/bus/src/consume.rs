//! Durable consumption for the ingester: any number of processes share one consumer, and a message comes again until it
//! is acknowledged.

use crate::BoxError;
use crate::cause::cause;
use crate::connection::{Bus, Error, arrival};
use crate::signature::Untrusted;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{AckKind, Message};
use caracal_domain::Timestamp;
use caracal_trace::TRACEPARENT;
use futures::StreamExt as _;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// A message not acknowledged for this long, its holder being dead or stuck, comes again to another.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Enough for many holders of large batches.
const MAX_ACK_PENDING: i64 = 20_000;
/// Between attempts to open the consumer.
const RETRY: Duration = Duration::from_millis(500);

/// A share of a durable consumer. It opens, and after a failure reopens, by itself.
pub struct Puller {
    bus: Bus,
    stream: String,
    durable: String,
    messages: Option<pull::Stream>,
    /// When the stream that `messages` come from was made.
    made_at: Option<Timestamp>,
}

/// How far a consumer has come in a stream. A stream that was lost and made again counts from one: what was said of the
/// first is not true of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// When the stream was made.
    pub stream_made_at: Option<Timestamp>,
    /// The number up to which every message is acknowledged.
    pub sequence: u64,
}

/// One message, to be acknowledged when what it says is stored.
pub struct Delivery {
    /// Its subject.
    pub subject: String,
    /// Its `Nats-Msg-Id`, empty when it has none.
    pub id: String,
    /// What it carries, if its signature holds.
    pub payload: Result<Vec<u8>, Untrusted>,
    /// Its number in the stream.
    pub stream_sequence: u64,
    /// When that stream was made.
    pub stream_made_at: Option<Timestamp>,
    /// When the stream took it.
    pub arrived_at: Option<Timestamp>,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    message: Message,
}

impl Bus {
    /// A share of the durable consumer of this name; it is created when first used.
    #[must_use]
    pub fn pull(&self, stream: &str, durable: &str) -> Puller {
        Puller {
            bus: self.clone(),
            stream: stream.to_owned(),
            durable: durable.to_owned(),
            messages: None,
            made_at: None,
        }
    }

    /// Drops the messages of a stream up to where a consumer had come, unless the stream has been made anew since.
    ///
    /// # Errors
    /// When `JetStream` does not answer.
    pub async fn forget(&self, stream: &str, up_to: Reached) -> Result<(), Error> {
        let purge = async {
            let stream = self.jetstream.get_stream(stream).await?;
            if made_at(&stream) == up_to.stream_made_at {
                stream.purge().sequence(up_to.sequence.saturating_add(1)).await?;
            }
            Ok::<_, BoxError>(())
        };
        purge.await.map_err(|source| Error::Stream {
            name: stream.to_owned(),
            source,
        })
    }
}

impl Puller {
    /// Waits for a first message, then gathers more until there are `max` or `linger` has passed. Whatever fails is
    /// tried again; this returns only with at least one message.
    pub async fn batch(&mut self, max: usize, linger: Duration) -> Vec<Delivery> {
        let mut batch = vec![self.first().await];
        let end = Instant::now() + linger;
        while batch.len() < max {
            let Some(messages) = self.messages.as_mut() else {
                break;
            };
            match timeout_at(end, messages.next()).await {
                Ok(Some(Ok(message))) => batch.push(self.delivery(message)),
                Ok(_) => self.messages = None,
                Err(_) => break,
            }
        }
        batch
    }

    /// How many messages wait to be taken or acknowledged.
    ///
    /// # Errors
    /// When `JetStream` does not answer.
    pub async fn lag(&self) -> Result<u64, Error> {
        let info = self.consumer().await?.1.cached_info().clone();
        Ok(info
            .num_pending
            .saturating_add(u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX)))
    }

    /// Up to where every message is acknowledged.
    ///
    /// # Errors
    /// When `JetStream` does not answer.
    pub async fn acknowledged(&self) -> Result<Reached, Error> {
        let (stream_made_at, consumer) = self.consumer().await?;
        let sequence = consumer.cached_info().ack_floor.stream_sequence;
        Ok(Reached {
            stream_made_at,
            sequence,
        })
    }

    async fn first(&mut self) -> Delivery {
        loop {
            match self.messages.as_mut() {
                None => match self.open().await {
                    Ok(messages) => self.messages = Some(messages),
                    Err(error) => {
                        tracing::warn!(
                            error = cause(&error),
                            stream = self.stream,
                            "the consumer cannot be opened"
                        );
                        sleep(RETRY).await;
                    }
                },
                Some(messages) => match messages.next().await {
                    Some(Ok(message)) => return self.delivery(message),
                    Some(Err(error)) => {
                        tracing::debug!(%error, stream = self.stream, "the consumer is opened again");
                        self.messages = None;
                        sleep(RETRY).await;
                    }
                    None => self.messages = None,
                },
            }
        }
    }

    async fn open(&mut self) -> Result<pull::Stream, Error> {
        self.bus.ensure_streams().await?;
        let (made_at, consumer) = self.consumer().await?;
        self.made_at = made_at;
        consumer
            .messages()
            .await
            .map_err(|source| self.failed(source.into()))
    }

    async fn consumer(&self) -> Result<(Option<Timestamp>, PullConsumer), Error> {
        let config = pull::Config {
            durable_name: Some(self.durable.clone()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        let open = async {
            let stream = self.bus.jetstream.get_stream(&self.stream).await?;
            let consumer = stream.get_or_create_consumer(&self.durable, config).await?;
            Ok::<_, BoxError>((made_at(&stream), consumer))
        };
        open.await.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: BoxError) -> Error {
        Error::Stream {
            name: self.stream.clone(),
            source,
        }
    }

    fn delivery(&self, message: Message) -> Delivery {
        let header = |name: &str| {
            let headers = message.headers.as_ref();
            headers
                .and_then(|headers| headers.get(name))
                .map(|value| value.as_str().to_owned())
        };
        let info = message.info().ok();
        Delivery {
            subject: message.subject.to_string(),
            id: header(NATS_MESSAGE_ID.as_ref()).unwrap_or_default(),
            payload: self
                .bus
                .trusted(&message.subject, message.headers.as_ref(), &message.payload),
            stream_sequence: info.as_ref().map_or(0, |info| info.stream_sequence),
            stream_made_at: self.made_at,
            arrived_at: info.and_then(|info| arrival(info.published.unix_timestamp_nanos())),
            traceparent: header(TRACEPARENT),
            message,
        }
    }
}

/// When a stream was made, as the server says it.
fn made_at(stream: &Stream) -> Option<Timestamp> {
    arrival(stream.cached_info().created.unix_timestamp_nanos())
}

impl Delivery {
    /// Tells the stream that what the message says is stored. Should this get lost, it comes again.
    pub async fn ack(&self) {
        self.answer(AckKind::Ack).await;
    }

    /// Gives the message back, to be delivered again after a while.
    pub async fn give_back(&self, after: Duration) {
        self.answer(AckKind::Nak(Some(after))).await;
    }

    /// Asks for more time with the message.
    pub async fn keep(&self) {
        self.answer(AckKind::Progress).await;
    }

    async fn answer(&self, kind: AckKind) {
        if let Err(error) = self.message.ack_with(kind).await {
            tracing::debug!(%error, subject = self.subject, "an acknowledgement was not sent");
        }
    }
}
