//! `LISTEN` on a connection of its own.

use crate::error::{Error, Result};
use crate::target::{Driver, Target};
use futures::future::{Either, select};
use futures::stream::{self, Stream};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_postgres::{AsyncMessage, Client};

/// How long to wait before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is notified on a channel: `Some` payload each time, and `None` after each (re)connection, since something may
/// have been missed before it. It never ends; while the database is away it is silent, so the listener also looks from
/// time to time by itself.
pub(crate) fn listen(url: &str, channel: &'static str) -> impl Stream<Item = Option<String>> + Send + use<> {
    stream::unfold((url.to_owned(), None), move |(url, open)| async move {
        let still_open = match open {
            Some(open) => woken(open).await,
            None => None,
        };
        let (payload, open) = match still_open {
            Some((payload, open)) => (Some(payload), open),
            None => (None, reconnect(&url, channel).await),
        };
        Some((payload, (url, Some(open))))
    })
}

/// A listening connection; the client is held only to keep it open.
struct Listening {
    _client: Client,
    driver: Driver,
}

/// Waits for a notification; `None` when the connection is lost.
async fn woken(mut open: Listening) -> Option<(String, Listening)> {
    loop {
        match std::future::poll_fn(|cx| open.driver.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                return Some((notification.payload().to_owned(), open));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

async fn reconnect(url: &str, channel: &str) -> Listening {
    loop {
        // Boxed: a handshake is large, and everything that listens would carry room for it.
        match Box::pin(connect(url, channel)).await {
            Ok(open) => return open,
            Err(error) => {
                tracing::warn!(error = %error, channel, "cannot listen to the database yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connect(url: &str, channel: &str) -> Result<Listening> {
    let target = Target::parse(url)?.limited("caracal-listen");
    let (client, mut driver) = target
        .connect()
        .await
        .map_err(|error| Error::Unavailable(error.into()))?;
    let subscribe = format!("LISTEN {channel}");
    let subscribed = {
        let subscribing = pin!(client.batch_execute(&subscribe));
        let driving = pin!(std::future::poll_fn(|cx| drive(&mut driver, cx)));
        match select(subscribing, driving).await {
            Either::Left((subscribed, _)) => subscribed.map_err(|error| Error::Unavailable(error.into())),
            Either::Right(((), _)) => Err(Error::Unavailable("the connection was closed".into())),
        }
    };
    subscribed.map(|()| Listening {
        _client: client,
        driver,
    })
}

/// Ready when the connection has ended; notifications met on the way are covered by the wake-up that follows.
fn drive(driver: &mut Driver, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match driver.poll_message(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}
