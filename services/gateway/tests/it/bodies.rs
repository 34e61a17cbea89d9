//! Request bodies: streamed, counted, and never larger than 10 MiB.

use crate::place::{Place, Resource};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::{Answer, eventually};
use reqwest::{Body, Method};
use serde_json::json;
use std::time::Duration;

const LIMIT: usize = 10 * 1024 * 1024;

async fn send(place: &Place, resource: &Resource, id: &str, body: Body) -> Result<Answer, reqwest::Error> {
    let agent = place.agent(resource).await.with("X-Request-Id", id);
    agent
        .send(Method::POST, "/orders", |request| request.body(body))
        .await
}

/// A body of unknown length.
fn chunked(size: usize) -> Body {
    let chunks = std::iter::repeat_n(vec![b'x'; 64 * 1024], size / (64 * 1024));
    Body::wrap_stream(futures::stream::iter(chunks.map(Ok::<_, std::io::Error>)))
}

#[tokio::test]
async fn a_body_arrives_whole_announced_or_not() {
    let place = Place::new().await;
    for (id, body, size) in [
        ("announced", Body::from(vec![b'x'; 1000]), 1000),
        ("chunked", chunked(128 * 1024), 128 * 1024),
    ] {
        let answer = send(&place, &place.order_book(), id, body)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let seen = place.world.upstream.seen().pop().expect("it arrived");
        assert_eq!((seen.request_id.as_str(), seen.body.len()), (id, size));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_never_ends_well() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Swallows).await;
    let resource = place.resource("swallowing", &upstream.url, &json!({})).await;
    let within = send(&place, &resource, "within", chunked(LIMIT))
        .await
        .expect("an answer");
    assert_eq!(within.status, 204, "{}", within.text);

    // A server that answers before it has read everything may close the connection under the writer.
    let refused = |answer: Result<Answer, reqwest::Error>| answer.map_or(true, |answer| answer.status == 413);
    assert!(refused(
        send(&place, &resource, "announced", Body::from(vec![b'x'; LIMIT + 1])).await
    ));
    assert_eq!(upstream.heard().len(), 1, "it was refused by its length alone");
    assert!(refused(
        send(&place, &resource, "endless", chunked(2 * LIMIT)).await
    ));

    let ending = eventually(
        "the end of the call in the ledger",
        Duration::from_secs(10),
        || async {
            let events = place.world.events("endless").await;
            events
                .into_iter()
                .find(|event| event["event_type"] == "gateway_response")
        },
    )
    .await;
    let metadata = &ending["metadata_json"];
    assert_eq!(
        (&metadata["status"], &metadata["cut"]),
        (&413.into(), &false.into()),
        "{ending}"
    );
}
