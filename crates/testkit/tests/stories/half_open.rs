//! What a test leaves behind holds no other test up.

use caracal_testkit::Database;
use caracal_testkit::proxy::Proxy;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The start of a connection in PostgreSQL's protocol, version 3.0.
fn start_up() -> Vec<u8> {
    let body = [
        &196_608_u32.to_be_bytes()[..],
        b"user\0caracal_sts\0database\0postgres\0\0",
    ]
    .concat();
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&length.to_be_bytes()[..], &body].concat()
}

#[tokio::test]
async fn a_client_that_broke_off_while_it_authenticated_does_not_keep_a_database_from_being_dropped() {
    let database = Database::new().await;
    let url = database.superuser_url();
    let server = format!(
        "{}:{}",
        url.host_str().expect("a host"),
        url.port().unwrap_or(5432)
    );
    let proxy = Proxy::to(server.parse().expect("an address"));
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy is there");
    client.write_all(&start_up()).expect("it reads");
    let mut asked = [0; 1];
    client.read_exact(&mut asked).expect("it asks for the password");
    assert_eq!(&asked, b"R");
    let started = Instant::now();
    drop(client);
    drop(proxy);
    drop(database);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}
