//! Request bodies: streamed, counted, and never larger than 10 MiB.

use crate::place::Place;
use caracal_testkit::eventually;
use reqwest::{Body, Method};
use std::time::Duration;

const LIMIT: usize = 10 * 1024 * 1024;

#[tokio::test]
async fn a_body_passes_up_to_the_limit_announced_or_not() {
    let place = Place::new().await;
    let resource = place.order_book();
    let send = async |body: Body, id: &str| {
        let agent = place.agent(&resource).await.with("X-Request-Id", id);
        agent
            .send(Method::POST, "/orders", |request| request.body(body))
            .await
    };
    let chunked = |size: usize| {
        let chunks = std::iter::repeat_n(vec![b'x'; 64 * 1024], size / (64 * 1024));
        Body::wrap_stream(futures::stream::iter(chunks.map(Ok::<_, std::io::Error>)))
    };
    for (id, body, size) in [
        ("small", Body::from(vec![b'x'; 1000]), 1000),
        ("chunked", chunked(128 * 1024), 128 * 1024),
    ] {
        let answer = send(body, id).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let seen = place.world.upstream.seen().pop().expect("it arrived");
        assert_eq!((seen.request_id.as_str(), seen.body.len()), (id, size));
    }
    let announced = send(Body::from(vec![b'x'; LIMIT + 1]), "announced").await;
    // A server that answers before it has read everything may close the connection under the writer.
    assert!(
        announced.as_ref().map_or(true, |answer| answer.status == 413),
        "{announced:?}"
    );
    let endless = send(chunked(2 * LIMIT), "endless").await;
    assert!(
        endless.as_ref().map_or(true, |answer| answer.status == 413),
        "{endless:?}"
    );
    assert!(!place.world.upstream.saw("announced") && !place.world.upstream.saw("endless"));

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
        (&413.into(), &true.into()),
        "{ending}"
    );
}
