//! A connection that is limited to one zone: for as long as it is held, at no further cost, and no longer.

use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::id::ZoneId;
use caracal_storage::{Conn, Database, DatabaseConfig, zones};
use diesel::sql_query;
use diesel::sql_types::{Integer, Text};
use diesel_async::RunQueryDsl;
use futures::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;

#[derive(diesel::QueryableByName, Debug, PartialEq, Eq)]
struct State {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    zone: String,
    /// When its transaction began; outside any, each statement has its own.
    #[diesel(sql_type = Text)]
    began: String,
}

async fn state(conn: &mut Conn) -> State {
    let state = "SELECT pg_backend_pid() AS pid, coalesce(current_setting('caracal.zone', true), '') AS zone,
        transaction_timestamp()::text AS began";
    sql_query(state).get_result(conn).await.unwrap()
}

/// A pool of one, so that whoever comes next gets the same connection.
fn pool_of_one(url: &str) -> Database {
    Database::connect(&DatabaseConfig {
        url: url.to_owned(),
        max_connections: 1,
        application_name: "storage-it",
    })
    .unwrap()
}

/// The next taker sees all zones, in no transaction; answers with the connection it got.
async fn assert_free(database: &Database, after: &str) -> i32 {
    let mut conn = database.acquire().await.unwrap();
    let (first, second) = (state(&mut conn).await, state(&mut conn).await);
    assert_eq!(first.zone, "", "after {after}");
    assert_ne!(first.began, second.began, "after {after}");
    first.pid
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_in_a_zone_leaves_its_connection_free_for_the_next() {
    let scratch = Scratch::new().await;
    let database = pool_of_one(&scratch.url);
    let zone = ZoneId::mint(&fixture::clock());
    let first = assert_free(&database, "nothing").await;

    let mut conn = database.acquire_in(zone).await.unwrap();
    let limited = state(&mut conn).await;
    assert_eq!(limited.zone, zone.to_string());
    assert_eq!(state(&mut conn).await, limited);
    drop(conn);
    assert_eq!(assert_free(&database, "reading").await, first);

    // Another zone's turn on the same connection.
    let other = ZoneId::mint(&fixture::clock());
    drop(database.acquire_in(zone).await.unwrap());
    let mut conn = database.acquire_in(other).await.unwrap();
    assert_eq!(state(&mut conn).await.zone, other.to_string());
    drop(conn);

    let mut conn = database.acquire_in(zone).await.unwrap();
    sql_query("SELECT 1 / 0").execute(&mut conn).await.unwrap_err();
    drop(conn);
    assert_eq!(assert_free(&database, "a query that failed").await, first);

    let mut conn = database.acquire_in(zone).await.unwrap();
    let slow = sql_query("SELECT pg_sleep(0.2)").execute(&mut conn);
    tokio::time::timeout(Duration::from_millis(20), slow)
        .await
        .unwrap_err();
    drop(conn);
    assert_eq!(assert_free(&database, "a query that was cancelled").await, first);

    let cancelled = async {
        let _conn = database.acquire_in(zone).await.unwrap();
        std::future::pending::<()>().await;
    };
    assert!(cancelled.now_or_never().is_none());
    assert_free(&database, "a request that was cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_in_a_zone_leaves_no_trace_for_the_next() {
    let scratch = Scratch::new().await;
    let database = pool_of_one(&scratch.url);
    let zone = ZoneId::mint(&fixture::clock());
    let first = assert_free(&database, "nothing").await;

    let mut tx = database.begin_in(zone).await.unwrap();
    assert_eq!(state(&mut tx).await.zone, zone.to_string());
    tx.commit().await.unwrap();
    assert_eq!(assert_free(&database, "a commit").await, first);

    let tx = database.begin_in(zone).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(assert_free(&database, "a rollback").await, first);

    drop(database.begin_in(zone).await.unwrap());
    let second = assert_free(&database, "a dropped transaction").await;
    assert_ne!(second, first, "its connection is closed");

    // Cancelled while the server answers the BEGIN, and while it answers the COMMIT.
    assert!(database.begin_in(zone).now_or_never().is_none());
    let third = assert_free(&database, "half a begin").await;
    assert_ne!(third, second);
    let tx = database.begin_in(zone).await.unwrap();
    assert!(tx.commit().now_or_never().is_none());
    assert_ne!(assert_free(&database, "half a commit").await, third);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_in_a_zone_cannot_write() {
    let scratch = Scratch::new().await;
    let zone = fixture::zone(&mut scratch.owner().await, "a").await;
    let mut conn = scratch.database.acquire_in(zone).await.unwrap();
    assert!(zones::find(&conn, zone).await.unwrap().is_some());
    let refused = zones::archive(&mut conn, zone).await.unwrap_err();
    assert!(format!("{refused:?}").contains("read-only"), "{refused:?}");
}

/// How long an answer of the server takes through [`slowly`], once it is asked to.
const LATENCY: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn to_be_limited_to_a_zone_costs_no_round_trip() {
    let scratch = Scratch::new().await;
    let slow = Arc::new(AtomicBool::new(false));
    let database = pool_of_one(&slowly(&scratch.url, &slow).await);
    let zone = ZoneId::mint(&fixture::clock());
    // The connection is open, and the statement prepared.
    zones::find(&database.acquire().await.unwrap(), zone)
        .await
        .unwrap();
    slow.store(true, Ordering::SeqCst);

    let before = Instant::now();
    for _ in 0..3 {
        zones::find(&database.acquire_in(zone).await.unwrap(), zone)
            .await
            .unwrap();
    }
    let reading = before.elapsed();
    let before = Instant::now();
    let tx = database.begin_in(zone).await.unwrap();
    zones::find(&tx, zone).await.unwrap();
    tx.commit().await.unwrap();
    let writing = before.elapsed();
    println!("three reads take {reading:?}; BEGIN, a query and COMMIT {writing:?}");
    for took in [reading, writing] {
        assert!((LATENCY * 3..LATENCY * 4).contains(&took), "{took:?}");
    }
}

/// The same database, the answers of which arrive a little later once it is to be slow.
async fn slowly(url: &str, slow: &Arc<AtomicBool>) -> String {
    let mut url = url::Url::parse(url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let slow = Arc::clone(slow);
    tokio::spawn(async move {
        let never = Arc::new(AtomicBool::new(false));
        while let Ok((client, _)) = listener.accept().await {
            let (reads, writes) = client.into_split();
            let (answers, asks) = TcpStream::connect(&target).await.unwrap().into_split();
            tokio::spawn(pass(reads, asks, Arc::clone(&never)));
            tokio::spawn(pass(answers, writes, Arc::clone(&slow)));
        }
    });
    url.into()
}

/// What comes in goes out, when it is to be slow after [`LATENCY`], however much is on its way.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    slow: Arc<AtomicBool>,
) {
    let (sender, mut under_way) = unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Named in full, for diesel gives everything a `load`.
        let slow = AtomicBool::load(&slow, Ordering::SeqCst);
        let due = Instant::now() + if slow { LATENCY } else { Duration::ZERO };
        if sender.send((due, buffer.get(..read).unwrap().to_vec())).is_err() {
            return;
        }
    }
}
