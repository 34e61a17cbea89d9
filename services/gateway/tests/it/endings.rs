//! What ends a running exchange, besides the revocation of its session: each anchor there is, and the session's own end;
//! in both directions, and never as if it were complete (contract §4).

use crate::place::{Place, Resource};
use crate::streams::{BOUND, ending, open, read_until, rest};
use crate::upstreams::{BROKEN_OFF, Manner, Plain};
use caracal_domain::Clock;
use caracal_lifecycle::SystemClock;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A session that lives for so many seconds.
async fn brief_session(place: &Place, seconds: &str) -> String {
    let opened = place
        .world
        .token(&place.stack.sts(0), &[("ttl_seconds", seconds)])
        .await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    opened.member("access_token").to_owned()
}

async fn begun(place: &Place, token: &str, resource: &Resource, id: &str) -> TcpStream {
    let mut connection = open(place, token, resource, id, "").await;
    read_until(&mut connection, "data: 1").await;
    connection
}

/// It must have ended within the bound, without a last chunk, and the ledger says why.
async fn assert_cut(place: &Place, connection: &mut TcpStream, since: Instant, id: &str) {
    let (rest, took) = rest(connection, since).await;
    assert!(took < BOUND, "{id}: {took:?}");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{id} looks complete");
    let end = ending(place, id).await;
    assert_eq!(
        (&end["cut"], &end["outcome"]),
        (&true.into(), &"revoked".into()),
        "{id}: {end}"
    );
}

async fn at_the_api(place: &Place, path: &str, body: &Value) {
    let done: Answer = place.stack.admin().post(&place.world.path(path), body).await;
    assert!((200..300).contains(&done.status), "{path}: {}", done.text);
}

#[tokio::test]
async fn a_token_a_subject_a_key_and_an_application_end_what_stands_on_them() {
    let mut place = Place::new().await;
    let upstream = Plain::start(Manner::Stalls).await;
    let resource = place.resource("stalling", &upstream.url, &json!({})).await;

    let (given_back, other) = (
        place.mandate(&resource, "orders:read").await,
        place.mandate(&resource, "orders:read").await,
    );
    let mut ended = begun(&place, &given_back, &resource, "by-jti").await;
    let mut going_on = begun(&place, &other, &resource, "by-subject").await;
    let form = [
        ("client_id", place.world.application_id.as_str()),
        ("client_secret", place.world.client_secret.as_str()),
        ("token", given_back.as_str()),
    ];
    let done = place.stack.sts(0).form("/oauth/2/revoke", &form).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_cut(&place, &mut ended, Instant::now(), "by-jti").await;

    // The application's own sessions have the application as their subject.
    let subject = json!({"subject_id": place.world.application_id});
    at_the_api(&place, "subjects/revoke", &subject).await;
    assert_cut(&place, &mut going_on, Instant::now(), "by-subject").await;

    place.session = place.world.session(&place.stack.sts(0)).await;
    let mandate = place.mandate(&resource, "orders:read").await;
    let mut signed = begun(&place, &mandate, &resource, "by-kid").await;
    let path = format!("/v1/zones/{}/signing-keys/rotate", place.world.zone_id);
    let rotated = place
        .stack
        .admin()
        .post(&path, &json!({"mode": "emergency"}))
        .await;
    assert!((200..300).contains(&rotated.status), "{}", rotated.text);
    assert_cut(&place, &mut signed, Instant::now(), "by-kid").await;

    let sts = place.stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    place.session = place.world.session(&sts).await;
    let mut held = begun(&place, &place.session, &resource, "by-application").await;
    let path = place
        .world
        .path(&format!("applications/{}", place.world.application_id));
    let archived = place.stack.admin().delete(&path).await;
    assert!((200..300).contains(&archived.status), "{}", archived.text);
    assert_cut(&place, &mut held, Instant::now(), "by-application").await;
}

#[tokio::test]
async fn a_running_exchange_ends_with_its_session() {
    let place = Place::new().await;
    let stalling = Plain::start(Manner::Stalls).await;
    let echoing = Plain::start(Manner::Echoes).await;
    let stream = place.resource("stream", &stalling.url, &json!({})).await;
    let socket = place.resource("socket", &echoing.url, &json!({})).await;
    let session = brief_session(&place, "9").await;
    let fields = [
        ("subject_token", session.as_str()),
        ("resource", stream.identifier.as_str()),
        ("scope", "orders:read"),
    ];
    let sts = place.stack.sts(0).with("Caracal-Min-Epoch", &socket.epoch);
    let minted = place.world.token(&sts, &fields).await;
    let mandate = minted.member("access_token");
    let end = claims(&session)["exp"].as_i64().expect("a time");
    assert!(claims(mandate)["exp"].as_i64().is_some_and(|exp| exp <= end));

    let more = format!("Caracal-Min-Epoch: {}\r\n", socket.epoch);
    let mut by_session = open(&place, &session, &stream, "by-session", &more).await;
    read_until(&mut by_session, "data: 1").await;
    let mut by_mandate = begun(&place, mandate, &stream, "by-mandate").await;
    let mut joined = open(
        &place,
        &session,
        &socket,
        "by-socket",
        &format!("{more}{HANDSHAKE}"),
    )
    .await;
    read_until(&mut joined, "\r\n\r\n").await;

    let started = Instant::now();
    let (of_session, _) = rest(&mut by_session, started).await;
    let now = SystemClock::default().now().timestamp();
    assert!((0..=2).contains(&(now - end)), "{} s after its end", now - end);
    assert!(!of_session.ends_with(b"0\r\n\r\n"), "it must not look complete");
    let (of_mandate, _) = rest(&mut by_mandate, started).await;
    assert!(!of_mandate.ends_with(b"0\r\n\r\n"), "it must not look complete");
    let (of_socket, _) = rest(&mut joined, started).await;
    assert_eq!(
        of_socket,
        [0x88, 0x02, 0x03, 0xF0],
        "a close frame with status 1008"
    );
    for id in ["by-session", "by-mandate", "by-socket"] {
        let end = ending(&place, id).await;
        assert_eq!(
            (&end["cut"], &end["outcome"]),
            (&true.into(), &"expired".into()),
            "{id}: {end}"
        );
    }
}

#[tokio::test]
async fn an_upload_under_way_is_ended_on_both_sides_without_waiting_for_its_next_chunk() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Swallows).await;
    let resource = place.resource("swallowing", &upstream.url, &json!({})).await;
    let mandate = place.mandate(&resource, "orders:read").await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut connection = open(&place, &mandate, &resource, "upload-1", chunked).await;
    connection.write_all(b"5\r\nhello\r\n").await.expect("it is open");
    eventually("the call at the upstream", Duration::from_secs(5), || async {
        (!upstream.heard().is_empty()).then_some(())
    })
    .await;
    let revoked = crate::streams::revoke(&place).await;
    eventually("the end of the upload at the upstream", BOUND, || async {
        upstream
            .heard()
            .iter()
            .any(|noted| noted == BROKEN_OFF)
            .then_some(())
    })
    .await;
    let answer = read_until(&mut connection, "\r\n\r\n").await;
    assert!(revoked.elapsed() < BOUND);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let end = ending(&place, "upload-1").await;
    assert_eq!(
        (&end["cut"], &end["outcome"], &end["bytes_in"]),
        (&true.into(), &"revoked".into(), &5.into()),
        "{end}"
    );
}
