use crate::fixture;
use crate::scratch::Scratch;
use caracal_storage::{Conn, Database, DatabaseConfig, Error, database_time, zones};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

fn config(url: String) -> DatabaseConfig {
    DatabaseConfig {
        url,
        max_connections: 2,
        application_name: "storage-it",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_database_is_noticed_within_two_seconds_and_its_return_at_once() {
    let scratch = Scratch::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let database = Database::connect(&config(format!("postgres://a:b@{address}/c"))).unwrap();
    let before = Instant::now();
    assert!(
        matches!(database.acquire().await, Err(Error::Unavailable(_))),
        "refused"
    );
    assert!(before.elapsed() < Duration::from_secs(2));

    // A peer that accepts and says nothing, as a stopped process does.
    let silent = TcpListener::bind(address).await.unwrap();
    let before = Instant::now();
    assert!(database.ping().await.unwrap_err().is_unavailable(), "silent");
    assert!(
        before.elapsed() < Duration::from_millis(2500),
        "{:?}",
        before.elapsed()
    );
    drop(silent);

    scratch.database.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_while_idle_is_replaced_unseen() {
    let scratch = Scratch::new().await;
    let database = Database::connect(&config(scratch.url.clone())).unwrap();
    database_time(&mut database.acquire().await.unwrap())
        .await
        .unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'storage-it' AND datname = current_database()";
    sql_query(kill).execute(&mut scratch.owner().await).await.unwrap();
    // Long before the connection counts as idle; all it takes is that the end of the other side has arrived.
    tokio::time::sleep(Duration::from_millis(100)).await;
    database_time(&mut database.acquire().await.unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_while_idle_is_replaced_unseen() {
    let scratch = Scratch::new().await;
    let database = Database::connect(&config(scratch.url.clone())).unwrap();
    let first = backend(&mut database.acquire().await.unwrap()).await.unwrap();
    // Frozen, it holds its end of the connection open and answers nothing.
    signal("-STOP", first.pid);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = Instant::now();
    let second = match database.acquire().await {
        Ok(mut conn) => backend(&mut conn).await,
        Err(error) => panic!("{error:?}"),
    };
    signal("-CONT", first.pid);
    assert_ne!(second.unwrap().pid, first.pid);
    assert!(
        before.elapsed() < Duration::from_millis(2500),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fell_silent_a_moment_ago_begins_nothing() {
    let scratch = Scratch::new().await;
    let database = Database::connect(&config(scratch.url.clone())).unwrap();
    let first = backend(&mut database.acquire().await.unwrap()).await.unwrap();
    signal("-STOP", first.pid);
    let before = Instant::now();
    let begun = database.begin().await;
    let took = before.elapsed();
    signal("-CONT", first.pid);
    assert!(begun.is_err_and(|error| error.is_unavailable()));
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

/// The server's end of a connection.
async fn backend(conn: &mut Conn) -> diesel::QueryResult<Backend> {
    sql_query("SELECT pg_backend_pid() AS pid").get_result(conn).await
}

#[derive(diesel::QueryableByName)]
struct Backend {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

fn signal(name: &str, pid: i32) {
    let sent = std::process::Command::new("kill")
        .args([name, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Not a bound, since the machine may be busy: what a checkout costs, printed.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_a_connection_in_use_asks_the_server_nothing() {
    let scratch = Scratch::new().await;
    let database = Database::connect(&config(scratch.url.clone())).unwrap();
    database.ping().await.unwrap();
    let rounds = 1000;
    let before = Instant::now();
    for _ in 0..rounds {
        database.ping().await.unwrap();
    }
    let checkout = before.elapsed() / rounds;
    let before = Instant::now();
    for _ in 0..rounds {
        database_time(&mut database.acquire().await.unwrap())
            .await
            .unwrap();
    }
    let query = before.elapsed() / rounds;
    println!("a checkout takes {checkout:?}, a checkout and one query {query:?}");
    assert!(
        checkout * 3 < query,
        "a checkout ({checkout:?}) costs a round trip ({query:?})"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_in_use_is_unavailable_not_a_fault() {
    let scratch = Scratch::new().await;
    let upstream = url::Url::parse(&scratch.url).unwrap();
    let target = format!(
        "{}:{}",
        upstream.host_str().unwrap(),
        upstream.port().unwrap_or(5432)
    );
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut url = upstream.clone();
    url.set_port(Some(proxy.local_addr().unwrap().port())).unwrap();
    let (cut, mut cutting) = tokio::sync::oneshot::channel::<()>();
    let relaying = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = &mut cutting => { let _ = client.shutdown().await; }
        }
    });
    let database = Database::connect(&config(url.into())).unwrap();
    let mut conn = database.acquire().await.unwrap();
    cut.send(()).unwrap();
    relaying.await.unwrap();
    assert!(database_time(&mut conn).await.unwrap_err().is_unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pool_waits_for_ever_when_all_connections_are_taken() {
    let scratch = Scratch::new().await;
    let database = Database::connect(&config(scratch.url.clone())).unwrap();
    let held = (
        database.acquire().await.unwrap(),
        database.acquire().await.unwrap(),
    );
    let before = Instant::now();
    assert!(database.acquire().await.unwrap_err().is_unavailable());
    assert!(before.elapsed() < Duration::from_millis(2500));
    drop(held);
    database.acquire().await.unwrap();
}

#[test]
fn a_configuration_shows_no_password() {
    let shown = format!("{:?}", config("postgres://a:hunter2@h/d".into()));
    assert!(!shown.contains("hunter2"), "{shown}");
    let refused = Database::connect(&config("mysql://a:hunter2@h/d".into())).unwrap_err();
    assert!(!format!("{refused:?}").contains("hunter2"));
}

/// A load that begins on an empty installation would otherwise keep, for the minute until statistics are gathered, the plans
/// that were right for no rows: behind every foreign key and every question by slug a reading of the whole table.
#[tokio::test]
async fn what_is_planned_while_a_table_is_empty_does_not_read_it_from_end_to_end() {
    #[derive(diesel::QueryableByName)]
    struct Read {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        whole: i64,
    }
    let scratch = Scratch::new().await;
    let mut tx = scratch.database.begin().await.unwrap();
    // A statement has its lasting plan after five of its own.
    for number in 0..10 {
        let slug = format!("zone-{number}");
        assert_eq!(zones::free_slug(&tx, &slug).await.unwrap(), slug);
        fixture::zone(&mut tx, &slug).await;
    }
    let read = "SELECT sum(seq_scan)::bigint AS whole FROM pg_stat_xact_user_tables WHERE relname IN ('zones', 'signing_keys')";
    let read: Read = sql_query(read).get_result(&mut *tx).await.unwrap();
    assert_eq!(read.whole, 0);
}
