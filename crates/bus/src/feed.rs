//! Follows the feed: each replica with its own ordered consumer (architecture, "Freshness").
//!
//! The rule this file keeps: the position a replica claims is never ahead of what its sink has applied. Start-up opens
//! the consumer, reads PostgreSQL, then applies. A gap, a bad signature or an undecodable message breaks the position;
//! the next heartbeat first has the view rebuilt from PostgreSQL and then counts.

use crate::BoxError;
use crate::bounded_wait::within;
use crate::cause::cause;
use crate::connection::{Bus, Error};
use crate::feed_position::FeedHandle;
use crate::streams::FEED_STREAM;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use caracal_domain::FeedEvent;
use caracal_trace::{TRACEPARENT, continue_from};
use caracal_wire::{HEARTBEAT_SUBJECT, decode_feed, decode_heartbeat};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// Heartbeats come twice a second; after this silence the stream itself is looked at.
const SILENCE: Duration = Duration::from_secs(3);
/// Between attempts at anything that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How long opening or inspecting the stream may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a replica keeps current.
pub trait FeedSink: Send + Sync {
    /// Applies one change. Called one after the other in stream order; keep it cheap, since the heartbeat waits for it.
    /// The same event may come twice.
    fn apply(&self, event: FeedEvent) -> BoxFuture<'_, ()>;

    /// Reads everything from PostgreSQL again.
    fn rebuild(&self) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// How the feed is followed.
#[derive(Debug, Clone, Copy)]
pub struct FeedConfig {
    /// `FEED_MAX_LAG_MS`: the operator's promise of how late a change may be.
    pub max_lag: Duration,
}

/// The feed.
#[derive(Debug, Clone, Copy)]
pub struct Feed;

impl Feed {
    /// Follows the feed in the future returned, which never ends; the handle tells how fresh the sink is.
    pub fn follow(
        bus: Bus,
        sink: Arc<dyn FeedSink>,
        config: FeedConfig,
    ) -> (FeedHandle, impl Future<Output = ()> + Send + 'static) {
        let handle = FeedHandle::new(config.max_lag);
        let follower = Follower {
            bus,
            sink,
            handle: handle.clone(),
            place: None,
        };
        (handle, follower.run())
    }
}

/// The last message seen, and of which incarnation of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stream_created: i128,
    sequence: u64,
}

/// What became of the stream while nothing was heard.
enum Silence {
    /// Nothing was published, or nobody knows.
    Quiet,
    /// Messages wait that were not delivered, or the stream is another one.
    Reopen,
}

