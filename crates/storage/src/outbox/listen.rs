//! `LISTEN caracal_outbox` on a connection of its own.

use crate::database::connection_config;
use crate::error::{Error, Result};
use futures::future::{Either, select};
use futures::stream::{self, Stream};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Socket};

/// How long to wait before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(500);

type Driver = Connection<Socket, NoTlsStream>;

/// A stream of wake-ups: one whenever rows were committed to the outbox or the spool, and one after each (re)connection,
/// since something may have been missed before it. It never ends; while the database is away it is silent, so the
/// listener also looks from time to time by itself.
pub fn listen(url: &str) -> impl Stream<Item = ()> + Send + use<> {
    stream::unfold((url.to_owned(), None), |(url, open)| async move {
        let still_open = match open {
            Some(open) => woken(open).await,
            None => None,
        };
        let open = match still_open {
            Some(open) => open,
            None => reconnect(&url).await,
        };
        Some(((), (url, Some(open))))
    })
}

/// A listening connection; the client is held only to keep it open.
struct Listening {
    _client: Client,
    driver: Driver,
}

/// Waits for a notification; `None` when the connection is lost.
async fn woken(mut open: Listening) -> Option<Listening> {
    loop {
        match std::future::poll_fn(|cx| open.driver.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => return Some(open),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

async fn reconnect(url: &str) -> Listening {
    loop {
        match connect(url).await {
            Ok(open) => return open,
            Err(error) => {
                tracing::warn!(error = %error, "cannot listen for outbox rows yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connect(url: &str) -> Result<Listening> {
    let config = connection_config(url, "caracal-listen")?;
    let (client, mut driver) = config
        .connect(NoTls)
        .await
        .map_err(|error| Error::Unavailable(error.into()))?;
    let subscribed = {
        let subscribing = pin!(client.batch_execute("LISTEN caracal_outbox"));
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
