//! The connection to NATS, and publishing over it.

use crate::bounded_wait::within;
use crate::signature::{StreamKeys, Untrusted};
use crate::stats::Stats;
use async_nats::connection::State;
use async_nats::header::{HeaderValue, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{ContextBuilder, PublishError as NatsPublishError, PublishErrorKind};
use async_nats::jetstream::{self};
use async_nats::{ConnectOptions, ServerAddr};
use caracal_domain::Timestamp;
use caracal_trace::TRACEPARENT;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A stopped server (not a closed socket) is noticed after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long `JetStream` may take to answer; callers with less patience bound it further.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection needs.
#[derive(Debug, Clone)]
pub struct BusConfig {
    /// `nats://` or `tls://`, with credentials if needed; several servers of a cluster separated by commas.
    pub url: SecretString,
    /// How the server names this client.
    pub name: String,
    /// What signs and verifies messages.
    pub hmac_keys: StreamKeys,
}

/// What failed, without its source's text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `NATS_URL` is not the address of a server.
    #[error("reading the address of NATS")]
    Address(#[source] crate::BoxError),
    /// The connection could not be set up.
    #[error("connecting to NATS")]
    Connect(#[source] async_nats::ConnectError),
    /// A stream could not be found or created.
    #[error("preparing the stream {name}")]
    Stream {
        /// Which.
        name: String,
        /// Why.
        source: crate::BoxError,
    },
    /// A stored message could not be read.
    #[error("reading message {sequence} of {stream}")]
    Read {
        /// Of which stream.
        stream: String,
        /// Which.
        sequence: u64,
        /// Why.
        source: crate::BoxError,
    },
}

/// A message was not acknowledged. It may have been stored all the same: repeat it only with the same id.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no connection now.
    #[error("publishing without a connection to NATS")]
    Disconnected,
    /// `JetStream` did not acknowledge.
    #[error("publishing to {subject}")]
    Unacknowledged {
        /// The subject.
        subject: String,
        /// Why.
        source: NatsPublishError,
    },
}

/// A message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// A message with this id was stored before; `sequence` is that one's.
    pub duplicate: bool,
    /// The stream that keeps it.
    pub stream: String,
    /// Its number there.
    pub sequence: u64,
}

/// A message as a stream keeps it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its subject.
    pub subject: String,
    /// Its `Nats-Msg-Id`, empty when it has none.
    pub id: String,
    /// What it carries, if its signature holds.
    pub payload: Result<Vec<u8>, Untrusted>,
}

/// A connection to NATS that is never given up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) keys: StreamKeys,
    stats: Arc<Stats>,
}