struct Follower {
    bus: Bus,
    sink: Arc<dyn FeedSink>,
    handle: FeedHandle,
    place: Option<Place>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let connection = self.bus.connection();
            match self.open().await {
                Ok(messages) => self.follow(connection, messages).await,
                Err(error) => tracing::warn!(error = cause(&error), "the feed cannot be opened"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Opens a consumer after the last message seen. Where that is not possible the view is rebuilt, after opening.
    async fn open(&mut self) -> Result<Ordered, Error> {
        let failed = |source| Error::Stream {
            name: FEED_STREAM.to_owned(),
            source,
        };
        self.bus.ensure_streams().await?;
        let open = async {
            let stream = self.bus.jetstream.get_stream(FEED_STREAM).await?;
            let info = stream.cached_info();
            let created = info.created.unix_timestamp_nanos();
            let resumed = self.place.filter(|place| {
                place.stream_created == created
                    && place.sequence <= info.state.last_sequence
                    && place.sequence.saturating_add(1) >= info.state.first_sequence
            });
            let last = Place {
                stream_created: created,
                sequence: info.state.last_sequence,
            };
            let place = resumed.unwrap_or(last);
            let config = OrderedConfig {
                deliver_subject: self.bus.client.new_inbox(),
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: place.sequence.saturating_add(1),
                },
                ..OrderedConfig::default()
            };
            let messages = stream.create_consumer(config).await?.messages().await?;
            Ok::<_, BoxError>((place, resumed.is_some(), messages))
        };
        let (place, resumed, messages) = within(PATIENCE, open).await.map_err(failed)?;
        self.place = Some(place);
        if !resumed || self.handle.is_broken() {
            self.handle.break_off();
            self.rebuild().await;
        }
        Ok(messages)
    }

    /// Applies messages until the consumer has to be opened again. That is after every reconnection: an ordered
    /// consumer would resume at the next number, but that of another stream if the server had lost its disk.
    async fn follow(&mut self, connection: u64, mut messages: Ordered) {
        loop {
            let next = tokio::time::timeout(SILENCE, messages.next()).await;
            if self.bus.connection() != connection {
                return;
            }
            match next {
                Ok(Some(Ok(message))) => self.receive(&message).await,
                Ok(Some(Err(error))) => return tracing::info!(%error, "the feed's consumer is opened again"),
                Ok(None) => return,
                Err(_) => match self.look().await {
                    Silence::Quiet => {}
                    Silence::Reopen => return,
                },
            }
        }
    }

    /// Sees what no message tells: a stream that was deleted, or made again, while the connection held.
    async fn look(&self) -> Silence {
        let look = async {
            let stream = self.bus.jetstream.get_stream(FEED_STREAM).await;
            Ok::<_, BoxError>(stream.map(|stream| {
                let info = stream.cached_info();
                Place {
                    stream_created: info.created.unix_timestamp_nanos(),
                    sequence: info.state.last_sequence,
                }
            }))
        };
        match within(PATIENCE, look).await {
            Ok(Ok(last)) if self.place == Some(last) => Silence::Quiet,
            Ok(Ok(_)) => Silence::Reopen,
            Ok(Err(_)) if self.bus.is_connected() => Silence::Reopen,
            Ok(Err(_)) | Err(_) => Silence::Quiet,
        }
    }

    async fn receive(&mut self, message: &Message) {
        let Ok(info) = message.info() else {
            return self.handle.break_off();
        };
        let Some(place) = self.place.as_mut() else { return };
        let expected = place.sequence.saturating_add(1);
        if info.stream_sequence < expected {
            return; // Delivered again; what it says was applied or rebuilt.
        }
        if info.stream_sequence > expected {
            self.bus.stats().feed_gaps.increment();
            tracing::warn!(expected, got = info.stream_sequence, "the feed has a gap");
            self.handle.break_off();
        }
        place.sequence = info.stream_sequence;
        match self
            .bus
            .trusted(&message.subject, message.headers.as_ref(), &message.payload)
        {
            Ok(payload) => self.apply(message, &payload).await,
            Err(_) => self.handle.break_off(),
        }
    }

    async fn apply(&self, message: &Message, payload: &[u8]) {
        if message.subject.as_str() == HEARTBEAT_SUBJECT {
            return match decode_heartbeat(payload) {
                Ok(heartbeat) => self.beat(heartbeat.database_time).await,
                Err(error) => self.refuse(message, &error),
            };
        }
        match decode_feed(payload) {
            Ok(event) => {
                let span =
                    tracing::info_span!("feed.apply", subject = %message.subject, zone_id = %event.zone_id);
                let header = message
                    .headers
                    .as_ref()
                    .and_then(|headers| headers.get(TRACEPARENT));
                continue_from(&span, header.map(async_nats::HeaderValue::as_str));
                self.sink.apply(event).instrument(span).await;
                self.bus.stats().feed_events.increment();
            }
            Err(error) => self.refuse(message, &error),
        }
    }

    /// Rebuilding only here, at a heartbeat, lets a flood of bad messages cost no more than two rebuilds a second.
    async fn beat(&self, database_time: caracal_domain::Timestamp) {
        if self.handle.is_broken() {
            self.rebuild().await;
        }
        self.handle.beat(database_time);
        self.bus.stats().feed_heartbeats.increment();
    }

    fn refuse(&self, message: &Message, error: &caracal_wire::WireError) {
        self.bus.stats().undecodable.increment();
        tracing::error!(subject = %message.subject, %error, "a feed message cannot be decoded");
        self.handle.break_off();
    }

    async fn rebuild(&self) {
        self.bus.stats().feed_rebuilds.increment();
        while let Err(error) = self.sink.rebuild().await {
            tracing::warn!(error = cause(&*error), "the view cannot be rebuilt yet");
            tokio::time::sleep(RETRY).await;
        }
        self.handle.mend();
    }
}
