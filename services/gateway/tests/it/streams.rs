//! What is under way: it streams at once, and ends at once when what it stands on is taken away.

use crate::place::{Place, Resource};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::eventually;
use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const BOUND: Duration = Duration::from_secs(2);

/// Opens a connection to the gateway and writes the head of a call.
pub(crate) async fn open(place: &Place, token: &str, resource: &Resource, id: &str, more: &str) -> TcpStream {
    let url = place.stack.url(Service::Gateway, 0);
    let mut connection = TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .expect("a connection");
    let head = format!(
        "GET /events HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nX-Caracal-Resource: {}\r\n\
         X-Caracal-Scope: orders:read\r\nX-Request-Id: {id}\r\n{more}\r\n",
        resource.identifier
    );
    connection
        .write_all(head.as_bytes())
        .await
        .expect("the head is written");
    connection
}

/// Reads until the text has come.
pub(crate) async fn read_until(connection: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut buffer = [0; 1024];
            let read = connection.read(&mut buffer).await.expect("it is open");
            assert!(read > 0, "closed after: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(buffer.get(..read).expect("within the buffer"));
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), reading).await;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(waited.is_ok(), "no {text:?} in: {seen}");
    seen
}

/// Everything until the connection ends, and how long that took.
pub(crate) async fn rest(connection: &mut TcpStream, since: Instant) -> (Vec<u8>, Duration) {
    let mut rest = Vec::new();
    let reading = async {
        // A reset ends it as well as a close.
        let _ = connection.read_to_end(&mut rest).await;
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .is_ok(),
        "it never ended"
    );
    (rest, since.elapsed())
}

pub(crate) async fn revoke(place: &Place) -> Instant {
    let session = claims(&place.session)["sid"]
        .as_str()
        .expect("a session")
        .to_owned();
    let revoked = place.world.revoke_session(&session).await;
    assert!((200..300).contains(&revoked.status), "{}", revoked.text);
    Instant::now()
}

pub(crate) async fn ending(place: &Place, id: &str) -> Value {
    eventually(
        "the end of the call in the ledger",
        Duration::from_secs(10),
        || async {
            let events = place.world.events(id).await;
            events
                .into_iter()
                .find(|event| event["event_type"] == "gateway_response")
                .map(|event| event["metadata_json"].clone())
        },
    )
    .await
}

#[tokio::test]
async fn a_stream_arrives_as_it_is_sent_and_is_cut_without_a_last_chunk() {
    for (manner, with_session) in [(Manner::Streams, false), (Manner::Stalls, true)] {
        let place = Place::new().await;
        let upstream = Plain::start(manner).await;
        let resource = place.resource("stream", &upstream.url, &json!({})).await;
        let mandate = place.mandate(&resource, "orders:read").await;
        let token = if with_session {
            place.session.clone()
        } else {
            mandate
        };
        let mut connection = open(&place, &token, &resource, "stream-1", "").await;
        let begun = read_until(&mut connection, "data: 1").await;
        assert!(begun.starts_with("HTTP/1.1 200 OK\r\n"), "{begun}");
        assert!(
            begun.to_ascii_lowercase().contains("transfer-encoding: chunked"),
            "{begun}"
        );

        let revoked = revoke(&place).await;
        let (rest, took) = rest(&mut connection, revoked).await;
        println!("a running exchange was cut {took:?} after the revocation was answered");
        assert!(took < BOUND, "{took:?}");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it must not look complete");
        let end = ending(&place, "stream-1").await;
        assert_eq!(
            (&end["cut"], &end["outcome"], &end["status"]),
            (&true.into(), &"revoked".into(), &200.into()),
            "{end}"
        );
    }
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_is_closed_with_1008() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Echoes).await;
    let resource = place.resource("socket", &upstream.url, &json!({})).await;
    let mandate = place.mandate(&resource, "orders:read").await;
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut connection = open(&place, &mandate, &resource, "socket-1", handshake).await;
    let switched = read_until(&mut connection, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(switched.starts_with("http/1.1 101"), "{switched}");
    assert!(
        switched.contains("upgrade: websocket") && switched.contains("sec-websocket-accept: x"),
        "{switched}"
    );
    let head = upstream.heard().pop().expect("it was heard").to_ascii_lowercase();
    assert!(
        head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==") && head.contains("upgrade: websocket"),
        "{head}"
    );

    for text in ["hello", "again"] {
        let mut frame = vec![0x81, u8::try_from(text.len()).expect("short")];
        frame.extend_from_slice(text.as_bytes());
        connection.write_all(&frame).await.expect("it is open");
        let mut echoed = vec![0; frame.len()];
        connection.read_exact(&mut echoed).await.expect("it comes back");
        assert_eq!(echoed, frame);
    }
    let revoked = revoke(&place).await;
    let (rest, took) = rest(&mut connection, revoked).await;
    assert_eq!(rest, [0x88, 0x02, 0x03, 0xF0], "a close frame with status 1008");
    assert!(took < BOUND, "{took:?}");
    assert_eq!(ending(&place, "socket-1").await["outcome"], "revoked");
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_is_refused_when_it_is_cut() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Hangs).await;
    let resource = place.resource("hanging", &upstream.url, &json!({})).await;
    let agent = place.agent(&resource).await;
    let calling = agent.get("/");
    let revoking = async {
        eventually("the call at the upstream", Duration::from_secs(5), || async {
            (!upstream.heard().is_empty()).then_some(())
        })
        .await;
        revoke(&place).await
    };
    let (answer, _) = tokio::join!(calling, revoking);
    assert!(matches!(answer.status, 401 | 504), "{}", answer.text);
    if answer.status == 401 {
        assert_eq!(answer.member("reason"), "session_revoked");
    }
}

#[tokio::test]
async fn an_answer_that_the_upstream_breaks_off_does_not_look_complete() {
    let place = Place::new().await;
    let torn = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nonly this";
    let upstream = Plain::start(Manner::Says(torn)).await;
    let resource = place.resource("torn", &upstream.url, &json!({})).await;
    let mandate = place.mandate(&resource, "orders:read").await;
    let mut connection = open(&place, &mandate, &resource, "torn-1", "").await;
    read_until(&mut connection, "only this").await;
    let (rest, _) = rest(&mut connection, Instant::now()).await;
    assert!(rest.is_empty());
    let end = ending(&place, "torn-1").await;
    assert_eq!(
        (&end["cut"], &end["outcome"], &end["bytes_out"]),
        (&false.into(), &"upstream_failed".into(), &9.into()),
        "{end}"
    );
}