impl Bus {
    /// Begins to connect and returns at once: the first connection is tried for ever, like every later one.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub async fn connect(config: &BusConfig) -> Result<Self, Error> {
        let addresses = addresses(config.url.expose_secret())?;
        let client = authenticated(options(&config.name), &addresses)
            .connect(addresses)
            .await
            .map_err(Error::Connect)?;
        let jetstream = ContextBuilder::new()
            .timeout(ANSWER_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            keys: config.hmac_keys.clone(),
            stats: Arc::default(),
        })
    }

    /// Whether the server answers now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Changes whenever the connection was lost and made again.
    pub(crate) fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::SeqCst)
    }

    /// What this connection has counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Publishes a signed message and waits until `JetStream` has stored it. Without a connection it fails at once, so
    /// that nothing is sent later that the caller has long given up.
    ///
    /// # Errors
    /// When it is not acknowledged. It may have been stored all the same.
    pub async fn publish(
        &self,
        subject: &str,
        id: &str,
        payload: Vec<u8>,
        traceparent: Option<&str>,
    ) -> Result<Ack, PublishError> {
        let outcome = self.try_publish(subject, id, &payload, traceparent).await;
        let stream_is_missing = |error: &PublishError| match error {
            PublishError::Unacknowledged { source, .. } => source.kind() == PublishErrorKind::StreamNotFound,
            PublishError::Disconnected => false,
        };
        let outcome = match outcome {
            // A NATS that lost its disk comes back without streams; whoever notices first makes them again.
            Err(error) if stream_is_missing(&error) && self.ensure_streams().await.is_ok() => {
                self.try_publish(subject, id, &payload, traceparent).await
            }
            other => other,
        };
        let counter = if outcome.is_ok() {
            &self.stats.published
        } else {
            &self.stats.publish_failures
        };
        counter.increment();
        outcome
    }

    /// Reads one message of a stream by its number.
    ///
    /// # Errors
    /// When it is not there or `JetStream` does not answer.
    pub async fn raw_message(&self, stream: &str, sequence: u64) -> Result<StoredMessage, Error> {
        let read = async {
            let handle = self.jetstream.get_stream_no_info(stream).await?;
            Ok::<_, crate::BoxError>(handle.get_raw_message(sequence).await?)
        };
        let message = within(ANSWER_TIMEOUT, read).await.map_err(|source| Error::Read {
            stream: stream.to_owned(),
            sequence,
            source,
        })?;
        let id = message
            .headers
            .get(NATS_MESSAGE_ID)
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default();
        let payload = self.trusted(&message.subject, Some(&message.headers), &message.payload);
        Ok(StoredMessage {
            subject: message.subject.to_string(),
            id,
            payload,
        })
    }

    /// The payload of a message whose signature holds; counts one that does not.
    pub(crate) fn trusted(
        &self,
        subject: &str,
        headers: Option<&async_nats::HeaderMap>,
        payload: &[u8],
    ) -> Result<Vec<u8>, Untrusted> {
        match self.keys.verify(subject, headers, payload) {
            Ok(_) => Ok(payload.to_vec()),
            Err(reason) => {
                self.stats.untrusted.increment();
                tracing::error!(subject, %reason, "dropped a message that cannot be trusted");
                Err(Untrusted {
                    reason,
                    payload: payload.to_vec(),
                })
            }
        }
    }

    async fn try_publish(
        &self,
        subject: &str,
        id: &str,
        payload: &[u8],
        traceparent: Option<&str>,
    ) -> Result<Ack, PublishError> {
        if !self.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let mut headers = self.keys.sign(subject, id, payload);
        if let Some(traceparent) = traceparent.and_then(|text| text.parse::<HeaderValue>().ok()) {
            headers.insert(TRACEPARENT, traceparent);
        }
        let unacknowledged = |source| PublishError::Unacknowledged {
            subject: subject.to_owned(),
            source,
        };
        let sent = self
            .jetstream
            .publish_with_headers(subject.to_owned(), headers, payload.to_vec().into())
            .await;
        let ack = sent.map_err(unacknowledged)?.await.map_err(unacknowledged)?;
        Ok(Ack {
            duplicate: ack.duplicate,
            stream: ack.stream,
            sequence: ack.sequence,
        })
    }
}

/// Whether a text names servers that [`Bus::connect`] can use.
///
/// # Errors
/// A complaint that does not repeat the text.
pub fn check_url(text: &str) -> Result<(), &'static str> {
    let addresses = addresses(text);
    let names_one = addresses.is_ok_and(|all| all.iter().all(|address| !address.host().is_empty()));
    if names_one {
        Ok(())
    } else {
        Err("must be nats:// or tls:// addresses, separated by commas")
    }
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, Error> {
    let parse = |part: &str| {
        part.trim()
            .parse::<ServerAddr>()
            .map_err(|source| Error::Address(source.into()))
    };
    url.split(',').map(parse).collect()
}

/// async-nats reads a server's address from its URL but not the credentials in it. A user without a password is a token,
/// as everywhere in NATS.
fn authenticated(options: ConnectOptions, addresses: &[ServerAddr]) -> ConnectOptions {
    let credentials = addresses
        .iter()
        .find_map(|address| Some((address.username()?, address.password())));
    match credentials {
        Some((user, Some(password))) => options.user_and_password(user.to_owned(), password.to_owned()),
        Some((token, None)) => options.token(token.to_owned()),
        None => options,
    }
}

fn options(name: &str) -> ConnectOptions {
    ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .reconnect_delay_callback(reconnect_delay)
}

/// 50 ms longer after each attempt, never more than half a second: a replica is behind while it waits.
fn reconnect_delay(attempts: usize) -> Duration {
    let attempts = u64::try_from(attempts).unwrap_or(u64::MAX);
    Duration::from_millis(attempts.saturating_mul(50).min(500))
}

/// The database-like time at which a stored message arrived, for lag gauges.
pub(crate) fn arrival(nanoseconds: i128) -> Option<Timestamp> {
    i64::try_from(nanoseconds)
        .ok()
        .map(chrono::DateTime::from_timestamp_nanos)
}
